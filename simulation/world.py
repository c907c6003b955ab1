"""The virtual world: requests, workers and the clock. Event-driven, in virtual time, the same bytes for the same seed.

One heap of (time, kind, worker, epoch); arrivals are a sorted array merged with it; whoever decides is called at ticks
in between. At equal times arrivals come first, then completions, boots and ends, then the tick, then a poll.
"""

import math
from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from ebbflow.core.capabilities import fits
from ebbflow.simulation.environment import Environment, Launched, Luck
from ebbflow.simulation.polling import NEVER, Polling, Polls
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.virtual_worker import Phase, StoppedInstance, VirtualWorker

COMPLETION, BOOT, FAILURE, PREEMPTION, WALLTIME, LEAVING = range(6)
"""Kinds of events, in their order at equal times."""

AFTER_LAST_ARRIVAL_SECONDS = 7200.0
"""What is not served by then is unserved."""


class Driver(Protocol):
    """Who decides. Our policies come through one that shows them no more than production knows; baselines see more."""

    interval_seconds: float

    def tick(self, world: "World") -> "Soon | None":
        """Look at the world and launch, drain or end workers; say if another turn comes before the next one is due."""
        ...


@dataclass(frozen=True, slots=True)
class Soon:
    """A turn that comes before the next one is due, as `Fleet.waiting_interval_seconds` has it."""

    after_seconds: float | None
    """None: this time none does."""
    least_apart_seconds: float
    """What is due sooner after a turn is skipped."""
    polls: Polls | None = None
    """By which a turn comes too, where work begins to wait; None: nobody looks between turns."""


