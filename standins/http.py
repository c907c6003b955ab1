"""Run an ASGI application on a loopback port inside the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

TURNS_TO_ACCEPT = 5
"""Of the event loop, from a kernel's accepted connection to its protocol's first call, with some to spare."""

IDLE_SECONDS = 130
"""That a connection may be idle; SwarmUI's own server (Kestrel) keeps it as long. At uvicorn's five seconds, which is
also when httpx gives up an idle one, a request can meet the end of its connection."""


@runtime_checkable
class Mortal(Protocol):
    """An application that can end like a process: once `ended` is set nobody listens on its port any more."""

    ended: asyncio.Event


class ConnectionDropped(Exception):
    """Raised by an application whose client is to see its connection end without an answer."""


def _listener(host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only where the protocol is named; left on, each answer waits for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0, host: str = "127.0.0.1", sends_date: bool = True) -> AsyncIterator[str]:
    """Serve `app` on loopback while the context is open, without threads and without touching signal handlers.

    Leaving the context drops open connections at once, so that a request that never ends cannot keep a test waiting.
    A `Mortal` application that ends by itself is dropped the same way; the context stays open with nothing behind it.

    Args:
        app: its lifespan is entered before the first request, and left at the end.
        port: 0 takes a free one.
        host: an address of this computer's loopback network, 127.0.0.0/8.
        sends_date: add this computer's time to each answer; an application with a clock of its own does so itself.

    Yields:
        The base URL, without a trailing slash.
    """
    listener = _listener(host, port)
    server = _server_for(app, sends_date=sends_date)
    await server.startup(sockets=[listener])
    watch = asyncio.ensure_future(_drop_when_ended(server, app))
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await _drop(server)
        await server.lifespan.shutdown()
        listener.close()


def _server_for(app: ASGIApp, *, sends_date: bool) -> uvicorn.Server:
    # uvicorn's `Server.serve` takes over the process's signals and needs 0.2 s to stop; only its protocol is used here.
    droppable = _Droppable(app)
    config = uvicorn.Config(
        droppable,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        date_header=sends_date,
        timeout_keep_alive=IDLE_SECONDS,
    )
    config.load()
    server = uvicorn.Server(config)
    droppable.state = server.server_state
    server.lifespan = config.lifespan_class(config)
    return server


class _Droppable:
    """Lets a request be cancelled quietly; uvicorn would log a cancelled request as an error of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.state = ServerState()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await self._app(scope, receive, send)
            except ConnectionDropped:
                self._abort(scope["client"])
                while (await receive())["type"] != "http.disconnect":
                    continue

    def _abort(self, client: tuple[str, int]) -> None:
        for connection in list(self.state.connections):
            if connection.transport is not None and connection.transport.get_extra_info("peername") == client:
                connection.transport.abort()


async def _drop_when_ended(server: uvicorn.Server, app: ASGIApp) -> None:
    if isinstance(app, Mortal):
        await app.ended.wait()
        await _drop(server)


async def _drop(server: uvicorn.Server) -> None:
    """Stop listening and reset every connection, as the kernel does for a killed process."""
    loop = asyncio.get_running_loop()
    for listening in server.servers:
        # Closed at once, asyncio would lose the socket of a connection that it is just accepting.
        for accepting in listening.sockets:
            loop.remove_reader(accepting.fileno())
    for _ in range(TURNS_TO_ACCEPT):
        for connection in list(server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        tasks = list(server.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
    for listening in server.servers:
        listening.close()
