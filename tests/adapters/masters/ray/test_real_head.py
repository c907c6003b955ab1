"""One history of a head, told of the real Ray and of its stand-in: our adapter must see the same in both."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
from pydantic import SecretStr

from ebbflow.adapters.masters.ray.adapter import RayAdapter
from ebbflow.adapters.masters.ray.settings import RaySettings
from ebbflow.contracts.master import worker_at
from ebbflow.core.errors import ConfigError
from ebbflow.core.member import DrainAnswer, Member, MemberState, Shape
from ebbflow.core.worker import Worker
from ebbflow.standins.ray.head import Task
from tests.adapters.masters.ray.played_head import FLEET, HOME, RayWorld, ray_world
from tests.ray.cluster import STORE_BYTES, RayCluster, ray_cluster

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 90.0
TOKEN = "r1ght"
WAITING = """
import os, sys, time, json
import ray
from ray.util.placement_group import placement_group

ray.init(address="auto", log_to_driver=False)
flag, shapes, group = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])

@ray.remote(max_retries=0)
def wait():
    while not os.path.exists(flag):
        time.sleep(0.1)

tasks = [
    wait.options(num_cpus=needs.get("CPU", 0), num_gpus=needs.get("GPU", 0),
                 resources={name: amount for name, amount in needs.items() if name not in ("CPU", "GPU")}).remote()
    for needs in shapes
]
held = placement_group(group, strategy="STRICT_SPREAD") if group else None
ray.wait(tasks, num_returns=len(tasks), timeout=600)
"""

Amounts = Mapping[str, float]


class Place(Protocol):
    """A head with whatever moves it."""

    def adapter(self, token: str | None = TOKEN) -> RayAdapter:
        """Ours, with a token."""

    async def start_node(self, worker: Worker) -> None:
        """Run what the join spec says, with 2 CPUs and a GPU."""

    async def submit(self, *needs: Amounts, group: list[Amounts] | None = None) -> None:
        """Give it tasks that wait until they may be done, and a group with a bundle on each of several nodes."""

    async def finish(self) -> None:
        """Let the tasks that run be done."""

    async def kill(self, worker: Worker) -> None:
        """SIGKILL the node's own process."""

    def still_runs(self, worker: Worker) -> bool:
        """Whether `ray start --block` goes on."""

    async def pause(self) -> None:
        """Let a second pass."""


class Played:
    """The stand-in."""

    def __init__(self, world: RayWorld) -> None:
        self._world = world
        self._tasks: list[Task] = []
        self._may_end = False
        world.head.token = TOKEN

    def adapter(self, token: str | None = TOKEN) -> RayAdapter:
        self._world.token = token
        return self._world.adapter()

    async def start_node(self, worker: Worker) -> None:
        await self._world.let_join(worker)
        self._world.nodes[worker.worker_id].total |= {"CPU": 2.0}

    async def submit(self, *needs: Amounts, group: list[Amounts] | None = None) -> None:
        self._tasks += [self._world.head.submit(dict(each)) for each in needs]
        if group:
            bundles = [[dict(group[0]), len(group)]]
            self._world.head.groups.append({"bundles": bundles, "strategy": "STRICT_SPREAD"})

    async def finish(self) -> None:
        self._may_end = True

    async def kill(self, worker: Worker) -> None:
        self._world.head.kill(self._world.nodes[worker.worker_id])

    def still_runs(self, worker: Worker) -> bool:
        return self._world.nodes[worker.worker_id].has_process

    async def pause(self) -> None:
        if self._may_end:
            for task in self._tasks:
                self._world.head.finish(task)
        await self._world.advance()


