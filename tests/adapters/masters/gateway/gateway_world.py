"""A whole gateway on a database file, with workers that report and clients that ask, on a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from ebbflow.adapters.masters.gateway.adapter import GatewayAdapter
from ebbflow.adapters.masters.gateway.settings import GatewaySettings
from ebbflow.contracts.master import Trouble, worker_at
from ebbflow.core.worker import Worker
from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.reports import FRESH_SECONDS
from ebbflow.gateway.store import Store
from ebbflow.gateway.terms import Clocks
from ebbflow.gateway.wire import token_of
from tests.gateway.street import Street

FLEET, HOME, OTHER_HOME, ENDPOINT = "demo", "h0me1", "h0me2", "llama"
OPERATOR, SECRET = "o" * 40, "w" * 40
SETTINGS = {
    "address": "http://gateway:7870",
    "endpoint": ENDPOINT,
    "operator_key": OPERATOR,
    "worker_secret": SECRET,
    "call_timeout_seconds": 1,
}
REPORT_SECONDS = 10.0


class _Line(httpx.AsyncBaseTransport):
    """What is between the adapter and the gateway, with its troubles."""

    def __init__(self) -> None:
        self.inner: httpx.AsyncBaseTransport | None = None
        self.trouble: Trouble | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        match self.trouble:
            case Trouble.DOWN:
                raise httpx.ConnectError("nobody listens", request=request)
            case Trouble.HANGING:
                await asyncio.sleep(3600)
            case Trouble.FAILING:
                return httpx.Response(500, text="it broke")
            case Trouble.UNAUTHORISED:
                return httpx.Response(401, json={"error": "Authentication failed"})
            case Trouble.BAD_REQUEST:
                return httpx.Response(400, json={"error": "no"})
            case Trouble.NONSENSE:
                return httpx.Response(200, text="<html>a proxy</html>")
        assert self.inner is not None, "the gateway runs"
        return await self.inner.handle_async_request(request)


class GatewayWorld:
    """One gateway with one endpoint."""

    troubles = (
        Trouble.DOWN,
        Trouble.HANGING,
        Trouble.FAILING,
        Trouble.UNAUTHORISED,
        Trouble.BAD_REQUEST,
        Trouble.NONSENSE,
    )

    def __init__(self, url: str) -> None:
        self.now, self.key = 1000.0, ""
        self._url = url
        self._street = Street()
        self._line = _Line()
        self._running = AsyncExitStack()
        self._workers: dict[str, dict[str, Any]] = {}
        self._count = 0
        self._request: tuple[int, str] | None = None

    def adapter(self, **settings: object) -> GatewayAdapter:
        read = GatewaySettings.model_validate({**SETTINGS, **settings})
        return GatewayAdapter(read, fleet=FLEET, home=HOME, transport=self._line)

    async def open(self) -> None:
        """Start the gateway's process."""
        clocks = Clocks(lambda: self.now, lambda: 1e9 + self.now)

        def make() -> Gateway:
            desk = Desk(Store(self._url), worker_secrets=(SECRET,), clocks=clocks)
            return Gateway(desk, operator_keys=(OPERATOR,), clocks=clocks)

        opened = self._street.opened(self._url, make, operator_keys=(OPERATOR,), clocks=clocks)
        await self._running.enter_async_context(opened)
        self._line.inner = self._street
        self._http = await self._running.enter_async_context(
            httpx.AsyncClient(transport=self._line.inner, base_url="http://gateway:7870")
        )

    async def close(self) -> None:
        """End it."""
        await self._running.aclose()
        self._running = AsyncExitStack()

    async def operator(self, method: str, path: str, **body: object) -> dict[str, Any]:
        """What a person does with the operator's key."""
        given = {"Authorization": f"Bearer {OPERATOR}"}
        answer = await self._http.request(method, f"/operator/{path}", json=body, headers=given)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def start_worker(self) -> Worker:
        self._count += 1
        worker = worker_at(f"{FLEET}-0abc-1-{self._count}", f"http://10.0.0.{self._count}:3000")
        assert worker.url is not None
        self._workers[worker.worker_id] = {"url": worker.url, "loadtime": 4.0, "max_perf": 50.0, "working": []}
        await self._report(worker.worker_id)
        return worker

    async def end_worker(self, worker: Worker) -> None:
        self._workers.pop(worker.worker_id, None)
        # Until its silence means something.
        for _ in range(int(FRESH_SECONDS / REPORT_SECONDS) + 1):
            await self._pass(REPORT_SECONDS)

    async def make_busy(self, worker: Worker) -> None:
        body = {"endpoint": ENDPOINT, "api_key": self.key, "cost": 10}
        answer = (await self._http.post("/route/", json=body)).json()
        assert answer["url"] == worker.url, answer
        self._request = answer["request_idx"], worker.worker_id
        self._workers[worker.worker_id]["working"] = [answer["request_idx"]]
        await self._report(worker.worker_id)

    async def finish_work(self) -> bool:
        assert self._request is not None, "something was begun"
        number, worker_id = self._request
        if worker_id not in self._workers:
            return False
        self._workers[worker_id]["working"] = []
        entries = [{"request_idx": number, "success": True, "status": "Success"}]
        body = {"mtoken": token_of(worker_id, SECRET), "requests": entries}
        assert (await self._http.post("/delete_requests/", json=body)).is_success
        await self._report(worker_id)
        return True

    async def advance(self) -> None:
        await self._pass(1.0)

    async def start_loading(self, worker: Worker) -> None:
        self._workers[worker.worker_id] |= {"loadtime": 0.0, "max_perf": 0.0}
        await self._report(worker.worker_id)

    async def fail(self, worker: Worker, error: str) -> None:
        """What the worker's software says for ever once its model's log says so."""
        self._workers[worker.worker_id]["error"] = error
        await self._report(worker.worker_id)

    async def start_anew(self, worker: Worker) -> None:
        """As its start script does: unmeasured at first, then as before."""
        said = self._workers[worker.worker_id]
        loaded = {"loadtime": said["loadtime"], "max_perf": said["max_perf"]}
        for changes in ({"error": "", "loadtime": 0.0, "max_perf": 0.0}, loaded):
            said |= changes
            await self._report(worker.worker_id)

    async def add_foreign_member(self) -> str:
        worker_id = f"{FLEET}-9zzz-1-0"
        self._workers[worker_id] = {"url": "http://10.9.9.9:3000", "loadtime": 1.0, "max_perf": 1.0, "working": []}
        await self._report(worker_id)
        path = f"endpoints/{ENDPOINT}/workers/{worker_id}"
        await self.operator("PUT", path, url="http://10.9.9.9:3000", home=OTHER_HOME)
        return worker_id

    async def has_foreign_member(self) -> bool:
        rows = (await self.operator("GET", f"endpoints/{ENDPOINT}"))["workers"]
        return any(row["worker_id"] == f"{FLEET}-9zzz-1-0" and not row["is_draining"] for row in rows)

    async def duplicate(self, worker: Worker) -> bool:
        return False

    async def crash_in_registration(self, worker: Worker) -> None:
        """There is one step: before it nothing is there, after it all."""

    async def rename(self, worker: Worker) -> bool:
        return False

    async def put_back(self, worker: Worker) -> bool:
        return False

    async def break_master(self, trouble: Trouble) -> None:
        self._line.trouble = trouble

    async def heal_master(self) -> None:
        self._line.trouble = None

    async def restart_master(self) -> None:
        for gateway in self._street.gateways():
            await gateway.desk.tend()
        await self.close()
        await self.open()

    async def _pass(self, seconds: float) -> None:
        self.now += seconds
        for worker_id in self._workers:
            await self._report(worker_id)

    async def _report(self, worker_id: str) -> None:
        worker = self._workers[worker_id]
        said = {
            "id": 38250,
            "version": "1.1.0",
            "mtoken": token_of(worker_id, SECRET),
            "url": worker["url"],
            "loadtime": worker["loadtime"],
            "max_perf": worker["max_perf"],
            "cur_load": 10.0 * len(worker["working"]),
            "num_requests_working": len(worker["working"]),
            "working_request_idxs": worker["working"],
            "error_msg": worker.get("error", ""),
        }
        assert (await self._http.post("/worker_status/", json=said)).is_success


@asynccontextmanager
async def gateway_world(url: str) -> AsyncIterator[GatewayWorld]:
    """At a database of this URL."""
    world = GatewayWorld(url)
    await world.open()
    try:
        await world.operator("PUT", f"endpoints/{ENDPOINT}")
        world.key = (await world.operator("POST", f"endpoints/{ENDPOINT}/keys"))["key"]
        yield world
    finally:
        await world.close()
