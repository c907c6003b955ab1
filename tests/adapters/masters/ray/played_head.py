"""The stand-in of a Ray head with its nodes, as the tests of our adapter move it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ebbflow.adapters.masters.ray.adapter import RayAdapter
from ebbflow.adapters.masters.ray.settings import RaySettings
from ebbflow.contracts.master import Trouble, worker_at
from ebbflow.core.worker import Worker
from ebbflow.standins.clock import ManualClock
from ebbflow.standins.http import serve
from ebbflow.standins.ray.head import PlayedHead, PlayedNode, Task

FLEET, HOME, OTHER_HOME = "demo", "h0me1", "h0me2"
CALL_SECONDS, HANG_SECONDS = 6.0, 0.25


class RayWorld:
    """One stand-in head on a clock that a test moves."""

    troubles = (
        Trouble.DOWN,
        Trouble.HANGING,
        Trouble.FAILING,
        Trouble.UNAUTHORISED,
        Trouble.BAD_REQUEST,
        Trouble.NONSENSE,
        Trouble.STALE,
    )

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = ManualClock()
        self.head = PlayedHead(clock=self.clock)
        self.address = ""
        self.call_seconds = CALL_SECONDS
        self.token: str | None = None
        self.nodes: dict[str, PlayedNode] = {}
        self._stack, self._served = stack, AsyncExitStack()
        self._slow: set[str] = set()
        self._ended: set[str] = set()
        self._count = 0
        self._task: Task | None = None

    async def open(self) -> None:
        self._stack.push_async_callback(self._close)
        await self._stack.enter_async_context(self.head.live())
        await self._serve(0)
        await self.clock.advance(6)

    def adapter(self) -> RayAdapter:
        settings = {"address": self.address, "join_address": "head:6379", "call_timeout_seconds": self.call_seconds}
        given = RaySettings.model_validate({**settings, "token": self.token})
        adapter = RayAdapter(given, fleet=FLEET, home=HOME, sleep=self.pause, now=self.head.epoch)
        self._stack.push_async_callback(adapter.aclose)
        return adapter

    async def pause(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await asyncio.sleep(0.001)

    async def start_worker(self) -> Worker:
        self._count += 1
        return worker_at(f"{FLEET}-0abc-1-{self._count}", "http://unused:1")

    async def let_join(self, worker: Worker) -> None:
        if worker.worker_id not in self._ended:
            self.nodes[worker.worker_id] = self._started(worker.worker_id)

    async def end_worker(self, worker: Worker) -> None:
        self._ended.add(worker.worker_id)
        if (node := self.nodes.get(worker.worker_id)) is not None:
            self.head.kill(node)

    async def make_busy(self, worker: Worker) -> None:
        self._task = self.head.submit({"GPU": 1.0})
        for _ in range(30):
            if self._task.node is not None:
                break
            await self.advance()
        assert self._task.node is self.nodes[worker.worker_id]
        # Until the head has counted again.
        await self.clock.advance(5)

    async def finish_work(self) -> bool:
        assert self._task is not None
        self.head.finish(self._task)
        return self._task.is_done

    async def advance(self) -> None:
        await self.clock.advance(1)
        await asyncio.sleep(0.001)

    async def start_loading(self, worker: Worker) -> None:
        self._slow.add(worker.worker_id)

    async def add_foreign_member(self) -> str:
        self._foreign = self._started(f"{FLEET}-9zzz-1-0", OTHER_HOME)
        await self.clock.advance(12)
        return self._foreign.name

    async def has_foreign_member(self) -> bool:
        return self._foreign.is_alive and not self._foreign.is_draining

    async def duplicate(self, worker: Worker) -> None:
        self._started(worker.worker_id)
        await self.clock.advance(12)

    async def break_master(self, trouble: Trouble) -> None:
        match trouble:
            case Trouble.DOWN:
                await self._served.aclose()
            case Trouble.HANGING:
                self.head.is_hanging, self.call_seconds = True, HANG_SECONDS
            case Trouble.FAILING:
                self.head.status = 500
            case Trouble.BAD_REQUEST:
                self.head.status = 400
            case Trouble.UNAUTHORISED:
                self.head.token = "changed"
            case Trouble.NONSENSE:
                self.head.body = "<html>a proxy</html>"
            case Trouble.STALE:
                self.head.counts = False
                await self.clock.advance(60)

    async def heal_master(self) -> None:
        self.head.is_hanging, self.head.status, self.head.body, self.head.token = False, 200, "", self.token
        self.head.counts, self.call_seconds = True, CALL_SECONDS
        if not self.is_served:
            await self._serve(int(self.address.rpartition(":")[2]))
        await self.clock.advance(6)

    async def restart_master(self) -> None:
        self.head.restart()
        await self.clock.advance(6)

    def _started(self, worker_id: str, home: str = HOME) -> PlayedNode:
        """A node that was started with what the join spec says."""
        spec = RayAdapter(
            RaySettings(address=self.address, join_address="head:6379"), fleet=FLEET, home=home
        ).join_spec(worker_id)
        given = dict(word.removeprefix("--").split("=", 1) for word in spec.arguments if "=" in word)
        labels = dict(pair.split("=", 1) for pair in given["labels"].split(","))
        return self.head.start_node(labels, given["node-name"], takes_work=worker_id not in self._slow)

    async def _serve(self, port: int) -> None:
        self._served = AsyncExitStack()
        self.address = await self._served.enter_async_context(serve(self.head, port=port))
        self.is_served = True
        self._served.callback(self._not_served)

    def _not_served(self) -> None:
        self.is_served = False

    async def _close(self) -> None:
        await self._served.aclose()


@asynccontextmanager
async def ray_world() -> AsyncIterator[RayWorld]:
    async with AsyncExitStack() as stack:
        world = RayWorld(stack)
        await world.open()
        yield world
