"""A fleet at a real Ray head, as a test moves it: blocks, turns, workers and what they were started as."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block
from pydantic import SecretStr

from ebbflow.blocks import LocalProvider, RayMaster
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import processes_with
from tests.e2e.world import NOTED_START
from tests.ray.cluster import STORE_BYTES, RayCluster

PATIENCE_SECONDS = 150.0
OFFERS = ["cpu=2", "gpu"]


class RayFleet:
    """One fleet at the head.

    Args:
        ray: the head.
        house: where its turns run.
        folder: of this test.
        most_each: workers of one provider.
        call_timeout_seconds: of the master.
        sections: of the fleet, in the place of the usual ones.
    """

    def __init__(
        self,
        ray: RayCluster,
        house: PrefectHouse,
        folder: Path,
        *,
        most_each: int = 3,
        call_timeout_seconds: float = 5,
        **sections: Any,
    ) -> None:
        self.ray, self.house, self.folder = ray, house, folder
        self.name = f"r{secrets.token_hex(4)}"
        self._most_each, self._call_timeout_seconds, self._sections = most_each, call_timeout_seconds, sections

    async def save(self, *providers: Block) -> None:
        """Save its blocks; without a provider, one whose workers are processes of this host."""
        master = RayMaster(
            address=self.ray.address,
            join_address=self.ray.join_address,
            token=SecretStr(self.ray.token),
            temp_folder=str(self.ray.temporary),
            call_timeout_seconds=self._call_timeout_seconds,
        )
        await self.house.save(master, self.name)
        self._providers = providers or (self._local(),)
        for provider in self._providers:
            await self.house.save(provider, self.name)

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

    @property
    def starts(self) -> Path:
        """Where each start of a worker of this host is noted."""
        return self.folder / "starts"

    def started(self) -> Counter[str]:
        """How often each worker was started."""
        with suppress(FileNotFoundError):
            return Counter(line.split()[0] for line in self.starts.read_text().splitlines())
        return Counter()

    def workers(self) -> set[str]:
        """Ids of those of whom a process lives."""
        found = processes_with("EBBFLOW_FLEET", self.name).values()
        # Some of Ray's processes write their title over the rest of their environment.
        return {variables["EBBFLOW_WORKER_ID"] for variables in found if "EBBFLOW_WORKER_ID" in variables}

    def fleet(self) -> Fleet:
        """As a person writes it."""
        plain: dict[str, Any] = {
            "interval_seconds": 60,
            "policy": {"kind": "pending_tasks", "idle_seconds": 30},
            "limits": {"max_workers": 3, "min_idle_seconds": 30, "min_seconds_between_stops": 0},
            **self._sections,
            "name": self.name,
            "master": f"ray-master/{self.name}",
            "providers": [
                {"block": f"{each.get_block_type_slug()}/{self.name}", "max_workers": self._most_each}
                for each in self._providers
            ],
        }
        return Fleet.model_validate(plain)

    async def turn(self) -> str:
        """One turn of the flow, half a minute of the fleet's time after the last one; how it ended."""
        self.house.pass_time(self.name, 33)
        return await self.turn_now()

    async def turn_now(self) -> str:
        """One turn, as late as it is."""
        turn = await self.house.turn(autoscale, {"fleet": self.fleet()})
        assert turn.state.name in ("Acted", "Held"), turn.said
        return turn.said

    async def turns_until(self, holds: Callable[[], object], what: str) -> None:
        """Turns, with time for Ray to count between them, until something holds."""
        deadline, said = time.monotonic() + PATIENCE_SECONDS, list[str]()
        while not holds():
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}; {said[-5:]}"
            said.append(await self.turn())
            await asyncio.sleep(1)
