"""Recorded request traces as arrivals: when a request comes, and how many seconds of work it is for one worker."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebbflow.simulation.traces import SPLITWISE_CONVERSATION, trace_file

ARRIVED_AT, PREFILL_TOKENS, DECODE_TOKENS = COLUMNS = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")

SECONDS_PER_DECODE_TOKEN = 0.03
"""A stand-in: the trace holds no service times."""
SECONDS_PER_PREFILL_TOKEN = 0.0005
"""A stand-in, as above."""


class TraceError(ValueError):
    """A trace cannot be used: names the file, the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    at_seconds: float
    """From the beginning of the trace, or of the stretch that was cut out of it."""
    service_seconds: float
    """Work for one worker."""


def load_trace(path: Path | None = None) -> tuple[Arrival, ...]:
    """Read a trace of token counts.

    Args:
        path: a CSV file with the columns of `COLUMNS`; None takes the recorded one that is installed with the package.

    Raises:
        TraceError: it is empty, malformed, unsorted, or holds a negative number.
        OSError: it cannot be read.
    """
    source = trace_file(SPLITWISE_CONVERSATION) if path is None else path
    with source.open(encoding="utf-8") as lines:
        return parse_trace(lines, name=source.name)


def parse_trace(lines: Iterable[str], *, name: str) -> tuple[Arrival, ...]:
    """Turn the lines of a CSV file into arrivals.

    Raises:
        TraceError: as `load_trace`.
    """
    rows = csv.DictReader(lines)
    if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
        raise TraceError(f"{name}: no column {', '.join(missing)}; its first line names {list(rows.fieldnames or ())}")
    arrivals = tuple(_arrivals(rows, name))
    if not arrivals:
        raise TraceError(f"{name}: holds no request")
    return arrivals


def stretch(arrivals: Sequence[Arrival], *, begin_seconds: float, seconds: float) -> tuple[Arrival, ...]:
    """Cut out what arrives from `begin_seconds` on, for `seconds`; its arrivals count from there.

    Raises:
        TraceError: nothing arrives in that time.
    """
    end_seconds = begin_seconds + seconds
    cut = tuple(
        Arrival(arrival.at_seconds - begin_seconds, arrival.service_seconds)
        for arrival in arrivals
        if begin_seconds <= arrival.at_seconds < end_seconds
    )
    if not cut:
        raise TraceError(f"nothing arrives between {begin_seconds:g} s and {end_seconds:g} s of the trace")
    return cut


def thin(arrivals: Sequence[Arrival], keep_one_in: int) -> tuple[Arrival, ...]:
    """Keep the first of each `keep_one_in` requests: the same ones each time, and about that share of the work."""
    if keep_one_in < 1:
        raise ValueError(f"keep_one_in is {keep_one_in}, it must be at least 1")
    return tuple(arrivals[::keep_one_in])


def compress(arrivals: Sequence[Arrival], factor: float) -> tuple[Arrival, ...]:
    """Let everything happen `factor` times faster, arrivals and services alike: the load in workers stays the same."""
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"factor is {factor:g}, it must be positive")
    return tuple(Arrival(arrival.at_seconds / factor, arrival.service_seconds / factor) for arrival in arrivals)


def _arrivals(rows: "csv.DictReader[str]", name: str) -> Iterator[Arrival]:
    latest = 0.0
    for row in rows:
        where = f"{name}, line {rows.line_num}"
        at, prefill, decode = (_number(row, column, where) for column in COLUMNS)
        if at < latest:
            raise TraceError(f"{where}: arrives at {at:g} s, before the request above it ({latest:g} s)")
        latest = at
        yield Arrival(at, prefill * SECONDS_PER_PREFILL_TOKEN + decode * SECONDS_PER_DECODE_TOKEN)


def _number(row: Mapping[str, str | None], column: str, where: str) -> float:
    text = row[column]
    try:
        number = float(text or "")
    except ValueError as error:
        raise TraceError(f"{where}: {column} is {text!r}, not a number") from error
    if not math.isfinite(number) or number < 0:
        raise TraceError(f"{where}: {column} is {text}, it must be a number from 0 on")
    return number
