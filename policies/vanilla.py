"""`vanilla`: keep the number of tasks per worker between two ratios.

Source: opengris-scaler 1.15.0, `vanilla` scaling policy: with T tasks (queued and running) and W workers, start one
when T/W > upper (or W = 0 and T > 0), stop one when T/W < lower. Two corrections to the library: launches in flight
count as workers, and only idle workers are ever stopped (placement sees to that). In 2.9.0 a ratio below the lower one
leaves T/upper workers at once, which we approach step by step.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebbflow.core.observation import Counted, Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason
from ebbflow.core.ports import Course
from ebbflow.core.text import counted
from ebbflow.policies.formulas import opengris_1_15, opengris_2_9
from ebbflow.policies.formulas.bands import check_band
from ebbflow.policies.formulas.corrections import CORRECTED, Corrections, told
from ebbflow.policies.formulas.courses import Forgetful
from ebbflow.policies.formulas.needs import any_workers, demand_unknown, serving
from ebbflow.policies.formulas.opengris_1_15 import UNLIMITED, Group, Start

CORRECTIONS = ("count_starting", "step_down")


class VanillaPolicy(BaseModel):
    """Tasks per worker, kept between `lower_task_ratio` and `upper_task_ratio`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reads_offers: ClassVar[bool] = False

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
    library: Annotated[
        Literal["1.15.0", "2.9.0"], Field(description="The release of opengris-scaler whose rule is applied.")
    ] = "1.15.0"
    uncorrected: Annotated[
        tuple[Literal["count_starting", "step_down"], ...],
        Field(description="Corrections to switch off: there the rule does as its library."),
    ] = ()

    @model_validator(mode="after")
    def _bands_do_not_cross(self) -> Self:
        check_band(self.upper_task_ratio, self.lower_task_ratio)
        return self

    def decide(self, observation: Observation) -> Decision:
        """Apply the rule until it is content, at most `steps_per_turn` times."""
        demand, supply = observation.demand, observation.supply
        if not demand.complete:
            return demand_unknown(self.kind, observation)
        if not observation.explains:
            return Decision(any_workers(self._counted(observation)), "unsaid", (Reason("policy.vanilla", ""),))
        ready = serving(observation)
        wanted, reasons = told(
            self.kind,
            self.uncorrected,
            CORRECTIONS,
            lambda corrections: self._wanted(demand.total, ready, supply - ready, corrections),
            is_starting=ready < supply,
        )
        headline, reason = self._explain(demand.total, supply, wanted)
        return Decision(any_workers(wanted), headline, (reason, *reasons))

    def course(self, remembered: PolicyMemory) -> Course:
        """Answer turns that follow each other."""
        return Forgetful(self._counted)

    def _counted(self, seen: Counted) -> int:
        ready, tasks = seen.serving, seen.demand.queued + seen.demand.running
        return self._wanted(tasks, ready, seen.supply - ready, _corrected(self.uncorrected))

    def _wanted(self, tasks: int, ready: int, starting: int, corrections: Corrections) -> int:
        return _settled(
            tasks,
            ready,
            starting,
            upper=self.upper_task_ratio,
            lower=self.lower_task_ratio,
            most_steps=self.steps_per_turn,
            library=self.library,
            corrections=corrections,
        )

    def _explain(self, tasks: int, supply: int, wanted: int) -> tuple[str, Reason]:
        upper, lower = self.upper_task_ratio, self.lower_task_ratio
        if wanted > supply:
            headline = f"queue {tasks} > {upper * supply:g}"
            rule = f"{counted(tasks, 'task')} > {upper:g} per worker x {counted(supply, 'worker')}"
        elif wanted < supply:
            headline = f"queue {tasks} < {lower * supply:g}"
            rule = f"{counted(tasks, 'task')} < {lower:g} per worker x {counted(supply, 'worker')}"
        else:
            headline = f"queue {tasks}, {counted(supply, 'worker')}"
            rule = f"{counted(tasks, 'task')} for {counted(supply, 'worker')}, {lower:g} to {upper:g} each is fine"
            if supply == 0:
                rule = "nothing to do, and nobody there"
        return headline, Reason("policy.vanilla", f"{rule}: {wanted} wanted")


@cache
def _corrected(off: tuple[str, ...]) -> Corrections:
    return CORRECTED.without(*off)


# A backtest asks the same many times over.
@lru_cache(maxsize=16_384)
def _settled(
    tasks: int,
    ready: int,
    starting: int,
    *,
    upper: float,
    lower: float,
    most_steps: int,
    library: str,
    corrections: Corrections,
) -> int:
    """The number of workers with which the rule is content, or comes to in so many steps."""
    wanted = ready + starting
    # Each step has one more or one fewer.
    groups = _groups(wanted + most_steps)
    for _ in range(most_steps):
        counted = wanted if corrections.count_starting else ready
        following = _following(
            tasks, counted, groups[:wanted], upper=upper, lower=lower, library=library, corrections=corrections
        )
        # The last worker stays while there is work: the rule would start it again at once.
        following = max(following, min(wanted, 1) if tasks else 0)
        if following == wanted:
            break
        wanted, ready = following, min(ready, following)
    return wanted


@lru_cache(maxsize=1024)
def _groups(count: int) -> tuple[Group, ...]:
    """So many that nothing but their names tells apart."""
    return tuple(Group(str(place)) for place in range(count))


def _following(
    tasks: int,
    counted: int,
    groups: Sequence[Group],
    *,
    upper: float,
    lower: float,
    library: str,
    corrections: Corrections,
) -> int:
    """The number after one heartbeat, where so many workers are counted of those that are wanted so far."""
    wanted = len(groups)
    if library == "2.9.0":
        target = opengris_2_9.vanilla(
            tasks, counted, counted, UNLIMITED, upper=upper, lower=lower, corrections=corrections
        )
        return wanted if target is None else target
    commands = opengris_1_15.vanilla(
        tasks, counted, groups, UNLIMITED, upper=upper, lower=lower, corrections=corrections
    )
    return wanted + sum(1 if isinstance(command, Start) else -1 for command in commands)
