"""The processes that the demo starts itself, each in a session of its own so that Ctrl-C reaches the demo alone."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ebbflow.demo.errors import StepFailed
from ebbflow.demo.place import Place

POLL_SECONDS = 0.1
CHECK_SECONDS = 0.5
TERM_SECONDS = 3.0
KILL_SECONDS = 5.0

T = TypeVar("T")


class Children:
    """Started processes by name. What they print goes to a log each in the demo's folder.

    Args:
        place: whose folder and environment they get.
        environment: all that they get.
    """

    def __init__(self, place: Place, environment: Mapping[str, str]) -> None:
        self._place = place
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lasting: set[str] = set()

    def start(self, name: str, command: Sequence[str], **more: str) -> None:
        """Start one that shall run until it is ended.

        Args:
            name: for messages and the log's name.
            command: its words; no shell reads them.
            more: environment variables for it alone.
        """
        self._spawn(name, command, cwd=self._place.folder, more=more)
        self._lasting.add(name)

    async def run(self, name: str, command: Sequence[str], *, cwd: Path, seconds: float) -> None:
        """Run one to its end.

        Raises:
            StepFailed: it failed, or took longer than `seconds`.
        """
        process = self._spawn(name, command, cwd=cwd, more={})
        deadline = time.monotonic() + seconds
        while (code := process.poll()) is None:
            if time.monotonic() > deadline:
                raise StepFailed(f"{name} did not end within {seconds:g} s", self._place.log(name))
            await asyncio.sleep(POLL_SECONDS)
        del self._running[name]
        if code:
            raise StepFailed(f"{name} failed with exit code {code}", self._place.log(name))

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something for as long as everything that was started runs.

        Raises:
            StepFailed: one has ended by itself. What would wait for it for minutes is cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=CHECK_SECONDS)
                self._check()
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _check(self) -> None:
        for name in self._lasting & self._running.keys():
            if (code := self._running[name].poll()) is not None:
                raise StepFailed(f"{name} ended by itself with exit code {code}", self._place.log(name))

    def pid(self, name: str) -> int | None:
        """The process id of one that was started, None for one that was not."""
        process = self._running.get(name)
        return process.pid if process else None

    def pids(self, names: Sequence[str]) -> list[int]:
        """The process ids of those that were started, which are their sessions' ids too."""
        return [pid for name in names if (pid := self.pid(name)) is not None]

    def end(self, *, keep: Sequence[str] = ()) -> None:
        """End all but `keep`, the last one first: SIGTERM to its process group, then SIGKILL where it is needed."""
        for name in reversed([name for name in self._running if name not in keep]):
            _end(self._running.pop(name))

    def _spawn(
        self, name: str, command: Sequence[str], *, cwd: Path, more: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        with self._place.log(name).open("ab") as log:
            process = subprocess.Popen(
                list(command),
                env={**self._environment, **more},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = process
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        if process.poll() is not None:
            return
        # It leads its group, and it has not been waited for: the id is still its own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
