"""How one candidate stands against the best single baseline: the goal of the league, and the guards beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.league import Row
from ebbflow.simulation.score import geometric_mean


@dataclass(frozen=True, slots=True)
class Duel:
    """A candidate against the baselines in one environment, for one k."""

    environment: str
    worth: float
    candidate: str
    mean: float
    """Geometric mean of J_k over OPT0, over the traces."""
    best: str
    """The one baseline with the lowest geometric mean."""
    best_mean: float
    by_trace: tuple[tuple[str, float, float, str], ...]
    """Trace, J_k over OPT0 here, over that of the best baseline there, and which that is."""

    to_best: tuple[tuple[str, float], ...] = ()
    """Trace, and J_k there over that of the one best baseline."""
    launches: int = 0
    """Over all traces; a guard: not more than the best baseline's."""
    best_launches: int = 0

    @property
    def ratio(self) -> float:
        """Below 1: the candidate is cheaper."""
        return self.mean / self.best_mean


def duel(rows: Sequence[Row], environment: str, worth: float, candidate: str) -> Duel | None:
    """Compare; None where the candidate or every baseline is missing or failed."""
    here = [row for row in rows if row.environment == environment and row.score is not None]
    traces = sorted({row.trace for row in here})
    costs = {(row.trace, row.candidate): row.cost(worth) for row in here}
    names = [name for name in BASELINES if all((trace, name) in costs for trace in traces)]
    if not names or not traces or not all((trace, candidate) in costs for trace in traces):
        return None
    means = {name: geometric_mean([costs[trace, name] for trace in traces]) for name in [*names, candidate]}
    best = min(names, key=lambda name: means[name])
    by_trace = []
    for trace in traces:
        rival = min(names, key=lambda name: costs[trace, name])
        by_trace.append((trace, costs[trace, candidate], costs[trace, candidate] / costs[trace, rival], rival))
    launched = {
        name: sum(row.score.launches for row in here if row.score is not None and row.candidate == name)
        for name in (candidate, best)
    }
    return Duel(
        *(environment, worth, candidate, means[candidate], best, means[best], tuple(by_trace)),
        to_best=tuple((trace, costs[trace, candidate] / costs[trace, best]) for trace in traces),
        launches=launched[candidate],
        best_launches=launched[best],
    )


TIE = 0.02
"""Differences up to this are a tie: about what another seed makes."""


def verdict(ratios: Sequence[tuple[str, float]]) -> str:
    """On which traces a candidate wins, ties and loses, given its cost over its rival's on each."""
    groups = {
        "wins on": [pair for pair in ratios if pair[1] < 1 - TIE],
        "ties on": [pair for pair in ratios if 1 - TIE <= pair[1] <= 1 + TIE],
        "loses on": [pair for pair in ratios if pair[1] > 1 + TIE],
    }
    told = (
        f"{word} {', '.join(f'{trace} ({ratio - 1:+.1%})' for trace, ratio in sorted(pairs, key=lambda pair: pair[1]))}"
        for word, pairs in groups.items()
        if pairs
    )
    return "; ".join(told) or "was not compared"


def broken_guards(row: Row) -> tuple[str, ...]:
    """What a result must not hide: turns without an answer, lost and unserved requests, boots paid for nothing."""
    if row.score is None:
        return (f"failed: {row.failure}",)
    found = [str(row.faults)] if row.faults.failed else []
    if row.score.lost:
        found.append(f"{row.score.lost} lost to stops")
    if row.score.unserved:
        found.append(f"{row.score.unserved} unserved")
    if row.environment == "k8s" and row.score.wasted_share > 0.02:
        found.append(f"{row.score.wasted_share:.1%} wasted")
    return tuple(found)
