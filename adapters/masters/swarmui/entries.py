"""The entries of one fleet in a SwarmUI master: made, put right, and let go. Each step may be the last of a run.

Source: SwarmUI src/Backends/BackendHandler.cs; what goes wrong with its entries is measured on 0.9.8.2.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from ebbflow.adapters.masters.swarmui.answers import Entry
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
from ebbflow.adapters.masters.swarmui.backends import SwarmUIBackends
from ebbflow.adapters.masters.swarmui.membership import disorder_of
from ebbflow.adapters.masters.swarmui.ownership import Ownership
from ebbflow.adapters.masters.swarmui.workers import SwarmUIWorkers, worker_address
from ebbflow.core.errors import RegistrationRejected
from ebbflow.core.member import Registration
from ebbflow.core.worker import Worker

SLOW_SECONDS = 1.0
"""A master that leaves an empty entry waiting for longer was started without any backends."""
SLOW = (
    "this SwarmUI master takes {seconds:.0f} s to begin with an entry, because it was first started without any "
    "backends: restart it once, and it takes 0.1 s"
)
LOOK_SECONDS = 0.2
"""Between two looks at an entry that is being switched off."""
OFF_SECONDS = 2.0
"""For the entry of a worker without work to be off."""


class SwarmUIEntries:
    """What the fleet changes in the master's list.

    Args:
        fleet: whose entries.
        home: of which installation.
        master: whose list it is.
        backends: that list.
        workers: who they are connected to.
        start_seconds: how long a new entry is waited for in one attempt to register.
        sleep: waits between two looks.
    """

    def __init__(
        self,
        fleet: str,
        home: str,
        *,
        master: SwarmUIServer,
        backends: SwarmUIBackends,
        workers: SwarmUIWorkers,
        start_seconds: float,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._fleet = fleet
        self._home = home
        self._master = master
        self._backends = backends
        self._workers = workers
        self._known: dict[str, Worker] = {}
        self._start_seconds = start_seconds
        self._sleep = sleep

    def know(self, workers: Sequence[Worker]) -> None:
        """Remember whom the record knows: of two that had one address, an action on one must know the other."""
        self._known |= {worker.worker_id: worker for worker in workers}

    def ownership(self, worker: Worker | None = None, *, silent: Collection[str] = ()) -> Ownership:
        """Tells this fleet's entries from others, with what the record knows of its workers.

        Args:
            worker: one of them, as it is known now.
            silent: addresses at which nobody answers.
        """
        known = self._known | ({worker.worker_id: worker} if worker is not None else {})
        return Ownership(self._fleet, self._home, known.values(), silent=silent)

    async def of(self, worker: Worker, *, silent: Collection[str] = ()) -> list[Entry]:
        """A worker's entries now: those with our title first, the oldest before others."""
        entries = (await self._backends.listing()).entries
        return self.ownership(worker, silent=silent).entries_of(worker.worker_id, entries)

    async def upsert(self, worker: Worker, address: str) -> Registration:
        """Make sure that the master has one entry with this worker's address and id.

        Raises:
            RegistrationRejected: somebody else's has that address.
            MasterUnavailable: temporary.
        """
        entries = (await self._backends.listing()).entries
        ownership = self.ownership(worker)
        mine = ownership.entries_of(worker.worker_id, entries)
        if any(not entry.enabled for entry in mine):
            # Disabled is the durable mark of a drain, and only `drain` takes it back.
            return Registration(False, f"{worker.worker_id} is being drained: its entry in the master is disabled")
        if obstacle := _rival_at(address, entries, mine, ownership):
            return Registration(False, obstacle)
        if not mine or mine[0].address != address:
            filled = await self._fill_in(worker, address, mine, entries)
            if not filled.registered:
                return filled
        else:
            filled = Registration(True)
        # Looked up again, because an overlapping run may have registered it at the same time.
        for duplicate in (await self.of(worker))[1:]:
            # One with another title is somebody's own, at an address that is ours: shown, and not deleted.
            if not ownership.is_renamed(duplicate):
                await self._backends.delete(duplicate)
        return filled

    async def mend(self, worker: Worker, *, frees_room: bool = False) -> Registration:
        """Switch an entry off and on that has lost its children or has too many, and delete those that stay behind.

        A crash between the two leaves it switched off, which takes it out of service as a person's switch does.

        Args:
            worker: whose entry it is.
            frees_room: whether one that runs without any backend is switched off: beside it nothing waits in a room.
        """
        entries = (await self._backends.listing()).entries
        mine = [entry for entry in self.ownership(worker).entries_of(worker.worker_id, entries) if entry.enabled]
        if len(mine) != 1:
            return Registration(not mine, f"{len(mine)} entries are switched on")
        (entry,) = mine
        names = await self._workers.backends_of({entry.address})
        if not disorder_of(entry, entries, names):
            return Registration(True)
        if not names.get(entry.address):
            if frees_room and entry.status == "running":
                await self._backends.toggle(entry, enabled=False)
            return Registration(False, "no backend of it runs")
        if await self.is_busy(worker, mine) is not False:
            return Registration(False, "it works, or does not say")
        await self._backends.toggle(entry, enabled=False)
        off = await self._once_off(entry)
        if off is None:
            return Registration(False, "its entry is still being switched off")
        await self.delete_ownerless(worker)
        await self._backends.toggle(off, enabled=True)
        return Registration(True)

    async def delete_ownerless(self, worker: Worker, *, silent: Collection[str] = ()) -> None:
        """Delete children of a worker that nobody watches: they take work on, and fail it once the worker is gone.

        An answer to the master's poll that comes after an entry was switched off or deleted puts its children back.
        """
        entries = (await self._backends.listing()).entries
        left = self.ownership(worker, silent=silent).ownerless(worker.worker_id, entries)
        if left and await self.is_busy(worker, left) is not True:
            for child in left:
                await self._backends.delete(child)

    async def is_busy(self, worker: Worker, entries: Sequence[Entry]) -> bool | None:
        """What it says of itself at any of its addresses; None: not all of them answered, and none said busy."""
        addresses = {worker_address(worker.url), *(entry.address for entry in entries)} - {""}
        said = [word.busy for word in (await self._workers.words_of(addresses)).values()]
        return True if True in said else None if None in said else False

    async def _fill_in(
        self, worker: Worker, address: str, mine: Sequence[Entry], entries: Sequence[Entry]
    ) -> Registration:
        title, waited = self.ownership().title(worker.worker_id), 0.0
        if mine:
            ref = mine[0].ref
        else:
            ref = await self._backends.place_for(title, entries, begun=await self._begun(worker))
            waited = await self._backends.started(ref, self._start_seconds)
        warning = SLOW.format(seconds=waited) if waited > min(SLOW_SECONDS, self._start_seconds) else ""
        if waited > self._start_seconds:
            word = f"{await self._server_id()}:{ref}"
            return Registration(False, f"the master has not begun with its entry {ref}", begun=word, warning=warning)
        await self._backends.edit(ref, title, address)
        return Registration(True, warning=warning)

    async def _begun(self, worker: Worker) -> int | None:
        """The entry that an earlier turn added for this worker, if the master's process is the same: ids come again."""
        server_id, _, ref = worker.begun.rpartition(":")
        if not server_id or not ref.isdecimal() or server_id != await self._server_id():
            return None
        return int(ref)

    async def _server_id(self) -> str:
        """Of the process that answers now; our session outlives it, and may hold an earlier one's."""
        return (await self._master.renew(await self._master.session())).server_id

    async def _once_off(self, entry: Entry) -> Entry | None:
        """The entry when it is off; None: it takes longer than one without work should."""
        waited = 0.0
        while True:
            now = next((each for each in (await self._backends.listing()).entries if each.ref == entry.ref), None)
            if now is None or now.enabled or now.title != entry.title:
                return None
            if now.status == "disabled":
                return now
            if waited >= OFF_SECONDS:
                return None
            await self._sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS


def _rival_at(address: str, entries: Sequence[Entry], mine: Sequence[Entry], ownership: Ownership) -> str:
    """Why another entry with the same address stands in the way; the same worker twice is double capacity.

    Raises:
        RegistrationRejected: it is somebody else's.
    """
    for entry in entries:
        if entry.is_child or entry.address != address or entry in mine:
            continue
        other = ownership.owner(entry)
        if other is None:
            name = f"{entry.ref} ({entry.title[:80] or 'without title'})"
            raise RegistrationRejected(f"{address} is backend {name} of the master already, which is not ours")
        # Whether that worker is gone is the provider's word; the fleet then deregisters it, and we go on.
        return f"{address} is still registered for {other}"
    return ""


def is_fed_by_others(address: str, entries: Sequence[Entry], ownership: Ownership) -> bool:
    """Whether a master gives work to an address through an entry that is none of this fleet's."""
    return any(
        entry.enabled and entry.address == address and entry.status in ("running", "loading")
        for entry in entries
        if not entry.is_child and ownership.owner(entry) is None
    )
