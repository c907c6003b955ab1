"""What processes cost: of the runs that an `ebbflow runner` starts, of a Prefect server, and of this process."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import psutil

from ebbflow.standins import process
from tests.benchmarks.world import World

LOOK_SECONDS = 0.05
MOST_SECONDS = 60.0
SERVER = "ebbflow.services.runner.server"


class Bill:
    """Seconds of a processor, once its block has ended."""

    cpu_seconds = 0.0


@dataclass(frozen=True, slots=True)
class Runner:
    """The two processes that have the runs as their children."""

    worker: psutil.Process
    """Prefect's own; nobody's run."""
    server: psutil.Process
    """The turn server: what it does itself, it does for runs."""
    pollers: frozenset[int]
    """Of its children the one that is no run."""

    @asynccontextmanager
    async def billed(self) -> AsyncIterator[Bill]:
        """The runs that begin in the block, with all the processes that they waited for."""
        bill, before = Bill(), self._seconds()
        yield bill
        # A run's process outlives its last state, and only one that was waited for is in the bill.
        deadline = time.monotonic() + MOST_SECONDS
        while self.worker.children() or {each.pid for each in self.server.children()} - self.pollers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes of a run have not ended: {self.worker.children()}")
            await asyncio.sleep(LOOK_SECONDS)
        bill.cpu_seconds = self._seconds() - before

    def _seconds(self) -> float:
        worker, server = self.worker.cpu_times(), self.server.cpu_times()
        ended = worker.children_user + worker.children_system + server.children_user + server.children_system
        return float(ended + server.user + server.system)


@contextmanager
def runner(running: World, pool: str) -> Iterator[Runner]:
    """An `ebbflow runner` whose turn server answers, until the block ends."""
    command = [sys.executable, "-m", "ebbflow.cli", "runner", "--pool", pool]
    log = running.folder / "runner.log"
    # Ten seconds of waiting for a poll are in no figure, and would be most of the bench.
    environment = {**running.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    found: list[psutil.Process] = []
    try:
        with process.running(
            command, environment=environment, log=log, is_ready=lambda: "answers at" in log.read_text()
        ) as started:
            found = psutil.Process(started.pid).children()
            server = next(each for each in found if SERVER in each.cmdline())
            worker = next(each for each in found if "worker" in each.cmdline())
            yield Runner(worker, server, _pollers(server))
    finally:
        # In sessions of their own, so that a runner that had to be killed has left them.
        for each in found:
            with suppress(psutil.Error):
                each.kill()


def _pollers(server: psutil.Process) -> frozenset[int]:
    """Whom it forks before it is asked for any run."""
    deadline = time.monotonic() + MOST_SECONDS
    while not (found := server.children()):
        assert time.monotonic() < deadline, "nobody polls"
        time.sleep(LOOK_SECONDS)
    return frozenset(each.pid for each in found)


def prefect_server(running: World) -> psutil.Process:
    """The process of the world's Prefect server."""
    port = running.api_url.removesuffix("/api").rpartition(":")[2]
    servers = [each for each in psutil.Process().children() if {"server", port} <= set(each.cmdline())]
    assert len(servers) == 1, f"{len(servers)} processes serve at {running.api_url}"
    return servers[0]


def tree_seconds(root: psutil.Process) -> float:
    """Of a process, of all below it, and of those that they waited for."""
    return sum(sum(each.cpu_times()[:4]) for each in [root, *root.children(recursive=True)])
