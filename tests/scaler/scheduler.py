"""A real scheduler of opengris-scaler on this host, and what a user does with it; its workers are whoever is tested's.

It comes from an environment of its own (tests/environments/scaler2.txt).
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ebbflow.standins.process import free_port
from tests.extra_environment import environment

WORK = """
import sys, time
from scaler import Client

def work(number, seconds, path):
    with open(path, "a") as notes:
        notes.write(f"{number}\\n")
    time.sleep(seconds)
    return number

count, seconds, path = int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
with Client(address=sys.argv[1]) as client:
    futures = [client.submit(work, number, seconds, path) for number in range(count)]
    assert [future.result() for future in futures] == list(range(count))
print("all is done", flush=True)
"""


class RealScheduler:
    """A scheduler with its storage on this host, and workers that a test starts and ends."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.storage, self.address = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{_port_with_a_neighbour()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "work.py").write_text(WORK)

    def start(self, program: str, *words: str) -> "subprocess.Popen[bytes]":
        """Run one of the package's commands."""
        log = (self.folder / f"{len(self._processes)}-{program}.log").open("wb")
        given = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        with log:
            process = subprocess.Popen(
                [str(self.programs / program), *words],
                env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def work(self, count: int, seconds: float) -> "subprocess.Popen[bytes]":
        """Submit tasks; each notes its number when it begins."""
        words = (str(self.folder / "work.py"), self.address, str(count), str(seconds), str(self.notes))
        return self.start("python", *words)

    @property
    def notes(self) -> Path:
        """Where tasks write."""
        return self.folder / "notes"

    def began(self) -> list[int]:
        """Numbers of tasks, as often as they began."""
        return [int(line) for line in self.notes.read_text().split()] if self.notes.exists() else []

    def close(self) -> None:
        """End everything that was started here."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            process.wait(10)


def _port_with_a_neighbour() -> int:
    """A free port whose second neighbour, which the monitor takes, is free too."""
    while True:
        port = free_port()
        with socket.socket() as monitor, suppress(OSError):
            monitor.bind(("127.0.0.1", port + 2))
            return port


@contextmanager
def real_scheduler(folder: Path, policy: str = "allocate=even_load; scaling=vanilla") -> Iterator[RealScheduler]:
    """One that runs; afterwards nothing of it is left."""
    scheduler = RealScheduler(folder, environment("scaler2"))
    try:
        scheduler.start("scaler_object_storage_server", scheduler.storage)
        scheduler.start("scaler_scheduler", scheduler.address, "-osa", scheduler.storage, "-pc", policy)
        yield scheduler
    finally:
        scheduler.close()
