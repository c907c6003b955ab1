"""How often somebody may ask: a bucket of tokens for each, that fills with time. Pure."""

from collections import OrderedDict

REMEMBERED = 10_000
"""Who else asked is forgotten, longest ago first, so that many who ask once cost no memory."""


class Rate:
    """Lets each through so often a second, and a burst on top.

    Args:
        per_second: how often each may ask for long.
        burst: how often at once.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def lets(self, who: str, now: float) -> bool:
        """Whether it may ask now, which is counted."""
        left, at = self._left.pop(who, (self.burst, now))
        left = min(self.burst, left + max(0.0, now - at) * self.per_second)
        is_let = left >= 1
        self._left[who] = (left - 1 if is_let else left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return is_let
