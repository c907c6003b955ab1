"""A stand-in SwarmUI worker: an instance with GPUs that a master sends generations to.

It has the routes that a master or an autoscaler asks a worker for; every other one answers `bad_route`.
Source: SwarmUI src/WebAPI/AdminAPI.cs, src/WebAPI/T2IAPI.cs, src/Core/Program.cs (`--require_control_within`).
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock, RealClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.swarmui.backends_file import swarm_backends
from ebbflow.standins.swarmui.gpus import GENERATION, Gpus
from ebbflow.standins.swarmui.http import KILLED, Call, Control, JsonObject, Route, SwarmApi
from ebbflow.standins.swarmui.load import BackendState, Loads, StatusRoutes, backend_status
from ebbflow.standins.swarmui.reading import Parameter, ParameterType, Refusal
from ebbflow.standins.swarmui.sessions import Access, GivenSessions

if TYPE_CHECKING:
    import httpx

    from ebbflow.standins.swarmui.table import BackendTable

SHUTDOWN_DELAY_SECONDS = 0.5
EMPTY_END_SECONDS = 0.1
"""From the moment at which it closes to the end of the process, if nothing runs."""
BUSY_END_SHARE = 0.45
"""Of the time that its longest websocket generation takes, from ShutdownServer to the end of the process."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker behaves; times are seconds unless their name says minutes."""

    backends: int = 1
    backend_name: str = ""
    """What each of them is called; empty: `gpu`, `gpu 1` and so on."""
    max_usages: int = 1
    """Generations that one backend runs at a time."""
    models: tuple[str, ...] = ("sdxl.safetensors", "flux.safetensors")
    load_seconds: float = 0.0
    """How long its backends are `loading`, from the start of the process."""
    backend_state: BackendState | None = BackendState.RUNNING
    """What its backends are after that; None lists none."""
    seconds_per_step: float = 0.05
    model_load_seconds: float = 0.0
    require_control_within_minutes: float | None = None
    control_check_seconds: float = 60.0
    data_dir: Path | None = None
    """Where session ids are kept; None forgets them at a restart, as `--no_persist` does."""
    access: Access = field(default_factory=Access)
    backends_file: Path | None = None
    """Where its backends are; of it those that lead to other SwarmUIs are played."""


