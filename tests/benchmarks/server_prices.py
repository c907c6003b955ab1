"""What a turn that holds leaves on the Prefect server, everything counted, and what it costs the server itself."""

import asyncio
import time
from collections.abc import Sequence

import psutil
from prefect.client.orchestration import PrefectClient

from tests.benchmarks.bursts import each
from tests.benchmarks.databases import Content, settled_content
from tests.benchmarks.deployed import ended_run
from tests.benchmarks.processor_time import prefect_server, tree_seconds
from tests.benchmarks.settled import Pace
from tests.benchmarks.world import World, tell

TURNS = 10
BYTES_GOAL = 20_000
IDLE_SECONDS = 10.0
LOOK_SECONDS = 1.0
LEAST_SHARE = 0.02
"""Of a table that is named."""


async def measure(running: World, client: PrefectClient, row: str, names: Sequence[str]) -> None:
    """Print the bytes by table, the events by name, and the server's own CPU.

    Args:
        running: the world; nothing else runs in it.
        client: of its Prefect server.
        row: how the runs are started.
        names: fleets that take their turns by turns.
    """
    database, server = "PostgreSQL" if running.database_url else "SQLite", prefect_server(running)
    # Whoever waits for a run asks the server too; asked as often while nothing runs, it is no part of the figure.
    async with each(LOOK_SECONDS, client.hello):
        before = await settled_content(running)
        idle = await _idle_share(server)
    began, used = time.monotonic(), tree_seconds(server)
    held = await _held_turns(client, names)
    async with each(LOOK_SECONDS, client.hello):
        came = (await settled_content(running)).since(before)
    own = tree_seconds(server) - used - idle * (time.monotonic() - began)
    tell(f"on the server, per turn that holds ({row}, {database}, mean of {TURNS}, of which {held} held):")
    tell(f"  stored: {came.total_bytes / TURNS / 1000:.1f} kB, everything counted (goal {BYTES_GOAL / 1000:g} kB)")
    _tell_parts(came)
    tell(f"  the server's own CPU: {1000 * own / TURNS:.0f} ms, beside {1000 * idle:.0f} ms per second when idle")


async def _idle_share(server: psutil.Process) -> float:
    used, began = tree_seconds(server), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    return (tree_seconds(server) - used) / (time.monotonic() - began)


async def _held_turns(client: PrefectClient, names: Sequence[str]) -> int:
    """So many turns, one after the other; how many held."""
    held, pace = 0, Pace()
    for number in range(TURNS):
        name = names[number % len(names)]
        await pace.wait(name)
        run = await ended_run(client, f"autoscale/{name}", look_seconds=LOOK_SECONDS)
        pace.ended(name)
        held += run.state is not None and run.state.name == "Held"
    return held


def _tell_parts(came: Content) -> None:
    tables = [(name, size) for name, size in came.by_table.most_common() if size >= LEAST_SHARE * came.total_bytes]
    shares = ", ".join(f"{name} {size / TURNS / 1000:.1f} ({size / came.total_bytes:.0%})" for name, size in tables)
    tell(f"  of it, in kB with indexes: {shares or 'this SQLite does not tell'}")
    events = ", ".join(f"{name} {count / TURNS:.1f}" for name, count in came.events.most_common())
    tell(f"  events: {came.events.total() / TURNS:.1f}: {events or 'none'}")
