"""How the tests talk to a stand-in SwarmUI, and let its time pass."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any  # JSON of the stand-in's answers

import httpx

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.swarmui.master import PlayedMaster
from ebbflow.standins.swarmui.worker import PlayedWorker

Json = dict[str, Any]
SETTINGS: Json = {
    "AllowIdle": True,
    "AllowForwarding": True,
    "AllowWebsocket": True,
    "AuthorizationHeader": "",
    "OtherHeaders": "",
    "ConnectionAttemptTimeoutSeconds": 30,
}
QUIET_SECONDS = 0.002
"""Real time in which a request over loopback is taken up."""
QUIET_LOOKS = 10
"""As many times a step of the clock waits so long for answers: one that hangs never comes."""


class Client:
    """A caller with one session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(base_url=url, timeout=3, trust_env=False, verify=False)
        self.session_id = ""

    async def open(self) -> Json:
        answer: Json = (await self.http.post("/API/GetNewSession", json={})).json()
        self.session_id = answer.get("session_id", "")
        return answer

    async def post(self, route: str, **body: object) -> httpx.Response:
        return await self.http.post(f"/API/{route}", json={"session_id": self.session_id, **body})

    async def call(self, route: str, **body: object) -> Json:
        answer: Json = (await self.post(route, **body)).json()
        return answer

    async def control(self, name: str, **body: object) -> Json:
        answer: Json = (await self.http.post(f"/Control/{name}", json=body)).json()
        return answer

    async def backends(self) -> Json:
        return await self.call("ListBackends", nonreal=True, full_data=True)

    async def load(self) -> Json:
        load: Json = (await self.call("GetGlobalStatus"))["status"]
        return load

    async def edit(self, backend_id: int = 0, title: str = "t", **settings: object) -> Json:
        return await self.call("EditBackend", backend_id=backend_id, title=title, settings=settings)

    async def toggle(self, enabled: bool, backend_id: int = 0) -> Json:
        return await self.call("ToggleBackend", backend_id=backend_id, enabled=enabled)

    async def delete(self, backend_id: int = 0) -> Json:
        return await self.call("DeleteBackend", backend_id=backend_id)

    async def register(self, worker_url: str, title: str = "ebbflow/sdxl/h/w1", **settings: object) -> int:
        backend_id: int = (await self.call("AddNewBackend", type_id="swarmswarmbackend"))["id"]
        await self.edit(backend_id, title, **{**SETTINGS, "Address": worker_url, **settings})
        return backend_id

    def later(self, route: str, **body: object) -> "asyncio.Future[Json]":
        """Ask now, and be answered when the clock allows it."""
        return asyncio.ensure_future(self.call(route, **body))

    def generate(self, steps: int = 1, images: int = 1, **body: object) -> "asyncio.Future[Json]":
        return self.later("GenerateText2Image", images=images, steps=steps, **body)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = Client(url)
    async with client.http:
        await client.open()
        yield client


async def until(holds: Callable[[], bool], seen: Callable[[], object] = lambda: "") -> None:
    """Wait for the effect of real loopback traffic, which a manual clock does not move."""
    deadline = time.monotonic() + 3
    while not holds():
        assert time.monotonic() < deadline, f"never held; last seen: {seen()}"
        await asyncio.sleep(QUIET_SECONDS)


async def working(worker: PlayedWorker, count: int = 1) -> None:
    """Wait until a worker has been given so many generations."""
    requests = worker.app.requests
    await until(lambda: len(worker.app.requests_for("GenerateText2Image")) >= count, lambda: requests)


def states(master: PlayedMaster) -> dict[int, str]:
    return {entry.id: str(entry.state) for entry in master.backends}


async def calm(master: PlayedMaster) -> None:
    """Let the questions that a master has asked be answered, unless they hang."""
    for _ in range(QUIET_LOOKS):
        await asyncio.sleep(QUIET_SECONDS)
        if not master.questions:
            break


async def pass_time(played: PlayedMaster | PlayedWorker, seconds: float, step: float = 1.0) -> None:
    """Move in steps, with room for the traffic of each."""
    assert isinstance(played.clock, ManualClock)
    for _ in range(round(seconds / step)):
        await played.clock.advance(step)
        if isinstance(played, PlayedMaster):
            await calm(played)
        else:
            await asyncio.sleep(QUIET_SECONDS)


async def reach(master: PlayedMaster, wanted: dict[int, str], seconds: float = 1.0) -> None:
    """Let time pass until the states are there: by default no more than starts take on a master that is not new."""
    step = 0.1 if seconds <= 10 else 1.0
    await calm(master)
    for _ in range(round(seconds / step)):
        if states(master) == wanted:
            break
        await pass_time(master, step, step)
    await until(lambda: states(master) == wanted, lambda: states(master))


async def outcome(played: PlayedMaster | PlayedWorker, work: "asyncio.Future[Json]", step: float = 1.0) -> Json:
    """Let time pass until a request is answered."""
    for _ in range(round(300 / step)):
        if work.done():
            break
        await pass_time(played, step, step)
    assert work.done(), "never answered"
    return work.result()


async def seconds_until_done(master: PlayedMaster, work: "asyncio.Future[Json]", step: float = 0.1) -> float:
    """Let time pass until a request is answered, and return how long that took by the clock."""
    asked_at = master.clock.now()
    await calm(master)
    await outcome(master, work, step)
    return master.clock.now() - asked_at
