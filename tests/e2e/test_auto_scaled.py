"""A fleet whose workers SwarmUI's own auto-scaling backend starts and ends, played by its measured rules."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Verb
from ebbflow.flows.override import override
from ebbflow.flows.scale_down import scale_down
from ebbflow.flows.scale_up import scale_up
from tests.e2e.houses import AnyFlow
from tests.e2e.plain_house import PlainHouse
from tests.e2e.processes import until
from tests.e2e.world import World, Worlds

pytestmark = pytest.mark.anyio

SCALER = 900
"""The number of the auto-scaling backend in the stand-in."""


@pytest.fixture
async def worlds(tmp_path: Path) -> AsyncIterator[Worlds[Any]]:
    async with AsyncExitStack() as stack:
        yield Worlds(tmp_path, PlainHouse(), stack)


async def behind_a_scaler(worlds: Worlds[Any], tmp_path: Path, **scaling: Any) -> World[Any]:
    """A fleet that decides on nothing, and a master whose start script prints what a test writes into `url`."""
    script = tmp_path / "start.sh"
    script.write_text(
        f"#!/bin/sh\nuntil [ -s '{tmp_path}/url' ]; do sleep 0.05; done\n"
        f"echo \"[SwarmAutoScaleBackend]NewURL: $(cat '{tmp_path}/url')[/SwarmAutoScaleBackend]\"\n"
    )
    script.chmod(0o755)
    settings = {"script": str(script), "min_queued": 1, "seconds_between_starts": 0, **scaling}
    world: World[Any] = await worlds(
        master={"workers_by": "auto_scaling_backend"},
        options=("--auto_scaling", json.dumps(settings)),
        interval_seconds=17,
        policy={"kind": "no"},
        limits={"min_workers": 0, "max_workers": 2},
        readiness={"connect_timeout_seconds": 2, "launch_timeout_seconds": 300},
    )
    return world


async def launched(world: World[Any], tmp_path: Path) -> asyncio.Task[dict[str, Any]]:
    """One worker that the scaler has asked for and got, by one request."""
    request = world.generate(steps=1)
    # The turn goes on until its worker is registered, or its time is over.
    turn = asyncio.ensure_future(world.acted(scale_up, count=1, hold_seconds=1))
    provider = await world.house.provider(f"local-provider/{world.name}")
    for _ in range(200):
        urls = [each.url for each in (await provider.list_instances(world.name)).instances if each.url]
        if urls:
            break
        await asyncio.sleep(0.1)
    (tmp_path / "url").write_text(urls[0])
    await turn
    return request


async def turns_until(world: World[Any], holds: Callable[[], object], what: str, *, turns: int = 12) -> None:
    await world.acts_until(holds, what, turns=turns)


async def test_who_it_asked_for_is_counted_once_and_left_to_it(worlds: Worlds[Any], tmp_path: Path) -> None:
    world = await behind_a_scaler(worlds, tmp_path)
    request = await launched(world, tmp_path)
    assert (await request).get("images")
    await world.acted()
    for _ in range(3):
        await world.acted()
        record = await world.record()
        (worker,) = record.memory.workers
        assert (worker.state, worker.registered, worker.mark) == (WorkerState.READY, True, None), (
            await world.last_words()
        )
        assert (record.plan.supply, record.plan.existing, record.plan.actions) == (1, 1, ())
    assert await world.master.entries() == {
        "Auto Scaling Backend": (await world.master.entries())["Auto Scaling Backend"]
    }
    await asyncio.sleep(3)
    pings = await world.master.call("ListBackends", nonreal=True)
    (url,) = {row["settings"]["Address"] for row in pings.values() if row["settings"].get("Address")}
    state = dict((await world.master.http.post(f"{url}/Control/State", json={})).json())
    assert len(state["control_times"]) >= 3, "it is pinged each second"


async def test_whom_it_ends_is_forgotten_and_nobody_comes_in_its_place(worlds: Worlds[Any], tmp_path: Path) -> None:
    world = await behind_a_scaler(worlds, tmp_path, min_idle_seconds=3)
    await (await launched(world, tmp_path))
    await world.acted()
    await until(lambda: not world.processes(), "it is ended after its idle time")
    for _ in range(3):
        await world.acted()
    record = await world.record()
    assert (record.memory.workers, record.plan.existing) == ((), 0)
    assert sum(world.starts().values()) == 1


@pytest.mark.parametrize("way", ["the master was killed", "its entry was deleted while a script ran"])
async def test_whom_it_has_lost_is_drained_looked_at_twice_and_ended(
    worlds: Worlds[Any], tmp_path: Path, way: str
) -> None:
    world = await behind_a_scaler(worlds, tmp_path)
    if way == "the master was killed":
        await (await launched(world, tmp_path))
        await world.acted()
        with suppress(httpx.RemoteProtocolError):
            await world.master.control("Crash")
        await until(lambda: not world.master.runs, "the master is dead")
        await world.master.start(int(world.master.url.rpartition(":")[2]))
    else:
        request = world.generate(steps=1)
        await asyncio.sleep(1.5)
        await world.master.call("DeleteBackend", backend_id=SCALER)
        request.cancel()
        await launched(world, tmp_path)
    (tmp_path / "url").write_text("")
    await turns_until(world, lambda: not world.processes(), "who is pinged by nobody is ended", turns=20)
    await world.acted()
    await world.acted()
    assert (await world.record()).memory.workers == ()
    left = await world.master.call("ListBackends", nonreal=True)
    assert [row["title"] for row in left.values() if row["type"] == "swarmswarmbackend"] == []


async def test_a_person_cannot_scale_it_down_or_hold_it_up(worlds: Worlds[Any], tmp_path: Path) -> None:
    world = await behind_a_scaler(worlds, tmp_path)
    await world.acted()
    refused: list[tuple[AnyFlow, dict[str, Any], str]] = [
        (scale_down, {"count": 1}, "are started and ended by its master's own auto-scaling backend"),
        (override, {"kind": "ceiling", "count": 0}, "change MinBackends, MaxBackends or MinIdleTime there"),
        (scale_up, {"count": 1, "hold_seconds": 3600}, "would be launched again; at most 1 s are held there"),
    ]
    for flow, parameters, said in refused:
        turn = await world.turn(flow, **parameters)
        assert said in turn.said, turn.said
    assert not world.processes()


@pytest.mark.soak
async def test_who_was_launched_and_is_not_taken_can_be_given_back(worlds: Worlds[Any], tmp_path: Path) -> None:
    world = await behind_a_scaler(worlds, tmp_path)
    # Nobody takes it, so its turn lasts for as long as turns do.
    turn = asyncio.ensure_future(world.acted(scale_up, count=1, hold_seconds=1))
    await until(world.processes, "it was launched")
    (worker_id,) = world.processes()
    await world.turn(scale_down, worker_ids=[worker_id], hold_seconds=1)
    await turns_until(world, lambda: not world.processes(), "who is given back is ended")
    await turn


async def test_the_end_of_the_fleet_ends_its_workers_too(worlds: Worlds[Any], tmp_path: Path) -> None:
    world = await behind_a_scaler(worlds, tmp_path)
    await (await launched(world, tmp_path))
    await world.master.call("DeleteBackend", backend_id=SCALER)
    await world.acted(override, kind="wind_down")
    await turns_until(world, lambda: not world.processes(), "nobody is left")
    verbs = {action.verb for action in (await world.record()).plan.actions}
    assert Verb.LAUNCH not in verbs
