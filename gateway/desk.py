"""The gateway's desk: who serves the endpoints, and what is done with what workers, clients and operators say.

A worker is routed to while three agree: the operator (its master's adapter) has registered it at an address and has
renewed its lease, the worker itself says that it is ready, and it says the same address.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.ids import parse_worker_id
from ebbflow.gateway.endpoints import Endpoints
from ebbflow.gateway.journal import Journal, Line
from ebbflow.gateway.plain import PlainServer, PlainState, failed_a_client, view_of
from ebbflow.gateway.rates import Rate
from ebbflow.gateway.reports import BadReport, Report, WorkerView, merged
from ebbflow.gateway.routing import Routing, Wait
from ebbflow.gateway.sealing import Sealing
from ebbflow.gateway.store import Store, StoreError, WorkerRow
from ebbflow.gateway.terms import Clocks, Counts, Crowded, Refused, Served, Ticket, Unknown
from ebbflow.gateway.tickets import Signer, new_private_key
from ebbflow.gateway.wire import worker_of

MOST_UNREGISTERED = 10_000
"""Workers that may speak before they are registered; who has the secret makes their tokens."""
REPORTS_PER_SECOND, REPORTS_AT_ONCE = 20.0, 200.0
"""Of one worker, which sends two a second at most."""
MOST_LEASE_SECONDS = 86_400.0
STRANGER_SECONDS = 600.0
"""One that nobody has registered, and that has fallen silent, is forgotten after so long."""


@dataclass(slots=True)
class _Registered:
    row: WorkerRow
    leased_until: float
    """By the clock that only goes on, so that a clock that is set ends no lease."""
    kept: tuple[object, ...] = ()
    """What of its view the database has."""
    was_leased: bool = True
    server: PlainServer | None = None
    """Of one that reports nothing."""
    state: PlainState | None = None


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A server that reports nothing, for whoever looks at it."""

    worker_id: str
    url: str
    server: PlainServer
    state: PlainState
    is_missed: bool
    """Its endpoint's clients wait, so that one that is asleep is to be woken."""
    is_draining: bool


