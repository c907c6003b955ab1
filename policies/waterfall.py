"""`waterfall`: so many workers as the work is worth, poured over the fleet's providers in their order.

Source: opengris-scaler 2.9.0, `waterfall_v1`: max(1, ceil(T / upper)) workers while there is any task, and the same for
each capability set that tasks name; tiers take them in order of priority up to their caps, and without work the lower
tiers are emptied first. How many is said here, which provider gets them and which goes first is placement's. One
correction beyond amounts: a task counts once, where the library counts one that requires something twice.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.text import counted
from ebbflow.policies.formulas.corrections import Corrections, told
from ebbflow.policies.formulas.needs import MOST, demand_unknown, spelt, unfinished
from ebbflow.policies.formulas.opengris_2_9 import targets

CORRECTIONS = ("count_once", "compare_amounts")


class WaterfallPolicy(BaseModel):
    """One worker per `upper_task_ratio` tasks, of each kind of task; the first provider with room takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reads_offers: ClassVar[bool] = False

    kind: Literal["waterfall"] = "waterfall"
    upper_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="So many tasks are worth one worker; the rest is rounded up.")
    ] = 10.0
    uncorrected: Annotated[
        tuple[Literal["count_once", "compare_amounts"], ...],
        Field(description="Corrections to switch off: there the rule does as its library."),
    ] = ()

    def decide(self, observation: Observation) -> Decision:
        """One want per capability set, the one without capabilities first."""
        if not observation.demand.complete:
            return demand_unknown(self.kind, observation)
        needs = unfinished(observation.demand)

        def rule(corrections: Corrections) -> tuple[Want, ...]:
            asked = targets(needs, upper=self.upper_task_ratio, counts_all=True, corrections=corrections)
            return tuple(Want(want.capabilities, min(want.count, MOST)) for want in asked if want.count)

        wanted, reasons = told(self.kind, self.uncorrected, CORRECTIONS, rule, is_starting=False)
        total, supply, tasks = sum(want.count for want in wanted), observation.supply, observation.demand.total
        sets = ", ".join(f"{want.count} x {spelt(want.capabilities)}" for want in wanted) or "none"
        each = f"one worker per {self.upper_task_ratio:g} of each kind"
        text = f"{counted(tasks, 'task')}, {each}: {sets} wanted, {supply} there"
        headline = f"queue {tasks}{',' if total == supply else ':'} {counted(total, 'worker')}"
        return Decision(wanted, headline, (Reason(f"policy.{self.kind}", text), *reasons))
