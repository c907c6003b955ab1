"""Averages over turns of any length. Pure."""


def rise_at_once(new: float, old: float | None, elapsed_seconds: float, half_life_seconds: float) -> float:
    """Follow a rising number at once and a falling one slowly, so that a short calm ends nothing.

    Source: autoscaler-py, `busy = max(new, w * old + (1 - w) * new)` with w = 0.5 ** (0.01 * 5) each 5 s: a half-life
    of 100 s. Here the time that really passed is used.

    Args:
        new: the number now.
        old: the average so far; None: there is none.
        elapsed_seconds: since that average.
        half_life_seconds: after this long half of a fall is followed; 0: a fall is followed at once too.
    """
    if old is None or half_life_seconds <= 0:
        return new
    weight: float = 0.5 ** (max(0.0, elapsed_seconds) / half_life_seconds)
    return max(new, weight * old + (1 - weight) * new)


def latest(series: tuple[float, ...] | None) -> float | None:
    """The last number of a remembered series."""
    return series[-1] if series else None
