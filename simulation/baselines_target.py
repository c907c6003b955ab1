"""Baselines that follow a number of replicas: Knative, KEDA, SkyServe, and three staffing rules.

They shrink as a replica controller does: what is not ready goes first, then idle workers, then busy ones, which finish
their request before they end. Staffing rules are given the true mean service time of the trace, which favours them.
"""

import math

from ebbflow.simulation.sliding import Arrivals, AverageArrivals, Highest, Mean
from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import World

NEGLIGIBLE_LOAD = 0.02
"""In workers: an average that fades away for ever does not hold the last worker for ever."""


def follow(world: World, target: int) -> None:
    """Bring the fleet to a number of workers."""
    surplus = world.size - target
    if not surplus:
        return
    for _ in range(-surplus):
        if world.launch() is None:
            return
    surplus = world.size - target
    if surplus <= 0:
        return
    booting = [worker for worker in world.alive.values() if worker.became_ready_at is None]
    idle = sorted((world.workers[number] for number in world.idle), key=lambda worker: worker.idle_since)
    leaving = [*reversed(booting), *idle]
    if len(leaving) < surplus:
        youngest_first = reversed(world.alive.values())
        leaving += [worker for worker in youngest_first if worker.phase is Phase.READY and worker.request >= 0]
    for worker in leaving[:surplus]:
        world.stop(worker)


class Knative:
    """Concurrency per worker, averaged over a minute, and over six seconds in a panic.

    Source: knative serving pkg/autoscaler/scaling/autoscaler.go and config-autoscaler: stable window 60 s, panic window
    10 % of it, panic threshold 200 %, target utilisation 70 %, max scale up 1000, max scale down 2, grace 30 s.
    """

    interval_seconds = 2.0

    def __init__(self, *, delay_seconds: float = 0.0) -> None:
        self._long = Mean(60.0)
        self._short = Mean(6.0)
        self._panic_until = -math.inf
        self._panic_most = 0
        self._delay = Highest(delay_seconds)
        self._zero_since: float | None = None

    def tick(self, world: World) -> None:
        """The pod autoscaler's decision."""
        now, ready = world.now, max(1, world.ready)
        concurrency, least, most = len(world.queue) + world.running, world.ready // 2, 1000 * ready
        stable = min(most, max(least, math.ceil(self._long.add(now, concurrency) / 0.7)))
        panic = min(most, max(least, math.ceil(self._short.add(now, concurrency) / 0.7)))
        if panic >= 2 * ready:
            if now >= self._panic_until:
                self._panic_most = 0
            self._panic_until = now + 60.0
        target = stable
        if now < self._panic_until:
            self._panic_most = max(self._panic_most, stable, panic, world.size)
            target = self._panic_most
        target = self._delay.add(now, target)
        follow(world, self._with_grace(now, target))

    def _with_grace(self, now: float, target: int) -> int:
        if target > 0:
            self._zero_since = None
            return target
        if self._zero_since is None:
            self._zero_since = now
        return 0 if now - self._zero_since >= 30.0 else 1


class Keda:
    """Queue length per worker through a horizontal pod autoscaler.

    Source: keda and the kubernetes HPA: sync period 15 s, tolerance 10 %, scale-down stabilisation 300 s. Steps of at
    most double or four more are a guess.
    """

    interval_seconds = 15.0

    def __init__(self, *, per_worker: float = 5.0) -> None:
        self._per_worker = per_worker
        self._highest = Highest(300.0)

    def tick(self, world: World) -> None:
        """The HPA's decision."""
        tasks, size = len(world.queue) + world.running, world.size
        wanted = math.ceil(tasks / self._per_worker)
        if size and abs(tasks / (size * self._per_worker) - 1.0) <= 0.1:
            wanted = size
        wanted = min(wanted, max(2 * size, size + 4))
        follow(world, self._highest.add(world.now, wanted))


class SkyServe:
    """Requests per second and worker, changed only after it has been off for a while.

    Source: skypilot sky/serve/autoscalers.py, RequestRateAutoscaler: window 60 s, upscale delay 300 s, downscale delay
    1200 s, decision interval 20 s. The target rate of 0.8 per service time is a guess.
    """

    interval_seconds = 20.0

    def __init__(self, *, load: float = 0.8, up_seconds: float = 300.0, down_seconds: float = 1200.0) -> None:
        self._load = load
        self._up_seconds = up_seconds
        self._down_seconds = down_seconds
        self._arrivals = Arrivals(60.0)
        self._target = 0
        self._above = 0
        self._below = 0

    def tick(self, world: World) -> None:
        """Count how long the rate has been off, then follow it."""
        rate = self._arrivals.rate(world)
        wanted = math.ceil(rate * world.trace.mean_service_seconds / self._load)
        self._above = self._above + 1 if wanted > self._target else 0
        self._below = self._below + 1 if wanted < self._target else 0
        if self._above * self.interval_seconds >= self._up_seconds:
            self._target, self._above = wanted, 0
        if self._below * self.interval_seconds >= self._down_seconds:
            self._target, self._below = wanted, 0
        follow(world, self._target)


class ErlangC:
    """Square-root staffing: the offered load, its square root as safety, and the backlog. Textbook."""

    interval_seconds = 10.0

    def __init__(
        self,
        *,
        safety: float = 1.0,
        average_seconds: float = 300.0,
        backlog_seconds: float = 300.0,
        hold_seconds: float = 300.0,
        looks_back: bool = False,
    ) -> None:
        self._safety = safety
        self._backlog_seconds = backlog_seconds
        self._arrivals = AverageArrivals(average_seconds, self.interval_seconds)
        self._highest = Highest(hold_seconds)
        self._looks_back = looks_back
        self._rates: list[float] = []

    def tick(self, world: World) -> None:
        """Staff to the load; with `looks_back`, to yesterday's load three minutes ahead where that is higher."""
        rate, service = self._arrivals.rate(world), world.trace.mean_service_seconds
        if self._looks_back:
            self._rates.append(rate)
            before = len(self._rates) - 1 - round((86_400.0 - 180.0) / self.interval_seconds)
            if before >= 0:
                rate = max(rate, min(self._rates[before], 2 * rate + 0.02))
        load = service * rate
        backlog = len(world.queue) * service / self._backlog_seconds
        target = math.ceil(load + self._safety * math.sqrt(load) + backlog - NEGLIGIBLE_LOAD)
        follow(world, self._highest.add(world.now, target))


class VastLike:
    """The arrival rate at a target utilisation, and the queue worked off in half a minute.

    Source: Vast's serverless documentation for the defaults 0.9 and 30 s; its engine is closed, so the rest is a guess.
    """

    interval_seconds = 10.0

    def __init__(self) -> None:
        self._arrivals = AverageArrivals(60.0, self.interval_seconds)
        self._highest = Highest(600.0)

    def tick(self, world: World) -> None:
        """Staff to the load."""
        service = world.trace.mean_service_seconds / 0.9
        load, backlog = service * self._arrivals.rate(world), len(world.queue) * service / 30.0
        target = math.ceil(load + backlog - NEGLIGIBLE_LOAD)
        follow(world, self._highest.add(world.now, target))
