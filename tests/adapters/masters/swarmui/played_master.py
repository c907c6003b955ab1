"""The stand-in of a SwarmUI master with its workers, as the tests of our adapter move it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.contracts.master import Trouble, worker_at
from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.worker import Worker
from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.backend import Backend, BackendSettings
from ebbflow.standins.swarmui.http import SwarmApi
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.sessions import Access
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings

FLEET, HOME = "sdxl", "h0me1"
FOREIGN_TITLE = f"ebbflow/{FLEET}/h0me2/{FLEET}-9zzz-1-0"
CALL_SECONDS = 6.0
HANG_SECONDS = 0.75
"""The call timeout where a test waits for it: whoever is not made to hang has to answer in time, on a busy machine."""


def worker_of(title: str) -> str:
    """The worker's id in a title of ours; what follows it is for people."""
    return title.partition(" - ")[0].rpartition("/")[2]


class SwarmUIWorld:
    """One stand-in master with its workers on a clock that a test moves."""

    troubles = (
        Trouble.DOWN,
        Trouble.HANGING,
        Trouble.FAILING,
        Trouble.UNAUTHORISED,
        Trouble.BAD_REQUEST,
        Trouble.NONSENSE,
    )

    def __init__(
        self, folder: Path, stack: AsyncExitStack, *, is_new: bool = False, websocket_seconds: float = 0
    ) -> None:
        self.clock = ManualClock()
        settings = MasterSettings(folder, is_new=is_new, websocket_seconds=websocket_seconds)
        self.master = PlayedMaster(settings, clock=self.clock)
        self.sessions = InMemorySessionStore()
        self.address = ""
        self.workers: dict[str, PlayedWorker] = {}
        self.settings: dict[str, object] = {"call_timeout_seconds": CALL_SECONDS}
        self._stack = stack
        self._served: dict[str, AsyncExitStack] = {}
        self._urls: dict[str, str] = {}
        self._user = httpx.AsyncClient(timeout=None, trust_env=False)
        self._work: asyncio.Task[httpx.Response] | None = None

    async def open(self) -> None:
        self._stack.push_async_callback(self._close)
        self.address = await self._serve("master", self.master.app)

    def adapter(self, **settings: object) -> SwarmUIAdapter:
        given = SwarmUISettings.model_validate({"address": self.address, **self.settings, **settings})
        adapter = SwarmUIAdapter(given, fleet=FLEET, home=HOME, sessions=self.sessions, sleep=self.pause)
        self._stack.push_async_callback(adapter.aclose)
        return adapter

    async def pause(self, seconds: float) -> None:
        """Let the clock go on by what the adapter waits."""
        await self.clock.advance(seconds)
        await asyncio.sleep(0.002)

    async def start_worker(self, settings: WorkerSettings | None = None) -> Worker:
        worker_id = f"{FLEET}-0abc-1-{len(self.workers)}"
        self.workers[worker_id] = PlayedWorker(settings, clock=self.clock)
        return worker_at(worker_id, await self._serve(worker_id, self.workers[worker_id].app))

    async def end_worker(self, worker: Worker) -> None:
        name = next((name for name, served in self._urls.items() if served == worker.url), None)
        if name is not None and name in self._served:
            await self._served.pop(name).aclose()

    async def make_busy(self, worker: Worker) -> None:
        session = await self._user_call("GetNewSession", {})
        body = {"session_id": session.json()["session_id"], "images": 1, "steps": 20, "model": "sdxl.safetensors"}
        self._work = asyncio.ensure_future(self._user_call("GenerateText2Image", body))
        serving = self.workers[worker.worker_id]
        await self.until(lambda: serving.app.requests_for("GenerateText2Image") != [])

    async def finish_work(self) -> bool:
        work = self._work
        assert work is not None
        await self.until(work.done)
        return work.result().json().get("images") is not None

    async def advance(self) -> None:
        await self.clock.advance(0.4)
        await asyncio.sleep(0.002)  # what the stand-ins say to each other is real

    async def start_loading(self, worker: Worker) -> None:
        self.workers[worker.worker_id].begin_loading(3600)

    async def add_foreign_member(self) -> str:
        entry = await self.add_entry(FOREIGN_TITLE, "http://127.0.0.1:9")
        self.foreign_id = entry.id
        return FOREIGN_TITLE

    async def has_foreign_member(self) -> bool:
        entry = next((entry for entry in self.master.backends if entry.id == self.foreign_id), None)
        return entry is not None and entry.enabled and (entry.title, entry.modcount) == (FOREIGN_TITLE, 1)

    async def duplicate(self, worker: Worker) -> None:
        await self.add_entry(f"ebbflow/{FLEET}/{HOME}/{worker.worker_id}", worker.url or "")

    async def crash_in_registration(self, worker: Worker) -> None:
        self.master.app.faults.add(Fault(FaultKind.HANG, "EditBackend", times=1))
        with pytest.raises(MasterUnavailable):
            await self.adapter(call_timeout_seconds=HANG_SECONDS).register(worker)

    async def break_master(self, trouble: Trouble) -> None:
        faults = {
            Trouble.HANGING: FaultKind.HANG,
            Trouble.FAILING: FaultKind.FAIL,
            Trouble.BAD_REQUEST: FaultKind.NO_RESULT,
            Trouble.NONSENSE: FaultKind.GARBAGE,
        }
        if trouble is Trouble.DOWN:
            await self._served.pop("master").aclose()
        elif trouble is Trouble.UNAUTHORISED:
            self.master.app.access = Access(token="changed")
            self.master.app.sessions.expire_all()
        else:
            self.master.app.faults.add(Fault(faults[trouble]))
        if trouble is Trouble.HANGING:
            self.settings["call_timeout_seconds"] = HANG_SECONDS

    async def heal_master(self) -> None:
        self.settings["call_timeout_seconds"] = CALL_SECONDS
        self.master.app.faults.clear()
        self.master.app.access = Access()
        if "master" not in self._served:
            await self._serve("master", self.master.app, port=httpx.URL(self.address).port or 0)

    async def restart_master(self) -> None:
        await self.master.restart()

    async def replace_master(self, folder: Path) -> None:
        """Another SwarmUI, which has nothing of the first, is at its address from now on."""
        await self._served.pop("master").aclose()
        self.master = PlayedMaster(MasterSettings(folder, is_new=False, websocket_seconds=0), clock=self.clock)
        await self._serve("master", self.master.app, port=httpx.URL(self.address).port or 0)

    def sessions_given(self) -> int:
        return self.master.app.sessions.given + sum(worker.app.sessions.given for worker in self.workers.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            await self.advance()
        pytest.fail("it did not happen in time")

    async def add_entry(self, title: str, address: str) -> Backend:
        """Add an entry past the adapter under test, as a person or another installation does."""
        session = (await self._user_call("GetNewSession", {})).json()["session_id"]
        self.master.app.sessions.given -= 1  # it is not the adapter's
        body = {"session_id": session, "type_id": "swarmswarmbackend"}
        added = (await self._user_call("AddNewBackend", body)).json()["id"]
        settings = BackendSettings(address=address, allow_idle=True).saved()
        body = {"session_id": session, "backend_id": added, "title": title, "settings": settings}
        await self._user_call("EditBackend", body)
        return next(entry for entry in self.master.backends if entry.id == added)

    async def start_registered(self, count: int) -> list[Worker]:
        workers = [await self.start_worker() for _ in range(count)]
        await asyncio.gather(*(self.duplicate(worker) for worker in workers))
        return workers

    async def rename(self, worker: Worker) -> bool:
        """Its entry gets another title, as by a person."""
        for entry in self.entries():
            if worker.worker_id in entry.title:
                entry.own_title = "Bob's GPU"
        return True

    async def put_back(self, worker: Worker) -> bool:
        """A person switches its entry on again."""
        (entry,) = (entry for entry in self.entries() if worker.worker_id in entry.title)
        await self.until(lambda: entry.state is BackendState.DISABLED)
        await self.switch(entry, enabled=True)
        return True

    async def switch(self, entry: Backend, *, enabled: bool) -> None:
        """Click the switch of an entry in the page, as a person does."""
        await self._person_call("ToggleBackend", {"backend_id": entry.id, "enabled": enabled})

    async def delete(self, entry: Backend) -> None:
        """Delete an entry, or a child by its own id, as a person does."""
        await self._person_call("DeleteBackend", {"backend_id": entry.id})

    async def change(self, entry: Backend, settings: dict[str, object]) -> None:
        """Save an entry's form, as a person does."""
        body = {"backend_id": entry.id, "title": entry.own_title, "settings": settings}
        await self._person_call("EditBackend", body)

    async def _person_call(self, route: str, body: dict[str, object]) -> None:
        session = (await self._user_call("GetNewSession", {})).json()["session_id"]
        self.master.app.sessions.given -= 1  # it is not the adapter's
        await self._user_call(route, {"session_id": session, **body})

    def children(self) -> list[Backend]:
        return [entry for entry in self.master.backends if entry.parent is not None]

    def entries(self) -> list[Backend]:
        return [entry for entry in self.master.backends if entry.parent is None]

    async def _user_call(self, route: str, body: dict[str, object]) -> httpx.Response:
        return await self._user.post(f"{self.address}/API/{route}", json=body)

    async def _serve(self, name: str, app: SwarmApi, port: int = 0) -> str:
        self._served[name] = AsyncExitStack()
        self._urls[name] = await self._served[name].enter_async_context(serve(app, port=port))
        return self._urls[name]

    async def _close(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await self._user.aclose()
        for served in self._served.values():
            await served.aclose()


@asynccontextmanager
async def opened_world(
    folder: Path, *, is_new: bool = False, websocket_seconds: float = 0
) -> AsyncIterator[SwarmUIWorld]:
    async with AsyncExitStack() as stack:
        world = SwarmUIWorld(folder, stack, is_new=is_new, websocket_seconds=websocket_seconds)
        await world.open()
        yield world


async def ready(world: SwarmUIWorld, worker: Worker) -> None:
    await world.adapter().register(worker)
    await world.until(lambda: any(entry.parent and entry.may_run for entry in world.master.backends))


async def child_that_came_back(world: SwarmUIWorld, worker: Worker, leave: Callable[[], Awaitable[object]]) -> Backend:
    """Let the master's poll be answered only after the entry has gone: its child is back, and nobody watches it."""
    serving = world.workers[worker.worker_id]
    serving.app.faults.add(Fault(FaultKind.SLOW, "ListBackends", seconds=2))
    asked = len(serving.app.requests_for("ListBackends"))
    await world.until(lambda: len(serving.app.requests_for("ListBackends")) > asked)
    serving.app.faults.clear()
    await leave()
    assert not [entry for entry in world.master.backends if entry.parent is not None]
    await world.until(lambda: any(entry.parent is not None for entry in world.master.backends))
    return next(entry for entry in world.master.backends if entry.parent is not None)


Handler = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def mocked(handler: Handler, **settings: object) -> SwarmUIAdapter:
    given = SwarmUISettings.model_validate({"address": "http://master:7801", "call_timeout_seconds": 1, **settings})
    transport = httpx.MockTransport(handler)
    return SwarmUIAdapter(given, fleet=FLEET, home=HOME, sessions=InMemorySessionStore(), transport=transport)
