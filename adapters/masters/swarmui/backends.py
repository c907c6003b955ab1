"""The list of backends of a SwarmUI master, as we read it and change it: each change one call, looked after.

Source: SwarmUI src/WebAPI/BackendAPI.cs; times measured on 0.9.8.2.
"""

from collections.abc import Awaitable, Callable, Sequence

from ebbflow.adapters.masters.swarmui.answers import BACKEND_TYPE, Entry, Title, parse_entries
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
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

    async def listed(self) -> tuple[Entry, ...]:
        """All of them, children too."""
        return parse_entries(await self._master.call("ListBackends", {"nonreal": True, "full_data": True}, repeats=1))

    async def of(self, title: Title) -> list[Entry]:
        """Those that carry a title, the oldest first; a second one is a duplicate."""
        return [entry for entry in await self.listed() if not entry.is_child and entry.title == str(title)]

    async def place_for(self, title: Title, entries: Sequence[Entry]) -> int:
        """An empty entry for one worker: the one that an earlier attempt of this object added, or a new one.

        Empty entries of earlier runs are not used: a person may be filling one in just now.
        """
        earlier = self._added.pop(str(title), None)
        if earlier is not None and any(entry.ref == earlier and entry.is_unfinished for entry in entries):
            self._added[str(title)] = earlier
            await self._started(earlier)
            return earlier
        added = await self._master.call("AddNewBackend", {"type_id": BACKEND_TYPE})
        (entry,) = parse_entries({"": added}) or (None,)
        if entry is None:
            raise MasterUnavailable(f"SwarmUI master {self._master.address}: AddNewBackend gave another type")
        self._added[str(title)] = entry.ref
        await self._started(entry.ref)
        return entry.ref

    async def _started(self, ref: int) -> None:
        """Wait until a new entry's empty start is over; an edit before that runs beside it, and makes two children.

        It takes 0.1 s, and up to 6 s on a master that was first started without any backends.
        """
        pause = FIRST_PAUSE_SECONDS
        while any(entry.ref == ref and entry.is_waiting for entry in await self.listed()):
            await self._sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def edit(self, ref: int, title: Title, address: str) -> None:
        """Give an entry a worker's title, its address and every setting."""
        settings = backend_settings(self._settings, address)
        await self._master.call("EditBackend", {"backend_id": ref, "title": str(title), "settings": settings})
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
        same = (found for found in await self.listed() if (found.ref, found.title) == (entry.ref, entry.title))
        return next(same, None)

    @property
    def _blocking_seconds(self) -> float:
        return min(BLOCKING_SECONDS, self._settings.call_timeout_seconds)
