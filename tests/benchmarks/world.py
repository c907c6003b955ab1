"""A world to measure in: a Prefect server, a stand-in SwarmUI master, blocks, all in a temporary folder."""

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ebbflow.standins import process
from ebbflow.standins.process import free_port

WORKER = (sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker", "--port", "0")
INTERVAL_SECONDS = 15.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class World:
    """What is running, and where."""

    folder: Path
    api_url: str
    master: str
    environment: dict[str, str]
    database_url: str = ""
    """Of the Prefect server; nothing: SQLite in its home."""


@contextmanager
def world(database_url: str = "", more: Mapping[str, str] | None = None) -> Iterator[World]:
    """Start everything; end it when the block ends. Prefect must not be imported before.

    Args:
        database_url: of an empty PostgreSQL database for the Prefect server; nothing: SQLite.
        more: settings of that server and of who talks to it.
    """
    with tempfile.TemporaryDirectory(prefix="ebbflow-bench-") as name, ExitStack() as running:
        folder = Path(name)
        port = free_port()
        environment = process.prefect_environment(folder / "prefect", f"http://127.0.0.1:{port}/api")
        environment |= {"PREFECT_LOGGING_LEVEL": "ERROR", **(more or {})}
        if database_url:
            environment |= {"PREFECT_API_DATABASE_CONNECTION_URL": database_url}
        (folder / "prefect").mkdir()
        (folder / "master").mkdir()
        os.environ.update(environment)
        server = process.prefect_server(folder / "prefect", port=port, environment=environment)
        master = process.swarmui_master(folder / "master", environment=environment)
        api_url, address = running.enter_context(server), running.enter_context(master)
        yield World(folder, api_url, address, environment, database_url)


def fleet(name: str, *, minimum: int = 1, master: str = "bench", **fields: Any) -> dict[str, Any]:
    """A fleet on the world's blocks. Any: it is the JSON of a flow's parameter."""
    return {
        "name": name,
        "interval_seconds": INTERVAL_SECONDS,
        "master": f"swarmui-master/{master}",
        "providers": [{"block": f"local-provider/{name}", "max_workers": 64}],
        "limits": {"min_workers": minimum, "max_workers": 64, "min_idle_seconds": 3600},
        **fields,
    }


async def save_blocks(running: World, name: str, command: Sequence[str] = WORKER) -> None:
    """Save the master's block and one provider block of the fleet's name."""
    from ebbflow.blocks import LocalProvider

    await save_master("bench", running.master)
    provider = LocalProvider(command=list(command), state_folder=running.folder / "state", stop_grace_seconds=1)
    await provider.asave(name, overwrite=True)


async def save_master(name: str, address: str) -> None:
    """Save a master's block."""
    from ebbflow.blocks import SwarmUIMaster

    await SwarmUIMaster(address=address, worker_networks=["127.0.0.0/8"], call_timeout_seconds=2).asave(
        name, overwrite=True
    )


def end_workers(running: World) -> None:
    """End every worker process that the bench's fleets left: their working folders lie in the state folder."""
    for found in psutil.process_iter():
        with suppress(psutil.Error):
            if found.cwd().startswith(str(running.folder / "state")):
                found.kill()


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Minimum, median and maximum."""
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f} {unit}"


def tell(line: str) -> None:
    """One line of progress or result."""
    print(line, flush=True)
