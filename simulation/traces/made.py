"""Traces that are made, not recorded: sparse, flat, crowds, weeks, sessions and bursts, each from a seed of its own.

Drawn with `random.Random` of the standard library, so that one name gives one trace on every machine. No record of
anybody went into them; they carry this repository's licence.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from ebbflow.simulation.recorded import Trace

HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
LEAST_SERVICE_SECONDS, MOST_SERVICE_SECONDS = 1.0, 600.0

Arrivals = Callable[[random.Random], Iterator[float]]


@dataclass(frozen=True, slots=True)
class Made:
    """How one trace is drawn."""

    seed: int
    mean_service_seconds: float
    service_variation: float
    """Standard deviation over mean; service times are lognormal."""
    arrivals: Arrivals


def poisson(luck: random.Random, *, per_second: float, hours: float, begin_seconds: float = 0.0) -> Iterator[float]:
    """Requests that know nothing of one another."""
    end = hours * HOUR_SECONDS
    at = begin_seconds + luck.expovariate(per_second)
    while at < end:
        yield at
        at += luck.expovariate(per_second)


def office(luck: random.Random, *, most_per_second: float, days: float) -> Iterator[float]:
    """Requests by day, few by night, and a quarter of them at a weekend; time begins on a Monday."""
    for at in poisson(luck, per_second=most_per_second, hours=days * 24):
        if luck.random() < _office_share(at):
            yield at


def crowds(
    luck: random.Random, *, per_second: float, every_seconds: float, size: int, within_seconds: float, hours: float
) -> Iterator[float]:
    """Few requests, and now and then very many within a minute or some."""
    yield from poisson(luck, per_second=per_second, hours=hours)
    last = hours - within_seconds / HOUR_SECONDS
    for begin in poisson(luck, per_second=1 / every_seconds, hours=last):
        count = round(size * luck.uniform(0.3, 1.7))
        yield from (begin + luck.uniform(0.0, within_seconds) for _ in range(count))


def sessions(
    luck: random.Random,
    *,
    users_per_second: float,
    asks: float,
    thinks_seconds: float,
    service_seconds: float,
    days: float,
) -> Iterator[float]:
    """Users who come by day, ask, look at the answer, and ask again."""
    for begin in office(luck, most_per_second=users_per_second, days=days):
        at = begin
        for _ in range(1 + round(luck.expovariate(1 / asks))):
            yield at
            at += service_seconds + luck.expovariate(1 / thinks_seconds)


def bursts(
    luck: random.Random, *, on_seconds: float, off_seconds: float, per_second: float, hours: float
) -> Iterator[float]:
    """A source that is on and off, for times of no fixed length."""
    at, end = luck.expovariate(1 / off_seconds), hours * HOUR_SECONDS
    while at < end:
        until = min(end, at + luck.expovariate(1 / on_seconds))
        yield from poisson(luck, per_second=per_second, hours=until / HOUR_SECONDS, begin_seconds=at)
        at = until + luck.expovariate(1 / off_seconds)


def _office_share(at: float) -> float:
    day, hour = at / DAY_SECONDS % 7, at / HOUR_SECONDS % 24
    daily = 0.05 + 0.95 * max(0.0, math.sin(math.pi * (hour - 7) / 13)) if 7 <= hour <= 20 else 0.05
    return daily * (0.25 if day >= 5 else 1.0)


def _lognormal(luck: random.Random, mean: float, variation: float) -> float:
    sigma = math.sqrt(math.log1p(variation * variation))
    drawn = mean * math.exp(luck.gauss(-sigma * sigma / 2, sigma))
    return min(MOST_SERVICE_SECONDS, max(LEAST_SERVICE_SECONDS, drawn))


_CROWDS_A = partial(crowds, per_second=0.02, every_seconds=5400.0, size=150, within_seconds=60.0, hours=24)
_CROWDS_B = partial(crowds, per_second=0.008, every_seconds=9000.0, size=220, within_seconds=150.0, hours=36)
_CROWDS_V = partial(crowds, per_second=0.01, every_seconds=7200.0, size=80, within_seconds=30.0, hours=24)
_SESSIONS_A = partial(sessions, users_per_second=0.006, asks=10.0, thinks_seconds=40.0, service_seconds=15.0, days=2)
_SESSIONS_V = partial(sessions, users_per_second=0.01, asks=6.0, thinks_seconds=60.0, service_seconds=25.0, days=1.5)
_BURSTS_A = partial(bursts, on_seconds=600.0, off_seconds=1800.0, per_second=0.5, hours=24)
_BURSTS_D = partial(bursts, on_seconds=180.0, off_seconds=1200.0, per_second=1.2, hours=24)
_BURSTS_V = partial(bursts, on_seconds=900.0, off_seconds=3600.0, per_second=0.3, hours=24)

MADE: Mapping[str, Made] = MappingProxyType(
    {
        "sparse_a": Made(11, 30.0, 0.6, partial(poisson, per_second=4 / HOUR_SECONDS, hours=48)),
        "sparse_c": Made(31, 90.0, 0.8, partial(poisson, per_second=12 / HOUR_SECONDS, hours=48)),
        "sparse_v": Made(41, 20.0, 0.6, partial(poisson, per_second=7 / HOUR_SECONDS, hours=48)),
        "flat_a": Made(12, 25.0, 0.8, partial(poisson, per_second=0.2, hours=12)),
        "flat_c": Made(32, 8.0, 0.8, partial(poisson, per_second=2.0, hours=6)),
        "flat_v": Made(42, 40.0, 0.8, partial(poisson, per_second=0.3, hours=10)),
        "crowds_a": Made(13, 20.0, 0.8, _CROWDS_A),
        "crowds_b": Made(23, 12.0, 0.6, _CROWDS_B),
        "crowds_v": Made(43, 30.0, 0.8, _CROWDS_V),
        "weekly_a": Made(14, 30.0, 0.8, partial(office, most_per_second=0.08, days=7)),
        "office_v": Made(44, 15.0, 0.8, partial(office, most_per_second=0.6, days=1)),
        "sessions_a": Made(15, 15.0, 0.5, _SESSIONS_A),
        "sessions_v": Made(45, 25.0, 0.5, _SESSIONS_V),
        "bursts_a": Made(16, 12.0, 0.7, _BURSTS_A),
        "bursts_d": Made(57, 4.0, 0.8, _BURSTS_D),
        "bursts_v": Made(46, 20.0, 0.7, _BURSTS_V),
    }
)
"""What `made` can draw, by name."""


def made(name: str) -> Trace:
    """Draw a trace; it begins with its first request.

    Raises:
        KeyError: no such trace.
    """
    how = MADE[name]
    luck = random.Random(f"{how.seed}/{name}")
    at = sorted(how.arrivals(luck))
    services = [round(_lognormal(luck, how.mean_service_seconds, how.service_variation), 2) for _ in at]
    return Trace(name, tuple(round(each - at[0], 3) for each in at), tuple(services))
