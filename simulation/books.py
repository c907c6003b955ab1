"""The books of a world whose time is over, for one stretch of it: who was there, what it cost, and who waited."""

import math
from dataclasses import dataclass

from ebbflow.simulation.score import percentile
from ebbflow.simulation.virtual_worker import VirtualWorker
from ebbflow.simulation.world import World

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Books:
    """What a stretch of time comes to."""

    launches: int
    stops: int
    """Workers that were ended, and had not failed."""
    worker_hours: float
    paid_hours: float
    """The same, an hour at each provider counted at its price and with storage: of the cheapest provider one is one."""
    usd: float | None
    """As far as prices are known, with storage; None: none is."""
    unpriced_hours: float
    """Of workers whose price is unknown."""
    requests: int
    """That came in it."""
    unserved: int
    """Of those, who still waited when the books were closed."""
    waiting_hours: float
    """Of all requests that came in it, summed."""
    waited_mean_seconds: float | None
    """None: none came."""
    waited_p95_seconds: float | None


def books_of(world: World, begin: float, end: float) -> Books:
    """Read them.

    Args:
        world: whose time is over.
        begin: world seconds. Requests count that came from here on.
        end: world seconds; what comes at that very second belongs to the next stretch, if there is one.
    """
    hours = [(worker, _hours(worker.launched_at, worker.ended_at, begin, end)) for worker in world.workers]
    stored = [(kept.provider, _hours(kept.since, kept.ended_at, begin, end)) for kept in world.storage]
    priced = [usd * hour for worker, hour in hours if (usd := worker.usd_per_hour) is not None]
    unpriced = math.fsum(hour for worker, hour in hours if worker.usd_per_hour is None)
    storage_usd = math.fsum((provider.storage_usd_per_hour or 0.0) * hour for provider, hour in stored)
    # The end of all time is in the last stretch.
    until = math.nextafter(end, math.inf) if end == world.horizon else end
    waited = {
        place: wait
        for place, (at, wait) in enumerate(zip(world.trace.at_seconds, world.waits, strict=True))
        if begin <= at < until and math.isfinite(wait)
    }
    waits = sorted(waited.values())
    return Books(
        launches=sum(begin <= worker.launched_at < until for worker in world.workers),
        stops=sum(_was_stopped(worker, begin, until) for worker in world.workers),
        worker_hours=math.fsum(hour for _, hour in hours),
        paid_hours=math.fsum(
            (
                *(worker.price * hour for worker, hour in hours),
                *(provider.storage_price * hour for provider, hour in stored),
            )
        ),
        usd=math.fsum((*priced, storage_usd)) if priced or not unpriced else None,
        unpriced_hours=unpriced,
        requests=len(waits),
        unserved=sum(place in waited for place in world.queue),
        waiting_hours=math.fsum(waits) / SECONDS_PER_HOUR,
        waited_mean_seconds=math.fsum(waits) / len(waits) if waits else None,
        waited_p95_seconds=percentile(waits, 0.95) if waits else None,
    )


def _hours(since: float, ended_at: float | None, begin: float, end: float) -> float:
    until = end if ended_at is None else min(ended_at, end)
    return max(0.0, until - max(since, begin)) / SECONDS_PER_HOUR


def _was_stopped(worker: VirtualWorker, begin: float, end: float) -> bool:
    return worker.ended_at is not None and begin <= worker.ended_at < end and not worker.failed
