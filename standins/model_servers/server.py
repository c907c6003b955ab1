"""One stand-in model server: `python -m ebbflow.standins.model_servers vllm --port 8000 --load-seconds 5`."""

import argparse
import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence
from enum import Enum

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ebbflow.standins.http import serve
from ebbflow.standins.model_servers.answers import MANNERS, NOT_FOUND, UNAUTHORIZED, Answer, Loading, Played
from ebbflow.standins.process import free_port

FOR_EVER_SECONDS = 3600.0


class State(Enum):
    """How a server is."""

    REFUSED = "refused"
    """Nobody listens on its port."""
    LOADING = "loading"
    """In the manner of its kind."""
    READY = "ready"
    ASLEEP = "asleep"
    """A prompt wakes it."""
    BUSY = "busy"
    """It has no room for a prompt."""


class ModelServer:
    """A server of one kind, at one address whatever becomes of it.

    Args:
        kind: that it plays.
        model: its name.
        key: that it asks for, where its kind has any; empty: none.
        port: of its address; 0 takes a free one.
        metrics_port: of its figures, where its kind has one.
    """

    def __init__(
        self, kind: str, *, model: str = "played-model", key: str = "", port: int = 0, metrics_port: int = 0
    ) -> None:
        self.kind, self.key = kind, key
        self.manner = MANNERS[kind]
        self.played = Played(model)
        self.port, self.metrics_port = port or free_port(), metrics_port or free_port()
        self.url, self.metrics_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.metrics_port}"
        self.state = State.REFUSED
        self.asked: list[str] = []
        """All that was asked for: method, path and query."""
        self._listening = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def live(self, state: State = State.READY) -> AsyncIterator[str]:
        """Play it until the block ends.

        Yields:
            Its address.
        """
        try:
            await self.become(state)
            yield self.url
        finally:
            await self._listening.aclose()

    async def become(self, state: State) -> None:
        """Be so from now on.

        Raises:
            ValueError: its kind cannot sleep.
        """
        if state is State.ASLEEP and not self.manner.can_sleep:
            raise ValueError(f"a model of {self.kind} does not sleep")
        listened, self.state = self._listens, state
        self.played.is_loading = state is State.LOADING
        self.played.is_asleep, self.played.is_busy = state is State.ASLEEP, state is State.BUSY
        if listened and not self._listens:
            await self._listening.aclose()
        if self._listens and not listened:
            await self._listening.enter_async_context(serve(self, port=self.port))
            if self.manner.has_metrics_port:
                await self._listening.enter_async_context(serve(self, port=self.metrics_port))

    @property
    def _listens(self) -> bool:
        is_closed = self.state is State.LOADING and self.manner.loading is Loading.REFUSED
        return self.state is not State.REFUSED and not is_closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] != "http":
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            return
        request = Request(scope, receive)
        query = f"?{request.url.query}" if request.url.query else ""
        self.asked.append(f"{request.method} {request.url.path}{query}")
        await _response(await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        path, is_metrics_port = request.url.path, request.scope["server"][1] == self.metrics_port
        if is_metrics_port != (self.manner.has_metrics_port and path == "/metrics"):
            return NOT_FOUND
        if self.state is State.LOADING and self.manner.loading is Loading.HANGS:
            await asyncio.sleep(FOR_EVER_SECONDS)
        if self.key and not self.manner.is_open(path) and not self._is_let_in(request):
            return UNAUTHORIZED
        if self.state is State.LOADING and isinstance(self.manner.loading, tuple):
            return self.manner.loading
        if request.method == "POST" and path == self.manner.prompt_path.format(model=self.played.model):
            return await self._prompted(await request.body())
        # Each look at a job brings it forward.
        job = path.removeprefix("/api/jobs/")
        if job in self.played.jobs:
            self.played.jobs[job] += 1
        looks = self.manner.looks(self.played)
        return looks.get(path if request.method == "GET" else f"{request.method} {path}", NOT_FOUND)

    async def _prompted(self, body: bytes) -> Answer:
        if self.state is State.LOADING:
            await asyncio.sleep(FOR_EVER_SECONDS)
        if self.state is State.BUSY and self.manner.no_room is not None:
            return self.manner.no_room
        try:
            data = json.loads(body)
        except ValueError:
            return 400, {"error": "the body is no JSON"}
        answer = self.manner.prompt(self.played, data)
        if answer[0] == 200:
            self.played.served += 1
            if self.state is State.ASLEEP:
                await self.become(State.READY)
        return answer

    def _is_let_in(self, request: Request) -> bool:
        if self.kind == "litserve":
            return request.headers.get("X-API-Key") == self.key
        return request.headers.get("Authorization") == f"Bearer {self.key}"


def _response(answer: Answer) -> Response:
    status, said = answer
    return PlainTextResponse(said, status) if isinstance(said, str) else JSONResponse(said, status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a server until SIGTERM or SIGINT."""
    return asyncio.run(_run(_parser().parse_args(arguments)))


async def _run(options: argparse.Namespace) -> int:
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    server = ModelServer(
        options.kind, model=options.model, key=options.key, port=options.port, metrics_port=options.metrics_port
    )
    async with server.live(State.LOADING if options.load_seconds else State.READY) as url:
        print(f"{server.kind} plays at {url}", flush=True)
        if server.manner.has_metrics_port:
            print(f"with its figures at {server.metrics_url}/metrics", flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told_to_end.wait(), options.load_seconds or None)
        if not told_to_end.is_set():
            await server.become(State.READY)
            await told_to_end.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model_servers", description=__doc__, allow_abbrev=False)
    parser.add_argument("kind", choices=sorted(MANNERS))
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--metrics-port", type=int, default=0, help="of the kinds that have one beside")
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--key", default="", help="asked of whoever comes, where the kind can")
    parser.add_argument("--model", default="played-model", help="its name")
    return parser
