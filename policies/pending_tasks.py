"""`pending_tasks`: one worker for each waiting task beyond those that free workers can take; idle ones go.

Source: the Ray-on-Slurm autoscaler of aicell: a job per pending task beyond the free GPUs, between MIN and MAX, and
jobs ended when idle for 60 s. Here tasks are packed by what they require into free, starting and new workers, all that
are missing are wanted at once, idleness is each worker's own, and MIN and MAX are the fleet's limits.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.formulas.needs import demand_unknown, queued_shapes, spelt, wants
from ebbflow.policies.formulas.packing import Packed, pack

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
        tuple[str, ...],
        Field(
            description="What one new worker offers, for instance ['gpu=4']: so many tasks share it, and tasks that it "
            "cannot do launch nothing. Empty: a worker of its own for each task, with what the task requires."
        ),
    ] = ()
    used_up: Annotated[
        tuple[str, ...],
        Field(description="Capabilities that running tasks use up; others, as a model of GPU, are only compared."),
    ] = ("gpu",)

    @field_validator("worker_capabilities", "used_up")
    @classmethod
    def _capabilities_are_spelt_right(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        try:
            amounts(words)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return words

    def decide(self, observation: Observation) -> Decision:
        """Keep who works, starts or is needed; ask for what is missing."""
        demand = observation.demand
        if not demand.complete:
            return demand_unknown(self.kind, observation)
        supply = [worker for worker in observation.workers if worker.is_supply]
        free = sorted((worker for worker in supply if _is_free(worker)), key=_order)
        packed = pack(
            queued_shapes(demand),
            [worker.capabilities for worker in free],
            offers=self.worker_capabilities,
            used_up=self.used_up,
        )
        surplus = {
            worker.worker_id
            for worker, is_unused in zip(free, packed.unused, strict=True)
            if is_unused and self._may_go(worker)
        }
        kept = [worker.capabilities for worker in supply if worker.worker_id not in surplus]
        wanted = wants([*kept, *packed.new])
        headline = f"{demand.queued} wait, {len(free)} free"
        return Decision(wanted, headline, self._explain(demand.queued, len(supply), len(free), len(surplus), packed))

    def _may_go(self, worker: Worker) -> bool:
        if worker.state is WorkerState.READY:
            return worker.idle_seconds is not None and worker.idle_seconds >= self.idle_seconds
        # What has begun to start is let to serve first, and is then idle like any other.
        return worker.state in NOT_BEGUN

    def _explain(self, queued: int, supply: int, free: int, surplus: int, packed: Packed) -> tuple[Reason, ...]:
        rule = f"policy.{self.kind}"
        text = (
            f"{queued} tasks wait, {free} of {supply} workers are free or start: {len(packed.new)} more are needed, "
            f"{surplus} idle for {self.idle_seconds:g} s or not begun are not"
        )
        lost = ", ".join(f"{shape.count} x {spelt(shape.requires)}" for shape in packed.unplaced)
        if not lost:
            return (Reason(rule, text),)
        offer = spelt(self.worker_capabilities)
        return Reason(rule, text), Reason(f"{rule}.unsatisfiable", f"no worker of {offer} can do {lost}: not counted")


def _is_free(worker: Worker) -> bool:
    """Takes a task now or soon; whether a worker that cannot tell is busy is not known, so it is not counted on."""
    return worker.state is not WorkerState.READY or worker.busy is False


def _order(worker: Worker) -> tuple[object, ...]:
    """Who offers least is filled first; of equals who serves already, so that what is left over has not started yet."""
    offered = amounts(worker.capabilities)
    return sum(offered.values()), worker.capabilities, PROGRESS.index(worker.state), worker.worker_id
