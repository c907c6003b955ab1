"""The ready-made fleets of `deployments/`, read as their operators use them: blocks, fleet, page."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import yaml
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse

from ebbflow.blocks.from_file import blocks_of
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.ports import Master
from ebbflow.fleet.deployed import check_file
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

    def blocks(self, **environment: str) -> dict[str, Any]:
        """What its blocks.yaml holds, by type, with the environment of whoever calls `ebbflow up`. Any: a type each."""
        text = (self.folder / "blocks.yaml").read_text(encoding="utf-8")
        written = blocks_of(text, self.folder, environment={"HOME": str(Path.home()), **environment})
        self.check_references([each.reference for each in written])
        return {each.reference.partition("/")[0]: each.block for each in written}

    def check_references(self, saved: Sequence[str]) -> None:
        """What its blocks.yaml saves is what its fleet names."""
        fleet = self.fleet
        assert sorted(saved) == sorted([fleet.master, *(entry.block for entry in fleet.providers)])

    def check_deployments(self) -> None:
        """The flows of one fleet, of which `autoscale` runs at the fleet's own interval, once it is switched on."""
        text = (self.folder / self.prefect_file).read_text(encoding="utf-8")
        assert check_file(text, environment={}, variables={}).problems == ()
        fleet, deployments = self.content["definitions"]["fleet"], self.content["deployments"]
        flows = [each["entrypoint"].rpartition(".")[2] for each in deployments]
        assert flows == ["autoscale", "scale_up", "scale_down", "override", "advise"]
        assert [each["parameters"] for each in deployments] == [{"fleet": fleet}, *[{"fleet": fleet["name"]}] * 4]
        assert deployments[0]["schedules"] == [{"interval": self.fleet.interval_seconds, "active": False}]
        (step,) = self.content["pull"]
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "/"}}, "every host has it"

    def check_fleet(self, caps: ProviderCaps, master: Block) -> None:
        """Its fleet fits its blocks."""
        opened: Master = master.get_master(fleet=self.fleet.name, home="abcde")  # type: ignore[attr-defined]
        self.fleet.check(opened.caps, {self.fleet.providers[0].block: caps})

    async def is_deployed_as_its_page_says(self, environment: Mapping[str, str]) -> None:
        """Look, save, make, deploy: what its page says before anything runs."""
        assert "ebbflow check\n   ebbflow up\n" in self.page
        for word in ("check", "up"):
            command = [sys.executable, "-c", "from ebbflow.cli.start import run; run()", word]
            done = await anyio.run_process(command, env=dict(environment), cwd=self.folder, check=False)
            said = (done.stdout + done.stderr).decode()
            # Its master is an example's; where another test saved the blocks before, it is asked already.
            wrong = [line for line in said.splitlines() if line.startswith("wrong") and "does not answer" not in line]
            assert (wrong, done.returncode in (0, 1 if word == "check" else 0)) == ([], True), said[-2000:]

    async def deployed(self) -> list[DeploymentResponse]:
        """Its deployments, as the server has them."""
        async with get_client() as client:
            return [
                await client.read_deployment_by_name(f"{flow}/{self.fleet.name}")
                for flow in ("autoscale", "scale-up", "scale-down", "override", "advise")
            ]
