"""Tasks that live as long as the process that a stand-in plays."""

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class Background:
    """A set of running tasks that ends as one."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` beside everything else; its exceptions are logged."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def cancel(self) -> None:
        """Ask every task but the calling one to end, without waiting: a killed process finishes nothing."""
        for task in self._others():
            task.cancel()

    async def stop(self) -> None:
        """End every task but the calling one, and wait for them."""
        self.cancel()
        await asyncio.gather(*self._others(), return_exceptions=True)

    def _others(self) -> "set[asyncio.Task[None]]":
        caller = asyncio.current_task()
        return {task for task in self._tasks if task is not caller}

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a background task of a stand-in failed", exc_info=task.exception())
