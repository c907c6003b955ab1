"""Defects of the Ray-on-Slurm autoscaler of aicell, by their symptoms: what its rules made of a head, ours must not.

Those that are not here are tests of Slurm (jobs of others, failed listings, `--parsable`, time limits), of teardown
(victims, drains) and of limits (the minimum is filled up).
"""

from collections.abc import AsyncIterator, Sequence

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import CanLaunch, Observation, Offer
from ebbflow.core.plan import Decision
from ebbflow.core.worker import Worker
from ebbflow.policies.pending_tasks import PendingTasksPolicy
from tests.adapters.masters.ray.played_head import RayWorld, ray_world

pytestmark = pytest.mark.anyio

JOB = ("cpu=4", "gpu")
"""What a worker of the stand-in offers."""


@pytest.fixture
async def world() -> AsyncIterator[RayWorld]:
    async with ray_world() as world:
        yield world


async def decided(world: RayWorld, *, most: int = 5, pending: int = 0, offers: Sequence[str] = JOB) -> Decision:
    """What the older system's rule in our form makes of what the head shows now."""
    await world.clock.advance(6)
    adapter = world.adapter()
    members = await adapter.members()
    assert members.complete
    workers = [
        Worker(
            member.worker_id, "slurm/a", WorkerState.READY, JOB, busy=member.busy, free=member.free,
            idle_seconds=None if member.busy else 999.0,
        )
        for member in members.members
    ]  # fmt: skip
    workers += [Worker(f"demo-0abc-9-{place}", "slurm/a", WorkerState.PENDING, JOB) for place in range(pending)]
    can_launch = CanLaunch((Offer(tuple(offers), most),), most)
    return PendingTasksPolicy().decide(Observation(await adapter.demand(), tuple(workers), can_launch=can_launch))


async def serving(world: RayWorld, count: int) -> None:
    for _ in range(count):
        await world.let_join(await world.start_worker())
    await world.clock.advance(8)


async def test_regression_a_list_of_a_hundred_rows_hid_the_tasks_beyond_it(world: RayWorld) -> None:
    for _ in range(152):
        world.head.submit({"CPU": 1.0, "GPU": 1.0})
    decision = await decided(world)
    assert (decision.total, decision.headline) == (152, "152 wait, 0 free")


async def test_regression_tasks_that_no_worker_could_run_brought_workers_up_to_the_limit(world: RayWorld) -> None:
    world.head.submit({"CPU": 64.0})
    world.head.submit({"TPU": 1.0})
    world.head.submit({"GPU": 1_000_000.0})
    decision = await decided(world)
    assert decision.total == 0
    assert "no worker of this fleet can do" in decision.reasons[1].text


async def test_regression_a_free_gpu_kept_a_task_for_two_from_its_worker(world: RayWorld) -> None:
    await serving(world, 1)
    world.head.submit({"GPU": 2.0})
    assert (await decided(world, offers=("cpu=4", "gpu=2"))).total == 1, "and the small one, idle for long, goes"


async def test_regression_work_that_left_half_of_a_gpu_was_taken_for_a_whole_one(world: RayWorld) -> None:
    await serving(world, 1)
    world.head.submit({"GPU": 0.5})
    world.head.submit({"GPU": 0.75})
    # The first runs on one half; the other half is too small for the second.
    assert (await decided(world)).total == 2
    world.head.tasks[1].needs["GPU"] = 0.25
    assert (await decided(world)).total == 1


async def test_regression_workers_came_one_at_a_time_and_none_while_a_job_waited_in_the_queue(world: RayWorld) -> None:
    for _ in range(4):
        world.head.submit({"CPU": 1.0, "GPU": 1.0})
    assert (await decided(world, pending=1)).total == 4


async def test_regression_the_loop_died_at_its_first_stop_because_gpus_are_floats(world: RayWorld) -> None:
    await serving(world, 2)
    decision = await decided(world)
    assert (decision.total, [type(want.count) for want in decision.wanted or ()]) == (0, [])


async def test_regression_one_long_task_kept_every_worker_that_was_idle(world: RayWorld) -> None:
    await serving(world, 3)
    world.head.submit({"GPU": 1.0})
    decision = await decided(world)
    assert (decision.total, [type(want.count) for want in decision.wanted or ()]) == (1, [int])
