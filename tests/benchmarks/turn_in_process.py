"""The parts of a turn that holds, and fifty launches against one, all in this process."""

import logging
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
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
from tests.benchmarks.settled import settled
from tests.benchmarks.world import World, end_workers, fleet, save_blocks, tell

T = TypeVar("T")

ROUNDS = 10
LOG = logging.getLogger(__name__)
IDLE_COMMAND = ("sh", "-c", "exec sleep 600")


async def measure(running: World) -> None:
    """Print the ratios."""
    try:
        await _parts(running)
        await _launches(running)
    finally:
        end_workers(running)


async def _parts(running: World) -> None:
    (told,) = await settled(running, "parts")
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
