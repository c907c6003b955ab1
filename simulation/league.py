"""The league: every candidate on every trace in every environment, with the same luck, on all cores."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from time import perf_counter
from types import MappingProxyType

from ebbflow.core.ports import Policy
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.policies.swarmui import SwarmUIPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.environment import COUNTLESS, ENVIRONMENTS, Environment
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.opt0 import opt0_seconds
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.policy_faults import NO_FAULTS, PolicyFaults, all_faults
from ebbflow.simulation.progress import Progress, work
from ebbflow.simulation.quick_driver import QuickDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.score import WORTHS, Score, geometric_mean, mean_score, relative_costs, score
from ebbflow.simulation.shared_world import world_of
from ebbflow.simulation.world import AFTER_LAST_ARRIVAL_SECONDS, Driver, Soon, World

UNCOUNTED: Mapping[str, str] = MappingProxyType(
    {f"marginal k={worth:g} uncounted": f"marginal k={worth:g}" for worth in WORTHS}
)
"""Candidates whose master does not count what came and what was served, as that of most fleets does not, and who they
are otherwise."""

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        **{f"marginal k={worth:g}": MarginalPolicy(waiting_worth=worth) for worth in WORTHS},
        **{f"marginal k={worth:g} uncounted": MarginalPolicy(waiting_worth=worth) for worth in WORTHS},
        "our vanilla": VanillaPolicy(),
        "our swarmui": SwarmUIPolicy(min_queued_before_expand=1),
    }
)
"""Our own policies, which see no more than production knows; under a master that counts, where nothing else is said."""

OURS_EVERY_SECONDS = 5.0
"""Between two of their decisions."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of a run's timeline."""

    at_seconds: float
    demand: int
    """Requests that wait or are served."""
    serving: int
    existing: int


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be simulated."""

    trace: str
    environment: str
    candidate: str
    seed: int


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a run: a score, or why its candidate failed."""

    run: Run
    score: Score | None
    failure: str = ""
    timeline: tuple[Moment, ...] = ()
    faults: PolicyFaults = NO_FAULTS


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate on one trace in one environment, over the seeds."""

    trace: str
    environment: str
    candidate: str
    opt0_hours: float
    score: Score | None
    """None: it failed, at least with one seed."""
    failure: str = ""
    timeline: tuple[Moment, ...] = ()
    """Of the first seed."""
    faults: PolicyFaults = NO_FAULTS
    """Of all seeds."""

    def cost(self, worth: float) -> float:
        """J_k over OPT0; infinite for a candidate that failed."""
        return relative_costs(self.score, self.opt0_hours)[worth] if self.score else float("inf")


TIMED_ONE_IN = 16
"""Ticks; of some baselines a tick takes less time than the clock."""


class _Watched:
    """A driver that is timed, and whose world is sampled for the timeline."""

    def __init__(self, driver: Driver, every_seconds: float) -> None:
        self.interval_seconds = driver.interval_seconds
        self.timeline: list[Moment] = []
        self.seconds = 0.0
        self.ticks = 0
        self._driver = driver
        self._every_seconds = every_seconds
        self._sampled_at = self._timed_at = self._watched_at = 0.0
        """Virtual time from which on the next tick is sampled, or timed, or either."""

    def tick(self, world: World) -> Soon | None:
        """Sample, then let the driver decide."""
        if world.now < self._watched_at:
            return self._driver.tick(world)
        if world.now >= self._sampled_at:
            demand = len(world.queue) + world.busy
            self._sampled_at = (len(self.timeline) + 1) * self._every_seconds
            self.timeline.append(Moment(world.now, demand, world.ready, len(world.alive)))
        began = perf_counter()
        soon = self._driver.tick(world)
        if world.now >= self._timed_at:
            self.seconds += perf_counter() - began
            self.ticks += 1
            self._timed_at = world.now + TIMED_ONE_IN * self.interval_seconds
        self._watched_at = min(self._sampled_at, self._timed_at)
        return soon


def simulate(
    trace: Trace,
    environment: Environment,
    driver: Driver,
    *,
    seed: int = 1,
    run: Run | None = None,
    points: int = 480,
    after_seconds: float = AFTER_LAST_ARRIVAL_SECONDS,
    turns_at: Sequence[float] = (),
) -> Played:
    """Run one driver over one trace. A policy that fails holds its fleet; one that mostly does is a failure to tell."""
    run = run or Run(trace.name, environment.name, type(driver).__name__, seed)
    world = world_of(trace, environment, seed, after_seconds=after_seconds)
    watched = _Watched(driver, world.horizon / points)
    world.run(watched, turns_at=turns_at)
    timeline = tuple(watched.timeline)
    faults = driver.faults if isinstance(driver, PolicyDriver) else NO_FAULTS
    if faults.prevail:
        return Played(run, None, f"after {faults.first_at_seconds:.0f} s: {faults}", timeline, faults)
    took = 1e6 * watched.seconds / max(1, watched.ticks)
    return Played(run, score(world, decide_microseconds=took), timeline=timeline, faults=faults)


def driver_of(candidate: str, environment: Environment, service_hint: float) -> Driver:
    """A new driver for a candidate: a baseline, or one of our policies.

    Baselines are given the true mean service time. Ours gets its first digit as a first guess, and the median boot.

    Raises:
        KeyError: no such candidate.
    """
    if candidate in BASELINES:
        return BASELINES[candidate]()
    policy = POLICIES[candidate]
    if isinstance(policy, MarginalPolicy):
        boot = environment.providers[0].boots.median_seconds
        policy = policy.model_copy(update={"boot_seconds": boot, "service_seconds": float(f"{service_hint:.1g}")})
    fleet = league_fleet(environment, policy)
    return QuickDriver(fleet, environment, interval_seconds=OURS_EVERY_SECONDS, is_brief=True)


def play(
    runs: Sequence[Run],
    *,
    tell: Callable[[str], None],
    processes: int | None = None,
    first_requests: int | None = None,
) -> list[Played]:
    """Simulate all runs and return their outcomes in the order of the runs, whichever was finished first.

    Args:
        runs: what to simulate.
        tell: gets a line per finished run.
        processes: how many at once; None: one per core, 1: in this process.
        first_requests: only so many of each trace; None: all.
    """
    count = processes or os.cpu_count() or 1
    done: dict[Run, Played] = {}
    works = _works(runs, first_requests)
    progress = Progress([works[run] for run in runs])
    for outcome in _outcomes(runs, count, first_requests):
        done[outcome.run] = outcome
        tell(f"{progress.finished(works[outcome.run])} {_line(outcome)}")
    return [done[run] for run in runs]


def rows(outcomes: Sequence[Played], *, first_requests: int | None = None) -> list[Row]:
    """Put the seeds of each candidate together, best first by the geometric mean over k."""
    grouped: dict[tuple[str, str, str], list[Played]] = {}
    for outcome in outcomes:
        run = outcome.run
        grouped.setdefault((run.trace, run.environment, run.candidate), []).append(outcome)
    found = [
        row_of(group, _opt0_hours(trace, environment, first_requests))
        for (trace, environment, _), group in grouped.items()
    ]
    return sorted(found, key=lambda row: (row.trace, row.environment, _standing(row), row.candidate))


def all_runs(
    traces: Sequence[str], environments: Sequence[str], candidates: Sequence[str], seeds: Sequence[int]
) -> list[Run]:
    """Everything with everything."""
    return [
        Run(trace, environment, candidate, seed)
        for trace in traces
        for environment in environments
        for candidate in candidates
        for seed in seeds
    ]


def _standing(row: Row) -> float:
    return geometric_mean([row.cost(worth) for worth in WORTHS]) if row.score else float("inf")


def row_of(group: Sequence[Played], opt0_hours: float) -> Row:
    """The seeds of one candidate as one row."""
    run = group[0].run
    failed = [f"seed {played.run.seed}: {played.failure}" for played in group if played.score is None]
    scores = [played.score for played in group if played.score is not None]
    return Row(
        *(run.trace, run.environment, run.candidate, opt0_hours),
        score=None if failed else mean_score(scores),
        failure="; ".join(failed),
        timeline=group[0].timeline,
        faults=all_faults([played.faults for played in group]),
    )


def _works(runs: Sequence[Run], first_requests: int | None) -> dict[Run, float]:
    """How long each run takes, compared with the others."""
    traces = {name: _trace(name, first_requests) for name in dict.fromkeys(run.trace for run in runs)}
    ticks = {name: make().interval_seconds for name, make in BASELINES.items()}
    return {
        run: work(
            traces[run.trace].last_at_seconds + AFTER_LAST_ARRIVAL_SECONDS,
            len(traces[run.trace].at_seconds),
            ticks.get(run.candidate, OURS_EVERY_SECONDS),
            is_ours=run.candidate not in ticks,
        )
        for run in runs
    }


def _outcomes(runs: Sequence[Run], count: int, first_requests: int | None) -> Iterator[Played]:
    if count == 1:
        yield from (_play_one(run, first_requests) for run in runs)
        return
    with ProcessPoolExecutor(max_workers=count) as pool:
        futures = [pool.submit(_play_one, run, first_requests) for run in runs]
        for future in as_completed(futures):
            yield future.result()


def _play_one(run: Run, first_requests: int | None) -> Played:
    environment = ENVIRONMENTS[run.environment]
    if run.candidate in UNCOUNTED:
        environment = replace(environment, master=COUNTLESS)
    trace = _trace(run.trace, first_requests)
    return simulate(
        trace, environment, driver_of(run.candidate, environment, trace.mean_service_seconds), seed=run.seed, run=run
    )


@lru_cache(maxsize=2)
def _trace(name: str, first_requests: int | None) -> Trace:
    trace = load(name)
    return trace if first_requests is None else trace.first(first_requests)


@lru_cache(maxsize=64)
def _opt0_hours(trace: str, environment: str, first_requests: int | None) -> float:
    return opt0_seconds(_trace(trace, first_requests), ENVIRONMENTS[environment].paid_boot_seconds) / 3600


def _line(outcome: Played) -> str:
    run, scored = outcome.run, outcome.score
    what = f"{run.trace} {run.environment} {run.candidate} seed {run.seed}"
    if scored is None:
        return f"{what}: FAILED {outcome.failure}"
    faults = f", {outcome.faults}" if outcome.faults.failed else ""
    return f"{what}: {scored.paid_hours:.1f} h paid, p95 {scored.wait_p95:.1f} s{faults}"
