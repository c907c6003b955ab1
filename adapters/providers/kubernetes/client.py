"""The official client as one asynchronous call: authentication and transport are its own, data stays raw JSON.

The client blocks, so that every call runs in a thread, with a time limit of its own, and is made once. It is imported
with the first call: whoever has no Kubernetes provider does not pay for it.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import yaml
from anyio.to_thread import run_sync

from ebbflow.adapters.http import MAX_ANSWER_BYTES, PLAIN, NoAnswer
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings, kube_context, namespace_problem
from ebbflow.core.errors import ConfigError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from urllib3.response import BaseHTTPResponse

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
LEAST_SECONDS = 0.05
"""With less left a call is not begun."""
CALLS_AT_ONCE = 8
FIRST_IMPORT = threading.Lock()
"""Two threads that import the client for the first time at once both fail, and so does every later import of their
process: kubernetes 37.0.1 imports in a circle (findings/kubernetes-first-import.sh)."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class KubernetesAnswer:
    """What the API server answered, whatever its status."""

    status: int
    data: bytes
    at: float
    """Epoch seconds on the server's clock, by its `Date` header."""
    retry_after_seconds: float | None = None

    @property
    def body(self) -> dict[str, Any]:
        """Its JSON object; empty where it is none."""
        try:
            body = json.loads(self.data)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def reason(self) -> str:
        """The word of a refusal, such as `AlreadyExists`: its code alone has several meanings."""
        return str(self.body.get("reason") or "")

    @property
    def message(self) -> str:
        """What the server said, or the beginning of what a proxy said in its place."""
        said = self.body.get("message") or self.data[:200].decode("utf-8", "replace")
        return f"{self.status} {self.reason}: {' '.join(str(said).split())}"


