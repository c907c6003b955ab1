"""What `ebbflow check --past` shows: a fleet as it is written against the deployed one, on what came in its past."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from ebbflow.cli.speaking import USAGE, end
from ebbflow.core.text import counted
from ebbflow.turn.moments import age_of, moment

if TYPE_CHECKING:
    from ebbflow.flows.past_check import PastTold
    from ebbflow.simulation.two_fleets import FleetFigures

FAIL_ABOVE_PERCENT = 20.0
MOST_SECONDS = 366 * 86_400.0


def past_seconds(text: str) -> float:
    """How far back a person means; ends the command where that is nothing."""
    try:
        seconds = age_of(text)
    except ValueError as error:
        end(USAGE, f"--past: {error}")
    if not 0 < seconds <= MOST_SECONDS:
        end(USAGE, f"--past: {text!r} is no past: more than nothing and at most a year would be right")
    return seconds


@contextmanager
def meanwhile(what: str) -> Iterator[None]:
    """Says at a terminal what goes on."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


def past_verdict(told: "PastTold") -> str:
    """Whether the difference passes, in a sentence."""
    percent, most = told.worker_hours_percent, f"{told.fail_above_percent:g} %"
    if percent is None:
        return f"worker-hours: {told.written.worker_hours:.2f}, where the deployed fleet has none: more than {most}"
    which = "as many as" if abs(percent) < 0.05 else f"{abs(percent):.1f} % {'more' if percent > 0 else 'fewer'} than"
    passes = f"within the {most} that may be" if told.is_within else f"and {most} may be"
    return f"worker-hours: {which} those of the deployed fleet, {passes}"


def past_shown(told: "PastTold") -> Iterator[RenderableType]:
    """The comparison, as a person reads it."""
    span = f"{(told.until_at - told.since_at) / 3600:.2f} h, {counted(told.records, 'record')}"
    yield f"\n[bold]{escape(told.fleet)}[/bold] from {moment(told.since_at)} to {moment(told.until_at)} ({span})"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("  ")
    for name in ("recorded", "deployed, played", "this file, played", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in _rows(told):
        table.add_row(*row)
    yield table
    yield f"  {escape(past_verdict(told))}"
    yield from (f"  [red]missing[/red] {escape(each)}" for each in told.missing)
    yield from (f"  - {escape(each)}" for each in told.notes)


def _rows(told: "PastTold") -> Iterator[tuple[str, ...]]:
    sides = (told.recorded, told.deployed, told.written)
    yield _row("launches", [each.launches for each in sides], "{:.1f}")
    yield _row("stops", [each.stops for each in sides], "{:.1f}")
    yield _row("worker-hours", [each.worker_hours for each in sides], "{:.2f}", told.worker_hours_percent)
    yield _row("USD", [each.usd for each in sides], "{:.2f}", unknown=[_is_part(each) for each in sides])
    yield _row("waited, p95, s", [each.waited_p95_seconds for each in sides], "{:.0f}")


def _row(
    name: str,
    values: "list[float | None] | list[float]",
    form: str,
    percent: float | None = None,
    unknown: "list[bool] | None" = None,
) -> tuple[str, ...]:
    marks = unknown or [False] * len(values)
    said = [
        "-" if value is None else form.format(value) + "+" * mark for value, mark in zip(values, marks, strict=True)
    ]
    _, before, after = values
    difference = "-" if before is None or after is None else f"{form.replace(':', ':+').format(after - before)}"
    share = f" ({percent:+.1f} %)" if percent is not None else ""
    return (f"  {name}", *said, difference + share)


def _is_part(figures: "FleetFigures") -> bool:
    return figures.usd is not None and figures.unpriced_hours > 0
