"""Servers of this process by their addresses; what they send arrives piece by piece, which httpx's own way lacks."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
from starlette.types import ASGIApp

# Any: what ASGI says of its messages.
Message = MutableMapping[str, Any]


class Street(httpx.AsyncBaseTransport):
    """Nobody listens where no server is."""

    def __init__(self) -> None:
        self.servers: dict[str, ASGIApp] = {}
        self.asked: list[httpx.URL] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        server = self.servers.get(f"{request.url.host}:{request.url.port}")
        if server is None:
            raise httpx.ConnectError("nobody listens", request=request)
        call = _Call(server, request, await request.aread())
        try:
            return await call.answer()
        except BaseException:
            await call.aclose()
            raise


class _Call(httpx.AsyncByteStream):
    """One request, and its answer as it comes."""

    def __init__(self, server: ASGIApp, request: httpx.Request, body: bytes) -> None:
        self._request, self._body = request, body
        # One at a time: a server is no faster than who reads.
        self._pieces: asyncio.Queue[Message | None] = asyncio.Queue(1)
        self._is_read = False
        self._task = asyncio.create_task(self._serve(server))

    async def answer(self) -> httpx.Response:
        start = await self._next()
        return httpx.Response(start["status"], headers=start["headers"], stream=self, request=self._request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            piece = await self._next()
            yield piece.get("body", b"")
            if not piece.get("more_body"):
                return

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _next(self) -> Message:
        piece = await self._pieces.get()
        if piece is None:
            raise httpx.RemoteProtocolError("it broke off", request=self._request)
        return piece

    async def _serve(self, server: ASGIApp) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path,
            "query_string": url.query,
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": (url.host, url.port),
            "root_path": "",
        }
        try:
            await server(scope, self._receive, self._pieces.put)
        except Exception:
            # As when its process ends.
            await self._pieces.put(None)

    async def _receive(self) -> Message:
        if self._is_read:
            await asyncio.Event().wait()
        self._is_read = True
        return {"type": "http.request", "body": self._body, "more_body": False}
