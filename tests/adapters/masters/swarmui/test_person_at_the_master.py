"""What a person does to our entries in SwarmUI's own page: renames them, switches them, adds others beside them."""

from dataclasses import replace

import pytest

from ebbflow.core.errors import RegistrationRejected
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.core.worker import Worker
from ebbflow.standins.swarmui.backend import Backend
from tests.adapters.masters.swarmui.played_master import (
    FLEET,
    FOREIGN_TITLE,
    HOME,
    SwarmUIWorld,
    child_that_came_back,
    ready,
)

pytestmark = pytest.mark.anyio

LONG = "x" * 10_000


async def renamed(world: SwarmUIWorld, title: str) -> tuple[Worker, Backend]:
    """A worker that serves, as the record knows it, and its entry, which a person calls something else."""
    worker = await world.start_worker()
    await ready(world, worker)
    (entry,) = world.entries()
    entry.own_title = title
    return replace(worker, registered=True), entry


@pytest.mark.parametrize("title", ["Bob's GPU", "", LONG, "ebbflow/", "[Remote from 0: x] y", "two\nlines \u202e"])
async def test_regression_a_renamed_entry_was_taken_for_somebody_elses_and_its_worker_ended(
    world: SwarmUIWorld, title: str
) -> None:
    worker, entry = await renamed(world, title)
    (member,) = (await world.adapter().members(known=[worker])).members
    assert (member.worker_id, member.state, member.busy) == (worker.worker_id, MemberState.READY, False)
    assert f"(backend {entry.id})" in member.renamed
    assert len(member.renamed) < 120
    before = entry.modcount
    assert (await world.adapter().register(worker)).registered
    assert (entry.own_title, entry.modcount, entry.enabled) == (title, before, True), "a new name is a person's to give"


async def test_a_renamed_entry_is_drained_and_deregistered_with_its_worker(world: SwarmUIWorld) -> None:
    worker, entry = await renamed(world, "Bob's GPU")
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    assert not entry.enabled
    (member,) = (await world.adapter().members([worker.worker_id], known=[worker])).members
    assert member.state is MemberState.DRAINING
    await world.end_worker(worker)
    await world.adapter().deregister(worker)
    assert world.master.backends == ()


async def test_a_renamed_entry_of_a_worker_that_is_gone_is_ours_while_nobody_answers_there(world: SwarmUIWorld) -> None:
    worker, entry = await renamed(world, "Bob's GPU")
    gone = replace(worker, state=WorkerState.GONE)
    assert (await world.adapter().members(known=[gone])).members == (), "somebody answers there, who may be another"
    await world.adapter().deregister(gone)
    assert world.entries() == [entry]
    await world.end_worker(worker)
    await world.until(lambda: str(entry.state) == "idle")
    (member,) = (await world.adapter().members(known=[gone])).members
    assert (member.worker_id, member.state) == (worker.worker_id, MemberState.LOST)
    await world.adapter().deregister(gone)
    assert world.master.backends == ()


async def test_an_address_is_ours_only_where_the_record_says_that_we_registered_it(world: SwarmUIWorld) -> None:
    worker, entry = await renamed(world, "Bob's GPU")
    unproven = replace(worker, registered=False)
    assert (await world.adapter().members(known=[unproven])).members == ()
    with pytest.raises(RegistrationRejected, match="not ours"):
        await world.adapter().register(unproven)
    assert await world.adapter().drain(unproven, 60) is DrainAnswer.GONE, "what is fed there is not known to be it"
    assert await world.adapter().drain(replace(unproven, registered=True), 60) is DrainAnswer.ACCEPTED
    assert not entry.enabled


@pytest.mark.parametrize("title", [FOREIGN_TITLE, f"ebbflow/other/{HOME}/other-0abc-1-0"])
async def test_an_address_of_ours_in_another_fleets_or_homes_entry_is_theirs(world: SwarmUIWorld, title: str) -> None:
    worker, entry = await renamed(world, title)
    assert (await world.adapter().members(known=[worker])).members == ()
    assert await world.adapter().drain(worker, 60) is DrainAnswer.FED
    await world.adapter().deregister(worker)
    assert world.entries() == [entry]
    assert entry.enabled


