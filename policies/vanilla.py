"""`vanilla`: keep the number of tasks per worker between two ratios.

Source: opengris-scaler 1.15.0, `vanilla` scaling policy: with T tasks (queued and running) and W workers, start one
when T/W > upper (or W = 0 and T > 0), stop one when T/W < lower. Two corrections to the library: launches in flight
count as workers, and only idle workers are ever stopped (placement sees to that).
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want


class VanillaPolicy(BaseModel):
    """Tasks per worker, kept between `lower_task_ratio` and `upper_task_ratio`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["vanilla"] = "vanilla"
    upper_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="Launch while there are more tasks per worker than this.")
    ] = 10.0
    lower_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="Stop idle workers while there are fewer tasks per worker than this.")
    ] = 1.0
    steps_per_turn: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="How often the rule is applied in one turn. The library applies it once per heartbeat of 2 s, "
            "so a turn of 30 s stands for 15 heartbeats; 1 is the library's step.",
        ),
    ] = 15

    @model_validator(mode="after")
    def _bands_do_not_cross(self) -> Self:
        # Adding a worker divides T/W by up to two: a narrower band would start and stop the same worker for ever.
        if self.upper_task_ratio < 2 * self.lower_task_ratio:
            raise ValueError(
                f"upper_task_ratio {self.upper_task_ratio:g} must be at least twice lower_task_ratio "
                f"{self.lower_task_ratio:g}, or one worker is started and stopped for ever under constant demand"
            )
        return self

    def decide(self, observation: Observation) -> Decision:
        """Apply the rule until it is content, at most `steps_per_turn` times."""
        demand, supply = observation.demand, observation.supply
        if not demand.complete:
            text = f"demand is unknown ({demand.detail or 'no answer'}), which is not zero: {supply} workers stay"
            return Decision(None, "demand unknown", (Reason("policy.vanilla", text),))
        wanted = supply
        for _ in range(self.steps_per_turn):
            step = self._step(demand.total, wanted)
            if step == 0:
                break
            wanted += step
        return Decision((Want(count=wanted),), *self._explain(demand.total, supply, wanted))

    def _step(self, tasks: int, workers: int) -> int:
        if workers == 0:
            return 1 if tasks > 0 else 0
        if tasks / workers > self.upper_task_ratio:
            return 1
        # The last worker stays while there is work: the rule would start it again at once.
        may_stop = workers > 1 or tasks == 0
        return -1 if may_stop and tasks / workers < self.lower_task_ratio else 0

    def _explain(self, tasks: int, supply: int, wanted: int) -> tuple[str, tuple[Reason, ...]]:
        upper, lower = self.upper_task_ratio, self.lower_task_ratio
        if wanted > supply:
            headline = f"queue {tasks} > {upper * supply:g}"
            rule = f"{tasks} tasks > {upper:g} per worker x {supply} workers"
        elif wanted < supply:
            headline = f"queue {tasks} < {lower * supply:g}"
            rule = f"{tasks} tasks < {lower:g} per worker x {supply} workers"
        else:
            headline = f"queue {tasks}, {supply} workers"
            rule = f"{tasks} tasks over {supply} workers lie between {lower:g} and {upper:g} per worker"
        return headline, (Reason("policy.vanilla", f"{rule}: {wanted} wanted"),)
