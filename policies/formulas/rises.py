"""How far a rise of the last seconds is believed: as far as rises have lasted before. Pure.

A crowd and a new level look alike while they begin. Whether what comes to this fleet lasts for a boot, its past tells;
one without a past takes every rise for a new level.
"""

import math

SUDDEN_SECONDS = 10.0
"""Over which arrivals are averaged to see a rise at once."""
SUDDEN_DEVIATIONS = 2.0
"""What is within so many standard deviations of such an average is no rise but chance."""
DOUBTS = 16
"""How soon one that has seen rises end is sure of none: at a share of 0.9 that last it is sure by 0.19."""


def sureness(lasting_share: float) -> float:
    """From 1 where every rise has lasted to 0 where one may end as well.

    Args:
        lasting_share: of rises, what was still there a boot later.
    """
    return lasting_share**DOUBTS


def risen(rate: float, sudden_rate: float, *, elapsed_seconds: float, share: float) -> float:
    """Arrivals per second with a share of what the last seconds show above them.

    Args:
        rate: averaged over a longer time.
        sudden_rate: averaged over `SUDDEN_SECONDS`.
        elapsed_seconds: of the last turn; a longer one is an average itself.
        share: of the rise, 0 to 1.
    """
    if share <= 0 or sudden_rate <= rate:
        return rate
    seconds = max(SUDDEN_SECONDS, elapsed_seconds / 2)
    at_least = sudden_rate - SUDDEN_DEVIATIONS * math.sqrt(sudden_rate / (2 * seconds))
    return rate + share * max(0.0, at_least - rate)
