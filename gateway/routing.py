"""Which worker serves which request of one endpoint: a queue in order, and accounts of what each worker has. Pure.

Requests are polled for: a client asks, is told to wait, and asks again within seconds. So a worker is set aside for the
request that is next before its client asks again, or requests that poll more often would pass it. What a worker has in
flight is what it last said and, on top, the cost of what it was given since.

Source: Vast's client and worker software for polls, numbers and settlements; its own engine is not known from inside.
"""

import heapq
import itertools
import math
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from ebbflow.gateway.reports import WorkerView

ALIVE_SECONDS = 6.0
"""A client polls every five seconds at most; nothing is set aside for one that has not."""
UNUSED_SECONDS = 35.0
"""A ticket with which nobody came to its worker for so long is taken back from the account."""
ON_THEIR_WAY_SECONDS = 15.0
"""A client with a ticket may come to a worker so late, or the worker's figures may be so old."""
SWEEP_SECONDS = 1.0
REMEMBERED = 20_000
"""Requests that have left a worker, and may come back under their number."""


class Exhausted(Exception):
    """No number is left that nobody else has."""


@dataclass(slots=True)
class Numbers:
    """One run of numbers, each given once: those from `next` up to `end`, then those that were reserved later."""

    next: int = 1
    end: float = math.inf
    later: tuple[int, int] | None = None
    """First and end of what was reserved since."""

    @property
    def left(self) -> float:
        """How many are left."""
        return self.end - self.next + (self.later[1] - self.later[0] if self.later else 0)

    def take(self) -> int:
        """The next one.

        Raises:
            Exhausted: there is none.
        """
        if self.next >= self.end:
            if self.later is None:
                raise Exhausted("its numbers are used up")
            (self.next, self.end), self.later = self.later, None
        taken, self.next = self.next, self.next + 1
        return taken


@dataclass(slots=True)
class Issue:
    """Numbers of requests and of tickets."""

    requests: Numbers = field(default_factory=Numbers)
    tickets: Numbers = field(default_factory=Numbers)


@dataclass(slots=True)
class Totals:
    """Since this process began; only differences mean anything."""

    arrived: int = 0
    """Requests, each once."""
    served: int = 0
    """Those that a worker was done with."""
    served_units: float = 0.0
    """What those cost."""


@dataclass(frozen=True, slots=True)
class Given:
    """A request and the worker that shall serve it."""

    request: int
    ticket: int
    worker_id: str
    cost: float


@dataclass(frozen=True, slots=True)
class Wait:
    """A request that waits."""

    request: int
    position: int
    """How many go before it."""
    seconds: float | None
    """About how long; None: nobody serves, and when somebody will is not known."""


@dataclass(slots=True)
class _Request:
    number: int
    cost: float
    priority: int
    place: int
    """Its place among all that ever came; kept when a worker fails it."""
    arrived_at: float
    polled_at: float
    keep_seconds: float
    avoid: set[str] = field(default_factory=set)
    """Workers that failed it."""


@dataclass(slots=True)
class _Assigned:
    request: _Request
    worker_id: str
    given_at: float
    ticket: int = 0
    """0: set aside, its client has not asked yet."""
    is_seen: bool = False
    """The worker has named it."""
    is_counted: bool = True
    """Its cost is not in what the worker last said."""


@dataclass(slots=True)
class _Worker:
    view: WorkerView
    is_draining: bool = False
    given: dict[int, _Assigned] = field(default_factory=dict)
    pending: float = 0.0
    """Cost of what is given and not in its last report."""
    version: int = 0

    @property
    def queue_seconds(self) -> float:
        return (self.view.cur_load + self.pending) / self.view.max_perf


