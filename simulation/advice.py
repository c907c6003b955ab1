"""Which setting of a fleet its own past speaks for: figures with their spread, and a choice by a person's goal. Pure.

All settings meet the same requests and the same luck, so what counts is their difference part by part and play by play,
and not how much the parts differ among themselves. A difference that chance makes as easily, where so many settings are
tried, is told as none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ebbflow.simulation.advice_chance import FAMILY_ERROR, chance_of, margin, told_apart
from ebbflow.simulation.books import Books
from ebbflow.simulation.neighbours import Setting
from ebbflow.simulation.parts import Part, PlayedOnce
from ebbflow.simulation.policy_faults import PolicyFaults, all_faults

WORTH_A_CHANGE = 0.01
"""A smaller gain of the cost is none."""
MORE_UNSERVED = 0.05
"""Of all requests: a setting that leaves so many more waiting when the past is over does not serve them at all. Fewer
may be those of a crowd that came at the end; what they have waited counts like all other waiting."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all parts and plays."""

    mean: float
    least: float
    """In the part and the play where it was lowest."""
    most: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What a setting costs more than another, waiting included at its worth; negative: less."""

    percent: float
    spread_percent: float
    """How far it may be off by chance of parts and launches: of all that are compared at once none is further off, 95
    times in 100 (Bonferroni)."""
    is_told: bool
    """Whether this past tells the two apart: of all that do the same any is told 5 times in 100 at most (Holm)."""


NO_DIFFERENCE = Difference(0.0, 0.0, is_told=False)
"""Of the fleet as it is to itself."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a person wants of a fleet: waiting weighed against cost, or a bound on it."""

    waiting_worth: float
    """What an hour of a user's waiting is worth in paid worker-hours, k."""
    wait_p95_seconds: float | None = None
    """The least cost at which 95 of 100 requests wait less than this; None: the least of cost and weighed waiting."""

    def cost(self, books: Books) -> float:
        """What is to be least, in paid hours."""
        if self.wait_p95_seconds is not None:
            return books.paid_hours
        return books.paid_hours + self.waiting_worth * books.waiting_hours


@dataclass(frozen=True, slots=True)
class Judged:
    """One setting, played."""

    setting: Setting
    runs: tuple[PlayedOnce, ...]
    """With a seed each, in the order of the seeds."""
    parts: tuple[Part, ...]

    @property
    def faults(self) -> PolicyFaults:
        """Turns in which its policy gave no answer, in all plays."""
        return all_faults([run.faults for run in self.runs])

    def per_day(self, figure: Callable[[Books], float | None]) -> Spread | None:
        """Of a sum: what a day of it is."""
        return self._spread(figure, [part.days for part in self.parts], sum(part.days for part in self.parts))

    def of(self, figure: Callable[[Books], float | None]) -> Spread | None:
        """Of what is no sum. A part in which it is unknown, since nothing came, is left out of least and most."""
        return self._spread(figure, [1.0] * len(self.parts), 1.0)

    def _spread(self, figure: Callable[[Books], float | None], days: Sequence[float], all_days: float) -> Spread | None:
        whole = [value for run in self.runs if (value := figure(run.whole)) is not None]
        cells = [
            value / length
            for run in self.runs
            for part, length in zip(run.parts, days, strict=True)
            if (value := figure(part)) is not None
        ]
        if len(whole) < len(self.runs) or not cells:
            return None
        return Spread(fmean(whole) / all_days, min(cells), max(cells))

    @property
    def unserved(self) -> float:
        """Requests that nobody had begun when the past was over, in the mean."""
        return fmean(run.whole.unserved for run in self.runs)

    def wait_p95(self) -> float:
        """Over the whole past, in the mean of the plays; 0 where nothing came."""
        return fmean(run.whole.waited_p95_seconds or 0.0 for run in self.runs)

    def cost(self, goal: Goal) -> float:
        """In paid hours, in the mean of the plays."""
        return fmean(goal.cost(run.whole) for run in self.runs)


