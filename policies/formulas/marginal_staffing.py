"""How many workers are worth what they cost, from what `marginal` has learned. Pure.

Every formula is in workers: a load of 3 keeps three of them busy on average.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ebbflow.policies.formulas.boot_times import Boots

FORESEEN = 0.85
"""Of the next boot's arrivals and services: a forecast is worth less than what is there."""
NEGLIGIBLE_LOAD = 0.1
"""In workers: with less than this, bursts are no reason to keep anybody."""
MOST_SWING = 20.0
"""Demand that is off the load by more than so many times its root is counted as off by that."""
LARGE_LOAD = 15.0
"""In workers: with so many, bursts count half, with more, less: somebody is always about to finish."""
SHORT_SERVICE_SECONDS, SHORTER = 8.0, 0.75
"""Of shorter work more requests wait for a worker that is missing: a tenth of it is worth so much more margin, which is
what ten times the worth of waiting is."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """The numbers that depend on what waiting is worth."""

    margin: float
    """How many times the usual swing is kept free."""
    bursts: float
    """How much of a swing beyond that of even arrivals counts."""
    swing_seconds: float
    """Over which the swing is averaged."""
    average_seconds: float
    """Over which arrivals are averaged, at least."""
    average_services: float
    """The same in mean services: one arrival of long work is no rate yet."""
    slow_seconds: float
    """Over which arrivals are averaged for the long run."""
    doubt: float
    """How much of a rise that does not last is left out of the load."""
    caution: float
    """By how many standard deviations the rate is taken to be less where a backlog is foreseen."""
    haste: float
    """Times what the sum of boots and waiting says: whoever waits for a boot waits in that time too."""
    held_boots: float
    """For how many boots' length a staffing is held, where there is little load."""
    held_load: float
    """With a load of so many workers it is held for half of that."""
    longest_hold: float
    """So many times as long at most, where that would have been cheaper."""
    rested_seconds: float
    """Nobody goes who worked within this time."""
    rounding: float
    """So much of a worker does not count."""
    idle_rounding: float
    """So much more does not count where nobody waits."""
    spare: float
    """Workers for each request, beyond the first, that was there for a moment."""
    sure_spare: float
    """So many more where every rise has lasted."""
    jump: float
    """How much of a rise of the last seconds is believed where every rise has lasted."""


WORTHS = (0.1, 1.0, 10.0)
TUNED = (
    Tuning(
        margin=-0.4,
        bursts=0.1,
        swing_seconds=3600.0,
        average_seconds=240.0,
        average_services=1.5,
        slow_seconds=900.0,
        doubt=1.0,
        caution=1.2,
        haste=1.8,
        held_boots=1.25,
        held_load=4.0,
        longest_hold=1.0,
        rested_seconds=60.0,
        rounding=0.3,
        idle_rounding=0.2,
        spare=0.3,
        sure_spare=0.0,
        jump=0.0,
    ),
    Tuning(
        margin=0.4,
        bursts=0.18,
        swing_seconds=2400.0,
        average_seconds=60.0,
        average_services=2.5,
        slow_seconds=700.0,
        doubt=0.8,
        caution=1.3,
        haste=1.8,
        held_boots=1.25,
        held_load=25.0,
        longest_hold=9.0,
        rested_seconds=100.0,
        rounding=0.33,
        idle_rounding=0.5,
        spare=0.45,
        sure_spare=0.55,
        jump=1.0,
    ),
    Tuning(
        margin=1.1,
        bursts=0.8,
        swing_seconds=600.0,
        average_seconds=50.0,
        average_services=3.0,
        slow_seconds=800.0,
        doubt=0.3,
        caution=0.2,
        haste=3.3,
        held_boots=2.25,
        held_load=55.0,
        longest_hold=9.0,
        rested_seconds=110.0,
        rounding=-0.15,
        idle_rounding=0.5,
        spare=2.8,
        sure_spare=0.0,
        jump=0.0,
    ),
)
"""Found in simulation for a batch, patient users and people who watch."""


@lru_cache(maxsize=64)
def tuned_to(worth: float) -> Tuning:
    """The numbers for what waiting is worth: between those that were tried by its logarithm, beyond them as there."""
    place = min(len(WORTHS) - 1.0, max(0.0, math.log10(worth / WORTHS[0])))
    low = min(len(WORTHS) - 2, int(place))
    share, below, above = place - low, TUNED[low], TUNED[low + 1]
    return Tuning(*[(1 - share) * getattr(below, name) + share * getattr(above, name) for name in Tuning.__slots__])


def margin(load: float, swing: float, tuned: Tuning, service_seconds: float) -> float:
    """Workers beside the load, for how far demand swings around it; a negative one where waiting is cheap.

    Args:
        load: workers busy on average.
        swing: mean square of how far demand was off the load; that of even arrivals is the load itself.
        tuned: how much of it is kept free.
        service_seconds: of a mean request; of short ones more is kept free.
    """
    times = tuned.margin
    if service_seconds < SHORT_SERVICE_SECONDS:
        times += SHORTER * math.log10(SHORT_SERVICE_SECONDS / service_seconds)
    beyond = max(0.0, swing - load) * load / (load + NEGLIGIBLE_LOAD) / (1 + load / LARGE_LOAD)
    return times * math.sqrt(load + tuned.bursts * beyond)


def cautious_rate(rate: float, slow_rate: float, average_seconds: float, tuned: Tuning) -> float:
    """Arrivals per second that there are at least, as far as averages over so long can tell."""
    fast = rate - tuned.caution * math.sqrt(rate / (2 * average_seconds))
    slow = slow_rate - tuned.caution * math.sqrt(slow_rate / (2 * tuned.slow_seconds))
    return max(0.0, fast, slow)


def backlog(
    queued: int,
    rate: float,
    serving: int,
    joining_seconds: Sequence[float],
    *,
    boots: Boots,
    turn_seconds: float,
    service_seconds: float,
    worth: float,
    haste: float,
) -> float:
    """How many workers the requests are worth that will still wait when a boot ends that begins within a turn.

    Q of them are gone after Q m / d seconds with d workers more, and wait k Q^2 m / (2 d) until then, while d boots
    cost d B: the sum is least at d = Q sqrt(k m / (2 B)).
    """
    lead = boots.lead_seconds + turn_seconds / 2
    served = (serving * lead + sum([min(age, lead) for age in joining_seconds])) / service_seconds
    left = queued + FORESEEN * (rate * lead - served)
    return haste * max(0.0, left) * math.sqrt(worth * service_seconds / (2 * boots.paid_seconds))


def most_useful(staffed: int, peak: float, least: float, spare: float) -> int:
    """No more workers than there is work for, by the requests that wait or run at once.

    Args:
        staffed: what load and margin ask for, which a crowd does not raise.
        peak: the most requests of late: one worker for the first, and for each other what is spare.
        least: requests that were there all the time: each is worth a worker.
        spare: what a request is given that is there for a moment.
    """
    if peak <= 0:
        return 0
    return math.floor(max(1 + spare * (peak - 1), min(staffed, peak), least) + 1e-9)
