"""Baselines that take one step at a time: SwarmUI's backend, AI Cell, and Ray.

Each is a model of another system's rule, with its own tick. They read the world directly and so see a little more than
our policies do; none looks at the future or at a request's service time.
"""

from ebbflow.simulation.virtual_worker import VirtualWorker
from ebbflow.simulation.world import World


class SwarmUI:
    """One more while requests wait and the queue is long; one fewer while one is idle for long.

    Source: SwarmUI src/Backends/AutoScalingBackend.cs: MinQueuedBeforeExpand, MinWaitBetweenStart (counted from a start
    and from each backend that became ready), MinWaitAfterFailure, MinIdleTime, MinWaitBetweenStop. Its own tick is 1 s.
    """

    interval_seconds = 5.0

    def __init__(
        self, *, queued: int = 10, start_seconds: float = 60.0, stop_seconds: float = 60.0, idle_seconds: float = 600.0
    ) -> None:
        self._queued = queued
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._idle_seconds = idle_seconds
        self._failure_seconds = 120.0
        self._may_start_at = 0.0
        self._may_stop_at = 0.0
        self._booting: dict[int, VirtualWorker] = {}

    def tick(self, world: World) -> None:
        """Both rules."""
        self._note_ready(world)
        if world.failed_since_tick:
            self._may_start_at = max(self._may_start_at, world.now + self._failure_seconds)
        queued = len(world.queue)
        if queued and queued + world.busy >= self._queued and world.now >= self._may_start_at:
            worker = world.launch()
            if worker is not None:
                self._booting[worker.number] = worker
                self._may_start_at = world.now + self._start_seconds
        if world.now >= self._may_stop_at:
            self._stop_one(world)

    def _note_ready(self, world: World) -> None:
        for number, worker in list(self._booting.items()):
            if worker.became_ready_at is not None:
                self._may_start_at = max(self._may_start_at, worker.became_ready_at + self._start_seconds)
            if worker.became_ready_at is not None or worker.ended_at is not None:
                del self._booting[number]

    def _stop_one(self, world: World) -> None:
        longest = longest_idle(world)
        if longest is not None and world.now - longest.idle_since > self._idle_seconds:
            world.stop(longest)
            self._may_stop_at = world.now + self._stop_seconds


class AICell:
    """One launch while nothing is free or on the way; all end after a minute without work; jobs have a walltime.

    Source: aicell-lab/autoscaler autoscaler/scaling/: one job at a time, idle check of the whole fleet, walltime that
    kills what runs. Its maximum of five is raised.
    """

    interval_seconds = 5.0

    def __init__(self, *, walltime_seconds: float = 600.0, quiet_seconds: float = 60.0) -> None:
        self._walltime_seconds = walltime_seconds
        self._quiet_seconds = quiet_seconds
        self._worked_at = 0.0

    def tick(self, world: World) -> None:
        """Both rules; this one lets busy workers be killed, by their walltime."""
        if world.queue or world.busy:
            self._worked_at = world.now
        if world.queue and not world.idle and not world.booting:
            worker = world.launch()
            if worker is not None:
                world.limit_ready_seconds(worker, self._walltime_seconds)
        if world.now - self._worked_at >= self._quiet_seconds:
            for worker in list(world.alive.values()):
                world.stop(worker)


class Ray:
    """One worker for each waiting request that no pending or idle one will take; idle ones go after a while.

    Source: ray python/ray/autoscaler/v2/scheduler.py: upscaling_speed 1.0 with a floor of five pending,
    idle_timeout_minutes 5; bin packing is simplified to one request per worker.
    """

    interval_seconds = 5.0

    def __init__(self, *, idle_seconds: float = 300.0) -> None:
        self._idle_seconds = idle_seconds

    def tick(self, world: World) -> None:
        """Both rules."""
        missing = len(world.queue) - world.booting - len(world.idle)
        room = max(5, world.size) - world.booting
        for _ in range(min(missing, room)):
            if world.launch() is None:
                break
        for number in [*world.idle]:
            if world.now - world.workers[number].idle_since > self._idle_seconds:
                world.stop(world.workers[number])


def longest_idle(world: World) -> VirtualWorker | None:
    """The worker that has been idle for longest; the youngest of equals."""
    idle = [world.workers[number] for number in world.idle]
    return min(idle, key=lambda worker: (worker.idle_since, -worker.number), default=None)