async def test_a_new_worker_at_the_address_of_an_old_one_has_its_own_entry(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    old = replace(worker, worker_id=f"{FLEET}-0abc-0-0", registered=True, state=WorkerState.GONE)
    (member,) = (await world.adapter().members(known=[old, worker])).members
    assert member.worker_id == worker.worker_id
    await world.adapter().deregister(old)
    assert len(world.entries()) == 1


async def test_regression_a_second_click_on_a_stale_page_was_undone_by_the_next_look(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (entry,) = world.entries()
    seen_out = replace(worker, member=MemberState.DRAINING)
    assert await world.adapter().drain(seen_out, 60) is DrainAnswer.ACCEPTED, "nobody has touched it"
    await world.switch(entry, enabled=True)
    assert await world.adapter().drain(seen_out, 60) is DrainAnswer.REOPENED
    assert entry.enabled
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED, "a new decision is a new reason"


async def test_what_serves_beside_ours_is_shown_by_name(world: SwarmUIWorld) -> None:
    mine, other, idle = [await world.start_worker() for _ in range(3)]
    await ready(world, mine)
    await world.add_entry("Bob's \x1b[31mGPU", other.url or "")
    await world.add_entry(FOREIGN_TITLE, idle.url or "")
    await world.add_entry("Carol's, switched off", "http://127.0.0.1:9")
    await world.until(lambda: sum(entry.parent is not None and entry.may_run for entry in world.master.backends) == 3)
    listing = await world.adapter().members()
    assert listing.others == ("Bob's \ufffd[31mGPU (backend 1)",)
    assert len(listing.members) == 1
    assert world.adapter(other_workers="count").caps.counts_others
    assert not world.adapter().caps.counts_others


async def test_regression_a_worker_that_never_came_in_could_not_leave_because_another_one_serves_at_its_address(
    world: SwarmUIWorld,
) -> None:
    serving = await world.start_worker()
    await ready(world, serving)
    other = replace(serving, worker_id=f"{FLEET}-0abc-1-9")
    assert not (await world.adapter().register(other)).registered
    for known in (other, replace(other, registered=True)):
        adapter = world.adapter()
        await adapter.members(known=[replace(serving, registered=True), known])
        assert await adapter.drain(known, 0, force=True) is DrainAnswer.GONE
    assert world.entries()[0].enabled


async def test_regression_a_renamed_entry_of_a_worker_that_is_gone_was_never_deleted(world: SwarmUIWorld) -> None:
    worker, _ = await renamed(world, "Bob's GPU")
    await world.end_worker(worker)
    gone = replace(worker, state=WorkerState.GONE)
    (member,) = (await world.adapter().members([gone.worker_id], known=[gone])).members
    assert member.worker_id == worker.worker_id, "its master has not noticed"
    await world.adapter().deregister(gone)
    assert world.master.backends == ()


async def test_regression_a_late_child_of_a_renamed_entry_was_nobodys(world: SwarmUIWorld) -> None:
    worker, _ = await renamed(world, "Bob's GPU")
    await child_that_came_back(world, worker, lambda: world.adapter().deregister(worker))
    await world.end_worker(worker)
    gone = replace(worker, state=WorkerState.GONE)
    assert (await world.adapter().members(known=[gone])).strays == (worker.worker_id,)
    await world.adapter().deregister(gone)
    assert world.master.backends == ()


async def test_regression_an_old_worker_claimed_the_renamed_entry_of_the_new_one_at_its_address(
    world: SwarmUIWorld,
) -> None:
    new, entry = await renamed(world, "Bob's GPU")
    old = replace(new, worker_id=f"{FLEET}-0abc-1-8", state=WorkerState.DRAINING)
    adapter = world.adapter()
    (member,) = (await adapter.members(known=[old, new])).members
    assert member.worker_id == new.worker_id
    await adapter.drain(old, 900)
    assert entry.enabled


async def test_of_two_entries_at_one_address_ours_stays_and_a_persons_is_not_deleted(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    adas = await world.add_entry("Ada's own", worker.url or "")
    await world.duplicate(worker)
    known = replace(worker, registered=True)
    assert (await world.adapter().register(known)).registered
    assert len(world.entries()) == 2
    members = (await world.adapter().members(known=[known])).members
    assert [member.duplicate for member in members] == [True, True]
    assert adas in world.entries()
