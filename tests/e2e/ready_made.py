"""The ready-made fleets of `deployments/`, read as their operators use them: blocks, fleet, page."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.ports import Master
from ebbflow.fleet.model import Fleet

ROOT = Path(__file__).parents[2] / "deployments"


@dataclass(frozen=True)
class ReadyMade:
    """One folder of `deployments/`."""

    name: str
    prefect_file: str = "prefect.yaml"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return ROOT / self.name

    @property
    def page(self) -> str:
        """What it tells its operator."""
        return (self.folder / "README.md").read_text(encoding="utf-8")

    @property
    def content(self) -> dict[str, Any]:
        """Its Prefect file."""
        return dict(yaml.safe_load((self.folder / self.prefect_file).read_text(encoding="utf-8")))

    @property
    def fleet(self) -> Fleet:
        """Its fleet, read as every flow reads it."""
        return Fleet.model_validate(self.content["definitions"]["fleet"])

    def blocks(self) -> ModuleType:
        """The file that operators edit and run."""
        module_name = f"{self.name.replace('-', '_')}_blocks"
        spec = importlib.util.spec_from_file_location(module_name, self.folder / "blocks.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def check_deployments(self) -> None:
        """The flows of one fleet, of which `autoscale` runs at the fleet's own interval."""
        fleet, deployments = self.content["definitions"]["fleet"], self.content["deployments"]
        flows = [each["entrypoint"].rpartition(".")[2] for each in deployments]
        assert flows == ["autoscale", "scale_up", "scale_down", "override"]
        assert all(each["parameters"] == {"fleet": fleet} for each in deployments)
        assert deployments[0]["schedules"] == [{"interval": self.fleet.interval_seconds}]

    def check_fleet(self, caps: ProviderCaps, *, slug: str) -> None:
        """Its fleet fits its blocks, and names none that its blocks file does not save."""
        source = (self.folder / "blocks.py").read_text(encoding="utf-8")
        fleet = self.fleet
        named = [("swarmui-master", fleet.master), *((slug, entry.block) for entry in fleet.providers)]
        for expected, reference in named:
            kind, name = reference.split("/")
            assert kind == expected
            assert f'.save("{name}", overwrite=True)' in source
        master: Master = self.blocks().master().get_master(fleet=fleet.name, home="abcde")
        fleet.check(master.caps, {fleet.providers[0].block: caps})

    async def run(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run one command of its page, by our own Python, in its folder."""
        done = await anyio.run_process([sys.executable, *words], env=dict(environment), cwd=self.folder, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()[-2000:]

    async def deployed(self) -> list[DeploymentResponse]:
        """Its deployments, as the server has them."""
        async with get_client() as client:
            return [
                await client.read_deployment_by_name(f"{flow}/{self.fleet.name}")
                for flow in ("autoscale", "scale-up", "scale-down", "override")
            ]
