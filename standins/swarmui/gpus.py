"""The backends of a stand-in SwarmUI worker, and the generations that run on them.

Source: SwarmUI src/WebAPI/T2IAPI.cs, src/WebAPI/BackendAPI.cs `BackendToNet`. Times of an end are measured on 0.9.8.2.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ebbflow.standins.clock import Clock, within
from ebbflow.standins.http import ConnectionDropped
from ebbflow.standins.swarmui.http import PLAYS_WEBSOCKET, Call, JsonObject
from ebbflow.standins.swarmui.load import BackendState, Load, Loads
from ebbflow.standins.swarmui.reading import Parameter, ParameterType, Refusal

BACKEND_TYPE = "comfyui_selfstart"
DEFAULT_STEPS = 20
ANY_BACKEND = -1
HTTP_GRACE_SECONDS = 30.0
"""How long the end of a worker waits for a generation that came over HTTP; one over a websocket fails at once."""
GRACE_LOOK_SECONDS = 0.5
IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
"""One pixel, in the form in which `donotsave` gives images and which a real master takes from a worker."""
GENERATION = (
    Parameter("images", ParameterType.INT32),
    Parameter("steps", ParameterType.INT32, DEFAULT_STEPS),
    Parameter("model", ParameterType.STRING, ""),
    Parameter("exactbackendid", ParameterType.INT32, ANY_BACKEND),
    Parameter(PLAYS_WEBSOCKET, ParameterType.BOOLEAN, False),
)


@dataclass(slots=True)
class Slot:
    """One backend of the worker."""

    id: int
    max_usages: int
    turns: asyncio.Semaphore
    name: str = ""
    current_model: str | None = None
    last_used_at: float | None = None
    usages: int = 0
    """Generations that run or wait for this backend."""

    def to_json(self, state: BackendState, now: float, *, full_data: bool) -> JsonObject:
        """Return the backend as ListBackends shows it."""
        seconds = 0 if self.last_used_at is None else int(now - self.last_used_at)
        shown: JsonObject = {
            "type": BACKEND_TYPE,
            "status": str(state),
            "id": self.id,
            "settings": {"Address": "http://GPU"},
            "modcount": 1,
            "features": [],
            "enabled": True,
            "title": self.name or ("gpu" if self.id == 0 else f"gpu {self.id}"),
            "can_load_models": True,
            "max_usages": self.max_usages,
            "seconds_since_used": seconds,
            "time_since_used": "Never" if self.last_used_at is None else f"{seconds} seconds ago",
        }
        return shown | ({"current_model": self.current_model} if full_data else {})


@dataclass(slots=True, eq=False)
class Running:
    """One request for images that goes on."""

    seconds: float
    """What an image of it takes."""
    is_websocket: bool
    dropped: asyncio.Event = field(default_factory=asyncio.Event)


class Gpus:
    """The backends of one life of a worker's process.

    Args:
        usages: of each backend, in the order of their ids.
        name: what each of them is called; empty: `gpu`, `gpu 1` and so on.
        model_load_seconds: what a model takes that is not loaded.
    """

    def __init__(
        self, usages: Sequence[int], *, clock: Clock, loads: Loads, model_load_seconds: float, name: str = ""
    ) -> None:
        self.slots = [Slot(index, most, asyncio.Semaphore(most), name) for index, most in enumerate(usages)]
        self.served = 0
        self.lost = 0
        self._clock = clock
        self._loads = loads
        self._model_load_seconds = model_load_seconds
        self._running: set[Running] = set()
        self._may_finish = asyncio.Event()
        self._runs_on = asyncio.Event()
        self._runs_on.set()

    def hang(self) -> None:
        """Let nothing that runs, or comes, ever be done."""
        self._runs_on.clear()

    def finish(self) -> None:
        """Let every generation that runs now be done; what comes later takes its time again."""
        self._may_finish.set()
        self._may_finish = asyncio.Event()

    def cut_websockets(self) -> float:
        """Let what came over a websocket fail; return how long the longest of it would have taken."""
        cut = [running for running in self._running if running.is_websocket]
        for running in cut:
            running.dropped.set()
        return max((running.seconds for running in cut), default=0.0)

    async def wait_for_http(self) -> None:
        """Wait for what came over HTTP, as long as the end of a worker waits for it."""
        for _ in range(int(HTTP_GRACE_SECONDS / GRACE_LOOK_SECONDS)):
            if all(running.is_websocket for running in self._running):
                return
            await self._clock.sleep(GRACE_LOOK_SECONDS)

    async def generate(self, call: Call, seconds_per_step: float) -> JsonObject:
        """Make the images of one request.

        Raises:
            ConnectionDropped: the process is told to end.
            Refusal: there is no such backend.
        """
        load = self._loads.of(call.session)
        slots = [self._slot(call.integer("exactbackendid")) for _ in range(call.integer("images"))]
        running = Running(call.integer("steps") * seconds_per_step, call.boolean(PLAYS_WEBSOCKET))
        load.waiting_gens += len(slots)
        self._running.add(running)
        work = [self._one_image(load, slot, running.seconds, call.text("model")) for slot in slots]
        try:
            return {"images": await self._unless_dropped(running, asyncio.gather(*work))}
        except ConnectionDropped:
            self.lost += len(slots)
            raise
        finally:
            self._running.discard(running)

    def _slot(self, wanted: int) -> Slot:
        if wanted == ANY_BACKEND:
            slot = min(self.slots, key=lambda slot: slot.usages)
        elif wanted < len(self.slots):
            slot = self.slots[wanted]
        else:
            raise Refusal("No backends match the settings of the request given!")
        slot.usages += 1
        return slot

    async def _unless_dropped(self, running: Running, work: "asyncio.Future[list[str]]") -> list[str]:
        dropped: asyncio.Future[object] = asyncio.ensure_future(running.dropped.wait())
        both: tuple[asyncio.Future[Any], ...] = (work, dropped)  # what each of them gives is its own
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ConnectionDropped
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _one_image(self, load: Load, slot: Slot, seconds: float, model: str) -> str:
        try:
            load.waiting_backends += 1
            try:
                await slot.turns.acquire()
            finally:
                load.waiting_backends -= 1
            try:
                await self._run(load, slot, seconds, model)
            finally:
                slot.turns.release()
        finally:
            slot.usages -= 1
            load.waiting_gens -= 1
        self.served += 1
        return IMAGE

    async def _run(self, load: Load, slot: Slot, seconds: float, model: str) -> None:
        load.live_gens += 1
        slot.last_used_at = self._clock.now()
        try:
            if model and model != slot.current_model:
                await self._load_model(load, slot, model)
            with contextlib.suppress(TimeoutError):
                await within(self._clock, seconds, self._may_finish.wait())
            await self._runs_on.wait()
        finally:
            load.live_gens -= 1
            slot.last_used_at = self._clock.now()

    async def _load_model(self, load: Load, slot: Slot, model: str) -> None:
        load.loading_models += 1
        try:
            await self._clock.sleep(self._model_load_seconds)
            slot.current_model = model
        finally:
            load.loading_models -= 1
