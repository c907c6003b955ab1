"""What a turn that holds costs by how its run is started, beside a flow that does nothing."""

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State

from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from tests.benchmarks import server_prices
from tests.benchmarks.deployed import AUTOSCALE, deploy, deployment, ended_run, turns, wall_seconds
from tests.benchmarks.noop import noop
from tests.benchmarks.processor_time import Runner, runner
from tests.benchmarks.settled import PAUSE_SECONDS, Pace, settled
from tests.benchmarks.world import ROOT, World, end_workers, tell

ROUNDS = 5
POOL = "prices"
COMMANDS = {
    "plain": (),
    "engine": (sys.executable, "-m", "prefect.flow_engine"),
    "forked": (sys.executable, "-m", "ebbflow.cli", "run-turn"),
}
MANY = ("many-0", "many-1", "many-2")
"""Fleets whose forked turns come by turns: none is before half an interval."""
NOOP = f"{ROOT}/tests/benchmarks/noop.py:noop"
CPU_GOALS, WALL_GOALS = {"engine": 0.61, "forked": 0.15}, {"forked": 0.3}
"""Of the plain run."""
OWN_CPU_GOAL_MS = 65.0
"""Of the machine where it was set, on which it had been twice as much."""
REQUESTS_GOAL = 23
"""Of the Prefect server, by a run that holds."""
Rows = dict[str, list[tuple[float, float]]]
"""CPU and wall seconds."""


async def measure(running: World, *, rounds: int = ROUNDS, is_quick: bool = False, forked_only: bool = False) -> None:
    """Print the four rows with a no-op of each, a turn's own part and requests, and its price on the server.

    In a quick one the server's price is that of forked turns alone: a process worker has them all run, and what it
    leaves is the same.
    """
    started = ("forked",) if forked_only else tuple(COMMANDS)
    try:
        fleets = {told.name: told for told in await settled(running, *started, "body", *MANY)}
        deploy(running, POOL, [*_deployments(fleets, started), *_noops(started)])
        with runner(running, POOL) as prices:
            async with get_client() as client:
                rows = await _rows(client, prices, fleets["body"], started, rounds)
                _tell_rows(rows, "PostgreSQL" if running.database_url else "SQLite")
                await server_prices.measure(running, client, "forked", MANY)
                if "plain" in started and not is_quick:
                    await server_prices.measure(running, client, "plain", ["plain"])
        await _requests(running, fleets["body"])
    finally:
        end_workers(running)


