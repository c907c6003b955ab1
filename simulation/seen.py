"""The virtual world as a turn observes it: no more than providers and a master would show."""

from collections.abc import Sequence
from dataclasses import replace

from ebbflow.core.capabilities import largest
from ebbflow.core.instance import Failure, InstanceState
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MemberState, Shape
from ebbflow.core.observation import Spare
from ebbflow.core.worker import Mark, Worker
from ebbflow.simulation.virtual_worker import StoppedInstance, VirtualWorker, name
from ebbflow.simulation.world import World

CLAIM = 1
"""Virtual turns make no records, so every launch and every mark is of one claim."""


# These are called for each worker of each turn, most of a run's time: arguments by place, in the order of the
# fields of `Worker`, are what Python passes on fastest.


def serving(worker: VirtualWorker, block: str, now: float) -> Worker:
    """One that serves, busy or idle."""
    provider = worker.provider
    is_busy = worker.request >= 0
    return Worker(
        worker.worker_id,
        block,
        WorkerState.READY,
        provider.capabilities,
        None,
        None,
        worker.usd_per_hour,
        CLAIM,
        now - worker.seen_ready_at,
        0.0,
        0,
        0,
        None,
        True,
        InstanceState.RUNNING,
        MemberState.READY,
        is_busy,
        None if is_busy else now - worker.idle_since,
    )


def joining(worker: VirtualWorker, block: str, now: float) -> Worker:
    """One that boots."""
    age = now - worker.launched_at
    return Worker(
        worker.worker_id,
        block,
        WorkerState.STARTING,
        worker.provider.capabilities,
        None,
        None,
        worker.usd_per_hour,
        CLAIM,
        age,
        age,
        0,
        0,
        None,
        False,
        InstanceState.STARTING,
    )


def draining(worker: VirtualWorker, block: str, now: float, mark: Mark) -> Worker:
    """One that was marked while it worked."""
    return replace(
        serving(worker, block, now),
        state=WorkerState.DRAINING,
        state_seconds=mark.age_seconds,
        member=MemberState.DRAINING,
        mark=mark,
        stops=worker.stops,
    )


def failed(worker: VirtualWorker, block: str, now: float) -> Worker:
    """One whose launch has failed."""
    return replace(
        joining(worker, block, now),
        state=WorkerState.FAILED,
        state_seconds=0.0,
        instance=InstanceState.FAILED,
        failure=Failure.OUTPUT,
    )


def spare(kept: StoppedInstance) -> Spare:
    """A stopped instance."""
    identity = name(kept.number)
    return Spare(kept.provider.block, identity, identity, is_warm=True, usd_per_hour=kept.provider.storage_usd_per_hour)


def demand(world: World) -> Demand:
    """What waits and runs, by what it requires where the trace has that, and as far as the master tells it."""
    queued, running, master = len(world.queue), world.running, world.environment.master
    shapes: tuple[Shape, ...] = ()
    running_shapes: tuple[Shape, ...] = ()
    if world.trace.requires and master.per_shape_demand:
        requires = world.trace.requires
        shapes = _shapes([requires[request] for request in world.queue])
        running_shapes = _shapes([requires[request] for request in world.in_service()])
    if not master.counts_requests:
        return Demand(queued, running, queued, shapes, running_shapes=running_shapes)
    return Demand(
        queued,
        running,
        queued,
        shapes,
        running_shapes=running_shapes,
        arrived=world.arrived,
        served=world.served,
        served_units=world.served_seconds,
    )


def _shapes(required: Sequence[tuple[str, ...]]) -> tuple[Shape, ...]:
    counts: dict[tuple[str, ...], int] = {}
    for words in required:
        spelled = largest((words,))
        counts[spelled] = counts.get(spelled, 0) + 1
    return tuple(Shape(words, count) for words, count in sorted(counts.items()))
