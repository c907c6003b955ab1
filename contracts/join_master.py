"""What every master obeys that workers join by themselves: `core.ports.JoinMaster`."""

# ruff: noqa: D102  (a test's name is its sentence)

from dataclasses import replace
from typing import Protocol

import pytest

from ebbflow.contracts.master import MasterContract, MasterWorld
from ebbflow.core.errors import ConfigError, MasterError
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import DrainAnswer, DrainWay, MasterCaps, Member, MemberState
from ebbflow.core.ports import JoinMaster
from ebbflow.core.worker import Worker

TEARDOWN_STEPS = ("drain", "look", "shut_down", "terminate")


class JoinMasterWorld(MasterWorld, Protocol):
    """One master with workers that come to it by themselves, when a test lets them."""

    def adapter(self) -> JoinMaster:
        """A new adapter object, as the next flow run makes it. The world closes it."""
        ...

    async def let_join(self, worker: Worker) -> None:
        """Let a worker that runs join, as its join spec says. Returns at once; it may take its time."""
        ...


class JoinMasterContract(MasterContract[JoinMasterWorld]):
    """Subclass it, and override the fixture `world`."""

    async def introduce(self, world: JoinMasterWorld, worker: Worker) -> None:
        await world.let_join(worker)

    async def is_in(self, world: JoinMasterWorld, worker: Worker) -> bool:
        return (await world.adapter().joined(worker)).registered

    def is_out(self, caps: MasterCaps, member: Member) -> bool:
        # Such a master may let go of a worker as soon as it is drained; one that cannot refuse work shows no change.
        return member.state in (MemberState.DRAINING, MemberState.LOST) or caps.drain is not DrainWay.NATIVE

    async def drained(self, world: JoinMasterWorld, worker: Worker) -> None:
        assert await world.adapter().drain(worker, 60) in (DrainAnswer.ACCEPTED, DrainAnswer.GONE)

    async def is_empty(self, world: JoinMasterWorld, worker: Worker) -> bool:
        caps = world.adapter().caps
        return all(
            self.is_out(caps, member) and (member.busy is False or member.state is MemberState.LOST)
            for member in await self.members(world, worker)
        )

    async def test_a_worker_is_told_how_to_come(self, world: JoinMasterWorld) -> None:
        assert world.adapter().join_spec("demo-0abc-1-0") != JoinSpec()

    async def test_a_worker_has_joined_once_it_came_and_not_before(self, world: JoinMasterWorld) -> None:
        worker, other = await world.start_worker(), await world.start_worker()
        for absent in (worker, other):
            answer = await world.adapter().joined(absent)
            assert not answer.registered, f"{absent.worker_id} has not come"
            assert answer.detail
        await self.entered(world, worker)
        assert [member.worker_id for member in await self.members(world)] == [worker.worker_id]
        assert not (await world.adapter().joined(other)).registered, f"{other.worker_id} has not come"

    async def test_a_worker_is_known_by_its_whole_id(self, world: JoinMasterWorld) -> None:
        worker = await world.start_worker()
        await self.entered(world, worker)
        for worker_id in (f"{worker.worker_id}0", worker.worker_id[:-1], ""):
            assert not (await world.adapter().joined(replace(worker, worker_id=worker_id))).registered, worker_id

    async def test_looking_whether_a_worker_has_joined_changes_nothing(self, world: JoinMasterWorld) -> None:
        worker, absent = await world.start_worker(), await world.start_worker()
        await self.ready(world, worker)
        before = [(member.worker_id, member.state, member.busy) for member in await self.members(world)]
        for _ in range(3):
            await world.adapter().joined(worker)
            await world.adapter().joined(absent)
        after = [(member.worker_id, member.state, member.busy) for member in await self.members(world)]
        assert after == before

    async def test_a_broken_master_does_not_say_who_has_joined(self, world: JoinMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        for trouble in world.troubles:
            await world.break_master(trouble)
            # "Not yet" would use up the attempts of a worker that serves.
            with pytest.raises((MasterError, ConfigError)):
                await world.adapter().joined(worker)
            await world.heal_master()

    async def test_a_worker_that_joined_is_ready_and_then_drained(self, world: JoinMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        (member,) = await self.members(world)
        assert member.busy is False
        await self.drained(world, worker)
        await self.until(world, lambda: self.is_empty(world, worker))

    async def test_at_its_deadline_a_busy_worker_is_drained_by_force(self, world: JoinMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.make_busy(worker)
        assert await world.adapter().drain(worker, 0, force=True) is DrainAnswer.ACCEPTED
        caps = world.adapter().caps
        assert all(self.is_out(caps, member) for member in await self.members(world, worker))

    async def test_after_a_restart_of_the_master_nobody_has_another_ones_id(self, world: JoinMasterWorld) -> None:
        worker, other = await world.start_worker(), await world.start_worker()
        await self.entered(world, worker)
        await self.entered(world, other)
        await world.restart_master()
        await world.advance()
        # Whether workers stay, come back or end is their own affair; who is there is there once, under its own name.
        there = [member.worker_id for member in await self.members(world)]
        assert len(there) == len(set(there))
        assert set(there) <= {worker.worker_id, other.worker_id}

    @pytest.mark.parametrize("step", range(len(TEARDOWN_STEPS)), ids=TEARDOWN_STEPS)
    async def test_an_interrupted_teardown_is_finished_by_a_new_process(
        self, world: JoinMasterWorld, step: int
    ) -> None:
        worker, other = await world.start_worker(), await world.start_worker()
        await self.entered(world, worker)
        await self.entered(world, other)
        await self.torn_down(world, worker, steps=TEARDOWN_STEPS[: step + 1])
        await self.torn_down(world, worker)
        await self.until(world, lambda: self._is_forgotten(world, worker))
        states = {member.worker_id: member.state for member in await self.members(world)}
        assert states.get(other.worker_id) is MemberState.READY

    async def test_a_worker_that_is_listed_twice_is_reported(self, world: JoinMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.duplicate(worker)
        twice = await self.members(world, worker)
        assert len(twice) == 2
        assert all(member.duplicate for member in twice)

    async def _is_forgotten(self, world: JoinMasterWorld, worker: Worker) -> bool:
        return all(member.state is MemberState.LOST for member in await self.members(world, worker))
