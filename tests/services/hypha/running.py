"""`ebbflow hypha` as a process, as people run it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from ebbflow.standins.process import signal_group
from tests.e2e.processes import until

SAYS_SECONDS = 60.0
COMMAND = [sys.executable, "-m", "ebbflow.cli", "hypha"]


class RunningService:
    """One, in a folder of its own, which can be ended and started again.

    Args:
        folder: of its file and its state.
        written: what its file says. Any: YAML is what it is.
    """

    def __init__(self, folder: Path, written: dict[str, Any]) -> None:
        self.folder, self.log = folder, folder / "service.log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hypha.yaml").write_text(yaml.safe_dump({"interval_seconds": 0.2, **written}))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Run it; it is registered a moment later."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                COMMAND,
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text() if self.log.exists() else ""

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until it has said that so often."""
        with suppress(AssertionError):
            await until(lambda: self.said().count(words) >= times or self._has_ended(), words, SAYS_SECONDS)
        assert self.said().count(words) >= times, f"not {times} times {words!r}: {self.said()}"

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    async def ended(self) -> int:
        """Wait until it has ended by itself; its code."""
        await until(self._has_ended, "the service has ended")
        assert self._process is not None
        return int(self._process.wait(10))

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)
            self._process.wait(10)

    def audited(self) -> str:
        """What its file says of calls."""
        return (self.folder / "state" / "audit.jsonl").read_text()
