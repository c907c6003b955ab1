"""The league's page: tables and plots in one self-contained HTML file."""

import re
from collections.abc import Sequence
from html import escape

from ebbflow.simulation.league import Row
from ebbflow.simulation.plots import Line, Point, lines, scatter
from ebbflow.simulation.table import guards, league_table, standings, wins_and_losses

STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:1400px}table{border-collapse:collapse;font-size:12px}"
    "td,th{border:1px solid #ccc;padding:2px 7px;text-align:right}td:first-child,th:first-child{text-align:left}"
    "svg{max-width:100%}"
)


def page(rows: Sequence[Row], *, title: str, notes: Sequence[str], candidates: Sequence[tuple[float, str]]) -> str:
    """The whole page.

    Args:
        rows: of every trace and environment.
        title: its heading.
        notes: how the numbers came about: seeds, digests, environments.
        candidates: which candidate is meant for which k; they are marked in the plots.
    """
    names = {name for _, name in candidates}
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(note)}</p>" for note in notes)]
    parts.append("<h2>Against the best single baseline</h2>" + _html(standings(rows, candidates)))
    parts.append(f"<h2>Wins, ties, losses</h2><pre>{escape(wins_and_losses(rows, candidates))}</pre>")
    parts.append(f"<h2>Broken guards of ours</h2><pre>{escape(guards(rows, sorted(names)))}</pre>")
    for trace, environment in sorted({(row.trace, row.environment) for row in rows}):
        here = [row for row in rows if (row.trace, row.environment) == (trace, environment)]
        parts.append(f"<h2>{escape(trace)}, {escape(environment)}</h2>")
        parts.append(f"<p>OPT0: {here[0].opt0_hours:.1f} h</p>" + _html(league_table(here)))
        parts.append(cost_against_wait(here, marked=names))
        parts.extend(over_time(row) for row in _shown(here, names))
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><body>{body}</body></html>\n"
    )


def cost_against_wait(rows: Sequence[Row], *, marked: set[str]) -> str:
    """Paid hours against the 95th percentile of the wait; who is left and below is better."""
    points = [
        Point(row.candidate, row.score.paid_hours, max(row.score.wait_p95, 0.5), row.candidate in marked)
        for row in rows
        if row.score is not None and not row.score.unserved
    ]
    return scatter("Cost against wait", points, x_label="paid GPU-hours", y_label="wait p95, s (at least 0.5)")


def over_time(row: Row) -> str:
    """Workers against demand."""
    hours = tuple(moment.at_seconds / 3600 for moment in row.timeline)
    drawn = (
        Line("queued and running", hours, tuple(float(moment.demand) for moment in row.timeline)),
        Line("workers, boots included", hours, tuple(float(moment.existing) for moment in row.timeline)),
    )
    return lines(f"{row.candidate}: workers against demand", drawn, x_label="hours", y_label="workers, requests")


def _shown(rows: Sequence[Row], marked: set[str]) -> list[Row]:
    """Ours, and the best of the others."""
    ours = [row for row in rows if row.candidate in marked and row.timeline]
    others = [row for row in rows if row.candidate not in marked and row.score is not None]
    return [*ours, *others[:1]]


def _html(markdown: str) -> str:
    """Our own tables only: cells hold no markup."""
    head, _, *body = [re.split(r" ?\| ?", line)[1:-1] for line in markdown.splitlines()]
    made = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    made += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in body]
    return f"<table>{''.join(made)}</table>"
