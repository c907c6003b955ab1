"""Ctrl-C and SIGTERM: they never strike in the middle of a line, they ask the demo to end in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODE = 130

T = TypeVar("T")


class Interruption:
    """Notes that a signal came, and cancels what runs.

    A handler that only notes leaves no instant in which a process has been started and is not yet known to us.
    """

    def __init__(self) -> None:
        self.received = False
        self._cancel: Callable[[], object] | None = None

    def install(self) -> None:
        """Take the signals over, for the rest of this process's life: a second Ctrl-C must not stop the clean-up."""
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, or until a signal comes.

        Raises:
            asyncio.CancelledError: a signal came.
        """
        return asyncio.run(self._cancellable(work))

    async def _cancellable(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        # Also wakes the loop, which a handler of Python's own does not.
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if self.received:
            task.cancel()
        try:
            return await task
        finally:
            self._cancel = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if self._cancel is not None:
            self._cancel()
