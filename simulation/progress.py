"""How much of a league is done, and how long the rest will take."""

from collections.abc import Callable, Sequence
from time import monotonic

OUR_TICK, BASELINE_TICK, REQUEST = 10.0, 1.0, 0.3
"""What a tick of ours, one of a baseline and a request take, in relation to each other."""


def work(virtual_seconds: float, requests: int, interval_seconds: float, *, is_ours: bool) -> float:
    """How long a run takes, in no unit: only shares of it mean anything."""
    return virtual_seconds / interval_seconds * (OUR_TICK if is_ours else BASELINE_TICK) + requests * REQUEST


class Progress:
    """Counts what is done by the work that it was, since a week of requests takes longer than an hour."""

    def __init__(self, works: Sequence[float], *, clock: Callable[[], float] = monotonic) -> None:
        """Begin.

        Args:
            works: of all runs.
            clock: in seconds.
        """
        self._total, self._runs = sum(works), len(works)
        self._done, self._count = 0.0, 0
        self._clock, self._began = clock, clock()

    def finished(self, did: float) -> str:
        """Note that a run of so much work has ended, and say how many have and how long the rest will take."""
        self._count, self._done = self._count + 1, self._done + did
        spent = self._clock() - self._began
        left = max(0.0, spent * (self._total - self._done) / self._done) if self._done else 0.0
        return f"{self._count}/{self._runs} ({self._done / (self._total or 1.0):.0%}, {_spelt(left)} left)"


def _spelt(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
