"""SwarmUI's own auto-scaling backend, by its rules as they are measured: what a start script of ours has to live with.

Source: SwarmUI src/Backends/AutoScalingBackend.cs; SwarmUI 0.9.8.2.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock
from ebbflow.standins.swarmui.backend import Backend
from ebbflow.standins.swarmui.http import JsonObject
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.remote import Remote, RemoteFailure
from ebbflow.standins.swarmui.table import BackendTable

TYPE = "autoscalingbackend"
ID = 900
"""Of its entry; the others are counted from 0."""
PING_SECONDS = 1.0
OPEN, CLOSE = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"
MOST_LINE = 1 << 24


@dataclass(frozen=True, slots=True)
class ScalingSettings:
    """Its settings, with SwarmUI's defaults, in seconds."""

    script: Path
    min_backends: int = 0
    max_backends: int = 5
    min_queued: int = 10
    min_idle_seconds: float = 600.0
    seconds_between_starts: float = 60.0
    seconds_between_stops: float = 60.0
    seconds_after_failure: float = 120.0


class AutoScaling:
    """One, for one life of its master's process.

    Args:
        settings: its numbers and its start script.
        table: gets an entry for each address that a script prints.
        remote: pings, and asks to end.
        background: runs what it does; its end is the end of this.
    """

    def __init__(
        self, settings: ScalingSettings, *, clock: Clock, table: BackendTable, remote: Remote, background: Background
    ) -> None:
        self.state = BackendState.LOADING
        self._settings = settings
        self._clock = clock
        self._table = table
        self._remote = remote
        self._background = background
        self._controlled: dict[int, float] = {}
        """When each of its entries was made: its idle time counts from there, whatever it does."""
        self._launching = 0
        self._next_start_at = self._next_stop_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it takes part in anything any more."""
        return self.state is not BackendState.DISABLED

    def to_json(self) -> JsonObject:
        """Return its entry as ListBackends shows it."""
        return {
            "type": TYPE,
            "status": str(self.state),
            "id": ID,
            "settings": {},
            "modcount": 1,
            "features": [],
            "enabled": self.is_on,
            "title": "Auto Scaling Backend",
            "max_usages": 1,
            "seconds_since_used": 0,
            "time_since_used": "Never",
            "can_load_models": False,
        }

    async def run(self) -> None:
        """Fill up to the minimum, one after another and without a ping, then watch."""
        while self.is_on and len(self._controlled) < self._settings.min_backends:
            self._begin_launch()
            if not await self._launch():
                await self._clock.sleep(self._settings.seconds_between_starts)
        if self.is_on:
            self.state = BackendState.RUNNING
        while self.is_on:
            await self._clock.sleep(PING_SECONDS)
            await asyncio.gather(*(self._ping(entry) for entry in self._entries()))
            await self._stop_one()

    def wants_more(self, waiting: int, done: Callable[[], None]) -> bool:
        """Whether a request that finds nobody starts a launch; `done` is called when that has ended, either way."""
        most, now = self._settings.max_backends, self._clock.now()
        is_due = waiting >= self._settings.min_queued and now >= self._next_start_at
        if self.state is not BackendState.RUNNING or not is_due or len(self._controlled) + self._launching >= most:
            return False
        # At once: the next request of the same look must see it.
        self._begin_launch()
        self._background.spawn(self._launch_for(done))
        return True

    async def close(self) -> None:
        """End all of its workers, and leave a script that still runs to itself: its address is taken all the same."""
        self.state = BackendState.DISABLED
        for entry in self._entries():
            await self._end(entry)

    def _entries(self) -> list[Backend]:
        found = (self._table.entries.get(number) for number in self._controlled)
        return [entry for entry in found if entry is not None]

    async def _launch_for(self, done: Callable[[], None]) -> None:
        try:
            await self._launch()
        finally:
            done()

    def _begin_launch(self) -> None:
        self._launching += 1
        self._next_start_at = self._clock.now() + self._settings.seconds_between_starts

    async def _launch(self) -> bool:
        try:
            url = await self._url_of_a_script()
        finally:
            self._launching -= 1
        if url is None:
            return False
        self._next_start_at = self._clock.now() + self._settings.seconds_between_starts
        entry = self._table.add_launched(url)
        if self.is_on:
            # After its own end it knows nothing of the entry, which stays.
            self._controlled[entry.id] = self._clock.now()
        return True

    async def _url_of_a_script(self) -> str | None:
        script = self._settings.script
        try:
            process = await asyncio.create_subprocess_exec(
                script,
                cwd=script.parent,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MOST_LINE,
            )
        except OSError:
            return None
        assert process.stdout is not None
        # stderr is not read before NewURL: who fills it stands still.
        async for line in process.stdout:
            text = line.decode(errors="replace").strip()
            if not (text.startswith(OPEN) and text.endswith(CLOSE)):
                continue
            key, _, value = text[len(OPEN) : -len(CLOSE)].strip().partition(":")
            if key == "NewURL" and value.strip():
                self._background.spawn(_read_on(process))
                return value.strip()
            if key == "DeclareFailed":
                self._next_start_at = self._clock.now() + self._settings.seconds_after_failure
                self._background.spawn(_read_on(process))
                return None
        return None

    async def _ping(self, entry: Backend) -> None:
        try:
            await self._remote.take_control(entry)
        except RemoteFailure:
            if entry.id in self._controlled:
                await self._end(entry)

    async def _stop_one(self) -> None:
        now, settings = self._clock.now(), self._settings
        old = [key for key, since in self._controlled.items() if now - since >= settings.min_idle_seconds]
        if not old or now < self._next_stop_at or len(self._controlled) <= settings.min_backends:
            return
        self._next_stop_at = now + settings.seconds_between_stops
        if (entry := self._table.entries.get(old[0])) is not None:
            await self._end(entry)

    async def _end(self, entry: Backend) -> None:
        self._controlled.pop(entry.id, None)
        with contextlib.suppress(RemoteFailure):
            await self._remote.shut_down(entry)
        await self._table.delete(entry.id)


async def _read_on(process: asyncio.subprocess.Process) -> None:
    """Read what a script goes on to print, until it has ended; it is never killed."""
    assert process.stdout is not None
    assert process.stderr is not None
    await asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
