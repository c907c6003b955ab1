"""The league as Markdown tables."""

from collections.abc import Iterator, Sequence

from ebbflow.simulation.league import Row
from ebbflow.simulation.score import WORTHS
from ebbflow.simulation.standing import Duel, broken_guards, duel, verdict

HEAD = (
    "candidate",
    *(f"J/OPT0 k={worth:g}" for worth in WORTHS),
    *("paid h", "wait p50", "p95", "p99 s", "launches", "wasted h", "lost", "preempted", "unserved"),
    "no answer",
)


def league_table(rows: Sequence[Row]) -> str:
    """The rows of one trace and environment."""
    return _table(HEAD, [cells(row) for row in rows])


def standings(rows: Sequence[Row], candidates: Sequence[tuple[float, str]]) -> str:
    """Each candidate against the best single baseline for its k, and against the best one on each trace."""
    lines = []
    for found in _duels(rows, candidates):
        on_traces = ", ".join(f"{trace} {ratio:.3f} ({rival})" for trace, _, ratio, rival in found.by_trace)
        lines.append(
            (
                *(found.environment, f"{found.worth:g}", found.candidate, f"{found.mean:.3f}", found.best),
                *(f"{found.best_mean:.3f}", f"{found.ratio:.3f}"),
                *(f"{found.launches} : {found.best_launches}", on_traces),
            )
        )
    head = (
        *("environment", "k", "candidate", "J/OPT0", "best single baseline", "J/OPT0", "ratio", "launches"),
        "to the best there",
    )
    return _table(head, lines)


def wins_and_losses(rows: Sequence[Row], candidates: Sequence[tuple[float, str]]) -> str:
    """In words: where each candidate is cheaper, as dear, and dearer than the best single baseline, and than any."""
    lines = []
    for found in _duels(rows, candidates):
        who = f"- {found.environment}, {found.candidate}"
        any_other = verdict([(trace, ratio) for trace, _, ratio, _ in found.by_trace])
        lines += [
            f"{who}: against {found.best}, the best single baseline ({found.ratio - 1:+.1%} in the mean), it "
            f"{verdict(found.to_best)}",
            f"{who}: against whichever baseline is best on the trace, it {any_other}",
        ]
    return "\n".join(lines) or "- nothing to compare"


def guards(rows: Sequence[Row], candidates: Sequence[str]) -> str:
    """A line per broken guard of these candidates; says so where none is."""
    lines = [
        f"- {row.candidate} on {row.trace}, {row.environment}: {', '.join(found)}"
        for row in rows
        if row.candidate in candidates and (found := broken_guards(row))
    ]
    return "\n".join(lines) or "- none is broken"


def _duels(rows: Sequence[Row], candidates: Sequence[tuple[float, str]]) -> Iterator[Duel]:
    for environment in sorted({row.environment for row in rows}):
        for worth, candidate in candidates:
            found = duel(rows, environment, worth, candidate)
            if found is not None:
                yield found


def cells(row: Row) -> tuple[str, ...]:
    """One row of the league table, under `HEAD`."""
    scored = row.score
    if scored is None:
        return (row.candidate, f"failed: {row.failure}", *("" for _ in HEAD[2:]))
    return (
        row.candidate,
        *(f"{row.cost(worth):.3f}" for worth in WORTHS),
        f"{scored.paid_hours:.1f}",
        *(_seconds(value) for value in (scored.wait_p50, scored.wait_p95, scored.wait_p99)),
        f"{scored.launches}",
        f"{scored.wasted_hours:.1f}",
        f"{scored.lost}",
        f"{scored.preempted}",
        f"{scored.unserved}",
        f"{row.faults.failed}",
    )


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))
