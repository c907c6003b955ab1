"""What every master adapter obeys, whichever way workers come to it. Public: adapters of other packages pass it too.

Subclass one of the two that build on it, `PushMasterContract` or `JoinMasterContract`; write a world, which is one real
or stand-in master with workers, and hand it in::

    class TestMyMaster(PushMasterContract):
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
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from enum import Enum
from typing import Generic, Protocol, TypeVar

import pytest

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError, MasterError, MasterUnavailable
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import DrainAnswer, DrainWay, IdleSource, MasterCaps, Member, MemberState
from ebbflow.core.ports import JoinMaster, KeepsAlive, Master, PushMaster
from ebbflow.core.worker import Worker

PATIENCE_LOOKS = 200
"""How often a test looks for something that must happen, letting time pass in between."""

SLACK_SECONDS = 0.5
"""What a busy computer may add to a call's time."""


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

    @property
    def troubles(self) -> Collection[Trouble]:
        """Which troubles this master can have."""
        ...

    def adapter(self) -> Master:
        """A new adapter object, as the next flow run makes it. The world closes it."""
        ...

    async def start_worker(self) -> Worker:
        """A worker that runs and answers; the master does not know it yet."""
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

    async def duplicate(self, worker: Worker) -> bool | None:
        """Make the master list a member twice; False where it cannot hold one twice."""
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


World = TypeVar("World", bound=MasterWorld)


