"""The provider of the documentation is a whole package: installed beside ours, it passes its tests and is found."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import wheels

EXAMPLE = wheels.ROOT / "docs" / "example-provider"

LOOK = """
import json, sys
from importlib.metadata import files

import ebbflow.core.ports
import prefect.plugins

found = prefect.plugins.load_prefect_collections()
import ebbflow_example
print(json.dumps({
    "collections": {name: getattr(module, "__name__", repr(module)) for name, module in found.items()},
    "files": [ebbflow.core.ports.__file__, ebbflow_example.__file__],
    "holds": sorted({file.parts[0] for file in files("ebbflow-example")}),
}))
"""

SAVE = """
import asyncio, sys
from ebbflow_example.blocks import FixedMachinesProvider

block = FixedMachinesProvider(machines=["http://gpu1:7801"], lease_folder=sys.argv[1])
asyncio.run(block.asave("rack"))
"""

OPEN = """
import asyncio, json, sys
from pathlib import Path

import yaml
from prefect.client.orchestration import get_client

from ebbflow.blocks import SwarmUIMaster
from ebbflow.blocks.opening import open_fleet
from ebbflow.fleet.model import Fleet

assert not any(name.startswith("ebbflow_example") for name in sys.modules), "Prefect has to find it by itself"

async def look():
    await SwarmUIMaster(address="http://127.0.0.1:9").asave("main", overwrite=True)
    fleet = Fleet.model_validate(json.loads(sys.argv[1]))
    async with get_client() as client, open_fleet(client, fleet, "homea", dry_run=True) as opened:
        opened.check()
        listing = await opened.providers["fixed-machines-provider/rack"].list_instances(fleet.name)
        print(json.dumps({"unloadable": dict(opened.unloadable), "complete": listing.complete}))

asyncio.run(look())
"""


class Installed:
    """An environment that holds wheels of ours and of the example; what others wrote comes from the running one."""

    def __init__(self, folder: Path) -> None:
        self.example = wheels.copy_of(EXAMPLE, folder / "example")
        self._folder = folder / "environment"
        self._python = self._folder / "bin" / "python"
        venv.create(self._folder, with_pip=False)
        wheels.build(
            [wheels.copy_of_ours(folder / "source"), wheels.copy_of(EXAMPLE, folder / "source-example")], folder
        )
        built = sorted(str(wheel) for wheel in folder.glob("*.whl"))
        assert len(built) == 2
        # Its tests are run from here, against what is installed.
        shutil.rmtree(self.example / "ebbflow_example")
        wheels.pip(self._python, "install", "--no-deps", "--no-compile", *built)
        # A plain line adds a folder to the path, and none of the links of an editable install in it.
        (self.site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    @property
    def site_packages(self) -> Path:
        return self._folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    def run(self, *words: str, **environment: str) -> str:
        """Run its Python somewhere else than in our checkout, and give what it printed."""
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT", "PYTEST"))
        }
        done = subprocess.run(
            [str(self._python), *words],
            cwd=self.example,
            env={**ours, "PREFECT_HOME": str(self._folder / "prefect"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    before = {path for path in EXAMPLE.rglob("*") if "__pycache__" not in path.parts}
    yield Installed(tmp_path_factory.mktemp("example"))
    assert {path for path in EXAMPLE.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.mark.soak
def test_its_own_tests_pass_where_it_is_installed(installed: Installed) -> None:
    said = installed.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert " passed" in said
    assert "skipped" not in said


def test_prefect_finds_its_block_by_the_entry_point(installed: Installed) -> None:
    found: dict[str, Any] = json.loads(installed.run("-c", LOOK))
    assert found["collections"]["ebbflow"] == "ebbflow.blocks"
    assert found["collections"]["ebbflow_example"] == "ebbflow_example.blocks"
    assert all(Path(file).is_relative_to(installed.site_packages) for file in found["files"]), found["files"]
    assert found["holds"] == ["ebbflow_example", "ebbflow_example-0.1.0.dist-info"], "it brings nothing of ours"


def test_a_fleet_can_name_it(
    installed: Installed, prefect_server: str, prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    fleet = {
        "name": "sdxl",
        "master": "swarmui-master/main",
        "providers": [{"block": "fixed-machines-provider/rack", "max_workers": 1}],
        "limits": {"min_workers": 1},
    }
    server = {name: value for name, value in prefect_environment.items() if name.startswith("PREFECT_")}
    installed.run("-c", SAVE, str(tmp_path), **server)
    opened = json.loads(installed.run("-c", OPEN, json.dumps(fleet), **server))
    assert opened == {"unloadable": {}, "complete": True}