class World:
    """A fleet and its queue. First come first served, one request per worker, the oldest idle worker first."""

    def __init__(
        self,
        trace: Trace,
        environment: Environment,
        seed: int,
        *,
        after_seconds: float = AFTER_LAST_ARRIVAL_SECONDS,
    ) -> None:
        self.trace = trace
        self.environment = environment
        self.now = 0.0
        self.horizon = trace.last_at_seconds + after_seconds
        self.workers: list[VirtualWorker] = []
        """Everyone that was ever launched, by number."""
        self.alive: dict[int, VirtualWorker] = {}
        """Who has not ended, in order of launch."""
        self.joining: dict[int, VirtualWorker] = {}
        """Of those, who boots."""
        self.there = [0] * len(environment.providers)
        """How many have not ended at each provider."""
        self.stopped: dict[int, StoppedInstance] = {}
        """Instances that wait for a quick start, by the number of the worker that left them."""
        self.storage: list[StoppedInstance] = []
        """Everyone that ever did."""
        self.queue: deque[int] = deque()
        self.idle: list[int] = []
        """Numbers of ready workers without a request, oldest first."""
        self.booting = 0
        self.ready = 0
        """Idle and busy, without those that drain."""
        self.running = 0
        """Requests in service, also on workers that drain."""
        self.arrived = 0
        self.served = 0
        self.served_seconds = 0.0
        self.failures = 0
        self.refusals = 0
        self.lost_to_stops = 0
        self.lost_to_preemption = 0
        self.waits: list[float] = [math.nan] * len(trace.at_seconds)
        """Until the start that was not lost again."""
        self.failed_since_tick: list[VirtualWorker] = []
        self.ready_since_tick: list[VirtualWorker] = []
        self.refused_since_tick: list[int] = []
        """Places of providers that refused."""
        self._heap: list[tuple[float, int, int, int]] = []
        self._luck = [Luck(provider, seed) for provider in environment.providers]

    @property
    def busy(self) -> int:
        """Requests in service."""
        return self.running

    @property
    def size(self) -> int:
        """All workers that boot or serve, without those that drain."""
        return self.booting + self.ready

    def run(self, driver: Driver, *, turns_at: Sequence[float] = ()) -> None:
        """Let time pass until the books are closed, some time after the last arrival.

        Args:
            driver: decides.
            turns_at: world seconds of all its turns; empty: at its interval, from the beginning on.
        """
        heap, at, service = self._heap, self.trace.at_seconds, self.trace.service_seconds
        requires, idle, queue, workers = self.trace.requires, self.idle, self.queue, self.workers
        horizon, waits, count = self.horizon, self.waits, len(at)
        interval, ticks, tick_at = driver.interval_seconds, 0, turns_at[0] if turns_at else 0.0
        ready, served, served_seconds = Phase.READY, 0, 0.0
        polling: Polling | None = None
        look_at = tick_at
        place = 0
        arrival_at = at[0]
        # A league has millions of requests: what only drivers read is written down when one looks.
        while True:
            event_at = heap[0][0] if heap else math.inf
            if arrival_at <= event_at and arrival_at <= look_at:
                if idle and not requires:
                    worker = workers[idle.pop(0)]
                    worker.request = place
                    waits[place] = 0.0
                    self.running += 1
                    heappush(heap, (arrival_at + service[place], COMPLETION, worker.number, worker.epoch))
                elif not idle or not self._start_fitting(place, arrival_at):
                    queue.append(place)
                    if polling is not None:
                        polling.note_waiting(arrival_at)
                        look_at = min(tick_at, polling.at)
                place += 1
                arrival_at = at[place] if place < count else math.inf
            elif event_at <= look_at:
                if event_at > horizon:
                    break
                _, kind, number, epoch = heappop(heap)
                worker = workers[number]
                if kind != COMPLETION:
                    self.now = event_at
                    self._happen(kind, worker)
                    if polling is not None and queue:
                        polling.note_waiting(event_at)
                        look_at = min(tick_at, polling.at)
                    continue
                if worker.epoch != epoch:
                    continue
                served += 1
                served_seconds += service[worker.request]
                if queue and worker.phase is ready and not requires:
                    request = queue.popleft()
                    worker.request = request
                    waits[request] = event_at - at[request]
                    heappush(heap, (event_at + service[request], COMPLETION, number, epoch))
                    continue
                worker.request = -1
                self.running -= 1
                if queue or worker.phase is not ready:
                    self.now = event_at
                    self._become_free(worker)
                else:
                    worker.idle_since = event_at
                    insort(idle, number)
            elif look_at > horizon:
                break
            elif polling is not None and look_at < tick_at:
                tick_at = min(tick_at, polling.look(is_waiting=bool(queue)))
                look_at = min(tick_at, polling.at)
            else:
                self.now, self.arrived = tick_at, place
                self.served, self.served_seconds = served, served_seconds
                soon = driver.tick(self)
                if self.failed_since_tick:
                    self.failed_since_tick.clear()
                if self.ready_since_tick:
                    self.ready_since_tick.clear()
                if self.refused_since_tick:
                    self.refused_since_tick.clear()
                if soon is None:
                    ticks += 1
                    tick_at = next_turn(turns_at, ticks) if turns_at else ticks * interval
                else:
                    ticks, tick_at = turn_after(soon, self.now, turns_at, ticks, interval)
                polling = polling_after(polling, soon, self)
                look_at = tick_at if polling is None else min(tick_at, polling.at)
        self.now, self.arrived, self.served, self.served_seconds = horizon, place, served, served_seconds
        self._close_the_books()

    def in_service(self) -> Sequence[int]:
        """The requests that are served now."""
        return [worker.request for worker in self.alive.values() if worker.request >= 0]

    def launch(
        self, place: int | None = None, *, most_usd: float | None = None, before: int = 0
    ) -> VirtualWorker | None:
        """Launch one worker, at the first provider in order that accepts it, or at the one that is named.

        Args:
            place: of the provider; None: whichever accepts.
            most_usd: the most that an hour may cost, where the provider takes such a cap.
            before: launches at the same provider that go before it in this turn.
        """
        if len(self.alive) >= self.environment.max_workers:
            return None
        for candidate in range(len(self.there)) if place is None else (place,):
            provider = self.environment.providers[candidate]
            if self.there[candidate] >= provider.max_workers:
                continue
            usd = self._luck[candidate].draw_price() if provider.prices else provider.usd_per_hour
            is_dear = most_usd is not None and usd is not None and usd > most_usd
            if provider.has_stock(self.now) and not is_dear:
                worker = self._launch(candidate, self._luck[candidate].draw(), before)
                worker.usd_per_hour = usd
                return worker
            self._refuse(candidate)
        return None

    def start(self, kept: StoppedInstance) -> VirtualWorker | None:
        """Start a stopped instance for a new worker; None: there is no stock to run it with, and it stays."""
        if len(self.alive) >= self.environment.max_workers:
            return None
        if not kept.provider.has_stock(self.now):
            self._refuse(kept.place)
            return None
        self.end_stopped(kept)
        return self._launch(kept.place, self._luck[kept.place].draw_warm())

    def end_stopped(self, kept: StoppedInstance) -> None:
        """End a stopped instance, and with it what it costs."""
        kept.ended_at = self.now
        del self.stopped[kept.number]

    def stop(self, worker: VirtualWorker, *, kills: bool = False, keeps: bool = False) -> None:
        """Take a worker out: at once where it boots or is idle, else when its request is done, or at once by force.

        Args:
            worker: who goes; it may have ended.
            kills: also while it works.
            keeps: its instance stays stopped, for a quick start.
        """
        if worker.phase is Phase.ENDED:
            return
        # A boot has loaded nothing yet.
        worker.stops = keeps and worker.became_ready_at is not None
        if worker.request >= 0 and not kills:
            if worker.phase is Phase.READY:
                worker.phase = Phase.DRAINING
                self.ready -= 1
            return
        if worker.request >= 0:
            self.lost_to_stops += self._give_back(worker)
        elif worker.phase is Phase.READY:
            self.idle.remove(worker.number)
            if worker.provider.leave_seconds and not kills:
                worker.phase = Phase.DRAINING
                self.ready -= 1
                self._leave(worker)
                return
        elif worker.phase is Phase.DRAINING and not kills:
            return
        self._end(worker)

    def limit_ready_seconds(self, worker: VirtualWorker, seconds: float) -> None:
        """Give a worker a walltime, at which its provider kills it; it must be called before it is ready."""
        worker.walltime_seconds = seconds

    def _refuse(self, place: int) -> None:
        self.refusals += 1
        self.refused_since_tick.append(place)

    def _launch(self, place: int, fate: Launched, before: int = 0) -> VirtualWorker:
        worker = VirtualWorker(len(self.workers), self.environment.providers[place], place, self.now)
        self.joining[worker.number] = worker
        worker.boot_seconds, worker.will_fail = fate.boot_seconds, fate.fails
        worker.lasts_seconds = fate.preempted_after_seconds
        self.workers.append(worker)
        self.alive[worker.number] = worker
        self.there[place] += 1
        self.booting += 1
        noticed = fate.boot_seconds * (worker.provider.noticed_after if fate.fails else 1.0)
        called_at = self.now + worker.provider.launch_seconds + before * worker.provider.seconds_between_launches
        heappush(self._heap, (called_at + noticed, FAILURE if fate.fails else BOOT, worker.number, 0))
        return worker

    def _happen(self, kind: int, worker: VirtualWorker) -> None:
        if worker.phase is Phase.ENDED:
            return
        if kind == BOOT:
            worker.phase, worker.became_ready_at = Phase.READY, self.now
            del self.joining[worker.number]
            self.booting -= 1
            self.ready += 1
            self.ready_since_tick.append(worker)
            for lasts, end in ((worker.lasts_seconds, PREEMPTION), (worker.walltime_seconds, WALLTIME)):
                if math.isfinite(lasts):
                    heappush(self._heap, (self.now + lasts, end, worker.number, 0))
            self._become_free(worker)
        elif kind == FAILURE:
            worker.failed = True
            self.failures += 1
            self.failed_since_tick.append(worker)
            self._end(worker)
        elif kind == LEAVING:
            self._end(worker)
        else:
            # Its provider takes it: nothing stays.
            worker.stops = False
            if worker.request >= 0:
                lost = self._give_back(worker)
                self.lost_to_preemption += lost if kind == PREEMPTION else 0
                # Whoever gave it a walltime has stopped it.
                self.lost_to_stops += lost if kind == WALLTIME else 0
            elif worker.phase is Phase.READY:
                self.idle.remove(worker.number)
            self._end(worker)

    def _become_free(self, worker: VirtualWorker) -> None:
        """Take the first request that fits, or wait for one, or end where it drains."""
        if worker.phase is Phase.DRAINING:
            self._leave(worker)
            return
        request = self._next_for(worker)
        if request is None:
            worker.idle_since = self.now
            insort(self.idle, worker.number)
        else:
            self._start(worker, request, self.now)

    def _leave(self, worker: VirtualWorker) -> None:
        """Its work is done and nobody gives it more: it ends as fast as turns and its provider end it."""
        if worker.provider.leave_seconds:
            heappush(self._heap, (self.now + worker.provider.leave_seconds, LEAVING, worker.number, worker.epoch))
        else:
            self._end(worker)

    def _next_for(self, worker: VirtualWorker) -> int | None:
        if not self.queue:
            return None
        if not self.trace.requires:
            return self.queue.popleft()
        for place, request in enumerate(self.queue):
            if fits(worker.provider.capabilities, self.trace.requires[request]):
                del self.queue[place]
                return request
        return None

    def _start_fitting(self, request: int, now: float) -> bool:
        """Give a request that requires something to the oldest idle worker that fits."""
        for number in self.idle:
            if fits(self.workers[number].provider.capabilities, self.trace.requires[request]):
                self.idle.remove(number)
                self._start(self.workers[number], request, now)
                return True
        return False

    def _start(self, worker: VirtualWorker, request: int, now: float) -> None:
        worker.request = request
        self.waits[request] = now - self.trace.at_seconds[request]
        self.running += 1
        done = now + self.trace.service_seconds[request]
        heappush(self._heap, (done, COMPLETION, worker.number, worker.epoch))

    def _give_back(self, worker: VirtualWorker) -> int:
        """Its request returns to the head of the queue and starts from zero; how many that are."""
        self.waits[worker.request] = math.nan
        self.queue.appendleft(worker.request)
        worker.request = -1
        worker.epoch += 1
        self.running -= 1
        return 1

    def _end(self, worker: VirtualWorker) -> None:
        if worker.phase is Phase.BOOTING:
            del self.joining[worker.number]
            self.booting -= 1
        elif worker.phase is Phase.READY:
            self.ready -= 1
        worker.phase, worker.ended_at = Phase.ENDED, self.now
        if worker.stops:
            kept = self.stopped[worker.number] = StoppedInstance(worker, self.now)
            self.storage.append(kept)
        del self.alive[worker.number]
        self.there[worker.place] -= 1
        self._hand_on()

    def _hand_on(self) -> None:
        """A request that was given back goes to an idle worker, where there is one."""
        while self.queue and self.idle and self._start_first():
            pass

    def _start_first(self) -> bool:
        for place, request in enumerate(self.queue):
            if not self.trace.requires:
                self.queue.popleft()
                self._start(self.workers[self.idle.pop(0)], request, self.now)
                return True
            if self._start_fitting(request, self.now):
                del self.queue[place]
                return True
        return False

    def _close_the_books(self) -> None:
        """Whoever waits or is in service at the end has waited until now."""
        for request in self.queue:
            self.waits[request] = self.horizon - self.trace.at_seconds[request]
        for request in self.in_service():
            self.waits[request] = self.horizon - self.trace.at_seconds[request]


def turn_after(
    soon: Soon, now: float, turns_at: Sequence[float], place: int, interval_seconds: float
) -> tuple[int, float]:
    """The place of the next turn that is due, and when the next one of any kind comes."""

    def due(place: int) -> float:
        return next_turn(turns_at, place) if turns_at else place * interval_seconds

    while due(place) < now + soon.least_apart_seconds:
        place += 1
    sooner = NEVER if soon.after_seconds is None else now + soon.after_seconds
    return place, min(due(place), sooner)


def polling_after(polling: Polling | None, soon: Soon | None, world: World) -> Polling | None:
    """The polls of a run after a turn; none where its fleet has none."""
    if soon is None or soon.polls is None:
        return None
    if polling is None:
        polling = Polling(soon.polls, world.now)
    else:
        polling.take_turn(soon.polls, world.now)
    if world.queue:
        polling.note_waiting(world.now)
    return polling


def next_turn(turns_at: Sequence[float], place: int) -> float:
    """When the turn at a place of them is; never, after the last one."""
    return turns_at[place] if place < len(turns_at) else NEVER
