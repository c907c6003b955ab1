"""A stand-in SwarmUI master: the instance that users talk to, which sends their images on to workers.

Source: SwarmUI src/WebAPI/BackendAPI.cs, src/WebAPI/T2IAPI.cs, src/Backends/BackendHandler.cs.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock, RealClock
from ebbflow.standins.swarmui.auto_scaling import ID, AutoScaling, ScalingSettings
from ebbflow.standins.swarmui.backend import BACKEND_TYPE, Backend
from ebbflow.standins.swarmui.http import KILLED, Call, Control, JsonObject, Route, SwarmApi
from ebbflow.standins.swarmui.load import BackendState, Loads, StatusRoutes, backend_status
from ebbflow.standins.swarmui.queue import Generation, RequestQueue, Tally
from ebbflow.standins.swarmui.reading import Parameter, ParameterType, Refusal
from ebbflow.standins.swarmui.remote import Remote
from ebbflow.standins.swarmui.sessions import Access, GivenSessions
from ebbflow.standins.swarmui.table import BackendTable

DEFAULT_STEPS = 20
MAX_IMAGES = 10_000
SAME_ID = -1
SHUTDOWN_DELAY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """How a master behaves."""

    data_dir: Path
    """Backends and sessions are kept here."""
    save_delay_seconds: float = 10.0
    """An edit is in the file at most this long after it was made."""
    is_new: bool = True
    """Whether it finds no file of backends when it is first started, and so is slow to start them for that life."""
    websocket_seconds: float = 2.0
    """How much longer than the work an image holds its child, if the entry allows websockets."""
    max_timeout_minutes: float = 120.0
    """So long after the last image that was served everything that waits fails."""
    keeps_sessions: bool = True
    models: tuple[str, ...] = ("sdxl.safetensors", "flux.safetensors")
    """What is in its own model folder; a file of 0 bytes will do."""
    access: Access = field(default_factory=Access)
    scaling: ScalingSettings | None = None
    """Of its own auto-scaling backend; None: it has none."""


@dataclass(frozen=True, slots=True)
class _Life:
    """What one run of the process holds."""

    background: Background
    client: httpx.AsyncClient
    remote: Remote
    table: BackendTable
    queue: RequestQueue
    scaler: AutoScaling | None = None


class PlayedMaster:
    """One master and its data folder.

    Args:
        clock: states, polls, saves and the log's times are on it.
    """

    def __init__(self, settings: MasterSettings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock if clock is not None else RealClock()
        self.tally = Tally()
        self._loads = Loads()
        self._life: _Life | None = None
        self._ended_lives: list[_Life] = []
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not settings.is_new and not self._file("backends.json").exists():
            self._file("backends.json").write_text("{}")
        self._sessions = GivenSessions(self.clock, self._file("sessions.json") if settings.keeps_sessions else None)
        status = StatusRoutes(clock=self.clock, sessions=self._sessions, loads=self._loads, summary=self._summary)
        self.app = SwarmApi(
            (*status.routes(), *self._routes()),
            clock=self.clock,
            access=settings.access,
            sessions=self._sessions,
            live=self.live,
            state=self._state,
            crash=self.crash,
            controls=self._controls(),
        )

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The entries by id, children first; `usages` is what no route tells."""
        return tuple(self._life.table) if self._life is not None else ()

    @property
    def questions(self) -> int:
        """How many questions to workers wait for their answer: a test lets them end before it lets time pass."""
        return self._life.remote.questions if self._life is not None else 0

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """Run the process's own tasks; entered again while they run, it does nothing."""
        if self._life is not None:
            yield
            return
        self._begin()
        try:
            yield
        finally:
            if self._life is not None:
                self._life.table.save_edits()
                if self._life.scaler is not None:
                    await self._life.scaler.close()
            self._kill()
            await self._bury()

    def crash(self) -> None:
        """Die at once: unsaved edits are lost; serve the application again to start it from its file."""
        self._end(KILLED)

    async def restart(self) -> None:
        """End in order and start again on the same address: children go, real entries and sessions stay."""
        if self._life is not None:
            self._life.table.save_edits()
        self._kill()
        await self._bury()
        self._begin()

    def _begin(self) -> None:
        background = Background()
        # Workers are on loopback: no proxy from the environment, no certificates (reading them takes a while), and no
        # time limit, as a generation takes as long as it takes.
        client = httpx.AsyncClient(
            timeout=None,
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        remote = Remote(client, self.clock, self.app.server_id)
        table = BackendTable(self._file("backends.json"), clock=self.clock, remote=remote, background=background)
        scaler = None
        if self.settings.scaling is not None:
            scaler = AutoScaling(
                self.settings.scaling, clock=self.clock, table=table, remote=remote, background=background
            )
        queue = RequestQueue(
            table,
            scaler=scaler,
            clock=self.clock,
            remote=remote,
            tally=self.tally,
            websocket_seconds=self.settings.websocket_seconds,
            own_models=self.settings.models,
            max_timeout_minutes=self.settings.max_timeout_minutes,
        )
        self._life = _Life(background, client, remote, table, queue, scaler)
        self.app.ended.clear()
        self._sessions.reload()
        table.load()
        background.spawn(self._save_edits(table))
        background.spawn(queue.watch())
        if scaler is not None:
            background.spawn(scaler.run())

    def _end(self, exit_code: int) -> None:
        self._kill()
        self.app.exit_code = exit_code
        self.app.ended.set()

    def _kill(self) -> None:
        life, self._life = self._life, None
        self._loads.clear()
        if life is not None:
            life.background.cancel()
            self._ended_lives.append(life)

    async def _bury(self) -> None:
        """Wait for what an ended life left behind; nothing of it acts any more."""
        while self._ended_lives:
            life = self._ended_lives.pop()
            await life.background.stop()
            await life.client.aclose()

    async def _save_edits(self, table: BackendTable) -> None:
        while True:
            await self.clock.sleep(self.settings.save_delay_seconds)
            table.save_edits()

    def _file(self, name: str) -> Path:
        return self.settings.data_dir / name

    def _alive(self) -> _Life:
        if self._life is None:
            raise RuntimeError("this master is not running")
        return self._life

    def _routes(self) -> tuple[Route, ...]:
        text, integer, boolean = ParameterType.STRING, ParameterType.INT32, ParameterType.BOOLEAN
        flags = (Parameter("nonreal", boolean, False), Parameter("full_data", boolean, False))
        backend_id = Parameter("backend_id", integer)
        edit = (backend_id, Parameter("title", text), Parameter("new_id", integer, SAME_ID))
        generation = (
            Parameter("images", integer),
            Parameter("steps", integer, DEFAULT_STEPS),
            Parameter("model", text, ""),
        )
        rights = "add_remove_backends"
        return (
            Route("ListBackends", self._list, "view_backends_list", flags),
            Route("AddNewBackend", self._add, rights, (Parameter("type_id", text),), changes_settings=True),
            Route("EditBackend", self._edit, "edit_backends", edit, changes_settings=True),
            Route(
                "ToggleBackend",
                self._toggle,
                "toggle_backends",
                (backend_id, Parameter("enabled", boolean)),
                changes_settings=True,
            ),
            Route("DeleteBackend", self._delete, rights, (backend_id,), changes_settings=True),
            Route("ListModels", self._list_models, "fundamental_model_access"),
            Route("GenerateText2Image", self._generate, "basic_image_generation", generation),
            Route("ShutdownServer", self._shut_down, "shutdown"),
        )

    def _controls(self) -> dict[str, Control]:
        async def restart(_: JsonObject) -> JsonObject:
            await self.restart()
            return {"result": "Success."}

        return {"restart": restart}

    def _entry(self, backend_id: int) -> Backend:
        entry = self._alive().table.entries.get(backend_id)
        if entry is None:
            raise Refusal(f"Invalid backend ID {backend_id}")
        return entry

    async def _list(self, call: Call) -> JsonObject:
        shown = [entry for entry in self.backends if entry.is_real or call.boolean("nonreal")]
        now, full_data = self.clock.now(), call.boolean("full_data")
        listed: JsonObject = {str(entry.id): entry.to_json(now, full_data=full_data) for entry in shown}
        scaler = self._alive().scaler
        return listed if scaler is None else {**listed, str(ID): scaler.to_json()}

    async def _add(self, call: Call) -> JsonObject:
        if call.text("type_id") != BACKEND_TYPE:
            raise Refusal(f"Invalid backend type: {call.text('type_id')}")
        return self._alive().table.add().to_json(self.clock.now(), full_data=False)

    async def _edit(self, call: Call) -> JsonObject:
        settings = call.body.get("settings")
        if not isinstance(settings, dict):
            raise Refusal("Missing settings.")
        entry = self._entry(call.integer("backend_id"))
        new_id = entry.id if call.integer("new_id") == SAME_ID else call.integer("new_id")
        table = self._alive().table
        if new_id != entry.id and new_id in table.entries:
            raise Refusal(f"Backend ID {new_id} is already in use.")
        await table.edit(entry, settings, call.text("title"), new_id)
        return entry.to_json(self.clock.now(), full_data=False)

    async def _toggle(self, call: Call) -> JsonObject:
        entry = self._entry(call.integer("backend_id"))
        if entry.enabled == call.boolean("enabled"):
            return {"result": "No change."}
        await self._alive().table.toggle(entry, call.boolean("enabled"))
        return {"result": "Success."}

    async def _delete(self, call: Call) -> JsonObject:
        scaler = self._alive().scaler
        if scaler is not None and call.integer("backend_id") == ID:
            await scaler.close()
            return {"result": "Deleted."}
        existed = await self._alive().table.delete(call.integer("backend_id"))
        return {"result": "Deleted." if existed else "Already didn't exist."}

    async def _list_models(self, _: Call) -> JsonObject:
        serving = (entry for entry in self.backends if entry.state is BackendState.RUNNING)
        remote = frozenset[str]().union(*(entry.models for entry in serving)) - set(self.settings.models)
        files = {model: True for model in self.settings.models} | dict.fromkeys(remote, False)
        return {"folders": [], "files": [{"name": model, "local": files[model]} for model in sorted(files)]}

    async def _generate(self, call: Call) -> JsonObject:
        if not 1 <= (images := call.integer("images")) <= MAX_IMAGES:
            raise Refusal(
                "Invalid value for parameter Images: Invalid integer value for param Images - "
                f"'{images}' - must be between 1 and {MAX_IMAGES}"
            )
        generation = Generation(call.integer("steps"), call.text("model"))
        return await self._alive().queue.generate(self._loads.of(call.session), generation, images)

    async def _shut_down(self, _: Call) -> JsonObject:
        self._alive().background.spawn(self._end_soon(self._alive()))
        return {"success": True}

    async def _end_soon(self, life: _Life) -> None:
        # What was edited since the last save is lost more often than not.
        await self.clock.sleep(SHUTDOWN_DELAY_SECONDS)
        self._end(0)

    def _summary(self) -> JsonObject:
        entries = self.backends
        return backend_status([entry.state for entry in entries], [entry.enabled for entry in entries])

    def _state(self) -> JsonObject:
        return {
            "served": self.tally.served,
            "lost": self.tally.lost,
            "wait_seconds": self.tally.wait_seconds,
            "status": self._loads.total().to_json(),
            "usages": {str(entry.id): entry.usages for entry in self.backends},
            "childless": sum(
                entry.parent is None
                and entry.state is BackendState.RUNNING
                and not any(child.state is BackendState.RUNNING for child in entry.children.values())
                for entry in self.backends
            ),
        }
