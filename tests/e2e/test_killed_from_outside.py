"""A deployed fleet whose runs, worker, server and master are killed and stopped at random, while it has work to do.

Nothing of it is played but the GPU: a Prefect server, a process worker, scheduled runs in processes of their own, and a
master with workers that are processes. Whatever is killed, no request may be lost, no worker started twice or left
behind, none stopped while it works, and never may more exist than the fleet's limit says.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_LEVEL, temporary_settings

from ebbflow.fleet.deployed import PREFECT_WORKER
from ebbflow.standins import process
from ebbflow.standins.process import free_port
from tests.e2e.deploying import POOL, deploy, deployments, write_prefect_file
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all, processes_with
from tests.e2e.world import PrefectWorld, opened_worlds
from tests.endurance import Endurance
from tests.prefect_database import give_database

pytestmark = pytest.mark.anyio

INTERVAL_SECONDS = 17
MOST_WORKERS = 4
LIMITS = {"max_workers": MOST_WORKERS}
SOAK_SECONDS = 70.0
PATIENCE_SECONDS = 300.0
"""For a machine that does other things too to come to rest."""
LOOK_SECONDS = 0.2
MOST_WAITING = 16
"""Images that are asked for and not yet made."""


class Kept:
    """A server that may be killed, and is started again as it was."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path, answers_at: str = "") -> None:
        self._command, self._environment, self._log, self._answers_at = command, environment, log, answers_at
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._spawned()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await asyncio.to_thread(self._answers):  # noqa: ASYNC110 - another process has no event to set
                await asyncio.sleep(LOOK_SECONDS)

    def _spawned(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        return not self._answers_at or process.answers(self._answers_at)

    async def kill(self) -> None:
        """End it without a word, and it alone: its children go on."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)

    async def close(self) -> None:
        """End it and its group."""
        if self._process is not None:
            await asyncio.to_thread(process.end_group, self._process)


@dataclass
class Site:
    """One deployed fleet, what it runs on, and what was done to it."""

    world: PrefectWorld
    server: Kept
    worker: Kept
    url: str
    said: list[str] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    asked: list[tuple["asyncio.Task[dict[str, Any]]", int]] = field(default_factory=list)
    most: int = 0
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        self.said.append(f"{time.monotonic() - self.began:7.1f} {text}")

    @property
    def master_pid(self) -> int:
        assert self.world.master._process is not None
        return self.world.master._process.pid

    def runs(self) -> list[int]:
        """The processes of flow runs."""
        found = processes_with("PREFECT_API_URL", self.url)
        return sorted(pid for pid, given in found.items() if given.get("PREFECT__FLOW_RUN_ID"))

    async def harm(self, rng: random.Random) -> None:
        """Do one thing that nobody expects."""
        harms: list[tuple[float, Callable[[random.Random], Awaitable[None]]]] = [
            (5, self._kill_a_run),
            (4, self._stop_a_run),
            (1, self._kill_the_worker),
            (1, self._kill_the_server),
            (2, self._freeze_the_master),
        ]
        (harm,) = rng.choices([each for _, each in harms], weights=[weight for weight, _ in harms])
        await harm(rng)

    async def _kill_a_run(self, rng: random.Random) -> None:
        if runs := self.runs():
            pid = rng.choice(runs)
            self._signal("run killed", pid, signal.SIGKILL)

    async def _stop_a_run(self, rng: random.Random) -> None:
        if not (runs := self.runs()):
            return
        pid, seconds = rng.choice(runs), rng.uniform(2, 2 * INTERVAL_SECONDS)
        self._signal("run stopped", pid, signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self._signal, "run goes on", pid, signal.SIGCONT)

    async def _kill_the_worker(self, rng: random.Random) -> None:
        self._tell("Prefect worker killed", self.worker.pid)
        await self.worker.kill()
        await asyncio.sleep(rng.uniform(0, 3))
        await self.worker.start()

    async def _kill_the_server(self, rng: random.Random) -> None:
        self._tell("Prefect server killed", self.server.pid)
        await self.server.kill()
        await asyncio.sleep(rng.uniform(0, 5))
        await self.server.start()

    async def _freeze_the_master(self, rng: random.Random) -> None:
        self._signal("master frozen", self.master_pid, signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(1, 10))
        self._signal("master goes on", self.master_pid, signal.SIGCONT)

    def _tell(self, what: str, pid: int) -> None:
        self.did[what] += 1
        self.say(f"{what} ({pid})")

    def _signal(self, what: str, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self._tell(what, pid)

    async def ask(self, rng: random.Random) -> None:
        """Give the fleet work, unless it has a lot."""
        waiting = sum(images for task, images in self.asked if not task.done())
        images = rng.randint(1, 6)
        if waiting + images <= MOST_WAITING:
            self.asked.append((self.world.generate(images, steps=rng.randint(20, 240)), images))

    async def watch(self) -> None:
        """Count who exists, as long as it is asked to."""
        while True:
            alive = self.world.processes()
            if len(alive) != self.most:
                self.most = max(self.most, len(alive))
            assert len(alive) <= MOST_WORKERS, f"{len(alive)} workers: {sorted(alive)}"
            await asyncio.sleep(LOOK_SECONDS)

    async def comes_to_rest(self) -> None:
        """What was stopped goes on; everything that was asked for is done, and the fleet is as small as it may be."""
        for pid in [*self.runs(), self.master_pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            done = await asyncio.gather(*(task for task, _ in self.asked), return_exceptions=True)
        lost = [
            (images, answer)
            for (_, images), answer in zip(self.asked, done, strict=True)
            if isinstance(answer, BaseException) or len(answer.get("images") or ()) != images
        ]
        assert lost == [], "requests were lost"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await self.world.is_right(1)
                break
            except AssertionError:
                assert time.monotonic() < deadline, "it does not come to rest"
            await asyncio.sleep(1)
        state = await self.world.master.control("State")
        assert state["lost"] == 0, "a worker was stopped while it worked"
        assert set(self.world.starts().values()) <= {1}, self.world.starts()

    def report(self) -> str:
        """What was done, and the end of what was said meanwhile."""
        logs = "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.world.folder.glob("*.log")))
        return f"{dict(self.did)}\n" + "\n".join(self.said[-60:]) + f"\n{logs}"


@asynccontextmanager
async def living(folder: Path) -> AsyncIterator[Site]:
    """A fleet on a server and with a worker of its own; afterwards nothing of it is left."""
    port = free_port()
    url, home = f"http://127.0.0.1:{port}/api", folder / "prefect"
    home.mkdir()
    environment = process.prefect_environment(home, url) | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    give_database(home, environment)
    serve = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-c", process.PREFECT_WITHOUT_PAUSES, *serve]
    server = Kept(command, environment, folder / "server.log", f"{url}/health")
    start = [sys.executable, "-m", "prefect", *PREFECT_WORKER, "--pool", POOL]
    worker = Kept(start, environment, folder / "prefect-worker.log")
    settings = {PREFECT_API_URL: url, PREFECT_HOME: home, PREFECT_LOGGING_LEVEL: "WARNING"}
    house: PrefectHouse = PrefectHouse(environment)
    try:
        await server.start()
        with temporary_settings(settings):
            async with opened_worlds(folder, house) as worlds:
                world = await worlds(interval_seconds=INTERVAL_SECONDS, limits=LIMITS, drain={"deadline_seconds": 60})
                write_prefect_file(folder, deployments(world, scheduled=True))
                await deploy(environment, folder)
                await worker.start()
                await world.until_serving(1)
                yield Site(world, server, worker, url)
    finally:
        await worker.close()
        await server.close()
        await end_all("PREFECT_API_URL", url)


async def survives(site: Site, rounds: AsyncIterator[random.Random]) -> None:
    """Harm it as often as there are rounds, and see that nothing came of it."""
    watching = asyncio.ensure_future(site.watch())
    try:
        async for rng in rounds:
            await site.ask(rng)
            await site.harm(rng)
            await asyncio.sleep(rng.uniform(0.5, 5))
            if watching.done():
                break
        if not watching.done():
            await site.comes_to_rest()
    except (AssertionError, TimeoutError) as error:
        pytest.fail(f"{error or 'requests are not done'}; {site.report()}", pytrace=False)
    finally:
        watching.cancel()
        (seen,) = await asyncio.gather(watching, return_exceptions=True)
    if isinstance(seen, AssertionError):
        pytest.fail(f"{seen}; {site.report()}", pytrace=False)
    assert site.most > 1, f"nothing was asked of it; {site.report()}"


async def until(seconds: float, seed: int, is_enough: Callable[[], object]) -> AsyncIterator[random.Random]:
    """Rounds until the time is over; where few were had by then, until they are enough or for thrice as long."""
    rng, began = random.Random(seed), time.monotonic()
    while (past := time.monotonic() - began) < seconds or (past < 3 * seconds and not is_enough()):
        yield rng


async def of(endurance: Endurance) -> AsyncIterator[random.Random]:
    """The rounds of a search for hours."""
    for rng in endurance.rounds():
        yield rng


@pytest.mark.oldest_prefect
@pytest.mark.soak
async def test_two_minutes_of_kills_from_outside_lose_double_stop_and_leak_nothing(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await survives(site, until(SOAK_SECONDS, seed=17, is_enough=lambda: site.did["run killed"]))
        assert site.did["run killed"], site.did


@pytest.mark.endurance
async def test_kills_from_outside_for_hours_lose_double_stop_and_leak_nothing(
    tmp_path: Path, endurance: Endurance
) -> None:
    async with living(tmp_path) as site:
        await survives(site, of(endurance))
        endurance.say(f"{endurance.name}: {dict(site.did)}, {len(site.asked)} requests, {site.most} workers at most")
