"""Pour a number over ordered tiers that hold only so many. Pure.

Source: opengris-scaler 2.9.0, `waterfall_v1`: each tier takes what the tiers before it could not, up to its cap.
"""

from collections.abc import Sequence


def pour(count: int, rooms: Sequence[int | None]) -> tuple[int, ...]:
    """How many each tier takes, the first first. What no tier has room for is in no tier: the sum may be less.

    Args:
        count: how many there are to place.
        rooms: what each tier may hold, in order of preference; None: any number.
    """
    taken: list[int] = []
    for room in rooms:
        share = count if room is None else min(count, room)
        taken.append(max(0, share))
        count -= taken[-1]
    return tuple(taken)
