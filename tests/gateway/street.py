"""Gateways in this process at addresses of their own: one, or two on one PostgreSQL that are asked in turn."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import httpx
from starlette.types import ASGIApp

from ebbflow.gateway.app import Gateway
from ebbflow.gateway.peers import Peers
from ebbflow.gateway.seat import PostgresSeat
from ebbflow.gateway.several import Several
from ebbflow.gateway.terms import Clocks


class Street(httpx.AsyncBaseTransport):
    """What leads to them: by their own host's name, and by any other one to the next in turn."""

    def __init__(self) -> None:
        self._apps: dict[str, ASGIApp] = {}
        self._deciding: list[Callable[[], Gateway | None]] = []
        self._turn: Iterator[str] = iter(())

    @property
    def only(self) -> ASGIApp:
        """The one gateway."""
        (app,) = self._apps.values()
        return app

    def gateways(self) -> list[Gateway]:
        """Those that decide."""
        return [gateway for found in self._deciding if (gateway := found()) is not None]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host if request.url.host in self._apps else next(self._turn)
        return await httpx.ASGITransport(app=self._apps[host]).handle_async_request(request)

    @asynccontextmanager
    async def opened(
        self, url: str, make: Callable[[], Gateway], *, operator_keys: tuple[str, ...], clocks: Clocks
    ) -> AsyncIterator[None]:
        """Gateways that answer until the block ends: one on a file, two on a PostgreSQL."""
        self._apps, self._deciding = {}, []
        async with AsyncExitStack() as stack:
            if url.startswith("sqlite"):
                gateway = make()
                await stack.enter_async_context(gateway.app.router.lifespan_context(gateway.app))
                self._apps["only"] = gateway.app
                self._deciding.append(lambda: gateway)
            for name in () if self._apps else ("first", "second"):
                several = Several(
                    PostgresSeat(url, f"http://{name}"),
                    make,
                    address=f"http://{name}",
                    operator_keys=operator_keys,
                    peers=Peers(operator_keys[0], self),
                    monotonic=clocks.monotonic,
                )
                self._apps[name] = several
                self._deciding.append(partial(_leading, several))
                await stack.enter_async_context(several.router.lifespan_context(several.router))
            self._turn = itertools.cycle(list(self._apps))
            yield


def _leading(several: Several) -> Gateway | None:
    return several.leading
