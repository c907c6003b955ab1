"""Sliding windows over virtual time: the highest value, the mean, and how fast requests come."""

import math
from collections import deque

from ebbflow.simulation.world import World


class Highest:
    """The highest value of the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: deque[tuple[float, int]] = deque()

    def add(self, now: float, value: int) -> int:
        """Note a value and return the highest."""
        held = self._held
        while held and held[-1][1] <= value:
            held.pop()
        held.append((now, value))
        while held[0][0] < now - self._seconds:
            held.popleft()
        return held[0][1]


class Mean:
    """The mean of what was noted in the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, now: float, value: int) -> float:
        """Note a value and return the mean."""
        held = self._held
        held.append((now, value))
        self._sum += value
        while held[0][0] <= now - self._seconds:
            self._sum -= held.popleft()[1]
        return self._sum / len(held)


class Arrivals:
    """Requests per second over the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begin = 0

    def rate(self, world: World) -> float:
        """Over the window that ends now."""
        at, begin = world.trace.at_seconds, self._begin
        while begin < world.arrived and at[begin] <= world.now - self._seconds:
            begin += 1
        self._begin = begin
        return (world.arrived - begin) / self._seconds


class AverageArrivals:
    """Requests per second, averaged exponentially: the older, the less."""

    def __init__(self, seconds: float, interval_seconds: float) -> None:
        self._share = 1 - math.exp(-interval_seconds / seconds)
        self._interval_seconds = interval_seconds
        self._arrived = 0
        self._rate = 0.0

    def rate(self, world: World) -> float:
        """Once per tick."""
        came = (world.arrived - self._arrived) / self._interval_seconds
        self._arrived = world.arrived
        self._rate += self._share * (came - self._rate)
        return self._rate
