"""What a run is judged by: paid GPU-hours, waiting that is weighted by work, and the guards beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import World

WORTHS = (0.1, 1.0, 10.0)
"""What a user-second of waiting is worth in GPU-seconds: a batch, patient users, people watching."""


@dataclass(frozen=True, slots=True)
class Score:
    """One run's result."""

    paid_hours: float
    """With the storage of stopped instances."""
    waiting_hours: float
    """Each request's wait weighs as much as its work against the mean work."""
    wait_p50: float
    wait_p95: float
    wait_p99: float
    launches: int
    wasted_hours: float
    """Paid for boots that failed or were cancelled."""
    lost: int
    """Requests that were lost because a busy worker was stopped."""
    preempted: int
    """Requests that were lost because a provider took the worker."""
    unserved: int
    failed_launches: int = 0
    refused_launches: int = 0
    decide_microseconds: float = field(default=0.0, compare=False)
    """Of one tick, on average. The only number here that differs from run to run."""

    def cost(self, worth: float) -> float:
        """J_k: paid hours and what the waiting is worth."""
        return self.paid_hours + worth * self.waiting_hours

    @property
    def wasted_share(self) -> float:
        """Of the bill."""
        return self.wasted_hours / self.paid_hours if self.paid_hours else 0.0


def score(world: World, *, decide_microseconds: float = 0.0) -> Score:
    """Read the books of a world whose time is over."""
    waits = sorted(world.waits)
    wasted = [worker for worker in world.workers if worker.became_ready_at is None and worker.phase is Phase.ENDED]
    return Score(
        paid_hours=math.fsum(
            (
                *(worker.paid_hours(world.horizon) for worker in world.workers),
                *(kept.paid_hours(world.horizon) for kept in world.storage),
            )
        ),
        waiting_hours=_waiting_hours(world.waits, world.trace.service_seconds),
        wait_p50=percentile(waits, 0.50),
        wait_p95=percentile(waits, 0.95),
        wait_p99=percentile(waits, 0.99),
        launches=len(world.workers),
        wasted_hours=math.fsum(worker.paid_hours(world.horizon) for worker in wasted),
        lost=world.lost_to_stops,
        preempted=world.lost_to_preemption,
        unserved=len(world.waits) - world.served,
        failed_launches=world.failures,
        refused_launches=world.refusals,
        decide_microseconds=decide_microseconds,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of a sorted sequence does not exceed."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def mean_score(scores: Sequence[Score]) -> Score:
    """Over seeds. Counts are rounded up: one lost request of three runs stays visible."""

    def mean(name: str) -> float:
        return math.fsum(getattr(one, name) for one in scores) / len(scores)

    return Score(
        paid_hours=mean("paid_hours"),
        waiting_hours=mean("waiting_hours"),
        wait_p50=mean("wait_p50"),
        wait_p95=mean("wait_p95"),
        wait_p99=mean("wait_p99"),
        launches=math.ceil(mean("launches")),
        wasted_hours=mean("wasted_hours"),
        lost=math.ceil(mean("lost")),
        preempted=math.ceil(mean("preempted")),
        unserved=math.ceil(mean("unserved")),
        failed_launches=math.ceil(mean("failed_launches")),
        refused_launches=math.ceil(mean("refused_launches")),
        decide_microseconds=mean("decide_microseconds"),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def relative_costs(scored: Score, opt0_hours: float) -> Mapping[float, float]:
    """J_k over OPT0 for each k."""
    return {worth: scored.cost(worth) / opt0_hours for worth in WORTHS}


def _waiting_hours(waits: Sequence[float], service: Sequence[float]) -> float:
    total = math.fsum(service)
    if total == 0:
        return math.fsum(waits) / 3600
    weighted = math.fsum(wait * work for wait, work in zip(waits, service, strict=True))
    return weighted / (total / len(service)) / 3600
