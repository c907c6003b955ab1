"""A Ray head as a master: workers join it by themselves, and it refuses to drain whoever works.

Source: measured on Ray 2.60.0; Ray python/ray/dashboard, python/ray/autoscaler.
"""

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import AbstractContextManager

import anyio
import httpx

from ebbflow.adapters.http import HttpClient
from ebbflow.adapters.masters.ray.answers import (
    DRAIN_JOB,
    FLEET,
    HOME,
    NODE_ID_SHOWN,
    WORKER,
    Node,
    Status,
    drained_nodes,
    free_of,
    parse_nodes,
    parse_status,
)
from ebbflow.adapters.masters.ray.head import RayHead
from ebbflow.adapters.masters.ray.settings import RaySettings
from ebbflow.adapters.masters.time_limit import time_limit
from ebbflow.adapters.redaction import Redaction
from ebbflow.core.errors import ConfigError, FleetError, MasterRejected, MasterUnavailable
from ebbflow.core.ids import check_fleet_name, check_home
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    DrainWay,
    Health,
    IdleSource,
    MasterCaps,
    Member,
    MemberList,
    MemberState,
    Registration,
)
from ebbflow.core.worker import Worker

NODES = "/api/v0/nodes?detail=1&limit=10000"
STATUS = "/api/cluster_status"
JOBS = "/api/jobs/"
LOOK_SECONDS = 0.3
"""Between two looks at a drain, which takes about two seconds."""
LEAST_DEADLINE_SECONDS = 1
NO_LONGER_IDLE = "no longer idle"
"""What Ray says of a node that works."""


