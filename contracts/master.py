"""The tests that every master adapter passes. Public: adapters outside this repository subclass it too.

Write a world, which is one real or stand-in master with workers, and hand it in::

    class TestMyMaster(MasterContract):
        @pytest.fixture
        async def world(self) -> AsyncIterator[MyWorld]:
            async with my_world() as world:
                yield world

`MasterWorld` says what a world must be able to do. Tests are async: the test suite needs the fixture `anyio_backend`
returning `"asyncio"`. Choose short call timeouts, since the tests wait for them.
"""

# ruff: noqa: D102  (a test's name is its sentence)

import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from enum import Enum
from typing import Protocol

import pytest

from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import DrainAnswer, Member, MemberState
from ebbflow.core.ports import Master
from ebbflow.core.worker import Worker

PATIENCE_LOOKS = 200
"""How often a test looks for something that must happen, letting time pass in between."""

SLACK_SECONDS = 0.5
"""What a busy computer may add to a call's time."""

TEARDOWN_STEPS = ("drain", "look", "shut_down", "terminate", "deregister")


class Trouble(Enum):
    """What can be wrong with a master."""

    DOWN = "down"
    """Nobody listens."""
    HANGING = "hanging"
    """It accepts requests and never answers."""
    FAILING = "failing"
    """HTTP 500 to everything."""
    UNAUTHORISED = "unauthorised"
    """It does not let us in any more."""
    BAD_REQUEST = "bad_request"
    """HTTP 400 to everything."""
    NONSENSE = "nonsense"
    """HTTP 200 and something that is not its protocol, as from a proxy."""
    STALE = "stale"
    """It answers with data that is too old."""


class MasterWorld(Protocol):
    """One master with its workers, as a test can move it. Nothing here goes through the adapter under test."""

    troubles: Collection[Trouble]
    """Which troubles this master can have."""

    def adapter(self) -> Master:
        """A new adapter object, as the next flow run makes it. The world closes it."""
        ...

    async def start_worker(self) -> Worker:
        """A worker that runs and answers; its URL is known, and it is not registered."""
        ...

    async def end_worker(self, worker: Worker) -> None:
        """The worker's process ends, as when its provider terminates it. May have ended already."""
        ...

    async def make_busy(self, worker: Worker) -> None:
        """Give the master one piece of work and wait until the worker, which is its only one, runs it."""
        ...

    async def finish_work(self) -> bool:
        """Let that work end. True when its user got the result."""
        ...

    async def advance(self) -> None:
        """Let a second or so pass for master and workers, in as little real time as possible."""
        ...

    async def start_loading(self, worker: Worker) -> None:
        """Make a worker that answers, but takes no work for a long time yet."""
        ...

    async def add_foreign_member(self) -> str:
        """Add a member with our fleet's name and another home; returns the name that it has in the master."""
        ...

    async def has_foreign_member(self) -> bool:
        """Whether that member is in the master, as it was made."""
        ...

    async def duplicate(self, worker: Worker) -> None:
        """Make the master list a registered worker twice."""
        ...

    async def crash_in_registration(self, worker: Worker) -> None:
        """Let a new adapter begin to register a worker and die between the steps of it."""
        ...

    async def break_master(self, trouble: Trouble) -> None:
        """Switch a trouble on."""
        ...

    async def heal_master(self) -> None:
        """Switch every trouble off."""
        ...

    async def restart_master(self) -> None:
        """End the master's process in order, and start it again."""
        ...

    def sessions_given(self) -> int:
        """How many API sessions master and workers have given out so far; 0 where there are none."""
        ...


