"""A provider and a master in memory, for turns that are taken without anything outside."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.core.instance import Instance, InstanceList, InstanceState, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    Health,
    IdleSource,
    MasterCaps,
    Member,
    MemberList,
    MemberState,
    PushMemberList,
    Registration,
)
from ebbflow.core.ports import Master
from ebbflow.core.worker import Worker
from ebbflow.fleet.model import Fleet
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.surroundings import RunIdentity, Surroundings

HOST_CAPS = ProviderCaps("here", idempotent_launch=True, relist_seconds=0.5)
QUEUE_CAPS = MasterCaps(needs_keepalive_seconds=600.0, idle_source=IdleSource.MASTER)


@dataclass
class Clock:
    """Epoch and monotonic seconds alike; passes only while somebody sleeps, or is told to."""

    now: float = 1000.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Host(EndsForGood):
    """Starts workers at once; each has an address of its own."""

    caps: ProviderCaps = HOST_CAPS
    rows: dict[str, Instance] = field(default_factory=dict)
    launched: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    has_urls: bool = True

    async def launch(self, request: LaunchRequest) -> Instance:
        self.launched.append(request.worker_id)
        url = None if not self.has_urls else f"http://10.0.0.{len(self.rows) + 1}:7801"
        row = Instance(
            request.worker_id, f"i-{request.worker_id}", InstanceState.RUNNING, request.fleet, request.home, url
        )
        return self.rows.setdefault(request.worker_id, row)

    async def list_instances(self, fleet: str) -> InstanceList:
        return InstanceList(tuple(self.rows.values()))

    async def terminate(self, instance: Instance) -> None:
        self.ended.append(instance.worker_id)
        self.rows[instance.worker_id] = replace(instance, state=InstanceState.GONE)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        return {"stdout": f"the last that {instance.worker_id} said"}

    async def aclose(self) -> None:
        return


@dataclass
class Queue:
    """Holds a queue, and serves it by whoever is registered."""

    caps: MasterCaps = QUEUE_CAPS
    waiting: int = 0
    entries: dict[str, Member] = field(default_factory=dict)
    kept_alive: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)

    async def probe(self) -> Health:
        return Health(True)

    async def demand(self) -> Demand:
        return Demand(queued=self.waiting, waiting=self.waiting)

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        shown = (entry for entry in self.entries.values() if worker_ids is None or entry.worker_id in worker_ids)
        return PushMemberList(tuple(shown))

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        return JoinSpec()

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        idle = Member(worker.worker_id, worker.worker_id, MemberState.READY, worker.url, False, 9000.0)
        self.entries.setdefault(worker.worker_id, idle)
        return Registration(True)

    async def deregister(self, worker: Worker) -> None:
        self.entries.pop(worker.worker_id, None)

    async def mend(self, worker: Worker) -> Registration:
        self.mended.append(worker.worker_id)
        return Registration(True)

    async def remove_unfinished(self, master_ref: str) -> None:
        return

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        if worker.worker_id not in self.entries:
            return DrainAnswer.GONE
        entry = self.entries[worker.worker_id]
        self.entries[worker.worker_id] = replace(entry, state=MemberState.DRAINING)
        return DrainAnswer.ACCEPTED

    async def shut_down(self, worker: Worker) -> None:
        return

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        self.kept_alive += [worker.worker_id for worker in workers]
        return {worker.worker_id: True for worker in workers}

    async def aclose(self) -> None:
        return


@dataclass
class Outside:
    """Everything that a turn meets."""

    clock: Clock = field(default_factory=Clock)
    host: Host = field(default_factory=Host)
    queue: Queue = field(default_factory=Queue)
    master: Master | None = None
    """In the place of the queue."""
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    closed: int = 0

    def __post_init__(self) -> None:
        self.ledger.clock = lambda: self.clock.now

    def surroundings(self, run: str = "run-1", **other: Any) -> Surroundings:
        """As one run has it. Any: whatever differs from a plain turn."""
        given: dict[str, Any] = {
            "ledger": self.ledger,
            "open_fleet": self.opened,
            "run": RunIdentity("autoscale", run),
            "clock": lambda: self.clock.now,
            "sleep": self.clock.sleep,
        }
        return Surroundings(**{**given, **other})

    @asynccontextmanager
    async def opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AsyncIterator[OpenFleet]:
        try:
            yield OpenFleet(fleet, home, self.master or self.queue, {fleet.providers[0].block: self.host}, {})
        finally:
            self.closed += 1


@dataclass
class Cluster:
    """Holds a queue, and is joined by every worker of a host by itself; it has no addresses."""

    host: Host
    caps: MasterCaps = QUEUE_CAPS
    states: dict[str, MemberState] = field(default_factory=dict)
    drains: DrainAnswer = DrainAnswer.ACCEPTED
    once_drained: MemberState = MemberState.DRAINING
    kept_alive: list[str] = field(default_factory=list)
    waiting: int = 0

    async def probe(self) -> Health:
        return Health(True)

    async def demand(self) -> Demand:
        return Demand(queued=self.waiting, waiting=self.waiting)

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        alive = [row.worker_id for row in self.host.rows.values() if row.state is InstanceState.RUNNING]
        shown = [
            (worker_id, self.states.get(worker_id, MemberState.READY))
            for worker_id in alive
            if worker_ids is None or worker_id in worker_ids
        ]
        return MemberList(
            tuple(
                Member(worker_id, worker_id, state, None, None if state is MemberState.LOST else False, 9000.0)
                for worker_id, state in shown
            )
        )

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        return JoinSpec(environment={"NAME": worker_id})

    async def joined(self, worker: Worker) -> Registration:
        return Registration(bool((await self.members([worker.worker_id])).members), "has not joined")

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        self.states[worker.worker_id] = self.once_drained
        return self.drains

    async def shut_down(self, worker: Worker) -> None:
        return

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        self.kept_alive += [worker.worker_id for worker in workers]
        return {worker.worker_id: True for worker in workers}

    async def aclose(self) -> None:
        return
