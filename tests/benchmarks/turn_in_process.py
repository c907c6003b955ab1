"""The parts of a turn that holds, the bytes it leaves, and fifty launches against one, all in this process."""

import asyncio
import logging
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from ebbflow.blocks.opening import open_fleet
from ebbflow.core.chain import Head
from ebbflow.core.record import Record
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.budget import Budget
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.observing import observe
from tests.benchmarks.world import World, end_workers, fleet, save_blocks, tell

T = TypeVar("T")

ROUNDS = 10
LOG = logging.getLogger(__name__)
IDLE_COMMAND = ("sh", "-c", "exec sleep 600")


async def measure(running: World) -> None:
    """Print the ratios."""
    try:
        await _parts(running)
        await _bytes(running)
        await _launches(running)
    finally:
        end_workers(running)


async def _settled(name: str) -> Fleet:
    """A fleet with one registered worker, whose next turns hold."""
    told = Fleet.model_validate(fleet(name))
    for _ in range(3):
        await autoscale(fleet=told)
        await asyncio.sleep(told.interval_seconds / 2 + 1)
    return told


async def _parts(running: World) -> None:
    await save_blocks(running, "parts")
    told = await _settled("parts")
    seconds: dict[str, list[float]] = {}

    async def timed(part: str, call: Callable[[], Awaitable[T]]) -> T:
        began = time.perf_counter()
        answer = await call()
        seconds.setdefault(part, []).append(time.perf_counter() - began)
        return answer

    @flow
    async def parts() -> None:
        async with get_client() as client:
            ledger = PrefectLedger(client)
            home = await timed("home", lambda: ledger.home(create=True))
            head = await timed("head and its record", lambda: ChainReader(ledger).head(told.name))
            assert head is not None
            assert head.record is not None
            opening = open_fleet(client, told, home, dry_run=False)
            opened = await timed("blocks", opening.__aenter__)
            budget = Budget(time.monotonic() + 60, time.monotonic)
            memory = head.record.memory
            await timed("outside calls", lambda: observe(opened, memory, budget, LOG))
            await opening.__aexit__(None, None, None)
            record = _another(head, head.record)
            artifact = await timed("record", lambda: ledger.store(record, summary="bench"))
            await timed("claim", lambda: ledger.claim(record, artifact, interval_seconds=15))

    for _ in range(ROUNDS):
        await parts()
    whole = sum(statistics.median(values) for values in seconds.values())
    tell(f"a turn's own part in one process: {1000 * whole:.0f} ms (medians of {ROUNDS})")
    for part, values in seconds.items():
        median = statistics.median(values)
        tell(f"  {part:20s} {1000 * median:6.1f} ms  {median / whole:5.0%}")


def _another(head: Head, record: Record) -> Record:
    """The same record with the next number, as a turn that holds writes it."""
    return replace(record, number=head.claim.number + 1, flow_run_id=str(flow_run.get_id()))


async def _bytes(running: World) -> None:
    await save_blocks(running, "bytes")
    told = await _settled("bytes")
    database = Path(running.environment["PREFECT_HOME"]) / "prefect.db"
    before = _size(database)
    turns = 4
    for _ in range(turns):
        await autoscale(fleet=told)
        await asyncio.sleep(told.interval_seconds / 2 + 1)
    grown = (_size(database) - before) / turns
    async with get_client() as client:
        head = await ChainReader(PrefectLedger(client)).head(told.name)
    assert head is not None
    assert head.record is not None
    text = len(head.record.text())
    tell(f"bytes stored per holding turn: record {text:,}, database {grown:,.0f} in all")
    tell(f"  the record's share: {text / grown:.0%}" if grown else "  the database did not grow by a page")


def _size(database: Path) -> int:
    """Bytes in use, the write-ahead log included."""
    with sqlite3.connect(database, timeout=10) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


async def _launches(running: World) -> None:
    seconds = {}
    for count in (1, 50):
        name = f"start-{count}"
        await save_blocks(running, name, IDLE_COMMAND)
        told = Fleet.model_validate(fleet(name, minimum=count))
        began = time.time()
        await autoscale(fleet=told)
        started = list((running.folder / "state" / name).glob("*/process.json"))
        assert len(started) == count, f"{len(started)} of {count} launches were made"
        seconds[count] = max(path.stat().st_mtime for path in started) - began
        tell(f"  {count} launches: the last provider call returned after {seconds[count]:.2f} s")
    tell(f"50 launches against 1, until the last provider call has returned: {seconds[50] / seconds[1]:.1f}x (goal 5x)")
