"""Faults that a test switches on in a stand-in server, and the log of the requests that it received."""

from dataclasses import dataclass, replace
from enum import Enum


class FaultKind(Enum):
    """What goes wrong with a request."""

    HANG = "hang"
    """Accepted and never answered; nothing is done."""
    LOSE_ANSWER = "lose_answer"
    """Done, and then never answered."""
    SLOW = "slow"
    """Answered correctly, `seconds` later."""
    FAIL = "fail"
    """HTTP 500 with a page of a proxy."""
    GARBAGE = "garbage"
    """HTTP 200 with a page that is no JSON."""
    ERROR = "error"
    """HTTP 200 with `{"error": text}`."""
    NO_RESULT = "no_result"
    """The handler gives nothing."""
    BAD_ROUTE = "bad_route"
    """The route does not exist, as in an older version."""
    CRASH = "crash"
    """The process dies when the request arrives."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that is switched on."""

    kind: FaultKind
    route: str = ""
    """The route it applies to, in any case; empty for every route."""
    times: int | None = None
    """How many requests it still hits; None for all until `clear`."""
    seconds: float = 0.0
    text: str = "switched on by a test"

    def hits(self, route: str) -> bool:
        """Say whether a request for `route` is struck."""
        return not self.route or self.route.lower() == route.lower()


class Faults:
    """The faults that are switched on; the oldest one that fits strikes."""

    def __init__(self) -> None:
        self._active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self._active.append(fault)

    def clear(self) -> None:
        """Switch every fault off; requests that hang already stay lost."""
        self._active.clear()

    def take(self, route: str) -> Fault | None:
        """Return the fault that strikes this request, and count it."""
        for index, fault in enumerate(self._active):
            if fault.hits(route):
                if fault.times is not None and fault.times <= 1:
                    del self._active[index]
                elif fault.times is not None:
                    self._active[index] = replace(fault, times=fault.times - 1)
                return fault
        return None


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it arrived, with its secrets replaced."""

    at: float
    method: str
    route: str
    body: dict[str, object]
