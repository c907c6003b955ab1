"""A stand-in Ray head: its dashboard, the nodes that join it, and the tasks that wait for them.

Source: Ray python/ray/dashboard; every time and answer is measured on Ray 2.60.0.
"""

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock, RealClock

VERSION = "2.60.0"
FIRST_COUNT_SECONDS = 4.0
COUNT_SECONDS = 5.0
JOIN_SECONDS = 6.5
NO_AGENT_SECONDS = 30.0
DRAIN_SECONDS = 2.0
RAYLET_EXIT_SECONDS = 1.0
NOTICE_SECONDS = 13.0
LOOK_SECONDS = 0.5
EPOCH = 1_790_000_000.0
"""What the head's clock says at the beginning of the stand-in's."""

Json = dict[str, Any]
"""Any: JSON is what it is."""
Amounts = dict[str, float]


@dataclass(slots=True)
class PlayedNode:
    """One node, from its `ray start` on."""

    labels: Mapping[str, str]
    name: str
    total: Amounts
    started_at: float
    node_id: str = field(default_factory=lambda: uuid.uuid4().hex * 2)
    is_alive: bool = True
    takes_work: bool = True
    has_process: bool = True
    """Whether its raylet runs; `ray start --block` goes on, and is paid for, without it."""
    ended_at: float | None = None
    """When its raylet was killed, which its head has not noticed."""
    is_draining: bool = False
    used: Amounts = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Task:
    """One task, from its submission on."""

    needs: Amounts
    node: PlayedNode | None = None
    is_done: bool = False
    is_lost: bool = False