class Routing:
    """The queue and the accounts of one endpoint.

    Args:
        issue: of numbers, shared by all endpoints.
        max_queue_seconds: a worker with more than this before it gets nothing; requests wait in order instead.
    """

    def __init__(self, issue: Issue, *, max_queue_seconds: float = 30.0) -> None:
        self.max_queue_seconds = max_queue_seconds
        self._issue = issue
        self._workers: dict[str, _Worker] = {}
        self._waiting: dict[int, _Request] = {}
        self._order: dict[int, list[int]] = {}
        """Places of those that wait, sorted, by priority."""
        self._at_place: dict[int, int] = {}
        self._assigned: dict[int, _Assigned] = {}
        self._left: OrderedDict[int, _Request] = OrderedDict()
        self._heap: list[tuple[float, int, str, int]] = []
        self._count = itertools.count()
        self._swept_at = -math.inf
        self._perf = 0.0
        self.load_seconds: float | None = None
        """What its workers usually take from start to loaded, learned from those that are; None: unknown."""
        self._usual_perf: float | None = None
        self._first_loaded_at: float | None = None
        self._states = dict.fromkeys(("ready", "loading", "error"), 0)
        self.queued = 0.0
        """Cost of all that waits."""
        self.totals = Totals()

    @property
    def in_flight(self) -> float:
        """Cost of all that is given and not settled."""
        return sum(assigned.request.cost for assigned in self._assigned.values())

    @property
    def in_flight_requests(self) -> int:
        """How many are given and not settled."""
        return len(self._assigned)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def units_per_second(self) -> float:
        """Measured performance of who is ready, as of the last second."""
        return self._perf

    def oldest_seconds(self, now: float) -> float | None:
        """How long the oldest has waited; None: none does."""
        return max((now - request.arrived_at for request in self._waiting.values()), default=None)

    def workers(self) -> Iterator[WorkerView]:
        """All that are known."""
        return (worker.view for worker in self._workers.values())

    def knows(self, number: int) -> bool:
        """Whether a request waits or is at a worker."""
        return number in self._waiting or number in self._assigned

    def states(self) -> Mapping[str, int]:
        """How many workers are in which state, as of the last second."""
        return self._states

    def is_draining(self, worker_id: str) -> bool:
        """Whether it gets nothing new."""
        return worker_id in self._workers and self._workers[worker_id].is_draining

    def is_busy(self, worker_id: str) -> bool:
        """Whether it has work, by its own word or by a ticket that may still be used."""
        worker = self._workers.get(worker_id)
        return worker is not None and (worker.view.is_busy or bool(worker.given))

    def knows_busy(self, worker_id: str) -> bool:
        """Whether that is known: of one that is silent, only if it was given something."""
        worker = self._workers.get(worker_id)
        return worker is None or not worker.view.is_silent or bool(worker.given)

    def poll(self, number: int, *, cost: float, priority: int, keep_seconds: float, now: float) -> Given | Wait:
        """A client asks for a worker, or asks again.

        Args:
            number: of the request; 0, or one that was never given: a new one. One that was sent to a worker says by
                coming back that this worker failed it.
            cost: in units of load; of a new one.
            priority: a higher one goes first; of a new one.
            keep_seconds: it is dropped if nobody asks for so long.
            now: seconds of the clock.

        Raises:
            Exhausted: there is no number for it; nothing has changed.
        """
        self.sweep(now)
        assigned = self._assigned.get(number)
        if assigned is not None and assigned.ticket:
            self._take_back(assigned)
            self._queue(self._left.pop(number))
        elif assigned is None and number not in self._waiting:
            number = self._arrived(number, cost, priority, keep_seconds, now)
        request = self._waiting.get(number) or self._assigned[number].request
        request.polled_at = now
        self._set_aside(now)
        found = self._assigned.get(number)
        if found is None:
            return self._wait(request)
        found.ticket, found.given_at = self._issue.tickets.take(), now
        return Given(number, found.ticket, found.worker_id, request.cost)

    def reported(self, view: WorkerView, now: float) -> None:
        """A worker has spoken: what it says holds, and what it was given after that comes on top."""
        worker = self._workers.setdefault(view.worker_id, _Worker(view))
        began_anew = view.restarts != worker.view.restarts
        worker.view = view
        if view.request_seconds is not None:
            self._settle_by_looks(worker, now, began_anew=began_anew)
            return
        for assigned in list(worker.given.values()):
            # The older two generations name no requests: what they were given is in their next report, or was.
            is_over = assigned.is_seen or (view.generation < 3 and assigned.ticket > 0)
            if assigned.request.number in view.working and not began_anew:
                assigned.is_seen, assigned.is_counted = True, False
            elif began_anew or is_over:
                self._serve(assigned, is_done=not began_anew)
        worker.pending = sum(each.request.cost for each in worker.given.values() if each.is_counted)
        self._offer(worker)
        self._set_aside(now)

    def _settle_by_looks(self, worker: _Worker, now: float, *, began_anew: bool) -> None:
        """One that reports nothing shows at most how many it has: fewer than it was given, so the oldest are done."""
        given = [each for each in worker.given.values() if each.ticket]
        if began_anew:
            over = given
        elif worker.view.shown_requests is None:
            over = []
        else:
            # A client may take a while to come to it, and its figures are old.
            old = [each for each in given if now - each.given_at > ON_THEIR_WAY_SECONDS]
            over = sorted(old, key=lambda each: each.given_at)[: max(0, len(old) - worker.view.shown_requests)]
        for assigned in over:
            self._serve(assigned, is_done=not began_anew)
        self._offer(worker)
        self._set_aside(now)

    def settled_by_client(self, number: int, now: float, *, is_done: bool) -> str:
        """A client is done at its worker, or says that it was not served; its worker's id where that is believed.

        Who reports by itself is not spoken for by others. What is not open changes nothing.
        """
        assigned = self._assigned.get(number)
        if assigned is None or not assigned.ticket:
            return ""
        worker = self._workers[assigned.worker_id]
        if worker.view.request_seconds is None:
            return ""
        self._serve(assigned, is_done=is_done)
        self._set_aside(now)
        return assigned.worker_id

    def given_to(self, worker_id: str) -> int:
        """How many a worker was given, by ticket, that are not settled."""
        worker = self._workers.get(worker_id)
        return 0 if worker is None else sum(each.ticket > 0 for each in worker.given.values())

    @property
    def usual_cost(self) -> float:
        """Of a request, by those that were served; 1 before the first one."""
        return self.totals.served_units / self.totals.served if self.totals.served else 1.0

    def settled(self, worker_id: str, number: int, now: float, *, is_done: bool = True) -> bool:
        """A worker has a request no more, done or not; whether it was open. What is not changes nothing."""
        assigned = self._assigned.get(number)
        if assigned is None or assigned.worker_id != worker_id or not assigned.ticket:
            return False
        self._serve(assigned, is_done=is_done)
        self._set_aside(now)
        return True

    def drain(self, worker_id: str, *, is_draining: bool = True) -> None:
        """Give it nothing new; or again. What was set aside for a client that has not asked goes to another one."""
        worker = self._workers.get(worker_id)
        if worker is None:
            return
        worker.is_draining = is_draining
        for assigned in [each for each in worker.given.values() if not each.ticket] if is_draining else []:
            self._take_back(assigned)
        self._offer(worker)

    def forget(self, worker_id: str, now: float) -> None:
        """It is gone, and what it had with it; its clients come back under their numbers."""
        worker = self._workers.get(worker_id)
        for assigned in list(worker.given.values()) if worker else []:
            self._take_back(assigned)
        self._workers.pop(worker_id, None)
        self._set_aside(now)

    def sweep(self, now: float) -> None:
        """Once a second: drop who does not ask any more, take back what was set aside or given in vain."""
        if 0 <= now - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = now
        for request in [each for each in self._waiting.values() if now - each.polled_at > each.keep_seconds]:
            self._unqueue(request)
        for assigned in list(self._assigned.values()):
            if not assigned.ticket:
                if now - assigned.request.polled_at > ALIVE_SECONDS:
                    self._take_back(assigned)
                continue
            longest = self._workers[assigned.worker_id].view.request_seconds
            if longest is not None and now - assigned.given_at > longest:
                self._serve(assigned, is_done=True)
            elif longest is None and not assigned.is_seen and now - assigned.given_at > UNUSED_SECONDS:
                self._take_back(assigned)
        self._perf = sum(each.view.max_perf for each in self._workers.values() if self._can_serve(each, now))
        self._learn(now)
        ready = sum(worker.view.is_ready(now) for worker in self._workers.values())
        broken = sum(bool(worker.view.error) for worker in self._workers.values())
        self._states = {"ready": ready, "loading": len(self._workers) - ready - broken, "error": broken}
        self._set_aside(now)

    def _learn(self, now: float) -> None:
        """Remember what loaded workers took and do, also once they are gone, and when the next one should be loaded."""
        views = [worker.view for worker in self._workers.values()]
        took = [view.load_seconds for view in views if view.is_loaded and view.load_seconds]
        perfs = [view.max_perf for view in views if view.max_perf > 0]
        self.load_seconds = median(took) if took else self.load_seconds
        self._usual_perf = median(perfs) if perfs else self._usual_perf
        load = [view.started_at for view in views if not view.is_loaded and not view.error and view.is_fresh(now)]
        first = min((at for at in load if math.isfinite(at)), default=None)
        is_known = first is not None and self.load_seconds is not None
        self._first_loaded_at = (first or 0.0) + (self.load_seconds or 0.0) if is_known else None

    def _arrived(self, number: int, cost: float, priority: int, keep_seconds: float, now: float) -> int:
        before = self._left.pop(number, None)
        if before is not None:
            # It was sent to a worker and comes back: its place is the one that it had.
            before.keep_seconds = keep_seconds
            self._queue(before)
            return number
        if not 0 < number < self._issue.requests.next:
            number = self._issue.requests.take()
        self.totals.arrived += 1
        self._queue(_Request(number, cost, priority, next(self._count), now, now, keep_seconds))
        return number

    def _queue(self, request: _Request) -> None:
        self._waiting[request.number] = request
        self.queued += request.cost
        insort(self._order.setdefault(request.priority, []), request.place)
        self._at_place[request.place] = request.number

    def _unqueue(self, request: _Request) -> None:
        del self._waiting[request.number]
        self.queued = self.queued - request.cost if self._waiting else 0.0
        del self._at_place[request.place]
        places = self._order[request.priority]
        del places[bisect_left(places, request.place)]
        if not places:
            del self._order[request.priority]

    def _set_aside(self, now: float) -> None:
        """Give workers with room to those that are next, in order."""
        if len(self._waiting) > 1 and self._best((), now) is None:
            return
        for priority in sorted(self._order, reverse=True):
            places, index = self._order[priority], 0
            # Not over a copy: thousands may wait, and each poll comes here.
            while index < len(places):
                request = self._waiting[self._at_place[places[index]]]
                if now - request.polled_at > ALIVE_SECONDS:
                    index += 1
                    continue
                worker = self._best(request.avoid, now)
                if worker is None:
                    return
                self._unqueue(request)
                assigned = _Assigned(request, worker.view.worker_id, now)
                self._assigned[request.number] = worker.given[request.number] = assigned
                worker.pending += request.cost
                self._offer(worker)

    def _best(self, avoid: Iterable[str], now: float) -> _Worker | None:
        """The one with the least before it; one that failed this request only where there is no other."""
        passed: list[tuple[float, int, str, int]] = []
        found: _Worker | None = None
        second: _Worker | None = None
        while self._heap:
            entry = self._heap[0]
            score, _, worker_id, version = entry
            worker = self._workers.get(worker_id)
            if worker is None or worker.version != version or not self._can_serve(worker, now):
                heapq.heappop(self._heap)
                continue
            if score > self.max_queue_seconds:
                break
            if worker_id not in avoid:
                found = worker
                break
            second = second or worker
            passed.append(heapq.heappop(self._heap))
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found or second

    def _offer(self, worker: _Worker) -> None:
        """Put it where it belongs among those that may be given something."""
        worker.version += 1
        if worker.view.max_perf > 0:
            entry = (worker.queue_seconds, next(self._count), worker.view.worker_id, worker.version)
            heapq.heappush(self._heap, entry)

    def _can_serve(self, worker: _Worker, now: float) -> bool:
        return not worker.is_draining and worker.view.is_ready(now)

    def _wait(self, request: _Request) -> Wait:
        ahead = bisect_left(self._order[request.priority], request.place)
        ahead += sum(len(places) for priority, places in self._order.items() if priority > request.priority)
        cost_ahead = self.queued * ahead / max(1, len(self._waiting))
        return Wait(request.number, ahead, self._wait_seconds(cost_ahead, request.polled_at))

    def _wait_seconds(self, cost_ahead: float, now: float) -> float | None:
        """By those that are ready; where none is, once the next one is loaded."""
        if self._perf:
            return cost_ahead / self._perf
        if self._first_loaded_at is None or not self._usual_perf:
            return None
        return max(0.0, self._first_loaded_at - now) + cost_ahead / self._usual_perf

    def _take_back(self, assigned: _Assigned) -> None:
        """The worker has it no more. A client that was told is remembered, since it may come back under its number."""
        request = assigned.request
        self._release(assigned)
        if not assigned.ticket:
            self._queue(request)
            return
        request.avoid.add(assigned.worker_id)
        self._left[request.number] = request
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)

    def _serve(self, assigned: _Assigned, *, is_done: bool) -> None:
        if is_done and assigned.ticket:
            self.totals.served += 1
            self.totals.served_units += assigned.request.cost
        self._take_back(assigned)

    def _release(self, assigned: _Assigned) -> None:
        del self._assigned[assigned.request.number]
        worker = self._workers[assigned.worker_id]
        del worker.given[assigned.request.number]
        if assigned.is_counted:
            worker.pending = max(0.0, worker.pending - assigned.request.cost)
        self._offer(worker)
