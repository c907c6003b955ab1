"""All simulated clients of a run at once, each at its time, and what is seen of them meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from ebbflow.services.simulated_clients.arrivals import Arrival
from ebbflow.services.simulated_clients.client import Client
from ebbflow.services.simulated_clients.cost import LOOK_SECONDS, Look, Pricing
from ebbflow.services.simulated_clients.life import Life, Lost

TELL_SECONDS = 1.0
"""Between two moments."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How a run stands."""

    seconds: float
    """Since it began."""
    due: int
    """Requests of the whole run."""
    started: int
    open: int
    """Neither served nor lost."""
    waiting: int
    """Of those, told to wait."""
    served: int
    lost: int
    workers: int | None
    """Of the endpoint, as last seen; None: unknown."""


@dataclass(frozen=True, slots=True)
class Played:
    """What was seen of a run."""

    began_at: float
    ended_at: float
    due: int
    """Requests that were to come."""
    lives: tuple[Life, ...]
    """Those that came."""
    moments: tuple[Moment, ...]
    looks: tuple[Look, ...]
    was_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run stands on.

    `count_workers` and `pricing` answer within seconds and raise nothing: what they do not know is None.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    count_workers: Callable[[], Awaitable[int | None]]
    pricing: Pricing
    tell: Callable[[Moment], None]
    """Called each second or so."""


class Crowd:
    """One run.

    Args:
        client: lives each request.
        around: what it stands on.
        most_open: requests that are open at once; who comes then waits outside, and that counts as latency.
        seed: of each client's own pauses.
    """

    def __init__(self, client: Client, around: Surroundings, *, most_open: int, seed: int) -> None:
        self._client, self._around, self._seed = client, around, seed
        self._room = asyncio.Semaphore(most_open)
        self._lives: list[Life] = []
        self._open: set[int] = set()
        self._moments: list[Moment] = []
        self._looks: list[Look] = []
        self._due, self._began, self._served, self._lost = 0, 0.0, 0, 0

    async def play(self, arrivals: Sequence[Arrival], stop: asyncio.Event) -> Played:
        """Let them come, and wait for the end of each, or for the order to stop: then all that is open is cut off."""
        self._due, self._began = len(arrivals), self._around.clock()
        if stop.is_set():
            return self._played(self._began, was_interrupted=True)
        async with asyncio.TaskGroup() as group:
            all_of_them = group.create_task(self._let_come(arrivals))
            watch = [group.create_task(self._tell()), group.create_task(self._look())]
            stopped = group.create_task(stop.wait())
            await asyncio.wait((all_of_them, stopped), return_when=asyncio.FIRST_COMPLETED)
            was_interrupted = not all_of_them.done()
            for task in (all_of_them, stopped, *watch):
                task.cancel()
        ended = self._around.clock()
        for number in tuple(self._open):
            # Cancelled before it had begun.
            self._over(number, Lost.CUT_OFF)
        self._moments.append(self._moment())
        return self._played(ended, was_interrupted=was_interrupted)

    def _played(self, ended: float, *, was_interrupted: bool) -> Played:
        lives, moments, looks = tuple(self._lives), tuple(self._moments), tuple(self._looks)
        return Played(self._began, ended, self._due, lives, moments, looks, was_interrupted)

    async def _let_come(self, arrivals: Sequence[Arrival]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, arrival in enumerate(arrivals):
                due = self._began + arrival.at_seconds
                # Also where it is late: others have to get on.
                await self._around.sleep(max(0.0, due - self._around.clock()))
                await self._room.acquire()
                life = Life(due, max(due, self._around.clock()), arrival.tokens)
                self._lives.append(life)
                self._open.add(number)
                group.create_task(self._live(number, life))

    async def _live(self, number: int, life: Life) -> None:
        try:
            # Of its own, so that no client's luck hangs on what another one does.
            await self._client.live(life, Random(f"{self._seed} {number}"))
        finally:
            self._room.release()
            self._over(number, life.lost)

    def _over(self, number: int, lost: Lost | None) -> None:
        life = self._lives[number]
        if life.ended_at is None:
            life.ended_at, life.lost = self._around.clock(), lost
        self._open.discard(number)
        self._served += life.is_served
        self._lost += not life.is_served

    async def _tell(self) -> None:
        while True:
            self._moments.append(self._moment())
            self._around.tell(self._moments[-1])
            await self._around.sleep(TELL_SECONDS)

    async def _look(self) -> None:
        while True:
            workers = await self._around.count_workers()
            price = await self._around.pricing(workers)
            self._looks.append(Look(self._around.clock(), workers, price))
            await self._around.sleep(LOOK_SECONDS)

    def _moment(self) -> Moment:
        return Moment(
            seconds=self._around.clock() - self._began,
            due=self._due,
            started=len(self._lives),
            open=len(self._open),
            waiting=sum(self._lives[number].is_waiting for number in self._open),
            served=self._served,
            lost=self._lost,
            workers=self._looks[-1].workers if self._looks else None,
        )
