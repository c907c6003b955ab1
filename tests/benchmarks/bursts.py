"""What a burst of work costs: workers are looked at until the work is done and the last of them has gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

LOOK_SECONDS = 0.25
MOST_SECONDS = 600.0


@asynccontextmanager
async def each(seconds: float, call: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Call it so often, until the block ends."""

    async def go_on() -> None:
        while True:
            began = time.monotonic()
            await call()
            await anyio.sleep(max(0.0, seconds - (time.monotonic() - began)))

    async with anyio.create_task_group() as group:
        group.start_soon(go_on)
        yield
        group.cancel_scope.cancel()


async def paid_seconds(is_done: Callable[[], bool], workers: Callable[[], int]) -> float:
    """Worker-seconds until the work is done and nobody is left; a worker is paid for from its start to its end."""
    paid, seen = 0.0, time.monotonic()
    begun, count = seen, 1
    # Asked each time, also while workers are there: it notes when the work was done.
    while not is_done() or count:
        await asyncio.sleep(LOOK_SECONDS)
        count, now = await asyncio.to_thread(workers), time.monotonic()
        paid, seen = paid + count * (now - seen), now
        if now - begun > MOST_SECONDS:
            raise TimeoutError(f"the burst has not ended within {MOST_SECONDS:g} s")
    return paid
