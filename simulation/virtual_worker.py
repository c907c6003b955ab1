"""One worker of the virtual world, and the stopped instance that it may leave, with all that really happens to them."""

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


def name(number: int) -> str:
    """A worker's id, as a fleet of the first claim of its chain would give it."""
    return f"sim-0000-1-{number}"


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
        "seen_ready_at",
        "stops",
        "usd_per_hour",
        "walltime_seconds",
        "will_fail",
        "worker_id",
    )

    def __init__(self, number: int, provider: VirtualProvider, place: int, launched_at: float) -> None:
        self.number = number
        self.worker_id = name(number)
        self.provider = provider
        self.place = place
        """Of its provider in the environment."""
        self.launched_at = launched_at
        self.usd_per_hour = provider.usd_per_hour
        """What an hour of it really costs."""
        self.phase = Phase.BOOTING
        self.boot_seconds = 0.0
        self.lasts_seconds = math.inf
        """In ready time, until it is preempted."""
        self.walltime_seconds = math.inf
        """In ready time, until it is killed by the walltime that it was launched with."""
        self.will_fail = False
        self.failed = False
        self.became_ready_at: float | None = None
        self.seen_ready_at = 0.0
        """When a turn first saw it serve: no fleet knows more exactly since when it does."""
        self.idle_since = 0.0
        self.request = -1
        """What it works on, one of them where it serves several at once; -1: nothing."""
        self.epoch = 0
        """Voids events that were planned before its request was taken from it."""
        self.ended_at: float | None = None
        self.stops = False
        """Leaves its instance stopped when it ends, for a quick start."""

    @property
    def price(self) -> float:
        """GPU-hours that an hour of it is counted as."""
        usual, usd = self.provider.usd_per_hour, self.usd_per_hour
        return self.provider.price * (usd / usual if usual and usd is not None else 1.0)

    def paid_hours(self, until: float) -> float:
        """Its bill, which began with the launch call, counted until an end of the books."""
        end = until if self.ended_at is None else self.ended_at
        return self.price * max(end - self.launched_at, self.provider.least_billed_seconds) / 3600


class StoppedInstance:
    """What a worker left for a quick start: it costs its storage until it is started or ended."""

    __slots__ = ("ended_at", "number", "place", "provider", "since")

    def __init__(self, worker: VirtualWorker, since: float) -> None:
        self.number = worker.number
        """Of the worker that left it."""
        self.provider = worker.provider
        self.place = worker.place
        self.since = since
        self.ended_at: float | None = None
        """When it was started again, or ended."""

    def paid_hours(self, until: float) -> float:
        """Its storage, counted until an end of the books."""
        end = until if self.ended_at is None else self.ended_at
        return self.provider.storage_price * (end - self.since) / 3600
