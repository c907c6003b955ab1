"""What every master obeys into which we push the address that a worker announced: `core.ports.PushMaster`."""

# ruff: noqa: D102  (a test's name is its sentence)

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

import pytest

from ebbflow.contracts.master import MasterContract, MasterWorld
from ebbflow.core.member import DrainAnswer, DrainWay, MemberState
from ebbflow.core.ports import PushMaster
from ebbflow.core.worker import Worker

TEARDOWN_STEPS = ("drain", "look", "shut_down", "terminate", "deregister")


class PushMasterWorld(MasterWorld, Protocol):
    """One master that takes addresses, with its workers. A worker of it has a URL from its start on."""

    def adapter(self) -> PushMaster:
        """A new adapter object, as the next flow run makes it. The world closes it."""
        ...

    async def crash_in_registration(self, worker: Worker) -> None:
        """Let a new adapter begin to register a worker and die between the steps of it."""
        ...

    async def rename(self, worker: Worker) -> bool:
        """Call a member something else, as a person does in the master; False where nobody can."""
        ...

    async def put_back(self, worker: Worker) -> bool:
        """Let a member that is drained take work again, as a person does in the master; False where nobody can."""
        ...


class PushMasterContract(MasterContract[PushMasterWorld]):
    """Subclass it, and override the fixture `world`."""

    async def introduce(self, world: PushMasterWorld, worker: Worker) -> None:
        await world.adapter().register(worker)

    async def is_in(self, world: PushMasterWorld, worker: Worker) -> bool:
        return (await world.adapter().register(worker)).registered

    async def torn_down(self, world: PushMasterWorld, worker: Worker, steps: Collection[str] | None = None) -> None:
        await super().torn_down(world, worker, steps)
        if steps is None or "deregister" in steps:
            await world.adapter().deregister(worker)

    async def test_a_worker_registered_twice_is_one_member(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        for _ in range(2):
            await self.entered(world, worker)
        assert [member.worker_id for member in await self.members(world)] == [worker.worker_id]

    async def test_a_registration_that_died_half_way_is_completed_by_the_next_one(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await world.crash_in_registration(worker)
        await self.entered(world, worker)
        for ref in (await world.adapter().members()).unfinished:
            await world.adapter().remove_unfinished(ref)
        listing = await world.adapter().members()
        assert [member.worker_id for member in listing.members] == [worker.worker_id]
        assert listing.unfinished == ()

    async def test_members_are_joining_then_ready_then_draining(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        (member,) = await self.members(world)
        assert member.busy is False
        assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
        (member,) = await self.members(world)
        assert member.state is MemberState.DRAINING

    async def test_an_absent_worker_is_not_registered(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await world.end_worker(worker)
        answer = await world.adapter().register(worker)
        assert not answer.registered
        assert answer.detail
        assert await self.members(world) == ()

    async def test_at_its_deadline_a_busy_worker_is_drained_by_force(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.make_busy(worker)
        assert await world.adapter().drain(worker, 0, force=True) is DrainAnswer.ACCEPTED
        assert all(member.state is MemberState.DRAINING for member in await self.members(world, worker))
        assert await world.finish_work()

    async def test_a_draining_worker_is_not_registered_again(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.adapter().drain(worker, 60)
        await world.adapter().register(worker)
        assert all(member.state is MemberState.DRAINING for member in await self.members(world))

    async def test_a_registered_worker_that_a_person_renamed_stays_ours_by_its_address(
        self, world: PushMasterWorld
    ) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        is_renamed = await world.rename(worker)
        known = replace(worker, registered=True)
        (member,) = (await world.adapter().members(known=[known])).members
        assert (member.worker_id, member.url, bool(member.renamed)) == (worker.worker_id, worker.url, is_renamed)
        assert (await world.adapter().register(known)).registered
        assert len((await world.adapter().members(known=[known])).members) == 1
        assert await world.adapter().drain(known, 60) is DrainAnswer.ACCEPTED
        await world.end_worker(worker)
        await world.adapter().deregister(known)
        assert (await world.adapter().members(known=[known])).members == ()

    async def test_a_drained_worker_that_a_person_put_back_is_not_drained_again(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        await world.adapter().drain(worker, 60)
        seen_out = replace(worker, registered=True, member=MemberState.DRAINING)
        is_put_back = await world.put_back(worker)
        answer = await world.adapter().drain(seen_out, 60)
        assert answer is (DrainAnswer.REOPENED if is_put_back else DrainAnswer.ACCEPTED)
        states = {member.state for member in await self.members(world)}
        assert (MemberState.DRAINING in states) is not is_put_back

    async def test_mending_what_is_well_changes_nothing(self, world: PushMasterWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        before = await self.members(world)
        assert (await world.adapter().mend(worker)).registered
        assert await self.members(world) == before
        for unknown in await self.unknown(world):
            await world.adapter().mend(unknown)
        assert await self.members(world) == before

    async def test_taking_out_what_is_not_there_is_no_error(self, world: PushMasterWorld) -> None:
        for worker in await self.unknown(world):
            adapter = world.adapter()
            await adapter.deregister(worker)
            await adapter.deregister(worker)
        await world.adapter().remove_unfinished("4711")

    async def test_workers_keep_their_ids_over_a_restart_of_the_master(self, world: PushMasterWorld) -> None:
        workers = [await world.start_worker(), await world.start_worker()]
        for worker in workers:
            await self.entered(world, worker)
        await world.adapter().drain(workers[0], 60)
        await world.restart_master()
        await self.until(world, lambda: self.in_state(world, MemberState.READY, count=1))
        found = {member.worker_id: (member.url, member.state) for member in await self.members(world)}
        assert found[workers[1].worker_id] == (workers[1].url, MemberState.READY)
        if world.adapter().caps.drain is DrainWay.NATIVE:
            assert found[workers[0].worker_id] == (workers[0].url, MemberState.DRAINING)

    @pytest.mark.parametrize("step", range(len(TEARDOWN_STEPS)), ids=TEARDOWN_STEPS)
    async def test_an_interrupted_teardown_is_finished_by_a_new_process(
        self, world: PushMasterWorld, step: int
    ) -> None:
        worker, other = await world.start_worker(), await world.start_worker()
        await self.entered(world, worker)
        await self.entered(world, other)
        await self.torn_down(world, worker, steps=TEARDOWN_STEPS[: step + 1])
        await self.torn_down(world, worker)
        assert [member.worker_id for member in await self.members(world)] == [other.worker_id]
        assert (await world.adapter().members()).unfinished == ()

    async def test_a_worker_that_is_listed_twice_is_reported_and_deregistered_whole(
        self, world: PushMasterWorld
    ) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        if await world.duplicate(worker) is False:
            return
        twice = await self.members(world, worker)
        assert len(twice) == 2
        assert all(member.duplicate for member in twice)
        await world.end_worker(worker)
        await world.adapter().deregister(worker)
        assert await self.members(world) == ()
