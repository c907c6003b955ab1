"""How much of a turn is left. No outside call begins that could end after it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """A turn's time, counted on a monotonic clock from its observation."""

    ends_at: float
    clock: Callable[[], float]

    @property
    def remaining_seconds(self) -> float:
        """What is left, at least nothing."""
        return max(0.0, self.ends_at - self.clock())

    def allows(self, seconds: float) -> bool:
        """Whether a call that may take this long can still begin."""
        return self.remaining_seconds >= seconds
