"""`fixed_elastic`: a base that is started with the first work and then kept, and workers beyond it that come and go.

Source: opengris-scaler 1.15.0, `fixed_elastic` scaling policy: the primary adapter is started once and never stopped,
the secondary follows `vanilla`. Two corrections: the secondary does stop its least busy worker, as the text of the
library says, and a base that could not be started, or was lost, is started again. Where the base lives and where the
rest goes is placement's: the order of the fleet's providers.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.text import counted
from ebbflow.policies.formulas import opengris_1_15
from ebbflow.policies.formulas.bands import check_band
from ebbflow.policies.formulas.corrections import Corrections, told
from ebbflow.policies.formulas.needs import demand_unknown, serving
from ebbflow.policies.formulas.opengris_1_15 import UNLIMITED, Group, Start

CORRECTIONS = ("count_starting", "stop_secondary", "retry_primary")


class FixedElasticPolicy(BaseModel):
    """A base that stays, and beyond it as many as keep the tasks per worker between two ratios."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reads_offers: ClassVar[bool] = False

    kind: Literal["fixed_elastic"] = "fixed_elastic"
    base_workers: Annotated[
        int, Field(ge=1, le=10_000, description="Started together with the first work, and then kept.")
    ] = 1
    upper_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="Launch while there are more tasks per worker than this.")
    ] = 10.0
    lower_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="Stop idle workers beyond the base while there are fewer.")
    ] = 1.0
    steps_per_turn: Annotated[
        int, Field(ge=1, le=1000, description="How often the rule is applied in one turn; 1 is the library's step.")
    ] = 15
    uncorrected: Annotated[
        tuple[Literal["count_starting", "stop_secondary", "retry_primary"], ...],
        Field(description="Corrections to switch off: there the rule does as its library."),
    ] = ()

    @model_validator(mode="after")
    def _bands_do_not_cross(self) -> Self:
        check_band(self.upper_task_ratio, self.lower_task_ratio)
        return self

    def decide(self, observation: Observation) -> Decision:
        """The base first, once there was work or a worker; then what the ratios say."""
        demand, supply = observation.demand, observation.supply
        if not demand.complete:
            return demand_unknown(self.kind, observation)
        was_started = bool(observation.remembered.get("base_started")) or supply > 0
        is_started = was_started or demand.total > 0
        wanted, reasons = told(
            self.kind,
            self.uncorrected,
            CORRECTIONS,
            lambda corrections: self._wanted(observation, was_started, corrections),
            is_starting=serving(observation) < supply,
        )
        base = f"the base of {self.base_workers} is {'kept' if is_started else 'started with the first task'}"
        band = f"{self.lower_task_ratio:g} to {self.upper_task_ratio:g} tasks per worker"
        text = f"{counted(demand.total, 'task')} for {counted(supply, 'worker')}, {band}; {base}: {wanted} wanted"
        sign = ">" if wanted > supply else "<"
        headline = (
            f"queue {demand.total}, {counted(supply, 'worker')}"
            if wanted == supply
            else f"{counted(wanted, 'worker')} {sign} {supply}"
        )
        remembers = {"base_started": (1.0,)} if is_started else {}
        return Decision((Want(count=wanted),), headline, (Reason(f"policy.{self.kind}", text), *reasons), remembers)

    def _wanted(self, observation: Observation, was_started: bool, corrections: Corrections) -> int:
        tasks, base = observation.demand.total, self.base_workers
        states = [worker.state for worker in observation.workers if worker.is_supply]
        joined = [state is WorkerState.READY for state in states]
        # To the library a start that was asked for once is done, whatever came of it.
        may_fill = corrections.retry_primary or not was_started
        if may_fill and (was_started or tasks):
            joined += [False] * (base - len(joined))

        def group(place: int, *, is_ready: bool) -> Group:
            return Group(str(place), connected=int(is_ready), is_primary=place < base)

        groups = [group(place, is_ready=is_ready) for place, is_ready in enumerate(joined)]
        for _ in range(self.steps_per_turn):
            commands = opengris_1_15.fixed_elastic(
                tasks,
                sum(each.connected for each in groups),
                groups,
                UNLIMITED,
                upper=self.upper_task_ratio,
                lower=self.lower_task_ratio,
                corrections=corrections,
            )
            if not commands:
                break
            if isinstance(commands[0], Start):
                groups.append(group(len(groups), is_ready=False))
            else:
                groups.pop()
        return len(groups)
