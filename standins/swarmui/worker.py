"""A stand-in SwarmUI worker: an instance with GPUs that a master sends generations to.

It has the routes that a master or an autoscaler asks a worker for; every other one answers `bad_route`.
Source: SwarmUI src/WebAPI/AdminAPI.cs, src/WebAPI/T2IAPI.cs, src/Core/Program.cs (`--require_control_within`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock, RealClock, within
from ebbflow.standins.swarmui.http import (
    KILLED,
    Call,
    Control,
    JsonObject,
    Parameter,
    ParameterType,
    Refusal,
    Route,
    SwarmApi,
)
from ebbflow.standins.swarmui.load import BackendState, Load, Loads, StatusRoutes, backend_status
from ebbflow.standins.swarmui.sessions import Access, GivenSessions

DEFAULT_STEPS = 20
SHUTDOWN_DELAY_SECONDS = 0.5
SHUTDOWN_GRACE_SECONDS = 5.0
BACKEND_TYPE = "comfyui_selfstart"
ANY_BACKEND = -1


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker behaves; times are seconds unless their name says minutes."""

    backends: int = 1
    max_usages: int = 1
    """Generations that one backend runs at a time."""
    models: tuple[str, ...] = ("sdxl.safetensors", "flux.safetensors")
    load_seconds: float = 0.0
    """How long its backends are `loading`, from the start of the process."""
    seconds_per_step: float = 0.05
    model_load_seconds: float = 0.0
    require_control_within_minutes: float | None = None
    control_check_seconds: float = 60.0
    data_dir: Path | None = None
    """Where session ids are kept; None forgets them at a restart, as `--no_persist` does."""
    access: Access = field(default_factory=Access)


@dataclass(slots=True)
class Slot:
    """One backend of the worker."""

    id: int
    max_usages: int
    turns: asyncio.Semaphore
    current_model: str | None = None
    last_used_at: float | None = None
    usages: int = 0
    """Generations that run or wait for this backend."""


