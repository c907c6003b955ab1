"""A node of a stand-in cluster: schedules pods onto itself, runs their containers as local processes, says how they do.

It speaks to the API server as scheduler and kubelet do, so that it plays them for a real API server as well.
Source: Kubernetes docs, "Pod Lifecycle", "Termination of Pods".
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ebbflow.standins.kubernetes.objects import Json, timestamp
from ebbflow.standins.process import signal_group

ROUND_SECONDS = 0.03


def _addresses(process_id: int) -> Iterator[str]:
    # Two test runs on one computer have one loopback network: what listens in one must not answer for the other.
    rest, second = divmod(process_id, 254)
    for third in range(rest, rest + 254):
        yield from (f"127.{second + 1}.{third % 254 + 1}.{fourth}" for fourth in range(1, 255))


ADDRESSES = _addresses(os.getpid())
"""Each pod has an address of its own on loopback, as pods have."""
INHERITED = ("PATH", "HOME", "LANG")
OOM_EXIT_CODE = 137
VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
"""A reference that Kubernetes replaces in a container's command and arguments."""


@dataclass
class Running:
    """A pod's container as a process."""

    pod: Json
    process: "subprocess.Popen[bytes]"
    address: str
    ends_at: float | None = None
    """When it is killed; on this computer's monotonic clock."""


@dataclass
class Node:
    """One node.

    Args:
        client: of the API server, allowed to do everything.
        namespace: whose pods it takes.
        folder: for the output of containers.
        now: epoch seconds on the cluster's clock.
        name: of the node.
        schedules: give pods without a node to this one.
    """

    client: httpx.AsyncClient
    namespace: str
    folder: Path
    now: Callable[[], float] = time.time
    name: str = "stand-in-node"
    schedules: bool = True
    running: dict[str, Running] = field(default_factory=dict)
    """By pod uid."""
    finished: set[str] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Look after its pods while the context is open; every process that it started is ended after it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        await self._announce()
        task = asyncio.ensure_future(self._work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for running in self.running.values():
                signal_group(running.process, signal.SIGKILL)
                running.process.wait()
            self.running.clear()

    def read_log(self, uid: str, container: str, lines: int | None) -> bytes | None:
        """The newest lines of a container's output; None before it has started."""
        path = self._log_path(uid, container)
        if not path.exists():
            return None
        text = path.read_bytes()
        return text if lines is None else b"".join(text.splitlines(keepends=True)[-lines:])

    def _log_path(self, uid: str, container: str) -> Path:
        return self.folder / f"{uid}-{container}.log"

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def _announce(self) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}}
        answer = await self.client.post("/api/v1/nodes", json=node)
        if answer.status_code not in (201, 409):
            answer.raise_for_status()

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await self.round()
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> None:
        """Look once at every pod, and do what is due."""
        listed = await self.client.get(self._pods)
        listed.raise_for_status()
        pods = {pod["metadata"]["uid"]: pod for pod in listed.json()["items"]}
        for uid in [uid for uid in self.running if uid not in pods]:
            # Removed without grace: the object is gone before its process.
            running = self.running.pop(uid)
            signal_group(running.process, signal.SIGKILL)
            running.process.wait()
        for uid, pod in pods.items():
            await self._look_after(uid, pod)

    async def _look_after(self, uid: str, pod: Json) -> None:
        metadata, node = pod["metadata"], pod["spec"].get("nodeName")
        if node is None:
            if self.schedules and "deletionTimestamp" not in metadata and not pod["spec"].get("schedulingGates"):
                target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}}
                await self.client.post(
                    f"{self._pods}/{metadata['name']}/binding",
                    json={**target, "target": {"kind": "Node", "name": self.name}},
                )
        elif node == self.name:
            if "deletionTimestamp" in metadata:
                await self._end(uid, pod)
            elif uid in self.running:
                await self._look_for_end(uid)
            elif uid not in self.finished:
                await self._start(uid, pod)

    async def _start(self, uid: str, pod: Json) -> None:
        address = next(ADDRESSES)
        process = self._run(uid, pod, address)
        self.running[uid] = Running(pod, process, address)
        now = timestamp(self.now())
        await self._say(pod, _status(pod, "Running", address, now, {"running": {"startedAt": now}}, ready=True))

    def _run(self, uid: str, pod: Json, address: str) -> "subprocess.Popen[bytes]":
        """Start the first container; the others are only said to run."""
        container = pod["spec"]["containers"][0]
        environment = _environment(pod, container, address)
        words = [*(container.get("command") or []), *(container.get("args") or [])]
        command = [VARIABLE.sub(lambda found: environment.get(found[1], found[0]), word) for word in words]
        with self._log_path(uid, container["name"]).open("wb") as output:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _look_for_end(self, uid: str) -> None:
        running = self.running[uid]
        code = running.process.poll()
        if code is None:
            return
        del self.running[uid]
        self.finished.add(uid)
        await self._say_ended(running, code)

    async def _say_ended(self, running: Running, code: int) -> None:
        # Ended by signal n is exit code 128 + n in a container.
        code = 128 - code if code < 0 else code
        reason = "Completed" if code == 0 else "OOMKilled" if code == OOM_EXIT_CODE else "Error"
        now = timestamp(self.now())
        ended = {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}
        phase = "Failed" if code else "Succeeded"
        await self._say(running.pod, _status(running.pod, phase, running.address, now, ended, ready=False))

    async def _end(self, uid: str, pod: Json) -> None:
        """Ask, kill when the grace is over, and remove the object once the process has ended."""
        running = self.running.get(uid)
        if running is not None:
            if running.ends_at is None:
                running.ends_at = time.monotonic() + pod["metadata"].get("deletionGracePeriodSeconds", 30)
                # A container's first process alone is asked; whoever else is in it ends with it.
                with contextlib.suppress(ProcessLookupError):
                    running.process.send_signal(signal.SIGTERM)
            elif time.monotonic() > running.ends_at:
                signal_group(running.process, signal.SIGKILL)
            if running.process.poll() is None:
                return
            signal_group(running.process, signal.SIGKILL)
            del self.running[uid]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self.client.request("DELETE", f"{self._pods}/{pod['metadata']['name']}", json=options)

    async def _say(self, pod: Mapping[str, Any], status: Json) -> None:
        await self.client.patch(
            f"{self._pods}/{pod['metadata']['name']}/status",
            json={"status": status},
            headers={"content-type": "application/strategic-merge-patch+json"},
        )


def _environment(pod: Json, container: Json, address: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    fields = {"status.podIP": address, "status.hostIP": "127.0.0.1", "metadata.name": pod["metadata"]["name"]}
    given = {}
    for entry in container.get("env") or []:
        path = (((entry.get("valueFrom") or {}).get("fieldRef")) or {}).get("fieldPath", "")
        given[entry["name"]] = fields.get(path, "") if path else entry.get("value", "")
    return {**inherited, **given}


def _status(pod: Json, phase: str, address: str, now: str, state: Json, *, ready: bool) -> Json:
    word = "True" if ready else "False"
    containers = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "stand-in",
            "ready": ready,
            "restartCount": 0,
            "state": state,
        }
        for container in _each(pod)
    ]
    conditions = [{"type": kind, "status": word, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
    return {
        "phase": phase,
        "startTime": now,
        "podIP": address,
        "hostIP": "127.0.0.1",
        "conditions": conditions,
        "containerStatuses": containers,
    }


def _each(pod: Json) -> Iterator[Json]:
    yield from pod["spec"]["containers"]
