"""A SwarmUI master: workers are pushed into it as backends, and kept alive by our calls.

Each worker of ours is one backend of type `swarmswarmbackend` whose title is `ebbflow/<fleet>/<home>/<worker id>`.
Source: SwarmUI src/WebAPI/BackendAPI.cs, src/WebAPI/AdminAPI.cs, src/Backends/SwarmSwarmBackend.cs.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

import anyio
import httpx

from ebbflow.adapters.http import HttpClient
from ebbflow.adapters.masters.swarmui.answers import Entry, Listing, demand_of
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
from ebbflow.adapters.masters.swarmui.backends import SwarmUIBackends
from ebbflow.adapters.masters.swarmui.entries import SwarmUIEntries, is_fed_by_others
from ebbflow.adapters.masters.swarmui.membership import (
    addresses_of_the_gone,
    doubtful_addresses,
    members_of,
    owned_entries,
)
from ebbflow.adapters.masters.swarmui.permissions import check_permissions
from ebbflow.adapters.masters.swarmui.sessions import SessionStore
from ebbflow.adapters.masters.swarmui.settings import (
    SwarmUISettings,
    master_headers,
    secret_texts,
)
from ebbflow.adapters.masters.swarmui.waiting_room import SwarmUIRoom, with_risk
from ebbflow.adapters.masters.swarmui.workers import SwarmUIWorkers, activity_of, worker_address
from ebbflow.adapters.masters.time_limit import seconds_given, time_limit
from ebbflow.adapters.redaction import Redaction
from ebbflow.core.errors import ConfigError, FleetError, MasterRejected, MasterUnavailable, RegistrationRejected
from ebbflow.core.ids import check_fleet_name, check_home
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    DrainWay,
    Health,
    IdleSource,
    MasterCaps,
    MemberState,
    PushMemberList,
    Registration,
)
from ebbflow.core.text import without_user
from ebbflow.core.worker import Worker

logger = logging.getLogger(__name__)

GATE = "EBBFLOW_GATE"
"""In a worker's environment: the address of one more backend for it to list, which loads until its child runs."""


