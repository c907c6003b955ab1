"""Whole traces as the simulator takes them: sorted arrivals, service seconds, and what each request requires."""

import csv
import gzip
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from ebbflow.simulation.trace import (
    SECONDS_PER_DECODE_TOKEN,
    SECONDS_PER_PREFILL_TOKEN,
    Arrival,
    TraceError,
    parse_trace,
)
from ebbflow.simulation.traces import (
    MOONCAKE_CONVERSATION,
    SERVEGEN_LARGE,
    SERVEGEN_MMIMG,
    SERVEGEN_R1,
    SPLITWISE_CODE,
    SPLITWISE_CONVERSATION,
    trace_file,
)

RECORDED = {
    "servegen_large_w1": SERVEGEN_LARGE,
    "servegen_r1": SERVEGEN_R1,
    "servegen_mmimg": SERVEGEN_MMIMG,
    "vidur_conv": SPLITWISE_CONVERSATION,
    "vidur_code": SPLITWISE_CODE,
    "mooncake": MOONCAKE_CONVERSATION,
}
"""The traces that are installed with the package, by the name under which tables list them."""

SERVICE_COLUMNS = ("arrival_s", "service_s")
STEP_COLUMNS = ("timestamp_ms", "input_length", "output_length")


@dataclass(frozen=True)
class Trace:
    """Requests in the order in which they come.

    Raises:
        TraceError: it is empty or unsorted, or holds a time that is negative or no number.
    """

    name: str
    at_seconds: tuple[float, ...]
    service_seconds: tuple[float, ...]
    requires: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """What each request requires of its worker; empty: nothing does."""

    def __post_init__(self) -> None:
        """Refuse what cannot have happened."""
        if not self.at_seconds:
            raise TraceError(f"{self.name}: holds no request")
        if len(self.at_seconds) != len(self.service_seconds):
            counts = f"{len(self.at_seconds)} arrivals and {len(self.service_seconds)} service times"
            raise TraceError(f"{self.name}: {counts}, there must be one of each per request")
        if self.requires and len(self.requires) != len(self.at_seconds):
            raise TraceError(f"{self.name}: {len(self.requires)} requirements for {len(self.at_seconds)} requests")
        latest = 0.0
        for place, (at, service) in enumerate(zip(self.at_seconds, self.service_seconds, strict=True), 1):
            if not (math.isfinite(at) and at >= 0 and math.isfinite(service) and service >= 0):
                said = f"arrives at {at} s and takes {service} s; both must be numbers from 0 on"
                raise TraceError(f"{self.name}, request {place}: {said}")
            if at < latest:
                raise TraceError(
                    f"{self.name}, request {place}: arrives at {at:g} s, before the request above it ({latest:g} s)"
                )
            latest = at

    @cached_property
    def mean_service_seconds(self) -> float:
        """Of all requests alike."""
        return math.fsum(self.service_seconds) / len(self.service_seconds)

    @property
    def work_hours(self) -> float:
        """What serving everything costs without a boot and without an idle second."""
        return math.fsum(self.service_seconds) / 3600

    @property
    def last_at_seconds(self) -> float:
        """When the last request comes."""
        return self.at_seconds[-1]

    @cached_property
    def digest(self) -> str:
        """Names the trace in a report: equal digests, equal requests."""
        text = repr((self.at_seconds, self.service_seconds, self.requires))
        return sha256(text.encode()).hexdigest()[:12]

    def first(self, count: int) -> "Trace":
        """Its first requests."""
        return Trace(self.name, self.at_seconds[:count], self.service_seconds[:count], self.requires[:count])


def load(name: str) -> Trace:
    """Load one of the recorded traces.

    Raises:
        TraceError: no such trace, or its file cannot be used.
    """
    if name not in RECORDED:
        raise TraceError(f"no recorded trace {name!r}; there are {', '.join(RECORDED)}")
    file = trace_file(RECORDED[name])
    raw = file.read_bytes()
    text = gzip.decompress(raw).decode("utf-8") if file.name.endswith(".gz") else raw.decode("utf-8")
    lines = io.StringIO(text, newline="")
    if RECORDED[name] == MOONCAKE_CONVERSATION:
        return parse_steps(lines, name=name)
    if file.name.endswith(".gz"):
        return parse_services(lines, name=name)
    return from_arrivals(name, parse_trace(lines, name=name))


def from_arrivals(name: str, arrivals: Sequence[Arrival]) -> Trace:
    """Take over what `simulation.trace` has read or cut."""
    return Trace(
        name,
        tuple(arrival.at_seconds for arrival in arrivals),
        tuple(arrival.service_seconds for arrival in arrivals),
    )


def parse_services(lines: Iterable[str], *, name: str) -> Trace:
    """Read rows of `arrival_s,service_s`.

    Raises:
        TraceError: it is empty, malformed, unsorted, or holds a negative number.
    """
    rows = _rows(lines, SERVICE_COLUMNS, name)
    return Trace(name, tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def parse_steps(lines: Iterable[str], *, name: str) -> Trace:
    """Read rows of `timestamp_ms,input_length,output_length`, whose times stand in steps of about three seconds.

    All requests of a step carry one time, so they are spread evenly until the next step.

    Raises:
        TraceError: as `parse_services`.
    """
    rows = _rows(lines, STEP_COLUMNS, name)
    steps = [row[0] / 1000 for row in rows]
    at: list[float] = []
    begin = 0
    while begin < len(steps):
        end = begin
        while end < len(steps) and steps[end] == steps[begin]:
            end += 1
        width = steps[end] - steps[begin] if end < len(steps) else 0.0
        at.extend(steps[begin] + max(0.0, width) * place / (end - begin) for place in range(end - begin))
        begin = end
    service = tuple(row[1] * SECONDS_PER_PREFILL_TOKEN + row[2] * SECONDS_PER_DECODE_TOKEN for row in rows)
    return Trace(name, tuple(at), service)


def _rows(lines: Iterable[str], columns: tuple[str, ...], name: str) -> list[tuple[float, ...]]:
    table = csv.reader(lines)
    header = next(table, [])
    if missing := [column for column in columns if column not in header]:
        raise TraceError(f"{name}: no column {', '.join(missing)}; its first line names {header}")
    places = [header.index(column) for column in columns]
    rows: list[tuple[float, ...]] = []
    for row in table:
        try:
            rows.append(tuple(float(row[place]) for place in places))
        except (ValueError, IndexError) as error:
            raise TraceError(f"{name}, line {table.line_num}: {row} holds no numbers for {columns}") from error
    return rows
