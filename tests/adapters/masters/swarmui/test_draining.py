"""A worker leaves a SwarmUI master: emptied, vetoed, forgotten, and nothing of it left that takes work."""

from dataclasses import replace
from pathlib import Path

import pytest

from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.swarmui.worker import WorkerSettings
from tests.adapters.masters.swarmui.played_master import (
    HANG_SECONDS,
    SwarmUIWorld,
    child_that_came_back,
    opened_world,
    ready,
)

pytestmark = pytest.mark.anyio


async def test_a_worker_with_a_full_backend_is_drained_although_the_master_does_not_answer(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (entry,) = world.entries()
    assert not entry.enabled
    assert await world.finish_work()


async def test_regression_a_veto_enabled_an_entry_that_was_still_being_emptied(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    assert await world.adapter().drain(worker, 0) is DrainAnswer.HELD
    (entry,) = world.entries()
    assert not entry.enabled
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.DRAINING, True)
    assert await world.finish_work()
    await world.until(lambda: str(entry.state) == "disabled")
    assert [each.id for each in world.master.backends] == [entry.id], "nobody serves on without an owner"
    assert await world.adapter().drain(worker, 0) is DrainAnswer.ACCEPTED, "its work is done, and it leaves"


async def test_a_worker_with_a_free_slot_goes_back_into_service_at_once(world: SwarmUIWorld) -> None:
    worker = await world.start_worker(WorkerSettings(max_usages=2))
    await ready(world, worker)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (entry,) = world.entries()
    await world.until(lambda: str(entry.state) == "disabled")
    assert await world.adapter().drain(worker, 0) is DrainAnswer.BUSY
    await world.until(lambda: any(each.may_run for each in world.master.backends if each.parent is entry))
    assert await world.finish_work()


async def test_regression_a_worker_that_counts_nothing_any_more_was_empty_before_its_image_was_delivered(
    tmp_path: Path,
) -> None:
    async with opened_world(tmp_path, websocket_seconds=2) as world:
        worker = await world.start_worker()
        await ready(world, worker)
        await world.make_busy(worker)
        assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
        serving = world.workers[worker.worker_id]
        await world.until(lambda: serving.served == 1)
        (member,) = (await world.adapter().members()).members
        assert member.busy, "the master's request has not its image yet"
        assert await world.finish_work()


async def test_regression_a_drained_worker_got_work_through_a_child_that_came_back(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await child_that_came_back(world, worker, lambda: world.adapter().drain(worker, 60))
    (member,) = (await world.adapter().members()).members
    assert member.busy, "work may reach it"
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.DRAINING, False)


async def test_regression_a_deregistered_worker_left_a_child_that_fails_every_request(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await child_that_came_back(world, worker, lambda: world.adapter().deregister(worker))
    await world.end_worker(worker)
    await world.adapter().deregister(worker)
    assert world.master.backends == ()


async def test_a_toggle_without_effect_is_an_error(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    world.master.app.faults.add(Fault(FaultKind.HANG, "ToggleBackend"))
    with pytest.raises(MasterUnavailable, match="ToggleBackend"):
        await world.adapter(call_timeout_seconds=HANG_SECONDS).drain(worker, 60)


async def test_a_busy_worker_that_the_master_does_not_know_is_not_gone(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    known = next(iter(world.entries()))
    known.own_title = "renamed by a person"
    assert await world.adapter().drain(worker, 60) is DrainAnswer.BUSY
    assert known.enabled


async def test_shutting_down_asks_the_worker_and_forgives_a_dead_one(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await world.adapter().shut_down(worker)
    assert len(world.workers[worker.worker_id].app.requests_for("ShutdownServer")) == 1
    await world.end_worker(worker)
    await world.adapter().shut_down(worker)
    await world.adapter().shut_down(replace(worker, url=None))
