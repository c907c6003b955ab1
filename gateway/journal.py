"""What happened at each endpoint, for people: the last few hundred lines, in memory. Pure."""

from collections import deque
from dataclasses import dataclass, field

KEPT = 500
"""Lines of an endpoint."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: float
    """Seconds since 1970."""
    worker_id: str
    """Empty: of the endpoint itself."""
    words: str


@dataclass(slots=True)
class Journal:
    """The lines of all endpoints."""

    _lines: dict[str, deque[Line]] = field(default_factory=dict)

    def note(self, endpoint: str, line: Line) -> None:
        """Keep a line; the oldest goes where there are too many."""
        self._lines.setdefault(endpoint, deque(maxlen=KEPT)).append(line)

    def last(self, endpoint: str, count: int = KEPT) -> list[Line]:
        """The last ones, oldest first."""
        return list(self._lines.get(endpoint, ()))[-count:] if count > 0 else []
