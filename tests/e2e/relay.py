"""A relay in front of a server that can lose an answer after the server has acted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ebbflow.standins.http import serve


class Relay:
    """Passes HTTP requests on. Web sockets it does not know: events are lost, which nothing rests on."""

    def __init__(self, target: str) -> None:
        self.url = ""
        self.lost = 0
        self._target = target
        self._client = httpx.AsyncClient(trust_env=False, verify=False, timeout=60)
        self._losing: tuple[str, str, str] | None = None
        self.app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=["GET", "POST", "PATCH", "DELETE"])])

    def lose_next(self, method: str, path: str, how: str) -> None:
        """Let the next such request be done, and its answer be lost: `reset`, or a status instead."""
        self._losing = (method, path, how)

    async def _pass_on(self, request: Request) -> Response:
        headers = {key: value for key, value in request.headers.items() if key not in ("host", "content-length")}
        answer = await self._client.request(
            request.method,
            f"{self._target}{request.url.path}",
            params=request.query_params,
            headers=headers,
            content=await request.body(),
        )
        if self._losing is not None and self._losing[:2] == (request.method, request.url.path):
            how, self._losing = self._losing[2], None
            self.lost += 1
            if how != "reset":
                return Response("lost", int(how), headers={"Retry-After": "0"})
            return StreamingResponse(_cut_off(), headers={"content-length": "1000"})
        kept = {key: value for key, value in answer.headers.items() if key in ("content-type", "date")}
        return Response(answer.content, answer.status_code, headers=kept)

    async def aclose(self) -> None:
        """Close its own connections."""
        await self._client.aclose()


async def _cut_off() -> AsyncIterator[bytes]:
    yield b"{"
    raise asyncio.CancelledError


@asynccontextmanager
async def relayed(api_url: str) -> AsyncIterator[Relay]:
    """Serve a relay in front of a server whose API is at `api_url`."""
    parts = urlsplit(api_url)
    relay = Relay(f"{parts.scheme}://{parts.netloc}")
    async with serve(relay.app) as url:
        relay.url = f"{url}{parts.path}"
        try:
            yield relay
        finally:
            await relay.aclose()
