"""Where a pod's worker is to be reached: by the pod's address, by its node's, or by what it printed.

Source: pkg/kubelet/kuberuntime/logs: the tail of a log is taken first, and the limit then cuts its newest end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from ebbflow.adapters.http import NoAnswer
from ebbflow.adapters.providers.announced import Announced, read_announced
from ebbflow.adapters.providers.kubernetes.client import Connection
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.adapters.providers.kubernetes.states import is_finished, is_ready
from ebbflow.adapters.providers.kubernetes.template import WORKER_CONTAINER, host_port, worker_container

Pod = Mapping[str, Any]

LOG_LINES = 400
LOG_LIMIT_BYTES = 262144


class KubernetesAddresses:
    """Finds addresses, and reads logs for it.

    Args:
        connection: to the cluster.
        settings: which way is the block's.
    """

    def __init__(self, connection: Connection, settings: KubernetesSettings) -> None:
        self._connection = connection
        self._settings = settings

    @property
    def are_needed(self) -> bool:
        """Whether a worker without one is not there yet."""
        return self._settings.url != "none"

    async def announced(self, pods: Sequence[Pod], *, deadline: float) -> dict[str, Announced]:
        """What the workers said, by the pod's uid, where their log tells their address."""
        found: dict[str, Announced] = {}
        if self._settings.url != "log":
            return found

        async def read(pod: Pod) -> None:
            said = await self._said(pod, deadline=deadline)
            if said is not None:
                found[pod["metadata"]["uid"]] = said

        async with anyio.create_task_group() as group:
            for pod in pods:
                # One that has ended may have said why.
                if is_ready(pod) or is_finished(pod):
                    group.start_soon(read, pod)
        return found

    def derived(self, pod: Pod) -> str | None:
        """The address that the pod's own status tells; None where it announces or needs none, or is not ready."""
        if self._settings.url in ("log", "none") or not is_ready(pod):
            return None
        status, port = pod.get("status") or {}, self._settings.port
        if self._settings.url == "pod-ip":
            return _url(status.get("podIP"), port)
        return _url(status.get("hostIP"), host_port(pod["spec"], port))

    def container(self, pod: Pod) -> str:
        """The worker's container, also where the cluster put sidecars beside it or the template has changed since."""
        names = [str(container["name"]) for container in pod["spec"].get("containers") or ()]
        wanted = (WORKER_CONTAINER, str(worker_container(self._settings.pod_template["spec"])["name"]))
        return next((name for name in wanted if name in names), names[0] if names else WORKER_CONTAINER)

    async def log(self, pod: Pod, *, deadline: float, lines: int | None = LOG_LINES) -> bytes | None:
        """The end of a worker's log, or without `lines` its beginning; None where there is none.

        Raises:
            NoAnswer: none in time.
        """
        query = [("container", self.container(pod)), ("limitBytes", str(LOG_LIMIT_BYTES))]
        if lines is not None:
            query.append(("tailLines", str(lines)))
        path = f"/api/v1/namespaces/{self._connection.namespace}/pods/{pod['metadata']['name']}/log"
        answer = await self._connection.get(path, deadline=deadline, query=query)
        # 204: no node has it yet, so nothing was printed.
        return answer.data if answer.status in (200, 204) else None

    async def _said(self, pod: Pod, *, deadline: float) -> Announced | None:
        """A log that cannot be read leaves the address unknown: a node that does not answer is no fault of a worker.

        What it printed first is the worker's own; later lines may quote who sends it work.
        """
        said = None
        for lines in (None, LOG_LINES):
            try:
                text = await self.log(pod, deadline=deadline, lines=lines)
            except NoAnswer:
                break
            if text is None:
                break
            said = _read(text, pod)
            if said.is_decided or len(text) < LOG_LIMIT_BYTES:
                break
        return said


def _read(text: bytes, pod: Pod) -> Announced:
    status = pod.get("status") or {}
    return read_announced(text, {name: _host(status.get(name)) for name in ("podIP", "hostIP")})


def _url(address: object, port: int | None) -> str | None:
    host = _host(address)
    return f"http://{host}:{port}" if host and port else None


def _host(address: object) -> str:
    text = address if isinstance(address, str) else ""
    return f"[{text}]" if ":" in text else text
