"""A fleet at a real Ray head: its blocks, and what its workers of this host are."""

from pathlib import Path
from typing import Any

from prefect.blocks.core import Block
from pydantic import SecretStr

from ebbflow.blocks import LocalProvider, RayMaster
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.world import NOTED_START
from tests.ray.cluster import STORE_BYTES, RayCluster

OFFERS = ["cpu=2", "gpu"]


class RayFleet(MovedFleet):
    """One fleet at the head.

    Args:
        ray: the head.
        house: where its turns run.
        folder: of this test.
        call_timeout_seconds: of the master.
        sections: of the fleet, in the place of the usual ones, and how many workers each provider may have.
    """

    def __init__(
        self, ray: RayCluster, house: PrefectHouse, folder: Path, *, call_timeout_seconds: float = 5, **sections: Any
    ) -> None:
        super().__init__(house, folder, **sections)
        self.ray, self._call_timeout_seconds = ray, call_timeout_seconds

    async def save(self, *providers: Block) -> None:
        """Save its blocks; without a provider, one whose workers are processes of this host."""
        master = RayMaster(
            address=self.ray.address,
            join_address=self.ray.join_address,
            token=SecretStr(self.ray.token),
            temp_folder=str(self.ray.temporary),
            call_timeout_seconds=self._call_timeout_seconds,
        )
        await self.keep(master, *(providers or (self._local(),)))

    def _local(self) -> LocalProvider:
        start = ["start", "--num-cpus=2", "--num-gpus=1", f"--object-store-memory={STORE_BYTES}"]
        given = self.ray.environment
        provider = {
            "command": ["/bin/sh", "-c", NOTED_START, str(self.starts), str(self.ray.programs / "ray"), *start],
            "state_folder": self.folder / "state",
            "secret_environment": {"RAY_AUTH_TOKEN": given.pop("RAY_AUTH_TOKEN")},
            "environment": given,
            "capabilities": OFFERS,
        }
        return LocalProvider.model_validate(provider)