class SwarmUIAdapter:
    """The ports `PushMaster` and `KeepsAlive` for SwarmUI.

    Args:
        settings: where and how.
        fleet: whose workers it manages.
        home: of which installation.
        sessions: keeps API sessions, the master's and the workers', from run to run; closed with the adapter.
        transport: replaces the network in tests.
        sleep: waits between two looks at an entry that is starting.
    """

    def __init__(
        self,
        settings: SwarmUISettings,
        *,
        fleet: str,
        home: str,
        sessions: SessionStore,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._hide = Redaction(settings)
        self._http = HttpClient(transport=transport)
        self._master = SwarmUIServer(
            self._http,
            settings.address,
            role="master",
            headers=master_headers(settings),
            secrets=secret_texts(settings),
            sessions=sessions,
            timeout_seconds=settings.call_timeout_seconds,
        )
        self._backends = SwarmUIBackends(settings, self._master, sleep=sleep)
        self._workers = SwarmUIWorkers(settings, sessions, transport)
        self._entries = SwarmUIEntries(
            check_fleet_name(fleet),
            check_home(home),
            master=self._master,
            backends=self._backends,
            workers=self._workers,
            start_seconds=0.6 * self.caps.call_seconds,
            sleep=sleep,
        )
        self._room = self._room_of(fleet, home, sleep)
        self._others: set[str] = set()
        """Addresses that were seen in this turn to be another server's than the master's."""

    @property
    def caps(self) -> MasterCaps:
        """What SwarmUI can do."""
        return MasterCaps(
            drain=DrainWay.NATIVE,
            needs_keepalive_seconds=60.0 * self._settings.require_control_within_minutes,
            can_start_from_zero=self._settings.allow_start_from_zero or self._settings.waiting_room is not None,
            # When its last running child goes, every waiting request fails within three seconds.
            queues_without_workers=False,
            counts_others=self._settings.other_workers == "count",
            per_shape_demand=False,
            idle_source=IdleSource.WORKER,
            call_seconds=2 * self._settings.call_timeout_seconds,
            worker_networks=tuple(self._settings.worker_networks),
            takes_polls=True,
        )

    async def probe(self) -> Health:
        """Whether the master answers, lets us in, and lets us change backends."""
        try:
            with self._time_limit("probe"):
                await check_permissions(self._master)
                return Health(reachable=True, version=(await self._master.session()).version)
        except (MasterUnavailable, MasterRejected) as error:
            return Health(reachable=False, detail=self._hide(str(error)))

    async def demand(self) -> Demand:
        """Images that wait and images that run, over all users."""
        try:
            with self._time_limit("demand"):
                return demand_of(await activity_of(self._master))
        except FleetError as error:
            return Demand(complete=False, detail=self._hide(str(error)))

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        """Our entries, and what each worker says of itself."""
        try:
            with self._time_limit("members", seconds_given(self.caps.call_seconds)):
                self._entries.know(known)
                listing = self._as_ours(await self._backends.listing(), known)
                left = await self._workers.words_of(addresses_of_the_gone(listing.entries, known))
                silent = {address for address, word in left.items() if word.is_silent}
                ownership = self._entries.ownership(silent=silent)
                ours = owned_entries(listing.entries, ownership, worker_ids)
                addresses = {entry.address for _, entry in ours if entry.address}
                words = await self._workers.words_of(addresses - left.keys()) | left
                doubtful = addresses & doubtful_addresses(listing.entries, ownership)
                names = await self._workers.backends_of(doubtful)
                # A look at some alone is a look for them.
                room = await self._room.look(listing) if self._room is not None and worker_ids is None else None
                found = members_of(listing, ownership, words, own_backends=names, worker_ids=worker_ids, room=room)
                return replace(found, detail=self._hide(found.detail))
        except FleetError as error:
            return PushMemberList(complete=False, detail=self._hide(str(error)))

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        """The dead-man's switch, and the gate where there is a room; no address, since we push the worker's URL."""
        gate = {} if self._room is None else {GATE: self._room.gate_of(worker_id)}
        minutes = str(self._settings.require_control_within_minutes)
        return JoinSpec(environment=gate, arguments=("--require_control_within", minutes))

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Make sure that the master has one entry with this worker's address and id, if the worker answers."""
        address = self._address_of(worker)
        try:
            readiness = await self._workers.readiness_of(address, connect_timeout_seconds)
            if not readiness.registration.reached:
                return readiness.registration
            with self._time_limit("register"):
                if address not in self._others and await self._master.is_same_as(self._workers.at(address)):
                    raise _is_the_master(worker)
                self._others.add(address)
                if not readiness.registration.registered:
                    return readiness.registration
                answer = await self._entries.upsert(worker, address)
                return answer if self._room is None else with_risk(answer, readiness)
        except MasterRejected as error:
            raise RegistrationRejected(f"{worker.worker_id} at {address}: {error}") from error

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Disable the worker's entry, which is kept over restarts of the master; or enable it again when time is up."""
        with self._time_limit("drain"):
            listed = (await self._backends.listing()).entries
            ownership = self._entries.ownership(worker)
            entries = ownership.entries_of(worker.worker_id, listed)
            if worker.member is MemberState.DRAINING and entries and all(entry.enabled for entry in entries):
                # Seen switched off in this turn, and on now: somebody else's act, not undone for an old reason.
                return DrainAnswer.REOPENED
            may_veto = not entries or (deadline_seconds <= 0 and not force)
            busy = await self._entries.is_busy(worker, entries) if may_veto else False
            if busy and entries and entries[0].is_being_emptied:
                # Enabled now, it would make a child that the end of the drain forgets, and never be enabled again.
                return DrainAnswer.HELD
            if busy:
                # Only the oldest of duplicates comes back: together they would count double.
                for entry in entries[:1]:
                    await self._backends.toggle(entry, enabled=True)
                return DrainAnswer.BUSY
            if not entries and worker.registered and is_fed_by_others(worker_address(worker.url), listed, ownership):
                return DrainAnswer.FED
            if not entries:
                return DrainAnswer.SILENT if busy is None else DrainAnswer.GONE
            mark = worker.mark
            await self._switch_off(entries, may_lose=force or (mark is not None and (mark.urgent or mark.for_good)))
            await self._entries.delete_ownerless(worker)
            return DrainAnswer.ACCEPTED

    async def open_room(self, features: Sequence[str] = ()) -> None:
        """Let requests wait that find nobody."""
        with self._time_limit("open_room"):
            await self._opened_room().open(features)

    async def close_room(self) -> None:
        """Let them fail again: somebody serves, for whom they wait."""
        with self._time_limit("close_room"):
            await self._opened_room().close()

    async def remove_room(self) -> None:
        """Take the waiting room out of the master."""
        with self._time_limit("remove_room"):
            await self._opened_room().remove()

    async def open_gate(self, worker_id: str) -> None:
        """Let a worker's gate open: its child runs, or there is no such worker any more."""
        with self._time_limit("open_gate"):
            await self._opened_room().open_gate(worker_id)

    async def shut_down(self, worker: Worker) -> None:
        """Ask the worker's SwarmUI to end, if it is sure that it is not the master's."""
        try:
            with self._time_limit("shut_down"):
                server = self._workers.at(self._address_of(worker))
                await server.call("ListBackends")
                if not await self._master.is_same_as(server):
                    await server.call("ShutdownServer")
        except FleetError as error:
            logger.debug("%s was not shut down: %s", worker.worker_id, error)

    async def deregister(self, worker: Worker) -> None:
        """Delete every entry with this worker's id."""
        with self._time_limit("deregister"):
            address = worker_address(worker.url)
            is_silent = bool(address) and (await self._workers.words_of({address}))[address].is_silent
            silent = {address} if is_silent else set()
            for entry in await self._entries.of(worker, silent=silent):
                await self._backends.delete(entry)
            await self._entries.delete_ownerless(worker, silent=silent)
            if address and address != self._settings.address:
                await self._workers.at(address).forget()

    async def mend(self, worker: Worker) -> Registration:
        """Put the worker's entry right, if something is wrong with it and the worker has no work."""
        with self._time_limit("mend"):
            return await self._entries.mend(worker, frees_room=self._room is not None)

    async def remove_unfinished(self, master_ref: str) -> None:
        """Delete an entry that has neither title nor address; it may have been filled in or reused meanwhile."""
        with self._time_limit("remove_unfinished"):
            for entry in (await self._backends.listing()).entries:
                if str(entry.ref) == master_ref and entry.is_unfinished:
                    await self._backends.delete(entry)

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Take control of every worker whose URL is known, the longest unasked first.

        False where control was not given, whatever the reason; whom this run had no time for, the next begins with.
        """
        addresses = {worker.worker_id: worker_address(worker.url) for worker in workers if worker.url is not None}
        with self._time_limit("keepalive", seconds_given(self.caps.call_seconds)):
            taken = await self._workers.take_control(set(addresses.values()))
        return {worker_id: taken[address] is True for worker_id, address in addresses.items()}

    async def aclose(self) -> None:
        """Close connections, and let the store keep what changed of the sessions."""
        try:
            await self._http.aclose()
            await self._workers.aclose()
        finally:
            await self._sessions.aclose()

    def _as_ours(self, listing: Listing, known: Sequence[Worker]) -> Listing:
        """The listing, where others make the entries of our workers with the titles that ours would have."""
        return listing

    def _room_of(self, fleet: str, home: str, sleep: Callable[[float], Awaitable[None]]) -> SwarmUIRoom | None:
        address = self._settings.waiting_room
        if address is None:
            return None
        return SwarmUIRoom(address, fleet, home, backends=self._backends, http=self._http, sleep=sleep)

    def _opened_room(self) -> SwarmUIRoom:
        if self._room is None:
            raise ConfigError("waiting_room: the master's block names none; set it to the address of one")
        return self._room

    async def _switch_off(self, entries: Sequence[Entry], *, may_lose: bool) -> None:
        """Take entries out of service, the last that serve not before requests can wait for the next."""
        if self._room is None:
            for entry in entries:
                await self._backends.toggle(entry, enabled=False)
            return
        # Two that leave at once would each see the other serve.
        async with self._room.lock:
            try:
                await self._room.hold_if_last(entries, await self._backends.listing())
            except MasterUnavailable:
                if not may_lose:
                    raise
            for entry in entries:
                await self._backends.toggle(entry, enabled=False)
            # Another fleet of the same master may have taken its last one out at the same moment.
            with suppress(MasterUnavailable):
                await self._room.hold_if_nobody(await self._backends.listing())

    def _address_of(self, worker: Worker) -> str:
        address = worker_address(worker.url)
        if not address:
            raise RegistrationRejected(
                f"{worker.worker_id}: its URL {without_user(worker.url or '')!r} is no address such as http://host:7801"
            )
        if address == self._settings.address:
            raise _is_the_master(worker)
        return address

    def _time_limit(self, what: str, seconds: float | None = None) -> AbstractContextManager[None]:
        name = f"SwarmUI master {self._master.address}: {what}"
        return time_limit(seconds or self.caps.call_seconds, name, self._hide)


def _is_the_master(worker: Worker) -> RegistrationRejected:
    return RegistrationRejected(f"{worker.worker_id}: its URL {worker.url} is the master's own address")
