"""The gateway's desk: endpoints, who serves them, and what is done with what workers, clients and operators say.

A worker is routed to while three agree: the operator (its master's adapter) has registered it at an address and has
renewed its lease, the worker itself says that it is ready, and it says the same address.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.ids import parse_worker_id
from ebbflow.gateway.reports import BadReport, Report, WorkerView, merged
from ebbflow.gateway.routing import Given, Numbers, Routing, Wait
from ebbflow.gateway.store import EndpointRow, KeyRow, Store, StoreError, WorkerRow
from ebbflow.gateway.tickets import Signer, new_private_key
from ebbflow.gateway.wire import worker_of

BLOCK = 10_000
"""Numbers reserved at once: hours of them, so that routes go on while the database is away."""
MOST_UNREGISTERED = 10_000
"""Workers that may speak before they are registered; who has the secret makes their tokens."""


class Refused(Exception):
    """Who asks may not; says nothing of why."""


class Unknown(Exception):
    """There is no such endpoint or worker."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client is sent to its worker with."""

    given: Given
    url: str
    signature: str


@dataclass(slots=True)
class Endpoint:
    """One endpoint with its queue."""

    row: EndpointRow
    routing: Routing


@dataclass(slots=True)
class _Registered:
    row: WorkerRow
    kept: tuple[object, ...] = ()
    """What of its view the database has."""
    kept_until: float = 0.0
    """The lease that the database has."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds of a clock that only goes on, and since 1970."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


@dataclass(slots=True)
class Counts:
    """Of what came and was not used."""

    bad_reports: int = 0
    forged_reports: int = 0
    unsaved: int = 0
    """Writes that the database did not take; they are tried again with the next change."""


class Desk:
    """What the gateway knows and does; one for each process.

    Args:
        store: its database.
        worker_secrets: shared with the masters' blocks; two while one takes the other's place.
        clocks: of this host.
    """

    def __init__(self, store: Store, *, worker_secrets: tuple[str, ...], clocks: Clocks) -> None:
        self.store, self.counts = store, Counts()
        self._secrets, self._clocks = worker_secrets, clocks
        self._numbers, self._ends = Numbers(), Numbers(0, 0)
        self._endpoints: dict[str, Endpoint] = {}
        self._keys: dict[str, KeyRow] = {}
        self._views: dict[str, WorkerView] = {}
        self._registered: dict[str, _Registered] = {}
        self._signer: Signer | None = None

    async def open(self) -> None:
        """Read what was kept: workers that were ready are routed to at once.

        Raises:
            StoreError: the database cannot be used.
        """
        await self.store.prepare()
        self._signer = Signer(await self.store.secret("private key", new_private_key()))
        await self._reserve()
        for row in await self.store.endpoints():
            self._endpoints[row.name] = Endpoint(row, self._routing(row))
        self._keys = {row.digest: row for row in await self.store.keys()}
        now = self._clocks.monotonic()
        for worker in await self.store.workers():
            self._registered[worker.worker_id] = _Registered(worker, _kept(worker.view), worker.lease_until)
            # It was ready when it was last heard of, and has half a minute to say so again.
            self._views[worker.worker_id] = replace(worker.view, reported_at=now)
            self._tell(worker.worker_id)

    @property
    def public_key(self) -> str:
        """PEM, for workers."""
        assert self._signer is not None, "it is open"
        return self._signer.public_key

    def report(self, report: Report) -> None:
        """A worker says how it does.

        Raises:
            Refused: its token is none of ours.
            BadReport: so many others speak without being registered.
        """
        worker_id = worker_of(report.token, self._secrets)
        if not worker_id:
            self.counts.forged_reports += 1
            raise Refused
        if worker_id not in self._views and len(self._views) >= MOST_UNREGISTERED + len(self._registered):
            raise BadReport("too many workers speak that nobody has registered")
        known = self._views.get(worker_id, WorkerView(worker_id))
        self._views[worker_id] = merged(known, report, self._clocks.monotonic())
        self._tell(worker_id)

    def settle(self, token: str, requests: Sequence[tuple[int, bool]]) -> None:
        """A worker has requests no more, each done or not. Raises as `report`."""
        worker_id = worker_of(token, self._secrets)
        if not worker_id:
            self.counts.forged_reports += 1
            raise Refused
        registered = self._registered.get(worker_id)
        endpoint = self._endpoints.get(registered.row.endpoint) if registered else None
        for number, is_done in requests if endpoint else ():
            assert endpoint is not None, "there are none without it"
            endpoint.routing.settled(worker_id, number, self._clocks.monotonic(), is_done=is_done)

    def route(
        self, endpoint: str, key: str, *, number: int, cost: float, priority: int, keep_seconds: float
    ) -> Ticket | Wait:
        """A client asks for a worker.

        Raises:
            Refused: its key is none of this endpoint's.
        """
        found = self._endpoints.get(endpoint)
        if not self._is_clients(key, endpoint) or found is None:
            raise Refused
        now = self._clocks.monotonic()
        answer = found.routing.poll(number, cost=cost, priority=priority, keep_seconds=keep_seconds, now=now)
        if isinstance(answer, Wait):
            return answer
        assert self._signer is not None, "it is open"
        view = self._views[answer.worker_id]
        url = self._registered[answer.worker_id].row.url
        signature = self._signer.sign(
            view.generation, url=url, cost=answer.cost, endpoint=endpoint, reqnum=answer.ticket
        )
        return Ticket(answer, url, signature)

    def endpoint_of(self, key: str) -> Endpoint:
        """Whose key it is.

        Raises:
            Refused: nobody's.
        """
        row = self._keys.get(digest(key))
        if row is None or not self._is_clients(key, row.endpoint):
            raise Refused
        return self._endpoints[row.endpoint]

    async def make_endpoint(self, name: str, *, max_queue_seconds: float) -> EndpointRow:
        """Make an endpoint, or change it."""
        known = self._endpoints.get(name)
        number = known.row.number if known else await self.store.reserve("endpoints", 1)
        row = EndpointRow(name, number, max_queue_seconds)
        await self.store.keep_endpoint(row)
        if known is None:
            self._endpoints[name] = Endpoint(row, self._routing(row))
        else:
            known.row, known.routing.max_queue_seconds = row, max_queue_seconds
        return row

    async def make_key(self, endpoint: str, *, overlap_seconds: float | None = None) -> str:
        """A new client key, told once; with an overlap, those of before end after it.

        Raises:
            Unknown: there is no such endpoint.
        """
        if endpoint not in self._endpoints:
            raise Unknown(endpoint)
        key = secrets.token_urlsafe(32)
        row = KeyRow(digest(key), endpoint)
        await self.store.keep_key(row)
        before = [each for each in self._keys.values() if each.endpoint == endpoint and each.ends_at is None]
        self._keys[row.digest] = row
        for each in before if overlap_seconds is not None else ():
            assert overlap_seconds is not None, "as was just looked"
            ending = replace(each, ends_at=self._clocks.wall() + overlap_seconds)
            await self.store.keep_key(ending)
            self._keys[each.digest] = ending
        return key

    async def register(
        self, endpoint: str, worker_id: str, *, home: str, url: str, lease_seconds: float
    ) -> WorkerView | None:
        """Let a worker be routed to at this address for so long; what it says. None: nothing, and it is not let.

        Raises:
            Unknown: there is no such endpoint, or the id is no worker's.
            StoreError: it could not be kept, so it is not registered.
        """
        if endpoint not in self._endpoints or parse_worker_id(worker_id) is None:
            raise Unknown(endpoint if endpoint not in self._endpoints else worker_id)
        known, view = self._registered.get(worker_id), self._views.get(worker_id)
        if view is None or not view.is_fresh(self._clocks.monotonic()):
            return None
        is_draining = known.row.is_draining if known else False
        row = WorkerRow(worker_id, endpoint, home, url, self._clocks.wall() + lease_seconds, is_draining, view)
        await self.store.keep_worker(row)
        if known is not None and known.row.endpoint != endpoint:
            self._endpoints[known.row.endpoint].routing.forget(worker_id, self._clocks.monotonic())
        self._registered[worker_id] = _Registered(row, _kept(view), row.lease_until)
        self._tell(worker_id)
        return view

    async def renew(self, endpoint: str, worker_ids: Sequence[str], *, lease_seconds: float) -> dict[str, bool]:
        """Let workers be routed to for so long from now; by id, whether each has spoken of late.

        The database learns of it where that changes what a restart would do: once in half a lease.
        """
        now, wall = self._clocks.monotonic(), self._clocks.wall()
        found: dict[str, bool] = {}
        for worker_id in worker_ids:
            known, view = self._registered.get(worker_id), self._views.get(worker_id)
            found[worker_id] = view is not None and view.is_fresh(now)
            if known is None or known.row.endpoint != endpoint or not found[worker_id]:
                continue
            known.row = replace(known.row, lease_until=wall + lease_seconds)
            self._tell(worker_id)
            # Not the lease that is held here: every turn renews that one.
            if known.kept_until < wall + lease_seconds / 2:
                await self.store.keep_worker(replace(known.row, view=view or known.row.view))
                known.kept_until = known.row.lease_until
        return found

    async def drain(self, worker_id: str, *, is_draining: bool) -> bool:
        """Route nothing more to a worker, or again; whether it has work.

        Raises:
            Unknown: it is not registered.
        """
        known = self._registered.get(worker_id)
        if known is None:
            raise Unknown(worker_id)
        known.row = replace(known.row, is_draining=is_draining)
        routing = self._endpoints[known.row.endpoint].routing
        routing.drain(worker_id, is_draining=is_draining)
        await self.store.keep_worker(known.row)
        return routing.is_busy(worker_id)

    async def deregister(self, worker_id: str) -> None:
        """Forget a worker; one that is not known is forgotten already."""
        known = self._registered.pop(worker_id, None)
        self._views.pop(worker_id, None)
        if known is not None:
            self._endpoints[known.row.endpoint].routing.forget(worker_id, self._clocks.monotonic())
        await self.store.drop_worker(worker_id)

    def members(self, endpoint: str) -> Mapping[str, tuple[WorkerRow, WorkerView | None, bool]]:
        """Who is registered, what each has said, and whether it has work."""
        found = self._endpoints.get(endpoint)
        if found is None:
            raise Unknown(endpoint)
        return {
            worker_id: (known.row, self._views.get(worker_id), found.routing.is_busy(worker_id))
            for worker_id, known in self._registered.items()
            if known.row.endpoint == endpoint
        }

    def routing(self, endpoint: str) -> Routing:
        """An endpoint's queue.

        Raises:
            Unknown: there is no such endpoint.
        """
        if endpoint not in self._endpoints:
            raise Unknown(endpoint)
        return self._endpoints[endpoint].routing

    async def tend(self) -> None:
        """Every few seconds: end leases, keep what changed, reserve numbers before they are used up."""
        now, wall = self._clocks.monotonic(), self._clocks.wall()
        for worker_id, known in self._registered.items():
            if known.row.lease_until < wall:
                self._tell(worker_id)
        for endpoint in self._endpoints.values():
            endpoint.routing.sweep(now)
        try:
            for worker_id, known in list(self._registered.items()):
                view = self._views.get(worker_id)
                if view is not None and _kept(view) != known.kept:
                    await self.store.keep_worker(replace(known.row, view=view))
                    known.kept = _kept(view)
            await self._reserve()
        except StoreError:
            self.counts.unsaved += 1

    def _routing(self, row: EndpointRow) -> Routing:
        return Routing(self._numbers, max_queue_seconds=row.max_queue_seconds)

    def _tell(self, worker_id: str) -> None:
        """Let the queue of its endpoint know a worker as it may be used."""
        known, view = self._registered.get(worker_id), self._views.get(worker_id)
        if known is None or view is None:
            return
        is_let = known.row.lease_until >= self._clocks.wall() and view.url in ("", known.row.url)
        routing = self._endpoints[known.row.endpoint].routing
        routing.reported(replace(view, url=known.row.url if is_let and view.url else ""), self._clocks.monotonic())
        if known.row.is_draining and not routing.is_draining(worker_id):
            routing.drain(worker_id)

    def _is_clients(self, key: str, endpoint: str) -> bool:
        row = self._keys.get(digest(key))
        is_current = row is not None and (row.ends_at is None or row.ends_at > self._clocks.wall())
        return is_current and row is not None and hmac.compare_digest(row.endpoint, endpoint)

    async def _reserve(self) -> None:
        """Have numbers for the next hours; the first of a process are those of its own block."""
        if self._numbers.next_request > self._ends.next_request - BLOCK // 2:
            first = await self.store.reserve("requests", BLOCK)
            if not self._ends.next_request:
                self._numbers.next_request = first
            self._ends.next_request = first + BLOCK
        if self._numbers.next_ticket > self._ends.next_ticket - BLOCK // 2:
            first = await self.store.reserve("tickets", BLOCK)
            if not self._ends.next_ticket:
                self._numbers.next_ticket = first
            self._ends.next_ticket = first + BLOCK


def digest(key: str) -> str:
    """What is kept of a key; keys are random and long, so a plain hash tells nothing of them."""
    return hashlib.sha256(key.encode()).hexdigest()


def _kept(view: WorkerView) -> tuple[object, ...]:
    """What a restart must know of a worker; loads and times are told anew."""
    return (view.generation, view.instance_id, view.url, view.is_loaded, view.max_perf, view.error)
