"""What comes along when a room is imported: fleets, decisions and turns do without Prefect and without any client."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

OUTSIDE = {"prefect", "kubernetes", "httpx", "psutil", "starlette", "uvicorn", "fastapi", "sqlalchemy"}
UPSTAIRS = {"adapters", "contracts", "blocks", "flows", "standins", "simulation", "demo", "deployments"}


def modules_of(room: str) -> list[str]:
    """Every module of a room, by the name under which it is imported."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / room).rglob("*.py")))
    return [".".join(("ebbflow", *path.parts)).removesuffix(".__init__") for path in paths]


def closure(room: str) -> set[str]:
    """All modules that a fresh Python has after it has imported every module of a room."""
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    command = [sys.executable, "-c", script, *modules_of(room)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split())


@pytest.mark.parametrize("room", ["core", "policies", "decision", "fleet", "turn"])
def test_a_room_brings_neither_an_adapter_nor_a_client_of_anything_outside(room: str) -> None:
    found = closure(room)
    assert len(modules_of(room)) > 1
    assert {name.split(".")[0] for name in found} & OUTSIDE == set()
    assert {name.split(".")[1] for name in found if name.startswith("ebbflow.")} & UPSTAIRS == set()


@pytest.mark.parametrize(("room", "above"), [("decision", "fleet"), ("fleet", "turn"), ("policies", "decision")])
def test_a_room_does_not_bring_the_one_above_it(room: str, above: str) -> None:
    assert not [name for name in closure(room) if name.startswith(f"ebbflow.{above}")]
