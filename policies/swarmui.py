"""`swarmui`: the queue rule of SwarmUI's own auto-scaling backend.

Source: SwarmUI src/Backends/AutoScalingBackend.cs: when requests wait without a backend and those and the running ones
together are at least MinQueuedBeforeExpand, one more is started; one that is idle long enough is stopped. The timers
(MinWaitBetweenStart, MinWaitAfterFailure, MinWaitBetweenStop, MinIdleTime) and the bounds are the fleet's limits, which
take SwarmUI's defaults with this policy.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.observation import Counted, Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason
from ebbflow.core.ports import Course
from ebbflow.core.text import counted
from ebbflow.policies.formulas.courses import Forgetful
from ebbflow.policies.formulas.needs import any_workers

DEFAULT_LIMITS: Mapping[str, float] = MappingProxyType(
    {
        "min_workers": 0,
        "max_workers": 5,
        "min_seconds_between_starts": 60.0,
        "min_seconds_after_failure": 120.0,
        "min_seconds_between_stops": 60.0,
        "min_idle_seconds": 600.0,
    }
)
"""What SwarmUI's backend has where its operator changed nothing, in seconds instead of minutes."""


class SwarmUIPolicy(BaseModel):
    """One more worker while requests wait and the queue is long enough; one fewer while one is idle."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default_limits: ClassVar[Mapping[str, float]] = DEFAULT_LIMITS
    reads_offers: ClassVar[bool] = False

    kind: Literal["swarmui"] = "swarmui"
    min_queued_before_expand: Annotated[
        int, Field(ge=1, le=10_000, description="Waiting and running requests together, before one more is launched.")
    ] = 10

    def decide(self, observation: Observation) -> Decision:
        """One step up, one step down, or none."""
        demand, supply = observation.demand, observation.supply
        if not demand.complete:
            stay = counted(supply, "worker", "stay")
            text = f"demand is unknown ({demand.detail or 'no answer'}), which is not zero: {stay}"
            return Decision(None, "demand unknown", (Reason("policy.swarmui", text),))
        wanted = self._counted(observation)
        headline, text = "unsaid", ""
        if observation.explains:
            waiting = demand.queued if demand.waiting is None else demand.waiting
            headline, text = self._explain(wanted - supply, waiting, demand.running, supply, observation.idle)
        return Decision(any_workers(wanted), headline, (Reason("policy.swarmui", text),))

    def course(self, remembered: PolicyMemory) -> Course:
        """Answer turns that follow each other."""
        return Forgetful(self._counted)

    def _counted(self, seen: Counted) -> int:
        demand, supply = seen.demand, seen.supply
        waiting = demand.queued if demand.waiting is None else demand.waiting
        if waiting > 0:
            return supply + (waiting + demand.running >= self.min_queued_before_expand)
        return supply - 1 if waiting == 0 and seen.idle and supply else supply

    def _explain(self, step: int, waiting: int, running: int, supply: int, idle: int) -> tuple[str, str]:
        """A headline and a sentence."""
        load, enough = waiting + running, self.min_queued_before_expand
        if step > 0:
            text = f"{waiting} wait and {running} run, at least {enough}: one more than {supply}"
            return f"queue {load} >= {enough}", text
        if step < 0:
            text = (
                f"nobody waits and {idle} of {counted(supply, 'worker')} idle: one fewer, once one is idle long enough"
            )
            return f"queue {load}, {idle} idle", text
        text = f"{waiting} wait and {running} run, one more is launched from {enough} on: {supply} stay"
        return f"queue {load} < {enough}" if waiting else f"queue {load}, nobody waits", text
