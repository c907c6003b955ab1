"""What the same requests would have waited for with a fleet that always has its maximum."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from ebbflow.simulation.trace import Arrival


@dataclass(frozen=True, slots=True)
class FixedFleet:
    """A fleet of one size, from the first moment to the last."""

    workers: int
    wait_seconds: tuple[float, ...]
    """Of each request, if each worker serves one at a time and the first to come is served first."""


def fixed_fleet(workers: int, arrivals: Iterable[Arrival]) -> FixedFleet:
    """Serve arrivals by workers that are all there from the beginning."""
    free_at = [0.0] * workers
    waits = []
    for arrival in sorted(arrivals, key=lambda each: each.at_seconds):
        begins = max(arrival.at_seconds, heapq.heappop(free_at))
        waits.append(begins - arrival.at_seconds)
        heapq.heappush(free_at, begins + arrival.service_seconds)
    return FixedFleet(workers, tuple(waits))
