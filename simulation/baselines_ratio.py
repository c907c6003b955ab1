"""Baselines of opengris-scaler: its two scaling policies and the coordinator that carries them out.

The coordinator acts only when the desired count changes, and stops the oldest workers, busy or not. A launch that
failed changes nothing that it looks at, so it is not made up for.
"""

import math
from typing import Protocol

from ebbflow.simulation.world import World


class Ratio(Protocol):
    """How many workers a policy of opengris-scaler desires."""

    def desired(self, tasks: int, ready: int, before: int) -> int:
        """From queued and running tasks, workers that serve, and what it desired before."""
        ...


class Vanilla:
    """Source: opengris-scaler 1.15.0, `vanilla` scaling policy: upper ratio 10, lower ratio 1."""

    def desired(self, tasks: int, ready: int, before: int) -> int:
        """One more above the upper ratio, as many as the upper ratio needs below the lower one."""
        if ready == 0:
            return 1 if tasks else 0
        if tasks / ready > 10:
            return ready + 1
        if tasks / ready < 1:
            return max(math.ceil(tasks / 10), 1 if tasks else 0)
        return before


class Capability:
    """Source: opengris-scaler 1.15.0, `capability` scaling policy: five tasks per worker."""

    def desired(self, tasks: int, ready: int, before: int) -> int:
        """As many as the tasks need at five each."""
        return math.ceil(tasks / 5)


class Opengris:
    """One of the two, with the library's heartbeat and coordinator."""

    interval_seconds = 2.0

    def __init__(self, ratio: Ratio) -> None:
        self._ratio = ratio
        self._desired = 0

    def tick(self, world: World) -> None:
        """Start or stop the difference, but only where the desired count has changed."""
        desired = self._ratio.desired(len(world.queue) + world.running, world.ready, self._desired)
        if desired == self._desired:
            return
        self._desired = desired
        for _ in range(desired - world.size):
            if world.launch() is None:
                break
        surplus = world.size - desired
        for worker in list(world.alive.values())[: max(0, surplus)]:
            world.stop(worker, kills=True)
