"""Ends what a test session started, once that session has ended by whatever means: `python -m tests.reaper FOLDER`.

It waits until its stdin is closed, which also happens when the session is killed. Ours is every process that carries
the session's folder in its environment, or writes to a file in it: launched workers get a bare environment. Jobs of a
test's Slurm name its configuration, and the steps that hold them work in its folder.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "EBBFLOW_TEST_SESSION"
ROUNDS_SECONDS = 0.2


@contextmanager
def watching(folder: Path) -> Iterator[None]:
    """Mark every child of this process with the folder, and have the marked ones ended after it."""
    os.environ[VARIABLE] = str(folder)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    watcher = subprocess.Popen(
        [sys.executable, "-m", "tests.reaper", str(folder)],
        cwd=Path(__file__).parents[1],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait(timeout=30)
        del os.environ[VARIABLE]


def processes_of(folder: str) -> list[int]:
    """Live processes of the session, by the marks they carry."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if int(place.name) != os.getpid() and _is_of(folder, place):
            found.append(int(place.name))
    return found


def _is_of(folder: str, place: Path) -> bool:
    with suppress(OSError):
        environment = (place / "environ").read_bytes().split(b"\0")
        if f"{VARIABLE}={folder}".encode() in environment:
            return True
        if any(variable.startswith(f"SLURM_CONF={folder}/".encode()) for variable in environment):
            return True
        if (place / "comm").read_text() == "slurmstepd\n" and os.readlink(place / "cwd").startswith(f"{folder}/"):
            return True
        return any(os.readlink(place / "fd" / name).startswith(f"{folder}/") for name in ("1", "2"))
    return False


def main() -> None:
    """Wait for the end, then kill until nothing is left; whoever is being killed may still start somebody."""
    (folder,) = sys.argv[1:]
    sys.stdin.read()
    while left := processes_of(folder):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(ROUNDS_SECONDS)


if __name__ == "__main__":
    main()
