"""A real scheduler of opengris-scaler on this host, and what a user does with it; its workers are whoever is tested's.

Each release comes from an environment of its own (tests/environments/scaler_2_9.txt and scaler_1_15.txt).
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ebbflow.adapters.masters.scaler.helpers
from ebbflow.adapters.masters.scaler.settings import Wire
from ebbflow.standins.process import free_port
from tests.extra_environment import environment

WORK_1_15 = Path(ebbflow.adapters.masters.scaler.helpers.__path__[0]) / "work_1_15.py"
START_SECONDS = 90.0
WORK = """
import os, sys, time
from scaler import Client

def work(number, seconds, path):
    with open(path, "a") as notes:
        notes.write(f"{number}\\n")
    time.sleep(seconds)
    while os.path.exists(path + ".held"):
        time.sleep(0.05)
    return number

count, with_gpu, seconds, path = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
with Client(address=sys.argv[1]) as client:
    futures = [
        client.submit_verbose(work, (number, seconds, path), {}, capabilities={"gpu": 1} if number >= count else {})
        for number in range(count + with_gpu)
    ]
    count += with_gpu
    assert [future.result() for future in futures] == list(range(count))
print("all is done", flush=True)
"""


def programs(wire: Wire) -> Path:
    """Where the commands of a release are."""
    return environment(f"scaler_{wire.replace('.', '_')}")


class RealScheduler:
    """A scheduler with its storage on this host, and workers that a test starts and ends."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        self.folder, self.wire = folder, wire
        self.programs = programs(wire)
        # The monitor takes the second port after the scheduler's.
        self.storage, self.address = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port(neighbours=2)}"
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "work.py").write_text(WORK)

    def start(self, program: str, *words: str) -> "subprocess.Popen[bytes]":
        """Run one of the package's commands, or another program."""
        log = (self.folder / f"{len(self._processes)}-{Path(program).name}.log").open("wb")
        given = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        with log:
            process = subprocess.Popen(
                [str(self.programs / program), *words],
                env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def run(self, *words: str) -> None:
        """Start the scheduler itself, with its policy."""
        self._words = words
        self._scheduler = self.start("scaler_scheduler", self.address, "-osa", self.storage, *words)

    def restart(self) -> None:
        """Kill it, and start it again at the same address."""
        self._scheduler.kill()
        self._scheduler.wait(10)
        self.run(*self._words)

    def hold(self) -> None:
        """Let no task end until they are released."""
        self._held.touch()

    def release(self) -> None:
        """Let tasks end."""
        self._held.unlink()

    @property
    def _held(self) -> Path:
        return self.notes.with_name(f"{self.notes.name}.held")

    def work(self, count: int, seconds: float, *, with_gpu: int = 0) -> "subprocess.Popen[bytes]":
        """Submit tasks, plain ones and such that require a GPU; each notes its number when it begins."""
        numbers = (str(count), str(with_gpu), str(seconds))
        return self.start("python", str(self.folder / "work.py"), self.address, *numbers, str(self.notes))

    @property
    def settings(self) -> dict[str, str]:
        """Of a master that asks it."""
        python = str(self.programs / "python")
        return {"scheduler": self.address, "object_storage": self.storage, "python": python, "wire": self.wire}

    @property
    def worker_command(self) -> list[str]:
        """What a worker is, before what its join spec adds."""
        if self.wire == "1.15":
            return [str(self.programs / "python"), str(WORK_1_15)]
        return [str(self.programs / "scaler_worker_manager"), "baremetal_native"]

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
            # Each leads a group of its own, in which its workers are.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def await_port(address: str, *, is_open: bool = True, of: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until somebody listens there, or nobody does; whoever shall listen there must not end before."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            found = False
        else:
            found = True
        if found is is_open:
            return
        if of is not None and of.poll() is not None:
            raise RuntimeError(f"{address}: whoever should listen there has ended with {of.returncode}")
        time.sleep(0.05)
    raise TimeoutError(f"{address}: {'nobody' if is_open else 'somebody'} listens for {START_SECONDS:g} s")


@contextmanager
def real_scheduler(
    folder: Path,
    policy: str = "allocate=even_load; scaling=vanilla",
    *,
    wire: Wire = "2.9",
    engine: str = "simple",
    more: tuple[str, ...] = (),
) -> Iterator[RealScheduler]:
    """One that runs, with its policy and more of its options; afterwards nothing of it is left."""
    scheduler = RealScheduler(folder, wire)
    try:
        scheduler.start("scaler_object_storage_server", scheduler.storage)
        # 1.15 does not try again where its storage is not there yet.
        await_port(scheduler.storage)
        scheduler.run("-et", engine, "-pc", policy, *more)
        yield scheduler
    finally:
        scheduler.close()
