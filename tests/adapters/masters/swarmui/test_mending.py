"""What goes wrong with an entry in the master, whoever did it: found, shown, and put right once no work is on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.core.worker import Worker
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.worker import WorkerSettings
from tests.adapters.masters.swarmui.played_master import (
    SwarmUIWorld,
    child_that_came_back,
    opened_world,
    ready,
)

pytestmark = pytest.mark.anyio


async def switched_off_and_on(world: SwarmUIWorld, worker: Worker) -> None:
    """While the switching off still waits for work: the master then forgets the child that switching on made."""
    await world.make_busy(worker)
    (entry,) = world.entries()
    off = asyncio.ensure_future(world.switch(entry, enabled=False))
    await world.until(lambda: not world.children())
    await world.switch(entry, enabled=True)
    await world.until(lambda: len(world.children()) > 0)
    assert await world.finish_work()
    await world.until(off.done)


async def failed_edit(world: SwarmUIWorld, worker: Worker) -> None:
    """A value that SwarmUI cannot read comes after it has shut the children down."""
    (entry,) = world.entries()
    await world.change(entry, {"ConnectionAttemptTimeoutSeconds": "soon"})


async def deleted_child(world: SwarmUIWorld, worker: Worker) -> None:
    (child,) = world.children()
    await world.delete(child)


async def second_child(world: SwarmUIWorld, worker: Worker) -> None:
    """As a master without a backends file makes it where an edit comes too early."""
    (entry,) = world.entries()
    world.workers[worker.worker_id].app.faults.add(Fault(FaultKind.SLOW, "ListBackends", seconds=2))
    body: dict[str, object] = {"AllowWebsocket": True}
    await asyncio.gather(world.change(entry, body), world.change(entry, body))
    await world.until(lambda: sum(child.may_run for child in world.children()) == 2)
    world.workers[worker.worker_id].app.faults.clear()


WRONG: list[tuple[Callable[[SwarmUIWorld, Worker], Awaitable[None]], str]] = [
    (switched_off_and_on, "switched on and `disabled`"),
    (failed_edit, "switched on and `disabled`"),
    (deleted_child, "no child of it takes work"),
    (second_child, "2 children of it take work"),
]


@pytest.mark.parametrize(("break_it", "said"), WRONG, ids=[break_it.__name__ for break_it, _ in WRONG])
async def test_regression_an_entry_that_went_wrong_stayed_so_for_ever(
    world: SwarmUIWorld, break_it: Callable[[SwarmUIWorld, Worker], Awaitable[None]], said: str
) -> None:
    worker = await world.start_worker(WorkerSettings(seconds_per_step=0.5))
    await ready(world, worker)
    await break_it(world, worker)
    for _ in range(20):
        await world.advance()
    (member,) = (await world.adapter().members()).members
    assert said in member.disorder
    assert (await world.adapter().mend(worker)).registered
    await world.until(lambda: any(child.may_run for child in world.children()))
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.disorder) == (MemberState.READY, "")
    (entry,), (child,) = world.entries(), world.children()
    assert list(entry.children.values()) == [child], "its only child has its owner"
    assert (await world.adapter().mend(worker)).registered
    assert world.children() == [child], "mended twice it is mended once"


async def test_an_entry_of_a_worker_with_work_is_not_mended(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    deleting = asyncio.ensure_future(deleted_child(world, worker))
    await world.until(lambda: not world.children())
    assert "works" in (await world.adapter().mend(worker)).detail
    (entry,) = world.entries()
    assert entry.enabled
    assert await world.finish_work()
    await world.until(deleting.done)


async def test_an_entry_whose_worker_has_no_backend_is_left_as_it_is(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    world.workers[worker.worker_id].show_backends(BackendState.ERRORED)
    await world.until(lambda: world.children() == [])
    (member,) = (await world.adapter().members()).members
    assert (member.state, "no child" in member.disorder) == (MemberState.JOINING, True)
    answer = await world.adapter().mend(worker)
    assert (answer.registered, answer.detail) == (False, "no backend of it runs")
    assert world.entries()[0].modcount == 1


async def test_a_worker_with_two_backends_of_one_name_is_in_order(world: SwarmUIWorld) -> None:
    worker = await world.start_worker(WorkerSettings(backends=2, backend_name="GPU"))
    await world.adapter().register(worker)
    await world.until(lambda: sum(child.may_run for child in world.children()) == 2)
    assert len({child.title for child in world.children()}) == 1
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.disorder) == (MemberState.READY, "")


async def test_regression_what_a_deregistered_worker_left_behind_was_found_by_nobody(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await child_that_came_back(world, worker, lambda: world.adapter().deregister(worker))
    await world.end_worker(worker)
    listing = await world.adapter().members()
    assert (listing.members, listing.strays) == ((), (worker.worker_id,))
    assert (await world.adapter().members(["sdxl-0abc-9-9"])).strays == ()
    await world.adapter().deregister(replace(worker, url=None))
    assert world.master.backends == ()
    assert (await world.adapter().members()).strays == ()


async def test_a_mended_entry_that_was_cut_off_in_the_middle_is_out_of_service_and_not_lost(
    world: SwarmUIWorld,
) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await deleted_child(world, worker)
    (entry,) = world.entries()
    await world.switch(entry, enabled=False)
    assert (await world.adapter().mend(worker)).registered, "what is switched off is another matter"
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.disorder) == (MemberState.DRAINING, "")
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED


async def test_a_new_master_is_told_of_and_its_slow_entry_is_gone_on_with_by_the_next_turn(tmp_path: Path) -> None:
    async with opened_world(tmp_path, is_new=True) as world:
        worker = await world.start_worker()
        answer = await world.adapter(call_timeout_seconds=0.5).register(worker)
        assert not answer.registered
        assert "restart it once" in answer.warning
        (entry,) = world.entries()
        assert answer.begun.endswith(f":{entry.id}")
        for _ in range(20):
            await world.advance()
        later = replace(worker, begun=answer.begun)
        assert (await world.adapter().register(later)).registered
        assert [(each.id, each.settings.address) for each in world.entries()] == [(entry.id, worker.url)]


@pytest.mark.parametrize("what", ["another process", "filled in by a person", "gone", "nonsense"])
async def test_an_entry_that_was_begun_yesterday_is_not_gone_on_with(world: SwarmUIWorld, what: str) -> None:
    worker = await world.start_worker()
    empty = await world.add_entry("", "")
    begun = f"{world.master.app.server_id}:{empty.id}"
    if what == "another process":
        world.master.app.server_id = "made anew when the process starts"
    elif what == "filled in by a person":
        empty.own_title = "Bob's GPU"
    elif what == "gone":
        await world.delete(empty)
    else:
        begun = f"{world.master.app.server_id}:-1"
    assert (await world.adapter().register(replace(worker, begun=begun))).registered
    assert all(entry.id != empty.id or entry.settings.address == "" for entry in world.entries())
    assert sum(entry.settings.address == worker.url for entry in world.entries()) == 1