class PlayedWorker:
    """One worker process.

    Args:
        clock: every delay, the dead-man switch and the log's times are on it.
    """

    def __init__(self, settings: WorkerSettings | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings if settings is not None else WorkerSettings()
        self.clock: Clock = clock if clock is not None else RealClock()
        self.control_times: list[float] = []
        self._loads = Loads()
        self._passing: tuple[BackendState | None, float]
        self._is_ending = False
        self._earlier_served = 0
        self._earlier_lost = 0
        self._background: Background | None = None
        self._remotes: BackendTable | None = None
        sessions = GivenSessions(self.clock, self._sessions_path())
        self._begin()
        status = StatusRoutes(clock=self.clock, sessions=sessions, loads=self._loads, summary=self._summary)
        self.app = SwarmApi(
            (*status.routes(), *self._routes()),
            clock=self.clock,
            access=self.settings.access,
            sessions=sessions,
            live=self.live,
            state=self._state,
            crash=self.crash,
            controls=self._controls(),
        )
        sessions.reload()

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """Run the process's own tasks; entered again while they run, it does nothing."""
        if self._background is not None:
            yield
            return
        background = self._background = Background()
        self.app.ended.clear()
        self.app.is_closed = self._is_ending = False
        background.spawn(self._obey_dead_man())
        client = self._begin_remotes(background)
        try:
            yield
        finally:
            if client is not None:
                await client.aclose()
            if self._background is background:
                self._background = None
            await background.stop()

    @property
    def served(self) -> int:
        """How many images it made, in every life."""
        return self._earlier_served + self._gpus.served

    @property
    def lost(self) -> int:
        """How many images were asked for and never made, in every life."""
        return self._earlier_lost + self._gpus.lost

    @property
    def is_loading(self) -> bool:
        """Whether its backends are still loading."""
        return self.backend_state is BackendState.LOADING

    @property
    def backend_state(self) -> BackendState | None:
        """What its backends are now; None if it lists none."""
        state, until = self._passing
        return state if self.clock.now() < until else self._lasting

    def begin_loading(self, seconds: float) -> None:
        """Let the backends be `loading` for that long from now on; zero ends a loading at once."""
        self.show_backends(BackendState.LOADING, seconds)

    def show_backends(self, state: BackendState | None, seconds: float | None = None) -> None:
        """Let the backends be in a state, or, for None, be none; without a time until they are told otherwise."""
        if seconds is None:
            self._lasting = state
        self._passing = (state, self.clock.now() + (seconds or 0.0))

    def finish(self) -> None:
        """Let every generation that runs now be done; what comes later takes its time again."""
        self._gpus.finish()

    def hang(self) -> None:
        """Accept what comes and answer nothing, as a process that has stopped; its generations stop with it."""
        self.app.faults.add(Fault(FaultKind.HANG))
        self._gpus.hang()

    def crash(self) -> None:
        """Die at once: connections are reset and running generations are lost."""
        self._end(KILLED)

    def restart(self) -> None:
        """Begin a new process on the same address; without a data folder its session ids are forgotten."""
        self._earlier_served, self._earlier_lost = self.served, self.lost
        self._begin()
        self.app.sessions.reload()

    def _sessions_path(self) -> Path | None:
        return self.settings.data_dir / "sessions.json" if self.settings.data_dir is not None else None

    def _begin(self) -> None:
        self.started_at = self.clock.now()
        self._controlled_at = self.started_at
        self._passing = (BackendState.LOADING, self.started_at + self.settings.load_seconds)
        self._lasting = self.settings.backend_state
        self._loads.clear()
        self._gpus = Gpus(
            [self.settings.max_usages] * self.settings.backends,
            clock=self.clock,
            loads=self._loads,
            model_load_seconds=self.settings.model_load_seconds,
            name=self.settings.backend_name,
        )

    def _begin_remotes(self, background: Background) -> "httpx.AsyncClient | None":
        """Start the backends that lead to other SwarmUIs, where it has any, with the client that they ask by."""
        path = self.settings.backends_file
        found = swarm_backends(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
        if path is None or not found:
            return None
        # Imported here because the start of every other worker would pay for it.
        import httpx

        from ebbflow.standins.swarmui.remote import Remote
        from ebbflow.standins.swarmui.table import BackendTable

        client = httpx.AsyncClient(timeout=None, trust_env=False, verify=False)
        remote = Remote(client, self.clock, self.app.server_id)
        self._remotes = BackendTable(path, clock=self.clock, remote=remote, background=background)
        self._remotes.begin(found)
        return client

    def _end(self, exit_code: int = 0) -> None:
        self._gpus.lost += self._loads.total().waiting_gens
        self._loads.clear()
        background, self._background = self._background, None
        self.app.exit_code = exit_code
        self.app.ended.set()
        if background is not None:
            background.cancel()

    def _routes(self) -> tuple[Route, ...]:
        flags = (
            Parameter("nonreal", ParameterType.BOOLEAN, False),
            Parameter("full_data", ParameterType.BOOLEAN, False),
        )
        return (
            Route("ListBackends", self._list_backends, "view_backends_list", flags),
            Route("ListModels", self._list_models, "fundamental_model_access"),
            Route("AdminTakeControl", self._take_control, "automated_control"),
            Route("ShutdownServer", self._shut_down, "shutdown"),
            Route("GenerateText2Image", self._generate, "basic_image_generation", GENERATION),
        )

    def _controls(self) -> dict[str, Control]:
        async def load(body: JsonObject) -> JsonObject:
            self.begin_loading(float(str(body.get("seconds", 0))))
            return {"result": "Success."}

        async def finish(_: JsonObject) -> JsonObject:
            self.finish()
            return {"result": "Success."}

        async def backends(body: JsonObject) -> JsonObject:
            """Show them in a `status`, or none for null, for some `seconds` or without end."""
            state, seconds = body.get("status", "running"), body.get("seconds")
            shown = None if state is None else BackendState(str(state))
            self.show_backends(shown, None if seconds is None else float(str(seconds)))
            return {"result": "Success."}

        return {"load": load, "finish": finish, "backends": backends}

    async def _list_backends(self, call: Call) -> JsonObject:
        state, now, full_data = self.backend_state, self.clock.now(), call.boolean("full_data")
        slots = (
            []
            if state is None
            else [(slot.id, slot.to_json(state, now, full_data=full_data)) for slot in self._gpus.slots]
        )
        others = [(entry.id, entry.to_json(now, full_data=full_data)) for entry in self._remotes or ()]
        return {str(key): shown for key, shown in (*slots, *others)}

    async def _list_models(self, _: Call) -> JsonObject:
        return {"folders": [], "files": [{"name": model, "local": True} for model in self.settings.models]}

    async def _take_control(self, _: Call) -> JsonObject:
        self._controlled_at = self.clock.now()
        self.control_times.append(self._controlled_at)
        return {"success": True}

    async def _shut_down(self, _: Call) -> JsonObject:
        if self._background is not None:
            self._background.spawn(self._end_in_order())
        return {"success": True}

    async def _end_in_order(self) -> None:
        """Close, let what came over a websocket fail, and end once the backends let go of their work."""
        if self._is_ending:
            return
        self._is_ending, told_at = True, self.clock.now()
        await self.clock.sleep(SHUTDOWN_DELAY_SECONDS)
        self.app.is_closed = True
        busy_until = told_at + BUSY_END_SHARE * self._gpus.cut_websockets()
        await self._gpus.wait_for_http()
        now = self.clock.now()
        await self.clock.sleep(max(EMPTY_END_SECONDS, busy_until - now))
        self._end()

    async def _generate(self, call: Call) -> JsonObject:
        model = call.text("model")
        if self.backend_state is not BackendState.RUNNING or not self._gpus.slots:
            raise Refusal("No backends available!")
        if model and model not in self.settings.models:
            raise Refusal(f"Invalid model value '{model}': no such model")
        return await self._gpus.generate(call, self.settings.seconds_per_step)

    async def _obey_dead_man(self) -> None:
        """End the process at the first check that finds nobody in control for too long, loading or not."""
        minutes, check = self.settings.require_control_within_minutes, self.settings.control_check_seconds
        if minutes is None:
            return
        due = self.started_at + check
        while True:
            await self.clock.sleep(max(0.0, due - self.clock.now()))
            if self.clock.now() - self._controlled_at > minutes * 60:
                await self._end_in_order()
                return
            due += check

    def _summary(self) -> JsonObject:
        state = self.backend_state
        states = [] if state is None else [state for _ in self._gpus.slots]
        return backend_status(states, [True for _ in states])

    def _state(self) -> JsonObject:
        return {
            "served": self.served,
            "lost": self.lost,
            "control_times": self.control_times,
            "is_loading": self.is_loading,
            "status": self._loads.total().to_json(),
        }
