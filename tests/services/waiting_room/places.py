"""A waiting room as a process, as people run it, and its address."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-m", "ebbflow.cli", "waiting-room"]


class RunningRoom:
    """One, which can be ended and started again at its address."""

    def __init__(self, log: Path, port: int = 0) -> None:
        self.log, self.port = log, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("wb") as output:
            command = [*COMMAND, "--port", str(self.port)]
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + 30
        while not (said := re.search(rb"Uvicorn running on http://127\.0\.0\.1:(\d+)", self.log.read_bytes())):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.port = int(said[1])

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextmanager
def running_room(folder: Path) -> Iterator[RunningRoom]:
    room = RunningRoom(folder / "waiting-room.log")
    room.start()
    try:
        yield room
    finally:
        room.kill()
