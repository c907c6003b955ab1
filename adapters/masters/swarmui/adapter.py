"""A SwarmUI master: workers are pushed into it as backends, and kept alive by our calls.

Each worker of ours is one backend of type `swarmswarmbackend` whose title is `ebbflow/<fleet>/<home>/<worker id>`.
Source: SwarmUI src/WebAPI/BackendAPI.cs, src/WebAPI/AdminAPI.cs, src/Backends/SwarmSwarmBackend.cs.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import anyio
import httpx

from ebbflow.adapters.http import HttpClient
from ebbflow.adapters.masters.swarmui.answers import (
    Entry,
    Title,
    demand_of,
    members_of,
    own_title,
    ownerless,
)
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
from ebbflow.adapters.masters.swarmui.backends import SwarmUIBackends
from ebbflow.adapters.masters.swarmui.sessions import SessionStore
from ebbflow.adapters.masters.swarmui.settings import (
    SwarmUISettings,
    master_headers,
    secret_texts,
)
from ebbflow.adapters.masters.swarmui.workers import SwarmUIWorkers, activity_of, worker_address
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
    PushMemberList,
    Registration,
)
from ebbflow.core.text import without_user
from ebbflow.core.worker import Worker

logger = logging.getLogger(__name__)

NO_BACKEND = 2**31 - 1
"""An id that no backend ever has."""

PERMISSION_CHECKS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    # Also tells whether settings are locked. Of the routes that would, it is the one that can hit no backend.
    "add_remove_backends": ("AddNewBackend", {"type_id": "ebbflow-checks-whether-settings-are-locked"}),
    "view_backends_list": ("ListBackends", {}),
    "edit_backends": ("EditBackend", {"backend_id": NO_BACKEND, "title": "", "settings": {}}),
    "toggle_backends": ("ToggleBackend", {"backend_id": NO_BACKEND, "enabled": False}),
    "read_server_info_panels": ("ListConnectedUsers", {}),
}
"""What the master's account needs, and a call without effect that tells whether it has it."""


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
        self._fleet = check_fleet_name(fleet)
        self._home = check_home(home)
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
        self._others: set[str] = set()
        """Addresses that were seen in this turn to be another server's than the master's."""

    @property
    def caps(self) -> MasterCaps:
        """What SwarmUI can do."""
        return MasterCaps(
            drain=DrainWay.NATIVE,
            needs_keepalive_seconds=60.0 * self._settings.require_control_within_minutes,
            can_start_from_zero=self._settings.allow_start_from_zero,
            per_shape_demand=False,
            idle_source=IdleSource.WORKER,
            call_seconds=2 * self._settings.call_timeout_seconds,
            worker_networks=tuple(self._settings.worker_networks),
        )

    async def probe(self) -> Health:
        """Whether the master answers, lets us in, and lets us change backends."""
        try:
            with self._time_limit("probe"):
                session = await self._master.session()
                # A stored session's permissions may have changed, so what it lacks is asked for again.
                for permission in ("add_remove_backends", *session.lacks(PERMISSION_CHECKS)):
                    await self._check_permission(permission)
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

    async def members(self, worker_ids: Sequence[str] | None = None) -> PushMemberList:
        """Our entries, and what each worker says of itself."""
        try:
            with self._time_limit("members"):
                entries = await self._backends.listed()
                asked = self._only(entries, worker_ids)
                addresses = {entry.address for entry in asked if self._is_own(entry) and entry.address}
                busy = await self._workers.are_busy(addresses)
                listing = members_of(asked, fleet=self._fleet, home=self._home, busy=busy)
                return replace(listing, detail=self._hide(listing.detail))
        except FleetError as error:
            return PushMemberList(complete=False, detail=self._hide(str(error)))

    def join_spec(self, worker_id: str) -> JoinSpec:
        """The dead-man's switch; no address, since we push the worker's URL."""
        return JoinSpec(arguments=("--require_control_within", str(self._settings.require_control_within_minutes)))

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Make sure that the master has one entry with this worker's address and id, if the worker answers."""
        address = self._address_of(worker)
        try:
            readiness = await self._workers.readiness_of(address, connect_timeout_seconds)
            if not readiness.reached:
                return readiness
            with self._time_limit("register"):
                if address not in self._others and await self._master.is_same_as(self._workers.at(address)):
                    raise _is_the_master(worker)
                self._others.add(address)
                return await self._upsert(worker.worker_id, address) if readiness.registered else readiness
        except MasterRejected as error:
            raise RegistrationRejected(f"{worker.worker_id} at {address}: {error}") from error

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Disable the worker's entry, which is kept over restarts of the master; or enable it again when time is up."""
        with self._time_limit("drain"):
            entries = await self._backends.of(self._title(worker.worker_id))
            may_veto = not entries or (deadline_seconds <= 0 and not force)
            busy = await self._is_busy(worker, entries) if may_veto else False
            if busy and entries and entries[0].is_being_emptied:
                # Enabled now, it would make a child that the end of the drain forgets, and never be enabled again.
                return DrainAnswer.HELD
            if busy:
                # Only the oldest of duplicates comes back: together they would count double.
                for entry in entries[:1]:
                    await self._backends.toggle(entry, enabled=True)
                return DrainAnswer.BUSY
            if not entries:
                return DrainAnswer.SILENT if busy is None else DrainAnswer.GONE
            for entry in entries:
                await self._backends.toggle(entry, enabled=False)
            await self._delete_ownerless(worker)
            return DrainAnswer.ACCEPTED

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
            for entry in await self._backends.of(self._title(worker.worker_id)):
                await self._backends.delete(entry)
            await self._delete_ownerless(worker)
            address = worker_address(worker.url)
            if address and address != self._settings.address:
                await self._workers.at(address).forget()

    async def remove_unfinished(self, master_ref: str) -> None:
        """Delete an entry that has neither title nor address; it may have been filled in or reused meanwhile."""
        with self._time_limit("remove_unfinished"):
            for entry in await self._backends.listed():
                if str(entry.ref) == master_ref and entry.is_unfinished:
                    await self._backends.delete(entry)

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Take control of every worker whose URL is known. False where control was not given, whatever the reason."""
        addresses = {worker.worker_id: worker_address(worker.url) for worker in workers if worker.url is not None}
        with self._time_limit("keepalive"):
            taken = await self._workers.take_control(set(addresses.values()))
        return {worker_id: taken[address] is True for worker_id, address in addresses.items()}

    async def aclose(self) -> None:
        """Close connections, and let the store keep what changed of the sessions."""
        try:
            await self._http.aclose()
            await self._workers.aclose()
        finally:
            await self._sessions.aclose()

    async def _check_permission(self, permission: str) -> None:
        route, body = PERMISSION_CHECKS[permission]
        try:
            await self._master.call(route, body)
        except MasterRejected as error:
            # Permitted: all that is wrong is that there is no such backend or type.
            if "Invalid backend" not in str(error):
                raise
        except ConfigError as error:
            raise ConfigError(f"{error} (needed: {', '.join(PERMISSION_CHECKS)})") from error

    def _title(self, worker_id: str) -> Title:
        return Title(self._fleet, self._home, worker_id)

    def _is_own(self, entry: Entry) -> bool:
        return own_title(entry, fleet=self._fleet, home=self._home) is not None

    def _only(self, entries: Sequence[Entry], worker_ids: Sequence[str] | None) -> list[Entry]:
        if worker_ids is None:
            return list(entries)
        others = {str(self._title(worker_id)) for worker_id in worker_ids}
        return [entry for entry in entries if not self._is_own(entry) or entry.title in others]

    async def _delete_ownerless(self, worker: Worker) -> None:
        """Delete children of a worker that nobody watches: they take work on, and fail it once the worker is gone.

        An answer to the master's poll that comes after an entry was switched off or deleted puts its children back.
        """
        everybody = await self._backends.listed()
        left = ownerless(everybody, str(self._title(worker.worker_id)))
        if left and await self._is_busy(worker, left) is not True:
            for child in left:
                await self._backends.delete(child)

    async def _is_busy(self, worker: Worker, entries: Sequence[Entry]) -> bool | None:
        """What it says of itself at any of its addresses; None: not all of them answered, and none said busy."""
        addresses = {worker_address(worker.url), *(entry.address for entry in entries)} - {""}
        said = (await self._workers.are_busy(addresses)).values()
        return True if True in said else None if None in said else False

    async def _upsert(self, worker_id: str, address: str) -> Registration:
        entries = await self._backends.listed()
        title = self._title(worker_id)
        mine = [entry for entry in entries if not entry.is_child and entry.title == str(title)]
        if any(not entry.enabled for entry in mine):
            # Disabled is the durable mark of a drain, and only `drain` takes it back.
            return Registration(False, f"{worker_id} is being drained: its entry in the master is disabled")
        if obstacle := self._rival_at(address, entries, str(title)):
            return Registration(False, obstacle)
        if not mine or mine[0].address != address:
            ref = mine[0].ref if mine else await self._backends.place_for(title, entries)
            await self._backends.edit(ref, title, address)
        # Looked up again, because an overlapping run may have registered it at the same time.
        for duplicate in (await self._backends.of(title))[1:]:
            await self._backends.delete(duplicate)
        return Registration(True)

    def _rival_at(self, address: str, entries: Sequence[Entry], title: str) -> str:
        """Why another entry with the same address stands in the way; the same worker twice is double capacity."""
        for entry in entries:
            if entry.is_child or entry.address != address or entry.title == title:
                continue
            other = own_title(entry, fleet=self._fleet, home=self._home)
            if other is None:
                name = f"{entry.ref} ({entry.title or 'without title'})"
                raise RegistrationRejected(f"{address} is backend {name} of the master already, which is not ours")
            # Whether that worker is gone is the provider's word; the fleet then deregisters it, and we go on.
            return f"{address} is still registered for {other.worker_id}"
        return ""

    def _address_of(self, worker: Worker) -> str:
        address = worker_address(worker.url)
        if not address:
            raise RegistrationRejected(
                f"{worker.worker_id}: its URL {without_user(worker.url or '')!r} is no address such as http://host:7801"
            )
        if address == self._settings.address:
            raise _is_the_master(worker)
        return address

    @contextmanager
    def _time_limit(self, what: str) -> Iterator[None]:
        """End the whole method within `caps.call_seconds`: each call has its own limit, and there are several."""
        seconds = 0.95 * self.caps.call_seconds
        try:
            with anyio.fail_after(seconds):
                yield
        except FleetError as error:
            # What a server says may quote what it was sent.
            cleaned = self._hide.cleaned(error)
            raise cleaned from cleaned.__cause__
        except TimeoutError as error:
            raise MasterUnavailable(
                f"SwarmUI master {self._master.address}: {what} took longer than {seconds:g} s"
            ) from error


def _is_the_master(worker: Worker) -> RegistrationRejected:
    return RegistrationRejected(f"{worker.worker_id}: its URL {worker.url} is the master's own address")