class RayAdapter:
    """The port `JoinMaster` for a Ray head.

    Args:
        settings: where and how.
        fleet: whose workers it manages.
        home: of which installation.
        transport: replaces the network in tests.
        sleep: waits between two looks at a drain.
        now: epoch seconds, to know how old the head's figures are.
    """

    def __init__(
        self,
        settings: RaySettings,
        *,
        fleet: str,
        home: str,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._fleet, self._home = check_fleet_name(fleet), check_home(home)
        self._http = HttpClient(transport=transport)
        self._head = RayHead(settings, self._http)
        self._hide = Redaction(settings)
        self._sleep, self._now = sleep, now

    @property
    def caps(self) -> MasterCaps:
        """What Ray can do."""
        return MasterCaps(
            drain=DrainWay.NATIVE,
            can_start_from_zero=True,
            per_shape_demand=True,
            workers_join=True,
            # Its own idle times are always null over HTTP.
            idle_source=IdleSource.OBSERVED,
            call_seconds=2 * self._settings.call_timeout_seconds,
            # A drain is a job at the head.
            usual_seconds=1.0,
            takes_polls=True,
        )

    async def probe(self) -> Health:
        """Whether the head counts, and lets us in. Its version alone it tells also when it is dead."""
        try:
            with self._time_limit("probe"):
                await self._status()
                version = await self._head.get("/api/version")
                return Health(reachable=True, version=str(version.get("ray_version") or ""))
        except (MasterUnavailable, MasterRejected) as error:
            return Health(reachable=False, detail=self._hide(str(error)))

    async def demand(self) -> Demand:
        """Waiting tasks, actors and groups by what they require."""
        try:
            with self._time_limit("demand"):
                return (await self._status()).demand
        except FleetError as error:
            return Demand(complete=False, detail=self._hide(str(error)))

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        """Nodes that carry our labels and are alive."""
        try:
            with self._time_limit("members"):
                nodes = parse_nodes(await self._head.get(NODES))
                status, drained = await self._status(), drained_nodes(await self._head.rows(JOBS))
        except FleetError as error:
            return MemberList(complete=False, detail=self._hide(str(error)))
        ours = [node for node in nodes if node.worker_id and (node.fleet, node.home) == (self._fleet, self._home)]
        twice = Counter(node.worker_id for node in ours)
        return MemberList(
            members=tuple(
                _member(node, status, drained, duplicate=twice[node.worker_id] > 1)
                for node in ours
                if worker_ids is None or node.worker_id in worker_ids
            ),
            detail="; ".join(f"{name} is {count} nodes" for name, count in twice.items() if count > 1),
            foreign=tuple(
                node.name or node.worker_id for node in nodes if node.fleet == self._fleet and node.home != self._home
            ),
        )

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        """What `ray start` is given; how many GPUs and CPUs it offers is the worker's start file's to say."""
        labels = {WORKER: worker_id, FLEET: self._fleet, HOME: self._home}
        said = ",".join(f"{name}={value}" for name, value in labels.items())
        arguments = (
            f"--address={self._settings.join_address}",
            f"--labels={said}",
            f"--node-name={worker_id}",
            f"--temp-dir={self._folder_of(worker_id)}",
            "--block",
        )
        mode = "token" if self._settings.token is not None else "disabled"
        return JoinSpec(environment={"RAY_AUTH_MODE": mode}, arguments=arguments, labels=labels)

    def _folder_of(self, worker_id: str) -> str:
        """A folder for its sockets alone.

        Nodes that one host starts at the same moment with one folder take the same names for them: one joins, and the
        others give up half a minute later.
        """
        # Short, as the paths of sockets must be.
        word = hashlib.sha256(worker_id.encode()).hexdigest()[:8]
        return f"{self._settings.temp_folder.rstrip('/')}/ray-{word}"

    async def joined(self, worker: Worker) -> Registration:
        """Whether a node with the worker's id is alive and takes work."""
        with self._time_limit("joined"):
            nodes = [node for node in await self._nodes_of(worker) if node.node_id in (await self._status()).used]
        return Registration(bool(nodes), "" if nodes else f"{worker.worker_id} is no node of the Ray head yet")

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Let Ray drain the worker's nodes: it refuses whoever works, but for one that will end anyway.

        Such a drain cannot be taken back, and ends the node at its deadline: a row that only calls a worker failed,
        and may be wrong, is not enough.
        """
        is_certain = force or (worker.mark is not None and worker.mark.has_notice)
        with self._time_limit("drain"):
            nodes = sorted(await self._nodes_of(worker), key=lambda node: node.started_at_ms)
            if not nodes:
                return DrainAnswer.GONE
            drained = drained_nodes(await self._head.rows(JOBS))
            # The younger of two with one id is the one too many.
            answers = [
                await self._drain_node(node, deadline_seconds, force=is_certain)
                for node in reversed(nodes)
                if node.node_id[:NODE_ID_SHOWN] not in drained
            ]
            return DrainAnswer.BUSY if DrainAnswer.BUSY in answers else DrainAnswer.ACCEPTED

    async def shut_down(self, worker: Worker) -> None:
        """Nothing: the end of its process is the provider's."""

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _status(self) -> Status:
        return parse_status(await self._head.get(STATUS), now_seconds=self._now())

    async def _nodes_of(self, worker: Worker) -> list[Node]:
        nodes = parse_nodes(await self._head.get(NODES))
        mine = (worker.worker_id, self._fleet, self._home)
        return [node for node in nodes if (node.worker_id, node.fleet, node.home) == mine]

    async def _drain_node(self, node: Node, deadline_seconds: float, *, force: bool) -> DrainAnswer:
        """Run Ray's own command at the head; its answer is the end of that job."""
        reason = "PREEMPTION" if force else "IDLE_TERMINATION"
        seconds = max(LEAST_DEADLINE_SECONDS, int(deadline_seconds))
        # Each try has an id of its own: Ray keeps the job of an earlier one with its refusal.
        job = f"{DRAIN_JOB}{node.node_id[:NODE_ID_SHOWN]}-{secrets.token_hex(4)}"
        command = (
            f"ray drain-node --node-id {node.node_id} --reason DRAIN_NODE_REASON_{reason} "
            f"--reason-message ebbflow --deadline-remaining-seconds {seconds}"
        )
        await self._head.post(JOBS, {"entrypoint": command, "submission_id": job})
        while True:
            found = await self._head.get(f"{JOBS}{job}")
            match found.get("status"):
                case "SUCCEEDED":
                    return DrainAnswer.ACCEPTED
                case "FAILED" | "STOPPED":
                    return self._refused(str(found.get("message") or ""), force=force)
            await self._sleep(LOOK_SECONDS)

    def _refused(self, said: str, *, force: bool) -> DrainAnswer:
        if NO_LONGER_IDLE in said and not force:
            return DrainAnswer.BUSY
        if "exit code 127" in said:
            raise ConfigError(
                f"Ray head {self._settings.address}: it has no `ray` on its PATH, so that no worker can be drained: "
                "start it in an environment that has"
            )
        raise MasterUnavailable(f"Ray head {self._settings.address}: the drain ended with {self._hide(said)[-200:]!r}")

    def _time_limit(self, what: str) -> AbstractContextManager[None]:
        return time_limit(self.caps.call_seconds, f"Ray head {self._settings.address}: {what}", self._hide)


def _member(node: Node, status: Status, drained: Container[str], *, duplicate: bool) -> Member:
    busy = status.used.get(node.node_id)
    # A node is listed before it takes work.
    state = MemberState.JOINING if busy is None else MemberState.READY
    if node.node_id[:NODE_ID_SHOWN] in drained:
        state = MemberState.DRAINING
    free = free_of(node, status) if state is MemberState.READY else None
    return Member(node.worker_id, node.node_id, state, busy=busy, duplicate=duplicate, free=free)
