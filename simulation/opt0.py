"""OPT0: the cheapest schedule in which no request ever waits, with the future known. The scale of the league table."""

import heapq
import math
from collections.abc import Sequence

from ebbflow.simulation.recorded import Trace


def opt0_seconds(trace: Trace, boot_seconds: float) -> float:
    """Paid seconds of the clairvoyant schedule.

    Each level of concurrency pays its busy time, a first boot, and for every gap between two busy stretches the
    cheaper of holding and booting again. One sweep over arrivals and departures.
    """
    departures: list[float] = []
    left_at: list[float] = []
    level = 0
    paid: list[float] = []
    for at, service in zip(trace.at_seconds, trace.service_seconds, strict=True):
        while departures and departures[0] <= at:
            level -= 1
            left_at[level] = heapq.heappop(departures)
        if level == len(left_at):
            left_at.append(-math.inf)
        paid.append(min(at - left_at[level], boot_seconds))
        level += 1
        heapq.heappush(departures, at + service)
    return math.fsum(trace.service_seconds) + math.fsum(paid)


def exact_assignment_seconds(at: Sequence[float], service: Sequence[float], boot_seconds: float) -> float:
    """The same by trying every assignment of requests to predecessors; for a handful of requests only."""
    count = len(at)
    taken = [False] * count

    def cheapest(place: int) -> float:
        if place == count:
            return 0.0
        best = boot_seconds + cheapest(place + 1)
        for before in range(place):
            gap = at[place] - (at[before] + service[before])
            if taken[before] or gap < 0:
                continue
            taken[before] = True
            best = min(best, min(gap, boot_seconds) + cheapest(place + 1))
            taken[before] = False
        return best

    return math.fsum(service) + cheapest(0)