@pytest.mark.anyio
class MasterContract:
    """Subclass it, and override the fixture `world`."""

    @pytest.fixture
    def world(self) -> MasterWorld:
        """The master under test."""
        raise NotImplementedError("a subclass of MasterContract overrides the fixture `world`")

    async def test_a_healthy_master_is_usable(self, world: MasterWorld) -> None:
        health = await world.adapter().probe()
        demand = await world.adapter().demand()
        assert health.reachable, health.detail
        assert (demand.complete, demand.queued, demand.running) == (True, 0, 0), demand.detail

    async def test_a_worker_registered_twice_is_one_member(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        for _ in range(2):
            await _registered(world, worker)
        assert [member.worker_id for member in await _members(world)] == [worker.worker_id]

    async def test_a_registration_that_died_half_way_is_completed_by_the_next_one(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await world.crash_in_registration(worker)
        await _registered(world, worker)
        for ref in (await world.adapter().members()).unfinished:
            await world.adapter().remove_unfinished(ref)
        listing = await world.adapter().members()
        assert [member.worker_id for member in listing.members] == [worker.worker_id]
        assert listing.unfinished == ()

    async def test_a_broken_master_has_unknown_demand_and_members_but_never_none(self, world: MasterWorld) -> None:
        await _ready(world, await world.start_worker())
        for trouble in world.troubles:
            await world.break_master(trouble)
            demand, listing = await world.adapter().demand(), await world.adapter().members()
            await world.heal_master()
            assert not demand.complete, trouble
            assert demand.detail, trouble
            assert not listing.complete, trouble
            assert listing.detail, trouble

    async def test_a_broken_master_is_not_reachable_or_needs_a_person(self, world: MasterWorld) -> None:
        for trouble in world.troubles:
            await world.break_master(trouble)
            assert await _complaint(world.adapter()), trouble
            await world.heal_master()
            assert not await _complaint(world.adapter()), trouble

    async def test_members_are_joining_then_ready_then_draining(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        (member,) = await _members(world)
        assert member.busy is False
        assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
        (member,) = await _members(world)
        assert member.state is MemberState.DRAINING

    async def test_a_worker_that_is_loading_is_not_ready(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await world.start_loading(worker)
        await world.adapter().register(worker)
        await world.advance()
        assert all(member.state is MemberState.JOINING for member in await _members(world))

    async def test_a_registered_worker_that_died_is_lost_or_not_listed(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.end_worker(worker)
        await _until(world, lambda: _in_state(world, MemberState.LOST, absent_too=True))
        assert all(member.busy is None for member in await _members(world))

    async def test_an_absent_worker_is_not_registered(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await world.end_worker(worker)
        answer = await world.adapter().register(worker)
        assert not answer.registered
        assert answer.detail
        assert await _members(world) == ()

    async def test_foreign_members_are_shown_and_never_touched(self, world: MasterWorld) -> None:
        name = await world.add_foreign_member()
        worker = await world.start_worker()
        await _ready(world, worker)
        listing = await world.adapter().members()
        assert listing.foreign == (name,)
        assert [member.worker_id for member in listing.members] == [worker.worker_id]
        await _tear_down(world, worker)
        assert await world.has_foreign_member()

    async def test_draining_a_busy_worker_loses_nothing(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.make_busy(worker)
        answer = await world.adapter().drain(worker, 60)
        assert answer in (DrainAnswer.ACCEPTED, DrainAnswer.BUSY)
        assert all(member.busy is not False for member in await _members(world, worker))
        assert await world.finish_work()
        assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
        await _until(world, lambda: _is_drained(world, worker))

    async def test_at_its_deadline_a_busy_worker_goes_back_into_service(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.make_busy(worker)
        await world.adapter().drain(worker, 60)
        assert await world.adapter().drain(worker, 0) is DrainAnswer.BUSY
        assert all(member.state is not MemberState.DRAINING for member in await _members(world, worker))
        assert await world.finish_work()

    async def test_at_its_deadline_a_busy_worker_is_drained_by_force(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.make_busy(worker)
        assert await world.adapter().drain(worker, 0, force=True) is DrainAnswer.ACCEPTED
        assert all(member.state is MemberState.DRAINING for member in await _members(world, worker))
        assert await world.finish_work()

    async def test_a_draining_worker_is_not_registered_again(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.adapter().drain(worker, 60)
        await world.adapter().register(worker)
        assert all(member.state is MemberState.DRAINING for member in await _members(world))

    async def test_unknown_and_gone_workers_are_no_error(self, world: MasterWorld) -> None:
        never = replace(await world.start_worker(), worker_id="never-0000-1-0")
        await world.end_worker(never)
        for worker in (never, replace(never, url=None)):
            adapter = world.adapter()
            assert await adapter.drain(worker, 60) is DrainAnswer.GONE
            await adapter.shut_down(worker)
            await adapter.deregister(worker)
            await adapter.deregister(worker)
            assert not any((await adapter.keepalive([worker])).values())
        await world.adapter().remove_unfinished("4711")

    async def test_every_method_ends_in_time_when_the_master_hangs(self, world: MasterWorld) -> None:
        if Trouble.HANGING not in world.troubles:
            pytest.fail("this master cannot be made to hang, so nothing shows that its calls end")
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.break_master(Trouble.HANGING)
        for call in _calls(worker):
            adapter = world.adapter()
            began = time.monotonic()
            with contextlib.suppress(MasterUnavailable):
                await call(adapter)
            assert time.monotonic() - began < adapter.caps.call_seconds + SLACK_SECONDS

    async def test_keepalive_says_who_answered(self, world: MasterWorld) -> None:
        alive, dead = await world.start_worker(), await world.start_worker()
        await world.end_worker(dead)
        adapter = world.adapter()
        answered = await adapter.keepalive([alive, dead])
        if adapter.caps.needs_keepalive_seconds is not None:
            assert answered == {alive.worker_id: True, dead.worker_id: False}

    async def test_workers_keep_their_ids_over_a_restart_of_the_master(self, world: MasterWorld) -> None:
        workers = [await world.start_worker(), await world.start_worker()]
        for worker in workers:
            await _registered(world, worker)
        await world.adapter().drain(workers[0], 60)
        await world.restart_master()
        await _until(world, lambda: _in_state(world, MemberState.READY, count=1))
        found = {member.worker_id: (member.url, member.state) for member in await _members(world)}
        assert found[workers[1].worker_id] == (workers[1].url, MemberState.READY)
        if world.adapter().caps.drain == "native":
            assert found[workers[0].worker_id] == (workers[0].url, MemberState.DRAINING)

    async def test_a_hundred_turns_need_no_new_session(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        given = world.sessions_given()
        for _ in range(100):
            adapter = world.adapter()
            await adapter.keepalive([worker])
            await adapter.probe()
            await adapter.demand()
            await adapter.members()
            await adapter.register(worker)
            await adapter.aclose()
        assert world.sessions_given() == given

    @pytest.mark.parametrize("step", range(len(TEARDOWN_STEPS)), ids=TEARDOWN_STEPS)
    async def test_an_interrupted_teardown_is_finished_by_a_new_process(self, world: MasterWorld, step: int) -> None:
        worker, other = await world.start_worker(), await world.start_worker()
        await _registered(world, worker)
        await _registered(world, other)
        await _tear_down(world, worker, steps=TEARDOWN_STEPS[: step + 1])
        await _tear_down(world, worker)
        assert [member.worker_id for member in await _members(world)] == [other.worker_id]
        assert (await world.adapter().members()).unfinished == ()

    async def test_a_worker_that_is_listed_twice_is_reported_and_deregistered_whole(self, world: MasterWorld) -> None:
        worker = await world.start_worker()
        await _ready(world, worker)
        await world.duplicate(worker)
        twice = await _members(world, worker)
        assert len(twice) == 2
        assert all(member.duplicate for member in twice)
        await world.end_worker(worker)
        await world.adapter().deregister(worker)
        assert await _members(world) == ()


def worker_at(worker_id: str, url: str | None) -> Worker:
    """A worker as a turn hands it to a master."""
    return Worker(worker_id=worker_id, provider="test", state=WorkerState.STARTING, url=url)


async def _complaint(master: Master) -> str:
    """What `probe` says against using a master; empty for nothing."""
    try:
        health = await master.probe()
    except ConfigError as error:
        return str(error)
    return "" if health.reachable else health.detail


async def _members(world: MasterWorld, worker: Worker | None = None) -> tuple[Member, ...]:
    listing = await world.adapter().members(None if worker is None else [worker.worker_id])
    assert listing.complete, listing.detail
    return listing.members


async def _registered(world: MasterWorld, worker: Worker) -> None:
    async def attempt() -> bool:
        return (await world.adapter().register(worker)).registered

    await _until(world, attempt)


async def _ready(world: MasterWorld, worker: Worker) -> None:
    await _registered(world, worker)
    await _until(world, lambda: _in_state(world, MemberState.READY))


async def _in_state(
    world: MasterWorld, state: MemberState, *, count: int | None = None, absent_too: bool = False
) -> bool:
    members = await _members(world)
    there = sum(member.state is state for member in members)
    if not members:
        return absent_too
    return there == (len(members) if count is None else count)


async def _is_drained(world: MasterWorld, worker: Worker) -> bool:
    return all(
        member.state is MemberState.DRAINING and member.busy is False for member in await _members(world, worker)
    )


async def _until(world: MasterWorld, holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(PATIENCE_LOOKS):
        if await holds():
            return
        await world.advance()
    pytest.fail("it did not happen in time")


async def _tear_down(world: MasterWorld, worker: Worker, steps: Collection[str] = TEARDOWN_STEPS) -> None:
    """The steps of a teardown, each by a process of its own, from the first one on."""
    if "drain" in steps:
        assert await world.adapter().drain(worker, 60) in (DrainAnswer.ACCEPTED, DrainAnswer.GONE)
    if "look" in steps:
        await _until(world, lambda: _is_out_of_service(world, worker))
    if "shut_down" in steps:
        await world.adapter().shut_down(worker)
    if "terminate" in steps:
        await world.end_worker(worker)
    if "deregister" in steps:
        await world.adapter().deregister(worker)


async def _is_out_of_service(world: MasterWorld, worker: Worker) -> bool:
    return all(
        member.state is MemberState.DRAINING and member.busy is not True for member in await _members(world, worker)
    )


def _calls(worker: Worker) -> list[Callable[[Master], Awaitable[object]]]:
    return [
        lambda master: master.probe(),
        lambda master: master.demand(),
        lambda master: master.members(),
        lambda master: master.register(worker),
        lambda master: master.drain(worker, 60),
        lambda master: master.drain(worker, 0),
        lambda master: master.shut_down(worker),
        lambda master: master.deregister(worker),
        lambda master: master.remove_unfinished("0"),
        lambda master: master.keepalive([worker]),
        lambda master: master.aclose(),
    ]