@pytest.mark.anyio
class MasterContract(Generic[World]):
    """The laws of all masters. Its subclasses say how a worker comes in, and what else that way demands."""

    @pytest.fixture
    def world(self) -> World:
        """The master under test."""
        raise NotImplementedError("a subclass of MasterContract overrides the fixture `world`")

    async def introduce(self, world: World, worker: Worker) -> None:
        """Do once what makes a worker a member, if it is able to be one."""
        raise NotImplementedError("subclass PushMasterContract or JoinMasterContract")

    async def is_in(self, world: World, worker: Worker) -> bool:
        """Whether the adapter says that a worker which was introduced is a member now."""
        raise NotImplementedError("subclass PushMasterContract or JoinMasterContract")

    def is_out(self, caps: MasterCaps, member: Member) -> bool:
        """Whether the state of a member that was drained says that no new work can reach it."""
        return member.state is MemberState.DRAINING

    async def test_it_is_pushed_into_or_joined_and_not_both(self, world: World) -> None:
        adapter = world.adapter()
        assert isinstance(adapter, PushMaster) is not isinstance(adapter, JoinMaster)

    async def test_caps_say_what_the_scaler_needs(self, world: World) -> None:
        adapter = world.adapter()
        caps = adapter.caps
        assert isinstance(caps, MasterCaps)
        assert isinstance(caps.drain, DrainWay)
        assert isinstance(caps.idle_source, IdleSource)
        assert caps.call_seconds > 0
        if caps.idle_source is IdleSource.OBSERVED:
            shown = (await adapter.members()).members
            assert all(member.idle_seconds is None for member in shown), "a figure that nobody times is none"
        if caps.needs_keepalive_seconds is not None:
            assert caps.needs_keepalive_seconds > 0
            assert isinstance(adapter, KeepsAlive), "workers that end themselves without us must be kept alive"
        assert caps == world.adapter().caps, "the caps of one master must not differ between two objects"

    async def test_a_worker_is_always_started_with_the_same(self, world: World) -> None:
        specs = [world.adapter().join_spec("demo-0abc-1-0") for _ in range(2)]
        assert specs[0] == specs[1], "a launch that is sent again must be the same launch"

    async def test_a_healthy_master_is_usable(self, world: World) -> None:
        health = await world.adapter().probe()
        demand = await world.adapter().demand()
        assert health.reachable, health.detail
        assert (demand.complete, demand.queued, demand.running) == (True, 0, 0), demand.detail

    async def test_what_the_master_itself_wants_is_counts_of_sets_or_no_opinion(self, world: World) -> None:
        await self.ready(world, await world.start_worker())
        desired = (await world.adapter().demand()).desired
        for want in desired or ():
            amounts(want.capabilities)
            assert type(want.count) is int, f"{want} is no whole number of workers"
            assert want.count >= 0, want
        named = [frozenset(want.capabilities) for want in desired or ()]
        assert len(named) == len(set(named)), f"a capability set stands twice in {desired}"
        for trouble in world.troubles:
            await world.break_master(trouble)
            demand = await world.adapter().demand()
            await world.heal_master()
            assert demand.desired is None, f"{trouble}: unknown demand is no opinion, and never 0"

    async def test_what_came_and_was_served_is_counted_where_the_caps_say_so(self, world: World) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        before = await world.adapter().demand()
        if not world.adapter().caps.counts_requests:
            assert (before.arrived, before.served) == (None, None), "caps.counts_requests says that nobody counts"
            return
        assert before.arrived is not None
        assert before.served is not None
        await world.make_busy(worker)
        demand = await world.adapter().demand()
        assert (demand.arrived, demand.served) == (before.arrived + 1, before.served)
        assert await world.finish_work()
        await self.until(world, lambda: self.has_counted(world, before.arrived, before.served))

    async def test_an_adapter_that_takes_polls_tells_each_time_what_is_true_then(self, world: World) -> None:
        await self.ready(world, worker := await world.start_worker())
        adapter = world.adapter()
        if not adapter.caps.takes_polls:
            return
        assert (await adapter.demand()).running == 0
        await world.make_busy(worker)
        demands = [await adapter.demand() for _ in range(3)]
        assert [demand.running for demand in demands] == [1, 1, 1]
        assert await world.finish_work()
        await self.until(world, lambda: self.rests(adapter))
        for trouble in world.troubles:
            await world.break_master(trouble)
            assert not (await adapter.demand()).complete, trouble
            await world.heal_master()
        await self.until(world, lambda: self.rests(adapter))

    @staticmethod
    async def rests(adapter: Master) -> bool:
        """Whether nothing waits and nothing runs, by what an adapter says that was asked before."""
        demand = await adapter.demand()
        return (demand.complete, demand.queued, demand.running) == (True, 0, 0)

    async def test_a_broken_master_has_unknown_demand_and_members_but_never_none(self, world: World) -> None:
        await self.ready(world, await world.start_worker())
        for trouble in world.troubles:
            await world.break_master(trouble)
            demand, listing = await world.adapter().demand(), await world.adapter().members()
            await world.heal_master()
            assert not demand.complete, trouble
            assert demand.detail, trouble
            assert not listing.complete, trouble
            assert listing.detail, trouble

    async def test_a_broken_master_is_not_reachable_or_needs_a_person(self, world: World) -> None:
        for trouble in world.troubles:
            await world.break_master(trouble)
            assert await _complaint(world.adapter()), trouble
            await world.heal_master()
            assert not await _complaint(world.adapter()), trouble

    async def test_a_broken_master_raises_nothing_but_errors_of_masters(self, world: World) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        for trouble in world.troubles:
            if trouble is Trouble.HANGING:
                continue  # has a test of its own, which takes its time
            await world.break_master(trouble)
            for name in calls_of(world.adapter(), worker):
                # Everything else is a vendor's, or ours from elsewhere, and fails the test as it is.
                with contextlib.suppress(MasterError, ConfigError):
                    await calls_of(world.adapter(), worker)[name]()
            await world.heal_master()

    async def test_a_worker_that_is_loading_is_not_ready(self, world: World) -> None:
        worker = await world.start_worker()
        await world.start_loading(worker)
        await self.introduce(world, worker)
        await world.advance()
        assert all(member.state is MemberState.JOINING for member in await self.members(world))

    async def test_a_registered_worker_that_died_is_lost_or_not_listed(self, world: World) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.end_worker(worker)
        await self.until(world, lambda: self.in_state(world, MemberState.LOST, absent_too=True))
        assert all(member.busy is None for member in await self.members(world))

    async def test_a_second_look_shows_the_workers_alone_that_were_asked_for(self, world: World) -> None:
        workers = [await world.start_worker(), await world.start_worker()]
        for worker in workers:
            await self.entered(world, worker)
        assert len(await self.members(world)) == 2
        assert [member.worker_id for member in await self.members(world, workers[1])] == [workers[1].worker_id]

    async def test_foreign_members_are_shown_and_never_touched(self, world: World) -> None:
        name = await world.add_foreign_member()
        worker = await world.start_worker()
        await self.ready(world, worker)
        listing = await world.adapter().members()
        assert listing.foreign == (name,)
        assert [member.worker_id for member in listing.members] == [worker.worker_id]
        await self.torn_down(world, worker)
        assert await world.has_foreign_member()

    async def test_draining_a_busy_worker_loses_nothing(self, world: World) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.make_busy(worker)
        answer = await world.adapter().drain(worker, 60)
        assert answer in (DrainAnswer.ACCEPTED, DrainAnswer.BUSY)
        assert all(member.busy is not False for member in await self.members(world, worker))
        assert await world.finish_work()
        await self.drained(world, worker)
        await self.until(world, lambda: self.is_empty(world, worker))

    async def test_at_its_deadline_a_busy_worker_goes_back_into_service(self, world: World) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.make_busy(worker)
        await world.adapter().drain(worker, 60)
        answer = await world.adapter().drain(worker, 0)
        assert answer in (DrainAnswer.BUSY, DrainAnswer.HELD)
        states = {member.state for member in await self.members(world, worker)}
        assert (MemberState.DRAINING in states) is (answer is DrainAnswer.HELD), "who is held stays out"
        assert await world.finish_work()

    async def test_unknown_and_gone_workers_are_no_error(self, world: World) -> None:
        for worker in await self.unknown(world):
            adapter = world.adapter()
            assert await adapter.drain(worker, 60) in (DrainAnswer.GONE, DrainAnswer.SILENT)
            await adapter.shut_down(worker)
            if isinstance(adapter, KeepsAlive):
                assert not any((await adapter.keepalive([worker])).values())

    async def test_every_method_ends_in_time_when_the_master_hangs(self, world: World) -> None:
        if Trouble.HANGING not in world.troubles:
            pytest.fail("this master cannot be made to hang, so nothing shows that its calls end")
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.break_master(Trouble.HANGING)
        for name in calls_of(world.adapter(), worker):
            adapter = world.adapter()
            call = calls_of(adapter, worker)[name]
            began = time.monotonic()
            with contextlib.suppress(MasterUnavailable):
                await call()
            assert time.monotonic() - began < adapter.caps.call_seconds + SLACK_SECONDS, name

    async def test_keepalive_says_who_answered(self, world: World) -> None:
        alive, dead = await world.start_worker(), await world.start_worker()
        await world.end_worker(dead)
        adapter = world.adapter()
        if not isinstance(adapter, KeepsAlive):
            return
        answered = await adapter.keepalive([alive, dead])
        if adapter.caps.needs_keepalive_seconds is not None:
            assert answered == {alive.worker_id: True, dead.worker_id: False}

    async def members(self, world: World, worker: Worker | None = None) -> tuple[Member, ...]:
        """Who the master has, by a new adapter and in full; given a worker, a second look at it alone."""
        listing = await world.adapter().members(None if worker is None else [worker.worker_id])
        assert listing.complete, listing.detail
        return listing.members

    async def unknown(self, world: World) -> tuple[Worker, Worker]:
        """A worker that the master has never seen, once with and once without an address."""
        never = replace(await world.start_worker(), worker_id="never-0000-1-0")
        await world.end_worker(never)
        return never, replace(never, url=None)

    async def entered(self, world: World, worker: Worker) -> None:
        """Bring a worker in, and wait until the adapter says that it is."""
        await self.introduce(world, worker)
        await self.until(world, lambda: self.is_in(world, worker))

    async def ready(self, world: World, worker: Worker) -> None:
        """Bring a worker in, and wait until it takes work."""
        await self.entered(world, worker)
        await self.until(world, lambda: self.in_state(world, MemberState.READY))

    async def drained(self, world: World, worker: Worker) -> None:
        """Drain a worker that does nothing."""
        assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED

    async def in_state(
        self, world: World, state: MemberState, *, count: int | None = None, absent_too: bool = False
    ) -> bool:
        """Whether all members, or so many of them, are in a state."""
        members = await self.members(world)
        there = sum(member.state is state for member in members)
        if not members:
            return absent_too
        return there == (len(members) if count is None else count)

    async def has_counted(self, world: World, arrived: int | None, served: int | None) -> bool:
        """Whether one request more has come, and has been served."""
        demand = await world.adapter().demand()
        return (demand.arrived, demand.served) == ((arrived or 0) + 1, (served or 0) + 1)

    async def is_empty(self, world: World, worker: Worker) -> bool:
        """Whether a drained worker is out of service and says that it does nothing, or is listed no more."""
        caps = world.adapter().caps
        return all(self.is_out(caps, member) and member.busy is False for member in await self.members(world, worker))

    async def is_out_of_service(self, world: World, worker: Worker) -> bool:
        """Whether a drained worker is out of service and does nothing that anybody sees, or is listed no more."""
        caps = world.adapter().caps
        return all(
            self.is_out(caps, member) and member.busy is not True for member in await self.members(world, worker)
        )

    async def until(self, world: World, holds: Callable[[], Awaitable[bool]]) -> None:
        """Let time pass until it holds, or fail."""
        for _ in range(PATIENCE_LOOKS):
            if await holds():
                return
            await world.advance()
        pytest.fail("it did not happen in time")

    async def torn_down(self, world: World, worker: Worker, steps: Collection[str] | None = None) -> None:
        """The steps of a teardown, each by a process of its own, from the first one on; None: all there are."""
        if steps is None or "drain" in steps:
            assert await world.adapter().drain(worker, 60) is not DrainAnswer.BUSY
        if steps is None or "look" in steps:
            await self.until(world, lambda: self.is_out_of_service(world, worker))
        if steps is None or "shut_down" in steps:
            await world.adapter().shut_down(worker)
        if steps is None or "terminate" in steps:
            await world.end_worker(worker)


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


def calls_of(master: Master, worker: Worker) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """Every method of every port that a master has, by a name for the test's message."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "probe": master.probe,
        "demand": master.demand,
        "members": master.members,
    }
    if isinstance(master, PushMaster):
        calls["register"] = lambda: master.register(worker)
    if isinstance(master, JoinMaster):
        calls["joined"] = lambda: master.joined(worker)
    calls |= {
        "drain": lambda: master.drain(worker, 60),
        "drain at the deadline": lambda: master.drain(worker, 0),
        "shut_down": lambda: master.shut_down(worker),
    }
    if isinstance(master, PushMaster):
        calls["deregister"] = lambda: master.deregister(worker)
        calls["remove_unfinished"] = lambda: master.remove_unfinished("0")
        calls["mend"] = lambda: master.mend(worker)
    if isinstance(master, KeepsAlive):
        calls["keepalive"] = lambda: master.keepalive([worker])
    return {**calls, "aclose": master.aclose}
