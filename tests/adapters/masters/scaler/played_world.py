"""The stand-in of a scheduler with its workers, as the tests of our adapter move it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.settings import ScalerSettings, Wire
from ebbflow.contracts.master import Trouble, worker_at
from ebbflow.core.worker import Worker
from ebbflow.standins.clock import ManualClock
from ebbflow.standins.scaler.scheduler import PlayedGroupScheduler, PlayedScheduler, PlayedTask, PlayedWorker

FLEET, HOME, OTHER_HOME = "demo", "h0me1", "h0me2"
SETTINGS = {
    "scheduler": "tcp://10.1.0.5:2345",
    "object_storage": "tcp://10.1.0.5:2346",
    "python": "/opt/scaler/bin/python",
}


class ScalerWorld:
    """One stand-in scheduler on a clock that a test moves."""

    troubles = (Trouble.DOWN, Trouble.HANGING, Trouble.NONSENSE, Trouble.STALE)

    def __init__(self, wire: Wire = "2.9") -> None:
        self.clock = ManualClock()
        self.scheduler = (PlayedGroupScheduler if wire == "1.15" else PlayedScheduler)(self.clock)
        self.settings = {**SETTINGS, "wire": wire}
        self.workers: dict[str, PlayedWorker] = {}
        self._slow: set[str] = set()
        self._ended: set[str] = set()
        self._count = 0
        self._task: PlayedTask | None = None

    def adapter(self, **settings: object) -> ScalerAdapter:
        read = ScalerSettings.model_validate({**self.settings, **settings})
        return ScalerAdapter(read, fleet=FLEET, home=HOME, run=self.scheduler.run)

    async def start_worker(self) -> Worker:
        self._count += 1
        return worker_at(f"{FLEET}-0abc-1-{self._count}", "http://unused:1")

    async def let_join(self, worker: Worker) -> None:
        if worker.worker_id not in self._ended | self._slow:
            self.workers[worker.worker_id] = self._started(worker.worker_id)

    async def end_worker(self, worker: Worker) -> None:
        self._ended.add(worker.worker_id)
        if (played := self.workers.get(worker.worker_id)) is not None:
            self.scheduler.end_worker(played, hands_back=True)

    async def make_busy(self, worker: Worker) -> None:
        self._task = self.scheduler.submit()
        assert self._task.worker is self.workers[worker.worker_id]

    async def finish_work(self) -> bool:
        assert self._task is not None
        self.scheduler.finish(self._task)
        return self._task.is_done

    async def advance(self) -> None:
        await self.clock.advance(1)

    async def start_loading(self, worker: Worker) -> None:
        self._slow.add(worker.worker_id)

    async def add_foreign_member(self) -> str:
        self._foreign = self._started(f"{FLEET}-9zzz-1-0", OTHER_HOME)
        return f"{FLEET}-9zzz-1-0"

    async def has_foreign_member(self) -> bool:
        return self._foreign in self.scheduler.workers

    async def duplicate(self, worker: Worker) -> None:
        self._started(worker.worker_id)

    async def break_master(self, trouble: Trouble) -> None:
        match trouble:
            case Trouble.DOWN:
                self.scheduler.answer = 1, b"", b"Traceback\nOSError: the scheduler closed the connection\n"
            case Trouble.HANGING:
                self.scheduler.is_silent = True
            case Trouble.NONSENSE:
                self.scheduler.answer = 0, b"<html>a proxy</html>", b""
            case Trouble.STALE:
                self.scheduler.is_monitor_closed = True

    async def heal_master(self) -> None:
        self.scheduler.answer, self.scheduler.is_silent, self.scheduler.is_monitor_closed = None, False, False

    async def restart_master(self) -> None:
        self.scheduler.restart()

    def _started(self, worker_id: str, home: str = HOME) -> PlayedWorker:
        """A worker that was started with what the join spec says."""
        spec = ScalerAdapter(ScalerSettings.model_validate(self.settings), fleet=FLEET, home=home).join_spec(worker_id)
        return self.scheduler.start_worker(spec.arguments)


@asynccontextmanager
async def scaler_world(wire: Wire = "2.9") -> AsyncIterator[ScalerWorld]:
    yield ScalerWorld(wire)
