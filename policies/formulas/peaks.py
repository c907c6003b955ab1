"""The highest value of late, as a short series that can be stored. Pure."""

from collections.abc import Sequence

KEPT_PEAKS = 30


class Peaks:
    """Values that are each above all later ones: time and value, in turn."""

    __slots__ = ("flat",)

    def __init__(self, flat: Sequence[float] = ()) -> None:
        self.flat = list(flat)

    def note(self, now: float, value: float, within_seconds: float) -> float:
        """Note a value and return the highest of the last seconds.

        Args:
            now: on any clock that goes on, in seconds.
            value: now.
            within_seconds: what is older counts no more, for good.
        """
        flat, since = self.flat, now - within_seconds
        while flat and flat[-1] <= value:
            del flat[-2:]
        old = 0
        while old < len(flat) and flat[old] < since:
            old += 2
        del flat[:old]
        flat += (round(now, 1), value)
        if len(flat) > 2 * KEPT_PEAKS:
            # Of those below the highest, the newest is nearest to what is noted now.
            del flat[-4:-2]
        return flat[1]
