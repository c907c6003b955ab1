"""A cluster in memory that workers join by themselves, in the manner of Ray, and the adapter that a master has for it.

Played: nodes come by name some time after their process started and are alive at once; the head notices a death late,
lists the dead for a while and then forgets them; it refuses to drain a busy node unless the node is to end anyway.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

import anyio

from ebbflow.contracts.master import Trouble, worker_at
from ebbflow.core.errors import ConfigError, FleetError, MasterRejected, MasterUnavailable
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    DrainWay,
    Health,
    MasterCaps,
    Member,
    MemberList,
    MemberState,
    Registration,
    Shape,
)
from ebbflow.core.ports import JoinMaster
from ebbflow.core.worker import Worker

FLEET, HOME, OTHER_HOME = "demo", "h0me1", "h0me2"
JOIN_STEPS, NOTICE_STEPS, FORGET_STEPS = 2, 3, 6
CALL_SECONDS = 0.1
FRESH_SECONDS = 30.0

T = TypeVar("T")


class NodeState(Enum):
    ALIVE = "ALIVE"
    DRAINING = "DRAINING"
    DEAD = "DEAD"


@dataclass
class Node:
    """One row of the head's list."""

    name: str
    state: NodeState = NodeState.ALIVE
    busy: bool = False
    steps_without_process: int = 0
    steps_dead: int = 0


class NoHead(Exception):
    """The cluster's own error, as a vendor's client has one; the adapter lets none of them out."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass
class Cluster:
    """The head with its nodes. Time passes in steps."""

    nodes: list[Node] = field(default_factory=list)
    coming: dict[str, int] = field(default_factory=dict)
    """Node name to steps until it joins."""
    processes: set[str] = field(default_factory=set)
    """Nodes whose process runs."""
    queued: int = 0
    trouble: Trouble | None = None

    def step(self) -> None:
        self.coming = {name: steps - 1 for name, steps in self.coming.items()}
        for name in [name for name, steps in self.coming.items() if steps <= 0]:
            del self.coming[name]
            self.nodes.append(Node(name))
        for node in self.nodes:
            if node.state is NodeState.DRAINING:
                self.processes.discard(node.name)
            if node.state is NodeState.DEAD:
                node.steps_dead += 1
            elif node.name not in self.processes:
                node.steps_without_process += 1
                if node.state is NodeState.DRAINING or node.steps_without_process >= NOTICE_STEPS:
                    node.state, node.busy = NodeState.DEAD, False
        self.nodes = [node for node in self.nodes if node.steps_dead < FORGET_STEPS]

    def end(self, name: str) -> None:
        self.processes.discard(name)
        self.coming.pop(name, None)

    def restart(self) -> None:
        """Nodes end when their head is gone."""
        self.nodes, self.coming, self.processes = [], {}, set()

    async def answer(self) -> float:
        """Let one call through; how old its data are, in seconds."""
        match self.trouble:
            case Trouble.HANGING:
                await anyio.sleep_forever()
            case Trouble.DOWN:
                raise NoHead(None)
            case Trouble.FAILING:
                raise NoHead(500)
            case Trouble.BAD_REQUEST:
                raise NoHead(400)
            case Trouble.UNAUTHORISED:
                raise NoHead(401)
        return 600.0 if self.trouble is Trouble.STALE else 0.0

    async def list_nodes(self) -> tuple[tuple[Node, ...], float]:
        age_seconds = await self.answer()
        return tuple(replace(node) for node in self.nodes), age_seconds

    async def tasks(self) -> tuple[int, int, float]:
        age_seconds = await self.answer()
        return self.queued, sum(node.busy for node in self.nodes), age_seconds

    async def drain_node(self, name: str, *, is_preempted: bool) -> bool:
        await self.answer()
        nodes = [node for node in self.nodes if node.name == name and node.state is NodeState.ALIVE]
        if any(node.busy for node in nodes) and not is_preempted:
            return False
        for node in nodes:
            node.state = NodeState.DRAINING
        return True


def node_name(worker_id: str, home: str = HOME) -> str:
    return f"{FLEET}/{home}/{worker_id}"


STATES = {
    NodeState.ALIVE: MemberState.READY,
    NodeState.DRAINING: MemberState.DRAINING,
    NodeState.DEAD: MemberState.LOST,
}


class ClusterAdapter:
    """The port `JoinMaster` for a played cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @property
    def caps(self) -> MasterCaps:
        return MasterCaps(drain=DrainWay.NATIVE, per_shape_demand=True, call_seconds=CALL_SECONDS)

    async def probe(self) -> Health:
        try:
            await self._nodes()
        except (MasterUnavailable, MasterRejected) as error:
            return Health(reachable=False, detail=str(error))
        return Health(reachable=True, version="played")

    async def demand(self) -> Demand:
        try:
            queued, running, age_seconds = await _asked("demand", self.cluster.tasks())
            _check_age("demand", age_seconds)
        except FleetError as error:
            return Demand(complete=False, detail=str(error))
        return Demand(queued, running, shapes=(Shape(count=queued),) if queued else (), source_age_seconds=age_seconds)

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        try:
            nodes = await self._nodes()
        except FleetError as error:
            return MemberList(complete=False, detail=str(error))
        ours = [node for node in nodes if node.name.startswith(node_name(""))]
        asked = ours if worker_ids is None else [node for node in ours if _worker_id(node) in worker_ids]
        names = [node.name for node in ours]
        return MemberList(
            tuple(
                Member(
                    worker_id=_worker_id(node),
                    master_ref=f"node-{place}",
                    state=STATES[node.state],
                    busy=None if node.state is NodeState.DEAD else node.busy,
                    duplicate=names.count(node.name) > 1,
                )
                for place, node in enumerate(asked)
            ),
            foreign=tuple(node.name for node in nodes if node.name.startswith(f"{FLEET}/") and node not in ours),
        )

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        return JoinSpec(arguments=("--address", "head:6379", "--node-name", node_name(worker_id)))

    async def joined(self, worker: Worker) -> Registration:
        there = any(node.name == node_name(worker.worker_id) for node in await self._nodes())
        return Registration(there, "" if there else f"{worker.worker_id} is no node of the cluster yet")

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        name = node_name(worker.worker_id)
        if not any(node.name == name and node.state is not NodeState.DEAD for node in await self._nodes()):
            return DrainAnswer.GONE
        accepted = await _asked("drain", self.cluster.drain_node(name, is_preempted=force))
        return DrainAnswer.ACCEPTED if accepted else DrainAnswer.BUSY

    async def shut_down(self, worker: Worker) -> None:
        """A node cannot be asked."""

    async def aclose(self) -> None:
        """No connections."""

    async def _nodes(self) -> tuple[Node, ...]:
        nodes, age_seconds = await _asked("nodes", self.cluster.list_nodes())
        _check_age("nodes", age_seconds)
        return nodes


