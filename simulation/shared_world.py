"""The virtual world where workers serve several requests at once. Slower than the plain one, which most fleets need."""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf, nan

from ebbflow.core.capabilities import fits
from ebbflow.simulation.environment import Environment
from ebbflow.simulation.polling import Polling
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.virtual_worker import Phase, VirtualWorker
from ebbflow.simulation.world import (
    AFTER_LAST_ARRIVAL_SECONDS,
    COMPLETION,
    Driver,
    World,
    next_turn,
    polling_after,
    turn_after,
)


def world_of(
    trace: Trace, environment: Environment, seed: int, *, after_seconds: float = AFTER_LAST_ARRIVAL_SECONDS
) -> World:
    """The world that an environment needs: the plain one where each worker serves one request at a time."""
    is_shared = any(provider.requests_at_once > 1 for provider in environment.providers)
    return (SharedWorld if is_shared else World)(trace, environment, seed, after_seconds=after_seconds)


class SharedWorld(World):
    """First come, first served; a request goes to the worker with the fewest, of those to the oldest one.

    A worker is idle that serves none. What it serves takes as long as if it were alone: recorded service times are
    those of workers that were shared, so that what sharing costs is in them.
    """

    def __init__(
        self,
        trace: Trace,
        environment: Environment,
        seed: int,
        *,
        after_seconds: float = AFTER_LAST_ARRIVAL_SECONDS,
    ) -> None:
        super().__init__(trace, environment, seed, after_seconds=after_seconds)
        self._held: dict[int, list[int]] = {}
        """What each worker that is ready or drains serves, by its number."""

    def run(self, driver: Driver, *, turns_at: Sequence[float] = ()) -> None:
        """Let time pass until the books are closed; events of one instant come in the order of the plain world."""
        heap, at = self._heap, self.trace.at_seconds
        place, ticks, tick_at = 0, 0, turns_at[0] if turns_at else 0.0
        polling: Polling | None = None
        while True:
            if polling is not None and self.queue:
                polling.note_waiting(self.now)
            look_at = tick_at if polling is None else min(tick_at, polling.at)
            event_at = heap[0][0] if heap else inf
            arrival_at = at[place] if place < len(at) else inf
            if arrival_at <= event_at and arrival_at <= look_at:
                self.now = arrival_at
                if not self._start_fitting(place, arrival_at):
                    self.queue.append(place)
                place += 1
                self.arrived = place
            elif min(event_at, look_at) > self.horizon:
                break
            elif event_at <= look_at:
                self.now = event_at
                _, kind, number, request = heappop(heap)
                if kind == COMPLETION:
                    self._complete(self.workers[number], request)
                else:
                    self._happen(kind, self.workers[number])
            elif polling is not None and look_at < tick_at:
                self.now = look_at
                tick_at = min(tick_at, polling.look(is_waiting=bool(self.queue)))
            else:
                self.now = tick_at
                soon = driver.tick(self)
                self.failed_since_tick.clear()
                self.ready_since_tick.clear()
                self.refused_since_tick.clear()
                if soon is None:
                    ticks += 1
                    tick_at = next_turn(turns_at, ticks) if turns_at else ticks * driver.interval_seconds
                else:
                    ticks, tick_at = turn_after(soon, self.now, turns_at, ticks, driver.interval_seconds)
                polling = polling_after(polling, soon, self)
        self.now = self.horizon
        self._close_the_books()

    def in_service(self) -> Sequence[int]:
        """The requests that are served now."""
        return [request for held in self._held.values() for request in held]

    def _complete(self, worker: VirtualWorker, request: int) -> None:
        held = self._held.get(worker.number, [])
        # Given back in the meantime: its worker has ended.
        if request not in held:
            return
        held.remove(request)
        worker.request = held[-1] if held else -1
        self.served += 1
        self.served_seconds += self.trace.service_seconds[request]
        self.running -= 1
        self._become_free(worker)

    def _become_free(self, worker: VirtualWorker) -> None:
        """Take as many requests as it has places for; wait where it has none, or go where it drains."""
        held = self._held.setdefault(worker.number, [])
        if worker.phase is Phase.DRAINING:
            if not held:
                self._leave(worker)
            return
        while len(held) < worker.provider.requests_at_once and (request := self._next_for(worker)) is not None:
            self._start(worker, request, self.now)
        if not held:
            worker.idle_since = self.now
            self.idle.append(worker.number)
            self.idle.sort()

    def _start_fitting(self, request: int, now: float) -> bool:
        """Give a request to the worker with the fewest that fits and has a place; the oldest of several."""
        requires = self.trace.requires[request] if self.trace.requires else ()
        free = [
            (len(self._held[number]), number)
            for number, worker in self.alive.items()
            if worker.phase is Phase.READY
            and len(self._held[number]) < worker.provider.requests_at_once
            and (not requires or fits(worker.provider.capabilities, requires))
        ]
        if not free:
            return False
        held, number = min(free)
        if not held:
            self.idle.remove(number)
        self._start(self.workers[number], request, now)
        return True

    def _start(self, worker: VirtualWorker, request: int, now: float) -> None:
        self._held[worker.number].append(request)
        worker.request = request
        self.waits[request] = now - self.trace.at_seconds[request]
        self.running += 1
        done = now + self.trace.service_seconds[request]
        heappush(self._heap, (done, COMPLETION, worker.number, request))

    def _give_back(self, worker: VirtualWorker) -> int:
        held = self._held.pop(worker.number)
        for request in reversed(held):
            self.waits[request] = nan
            self.queue.appendleft(request)
        worker.request = -1
        self.running -= len(held)
        return len(held)

    def _end(self, worker: VirtualWorker) -> None:
        self._held.pop(worker.number, None)
        super()._end(worker)

    def _hand_on(self) -> None:
        while self.queue and self._start_first():
            pass

    def _start_first(self) -> bool:
        for place, request in enumerate(self.queue):
            if self._start_fitting(request, self.now):
                del self.queue[place]
                return True
            if not self.trace.requires:
                return False
        return False