class Desk:
    """What the gateway knows and does; one for each process.

    Args:
        store: its database.
        worker_secrets: shared with the masters' blocks; two while one takes the other's place.
        clocks: of this host.
    """

    def __init__(self, store: Store, *, worker_secrets: tuple[str, ...], clocks: Clocks) -> None:
        self.store, self.counts, self.journal = store, Counts(), Journal()
        self.is_saved = False
        """Whether the database took what was last given to it."""
        self.unsure_until = -math.inf
        """Until then another gateway may still send clients to workers, so that nobody is known to have no work."""
        self._secrets, self._clocks = worker_secrets, clocks
        self._sealing = Sealing(worker_secrets)
        self._rate = Rate(REPORTS_PER_SECOND, REPORTS_AT_ONCE)
        self.endpoints = Endpoints(store, clocks.wall, lambda endpoint, words: self._note(endpoint, "", words))
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
        await self.endpoints.open()
        now, wall = self._clocks.monotonic(), self._clocks.wall()
        servers = await self.store.servers()
        for worker in await self.store.workers():
            lease = min(max(0.0, worker.lease_until - wall), MOST_LEASE_SECONDS)
            known = _Registered(worker, now + lease, _kept(worker.view))
            self._registered[worker.worker_id] = known
            # It was ready when it was last heard of, and has half a minute to say so again.
            self._views[worker.worker_id] = replace(worker.view, reported_at=now)
            if worker.worker_id in servers:
                server, sealed = servers[worker.worker_id]
                known.server = replace(server, key=self._sealing.open(sealed))
                known.state = PlainState(now, now, is_hot=worker.view.is_loaded, was_hot=worker.view.max_perf > 0)
                self._show(known)
            self._tell(worker.worker_id)
        self.is_saved = True

    @property
    def public_key(self) -> str:
        """PEM, for workers."""
        assert self._signer is not None, "it is open"
        return self._signer.public_key

    def report(self, report: Report) -> None:
        """A worker says how it does.

        Raises:
            Refused: its token is none of ours.
            Crowded: it speaks too often.
            BadReport: so many others speak without being registered.
        """
        worker_id = self._whose(report.token)
        self.counts.reports += 1
        if worker_id not in self._views and len(self._views) >= MOST_UNREGISTERED + len(self._registered):
            raise BadReport("too many workers speak that nobody has registered")
        known = self._views.get(worker_id, WorkerView(worker_id))
        self._views[worker_id] = merged(known, report, self._clocks.monotonic())
        self._tell(worker_id)
        self._note_change(known, self._views[worker_id])

    def settle(self, token: str, requests: Sequence[tuple[int, bool]]) -> None:
        """A worker has requests no more, each done or not. Raises as `report`."""
        worker_id = self._whose(token)
        registered = self._registered.get(worker_id)
        if registered is None:
            return
        routing = self.endpoints.named(registered.row.endpoint).routing
        for number, is_done in requests:
            routing.settled(worker_id, number, self._clocks.monotonic(), is_done=is_done)

    def lease_of(self, token: str) -> tuple[float, bool]:
        """How many seconds a worker may still be routed to, and whether it has reported an error. Raises as `report`.

        0: it is not registered, or its lease is over.
        """
        worker_id = self._whose(token)
        known, view = self._registered.get(worker_id), self._views.get(worker_id)
        seconds = max(0.0, known.leased_until - self._clocks.monotonic()) if known else 0.0
        return seconds, view is not None and bool(view.error)

    def route(
        self, endpoint: str, key: str, *, number: int, cost: float, priority: int, keep_seconds: float
    ) -> Ticket | Wait:
        """A client asks for a worker.

        Raises:
            Refused: its key is none of this endpoint's.
            Crowded: too many wait, or ask too often.
            Exhausted: there is no number for it.
        """
        found = self.endpoints.for_client(endpoint, key)
        now = self._clocks.monotonic()
        if not found.rate.lets(endpoint, now):
            raise Crowded(f"more than {found.row.routes_per_second:g} requests a second")
        if found.routing.waiting >= found.row.most_waiting and not found.routing.knows(number):
            raise Crowded(f"{found.routing.waiting} requests wait")
        answer = found.routing.poll(number, cost=cost, priority=priority, keep_seconds=keep_seconds, now=now)
        if isinstance(answer, Wait):
            self.counts.waits += 1
            return answer
        self.counts.tickets += 1
        assert self._signer is not None, "it is open"
        view = self._views[answer.worker_id]
        url = self._registered[answer.worker_id].row.url
        signature = self._signer.sign(
            view.generation, url=url, cost=answer.cost, endpoint=endpoint, reqnum=answer.ticket
        )
        server = self._registered[answer.worker_id].server
        if server is None:
            return Ticket(answer, url, signature)
        return Ticket(answer, url, signature, server.kind, server.wanted.model)

    async def register(
        self,
        endpoint: str,
        worker_id: str,
        *,
        home: str,
        url: str,
        lease_seconds: float,
        server: PlainServer | None = None,
    ) -> WorkerView | None:
        """Let a worker be routed to at this address for so long; what it says. None: nothing, and it is not let.

        A server that reports nothing (`server`) is looked at from now on, and routed to once it is hot.

        Raises:
            Unknown: there is no such endpoint, or the id is no worker's.
            StoreError: it could not be kept, so it is not registered.
        """
        self.endpoints.named(endpoint)
        if parse_worker_id(worker_id) is None:
            raise Unknown(worker_id)
        known, view, now = self._registered.get(worker_id), self._views.get(worker_id), self._clocks.monotonic()
        state = None
        if server is not None:
            is_same = known is not None and known.server is not None and known.row.url == url
            state = known.state if known is not None and is_same else PlainState(now, now)
            assert state is not None, "one that is looked at has a state"
            view = view_of(worker_id, url, server, state, others_load=0.0)
        if view is None or not view.is_fresh(now):
            return None
        is_draining = known.row.is_draining if known else False
        row = WorkerRow(worker_id, endpoint, home, url, self._clocks.wall() + lease_seconds, is_draining, view)
        await self.store.keep_worker(row)
        if server is not None and (known is None or known.server != server):
            await self.store.keep_server(worker_id, server, self._sealing.seal(server.key))
        if known is not None and known.row.endpoint != endpoint:
            self.endpoints.named(known.row.endpoint).routing.forget(worker_id, self._clocks.monotonic())
        now, latest = self._clocks.monotonic(), self._registered.get(worker_id)
        if latest is not None and latest.state is not None and latest.row.url == url:
            # A look may have come to something while the database wrote.
            state = latest.state if server is not None else None
        made = _Registered(row, now + lease_seconds, _kept(view), server=server, state=state)
        self._registered[worker_id] = made
        if server is not None:
            self._show(made)
        self._tell(worker_id)
        if known is None:
            self._note(endpoint, worker_id, "registered")
        view = self._views[worker_id]
        return replace(view, url=view.url or url)

    async def renew(self, endpoint: str, worker_ids: Sequence[str], *, lease_seconds: float) -> dict[str, bool]:
        """Let workers be routed to for so long from now; by id, whether each has spoken of late.

        The database learns of it where that changes what a restart would do: once in half a lease.

        Raises:
            Unknown: there is no such endpoint.
            StoreError: some of them could not be kept.
        """
        now, wall = self._clocks.monotonic(), self._clocks.wall()
        self.endpoints.named(endpoint)
        found: dict[str, bool] = {}
        until = wall + lease_seconds
        for worker_id in worker_ids:
            known, view = self._registered.get(worker_id), self._views.get(worker_id)
            found[worker_id] = view is not None and view.is_fresh(now)
            if known is None or known.row.endpoint != endpoint or not found[worker_id]:
                continue
            known.leased_until, known.was_leased = now + lease_seconds, True
            self._tell(worker_id)
            # A clock that was set back leaves a lease too long there, which is written anew as well.
            if not lease_seconds / 2 <= known.row.lease_until - wall <= lease_seconds:
                known.row = replace(known.row, lease_until=until, view=view or known.row.view)
                await self.store.keep_worker(known.row)
        return found

    def servers(self) -> Iterator[LookedAt]:
        """Those that report nothing, and whose lease holds."""
        now = self._clocks.monotonic()
        for worker_id, known in list(self._registered.items()):
            if known.server is None or known.state is None or known.leased_until < now:
                continue
            is_missed = self.endpoints.named(known.row.endpoint).routing.waiting > 0
            yield LookedAt(worker_id, known.row.url, known.server, known.state, is_missed, known.row.is_draining)

    def looked(self, worker_id: str, url: str, change: Callable[[PlainState], PlainState]) -> None:
        """A look or a test of a server came to something; one that was forgotten, or is elsewhere now, is not changed.

        Args:
            worker_id: whose it was.
            url: where it was.
            change: from how it was to how it is.
        """
        known = self._registered.get(worker_id)
        if known is None or known.state is None or known.row.url != url:
            return
        known.state = change(known.state)
        before = self._views[worker_id]
        self._show(known)
        self._tell(worker_id)
        self._note_change(before, self._views[worker_id])

    def done(self, endpoint: str, key: str, number: int, *, is_done: bool) -> bool:
        """A client is done with a request at a server that reports nothing, or was not served; whether it was open.

        Raises:
            Refused: its key is none of this endpoint's.
        """
        routing = self.endpoints.for_client(endpoint, key).routing
        worker_id = routing.settled_by_client(number, self._clocks.monotonic(), is_done=is_done)
        known = self._registered.get(worker_id)
        if known is not None and known.state is not None and not is_done:
            self.looked(worker_id, known.row.url, failed_a_client)
        return bool(worker_id)

    def _show(self, known: _Registered) -> None:
        """Make of a server that is looked at what a worker would say of itself."""
        assert known.server is not None, "it is looked at"
        assert known.state is not None, "it is looked at"
        worker_id = known.row.worker_id
        view = view_of(worker_id, known.row.url, known.server, known.state, others_load=0.0)
        routing = self.endpoints.named(known.row.endpoint).routing
        others = max(0, view.least_requests - routing.given_to(worker_id))
        self._views[worker_id] = replace(view, cur_load=others * routing.usual_cost)

    async def drain(self, worker_id: str, *, is_draining: bool) -> bool | None:
        """Route nothing more to a worker, or again; whether it has work. None: it is silent, and nobody knows.

        Raises:
            Unknown: it is not registered.
        """
        known = self._registered.get(worker_id)
        if known is None:
            raise Unknown(worker_id)
        if known.row.is_draining is not is_draining:
            # Every turn asks anew.
            self._note(known.row.endpoint, worker_id, "drains" if is_draining else "is routed to again")
        known.row = replace(known.row, is_draining=is_draining)
        routing = self.endpoints.named(known.row.endpoint).routing
        routing.drain(worker_id, is_draining=is_draining)
        await self.store.keep_worker(known.row)
        return self._is_busy(routing, worker_id)

    async def deregister(self, worker_id: str) -> None:
        """Forget a worker; one that is not known is forgotten already."""
        known = self._registered.pop(worker_id, None)
        self._views.pop(worker_id, None)
        if known is not None:
            self.endpoints.named(known.row.endpoint).routing.forget(worker_id, self._clocks.monotonic())
            self._note(known.row.endpoint, worker_id, "deregistered")
        await self.store.drop_worker(worker_id)

    def members(self, endpoint: str) -> Sequence[Served]:
        """Who is registered at an endpoint.

        Raises:
            Unknown: there is no such endpoint.
        """
        routing, now = self.endpoints.named(endpoint).routing, self._clocks.monotonic()
        return [
            Served(
                known.row,
                self._view_of(worker_id, known.row.url),
                self._is_busy(routing, worker_id),
                max(0.0, known.leased_until - now),
                known.server.kind if known.server else "",
            )
            for worker_id, known in self._registered.items()
            if known.row.endpoint == endpoint
        ]

    async def tend(self) -> None:
        """Every few seconds: end leases, keep what changed, reserve numbers before they are used up."""
        now = self._clocks.monotonic()
        for worker_id, known in self._registered.items():
            if known.was_leased and known.leased_until < now:
                known.was_leased = False
                self._tell(worker_id)
                self._note(known.row.endpoint, worker_id, "its lease ended: no turn has renewed it")
        for endpoint in self.endpoints:
            endpoint.routing.sweep(now)
        assert self._signer is not None, "it is open"
        self._signer.forget({known.row.url for known in self._registered.values()})
        self._forget_strangers(now)
        try:
            for worker_id, known in list(self._registered.items()):
                view = self._views.get(worker_id)
                if view is not None and _kept(view) != known.kept:
                    await self.store.keep_worker(replace(known.row, view=view))
                    known.kept = _kept(view)
            await self.endpoints.tend()
            await self.store.check()
            self.is_saved = True
        except StoreError:
            self.counts.unsaved += 1
            self.is_saved = False

    def _whose(self, token: str) -> str:
        """The worker's id.

        Raises:
            Refused: the token is none of ours.
            Crowded: it speaks too often.
        """
        worker_id = worker_of(token, self._secrets)
        if not worker_id:
            self.counts.forged_reports += 1
            raise Refused
        if not self._rate.lets(worker_id, self._clocks.monotonic()):
            raise Crowded(f"{worker_id} speaks more than {REPORTS_PER_SECOND:g} times a second")
        return worker_id

    def _tell(self, worker_id: str) -> None:
        """Let the queue of its endpoint know a worker as it may be used."""
        known, view = self._registered.get(worker_id), self._views.get(worker_id)
        if known is None or view is None:
            return
        now = self._clocks.monotonic()
        is_let = known.leased_until >= now and view.url in ("", known.row.url)
        routing = self.endpoints.named(known.row.endpoint).routing
        routing.reported(replace(view, url=known.row.url if is_let else ""), now)
        if known.row.is_draining and not routing.is_draining(worker_id):
            routing.drain(worker_id)

    def _is_busy(self, routing: Routing, worker_id: str) -> bool | None:
        if routing.is_busy(worker_id):
            return True
        is_sure = self._clocks.monotonic() >= self.unsure_until and routing.knows_busy(worker_id)
        return False if is_sure else None

    def _view_of(self, worker_id: str, url: str) -> WorkerView | None:
        """What a registered worker says; some of the first generation say no address, which is then its provider's."""
        view = self._views.get(worker_id)
        return None if view is None else replace(view, url=view.url or url)

    def _note_change(self, before: WorkerView, view: WorkerView) -> None:
        """Keep what a person would want to know of a report."""
        known = self._registered.get(view.worker_id)
        if known is None:
            return
        now = self._clocks.monotonic()
        if view.restarts != before.restarts:
            self._note(known.row.endpoint, view.worker_id, "its process was started anew")
        if view.error != before.error:
            self._note(known.row.endpoint, view.worker_id, f"it is broken: {view.error}" if view.error else "mended")
        if view.is_ready(now) and not before.is_ready(now):
            took = f", loaded in {view.load_seconds:.0f} s" if view.load_seconds else ""
            self._note(known.row.endpoint, view.worker_id, f"ready: {view.max_perf:g} units a second{took}")
        if view.url != before.url and view.url not in ("", known.row.url):
            self._note(known.row.endpoint, view.worker_id, f"says another address than its provider: {view.url:.80}")

    def _note(self, endpoint: str, worker_id: str, words: str) -> None:
        self.journal.note(endpoint, Line(self._clocks.wall(), worker_id, words))

    def _forget_strangers(self, now: float) -> None:
        """Who spoke, was not registered, and has fallen silent."""
        for worker_id, view in list(self._views.items()):
            if worker_id not in self._registered and now - view.reported_at > STRANGER_SECONDS:
                del self._views[worker_id]


def _kept(view: WorkerView) -> tuple[object, ...]:
    """What a restart must know of a worker; loads and times are told anew."""
    return (view.generation, view.instance_id, view.url, view.is_loaded, view.max_perf, view.error, view.restarts)
