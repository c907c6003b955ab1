"""`marginal` against the best single baseline on slices and made traces, at any turn, with counters and without.

`python -m tests.benchmarks.policy_slices` plays the three traces that nothing was tuned on; `--tuned` plays the others.
A line per environment, worth of waiting, turn and world: the ratio of the costs in the geometric mean, the worst trace,
how many are more than 2 % dearer, launches against that baseline's, the share of the bill that was wasted, each trace.
"""

import argparse
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ebbflow.fleet.model import Fleet
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.environment import COUNTLESS, ENVIRONMENTS, Environment
from ebbflow.simulation.league import simulate
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.quick_driver import QuickDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.score import WORTHS, Score, geometric_mean, mean_score
from ebbflow.simulation.traces.made import MADE, made, sessions
from ebbflow.simulation.world import Driver

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a recorded trace."""

    source: str
    begin_seconds: float
    end_seconds: float
    keep_one_in: int = 1


SLICES: Mapping[str, Slice] = {
    "large_d1": Slice("servegen_large_w1", 0.0, DAY),
    "large_d2": Slice("servegen_large_w1", DAY, 2 * DAY),
    "large_d3_n3": Slice("servegen_large_w1", 2 * DAY, 3 * DAY, 3),
    "large_d4_n3": Slice("servegen_large_w1", 3 * DAY, 4 * DAY, 3),
    "large_d4_thin8": Slice("servegen_large_w1", 3 * DAY, 4 * DAY, 8),
    "conv_n4": Slice("servegen_large_w1", 4 * DAY, 4.5 * DAY, 4),
    "large_d6": Slice("servegen_large_w1", 5 * DAY, 6 * DAY),
    "large_d7_n3": Slice("servegen_large_w1", 6 * DAY, 7 * DAY, 3),
    "large_d7_n20": Slice("servegen_large_w1", 6 * DAY, 7 * DAY, 20),
    "r1_am": Slice("servegen_r1", 0.0, DAY / 2),
    "r1_pm": Slice("servegen_r1", DAY / 2, DAY),
    "r1_n5": Slice("servegen_r1", DAY / 2, DAY, 5),
    "mmimg_n5": Slice("servegen_mmimg", 0.0, DAY, 5),
    "mmimg_am_n2": Slice("servegen_mmimg", 0.0, DAY / 2, 2),
    "mmimg_pm": Slice("servegen_mmimg", DAY / 2, DAY),
}
ASIDE = ("large_d4_n3", "mmimg_n5", "sessions_e")
"""Chosen before anything was tuned, and looked at once."""
TUNED = (*(name for name in (*SLICES, *MADE) if name not in ASIDE), "vidur_code", "vidur_conv", "mooncake")
HOPELESS = ("opengris-capability", "opengris-vanilla", "aicell", "swarmui")
"""Never the best: they leave requests unserved, lose them, or let them wait for many minutes."""


@dataclass(frozen=True, slots=True)
class Turns:
    """How often a fleet looks."""

    interval_seconds: float
    waiting_interval_seconds: float | None = None
    poll_interval_seconds: float | None = None

    @classmethod
    def read(cls, said: str) -> "Turns":
        """`60`, or `60+15`, or `60+15p5`."""
        turns, _, polls = said.partition("p")
        due, _, waiting = turns.partition("+")
        return cls(float(due), *(float(each) if each else None for each in (waiting, polls)))

    def __str__(self) -> str:
        """The same again."""
        turns = "+".join(f"{each:g}" for each in (self.interval_seconds, self.waiting_interval_seconds) if each)
        return turns if self.poll_interval_seconds is None else f"{turns}p{self.poll_interval_seconds:g}"

    def of(self, fleet: Fleet) -> Fleet:
        """The same fleet with these turns between those that are due."""
        return fleet.model_copy(
            update={
                "waiting_interval_seconds": self.waiting_interval_seconds,
                "poll_interval_seconds": self.poll_interval_seconds,
            }
        )


@lru_cache(maxsize=64)
def trace_of(name: str) -> Trace:
    """By the name under which the tables list it."""
    if name == "sessions_e":
        return _sessions_e(name)
    if name in MADE:
        return made(name)
    if name not in SLICES:
        return load(name)
    part, whole = SLICES[name], load(SLICES[name].source)
    rows = [
        (at - part.begin_seconds, service)
        for at, service in zip(whole.at_seconds, whole.service_seconds, strict=True)
        if part.begin_seconds <= at < part.end_seconds
    ][:: part.keep_one_in]
    return Trace(name, tuple(at for at, _ in rows), tuple(service for _, service in rows))


def _sessions_e(name: str) -> Trace:
    """Users by day, five asks each, of work that takes 40 s on average and varies by 0.8 of that."""
    luck = random.Random(f"67/{name}")
    came = sessions(luck, users_per_second=0.02, asks=5.0, thinks_seconds=30.0, service_seconds=40.0, days=1.5)
    at, sigma = sorted(came), math.sqrt(math.log1p(0.8**2))
    services = [round(min(600.0, max(1.0, luck.lognormvariate(math.log(40.0) - sigma**2 / 2, sigma))), 2) for _ in at]
    return Trace(name, tuple(round(each - at[0], 3) for each in at), tuple(services))


def main(arguments: Sequence[str] | None = None) -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuned", action="store_true", help="play the traces that it was tuned on")
    parser.add_argument("--traces", help="comma-separated names instead")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--turns",
        default="5,30,60",
        help="seconds, comma-separated; 60+15: 15 s after one that saw work wait; 60+15p5: with polls every 5 s beside",
    )
    given = parser.parse_args(arguments)
    names = given.traces.split(",") if given.traces else TUNED if given.tuned else ASIDE
    turns = [Turns.read(turn) for turn in given.turns.split(",")]
    for environment in ENVIRONMENTS.values():
        for line in _lines(names, environment, range(1, given.seeds + 1), turns):
            print(line, flush=True)


def _lines(names: Sequence[str], environment: Environment, seeds: range, turns: Sequence[Turns]) -> Iterator[str]:
    rivals = {
        rival: {name: played(name, environment, seeds, BASELINES[rival]) for name in names}
        for rival in BASELINES
        if rival not in HOPELESS
    }
    for worth in WORTHS:
        means = {
            rival: geometric_mean([score.cost(worth) for score in scores.values()]) for rival, scores in rivals.items()
        }
        best = min(means, key=lambda rival: means[rival])
        for turn in turns:
            for world in (environment, replace(environment, master=COUNTLESS)):
                ours = {name: played(name, world, seeds, _Ours(worth, name, world, turn)) for name in names}
                told = "counters" if world is environment else "no counters"
                stands = _stands(ours, rivals[best], worth)
                yield f"{environment.name} k={worth:g} turn {turn} s, {told}, to {best}: {stands}"


def _stands(ours: Mapping[str, Score], rival: Mapping[str, Score], worth: float) -> str:
    ratios = {name: score.cost(worth) / rival[name].cost(worth) for name, score in ours.items()}
    launches = sum(score.launches for score in ours.values()) / sum(score.launches for score in rival.values())
    wasted = math.fsum(score.wasted_hours for score in ours.values()) / math.fsum(
        score.paid_hours for score in ours.values()
    )
    lost = sum(score.lost + score.unserved for score in ours.values())
    by_trace = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    return (
        f"{geometric_mean(list(ratios.values())):.3f}, worst {max(ratios.values()):.2f}, "
        f"{sum(ratio > 1.02 for ratio in ratios.values())} above 1.02, launches {launches:.2f}, wasted {wasted:.1%}, "
        f"lost or unserved {lost}; {by_trace}"
    )


@dataclass(frozen=True, slots=True)
class _Ours:
    """Makes the driver of our policy: it is told the first digit of the service time, and the median boot."""

    worth: float
    trace: str
    environment: Environment
    turns: Turns

    def __call__(self) -> Driver:
        policy = MarginalPolicy(
            waiting_worth=self.worth,
            boot_seconds=self.environment.providers[0].boots.median_seconds,
            service_seconds=float(f"{trace_of(self.trace).mean_service_seconds:.1g}"),
        )
        fleet = self.turns.of(league_fleet(self.environment, policy))
        return QuickDriver(fleet, self.environment, interval_seconds=self.turns.interval_seconds, is_brief=True)


def played(name: str, environment: Environment, seeds: range, driver: Callable[[], Driver]) -> Score:
    """The mean of a driver's runs on a trace."""
    scores = [simulate(trace_of(name), environment, driver(), seed=seed).score for seed in seeds]
    return mean_score([score for score in scores if score is not None])


if __name__ == "__main__":
    main()
