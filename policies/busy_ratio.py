"""`busy_ratio`: keep the share of busy workers in a band, and a share of hot ones in all that are loaded.

Source: autoscaler-py, the loop of `autoscaler.py` and `ratio_manager.py` for Vast: with r = (busy + 1) / (hot + 0.05),
start int(r / 0.9 * max(hot, 1)) - hot while r >= 0.9, stop hot - int(r / 0.6 * max(hot, 1)) while r < 0.6; all loaded
ones, stopped ones among them, are held at hot / total = 0.3. Load rises at once and decays with a half-life of 100 s;
three actions of a kind per tick. What starts counts as hot, and without any worker the ratio is that of one.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.text import counted
from ebbflow.policies.formulas.averages import latest, rise_at_once
from ebbflow.policies.formulas.needs import demand_unknown, seconds_since_seen


def hot_wanted(busy: float, hot: int, *, upper: float = 0.9, lower: float = 0.6) -> int:
    """How many workers there should be, before the number of actions is limited.

    Args:
        busy: workers' worth of load.
        hot: workers that serve or start.
        upper: the share of busy ones from which on more are started.
        lower: the share below which some are stopped.
    """
    counted = max(hot, 1)
    ratio = (busy + 1) / (counted + 0.05)
    if ratio >= upper:
        return max(hot, int(ratio / upper * counted))
    return min(hot, int(ratio / lower * counted)) if ratio < lower else hot


def total_wanted(hot: float, *, share: float = 0.3) -> int:
    """How many should be loaded, hot or stopped, so that (hot + 1) / (total + 0.1) is the share.

    Args:
        hot: workers that serve or start.
        share: of the hot ones in the total.
    """
    return int((hot + 1) / share - 0.1)


class BusyRatioPolicy(BaseModel):
    """Busy per hot workers in a band, hot ones a share of all that are kept loaded, a few steps per turn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reads_offers: ClassVar[bool] = False

    kind: Literal["busy_ratio"] = "busy_ratio"
    upper_busy_ratio: Annotated[
        float, Field(gt=0, le=10, description="From this share of busy workers on, more are started.")
    ] = 0.9
    lower_busy_ratio: Annotated[
        float, Field(gt=0, le=10, description="Below this share of busy workers, some are stopped.")
    ] = 0.6
    hot_share: Annotated[
        float,
        Field(
            gt=0, le=1, description="Of all that are loaded, so many serve; the others are kept stopped, as reserve."
        ),
    ] = 0.3
    tasks_per_worker: Annotated[
        float, Field(gt=0, le=10_000, description="Queued and running tasks that make one worker busy.")
    ] = 1.0
    half_life_seconds: Annotated[
        float, Field(ge=0, le=86_400, description="Load that falls is followed half-way in this time; 0: at once.")
    ] = 100.0
    actions_per_turn: Annotated[
        int, Field(ge=1, le=10_000, description="At most so many starts or stops are wanted in one turn.")
    ] = 3

    @model_validator(mode="after")
    def _bands_do_not_cross(self) -> Self:
        if self.upper_busy_ratio <= self.lower_busy_ratio:
            raise ValueError(
                f"upper_busy_ratio {self.upper_busy_ratio:g} must be above lower_busy_ratio "
                f"{self.lower_busy_ratio:g}, or what is started is stopped again"
            )
        return self

    def decide(self, observation: Observation) -> Decision:
        """Follow the load with a few steps, and say how large a reserve is worth keeping."""
        demand, supply, remembered = observation.demand, observation.supply, observation.remembered
        if not demand.complete:
            return demand_unknown(self.kind, observation)
        working = sum(worker.busy is True and worker.state is WorkerState.READY for worker in observation.workers)
        now = max(float(working), demand.total / self.tasks_per_worker)
        busy = self._followed(now, remembered.get("busy"), observation)
        target = hot_wanted(busy, supply, upper=self.upper_busy_ratio, lower=self.lower_busy_ratio)
        wanted = max(supply - self.actions_per_turn, min(supply + self.actions_per_turn, target))
        hot = self._followed(float(wanted), remembered.get("hot"), observation)
        reserve = max(0, total_wanted(hot, share=self.hot_share) - wanted)
        text = (
            f"{now:g} workers' worth of load, {busy:.1f} on average, over {counted(supply, 'worker')}, busy share to "
            f"be {self.lower_busy_ratio:g} to {self.upper_busy_ratio:g}: {target} would do, {wanted} wanted with at "
            f"most {counted(self.actions_per_turn, 'action')}; {reserve} warm for a hot share of {self.hot_share:g}"
        )
        headline = f"load {now:g}{',' if wanted == supply else ':'} {counted(wanted, 'worker')}"
        remembers = {"busy": (round(busy, 3),), "hot": (round(hot, 3),)}
        reasons = (Reason(f"policy.{self.kind}", text),)
        return Decision((Want(count=wanted),), headline, reasons, remembers, reserve)

    def _followed(self, now: float, series: tuple[float, ...] | None, observation: Observation) -> float:
        return rise_at_once(now, latest(series), seconds_since_seen(observation), self.half_life_seconds)