def differences(own: Judged, others: Sequence[Judged], goal: Goal) -> tuple[Difference, ...]:
    """What each of some settings costs more than one, and how sure that is where so many are compared at once.

    Two scatters are looked at, over the parts and over the plays, and the one that leaves more to chance counts.
    """
    gaps = [_gap(own, each, goal) for each in others]
    told = told_apart([gap.chance for gap in gaps])
    usual = fmean(fmean(goal.cost(part) for part in run.parts) for run in own.runs)
    return tuple(
        gap.difference(usual, spread_chance=FAMILY_ERROR / len(gaps), is_told=is_told)
        for gap, is_told in zip(gaps, told, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Gap:
    """What one setting costs more than another, in paid hours of a part."""

    by_part: tuple[float, ...]
    """Of each part, in the mean of the plays."""
    by_play: tuple[float, ...]
    """Of each play, in the mean of the parts."""

    @property
    def chance(self) -> float:
        return max(chance_of(self.by_part), chance_of(self.by_play))

    def difference(self, usual: float, *, spread_chance: float, is_told: bool) -> Difference:
        mean = fmean(self.by_part)
        if not usual:
            # Nothing was paid and nobody waited: any cost is more, beyond all percent.
            return Difference(math.copysign(100.0, mean) if mean else 0.0, 0.0, bool(mean))
        spread = max(margin(self.by_part, spread_chance), margin(self.by_play, spread_chance))
        return Difference(100 * mean / usual, 100 * spread / usual, is_told)


def _gap(own: Judged, other: Judged, goal: Goal) -> _Gap:
    cells = [
        [goal.cost(new) - goal.cost(old) for old, new in zip(was.parts, would_be.parts, strict=True)]
        for was, would_be in zip(own.runs, other.runs, strict=True)
    ]
    return _Gap(tuple(fmean(column) for column in zip(*cells, strict=True)), tuple(fmean(row) for row in cells))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which setting is advised."""

    picked: Judged | None
    """None: no setting reaches the goal."""
    differences: tuple[Difference, ...]
    """Of each setting, in their order; of the fleet as it is, the first one, it is nothing."""
    equals: tuple[str, ...] = ()
    """Settings that cannot be told from the advised one, by their labels."""
    nearest: Judged | None = None
    """Where none reaches the goal: the one with the shortest wait."""

    @property
    def keeps(self) -> bool:
        """Whether the fleet is best left as it is."""
        return self.picked is not None and not self.picked.setting.changes


def choose(judged: Sequence[Judged], goal: Goal) -> Choice:
    """The setting that the past speaks for; the fleet as it is, where nothing else is better by more than chance.

    Args:
        judged: the fleet as it is first.
        goal: what a person wants.
    """
    own, *others = judged
    found = (NO_DIFFERENCE, *differences(own, others, goal))
    differs = {id(each): difference for each, difference in zip(judged, found, strict=True)}
    sound = [own, *(each for each in others if not why_not(own, each))]
    reached = [each for each in sound if goal.wait_p95_seconds is None or each.wait_p95() < goal.wait_p95_seconds]
    if not reached:
        return Choice(None, found, nearest=min(sound, key=lambda each: each.wait_p95()))
    if own in reached:
        better = [each for each in reached if _is_better(differs[id(each)])]
        picked = min(better, key=lambda each: each.cost(goal), default=own)
    else:
        picked = min(reached, key=lambda each: each.cost(goal))
    # Where it is among them, the fleet as it is was told apart from the one that was picked.
    rivals = [each for each in reached if each is not picked and each is not own]
    against = [differs[id(each)] for each in rivals] if picked is own else differences(picked, rivals, goal)
    equals = [each.setting.label for each, rival in zip(rivals, against, strict=True) if not rival.is_told]
    return Choice(picked, found, tuple(equals))


def why_not(own: Judged, other: Judged) -> str:
    """Why a setting is no advice, whatever it costs; empty: it is sound."""
    if other.faults.failed:
        return str(other.faults)
    more = other.unserved - own.unserved
    if more > MORE_UNSERVED * own.runs[0].whole.requests:
        return f"leaves {more:.0f} more waiting"
    return ""


def _is_better(found: Difference) -> bool:
    return found.percent < -100 * WORTH_A_CHANGE and found.is_told
