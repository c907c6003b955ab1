"""One history of the real scheduler of opengris-scaler 2.9.0: our program asks it, its own command is the worker."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.settings import ScalerSettings
from ebbflow.contracts.master import worker_at
from ebbflow.core.member import DrainAnswer, Member, MemberState
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker
from ebbflow.standins.process import free_port
from tests.extra_environment import environment

FLEET, HOME = "demo", "h0me1"
PATIENCE_SECONDS = 30.0
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

pytestmark = [pytest.mark.anyio, pytest.mark.soak]


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


@pytest.fixture
async def real(anyio_backend: str, tmp_path: Path) -> AsyncIterator[RealScheduler]:
    scheduler = RealScheduler(tmp_path, environment("scaler2"))
    try:
        scheduler.start("scaler_object_storage_server", scheduler.storage)
        scheduler.start(
            "scaler_scheduler",
            scheduler.address,
            "-osa",
            scheduler.storage,
            "-pc",
            "allocate=even_load; scaling=vanilla",
        )
        yield scheduler
    finally:
        scheduler.close()


async def until(holds: Callable[[], Awaitable[object]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}; {found}"
        await asyncio.sleep(0.3)


async def test_a_fleet_sees_what_it_works_on_and_ended_workers_hand_their_tasks_back(real: RealScheduler) -> None:
    settings = {"scheduler": real.address, "object_storage": real.storage, "python": str(real.programs / "python")}
    adapter = ScalerAdapter(ScalerSettings.model_validate(settings), fleet=FLEET, home=HOME)

    async def member(worker: Worker) -> Member | None:
        listing = await adapter.members()
        return next((each for each in listing.members if each.worker_id == worker.worker_id), None)

    async def answers() -> bool:
        return (await adapter.probe()).version == "2.9.0"

    await until(answers, "the scheduler answers")
    before = await adapter.demand()
    assert (before.complete, before.total, before.desired) == (True, 0, (Want((), 0),))

    client = real.work(3, 2)

    async def wait() -> bool:
        return (await adapter.demand()).queued == 3

    await until(wait, "three tasks wait")
    assert (await adapter.demand()).desired == (Want((), 1),), "its own policy asks for one worker"

    first, second = (worker_at(f"{FLEET}-0abc-1-{number}", "http://unused:1") for number in (1, 2))
    processes = {}
    for worker in (first, second):
        assert not (await adapter.joined(worker)).registered
        words = adapter.join_spec(worker.worker_id).arguments
        processes[worker.worker_id] = real.start("scaler_worker_manager", "baremetal_native", *words)

        async def has_joined(worker: Worker = worker) -> bool:
            return (await adapter.joined(worker)).registered

        await until(has_joined, "it joins")

        async def works(worker: Worker = worker) -> bool:
            seen = await member(worker)
            return seen is not None and (seen.state, seen.busy) == (MemberState.READY, True)

        if worker is first:
            await until(works, "it works")
    assert await adapter.drain(first, 60) is DrainAnswer.BUSY

    processes[first.worker_id].send_signal(signal.SIGTERM)

    async def has_left() -> bool:
        return await member(first) is None

    await until(has_left, "the one that was ended is gone from the scheduler")
    assert await adapter.drain(first, 60) is DrainAnswer.GONE
    assert await asyncio.to_thread(client.wait, PATIENCE_SECONDS) == 0, "no task is lost"
    assert set(real.began()) == {0, 1, 2}

    async def is_idle() -> bool:
        seen = await member(second)
        return seen is not None and seen.busy is False

    await until(is_idle, "the other one is idle")
    assert await adapter.drain(second, 60) is DrainAnswer.ACCEPTED
    assert (await adapter.demand()).desired == (Want((), 0),)
