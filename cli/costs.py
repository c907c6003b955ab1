"""`ebbflow costs`: what fleets have cost, summed from their records."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ebbflow.cli.speaking import NOT_RIGHT, USAGE, answer, console, end, run, say, warn
from ebbflow.core.text import one_line

if TYPE_CHECKING:
    from ebbflow.turn.costs import Cost, Costs, Gap

UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
MOST_SECONDS = 3660 * 86_400.0
HEADS = ("worker-h", "GPU-h", "ready h", "idle", "USD", "of it storage", "fixed fleet USD")


def costs(
    fleet: Annotated[str | None, typer.Argument(help="Its name; all fleets where it is left out.")] = None,
    since: Annotated[str, typer.Option(help="How far back: 90m, 36h, 7d or 4w.")] = "7d",
    by: Annotated[
        Literal["fleet", "worker", "provider", "day"],
        typer.Option(help="What a row is of; days are those of the time zone here."),
    ] = "fleet",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV; what is unknown is empty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Sum up what fleets have cost: GPU-hours, idle share, money, storage, and what a fixed fleet would have cost.

    It is summed from the fleets' records, by the rule of their own sums. A time of which no record tells is named, with
    what is known of its money; the end is 1 then.
    """
    if as_csv and as_json:
        end(USAGE, "--csv and --json exclude each other")
    seconds = seconds_back(since)
    found = run(lambda: _sum(fleet, seconds, by))
    if as_json:
        answer(asdict(found))
    elif as_csv:
        sys.stdout.write(csv_of(found))
        for gap in found.gaps:
            warn(gap_text(gap))
    else:
        _show(found)
    if not found.is_complete:
        end(NOT_RIGHT)


def seconds_back(text: str) -> float:
    """How far back a person means: `90m`, `36h`, `7d`, `4w`."""
    found = re.fullmatch(r"(\d{1,6})\s*([mhdw])", text.strip(), re.ASCII)
    seconds = float(found[1]) * UNITS[found[2]] if found is not None else 0.0
    if not 0 < seconds <= MOST_SECONDS:
        end(USAGE, f"--since {text!r}: 90m, 36h, 7d or 4w would be right; ten years at most")
    return seconds


async def _sum(fleet: str | None, seconds: float, by: str) -> "Costs":
    from ebbflow.cli.serving import connected
    from ebbflow.flows.ledger import PrefectLedger
    from ebbflow.flows.standings import fleet_names, recorded_fleets
    from ebbflow.turn.costing import read_costs
    from ebbflow.turn.costs import By
    from ebbflow.turn.standing import chosen

    async with connected() as client:
        try:
            # One that was named may have records whose claims somebody has deleted.
            named = None if fleet is None else chosen(await fleet_names(client), fleet)
        except ValueError as error:
            end(USAGE, str(error))
        asked = sorted(await recorded_fleets(client)) if named is None else [named]
        return await read_costs(PrefectLedger(client), asked, seconds=seconds, by=By(by))


def csv_of(found: "Costs") -> str:
    """The rows, without their sum."""
    from ebbflow.turn.costs import Cost

    out = io.StringIO()
    names = [field.name for field in fields(Cost)]
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(names)
    lines.writerows([_cell(getattr(row, name)) for name in names] for row in found.rows)
    return out.getvalue()


def _cell(value: str | float | None) -> str:
    if isinstance(value, str):
        # A table calculator takes what begins so for a formula.
        shown = one_line(value)
        return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") and shown != "-" else shown
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _show(found: "Costs") -> None:
    if not found.rows and not found.gaps:
        say("no fleet has a record on this server")
        return
    console().print(table_of(found))
    for line in notes_on(found):
        say(line)


def table_of(found: "Costs") -> Table:
    """The rows and their sum, as a person reads them."""
    has_names, has_fleets = found.by != "fleet", len({row.fleet for row in found.rows}) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ["fleet"] * (has_fleets or not has_names) + [found.by] * has_names:
        table.add_column(name, overflow="fold")
    for name in HEADS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        names = [row.fleet] * (has_fleets or not has_names) + [row.name] * has_names
        table.add_row(*(escape(one_line(name)) for name in names), *_figures(row))
    if len(found.rows) != 1 or has_names:
        table.add_row("sum", *[""] * (has_fleets and has_names), *_figures(found.sum))
    return table


def _figures(row: "Cost") -> Iterable[str]:
    # Of a gap the money may be known, and nothing else.
    is_gap = row.gpu_hours is None and not row.unknown_gpu_worker_hours
    yield "-" if is_gap else f"{row.worker_hours:.2f}"
    yield _least(row.gpu_hours, row.unknown_gpu_worker_hours)
    yield "-" if is_gap else f"{row.ready_hours:.2f}"
    unknown = "+" if row.unknown_busy_hours else ""
    yield "-" if row.idle_share is None else f"{row.idle_share:.0%}{unknown}"
    yield _least(row.usd, row.unpriced_hours)
    yield _least(row.storage_usd, 0.0)
    yield _least(row.fixed_usd, 0.0)


def _least(value: float | None, unknown: float) -> str:
    return "-" if value is None else f"{value:.2f}{'+' if unknown else ''}"


def notes_on(found: "Costs") -> Sequence[str]:
    """What a person has to know of the figures, a line each."""
    whole, lines = found.sum, []
    begin, until = _when(found.since_at), _when(found.until_at)
    lines.append(f"from {begin} to {until}, {found.time_zone}; - is unknown, + is the least")
    if whole.fixed_worker_hours is not None:
        lines.append(
            f"fixed fleet: {whole.fixed_worker_hours:.2f} worker-hours, which is max_workers for all the time that is "
            "known, at the mean price of an hour of the workers that ran"
        )
    if whole.unpriced_hours:
        lines.append(f"{whole.unpriced_hours:.2f} hours of workers and warm instances had no known price: not in USD")
    if whole.unknown_busy_hours:
        lines.append(f"in {whole.unknown_busy_hours:.2f} of the ready hours nobody said whether the worker was busy")
    return [*lines, *map(gap_text, found.gaps)]


def gap_text(gap: "Gap") -> str:
    """A gap in a line: from when to when, why, and what became of its money."""
    if gap.usd is None:
        money = "what it cost is unknown, and not in the sum"
    elif gap.is_whole:
        money = f"the fleet's own sum says {gap.usd:.2f} USD, which are in the sum"
    else:
        money = f"at least {gap.usd:.2f} USD, which are in the sum"
    return f"! {gap.fleet}: gap from {_when(gap.began_at)} to {_when(gap.ended_at)}: {one_line(gap.why)}; {money}"


def _when(at_seconds: float) -> str:
    return datetime.fromtimestamp(at_seconds).strftime("%Y-%m-%d %H:%M:%S")
