"""Stand-in schedulers of opengris-scaler, at the place where our program asks them: one JSON object in, one out.

Source: measured on opengris-scaler 2.9.0 and 1.15.0. The wire itself is the package's own; what stands here is its
account.
"""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from ebbflow.standins.clock import ManualClock

Json = dict[str, Any]

FORGOTTEN_SECONDS = 60.0
"""A worker that says nothing is dropped, and what it had is queued again."""
MANAGER_SECONDS = 10.0
"""A manager that says nothing is forgotten; its workers stay."""


@dataclass(eq=False)
class PlayedWorker:
    """One worker, named by its type."""

    worker_type: str
    manager_id: str
    last_seen_at: float
    is_alive: bool = True
    name: str = field(default="")

    def __post_init__(self) -> None:
        """It names itself, so nobody can know the whole name before."""
        self.name = self.name or f"Worker|{self.worker_type}|{uuid4().hex}|{uuid4().hex}"


@dataclass(eq=False)
class PlayedTask:
    """One task, on a worker or in the queue."""

    worker: PlayedWorker | None = None
    is_done: bool = False
    runs: int = 0


class PlayedScheduler:
    """One scheduler of 2.9 with its workers, on a clock that a test moves.

    Args:
        clock: whose seconds count.
        upper: tasks per worker above which `vanilla` asks for one more.
    """

    version = "2.9.0"

    def __init__(self, clock: ManualClock, *, upper: float = 10.0) -> None:
        self.clock, self.upper = clock, upper
        self.workers: list[PlayedWorker] = []
        self.tasks: list[PlayedTask] = []
        self.has_opinion = True
        self.answer: tuple[int, bytes, bytes] | None = None
        """What every program gets, in the place of its own."""
        self.is_silent = False
        self.is_monitor_closed = False
        self.asked = 0
        self.most_at_once = 0
        self._at_once = 0
        self._managers: dict[str, tuple[str, float]] = {}

    def start_worker(self, words: Sequence[str]) -> PlayedWorker:
        """What the vendor's command with these words does, once it has connected; the first of its processes."""
        given = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
        started = self._started(given)
        self.workers.extend(started)
        self._place()
        return started[0]

    def _started(self, given: Mapping[str, str]) -> list[PlayedWorker]:
        """Those of `scaler_worker_manager baremetal_native`."""
        return [
            PlayedWorker(given["worker-type"], given["worker-manager-id"], self.clock.now())
            for _ in range(int(given["max-task-concurrency"]))
        ]

    def end_worker(self, worker: PlayedWorker, *, hands_back: bool) -> None:
        """It ends; without handing back, what it had waits until it is forgotten."""
        worker.is_alive = False
        if hands_back:
            self._forget(worker)

    def submit(self) -> PlayedTask:
        """One task."""
        self.tasks.append(PlayedTask())
        self._place()
        return self.tasks[-1]

    def finish(self, task: PlayedTask) -> None:
        """Let a task that runs be done."""
        task.is_done = task.is_done or (task.worker is not None and task.worker.is_alive)

    def restart(self) -> None:
        """A new process, to which workers connect anew; the queue is its memory."""
        self.tasks.clear()
        self._managers.clear()

    def forget_managers(self) -> None:
        """Ten seconds after they have last spoken."""
        self._managers.clear()

    async def run(
        self, words: Sequence[str], stdin: bytes | None, environment: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes, bytes]:
        """Be the program that asks."""
        self.asked, self._at_once = self.asked + 1, self._at_once + 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0)
            return self._said(stdin)
        finally:
            self._at_once -= 1

    def _said(self, stdin: bytes | None) -> tuple[int, bytes, bytes]:
        if self.is_silent:
            raise TimeoutError
        if self.answer is not None:
            return self.answer
        asked = json.loads(stdin or b"{}")
        self._look()
        found: Json = {"version": self.version, **(self._heartbeat(asked) if asked["speaks"] else {})}
        if not self.is_monitor_closed:
            found |= self._account()
        return 0, json.dumps(found).encode(), b""

    def _heartbeat(self, asked: Json) -> Json:
        manager, now = asked["manager_id"], self.clock.now()
        known, at = self._managers.get(manager, (asked["identity"], now))
        if known != asked["identity"] and now - at < MANAGER_SECONDS:
            return {"is_heard": False, "wanted": None}
        self._managers[manager] = (asked["identity"], now)
        if not self.has_opinion:
            return {"is_heard": True, "wanted": None}
        own = sum(worker.manager_id == manager for worker in self.workers)
        return {"is_heard": True, "wanted": [{"capabilities": {}, "count": self._vanilla(own, asked["most_workers"])}]}

    def _vanilla(self, own: int, most: int) -> int:
        """Source: the contract of 2.9.0, policy `vanilla` with a lower ratio of 1."""
        waiting, all_workers = len(self._unfinished), len(self.workers)
        if all_workers == 0:
            wanted = own + (waiting > 0)
        elif waiting / all_workers > self.upper:
            wanted = own + 1
        elif waiting / all_workers < 1:
            wanted = 0 if waiting == 0 else max(1, math.ceil(waiting / self.upper))
        else:
            wanted = own
        return max(0, min(wanted, most))

    def _account(self) -> Json:
        on_a_worker = [task for task in self._unfinished if task.worker is not None]
        managers: dict[str, list[str]] = {}
        for worker in self.workers:
            # Of those that speak alone.
            if worker.manager_id in self._managers:
                managers.setdefault(worker.manager_id, []).append(worker.name)
        return {
            "tasks": {
                "inactive": len(self._unfinished) - len(on_a_worker),
                "running": len(on_a_worker),
                "success": sum(task.is_done for task in self.tasks),
            },
            "workers": [self._row(worker) for worker in self.workers],
            "managers": managers,
        }

    def _row(self, worker: PlayedWorker) -> Json:
        count = sum(task.worker is worker for task in self._unfinished)
        return {
            "name": worker.name,
            "sent": count,
            "queued": max(0, count - 1),
            "working": min(1, count),
            "last_seen_seconds": int(self.clock.now() - worker.last_seen_at),
        }

    @property
    def _unfinished(self) -> list[PlayedTask]:
        return [task for task in self.tasks if not task.is_done]

    def _look(self) -> None:
        for worker in list(self.workers):
            if worker.is_alive:
                worker.last_seen_at = self.clock.now()
            elif self.clock.now() - worker.last_seen_at > FORGOTTEN_SECONDS:
                self._forget(worker)
        self._place()

    def _forget(self, worker: PlayedWorker) -> None:
        if worker in self.workers:
            self.workers.remove(worker)
        for task in self._unfinished:
            if task.worker is worker:
                task.worker = None
        self._place()

    def _place(self) -> None:
        """`even_load`: tasks go to workers at once, also more than one."""
        alive = [worker for worker in self.workers if worker.is_alive]
        for task in self._unfinished:
            if task.worker is None and alive:
                task.worker = min(alive, key=lambda worker: sum(each.worker is worker for each in self._unfinished))
                task.runs += 1


