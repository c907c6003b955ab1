"""The highest value of late, as a short series that can be stored. Pure."""

KEPT_PEAKS = 30

Peaks = tuple[float, ...]
"""Values that are each above all later ones: time and value, in turn, the highest first."""


def noted(peaks: Peaks, now: float, value: float, since: float, most: int = KEPT_PEAKS) -> Peaks:
    """The peaks with one value more; the second number is the highest since a time.

    Args:
        peaks: of earlier values.
        now: on any clock that goes on, in seconds.
        value: now.
        since: what is older counts no more, for good.
        most: peaks that are kept.
    """
    begin, end = 0, len(peaks)
    while end > 0 and peaks[end - 1] <= value:
        end = max(0, end - 2)
    while begin < end and peaks[begin] < since:
        begin += 2
    if end - begin >= 2 * most:
        # Of those below the highest, the newest is nearest to what is noted now.
        end -= 2
    return (*peaks[begin:end], now, value)


def highest_since(peaks: Peaks, since: float) -> float:
    """The highest value since a time; the newest, where all are older."""
    place = 0
    while place < len(peaks) - 2 and peaks[place] < since:
        place += 2
    return peaks[place + 1]
