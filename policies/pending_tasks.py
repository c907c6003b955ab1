"""`pending_tasks`: one worker for each waiting task beyond those that free workers can take; idle ones go.

Source: the Ray-on-Slurm autoscaler of aicell: a job per pending task beyond the free GPUs, between MIN and MAX, and
jobs ended when idle for 60 s. Here tasks are packed by what they require into free, starting and new workers, all that
are missing are wanted at once, idleness is each worker's own, and MIN and MAX are the fleet's limits.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.capabilities import amounts, capability_set
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import CanLaunch, Observation, Offer
from ebbflow.core.plan import Decision, Reason
from ebbflow.core.text import counted
from ebbflow.core.worker import Worker
from ebbflow.policies.formulas.needs import MOST, demand_unknown, queued_shapes, spelt, wants
from ebbflow.policies.formulas.packing import DEVICES, Packed, pack, unplaced_reasons
from ebbflow.policies.formulas.words import Words

PROGRESS = (WorkerState.READY, WorkerState.STARTING, WorkerState.PENDING, WorkerState.WISHED)
"""Of workers that are supply, those that serve first."""

NOT_BEGUN = (WorkerState.PENDING, WorkerState.WISHED)


class PendingTasksPolicy(BaseModel):
    """A worker for every waiting task that no free worker can take; a worker goes once it has been idle for long."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["pending_tasks"] = "pending_tasks"
    idle_seconds: Annotated[
        float, Field(ge=0, le=604_800, description="A worker that no task waits for goes when idle this long.")
    ] = 60.0
    worker_capabilities: Annotated[
        Words,
        Field(
            description="What one new worker offers, for instance ['gpu=4']: so many tasks share it, and tasks that it "
            "cannot do launch nothing. Empty: what each provider's `capabilities` say, the first one that fits."
        ),
    ] = ()
    used_up: Annotated[
        Words,
        Field(
            description="Capabilities that running tasks use up, beside those of which the master says so; others, as "
            "a model of GPU, are only compared."
        ),
    ] = ("cpu", "gpu")

    def decide(self, observation: Observation) -> Decision:
        """Keep who works, starts or is needed; ask for what is missing."""
        demand = observation.demand
        if not demand.complete:
            return demand_unknown(self.kind, observation)
        supply = [worker for worker in observation.workers if worker.is_supply]
        can_launch = self._can_launch(observation.can_launch)
        used_up = tuple(dict.fromkeys((*self.used_up, *demand.used_up)))
        reserved = pack(demand.reserved, [_whole(worker) for worker in supply], can_launch=can_launch, used_up=used_up)
        holds = {worker.worker_id for worker, is_unused in zip(supply, reserved.unused, strict=True) if not is_unused}
        free = sorted((worker for worker in supply if _is_free(worker)), key=_order)
        packed = pack(
            queued_shapes(demand),
            [*(_offered(worker) for worker in free), *reserved.new],
            parts=[_part(worker) for worker in supply if not _is_free(worker) and worker.free],
            can_launch=can_launch and can_launch.without(reserved.new),
            used_up=used_up,
        )
        surplus = {
            worker.worker_id
            for worker, is_unused in zip(free, packed.unused, strict=False)
            if is_unused and worker.worker_id not in holds and self._may_go(worker)
        }
        kept = [worker.capabilities for worker in supply if worker.worker_id not in surplus]
        packed = packed.after(reserved)
        wanted = wants([*kept, *packed.new])
        headline = f"{demand.queued} wait, {len(free)} free"
        return Decision(wanted, headline, self._explain(demand.queued, len(supply), len(free), len(surplus), packed))

    def _can_launch(self, known: CanLaunch | None) -> CanLaunch | None:
        if not self.worker_capabilities:
            return known
        most = known.most if known is not None else MOST
        return CanLaunch((Offer(self.worker_capabilities, most),), most)

    def _may_go(self, worker: Worker) -> bool:
        if worker.state is WorkerState.READY:
            return worker.idle_seconds is not None and worker.idle_seconds >= self.idle_seconds
        # What has begun to start is let to serve first, and is then idle like any other.
        return worker.state in NOT_BEGUN

    def _explain(self, queued: int, supply: int, free: int, surplus: int, packed: Packed) -> tuple[Reason, ...]:
        rule = f"policy.{self.kind}"
        text = (
            f"{counted(queued, 'task', 'wait')}, {free} of {counted(supply, 'worker')} free or starting; "
            f"needed: {len(packed.new)} more; not needed: {surplus}, idle for {self.idle_seconds:g} s or not begun"
        )
        offer = spelt(self.worker_capabilities) if self.worker_capabilities else "this fleet"
        return Reason(rule, text), *unplaced_reasons(self.kind, packed, offer)


def _whole(worker: Worker) -> tuple[str, ...]:
    """What a worker takes when nothing is on it."""
    return worker.capabilities or worker.free or ()


def _offered(worker: Worker) -> tuple[str, ...]:
    """What a free worker takes: by its master's own word where there is one, and else by its provider's."""
    return worker.capabilities if worker.free is None else worker.free


def _part(worker: Worker) -> tuple[str, ...]:
    """What a busy worker has left. The parts of several devices may be on different ones, and do not add up."""
    left = amounts(worker.free or ())
    several = [name for name, amount in amounts(worker.capabilities).items() if name in DEVICES and amount > 1]
    whole = {name: float(math.floor(left[name])) for name in several if name in left}
    return capability_set({**left, **whole})


def _is_free(worker: Worker) -> bool:
    """Takes a task now or soon; whether a worker that cannot tell is busy is not known, so it is not counted on."""
    return worker.state is not WorkerState.READY or worker.busy is False


def _order(worker: Worker) -> tuple[object, ...]:
    """Who offers least is filled first; of equals who serves already, so that what is left over has not started yet."""
    offered = amounts(worker.capabilities)
    return sum(offered.values()), worker.capabilities, PROGRESS.index(worker.state), worker.worker_id
