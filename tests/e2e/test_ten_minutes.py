"""From `pip install` to a living fleet, as the README says it: in a fresh environment, without our constraints."""

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import wheels
from tests.e2e.processes import end_all, processes_with

ROOT = Path(__file__).parents[2]
SECONDS = 900

LIVES = """\
python - <<'END'
import json, subprocess, sys, time
until = time.monotonic() + 120
while time.monotonic() < until:
    said = subprocess.run(["ebbflow", "status", "--json"], capture_output=True, text=True, check=True).stdout
    states = [worker["state"] for fleet in json.loads(said) for worker in fleet["workers"]]
    if states == ["ready"]:
        sys.exit()
    time.sleep(1)
sys.exit(f"no living fleet within two minutes: {said}")
END
"""


def blocks() -> list[str]:
    """The commands of the README's ten minutes."""
    (section,) = re.findall(r"^## Ten minutes.*?(?=^## )", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def oldest_prefect() -> str:
    """The oldest version that our range allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [each for each in map(Requirement, project["dependencies"]) if each.name == "prefect"]
    (least,) = [each.version for each in wanted.specifier if each.operator == ">="]
    return least if least.count(".") > 1 else f"{least}.0"


@pytest.mark.parametrize(
    "prefect", [pytest.param("newest", marks=pytest.mark.soak), pytest.param("oldest", marks=pytest.mark.endurance)]
)
def test_the_readmes_ten_minutes_lead_to_a_living_fleet_and_leave_nothing(tmp_path: Path, prefect: str) -> None:
    source, home, temporary = wheels.copy_of_ours(tmp_path / "source"), tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    install, *rest = blocks()
    if prefect == "oldest":
        wheels.build([source], tmp_path)
        (wheel,) = tmp_path.glob("ebbflow-*.whl")
        install = install.replace("pip install .", f"pip install '{wheel}' 'prefect=={oldest_prefect()}'")
        assert str(wheel) in install
    place = rest.index(next(block for block in rest if "ebbflow up --start" in block)) + 1
    # What pip leaves in a home is pip's; ours begins after it.
    steps = [install, f"export HOME={home} TMPDIR={temporary}", *rest[:place], LIVES, *rest[place:]]
    script = "\n".join(["set -euo pipefail; PS4='+ $SECONDS s: '; set -x", *steps])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "VIRTUAL_ENV"))}
    environment = {
        **kept,
        "PATH": f"{Path(sys._base_executable).parent}:{os.environ['PATH']}",  # type: ignore[attr-defined]
    }
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        assert processes_with("HOME", str(home)) == {}, done.stdout[-6000:]
    finally:
        asyncio.run(end_all("HOME", str(home)))
    assert "demo1: nothing is left" in done.stdout
    assert "20 images are done" in done.stdout
    assert list(home.iterdir()) == [], "everything is in the folder"
    assert list(temporary.iterdir()) == []
    server = "" if prefect == "newest" else oldest_prefect()
    assert re.search(rf"ok +Prefect: server {server}\S*, here {server}", done.stdout)
