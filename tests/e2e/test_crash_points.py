"""`kill -9` at every line of a turn that matters: two later turns make the fleet right.

Nothing leaks, nothing is launched twice for one wish, no busy worker is stopped. All points run at once, each with a
fleet and a master of its own, because most of the time is spent between two looks.
"""

import asyncio
import json
import multiprocessing
import signal
import traceback
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from ebbflow.flows.scale_down import scale_down
from tests.e2e import turn_process
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.world import PrefectWorlds, ProviderKind, World, opened_worlds

pytestmark = pytest.mark.anyio

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([turn_process.__name__])
CLAIM = r"POST /api/variables/ .*ebbflow_t"
AT_ONCE = 4


@dataclass(frozen=True)
class Crash:
    """Where a process dies."""

    at: dict[str, Any]
    flow: str = "autoscale"
    claims: int = 1
    """How many claims there are of the run that dies: 0 where it dies before."""
    worker_options: tuple[str, ...] = ()


LAUNCHING = {
    "after the record was stored": Crash({"die_at": r"POST /api/artifacts/ .*ebbflow-record"}, claims=0),
    "after the claim": Crash({"die_at": CLAIM}),
    "right after the fork of the first worker": Crash({"die_at_start": 1}),
    "right after the fork of the second worker": Crash({"die_at_start": 2}),
    "after the launch call": Crash({"die_at": r"/API/GetNewSession", "before": True, "after_popen": True}),
    "while waiting for readiness": Crash(
        {"die_at": r"/API/ListBackends", "count": 3, "after_popen": True}, worker_options=("--load_seconds", "2")
    ),
    "between the two calls of a registration": Crash({"die_at": r"POST /API/AddNewBackend .*swarmswarmbackend"}),
    "after the registration of the first worker": Crash({"die_at": r"POST /API/EditBackend .*ebbflow/"}),
    "after the registration of both": Crash({"die_at": r"POST /API/EditBackend .*ebbflow/", "count": 2}),
    "before the note": Crash({"die_at": r"PATCH /api/artifacts/", "before": True}),
}

MARKING = {
    "after the record with the mark was stored": Crash({"die_at": r"POST /api/artifacts/ .*ebbflow-record"}, claims=0),
    "after the claim with the mark": Crash({"die_at": CLAIM}),
    "after the entry was disabled": Crash({"die_at": r"POST /API/ToggleBackend .*\"backend_id\": ?[0-9]{1,3}\b"}),
}

ENDING = {
    "after the claim that ends it": Crash({"die_at": CLAIM}),
    "after the worker was asked to end": Crash({"die_at": r"POST /API/ShutdownServer"}),
    "after its termination, before it was deregistered": Crash({"die_at": r"POST /API/DeleteBackend", "before": True}),
    "after it was deregistered": Crash({"die_at": r"POST /API/DeleteBackend"}),
}


async def crash(world: World, point: Crash, parameters: dict[str, Any]) -> None:
    """Run a flow in a process that dies at a point, and make sure that it did."""
    before = max(await world.claims(), default=0)
    options = json.dumps({"flow": point.flow, "parameters": parameters, **point.at})
    log = world.folder / "flow.log"
    process = FORKS.Process(target=turn_process.run_forked, args=(options, dict(world.environment), log))
    await anyio.to_thread.run_sync(process.start)
    await anyio.to_thread.run_sync(process.join)
    told = f"the flow's process ended with {process.exitcode}; it said:\n{log.read_text(errors='replace')[-3000:]}"
    assert process.exitcode == -signal.SIGKILL, told
    assert max(await world.claims(), default=0) == before + point.claims, told


async def while_launching(world: World, point: Crash) -> None:
    """A fleet of two is launched; the first turn dies."""
    plain = world.fleet_json(limits={"min_workers": 2})
    await crash(world, point, {"fleet": plain})
    fleet = world.fleet(limits={"min_workers": 2})
    for _ in range(2):
        turn = await world.acted(fleet=fleet)
    await world.is_right(2)
    assert sum(world.starts().values()) == 2, f"{world.starts()} after {turn.said}"
    assert {worker.state.value for worker in (await world.record()).memory.workers} <= {"starting", "ready"}


async def with_a_busy_and_an_idle_worker(world: World) -> tuple[str, int, str]:
    """Two serve, one of them works without end: its id and pid, and the id of the other."""
    two = world.fleet(limits={"min_workers": 2})
    await world.acted(fleet=two)
    await world.acts_until_serving(2, fleet=two)
    world.generate()
    busy = await world.busy_worker()
    (idle,) = set(world.processes()) - {busy}
    return busy, world.processes()[busy], idle