def _deployments(fleets: dict[str, Fleet], started: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Any: YAML."""
    for name, row in [*((row, row) for row in started), *((name, "forked") for name in MANY)]:
        command = COMMANDS[row] and (*COMMANDS[row], f"{AUTOSCALE}.autoscale")
        yield turns(fleets[name].model_dump(mode="json"), command)


def _noops(started: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The turn server runs flows of ours alone, so that nothing forked does nothing. Any: YAML."""
    for row in started:
        if row != "forked":
            yield deployment(f"by-{row}", NOOP, COMMANDS[row] and (*COMMANDS[row], NOOP))


async def _rows(client: PrefectClient, prices: Runner, body: Fleet, started: Sequence[str], rounds: int) -> Rows:
    """One run at a time. The first round is for what is done once, and in no figure."""
    rows: Rows = {}
    pace = Pace()
    for number in range(rounds + 1):
        found: dict[str, tuple[float, float] | None] = {}
        for row in started:
            await pace.wait(row)
            found[row] = await _by_worker(client, prices, f"autoscale/{row}", "Held")
            pace.ended(row)
            if row != "forked":
                found[f"no-op, {row}"] = await _by_worker(client, prices, f"noop/by-{row}", "Completed")
        await pace.wait("body")
        found["body"] = await _in_this_process(lambda: autoscale(fleet=body, return_state=True), "Held")
        pace.ended("body")
        found["no-op, body"] = await _in_this_process(lambda: noop(return_state=True), "Completed")
        for row, pair in found.items():
            rows.setdefault(row, []).extend([pair] if number and pair else [])
    missing = [row for row, pairs in rows.items() if not pairs]
    assert not missing, f"nothing to tell of {missing}: look at the lines above"
    return rows


async def _by_worker(client: PrefectClient, prices: Runner, name: str, wanted: str) -> tuple[float, float] | None:
    async with prices.billed() as bill:
        run = await ended_run(client, name)
    return (bill.cpu_seconds, await wall_seconds(client, run)) if _ended(name, run.state, wanted) else None


async def _in_this_process(call: Callable[[], Awaitable[State]], wanted: str) -> tuple[float, float] | None:
    began, used = time.perf_counter(), time.process_time()
    state = await call()
    pair = time.process_time() - used, time.perf_counter() - began
    return pair if _ended("called here", state, wanted) else None


def _ended(name: str, state: State | None, wanted: str) -> bool:
    """As it must have for its price to count."""
    found = state.name if state else None
    if found != wanted:
        tell(f"  not counted: {name} ended as {found}, not {wanted}")
    return found == wanted


def _tell_rows(rows: Rows, database: str) -> None:
    """Medians."""
    cpu = {row: statistics.median(pair[0] for pair in pairs) for row, pairs in rows.items()}
    wall = {row: statistics.median(pair[1] for pair in pairs) for row, pairs in rows.items()}
    tell(f"a turn that holds, and a no-op, by how its run is started ({database}; medians, runs that counted):")
    for row, pairs in rows.items():
        # A no-op is beside the turns of its own kind, and all of them beside the plain turn.
        told = [f"{row:13s} {len(pairs)} runs"]
        for what, seconds, goals in (("CPU", cpu, CPU_GOALS), ("wall", wall, WALL_GOALS)):
            share = f", {seconds[row] / seconds['plain']:.2f} of plain" if "plain" in seconds else ""
            goal = f" (goal {goals[row]:g})" if share and row in goals else ""
            told.append(f"{what} {seconds[row]:.3f} s{share}{goal}")
        tell("  " + "; ".join(told))
    tell("  no-op, forked: none, since the turn server runs only flows of ours")
    own_cpu, own_wall = (1000 * (seconds["body"] - seconds["no-op, body"]) for seconds in (cpu, wall))
    of_noop = own_cpu / 1000 / cpu["no-op, body"]
    tell(
        f"a turn's own part (body less its no-op): {own_cpu:.0f} ms CPU (goal {OWN_CPU_GOAL_MS:g} on the machine where "
        f"it was set), {own_wall:.0f} ms wall; {of_noop:.2f} of the no-op's CPU"
    )


async def _requests(running: World, body: Fleet) -> None:
    """What a turn asks for over HTTP, counted in this process."""
    await asyncio.sleep(PAUSE_SECONDS)
    with _counted_requests(running.api_url) as asked:
        state = await autoscale(fleet=body, return_state=True)
    assert state.name == "Held", f"the turn whose requests were counted ended as {state.name}"
    engine = asked["Prefect server"]
    tell(
        f"requests of a turn that holds, called here: {engine} of the Prefect server (goal at most {REQUESTS_GOAL}; a "
        f"deployment's run asks once more, for its name), {asked['others']} of others"
    )


@contextmanager
def _counted_requests(api_url: str) -> Iterator[Counter[str]]:
    """Every request of httpx, whose clients are Prefect's and ours alike."""
    asked = Counter[str]()
    # Any: a method that is put back.
    ways: dict[Any, Any] = {httpx.AsyncClient: httpx.AsyncClient.send, httpx.Client: httpx.Client.send}

    def counting(send: Callable[..., Any]) -> Callable[..., Any]:
        def counted(client: object, request: httpx.Request, **given: Any) -> Any:
            asked["Prefect server" if str(request.url).startswith(api_url) else "others"] += 1
            return send(client, request, **given)

        return counted

    for kind, send in ways.items():
        kind.send = counting(send)
    try:
        yield asked
    finally:
        for kind, send in ways.items():
            kind.send = send
