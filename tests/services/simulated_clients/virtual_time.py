"""Seconds that pass only where everybody who is awake has done what there is to do."""

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
STEPS = 60
"""Of the event loop, after which everybody who is awake has fallen asleep; servers in this process need some."""


class VirtualTime:
    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._count), woken))
        await woken

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let time pass until something is done."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                for _ in range(STEPS):
                    if task.done():
                        return await task
                    await asyncio.sleep(0)
                self._wake()
        finally:
            task.cancel()

    def _wake(self) -> None:
        """The next one."""
        while self._sleepers:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self.now = max(self.now, at)
                woken.set_result(None)
                return
