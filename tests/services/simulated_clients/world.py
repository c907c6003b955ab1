"""The real gateway and tiny workers in this process, and simulated clients between them, in virtual time."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.store import Store
from ebbflow.gateway.terms import Clocks
from ebbflow.gateway.wire import token_of
from ebbflow.services.simulated_clients.balancer import Balancer
from ebbflow.services.simulated_clients.client import Asking, Client
from ebbflow.services.simulated_clients.life import Life
from tests.services.simulated_clients.street import Street
from tests.services.simulated_clients.virtual_time import VirtualTime

OPERATOR, SECRET, ENDPOINT, GATEWAY = "o" * 40, "w" * 40, "llama", "http://gateway:7870"
REPORT_SECONDS = 5.0
TOKENS_PER_SECOND = 10.0


class TinyWorker:
    """The vendor's worker software, as clients see it, and a model; `next` says how it meets the next requests."""

    def __init__(self, world: "World", number: int) -> None:
        self.worker_id, self.url = f"demo-0abc-1-{number}", f"http://10.0.0.{number}:3000"
        self.next: list[str] = []
        self.seen: list[tuple[httpx.Headers, str, dict[str, Any]]] = []
        """Headers, address and body of each request."""
        self.working: dict[int, float] = {}
        self.is_loaded = True
        self._world = world
        self.app = Starlette(routes=[Route("/{path:path}", self._asked, methods=["POST"])])

    async def _asked(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append((httpx.Headers(request.headers.raw), str(request.url), body))
        match self.next.pop(0) if self.next else "serve":
            case "429" | "503" | "504" | "401" | "500" as status:
                return JSONResponse({"error": "no"}, int(status))
            case "elsewhere":
                return RedirectResponse("http://10.66.6.6:80/take", 307)
            case "page":
                return HTMLResponse("<html>a proxy</html>")
            case "empty":
                return Response(status_code=200)
            case "for ever":
                return StreamingResponse(_for_ever(b'data: {"token": "tide"}\n\n'))
            case "one line":
                return StreamingResponse(_for_ever(b"tide " * 13_107))
            case "an error":
                return StreamingResponse(_pieces(b'data: {"token": 1}\n\n', b'data: {"error": "CUDA"}\n\n'))
            case "break off":
                return StreamingResponse(self._tokens(2, breaks=True))
            case "silence":
                await asyncio.sleep(3600)
        payload = body.get("payload", body)
        number, tokens = body.get("auth_data", {}).get("request_idx", 0), payload["max_tokens"]
        self.working[number] = tokens
        await self.report()
        if payload["stream"]:
            return StreamingResponse(self._served(number, tokens))
        words = [token async for token in self._served(number, tokens)]
        return JSONResponse({"tokens": [word.decode() for word in words]})

    async def _served(self, number: int, tokens: int) -> AsyncIterator[bytes]:
        async for token in self._tokens(tokens):
            yield token
        self.working.pop(number, None)
        entries = [{"request_idx": number, "success": True, "status": "Success"}]
        await self._world.say("/delete_requests/", mtoken=token_of(self.worker_id, SECRET), requests=entries)
        await self.report()

    async def _tokens(self, count: int, *, breaks: bool = False) -> AsyncIterator[bytes]:
        for _ in range(count):
            await self._world.time.sleep(1 / TOKENS_PER_SECOND)
            yield b'data: {"token": "tide"}\n\n'
        if breaks:
            raise RuntimeError("its GPU is gone")

    async def report(self) -> None:
        await self._world.say(
            "/worker_status/",
            id=38250,
            version="1.1.0",
            mtoken=token_of(self.worker_id, SECRET),
            url=self.url,
            loadtime=3.0 if self.is_loaded else 0.0,
            max_perf=TOKENS_PER_SECOND if self.is_loaded else 0.0,
            cur_load=sum(self.working.values()),
            num_requests_working=len(self.working),
            working_request_idxs=list(self.working),
            error_msg="",
        )


class World:
    """One gateway with one endpoint."""

    def __init__(self, folder: Path) -> None:
        self.time, self.street, self.key = VirtualTime(), Street(), ""
        self._url = f"sqlite+aiosqlite:///{folder / 'gateway.sqlite'}"
        self._numbers = itertools.count(1)
        self.workers: list[TinyWorker] = []

    async def open(self, stack: AsyncExitStack) -> None:
        clocks = Clocks(self.time.clock, lambda: 1e9 + self.time.now)
        desk = Desk(Store(self._url), worker_secrets=(SECRET,), clocks=clocks)
        gateway = Gateway(desk, operator_keys=(OPERATOR,), clocks=clocks)
        await stack.enter_async_context(gateway.app.router.lifespan_context(gateway.app))
        self.street.servers["gateway:7870"] = gateway.app
        self.http = await stack.enter_async_context(httpx.AsyncClient(transport=self.street, base_url=GATEWAY))
        await self.operator("PUT", f"endpoints/{ENDPOINT}")
        self.key = (await self.operator("POST", f"endpoints/{ENDPOINT}/keys"))["key"]
        reporting = asyncio.create_task(self._report())
        stack.callback(reporting.cancel)

    async def operator(self, method: str, path: str, **body: object) -> dict[str, Any]:
        given = {"Authorization": f"Bearer {OPERATOR}"}
        answer = await self.http.request(method, f"/operator/{path}", json=body, headers=given)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def account(self) -> dict[str, Any]:
        return await self.operator("GET", f"endpoints/{ENDPOINT}")

    async def say(self, path: str, **body: object) -> None:
        assert (await self.http.post(path, json=body)).is_success

    async def worker(self, *meets: str, is_there: bool = True, is_loaded: bool = True) -> TinyWorker:
        """Registered and, where it has loaded, ready; it may be that nobody listens at its address all the same."""
        made = TinyWorker(self, next(self._numbers))
        made.next += meets
        made.is_loaded = is_loaded
        if is_there:
            self.street.servers[made.url.removeprefix("http://")] = made.app
        await made.report()
        await self.operator("PUT", f"endpoints/{ENDPOINT}/workers/{made.worker_id}", url=made.url, lease_seconds=3600)
        self.workers.append(made)
        return made

    def client(self, *, key: str | None = None, gateway: str = GATEWAY, **asking: Any) -> Client:
        """Any: fields of `Asking`."""
        http = httpx.AsyncClient(transport=self.street, base_url=gateway)
        balancer = Balancer(http, endpoint=ENDPOINT, key=self.key if key is None else key)
        workers = httpx.AsyncClient(transport=self.street)
        time = self.time
        return Client(balancer, workers, Asking(**asking), clock=time.clock, sleep=time.sleep)

    async def lived(self, tokens: int = 5, client: Client | None = None, **asking: Any) -> Life:
        """One request, from now to its end."""
        life = Life(self.time.now, self.time.now, tokens)
        await self.time.run((client or self.client(**asking)).live(life, Random(1)))
        return life

    async def _report(self) -> None:
        while True:
            await self.time.sleep(REPORT_SECONDS)
            for worker in self.workers:
                await worker.report()


class ScriptedGateway:
    """A gateway that answers what it is told to, one after the other, and the last one again and again."""

    def __init__(self, street: Street, *answers: Response, told: Callable[[], None] = lambda: None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._told = told
        self._answers = list(answers)
        self.done_status = 200
        street.servers["scripted:8080"] = Starlette(routes=[Route("/{path:path}", self._asked, methods=["POST"])])
        self.url = "http://scripted:8080"

    async def _asked(self, request: Request) -> Response:
        self._told()
        self.asked.append((request.url.path, json.loads(await request.body())))
        if request.url.path == "/done/":
            return JSONResponse({"settled": True}, self.done_status)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def world_of(folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(folder)
        await world.open(stack)
        yield world


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _for_ever(piece: bytes) -> AsyncIterator[bytes]:
    while True:
        yield piece
