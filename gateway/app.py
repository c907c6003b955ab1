"""The gateway over HTTP: what workers, clients and operators may ask, each with a proof of its own."""

import contextlib
from collections.abc import AsyncIterator

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ebbflow.gateway.desk import Desk
from ebbflow.gateway.for_clients import ForClients
from ebbflow.gateway.for_operators import ForOperators
from ebbflow.gateway.for_workers import ForWorkers
from ebbflow.gateway.guard import Guard, said
from ebbflow.gateway.looking import Looking
from ebbflow.gateway.metrics import Metrics
from ebbflow.gateway.outgoing import Outgoing
from ebbflow.gateway.terms import Clocks

TEND_SECONDS = 2.0


class Gateway:
    """The application.

    Args:
        desk: what it knows.
        operator_keys: of the masters' blocks and of people; two while one takes the other's place.
        clocks: of this host.
        outgoing: asks model servers that report nothing.
    """

    def __init__(
        self, desk: Desk, *, operator_keys: tuple[str, ...], clocks: Clocks, outgoing: Outgoing | None = None
    ) -> None:
        self.desk = desk
        self._outgoing = outgoing or Outgoing()
        self.looking = Looking(desk, self._outgoing, clocks.monotonic)
        guard, metrics = Guard(desk, clocks.monotonic, operator_keys), Metrics(desk, clocks.monotonic)
        self.app = Starlette(
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _no_such_path},
            routes=[
                *ForClients(desk, guard, clocks, metrics.routed).routes,
                *ForWorkers(desk, guard).routes,
                *ForOperators(desk, guard, clocks, operator_keys, metrics).routes,
            ],
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        try:
            await self.desk.open()
            ends = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(self._tend, ends)
                group.start_soon(self.looking.go_on, ends)
                try:
                    yield
                finally:
                    ends.set()
        finally:
            await self._outgoing.aclose()
            await self.desk.store.aclose()

    async def _tend(self, ends: anyio.Event) -> None:
        """Every few seconds until the end, which waits for what was begun."""
        while not ends.is_set():
            with anyio.move_on_after(TEND_SECONDS):
                await ends.wait()
                return
            await self.desk.tend()


async def _no_such_path(request: Request, error: Exception) -> Response:
    """In the shape of every other error, with the methods that there are."""
    assert isinstance(error, HTTPException), "for nothing else it is called"
    answer = said(error.status_code, f"{error.detail}: /docs names what can be asked")
    answer.headers.update(error.headers or {})
    return answer
