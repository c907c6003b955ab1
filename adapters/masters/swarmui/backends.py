"""The list of backends of a SwarmUI master, as we read it and change it: each change one call, looked after.

Source: SwarmUI src/WebAPI/BackendAPI.cs; times measured on 0.9.8.2.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from ebbflow.adapters.masters.swarmui.answers import BACKEND_TYPE, Entry, Listing, only_remote, parse_listing
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
from ebbflow.adapters.masters.swarmui.ownership import RoomTitle, Title
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings, backend_settings
from ebbflow.core.errors import MasterRejected, MasterUnavailable

BLOCKING_SECONDS = 2.0
"""Toggle and Delete may answer only when a generation ends; after this long we look for their effect instead."""

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 1.0
"""Between two looks at an entry that is starting."""


class SwarmUIBackends:
    """The master's entries, ours among them.

    Args:
        settings: what each entry of ours is given.
        master: whose list it is.
        sleep: waits between two looks at an entry that is starting.
    """

    def __init__(
        self, settings: SwarmUISettings, master: SwarmUIServer, *, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._master = master
        self._sleep = sleep
        self._added: dict[str, int] = {}
        """Entries that this object added and could not give their title, by title."""

    async def listing(self) -> Listing:
        """All of them, children too."""
        return parse_listing(await self._master.call("ListBackends", {"nonreal": True, "full_data": True}, repeats=1))

    async def missing_models(self) -> tuple[str, ...]:
        """Names of models that only workers have: a request for one is refused while none serves.

        Source: SwarmUI src/WebAPI/ModelsAPI.cs `ListModels`; `local` is false of what a worker alone has.
        """
        return only_remote(await self._master.call("ListModels", {"path": "", "depth": 20}, repeats=1))

    async def place_for(self, title: Title | RoomTitle, entries: Sequence[Entry], *, begun: int | None = None) -> int:
        """An empty entry for one worker: one that was added for it before, or a new one.

        Other empty entries are not used: a person may be filling one in just now.

        Args:
            title: the worker's.
            entries: those that there are.
            begun: the one that an earlier turn added, where the record knows it.
        """
        earlier = self._added.pop(str(title), begun)
        if earlier is None or not any(entry.ref == earlier and entry.is_unfinished for entry in entries):
            added = await self._master.call("AddNewBackend", {"type_id": BACKEND_TYPE})
            (entry,) = parse_listing({"": added}).entries or (None,)
            if entry is None:
                raise MasterUnavailable(f"SwarmUI master {self._master.address}: AddNewBackend gave another type")
            earlier = entry.ref
        self._added[str(title)] = earlier
        return earlier

    async def started(self, ref: int, seconds: float) -> float:
        """Wait until a new entry's empty start is over; an edit before that runs beside it, and makes two children.

        It takes 0.1 s, and up to 6 s on a master that was first started without any backends.

        Returns:
            How long it was waited for; more than `seconds` where it has not begun by then.
        """
        pause, waited = FIRST_PAUSE_SECONDS, 0.0
        while any(entry.ref == ref and entry.is_waiting for entry in (await self.listing()).entries):
            if waited > seconds:
                return waited
            await self._sleep(pause)
            waited += pause
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        return min(waited, seconds)

    async def edit(
        self, ref: int, title: Title | RoomTitle, address: str, *, settings: Mapping[str, object] | None = None
    ) -> None:
        """Give an entry its title, its address and every setting; without `settings`, those of a worker."""
        given = backend_settings(self._settings, address) if settings is None else settings
        await self._master.call("EditBackend", {"backend_id": ref, "title": str(title), "settings": given})
        self._added.pop(str(title), None)

    async def toggle(self, entry: Entry, *, enabled: bool) -> None:
        """Enable or disable one; `enabled` changes at once, though the answer may wait for a generation."""
        if entry.enabled is enabled:
            return
        body = {"backend_id": entry.ref, "enabled": enabled}
        try:
            await self._master.call("ToggleBackend", body, timeout_seconds=self._blocking_seconds)
        except (MasterUnavailable, MasterRejected):
            now = await self._again(entry)
            if now is not None and now.enabled is not enabled:
                raise

    async def delete(self, entry: Entry) -> None:
        """Delete one, a child by its own id too; absent is success."""
        body = {"backend_id": entry.ref}
        try:
            await self._master.call("DeleteBackend", body, timeout_seconds=self._blocking_seconds)
        except MasterUnavailable:
            if await self._again(entry) is not None:
                raise

    async def _again(self, entry: Entry) -> Entry | None:
        """The same entry, looked up once more."""
        entries = (await self.listing()).entries
        return next((found for found in entries if (found.ref, found.title) == (entry.ref, entry.title)), None)

    @property
    def _blocking_seconds(self) -> float:
        return min(BLOCKING_SECONDS, self._settings.call_timeout_seconds)