class PlayedHead:
    """One head's process, and the cluster around it.

    Args:
        clock: counts, joins, drains and deaths are on it.
        token: of a head in token mode; None asks for none.
    """

    def __init__(self, *, clock: Clock | None = None, token: str | None = None) -> None:
        self.clock: Clock = clock if clock is not None else RealClock()
        self.token = token
        self.nodes: list[PlayedNode] = []
        self.tasks: list[Task] = []
        self.groups: list[Json] = []
        """Placement groups that wait: bundles, and a strategy."""
        self.status = 200
        """Of every answer; another one is a fault."""
        self.body = ""
        """What every answer is, where it is not the head's own."""
        self.is_hanging = False
        self.is_dead = False
        """Its own process has ended: its dashboard tells its version, and hangs otherwise."""
        self.counts = True
        """Whether it goes on to count."""
        self.has_command = True
        """Whether `ray` is on its PATH."""
        self.has_agent = True
        """Whether it takes jobs."""
        self.jobs: dict[str, Json] = {}
        self._report: Json | None = None
        self._background: Background | None = None

    def epoch(self) -> float:
        """What its clock says."""
        return EPOCH + self.clock.now()

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """Run the process's own tasks."""
        self._background = Background()
        self._background.spawn(self._count())
        self._background.spawn(self._look())
        try:
            yield
        finally:
            background, self._background = self._background, None
            await background.stop()

    def start_node(
        self, labels: Mapping[str, str], name: str, *, gpus: float = 1, takes_work: bool = True
    ) -> PlayedNode:
        """Run `ray start` somewhere; the node is listed some seconds later."""
        total = {"CPU": 4.0, "GPU": gpus, "memory": 4e9, "object_store_memory": 8e7, "node:127.0.0.1": 1.0}
        node = PlayedNode(labels, name, total, self.clock.now(), takes_work=takes_work)
        self._spawn(self._join(node))
        return node

    def submit(self, needs: Amounts) -> Task:
        """Give it a task."""
        task = Task(needs)
        self.tasks.append(task)
        self._place()
        return task

    def finish(self, task: Task) -> None:
        """Let a running task be done."""
        if task.node is not None and not task.is_lost and not task.is_done:
            task.is_done = True
            self._free(task)

    def kill(self, node: PlayedNode) -> None:
        """Kill a node's processes; its head notices later, and what ran is lost."""
        node.has_process, node.ended_at = False, self.clock.now()
        for task in self._running_on(node):
            task.is_lost = True

    def restart(self) -> None:
        """A new head, which knows nothing; nodes of the old one end."""
        for node in self.nodes:
            node.is_alive = node.has_process = False
        self.nodes, self.tasks, self.jobs, self._report = [], [], {}, None
        if self._background is not None:
            self._background.cancel()
            self._background.spawn(self._count())
            self._background.spawn(self._look())

    def _spawn(self, work: Any) -> None:
        assert self._background is not None, "this head is not running"
        self._background.spawn(work)

    async def _join(self, node: PlayedNode) -> None:
        await self.clock.sleep(JOIN_SECONDS)
        if node.has_process:
            self.nodes.append(node)
            self._place()

    async def _count(self) -> None:
        await self.clock.sleep(FIRST_COUNT_SECONDS)
        while True:
            if self.counts:
                self._report = self._counted()
            await self.clock.sleep(COUNT_SECONDS)

    async def _look(self) -> None:
        while True:
            await self.clock.sleep(LOOK_SECONDS)
            for node in self.nodes:
                if node.is_alive and node.ended_at is not None and self.clock.now() - node.ended_at >= NOTICE_SECONDS:
                    self._die(node)
                if node.is_alive and node.is_draining and not self._running_on(node):
                    self._die(node)
            self._place()

    def _die(self, node: PlayedNode) -> None:
        node.is_alive = False
        for task in self._running_on(node):
            self._free(task)
            task.is_lost = True

    def _place(self) -> None:
        for task in self.tasks:
            if task.node is not None:
                continue
            for node in self.nodes:
                takes = node.is_alive and node.takes_work and node.has_process and not node.is_draining
                if takes and all(node.total.get(k, 0) - node.used.get(k, 0) >= v for k, v in task.needs.items()):
                    task.node = node
                    for name, amount in task.needs.items():
                        node.used[name] = node.used.get(name, 0) + amount
                    break

    def _running_on(self, node: PlayedNode) -> list[Task]:
        return [task for task in self.tasks if task.node is node and not task.is_done and not task.is_lost]

    def _free(self, task: Task) -> None:
        assert task.node is not None, "it runs"
        for name, amount in task.needs.items():
            task.node.used[name] -= amount
        self._place()

    def _counted(self) -> Json:
        waiting: dict[str, int] = {}
        for task in self.tasks:
            if task.node is None:
                shape = json.dumps(task.needs, sort_keys=True)
                waiting[shape] = waiting.get(shape, 0) + 1
        alive = [node for node in self.nodes if node.is_alive and node.takes_work]
        by_node = {
            node.node_id: {_camel(name): [node.used.get(name, 0.0), most] for name, most in node.total.items()}
            for node in alive
        }
        by_node["f" * 56] = {"objectStoreMemory": [12.0, 1e8], "node:127.0.0.1": [0.0, 1.0]}  # the head itself
        report = {
            "usage": {"CPU": [0.0, float(len(alive))], "objectStoreMemory": [0.0, 1e8]},
            "resourceDemand": [[json.loads(shape), count] for shape, count in waiting.items()],
            "pgDemand": [[group, 1] for group in self.groups],
            "requestDemand": [],
            "usageByNode": by_node,
            "idleTimeMap": None,
        }
        return {"loadMetricsReport": report, "autoscalerReport": {"idleNodes": None}, "time": self.epoch()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] != "http":
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            return
        request = Request(scope, receive)
        if self.is_hanging or (self.is_dead and request.url.path != "/api/version"):
            await self.clock.sleep(3600)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            given = "Authorization" in request.headers
            said = "Forbidden: Invalid authentication token" if given else "Unauthorized: Missing authentication token"
            return PlainTextResponse(said, 403 if given else 401)
        if self.status != 200 or self.body:
            return PlainTextResponse(self.body or "broken", self.status)
        path = request.url.path
        if path == "/api/version":
            return JSONResponse({"version": "4", "ray_version": VERSION, "session_name": "session_x"})
        if path == "/api/cluster_status":
            status = {"autoscalingStatus": "" if self._report else None, "autoscalingError": None}
            empty: Json = {"loadMetricsReport": {"usage": {}, "resourceDemand": []}}
            return _said({**status, "clusterStatus": self._report or empty})
        if path == "/api/v0/nodes":
            rows = [self._row(node) for node in self.nodes]
            return _said({"result": {"total": len(rows), "num_after_truncation": len(rows), "result": rows}})
        if path == "/api/jobs/" and request.method == "POST":
            if not self.has_agent:
                await self.clock.sleep(NO_AGENT_SECONDS)
                return PlainTextResponse("No available agent to submit job, please try again later.", 500)
            return self._submitted(await request.json())
        if path == "/api/jobs/":
            return JSONResponse(list(self.jobs.values()))
        if (found := re.fullmatch(r"/api/jobs/([\w-]+)", path)) and found[1] in self.jobs:
            return JSONResponse(self.jobs[found[1]])
        return PlainTextResponse("404: Not Found", 404)

    def _row(self, node: PlayedNode) -> Json:
        return {
            "node_id": node.node_id,
            "node_name": node.name,
            "state": "ALIVE" if node.is_alive else "DEAD",
            "is_head_node": False,
            "labels": {"ray.io/node-id": node.node_id, **node.labels},
            "resources_total": node.total,
            "start_time_ms": int(1000 * (EPOCH + node.started_at)),
            "end_time_ms": 0,
        }

    def _submitted(self, body: Json) -> Response:
        job = str(body.get("submission_id"))
        if job in self.jobs:
            return PlainTextResponse(f"Job with submission_id {job} already exists", 500)
        self.jobs[job] = {"submission_id": job, "status": "RUNNING", "message": "Job is currently running."}
        self._spawn(self._drain(job, str(body.get("entrypoint"))))
        return JSONResponse({"job_id": job, "submission_id": job})

    async def _drain(self, job: str, command: str) -> None:
        await self.clock.sleep(DRAIN_SECONDS)
        found = re.search(r"--node-id (\w+) --reason DRAIN_NODE_REASON_(\w+)", command)
        if not self.has_command or found is None:
            self._end(job, 127 if not self.has_command else 2, "ray: not found")
            return
        node = next((each for each in self.nodes if each.node_id == found[1] and each.is_alive), None)
        if node is not None and found[2] == "IDLE_TERMINATION" and self._running_on(node):
            self._end(job, 1, "The node to be idle terminated is no longer idle.")
            return
        if node is not None:
            # An unknown one is "accepted" as well.
            node.is_draining = True
        self._end(job, 0, "")
        await self.clock.sleep(RAYLET_EXIT_SECONDS)

    def _end(self, job: str, code: int, said: str) -> None:
        failed = f"Job entrypoint command failed with exit code {code}, last available logs: {said}"
        self.jobs[job] |= {
            "status": "FAILED" if code else "SUCCEEDED",
            "message": failed if code else "Job finished successfully.",
        }


def _said(data: Json) -> JSONResponse:
    return JSONResponse({"result": True, "msg": "", "data": data})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