class Connection:
    """One client of one cluster, opened with the first call.

    Args:
        settings: how to reach it.
        clock: epoch seconds, where a server does not say what time it is.
    """

    def __init__(self, settings: KubernetesSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(CALLS_AT_ONCE)
        self._api: ApiClient | None = None
        self._namespace = ""

    @property
    def server(self) -> str:
        """The cluster's address; of the cluster that we run in without a kubeconfig."""
        if self._settings.kubeconfig is not None:
            return kube_context(self._settings.kubeconfig.get_secret_value(), self._settings.context).server
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        return f"https://{host}:{port}" if host else "in-cluster"

    @property
    def namespace(self) -> str:
        """Where workers go: the block's, else the context's, else our own pod's. Never `default` by itself.

        Raises:
            ConfigError: none of them is given.
        """
        found = self._settings.namespace
        if not found and self._settings.kubeconfig is not None:
            found = kube_context(self._settings.kubeconfig.get_secret_value(), self._settings.context).namespace
        elif not found and (SERVICE_ACCOUNT / "namespace").is_file():
            found = (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        if not found:
            raise ConfigError("kubernetes provider: namespace is empty, and neither context nor pod names one: set it")
        return found

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
    ) -> KubernetesAnswer:
        """Make one call, once.

        Args:
            method: such as `POST`.
            path: from the root.
            deadline: on the event loop's clock; nothing is waited for beyond it.
            query: parameters.
            body: sent as JSON.

        Raises:
            NoAnswer: there was none in time.
            ConfigError: the client cannot be set up.
        """
        if deadline - anyio.current_time() < LEAST_SECONDS:
            raise NoAnswer(f"{method} {path}: no time left", maybe_sent=False)
        with anyio.move_on_after(deadline - anyio.current_time()):
            api = await self._opened()
            left = max(deadline - anyio.current_time(), LEAST_SECONDS)
            limits = (min(CONNECT_SECONDS, left), min(READ_SECONDS, left))
            call = partial(_call, api, method, path, list(query), body, limits, self._clock)
            # A thread cannot be stopped: given up here, it ends by the limits of its own call.
            answer = await run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
            log.debug("%s %s -> %d", method, path, answer.status)
            return answer
        raise NoAnswer(f"{method} {path}: no answer in time", maybe_sent=True)

    async def get(self, path: str, *, deadline: float, query: Sequence[tuple[str, str]] = ()) -> KubernetesAnswer:
        """Read, and once more after a 429 if the server's `Retry-After` leaves time for it.

        Raises:
            NoAnswer: there was none in time.
            ConfigError: the client cannot be set up.
        """
        answer = await self.send("GET", path, deadline=deadline, query=query)
        wait = answer.retry_after_seconds
        if answer.status != 429 or wait is None or anyio.current_time() + wait + LEAST_SECONDS > deadline:
            return answer
        await anyio.sleep(wait)
        return await self.send("GET", path, deadline=deadline, query=query)

    async def aclose(self) -> None:
        """Close its connections."""
        if self._api is not None:
            api, self._api = self._api, None
            await run_sync(api.close)

    async def _opened(self) -> "ApiClient":
        async with self._lock:
            if self._api is None:
                if problem := namespace_problem(self._settings, self.namespace):
                    raise problem
                # Reading a kubeconfig may run its login command.
                self._api = await run_sync(_open, self._settings, abandon_on_cancel=True)
            return self._api


def _open(settings: KubernetesSettings) -> "ApiClient":
    with FIRST_IMPORT:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, load_incluster_config, load_kube_config_from_dict

    configuration = Configuration()
    try:
        if settings.kubeconfig is None:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            content = yaml.safe_load(settings.kubeconfig.get_secret_value())
            load_kube_config_from_dict(  # type: ignore[no-untyped-call]
                content, context=settings.context, client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigError(f"kubernetes provider: the client cannot be set up from its kubeconfig: {error}") from error
    # urllib3's own three retries would send a DELETE four times, and make a dead server cost four waits.
    configuration.retries = False
    configuration.connection_pool_maxsize = CALLS_AT_ONCE
    return ApiClient(configuration)


def _call(
    api: "ApiClient",
    method: str,
    path: str,
    query: list[tuple[str, str]],
    body: Mapping[str, Any] | None,
    limits: tuple[float, float],
    clock: Callable[[], float],
) -> KubernetesAnswer:
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

    # The typed calls check bodies against the client's own version of the API, and refuse what a newer server takes.
    request = api.param_serialize(
        method,
        path,
        query_params=query,
        header_params={"Accept": "application/json", "Content-Type": "application/json", "Accept-Encoding": PLAIN},
        body=None if body is None else dict(body),
        auth_settings=["BearerToken"],
    )
    try:
        response = api.call_api(*request, _request_timeout=limits)
        data = _content(response.response)
    except HTTPError as error:
        unsent = isinstance(error, NewConnectionError | ConnectTimeoutError | SSLError)
        raise NoAnswer(f"{method} {path}: {error}", maybe_sent=not unsent) from error
    headers = response.headers
    return KubernetesAnswer(
        response.status, data or b"", _date_of(headers.get("date"), clock), _seconds(headers.get("retry-after"))
    )


def _content(raw: "BaseHTTPResponse") -> bytes:
    """What came over the wire, up to a limit: a small compressed answer may unfold into gigabytes.

    Raises:
        NoAnswer: it is compressed, or too long.
    """
    encoding = raw.headers.get("content-encoding", PLAIN).strip().lower()
    data = b"" if encoding != PLAIN else raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
    if encoding == PLAIN and len(data) <= MAX_ANSWER_BYTES:
        raw.release_conn()
        return data
    raw.close()
    if encoding != PLAIN:
        raise NoAnswer(f"the answer is compressed ({encoding[:20]!a}), which was not asked for", maybe_sent=True)
    raise NoAnswer(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", maybe_sent=True)


def _date_of(text: str | None, clock: Callable[[], float]) -> float:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except ValueError:
        return clock()


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None