async def _asked(what: str, call: Awaitable[T]) -> T:
    """Make one call: it ends in time, and no error of the cluster gets out."""
    try:
        with anyio.fail_after(CALL_SECONDS / 2):
            return await call
    except TimeoutError as error:
        raise MasterUnavailable(f"cluster: {what}: no answer within {CALL_SECONDS / 2:g} s") from error
    except NoHead as error:
        if error.status == 401:
            raise ConfigError(f"cluster: {what}: the token is refused") from error
        if error.status == 400:
            raise MasterRejected(f"cluster: {what}: {error}") from error
        raise MasterUnavailable(f"cluster: {what}: {error}") from error


def _check_age(what: str, seconds: float) -> None:
    if seconds > FRESH_SECONDS:
        raise MasterUnavailable(f"cluster: {what}: the answer is {seconds:g} s old")


def _worker_id(node: Node) -> str:
    return node.name.removeprefix(node_name(""))


class ClusterWorld:
    """A played cluster as `JoinMasterWorld` wants it.

    Args:
        adapter: makes the adapter under test.
    """

    troubles = (
        Trouble.DOWN,
        Trouble.HANGING,
        Trouble.FAILING,
        Trouble.UNAUTHORISED,
        Trouble.BAD_REQUEST,
        Trouble.STALE,
    )

    def __init__(self, adapter: Callable[[Cluster], JoinMaster] = ClusterAdapter) -> None:
        self.cluster = Cluster()
        self._adapter = adapter
        self._started = 0
        self._loading: set[str] = set()
        self._working: Node | None = None

    def adapter(self) -> JoinMaster:
        return self._adapter(self.cluster)

    async def start_worker(self) -> Worker:
        worker = worker_at(f"demo-0abc-1-{self._started}", None)
        self._started += 1
        self.cluster.processes.add(node_name(worker.worker_id))
        return worker

    async def let_join(self, worker: Worker) -> None:
        if worker.worker_id not in self._loading:
            self.cluster.coming[node_name(worker.worker_id)] = JOIN_STEPS

    async def end_worker(self, worker: Worker) -> None:
        self.cluster.end(node_name(worker.worker_id))

    async def make_busy(self, worker: Worker) -> None:
        (self._working,) = [node for node in self.cluster.nodes if node.name == node_name(worker.worker_id)]
        self._working.busy = True

    async def finish_work(self) -> bool:
        assert self._working is not None
        is_done = self._working.name in self.cluster.processes and self._working.busy
        self._working.busy = False
        return is_done

    async def advance(self) -> None:
        self.cluster.step()

    async def start_loading(self, worker: Worker) -> None:
        self._loading.add(worker.worker_id)

    async def add_foreign_member(self) -> str:
        name = node_name("demo-9zzz-1-0", OTHER_HOME)
        self.cluster.processes.add(name)
        self.cluster.nodes.append(Node(name))
        return name

    async def has_foreign_member(self) -> bool:
        return Node(node_name("demo-9zzz-1-0", OTHER_HOME)) in self.cluster.nodes

    async def duplicate(self, worker: Worker) -> None:
        self.cluster.nodes.append(Node(node_name(worker.worker_id)))

    async def break_master(self, trouble: Trouble) -> None:
        self.cluster.trouble = trouble

    async def heal_master(self) -> None:
        self.cluster.trouble = None

    async def restart_master(self) -> None:
        self.cluster.restart()