class Real:
    """Ray itself."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        self._flag = cluster.folder / "done"
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._adapters: list[RayAdapter] = []
        (cluster.folder / "waiting.py").write_text(WAITING)

    def adapter(self, token: str | None = TOKEN) -> RayAdapter:
        given = {TOKEN: self._cluster.token, None: None}.get(token, token)
        settings = RaySettings(
            address=self._cluster.address,
            join_address=self._cluster.join_address,
            token=None if given is None else SecretStr(given),
            temp_folder=str(self._cluster.temporary),
        )
        self._adapters.append(RayAdapter(settings, fleet=FLEET, home=HOME))
        return self._adapters[-1]

    async def close(self) -> None:
        """End everything, and reap what was started here."""
        for adapter in self._adapters:
            await adapter.aclose()
        await self._cluster.close()
        for node in self._nodes.values():
            node.wait(10)

    async def start_node(self, worker: Worker) -> None:
        spec = self.adapter().join_spec(worker.worker_id)
        offers = ["--num-cpus=2", "--num-gpus=1", f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
        command = [str(self._cluster.programs / "ray"), "start", *spec.arguments, *offers]
        environment = {**self._cluster.environment, **spec.environment, "WORKER": worker.worker_id}
        log = self._cluster.folder / f"{worker.worker_id}.log"
        self._nodes[worker.worker_id] = _started(command, environment, log)

    async def submit(self, *needs: Amounts, group: list[Amounts] | None = None) -> None:
        words = ["python", str(self._cluster.folder / "waiting.py"), str(self._flag)]
        await self._cluster.submit(*words, json.dumps(needs), json.dumps(group or []))

    async def finish(self) -> None:
        self._flag.touch()

    async def kill(self, worker: Worker) -> None:
        (raylet,) = _raylets(worker.worker_id)
        os.kill(raylet, signal.SIGKILL)

    def still_runs(self, worker: Worker) -> bool:
        return self._nodes[worker.worker_id].poll() is None

    async def pause(self) -> None:
        await asyncio.sleep(1)


def _started(command: list[str], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def _raylets(word: str) -> list[int]:
    """Pids of the processes of a node whose command line holds a word."""
    lines = {int(path.parent.name): path.read_bytes().split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [
        pid
        for pid, words in lines.items()
        if words[0].endswith(b"/raylet") and any(word.encode() in each for each in words)
    ]


@asynccontextmanager
async def played(folder: Path) -> AsyncIterator[Place]:
    async with ray_world() as world:
        yield Played(world)


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Place]:
    async with ray_cluster(folder) as cluster:
        place = Real(cluster)
        try:
            yield place
        finally:
            await place.close()


async def until(place: Place, holds: Callable[[], Awaitable[object]], what: str) -> None:
    """Let time pass until something holds."""
    deadline, found = time.monotonic() + PATIENCE_SECONDS, None
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}; {found}"
        await place.pause()


@pytest.mark.parametrize("kind", [played, pytest.param(real, marks=pytest.mark.soak)])
async def test_the_same_history_is_seen_of_ray_and_of_its_stand_in(
    kind: Callable[[Path], AbstractAsyncContextManager[Place]], tmp_path: Path
) -> None:
    async with kind(tmp_path) as place:
        await _history(place)


async def _history(place: Place) -> None:
    adapter = place.adapter()

    async def member(worker: Worker) -> Member | None:
        listing = await adapter.members()
        assert listing.complete, listing.detail
        return next((each for each in listing.members if each.worker_id == worker.worker_id), None)

    for token, said in ((None, "HTTP 401"), ("wr0ng", "HTTP 403")):
        with pytest.raises(ConfigError, match=said):
            await place.adapter(token).probe()
    assert (await adapter.probe()).version == "2.60.0"
    before = await adapter.demand()
    assert (before.complete, before.queued, (await adapter.members()).members) == (True, 0, ())

    await place.submit(
        {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}, {"GPU": 0.5}, {"tpu": 1.0}, group=[{"GPU": 1.0}] * 2
    )

    async def all_wait() -> bool:
        return (await adapter.demand()).queued == 6

    await until(place, all_wait, "everything waits")
    shapes = (await adapter.demand()).shapes
    assert set(shapes) == {
        Shape(("cpu", "gpu"), 2, kind="task"),
        Shape(("gpu=0.5",), 1, kind="task"),
        Shape(("tpu",), 1, kind="task"),
        Shape(("gpu",), 2, gang=2, apart=True, kind="group"),
    }

    first = worker_at(f"{FLEET}-0abc-1-1", "http://unused:1")
    assert not (await adapter.joined(first)).registered
    await place.start_node(first)

    async def has_joined() -> bool:
        return (await adapter.joined(first)).registered

    await until(place, has_joined, "the worker joins")

    async def works() -> bool:
        seen = await member(first)
        return seen is not None and seen.busy is True and seen.free is not None and "gpu" not in seen.free

    await until(place, works, "it works")
    seen = await member(first)
    assert seen is not None
    assert (seen.state, seen.duplicate) == (MemberState.READY, False)
    assert await adapter.drain(first, 60) is DrainAnswer.BUSY
    assert (await adapter.members()).members[0].state is MemberState.READY, "a refusal leaves it as it was"

    await place.finish()

    async def is_idle() -> bool:
        seen = await member(first)
        return seen is not None and seen.busy is False and {"cpu=2", "gpu"} <= set(seen.free or ())

    await until(place, is_idle, "what ran is done, and nothing else fits")
    assert await adapter.drain(first, 60) is DrainAnswer.ACCEPTED

    async def is_gone() -> bool:
        return await member(first) is None

    await until(place, is_gone, "it is gone from the head")
    assert await adapter.drain(first, 60) is DrainAnswer.GONE
    assert place.still_runs(first), "and goes on costing until its provider ends it"

    second = worker_at(f"{FLEET}-0abc-1-2", "http://unused:1")
    await place.start_node(second)

    async def second_serves() -> bool:
        seen = await member(second)
        return seen is not None and seen.state is MemberState.READY

    await until(place, second_serves, "another one joins")
    await place.kill(second)

    async def second_is_gone() -> bool:
        return await member(second) is None

    await until(place, second_is_gone, "the head notices the death of a node")
