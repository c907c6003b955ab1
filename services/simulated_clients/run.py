"""One run against a live gateway: connections, clients and the crowd of them, on this host's clock."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from ebbflow.services.simulated_clients.arrivals import Arrival
from ebbflow.services.simulated_clients.balancer import Balancer
from ebbflow.services.simulated_clients.client import Asking, Client
from ebbflow.services.simulated_clients.connections import connections
from ebbflow.services.simulated_clients.cost import Pricing
from ebbflow.services.simulated_clients.crowd import Crowd, Moment, Played, Surroundings
from ebbflow.services.simulated_clients.life import GivenUp


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run shall be."""

    endpoint: str
    gateway: str
    """Its address."""
    key: str = field(repr=False)
    """Of the endpoint's clients."""
    arrivals: Sequence[Arrival] = field(repr=False)
    asking: Asking
    most_open: int
    seed: int


class Run:
    """A run whose connections are open.

    Args:
        wanted: what it shall be.
        http: to the gateway.
        workers: to wherever that sends.
    """

    def __init__(self, wanted: Wanted, http: httpx.AsyncClient, workers: httpx.AsyncClient) -> None:
        self._wanted, self._workers = wanted, workers
        self._balancer = Balancer(http, endpoint=wanted.endpoint, key=wanted.key)

    async def check(self) -> None:
        """Ask the gateway for what costs nobody anything.

        Raises:
            GivenUp: it does not answer, or does not take the key.
        """
        await self._balancer.workers()

    async def play(self, pricing: Pricing, tell: Callable[[Moment], None], stop: asyncio.Event) -> Played:
        """Let the clients come."""
        clock, wanted = time.monotonic, self._wanted
        around = Surroundings(clock, asyncio.sleep, self._count, pricing, tell)
        client = Client(self._balancer, self._workers, wanted.asking, clock=clock, sleep=asyncio.sleep)
        return await Crowd(client, around, most_open=wanted.most_open, seed=wanted.seed).play(wanted.arrivals, stop)

    async def _count(self) -> int | None:
        try:
            return await self._balancer.workers()
        except GivenUp:
            return None


@asynccontextmanager
async def opened(wanted: Wanted) -> AsyncIterator[Run]:
    """Open a run's connections."""
    async with connections(wanted.gateway, wanted.most_open) as (http, workers):
        yield Run(wanted, http, workers)
