"""A SwarmUI master's backends: how they connect, idle, drain, and outlive the process.

Source: SwarmUI src/Backends/BackendHandler.cs, src/Backends/SwarmSwarmBackend.cs,
src/Backends/NetworkBackendUtils.cs `IdleMonitor`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock
from ebbflow.standins.swarmui.backend import BACKEND_TYPE, Backend, BackendSettings
from ebbflow.standins.swarmui.http import JsonObject
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.remote import Remote, RemoteFailure, SelfConnection

INIT_ATTEMPTS = 4
INIT_RETRY_SECONDS = 1.0
REMOTE_LOADING_SECONDS = 1.0
IDLE_POLL_SECONDS = 5.0
DRAIN_LOOK_SECONDS = 0.5


class BackendTable:
    """The entries of one life of the master's process; a restart makes a new table from the file.

    Args:
        path: the file that real entries are saved to.
        background: runs connecting and polling; its end is the end of this table.
    """

    def __init__(self, path: Path, *, clock: Clock, remote: Remote, background: Background) -> None:
        self.entries: dict[int, Backend] = {}
        self._path = path
        self._clock = clock
        self._remote = remote
        self._background = background
        self._next_id = 0
        self._next_child_id = -1
        self._is_edited = False

    def __iter__(self) -> Iterator[Backend]:
        """Iterate over the entries by id."""
        return iter([self.entries[key] for key in sorted(self.entries)])

    def add(self) -> Backend:
        """Add an empty entry and let it start."""
        entry = self.entries[self._next_id] = Backend(self._next_id)
        self._next_id += 1
        self._is_edited = True
        self._start(entry)
        return entry

    async def edit(self, entry: Backend, settings: Mapping[str, object], title: str, new_id: int) -> None:
        """Replace settings and title; shuts the entry and its children down first, then starts it anew."""
        await self._shut_down_cleanly(entry)
        entry.own_settings = entry.own_settings.merged(settings)
        entry.own_title = title
        entry.modcount += 1
        if new_id != entry.id:
            self.entries.pop(entry.id, None)
            entry.id = new_id
            self.entries[new_id] = entry
            self._next_id = max(self._next_id, new_id + 1)
        self._is_edited = True
        self._start(entry)

    async def toggle(self, entry: Backend, enabled: bool) -> None:
        """Enable or disable; `enabled` changes at once, the return waits while the entry or a child is full."""
        entry.enabled = enabled
        self._is_edited = True
        entry.is_shutting_down = True
        await self._wait_until_free(entry)
        if entry.state not in (BackendState.DISABLED, BackendState.ERRORED):
            await self._shut_down(entry)
        if enabled:
            self._start(entry)
        entry.is_shutting_down = False

    async def delete(self, backend_id: int) -> bool:
        """Take an entry out of the list at once, then wait while it is full; False if there was none."""
        entry = self.entries.pop(backend_id, None)
        if entry is None:
            return False
        self._is_edited = self._is_edited or entry.parent is None
        await self._shut_down_cleanly(entry)
        return True

    def load(self) -> None:
        """Take over the saved entries; the next id is the highest plus one, so ids of deleted ones come again."""
        if not self._path.exists():
            return
        for key, saved in json.loads(self._path.read_text()).items():
            entry = Backend(int(key), BackendSettings().merged(saved["settings"]))
            entry.own_title, entry.enabled = saved["title"], saved["enabled"]
            self.entries[entry.id] = entry
            self._next_id = max(self._next_id, entry.id + 1)
            self._start(entry)

    def save_edits(self) -> None:
        """Write the real entries if any was edited."""
        if not self._is_edited:
            return
        self._is_edited = False
        saved = {str(entry.id): _saved(entry) for entry in self if entry.parent is None}
        self._path.write_text(json.dumps(saved, indent=1))

    def _start(self, entry: Backend) -> None:
        entry.epoch += 1
        entry.state = BackendState.WAITING
        self._background.spawn(self._init(entry, entry.epoch))

    async def _init(self, entry: Backend, epoch: int) -> None:
        while entry.epoch == epoch:
            if not entry.enabled or not entry.settings.base_url:
                entry.state = BackendState.DISABLED
                return
            entry.init_attempts += 1
            try:
                await self._connect(entry, epoch)
            except RemoteFailure:
                if entry.epoch != epoch:
                    return
                if entry.init_attempts >= INIT_ATTEMPTS:
                    entry.state = BackendState.ERRORED
                    return
                entry.state = BackendState.WAITING
                await self._clock.sleep(INIT_RETRY_SECONDS)
            else:
                return

    async def _connect(self, entry: Backend, epoch: int) -> None:
        entry.state = BackendState.LOADING
        try:
            await self._remote.connect(entry)
            await self._revise(entry, epoch, with_models=True)
        except SelfConnection:
            raise
        except RemoteFailure:
            if not entry.settings.allow_idle:
                raise
            self._background.spawn(self._poll(entry, epoch))
            return
        self._background.spawn(self._finish_loading(entry, epoch))

    async def _finish_loading(self, entry: Backend, epoch: int) -> None:
        """Wait, without end, until the worker has no backend in `loading`."""
        try:
            while entry.is_remote_loading:
                await self._clock.sleep(REMOTE_LOADING_SECONDS)
                if entry.epoch != epoch:
                    return
                await self._revise(entry, epoch, with_models=True)
        except RemoteFailure:
            if entry.epoch != epoch:
                return
            if not entry.settings.allow_idle:
                entry.state = BackendState.ERRORED
                return
        else:
            if entry.epoch != epoch:
                return
            entry.state = BackendState.RUNNING
        if entry.settings.allow_idle:
            await self._poll(entry, epoch)

    async def _poll(self, entry: Backend, epoch: int) -> None:
        """Switch an AllowIdle entry and its children between `running` and `idle`."""
        while True:
            await self._clock.sleep(IDLE_POLL_SECONDS)
            if entry.epoch != epoch:
                return
            try:
                await self._revise(entry, epoch, with_models=not entry.models)
                state = BackendState.RUNNING
            except RemoteFailure:
                state = BackendState.IDLE
            if entry.epoch != epoch:
                return
            if entry.state is not state:
                entry.state = state
                for child in entry.children.values():
                    child.state = state

    async def _revise(self, entry: Backend, epoch: int, *, with_models: bool) -> None:
        """Bring the children in line with the worker's running backends."""
        listed = await self._remote.backends(entry)
        if with_models:
            entry.models = await self._remote.models(entry)
        if entry.epoch != epoch:
            return
        running = {int(str(backend["id"])): backend for backend in listed if backend["status"] == BackendState.RUNNING}
        entry.is_remote_loading = any(backend["status"] == BackendState.LOADING for backend in listed)
        for remote_id, backend in running.items():
            child = entry.children.get(remote_id) or self._add_child(entry, remote_id)
            child.own_title = str(backend["title"])
            child.max_usages = int(str(backend["max_usages"]))
            child.can_load_models = bool(backend["can_load_models"])
            model = backend.get("current_model")
            child.current_model = None if model is None else str(model)
        for remote_id in set(entry.children) - set(running):
            self._background.spawn(self._drop(entry.children.pop(remote_id)))

    def _add_child(self, entry: Backend, remote_id: int) -> Backend:
        child = Backend(self._next_child_id, parent=entry, remote_id=remote_id)
        self._next_child_id -= 1
        self.entries[child.id] = child
        entry.children[remote_id] = child
        child.epoch += 1
        self._background.spawn(self._init_child(child, child.epoch))
        return child

    async def _init_child(self, child: Backend, epoch: int) -> None:
        child.state = BackendState.LOADING
        try:
            await self._remote.connect(child)
            state = BackendState.RUNNING
        except RemoteFailure:
            state = BackendState.IDLE if child.settings.allow_idle else BackendState.ERRORED
        if child.epoch == epoch and child.state is BackendState.LOADING:
            child.state = state

    async def _drop(self, child: Backend) -> None:
        await self.delete(child.id)

    async def _shut_down_cleanly(self, entry: Backend) -> None:
        entry.is_shutting_down = True
        try:
            await self._wait_until_free(entry)
            await self._shut_down(entry)
        finally:
            entry.is_shutting_down = False

    async def _shut_down(self, entry: Backend) -> None:
        # One child after another: the second still takes work while the first is waited for.
        entry.epoch += 1
        for child in list(entry.children.values()):
            await self.delete(child.id)
        entry.children.clear()
        entry.state = BackendState.DISABLED

    async def _wait_until_free(self, entry: Backend) -> None:
        while entry.is_in_use:
            await self._clock.sleep(DRAIN_LOOK_SECONDS)


def _saved(entry: Backend) -> JsonObject:
    settings = entry.own_settings.saved()
    return {"type": BACKEND_TYPE, "title": entry.own_title, "enabled": entry.enabled, "settings": settings}
