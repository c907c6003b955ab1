"""What the same requests would have waited for, and cost, with a fleet that always has its maximum."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from ebbflow.simulation.trace import Arrival

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class FixedFleet:
    """A fleet of one size, from the first moment to the last."""

    workers: int
    seconds: float
    """How long it stands."""
    wait_seconds: tuple[float, ...]
    """Of each request, if each worker serves one at a time and the first to come is served first."""

    @property
    def gpu_seconds(self) -> float:
        """What it uses, whether there is work or not."""
        return self.workers * self.seconds


def fixed_fleet(workers: int, seconds: float, arrivals: Iterable[Arrival]) -> FixedFleet:
    """Serve arrivals by workers that are all there from the beginning."""
    free_at = [0.0] * workers
    waits = []
    for arrival in sorted(arrivals, key=lambda each: each.at_seconds):
        begins = max(arrival.at_seconds, heapq.heappop(free_at))
        waits.append(begins - arrival.at_seconds)
        heapq.heappush(free_at, begins + arrival.service_seconds)
    return FixedFleet(workers, seconds, tuple(waits))
