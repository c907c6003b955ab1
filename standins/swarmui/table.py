"""A SwarmUI master's backends: how they connect, idle, drain, and outlive the process.

Source: SwarmUI src/Backends/BackendHandler.cs, src/Backends/SwarmSwarmBackend.cs,
src/Backends/NetworkBackendUtils.cs `IdleMonitor`. Times are measured on SwarmUI 0.9.8.2.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock
from ebbflow.standins.swarmui.backend import BACKEND_TYPE, Backend, BackendSettings
from ebbflow.standins.swarmui.http import JsonObject
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.remote import HTTP_LIMIT_SECONDS, Remote, RemoteFailure

INIT_ATTEMPTS = 4
"""Of an entry without AllowIdle, the empty one of AddNewBackend among them."""
INIT_RETRY_SECONDS = 1.0
REMOTE_LOADING_SECONDS = 1.0
IDLE_POLL_SECONDS = 5.0
DRAIN_LOOK_SECONDS = 0.5
INIT_DELAY_SECONDS = 0.1
"""Between a start and its Init, on a master that found a file of backends when it was started."""
MAX_NEW_DELAY_SECONDS = 6.0
LINE_LOOK_SECONDS = 2.0
"""How often a look is taken at the entries that are started one after another."""
SAME_MOMENT_SECONDS = 0.2
"""Two starts whose questions to a worker overlap by more than this each make children of their own."""
POLLED = (BackendState.RUNNING, BackendState.IDLE)


class BackendTable:
    """The entries of one life of the master's process; a restart makes a new table from the file.

    Args:
        path: the file that real entries are saved to. A master that finds none is slow to start entries for its life.
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
        self._is_new = not path.exists()
        self._starts = 0
        self._line: deque[Backend] = deque()

    def __iter__(self) -> Iterator[Backend]:
        """Iterate over the entries by id."""
        return iter([self.entries[key] for key in sorted(self.entries)])

    def add(self) -> Backend:
        """Add an empty entry and let it start."""
        entry = self.entries[self._next_id] = Backend(self._next_id, can_load_models=self._starts > 0)
        self._next_id += 1
        self._is_edited = True
        self._start(entry)
        return entry

    def add_launched(self, url: str) -> Backend:
        """Add an entry that is not real, as an auto-scaling backend does for the address of a worker, and start it."""
        settings = BackendSettings(address=url)
        entry = self.entries[self._next_child_id] = Backend(self._next_child_id, settings)
        self._next_child_id -= 1
        entry.own_title = f"[AutoScaled] {url}"
        self._start(entry)
        return entry

    async def edit(self, entry: Backend, settings: Mapping[str, object], title: str, new_id: int) -> None:
        """Replace settings and title; shuts the entry and its children down first, then starts it anew.

        Raises:
            ValueError: a value cannot be read; the entry stays shut down, though it is enabled.
        """
        entry.is_shutting_down = True
        await self._shut_down(entry)
        entry.is_shutting_down = False
        entry.state = BackendState.DISABLED
        entry.own_settings = entry.own_settings.merged(settings)
        entry.own_title = title
        entry.modcount += 1
        if new_id != entry.id:
            self.entries.pop(entry.id, None)
            entry.id = new_id
            self.entries[new_id] = entry
        self._is_edited = True
        self._start(entry)

    async def toggle(self, entry: Backend, enabled: bool) -> None:
        """Enable or disable; `enabled` changes at once.

        Switching on returns at once, also while a switching off still waits for a child. That then forgets what was
        started meanwhile: the new child goes on without an owner.
        """
        entry.enabled = enabled
        self._is_edited = True
        if enabled:
            entry.state = BackendState.WAITING
            self._line.append(entry)
            return
        await self._wait_until_free(entry)
        await self._shut_down(entry)
        if entry.state is not BackendState.ERRORED:
            entry.state = BackendState.DISABLED

    async def delete(self, backend_id: int) -> bool:
        """Take an entry out of the list at once, then wait while it is full; False if there was none."""
        entry = self.entries.pop(backend_id, None)
        if entry is None:
            return False
        self._is_edited = self._is_edited or entry.parent is None
        await self._wait_until_free(entry)
        await self._shut_down(entry)
        entry.state = BackendState.DISABLED
        return True

    def load(self) -> None:
        """Take over the saved entries; the next id is the highest plus one, so ids of deleted ones come again."""
        self.begin(json.loads(self._path.read_text()) if self._path.exists() else {})

    def begin(self, found: Mapping[str, Any]) -> None:
        """Start the entries that a file holds, by id, and from now on what is switched on."""
        self._background.spawn(self._start_in_line())
        for key, saved in found.items():
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
        saved = {str(entry.id): _saved(entry) for entry in self if entry.is_real}
        self._path.write_text(json.dumps(saved, indent=1))

    def _start(self, entry: Backend) -> None:
        """Let an entry start beside all others. A start is not taken back: each edit's comes to its Init."""
        entry.state = BackendState.WAITING
        self._background.spawn(self._init_later(entry))

    async def _init_later(self, entry: Backend) -> None:
        await self._clock.sleep(self._delay_seconds())
        await self._init(entry)

    def _delay_seconds(self) -> float:
        """How long a start stays `waiting`; on a new master longer with every start so far."""
        self._starts += 1
        return min(1.0 + self._starts / 10, MAX_NEW_DELAY_SECONDS) if self._is_new else INIT_DELAY_SECONDS

    async def _start_in_line(self) -> None:
        """Start what was switched on or failed, one after another: a worker that is silent holds up the next."""
        while True:
            await self._clock.sleep(LINE_LOOK_SECONDS)
            while self._line:
                await self._init(self._line.popleft())

    async def _init(self, entry: Backend) -> None:
        """Try once to start an entry."""
        if self.entries.get(entry.id) is not entry or entry.state is BackendState.RUNNING:
            return
        if not entry.enabled:
            entry.state = BackendState.DISABLED
            return
        epoch = entry.epoch
        entry.init_attempts += 1
        entry.can_load_models = False
        if not entry.settings.base_url:
            entry.state = BackendState.DISABLED
            return
        try:
            await self._connect(entry, epoch)
        except RemoteFailure:
            if entry.epoch == epoch:
                await self._try_again_or_give_up(entry)

    async def _try_again_or_give_up(self, entry: Backend) -> None:
        if entry.init_attempts >= INIT_ATTEMPTS:
            entry.state = BackendState.ERRORED
            return
        entry.state = BackendState.WAITING
        await self._clock.sleep(INIT_RETRY_SECONDS)
        self._line.append(entry)

    async def _connect(self, entry: Backend, epoch: int) -> None:
        entry.state = BackendState.LOADING
        try:
            await self._remote.connect(entry)
            await self._revise(entry, with_models=True, is_start=True)
        except RemoteFailure:
            if not entry.settings.allow_idle:
                raise
            if entry.epoch == epoch:
                entry.state = BackendState.IDLE
                self._background.spawn(self._poll(entry))
            return
        self._background.spawn(self._finish_loading(entry, epoch))

    async def _finish_loading(self, entry: Backend, epoch: int) -> None:
        """Wait, without end, until the worker has no backend in `loading`."""
        state = BackendState.RUNNING
        try:
            while entry.is_remote_loading:
                await self._clock.sleep(REMOTE_LOADING_SECONDS)
                if not _is_loading(entry, epoch):
                    return
                await self._revise(entry, with_models=True)
        except RemoteFailure:
            state = BackendState.IDLE if entry.settings.allow_idle else BackendState.ERRORED
        if not _is_loading(entry, epoch):
            return
        entry.state = state
        if entry.settings.allow_idle:
            await self._poll(entry)

    async def _poll(self, entry: Backend) -> None:
        """Switch an AllowIdle entry and its children between `running` and `idle`.

        An answer that comes after the entry was switched off or deleted puts its children back all the same.
        """
        entry.polls += 1
        number = entry.polls
        while entry.polls == number:
            await self._clock.sleep(IDLE_POLL_SECONDS)
            if entry.polls != number or entry.state not in POLLED:
                continue
            try:
                await self._revise(entry, with_models=not entry.models, limit_seconds=HTTP_LIMIT_SECONDS)
                state = BackendState.RUNNING
            except RemoteFailure:
                state = BackendState.IDLE
            if entry.polls == number and entry.state in POLLED and entry.state is not state:
                entry.state = state
                for child in entry.children.values():
                    child.state = state

    async def _revise(
        self, entry: Backend, *, with_models: bool, is_start: bool = False, limit_seconds: float | None = None
    ) -> None:
        """Bring the children in line with the worker's running backends."""
        asked_at, known = self._clock.now(), dict(entry.children)
        listed = await self._remote.backends(entry, limit_seconds)
        if with_models:
            entry.models = await self._remote.models(entry, limit_seconds)
        if not is_start or self._clock.now() - asked_at < SAME_MOMENT_SECONDS:
            known = entry.children
        entry.is_remote_loading = any(backend["status"] == BackendState.LOADING for backend in listed)
        running = {int(str(backend["id"])): backend for backend in listed if _gives_child(entry, backend)}
        for remote_id, backend in running.items():
            child = known.get(remote_id) or self._add_child(entry, remote_id)
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
        entry.children.setdefault(remote_id, child)  # of two starts, the later one's child has no owner
        self._background.spawn(self._init_child(child, child.epoch))
        return child

    async def _init_child(self, child: Backend, epoch: int) -> None:
        await self._clock.sleep(self._delay_seconds())
        child.state = BackendState.LOADING
        try:
            await self._remote.connect(child)
            state = BackendState.RUNNING
        except RemoteFailure:
            state = BackendState.IDLE if child.settings.allow_idle else BackendState.ERRORED
        if _is_loading(child, epoch):
            child.state = state

    async def _drop(self, child: Backend) -> None:
        await self.delete(child.id)

    async def _shut_down(self, entry: Backend) -> None:
        # One child after another: the second still takes work while the first is waited for.
        entry.epoch += 1
        entry.polls += 1
        for remote_id, child in list(entry.children.items()):
            if entry.children.get(remote_id) is child:
                del entry.children[remote_id]
            await self.delete(child.id)
        entry.children.clear()

    async def _wait_until_free(self, entry: Backend) -> None:
        while entry.is_in_use:
            await self._clock.sleep(DRAIN_LOOK_SECONDS)


def _is_loading(entry: Backend, epoch: int) -> bool:
    """Whether the start of that epoch still goes on."""
    return entry.epoch == epoch and entry.state is BackendState.LOADING


def _gives_child(entry: Backend, listed: JsonObject) -> bool:
    if listed.get("status") != BackendState.RUNNING:
        # What else it says of itself is not read.
        return False
    return entry.settings.allow_forwarding or listed.get("type") != BACKEND_TYPE


def _saved(entry: Backend) -> JsonObject:
    settings = entry.own_settings.saved()
    return {"type": BACKEND_TYPE, "title": entry.own_title, "enabled": entry.enabled, "settings": settings}
