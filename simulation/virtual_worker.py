"""One worker of the virtual world, with all that really happens to it."""

import math
from enum import Enum

from ebbflow.simulation.environment import VirtualProvider


class Phase(Enum):
    """Where it is in its life."""

    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"
    """Finishes its request and ends."""
    ENDED = "ended"


class VirtualWorker:
    """Mutable on purpose: the world changes thousands of them in a second of ours."""

    __slots__ = (
        "became_ready_at",
        "boot_seconds",
        "ended_at",
        "epoch",
        "failed",
        "idle_since",
        "lasts_seconds",
        "launched_at",
        "number",
        "phase",
        "place",
        "provider",
        "request",
        "walltime_seconds",
        "will_fail",
    )

    def __init__(self, number: int, provider: VirtualProvider, place: int, launched_at: float) -> None:
        self.number = number
        self.provider = provider
        self.place = place
        """Of its provider in the environment."""
        self.launched_at = launched_at
        self.phase = Phase.BOOTING
        self.boot_seconds = 0.0
        self.lasts_seconds = math.inf
        """In ready time, until it is preempted."""
        self.walltime_seconds = math.inf
        """In ready time, until it is killed by the walltime that it was launched with."""
        self.will_fail = False
        self.failed = False
        self.became_ready_at: float | None = None
        self.idle_since = 0.0
        self.request = -1
        """What it works on; -1: nothing."""
        self.epoch = 0
        """Voids events that were planned before its request was taken from it."""
        self.ended_at: float | None = None

    def paid_hours(self, until: float) -> float:
        """Its bill, which began with the launch call, counted until an end of the books."""
        end = until if self.ended_at is None else self.ended_at
        return self.provider.price * max(end - self.launched_at, self.provider.least_billed_seconds) / 3600