class PlayedGroupScheduler(PlayedScheduler):
    """One scheduler of 1.15, which keeps groups of workers and no managers."""

    version = "1.15.0"

    def __init__(self, clock: ManualClock, *, upper: float = 10.0) -> None:
        super().__init__(clock, upper=upper)
        self.groups: dict[str, list[str]] = {}
        """For ever and of all adapters, until one says that a group is shut down."""

    def restart(self) -> None:
        """Its groups were its memory, too."""
        super().restart()
        self.groups.clear()

    def _started(self, given: Mapping[str, str]) -> list[PlayedWorker]:
        """Those of `scaler_cluster`, as our program runs it: each has the name that it was given."""
        names = given["worker-names"].split(",")
        assert len(names) == int(given["num-of-workers"]), "the command refuses anything else"
        return [PlayedWorker(name, "", self.clock.now()) for name in names]

    def _heartbeat(self, asked: Json) -> Json:
        """Our program puts the groups of its fleet right before its heartbeat."""
        ours = f"{asked['fleet']}-", f"+{asked['home']}"
        connected: dict[str, list[str]] = {}
        for worker in self.workers:
            worker_id, _, rest = worker.worker_type.partition("+")
            if worker_id.startswith(ours[0]) and f"+{rest}".startswith(ours[1]):
                connected.setdefault(f"{worker_id}{ours[1]}", []).append(worker.name)
        others = {
            group: names
            for group, names in self.groups.items()
            if not (group.startswith(ours[0]) and group.endswith(ours[1]))
        }
        self.groups = {**others, **connected}
        commands = self._commands(asked["most_workers"]) if self.has_opinion else []
        return {"is_heard": True, "commands": commands}

    def _commands(self, most: int) -> list[Json]:
        """Source: the contract of 1.15.0, policy `vanilla` with a lower ratio of 1: one command at most."""
        waiting, all_workers = len(self._unfinished), len(self.workers)
        ratio = waiting / all_workers if all_workers else math.inf if waiting else 1.0
        if ratio > self.upper and len(self.groups) < most:
            return [{"start": {}}]
        if ratio < 1 and self.groups:
            queued = {worker.name: sum(task.worker is worker for task in self._unfinished) for worker in self.workers}
            least = min(self.groups, key=lambda group: sum(queued.get(name, 0) for name in self.groups[group]))
            return [{"stop": least}]
        return []
