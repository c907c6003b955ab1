"""A demo as a person runs it: one process, in a folder of its own, with everything that it starts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def demo(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A demo in a folder of its own; the test fails if it leaves a process, and ends what it left."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # Of a user's own set-up, which the demo must not use.
    bait = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(folder / "users-prefect")}
    process = subprocess.Popen(
        [sys.executable, "-m", "ebbflow.demo", *arguments],
        env={**theirs, **bait, "TMPDIR": str(folder), **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        left = processes_in(folder)
        assert left == [], f"still running: {[each.cmdline() for each in left]}"
        assert not (folder / "users-prefect").exists()
    finally:
        for each in processes_in(folder):
            each.kill()
        process.kill()
        process.wait(10)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Whoever works in the folder, or knows of it: GPU workers know little else."""
    found = []
    for process in psutil.process_iter():
        try:
            places = [process.cwd(), *process.environ().values()]
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and any(str(folder) in place for place in places):
            found.append(process)
    return found


def read_until(process: subprocess.Popen[str], *texts: str) -> str:
    """What the demo says, up to the first line that holds all of these texts."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if all(text in line for text in texts):
            return said
    raise AssertionError(f"the demo never said {texts}:\n{said}")


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> str:
    process.send_signal(number)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)  # people press it twice
    said, _ = process.communicate(timeout=60)
    return said
