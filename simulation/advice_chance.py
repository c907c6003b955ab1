"""What chance alone may do to differences: Student's t, and a correction for trying many settings at once. Pure.

Of twenty settings that do the same, each told apart 5 times in 100 by chance, one or another mostly would be. Here a
family is right as a whole: in 5 of 100 at most is any told apart that does the same.
Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979);
Abramowitz and Stegun, 26.7.3 and 26.7.4, for the tail of Student's t with whole degrees of freedom.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

FAMILY_ERROR = 0.05
"""In so many of all families at most may chance tell anything apart."""


def told_apart(chances: Sequence[float]) -> tuple[bool, ...]:
    """Holm's step-down: which differences of a family are more than chance.

    Args:
        chances: of each, how often chance alone makes a difference as large (its p-value), from 0 to 1.

    Returns:
        For each in its order. The surest one has to be surer by as much as the family is large, each later one by less;
        from the first one on that is not sure enough, none is told.
    """
    told = [False] * len(chances)
    for before, place in enumerate(sorted(range(len(chances)), key=lambda each: chances[each])):
        if chances[place] > FAMILY_ERROR / (len(chances) - before):
            break
        told[place] = True
    return tuple(told)


def chance_of(values: Sequence[float]) -> float:
    """How often chance alone takes the mean of values that scatter like these as far from nothing, to either side.

    Returns:
        From 0 to 1. Of a single value nothing is known: it speaks against no difference, which is 0.
    """
    if len(values) < 2:
        return 0.0
    mean, error = fmean(values), _standard_error(values)
    if not error:
        return 0.0 if mean else 1.0
    return student_tail(mean / error, len(values) - 1)


def margin(values: Sequence[float], chance: float) -> float:
    """How far the mean of these values may be off, but for so small a chance; of a single value, nothing.

    Args:
        values: independent of each other.
        chance: above 0 and below 1, to both sides together.
    """
    return student_bound(chance, len(values) - 1) * _standard_error(values) if len(values) > 1 else 0.0


def student_tail(errors: float, degrees: int) -> float:
    """How often a mean lies more than so many of its standard errors away, to both sides together.

    Args:
        errors: of either sign.
        degrees: of freedom, 1 or more.
    """
    angle = math.atan(abs(errors) / math.sqrt(degrees))
    sine, cosine, is_odd = math.sin(angle), math.cos(angle), degrees % 2
    term = cosine if is_odd else 1.0
    within = 0.0
    for power in range(1 if is_odd else 0, degrees - 1, 2):
        within += term
        term *= (power + 1) / (power + 2) * cosine**2
    within *= sine
    return max(0.0, 1.0 - (2 / math.pi * (angle + within) if is_odd else within))


def student_bound(chance: float, degrees: int) -> float:
    """How many standard errors a mean is exceeded by so seldom: the other way round than `student_tail`."""
    low, high = 0.0, 1.0
    while student_tail(high, degrees) > chance:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, degrees) > chance else (low, middle)
    return high


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values))
