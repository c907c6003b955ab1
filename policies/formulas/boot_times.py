"""How long launches take and how many of them fail, from the ages of workers on their way. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median

KEPT_BOOTS = 40
"""Boots that are remembered, the last ones."""
KEPT_JOINING = 60
"""Of more workers on their way than this, boots are learned from so many."""
PRIOR_BOOTS = 4
"""As many boots as the operator's hint counts for."""
COUNTED_LAUNCHES, PRIOR_LAUNCHES = 100.0, 8.0
"""Launches of which the failed ones are counted, and how many count as good before any was seen."""
MOST_FAILED = 0.5
SAME_AGE_SECONDS = 0.5
FAILED_BOOTS = 1.5
"""A launch that fails is paid for as long as so many boots."""


@dataclass(frozen=True, slots=True)
class Boots:
    """What a launch takes and costs."""

    lead_seconds: float
    """Median time from a launch to a worker that serves."""
    paid_seconds: float
    """What is paid for a worker until it serves, failed launches with it."""


@lru_cache(maxsize=256)
def priced(seen: tuple[float, ...], hint_seconds: float, ended: float, failed: float) -> Boots:
    """What a launch takes and costs, from boots that were seen and the launches that ended and failed.

    Args:
        seen: seconds of the last boots.
        hint_seconds: the operator's word, which counts as a few boots.
        ended: launches that came to an end, as far as they are remembered.
        failed: of those.
    """
    times = (*seen, *((hint_seconds,) * PRIOR_BOOTS))
    share = min(MOST_FAILED, failed / (ended + PRIOR_LAUNCHES))
    return Boots(max(1.0, median(times)), max(1.0, fmean(times)) * (1 + FAILED_BOOTS * share / (1 - share)))


def gone(before: Sequence[float], now: Sequence[float], elapsed_seconds: float) -> list[float]:
    """The ages, as they would be now, of those that were on their way and no longer are; the youngest first."""
    found, left, place = sorted(now), [], 0
    for age in sorted([age + elapsed_seconds for age in before]):
        while place < len(found) and found[place] < age - SAME_AGE_SECONDS:
            place += 1
        if place < len(found) and found[place] <= age + SAME_AGE_SECONDS:
            place += 1
        else:
            left.append(age)
    return left
