"""Model servers that report nothing: what was registered of one, and what looks at it and its test come to. Pure.

Refused, silent and 503 all mean that it loads, until its loading time is over. Hot is who answered a test prompt; who
was silent since, or was started anew, is tested again, since what its health means may depend on its past.
"""

from dataclasses import dataclass, replace

from ebbflow.core.text import one_line
from ebbflow.gateway.kinds.kind import Judgement, Reading, Standing, Verdict, Wanted
from ebbflow.gateway.reports import ERROR_LETTERS, WorkerView

REQUEST_SECONDS = 600.0
LOADING_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class PlainServer:
    """What was registered of one."""

    kind: str
    wanted: Wanted
    key: str = ""
    """It wants it with every request; empty: none."""
    metrics_port: int | None = None
    """Where its figures are, if not at its address."""
    units_per_second: float = 1.0
    """Of load, as clients count their requests' cost."""
    loading_seconds: float = LOADING_SECONDS
    """From its registration, or from its last answer, until one that does not serve is broken."""
    request_seconds: float = REQUEST_SECONDS
    """The longest that a request takes: after it, one that nobody has settled is over."""


@dataclass(frozen=True, slots=True)
class PlainState:
    """How one is."""

    loads_since: float
    """Since when it may be loading; seconds of a clock that only goes on."""
    looked_at: float
    is_hot: bool = False
    """Its model has answered a test prompt, and it has been ready ever since."""
    was_hot: bool = False
    reading: Reading | None = None
    """What the last look showed; None: none was taken yet."""
    load_seconds: float | None = None
    """What it took to be hot."""
    restarts: int = 0
    error: str = ""
    error_at: float | None = None

    @property
    def is_to_be_tested(self) -> bool:
        """Whether a test prompt would tell something: it answers, and what it does with a prompt is not known."""
        is_there = self.reading is not None and self.reading.standing is Standing.READY
        return is_there and not self.is_hot and not self.error


def looked(state: PlainState, server: PlainServer, reading: Reading, now: float, *, is_testable: bool) -> PlainState:
    """How it is after a look.

    Args:
        state: before.
        server: what was registered.
        reading: what the look showed.
        now: seconds of the clock.
        is_testable: whether there is a test prompt; without one, ready is all that can be known.
    """
    before, after = state.reading, replace(state, reading=reading, looked_at=now)
    if reading.standing is Standing.LOADING:
        # From its last answer on it has its whole loading time again: it may have been started anew where it is.
        since = now if before is not None and before.standing is not Standing.LOADING else state.loads_since
        after = replace(after, is_hot=False, loads_since=since)
        if now - since <= server.loading_seconds:
            return after
        return _broken(after, f"not ready for {now - since:.0f} s: {reading.detail or 'no answer'}", now)
    if before is not None and _has_restarted(before, reading):
        after = replace(after, is_hot=False, loads_since=now, restarts=state.restarts + 1, error="", error_at=None)
    if reading.standing is Standing.ASLEEP:
        return replace(after, is_hot=False, loads_since=now)
    return after if is_testable or after.is_hot or after.error else _hot(after, now)


def judged(state: PlainState, server: PlainServer, judgement: Judgement, now: float) -> PlainState:
    """How it is after the answer to a test prompt."""
    if judgement.verdict is Verdict.HOT:
        return _hot(state, now)
    if judgement.verdict is Verdict.WRONG:
        return _broken(state, judgement.detail, now)
    waited = now - state.loads_since
    if waited <= server.loading_seconds:
        return state
    return _broken(state, f"its test prompt was not answered for {waited:.0f} s: {judgement.detail}", now)


def failed_a_client(state: PlainState) -> PlainState:
    """A client says that it did not serve it: before others are sent there, it is tested."""
    return replace(state, is_hot=False)


def view_of(worker_id: str, url: str, server: PlainServer, state: PlainState, *, others_load: float) -> WorkerView:
    """One as the queue knows workers.

    Args:
        worker_id: its id.
        url: where it is.
        server: what was registered.
        state: how it is.
        others_load: units that it has from whom the gateway has not sent.
    """
    reading = state.reading
    is_heard = reading is not None and reading.standing is not Standing.LOADING
    return WorkerView(
        worker_id,
        url=url,
        is_loaded=state.is_hot,
        load_seconds=state.load_seconds,
        max_perf=server.units_per_second if state.is_hot or state.was_hot else 0.0,
        cur_load=others_load,
        error=state.error,
        error_at=state.error_at,
        reported_at=state.looked_at,
        started_at=state.loads_since,
        restarts=state.restarts,
        request_seconds=server.request_seconds,
        shown_requests=_shown(reading) if is_heard else None,
        least_requests=_at_least(reading) if is_heard else 0,
        # What it was last seen to do it may still do, though it does not answer.
        is_silent=state.was_hot and not is_heard,
    )


def _shown(reading: Reading | None) -> int | None:
    """All that it has; a queue alone says nothing of what runs."""
    if reading is None or reading.running is None:
        return None
    return reading.running + (reading.queued or 0)


def _at_least(reading: Reading | None) -> int:
    return 0 if reading is None else (reading.running or 0) + (reading.queued or 0)


def _has_restarted(before: Reading, now: Reading) -> bool:
    return before.served is not None and now.served is not None and now.served < before.served


def _hot(state: PlainState, now: float) -> PlainState:
    took = state.load_seconds if state.was_hot else now - state.loads_since
    return replace(state, is_hot=True, was_hot=True, load_seconds=took, error="", error_at=None)


def _broken(state: PlainState, words: str, now: float) -> PlainState:
    error_at = state.error_at if state.error else now
    return replace(state, is_hot=False, error=one_line(words, ERROR_LETTERS), error_at=error_at)