class PlayedWorker:
    """One worker process.

    Args:
        clock: every delay, the dead-man switch and the log's times are on it.
    """

    def __init__(self, settings: WorkerSettings | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings if settings is not None else WorkerSettings()
        self.clock: Clock = clock if clock is not None else RealClock()
        self.control_times: list[float] = []
        self.served = 0
        self.lost = 0
        self._loads = Loads()
        self._may_finish = asyncio.Event()
        self._background: Background | None = None
        sessions = GivenSessions(self.clock, self._sessions_path())
        self._reset()
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
        background.spawn(self._obey_dead_man())
        try:
            yield
        finally:
            if self._background is background:
                self._background = None
            await background.stop()

    @property
    def is_loading(self) -> bool:
        """Whether its backends are still loading."""
        return self.clock.now() < self._ready_at

    def begin_loading(self, seconds: float) -> None:
        """Let the backends be `loading` for that long from now on; zero ends a loading at once."""
        self._ready_at = self.clock.now() + seconds

    def finish(self) -> None:
        """Let every generation that runs now be done; what comes later takes its time again."""
        self._may_finish.set()
        self._may_finish = asyncio.Event()

    def crash(self) -> None:
        """Die at once: connections are reset and running generations are lost."""
        self._end(KILLED)

    def restart(self) -> None:
        """Begin a new process on the same address; without a data folder its session ids are forgotten."""
        self._reset()
        self.app.sessions.reload()

    def _sessions_path(self) -> Path | None:
        return self.settings.data_dir / "sessions.json" if self.settings.data_dir is not None else None

    def _reset(self) -> None:
        self.started_at = self.clock.now()
        self._controlled_at = self.started_at
        self._ready_at = self.started_at + self.settings.load_seconds
        self._loads.clear()
        self._slots = [
            Slot(index, self.settings.max_usages, asyncio.Semaphore(self.settings.max_usages))
            for index in range(self.settings.backends)
        ]

    def _end(self, exit_code: int = 0) -> None:
        self.lost += self._loads.total().waiting_gens
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
        generation = (
            Parameter("images", ParameterType.INT32, 1),
            Parameter("steps", ParameterType.INT32, DEFAULT_STEPS),
            Parameter("model", ParameterType.STRING, ""),
            Parameter("exactbackendid", ParameterType.INT32, ANY_BACKEND),
        )
        return (
            Route("ListBackends", self._list_backends, "view_backends_list", flags),
            Route("ListModels", self._list_models, "fundamental_model_access"),
            Route("AdminTakeControl", self._take_control, "automated_control"),
            Route("ShutdownServer", self._shut_down, "shutdown"),
            Route("GenerateText2Image", self._generate, "basic_image_generation", generation),
        )

    def _controls(self) -> dict[str, Control]:
        async def load(body: JsonObject) -> JsonObject:
            self.begin_loading(float(str(body.get("seconds", 0))))
            return {"result": "Success."}

        async def finish(_: JsonObject) -> JsonObject:
            self.finish()
            return {"result": "Success."}

        return {"load": load, "finish": finish}

    async def _list_backends(self, call: Call) -> JsonObject:
        return {str(slot.id): self._shown(slot, call.boolean("full_data")) for slot in self._slots}

    def _shown(self, slot: Slot, full_data: bool) -> JsonObject:
        unused = slot.last_used_at is None
        idle_seconds = 0 if slot.last_used_at is None else int(self.clock.now() - slot.last_used_at)
        shown: JsonObject = {
            "type": BACKEND_TYPE,
            "status": str(self._slot_state()),
            "id": slot.id,
            "settings": {},
            "modcount": 0,
            "features": [],
            "enabled": True,
            "title": f"GPU {slot.id}",
            "can_load_models": True,
            "max_usages": slot.max_usages,
            "seconds_since_used": idle_seconds,
            "time_since_used": "Never" if unused else f"{idle_seconds} seconds ago",
        }
        return shown | ({"current_model": slot.current_model} if full_data else {})

    async def _list_models(self, _: Call) -> JsonObject:
        return {"folders": [], "files": [{"name": model, "local": True} for model in self.settings.models]}

    async def _take_control(self, _: Call) -> JsonObject:
        self._controlled_at = self.clock.now()
        self.control_times.append(self._controlled_at)
        return {"success": True}

    async def _shut_down(self, _: Call) -> JsonObject:
        if self._background is not None:
            self._background.spawn(self._end_soon())
        return {"success": True}

    async def _end_soon(self) -> None:
        await self.clock.sleep(SHUTDOWN_DELAY_SECONDS)
        for _ in range(int(SHUTDOWN_GRACE_SECONDS / SHUTDOWN_DELAY_SECONDS)):
            if self._loads.total().live_gens == 0:
                break
            await self.clock.sleep(SHUTDOWN_DELAY_SECONDS)
        self._end()

    async def _generate(self, call: Call) -> JsonObject:
        images, model = call.integer("images"), call.text("model")
        if self.is_loading:
            raise Refusal("No backends available!")
        if model and model not in self.settings.models:
            raise Refusal(f"Invalid model value '{model}': no such model")
        load = self._loads.of(call.session)
        load.waiting_gens += images
        work = (self._one_image(load, self._slot(call), call.integer("steps"), model) for _ in range(images))
        return {"images": list(await asyncio.gather(*work))}

    def _slot(self, call: Call) -> Slot:
        wanted = call.integer("exactbackendid")
        if wanted == ANY_BACKEND:
            slot = min(self._slots, key=lambda slot: slot.usages)
        elif wanted < len(self._slots):
            slot = self._slots[wanted]
        else:
            raise Refusal("No backends match the settings of the request given!")
        slot.usages += 1
        return slot

    async def _one_image(self, load: Load, slot: Slot, steps: int, model: str) -> str:
        try:
            load.waiting_backends += 1
            try:
                await slot.turns.acquire()
            finally:
                load.waiting_backends -= 1
            try:
                await self._run(load, slot, steps, model)
            finally:
                slot.turns.release()
        finally:
            slot.usages -= 1
            load.waiting_gens -= 1
        self.served += 1
        return f"View/local/raw/stand-in-{self.served:06}.png"

    async def _run(self, load: Load, slot: Slot, steps: int, model: str) -> None:
        load.live_gens += 1
        slot.last_used_at = self.clock.now()
        try:
            if model and model != slot.current_model:
                await self._load_model(load, slot, model)
            with contextlib.suppress(TimeoutError):
                await within(self.clock, steps * self.settings.seconds_per_step, self._may_finish.wait())
        finally:
            load.live_gens -= 1
            slot.last_used_at = self.clock.now()

    async def _load_model(self, load: Load, slot: Slot, model: str) -> None:
        load.loading_models += 1
        try:
            await self.clock.sleep(self.settings.model_load_seconds)
            slot.current_model = model
        finally:
            load.loading_models -= 1

    async def _obey_dead_man(self) -> None:
        """End the process at the first check that finds nobody in control for too long, loading or not."""
        minutes, check = self.settings.require_control_within_minutes, self.settings.control_check_seconds
        if minutes is None:
            return
        due = self.started_at + check
        while True:
            await self.clock.sleep(max(0.0, due - self.clock.now()))
            if self.clock.now() - self._controlled_at > minutes * 60:
                self._end()
                return
            due += check

    def _slot_state(self) -> BackendState:
        return BackendState.LOADING if self.is_loading else BackendState.RUNNING

    def _summary(self) -> JsonObject:
        return backend_status([self._slot_state() for _ in self._slots], [True for _ in self._slots])

    def _state(self) -> JsonObject:
        return {
            "served": self.served,
            "lost": self.lost,
            "control_times": self.control_times,
            "is_loading": self.is_loading,
            "status": self._loads.total().to_json(),
        }
