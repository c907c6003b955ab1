"""Processes of a test: started, found by what their environment holds, and ended."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

DEADLINE_SECONDS = 120.0
"""How long a test waits for something that happens in a moment; many tests may share the machine."""


async def until(holds: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for something that no event tells."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)


def processes_with(name: str, value: str) -> dict[int, dict[str, str]]:
    """Live processes whose environment holds a variable: their environments by pid. Zombies have none."""
    found = {}
    wanted = f"{name}={value}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if wanted in words:
                pairs = (word.decode("utf-8", "replace").partition("=") for word in words)
                found[int(path.parent.name)] = {key: text for key, _, text in pairs}
    return found


def start_stand_in(
    words: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a stand-in SwarmUI in a session of its own."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ebbflow.standins.swarmui.server", *words],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def end_all(variable: str, value: str) -> None:
    """Kill every process that carries a variable of that value, and see it gone."""

    def left() -> dict[int, dict[str, str]]:
        found = processes_with(variable, value)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return found

    await until(lambda: not left(), f"no process has {variable}={value}")


def kill_at_once(pids: Sequence[int]) -> None:
    """End processes as a host that loses power does: none of them sees that another one has gone."""
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
