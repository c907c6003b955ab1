"""What workers tell of themselves, read without trust and merged into what is known of each. Pure.

Source: `/worker_status/` of three generations of Vast's worker software, told by what a report has: a `version` (the
third), else an `mtoken` (the first), else neither (the second). Keys are optional, so a report is merged and never
takes the place of what was known; what is sticky there is sticky here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ebbflow.core.text import one_line

Generation = Literal[1, 2, 3]
MOST = 1e15
"""Of any figure of a worker."""
MOST_REQUESTS = 10_000
"""Request numbers in one report."""
ERROR_LETTERS = 300
FRESH_SECONDS = 35.0
"""Nothing is routed to a worker that has said nothing for so long; it speaks every ten seconds at least."""


class BadReport(ValueError):
    """Says which key of a report is not what it should be."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report; None: it does not say."""

    instance_id: str
    """The provider's own id of the instance, as the worker found it in its environment; empty: not said."""
    token: str
    """Empty: none."""
    generation: Generation
    is_loaded: bool | None = None
    """True only: a report that says nothing of it takes nothing back."""
    load_seconds: float | None = None
    max_perf: float | None = None
    """Load units per second in its best benchmark run; 0: not measured yet."""
    cur_load: float | None = None
    new_load: float | None = None
    rejected_load: float | None = None
    cur_perf: float | None = None
    received: int | None = None
    working: tuple[int, ...] | None = None
    """Numbers of requests in flight."""
    working_count: int | None = None
    disk_gb: float | None = None
    error: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What is known of one worker from all that it said."""

    worker_id: str
    generation: Generation = 3
    instance_id: str = ""
    url: str = ""
    is_loaded: bool = False
    load_seconds: float | None = None
    max_perf: float = 0.0
    cur_load: float = 0.0
    cur_perf: float = 0.0
    received: int = 0
    working: frozenset[int] = field(default_factory=frozenset)
    working_count: int = 0
    disk_gb: float | None = None
    error: str = ""
    error_at: float | None = None
    """When it was first said."""
    offered_per_second: float | None = None
    """Load accepted and rejected since the report before, over the time between both; None: unknown."""
    rejected_per_second: float | None = None
    reported_at: float = -math.inf
    loaded_at: float | None = None
    started_at: float = -math.inf
    """When it was first heard of since its last start."""
    restarts: int = 0
    request_seconds: float | None = None
    """Of one that reports nothing and is looked at: the longest that a request takes. None: it reports."""
    shown_requests: int | None = None
    """Of such a one: requests that it shows, running and waiting; None: it shows none."""
    least_requests: int = 0
    """Of such a one: so many it has at least, where it shows a part."""
    is_silent: bool = False
    """Of such a one: it has served and does not answer now, so that nobody knows whether it works."""

    def is_fresh(self, now: float) -> bool:
        """Whether it spoke of late; a clock that went back says nothing."""
        return now - self.reported_at <= FRESH_SECONDS

    def is_ready(self, now: float) -> bool:
        """Whether requests may be sent to it."""
        return self.is_loaded and self.max_perf > 0 and not self.error and bool(self.url) and self.is_fresh(now)

    @property
    def is_busy(self) -> bool:
        """Whether it has anything to do; an open session counts, also while its GPU rests."""
        return bool(self.working) or self.working_count > 0 or self.least_requests > 0


def read(data: object) -> Report:
    """Take a report apart.

    Raises:
        BadReport: it is no report, or a key has a value that no worker has a reason to send.
    """
    if not isinstance(data, Mapping):
        raise BadReport(f"a report is a JSON object, not {type(data).__name__}")
    generation: Generation = 3 if "version" in data else 1 if "mtoken" in data else 2
    load_seconds, max_perf = _number(data, "loadtime"), _number(data, "max_perf")
    says_loaded = data.get("loaded") is True or data.get("message") == "data update"
    return Report(
        instance_id=_instance_id(data.get("id", "")),
        token=_text(data, "mtoken"),
        generation=generation,
        is_loaded=True if says_loaded or (load_seconds or 0.0) > 0 else None,
        load_seconds=load_seconds or None,
        max_perf=max_perf,
        cur_load=_number(data, "cur_load"),
        new_load=_number(data, "new_load"),
        rejected_load=_number(data, "rej_load"),
        cur_perf=_number(data, "cur_perf"),
        received=_count(data, "num_requests_recieved"),
        working=_numbers(data, "working_request_idxs"),
        working_count=_count(data, "num_requests_working"),
        disk_gb=_number(data, "disk_usage"),
        error=one_line(_text(data, "error_msg"), ERROR_LETTERS),
        url=_text(data, "url"),
    )


def merged(known: WorkerView, report: Report, now: float) -> WorkerView:
    """What is known of a worker after a report.

    An error stays until the worker is started anew; "loaded" stays, too, since the second generation says it once and
    then 0. A figure of performance that falls to 0, a count that falls, or another time of loading is a worker that was
    started anew.
    """
    if _has_restarted(known, report):
        known = WorkerView(
            known.worker_id,
            instance_id=known.instance_id,
            url=known.url,
            started_at=now,
            restarts=known.restarts + 1,
        )
    elapsed = now - known.reported_at
    is_loaded = known.is_loaded or report.is_loaded is True
    return replace(
        known,
        generation=report.generation,
        instance_id=report.instance_id or known.instance_id,
        url=report.url or known.url,
        is_loaded=is_loaded,
        load_seconds=report.load_seconds or known.load_seconds,
        max_perf=_or(report.max_perf, known.max_perf),
        cur_load=_or(report.cur_load, known.cur_load),
        cur_perf=_or(report.cur_perf, known.cur_perf),
        received=known.received if report.received is None else report.received,
        working=known.working if report.working is None else frozenset(report.working),
        working_count=known.working_count if report.working_count is None else report.working_count,
        disk_gb=report.disk_gb if report.disk_gb is not None else known.disk_gb,
        error=report.error or known.error,
        error_at=known.error_at if known.error or not report.error else now,
        offered_per_second=_rate((report.new_load, report.rejected_load), elapsed, known.offered_per_second),
        rejected_per_second=_rate((report.rejected_load,), elapsed, known.rejected_per_second),
        reported_at=now,
        loaded_at=now if is_loaded and not known.is_loaded else known.loaded_at,
        started_at=known.started_at if math.isfinite(known.started_at) else now,
    )


def _has_restarted(known: WorkerView, report: Report) -> bool:
    if report.generation != 3:
        # The others leave keys out, and the second one's loadtime is 0 in every report but one.
        return False
    unmeasured = report.max_perf == 0.0 and known.max_perf > 0
    # A process says for ever how long it took to load; one that finds its figures on its disk never says 0.
    loaded_anew = None not in (report.load_seconds, known.load_seconds) and report.load_seconds != known.load_seconds
    return unmeasured or loaded_anew or (report.received is not None and report.received < known.received)


def _or(said: float | None, known: float) -> float:
    return known if said is None else said


def _rate(loads: tuple[float | None, ...], elapsed: float, known: float | None) -> float | None:
    said = [load for load in loads if load is not None]
    if not said or not 0 < elapsed < math.inf:
        return known
    return sum(said) / elapsed


def _instance_id(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadReport(f"id is {value!r:.40}: a number or a text is expected")
    text = str(value)
    if len(text) > 64 or not text.isprintable():
        raise BadReport("id is longer than 64 letters, or not printable")
    return text


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise BadReport(f"{key} is {value!r:.40}: a text is expected")
    return value


def _number(data: Mapping[str, object], key: str) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadReport(f"{key} is {value!r:.40}: a number is expected")
    # Before it is made a float: an integer may be too large for one.
    if not (-MOST <= value <= MOST):
        raise BadReport(f"{key} is beyond what any worker can do")
    return max(0.0, float(value))


def _count(data: Mapping[str, object], key: str) -> int | None:
    number = _number(data, key)
    return None if number is None else int(number)


def _numbers(data: Mapping[str, object], key: str) -> tuple[int, ...] | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MOST_REQUESTS:
        raise BadReport(f"{key} is no list of at most {MOST_REQUESTS} numbers")
    # To JSON, 7.0 is as whole as 7.
    whole = [int(each) if isinstance(each, float) and each.is_integer() else each for each in value]
    if not all(type(each) is int and 0 <= each <= MOST for each in whole):
        raise BadReport(f"{key} has something that is no number of a request")
    return tuple(whole)
