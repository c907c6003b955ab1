"""Time as a parameter: the real clock, and one that a test moves by hand."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Coroutine
from typing import Protocol, TypeVar

T = TypeVar("T")

# One exchange over loopback takes a few turns of the event loop; this lets several of them end before time moves on.
SETTLE_TURNS = 60


class Clock(Protocol):
    """What a stand-in knows of time."""

    def now(self) -> float:
        """Return seconds on a clock that only ever goes forward."""

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock."""


class RealClock:
    """The monotonic clock of this computer."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep in real time."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until `advance` is awaited."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the seconds that the test has let pass."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has gone past the given number of seconds."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its own instant and giving it room to act before the next one.

        Work that needs real input and output may still be under way at the end: a test waits for its effect.
        """
        end = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            if woken.done():  # its task was cancelled
                continue
            self._now = due
            woken.set_result(None)
            await self._settle()
        self._now = end

    async def _settle(self) -> None:
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)


async def within(clock: Clock, seconds: float, work: Coroutine[object, object, T]) -> T:
    """Await `work` for at most that many seconds of `clock`.

    Raises:
        TimeoutError: the time is over; the work has been cancelled.
    """
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"no answer within {seconds:g} s")
        return task.result()
    finally:
        task.cancel()
        alarm.cancel()
        await asyncio.gather(task, alarm, return_exceptions=True)
