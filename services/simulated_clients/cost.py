"""What a run costs: looks at the number of workers and at their price, and the sum over the run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LOOK_SECONDS = 5.0
"""Between two looks."""
OLD_SECONDS = 30.0
"""A price that nobody has seen for longer is unknown."""


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour costs at one moment."""

    usd_per_hour: float | None = None
    """Of all workers; None: unknown, which is not 0."""
    by_url: Mapping[str, float] = field(default_factory=dict)
    """The same of single workers, where their addresses are known."""


Pricing = Callable[[int | None], Awaitable[Price]]
"""Tells the price now; it is given the number of workers, None where nobody knows it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen once."""

    at: float
    """By the run's clock."""
    workers: int | None
    price: Price


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars of a run."""

    usd: float | None = None
    """None: no price was ever seen."""
    unpriced_seconds: float = 0.0
    """Of the run, without a price: what they cost is not in the sum."""
    by_url: Mapping[str, float] = field(default_factory=dict)


def per_worker(usd_per_worker_hour: float) -> Pricing:
    """Every worker of the endpoint at the same price."""

    async def price(workers: int | None) -> Price:
        return Price() if workers is None else Price(workers * usd_per_worker_hour)

    return price


async def unknown(workers: int | None) -> Price:
    """Nobody said what workers cost."""
    return Price()


def spent(looks: Sequence[Look], *, began_at: float, ended_at: float) -> Spent:
    """Sum up: a price holds until the next one is seen, but not for longer than `OLD_SECONDS`."""
    priced = [look for look in looks if look.price.usd_per_hour is not None and look.at <= ended_at]
    if not priced:
        return Spent(unpriced_seconds=ended_at - began_at)
    usd, known_seconds, by_url = 0.0, 0.0, dict[str, float]()
    # The first look is a call long; what it saw was there before.
    begins = [max(began_at, priced[0].at - LOOK_SECONDS), *(look.at for look in priced[1:]), ended_at]
    for look, (begin, end) in zip(priced, pairwise(begins), strict=True):
        seconds = max(0.0, min(end, look.at + OLD_SECONDS) - begin)
        known_seconds += seconds
        usd += (look.price.usd_per_hour or 0.0) * seconds / 3600
        for url, usd_per_hour in look.price.by_url.items():
            by_url[url] = by_url.get(url, 0.0) + usd_per_hour * seconds / 3600
    return Spent(usd, max(0.0, ended_at - began_at - known_seconds), by_url)
