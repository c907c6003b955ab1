"""A summary as a person reads it, and a run as a picture. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from ebbflow.core.text import counted
from ebbflow.services.simulated_clients.crowd import Moment
from ebbflow.services.simulated_clients.summary import Spread, Summary
from ebbflow.simulation.plots import Line, lines

MOST_POINTS = 1000
"""Of a line; more are not seen."""
LATE_SECONDS = 0.5
"""From here on latencies are the simulator's own too."""
SPREAD_COLUMNS = ("min", "avg", "p50", "p95", "max")


def as_json(summary: Summary) -> str:
    """One object; names that are there stay there."""
    return json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n"


def as_text(summary: Summary) -> str:
    """Plain text: figures, durations, and a row for each worker, in columns."""
    blocks = [_table(_figures(summary)), _table(_durations(summary))]
    if summary.workers:
        blocks.append(_table(_workers(summary)))
    return "\n\n".join([*blocks, *_remarks(summary)])


def as_plot(moments: Sequence[Moment], *, title: str) -> str:
    """Requests that are open, those of them that wait, and workers, over time, as SVG."""
    step = 1 + len(moments) // MOST_POINTS
    # The last one is how it ended.
    shown = [*moments[:-1:step], *moments[-1:]]
    known = [moment for moment in shown if moment.workers is not None]
    seconds = tuple(moment.seconds for moment in shown)
    drawn = [
        Line("open requests", seconds, tuple(float(moment.open) for moment in shown)),
        Line("of them waiting", seconds, tuple(float(moment.waiting) for moment in shown)),
        Line(
            "workers", tuple(moment.seconds for moment in known), tuple(float(moment.workers or 0) for moment in known)
        ),
    ]
    return lines(title, drawn, x_label="seconds", y_label="requests, workers") + "\n"


def progress(moment: Moment) -> str:
    """One line while it goes on."""
    workers = "" if moment.workers is None else f", {counted(moment.workers, 'worker')}"
    return (
        f"{moment.seconds:.0f} s: {moment.started} of {moment.due} started, {moment.open} open "
        f"({moment.waiting} waiting), {moment.served} served, {moment.lost} lost{workers}"
    )


def _figures(summary: Summary) -> Iterable[Sequence[str]]:
    yield "requests", "started", "finished", "successful", "lost"
    lost = sum(summary.lost.values())
    yield "", f"{summary.started}", f"{summary.finished}", f"{summary.successful}", f"{lost}"
    yield "per second", _number(summary.started_per_second), "", _number(summary.successful_per_second), ""
    yield "tokens", "", "", f"{summary.tokens}", f"{summary.wasted_tokens}"
    yield "tokens per second", "", "", _number(summary.tokens_per_second), ""
    yield "re-routes", "", "", f"{summary.reroutes}", ""
    yield "USD", "", "", _number(summary.usd, 4), ""
    yield "USD per 1000 tokens", "", "", _number(summary.usd_per_1000_tokens, 4), ""


def _durations(summary: Summary) -> Iterable[Sequence[str]]:
    yield "seconds", *SPREAD_COLUMNS
    yield "latency", *_spread(summary.latency_seconds)
    yield "first token", *_spread(summary.first_token_seconds)
    yield "waited in queue", *_spread(summary.queue_seconds)


def _workers(summary: Summary) -> Iterable[Sequence[str]]:
    yield "worker", "requests", "failed", "tokens", "tokens/s", "USD"
    for each in summary.workers:
        yield (
            each.url,
            f"{each.requests}",
            f"{each.failed}",
            f"{each.tokens}",
            _number(each.tokens_per_second),
            _number(each.usd, 4),
        )


def _remarks(summary: Summary) -> Iterable[str]:
    """What a figure cannot say."""
    reasons = [
        f"lost: {count} {reason.replace('_', ' ')}"
        + (f" ({words})" if (words := summary.lost_words.get(reason)) else "")
        for reason, count in summary.lost.items()
        if count
    ]
    if reasons:
        yield "\n".join(reasons)
    if summary.usd is not None and summary.usd_unpriced_seconds >= 1:
        yield f"without a known price, and not in the sum: {summary.usd_unpriced_seconds:.0f} s"
    if (late := summary.late_start_seconds_max or 0.0) >= LATE_SECONDS:
        yield f"requests started up to {late:.1f} s late: more were due than --most-open, or than this host can send"


def _spread(spread: Spread) -> Iterable[str]:
    return (_number(each) for each in (spread.min, spread.avg, spread.p50, spread.p95, spread.max))


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(rows: Iterable[Sequence[str]]) -> str:
    """Names to the left, figures to the right."""
    made = list(rows)
    widths = [max(len(row[place]) for row in made) for place in range(len(made[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in made
    )