async def is_served_still(world: World, busy: str, pid: int, idle: str) -> None:
    """The busy one works on, the idle one is gone from everywhere."""
    await world.is_right(1)
    assert world.processes() == {busy: pid}
    state = await world.master.control("State")
    assert state["lost"] == 0
    assert state["status"]["live_gens"] == 1
    assert sum(world.starts().values()) == 2
    (serving,) = [worker for worker in (await world.record()).memory.workers if worker.is_supply]
    assert (serving.worker_id, idle in world.processes()) == (busy, False)


async def while_marking(world: World, point: Crash) -> None:
    """One of two shall go; the turn that marks it dies."""
    busy, pid, idle = await with_a_busy_and_an_idle_worker(world)
    await world.pass_time(60)
    await crash(world, point, {"fleet": world.fleet_json()})
    for _ in range(2):
        await world.acted()
    await is_served_still(world, busy, pid, idle)


async def while_ending(world: World, point: Crash) -> None:
    """One of two was marked; the turn that ends it dies."""
    busy, pid, idle = await with_a_busy_and_an_idle_worker(world)
    await world.acted()
    assert await world.members(enabled=False) == {idle}
    await world.pass_time(60)
    await crash(world, point, {"fleet": world.fleet_json()})
    for _ in range(2):
        await world.acted()
    await is_served_still(world, busy, pid, idle)


async def while_a_person_scales_down(world: World, point: Crash) -> None:
    """A worker that became busy after it was marked is not stopped by the turns after a crash."""
    two = world.fleet(limits={"min_workers": 2})
    await world.acted(fleet=two)
    await world.acts_until_serving(2, fleet=two)
    named = sorted(world.processes())[0]
    fleet = world.fleet_json()
    await crash(world, point, {"fleet": fleet, "worker_ids": [named]})
    # The mark is in the record alone: the master still gives it work.
    work = [world.generate() for _ in range(2)]
    await world.busy_worker()
    pids = world.processes()
    await world.acted()
    assert world.processes() == pids, "it works, so it stays"
    for each in work:
        assert await world.finished(each) == 1
    for _ in range(2):
        # The master lets go of a child a moment after its last image; until then nobody is sure that it is empty.
        await world.acted()
    await world.is_right(1)
    assert named not in world.processes()


Scenario = Callable[[World, Crash], Awaitable[None]]

POINTS: dict[str, tuple[Scenario, Crash]] = {
    **{name: (while_launching, point) for name, point in LAUNCHING.items()},
    **{name: (while_marking, point) for name, point in MARKING.items()},
    **{name: (while_ending, point) for name, point in ENDING.items()},
    "after the claim of a scale-down, and then it becomes busy": (
        while_a_person_scales_down,
        Crash({"die_at": CLAIM}, flow="scale_down"),
    ),
}


def selected(provider: ProviderKind, shorter: Container[str]) -> list[Any]:
    """Every point for one provider; those that look the same at any other are no part of the shorter run."""
    return [
        pytest.param(
            provider,
            name,
            id=f"{provider} - {name}",
            marks=pytest.mark.soak if name in shorter else pytest.mark.endurance,
        )
        for name in POINTS
    ]


@pytest.fixture(scope="module")
async def outcomes(
    anyio_backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: str,
    prefect_environment: dict[str, str],
    request: pytest.FixtureRequest,
) -> dict[tuple[ProviderKind, str], str]:
    """What came of each crash point that was selected: nothing, or a traceback."""
    chosen: set[tuple[Any, Any]] = {
        (item.callspec.params["provider"], item.callspec.params["point"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }
    places = asyncio.Semaphore(AT_ONCE)
    found: dict[tuple[ProviderKind, str], str] = {}

    async def one(provider: ProviderKind, name: str, worlds: PrefectWorlds) -> None:
        scenario, point = POINTS[name]
        async with places:
            try:
                world = await worlds(*point.worker_options, provider=provider)
                await scenario(world, point)
                await world.close()
                found[provider, name] = ""
            except Exception:
                found[provider, name] = traceback.format_exc()

    async with opened_worlds(tmp_path_factory.mktemp("crashes"), PrefectHouse(prefect_environment)) as worlds:
        await asyncio.gather(*(one(provider, name, worlds) for provider, name in chosen))
    return found


@pytest.mark.parametrize(
    ("provider", "point"),
    [*selected("local", POINTS), *selected("launch-script", LAUNCHING)],
)
async def test_two_turns_after_a_crash_the_fleet_is_right(
    outcomes: dict[tuple[ProviderKind, str], str], provider: ProviderKind, point: str
) -> None:
    if outcomes[provider, point]:
        pytest.fail(f"killed {point}:\n{outcomes[provider, point]}", pytrace=False)


def test_the_flows_that_are_killed_are_the_ones_that_are_deployed() -> None:
    assert scale_down.name == "scale-down"
