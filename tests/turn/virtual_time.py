"""An event loop in virtual time: its clock stands still until somebody moves it, and it tells when nobody can go on."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _TellsWhenQuiet(selectors.SelectSelector):
    """Instead of waiting for time or for a file, it says that there is nothing left to do."""

    def __init__(self, when_quiet: Callable[[], None]) -> None:
        super().__init__()
        self._when_quiet = when_quiet

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._when_quiet()
        # Nothing outside is waited for, so the system is not asked: that would be a tenth of a search's time.
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time is what `now` says; a timeout fires when it is set beyond its end."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: set[asyncio.TimerHandle] = set()
        self._quiet: asyncio.Future[None] | None = None
        super().__init__(_TellsWhenQuiet(self._tell))

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self._timers.add(handle)
        return handle

    def next_timer(self) -> float | None:
        """When the next timeout is due."""
        self._timers = {timer for timer in self._timers if not timer.cancelled() and timer.when() > self.now}
        return min((timer.when() for timer in self._timers), default=None)

    async def quiet(self) -> None:
        """Wait until everybody else waits for somebody."""
        self._quiet = self.create_future()
        await self._quiet

    def _tell(self) -> None:
        quiet, self._quiet = self._quiet, None
        if quiet is None:
            raise AssertionError("everybody waits, and nobody for that")
        if not quiet.done():
            quiet.set_result(None)


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run something in virtual time."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop))
