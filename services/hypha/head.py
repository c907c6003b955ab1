"""The Ray head, asked over HTTP: jobs are handed over, looked at and stopped through Ray's own job submission.

Source: Ray python/ray/dashboard/modules/job; measured on Ray 2.60.0.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from ebbflow.adapters.http import HttpClient, NoAnswer
from ebbflow.adapters.masters.ray.answers import Node, Status, parse_nodes, parse_status
from ebbflow.core.errors import FleetError, MasterUnavailable
from ebbflow.core.text import one_line
from ebbflow.services.hypha.jobs import Job

JOBS = "/api/jobs/"
NODES = "/api/v0/nodes?detail=1&limit=10000"
LOGS = "/api/v0/logs/file"
LAST_LINES = 1000
"""Of an output that is longer than we read of anything."""
_SET_UP = re.compile(r"\A\S+ \S+\tINFO job_manager\.py:\d+ -- [^\n]*\n")
TOKEN = {
    401: "it asks for a token: set RAY_AUTH_TOKEN to that of the head",
    403: "it does not take this RAY_AUTH_TOKEN: set the one that the head was started with",
}
LONGEST_NOTE = 300
TOO_LONG = "is longer than"
"""What our HTTP client says of an answer that it did not read to its end."""


class HeadAway(FleetError):
    """The head gave no usable answer: what becomes of its jobs is unknown, and nothing is concluded from it."""

    is_temporary = True


class HeadRefuses(FleetError):
    """The head answers, and does not take this."""


class RayState(Enum):
    """Ray's own states of a job."""

    PENDING = "PENDING"
    """Waits for what its driver needs, or for its environment."""
    RUNNING = "RUNNING"
    """Its entrypoint runs."""
    STOPPED = "STOPPED"
    """Somebody stopped it."""
    SUCCEEDED = "SUCCEEDED"
    """Code 0."""
    FAILED = "FAILED"
    """Another code, or it never began."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the head has it."""

    state: RayState
    message: str
    node: str = ""
    """Where its entrypoint ran; empty: nowhere yet."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a job printed."""

    text: str
    is_cut: bool
    """Whether it is the end alone."""


class Head:
    """One head.

    Args:
        address: of its dashboard.
        token: None: it asks for none.
        timeout_seconds: of one call.
        driver_cpus: what an entrypoint itself takes.
        transport: replaces the network in tests.
        now: epoch seconds, to know how old the head's figures are.
    """

    def __init__(
        self,
        address: str,
        *,
        token: SecretStr | None,
        timeout_seconds: float,
        driver_cpus: float,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._address, self._token = address, token
        self._timeout_seconds, self._driver_cpus = timeout_seconds, driver_cpus
        self._http, self._now = HttpClient(transport=transport), now

    async def session(self) -> str:
        """The name that a head gives itself at each start.

        Raises:
            HeadAway: no usable answer.
        """
        name = _object(await self._ask("GET", "/api/version")).get("session_name")
        if not isinstance(name, str) or not name:
            raise HeadAway(f"Ray head {self._address}: it tells no session_name; Ray 2.60 does")
        return name

    async def hand_over(self, job: Job) -> None:
        """Submit it; with an id that the head has already, nothing happens and it is refused.

        Raises:
            HeadAway: it is not known whether it has it now.
            HeadRefuses: it answered, and not with yes.
        """
        body: dict[str, object] = {"submission_id": job.job_id, "entrypoint": job.entrypoint}
        body["runtime_env"] = json.loads(job.runtime_env)
        body["metadata"] = {"ebbflow_user": job.user}
        if self._driver_cpus:
            body["entrypoint_num_cpus"] = self._driver_cpus
        await self._ask("POST", JOBS, body)

    async def look(self, job_id: str) -> Seen | None:
        """How it does; None: the head knows nothing of it.

        Raises:
            HeadAway: no usable answer.
        """
        answer = await self._answer("GET", f"{JOBS}{job_id}")
        if answer.status_code == 404:
            return None
        said = _object(self._checked(answer, f"{JOBS}{job_id}"))
        try:
            state = RayState(said.get("status"))
        except ValueError as error:
            raise HeadAway(
                f"Ray head {self._address}: a job is {said.get('status')!r:.40}, which is no state"
            ) from error
        node = said.get("driver_node_id")
        return Seen(state, one_line(said.get("message") or "", LONGEST_NOTE), node if isinstance(node, str) else "")

    async def stop(self, job_id: str) -> None:
        """Ask for its end; one that is over, or unknown, is as it was."""
        answer = await self._answer("POST", f"{JOBS}{job_id}/stop", {})
        if answer.status_code != 404:
            self._checked(answer, f"{JOBS}{job_id}/stop")

    async def output(self, job: Job, node: str, most_bytes: int) -> Output:
        """What it printed, without Ray's own lines; of too much the end.

        From the log of the node where it ran: what the job API gives as its logs is, where several nodes share a host,
        the file of another one. It can be had as long as that node lives.

        Raises:
            HeadAway: no usable answer.
            HeadRefuses: the node is gone.
        """
        if not node:
            return Output("", is_cut=False)
        path = f"{LOGS}?node_id={quote(node, safe='')}&filename=job-driver-{job.job_id}.log&lines="
        is_cut = False
        try:
            answer = await self._answer("GET", f"{path}-1")
        except HeadAway as error:
            if TOO_LONG not in str(error):
                raise
            is_cut, answer = True, await self._answer("GET", f"{path}{LAST_LINES}")
        if answer.status_code != 200:
            raise HeadRefuses(self._said(answer, path))
        text = answer.content.decode("utf-8", "replace").replace("\0", "\ufffd")
        text = _SET_UP.sub("", text.replace(f"Running entrypoint for job {job.job_id}: {job.entrypoint}\n", "", 1), 1)
        encoded = text.encode()
        is_cut = is_cut or len(encoded) > most_bytes
        return Output(encoded[-most_bytes:].decode("utf-8", "ignore"), is_cut)

    async def cluster(self) -> tuple[Status, tuple[Node, ...]]:
        """What it counts, and its nodes.

        Raises:
            HeadAway: no usable answer, or it has not counted yet.
        """
        try:
            status = parse_status(_object(await self._ask("GET", "/api/cluster_status")), now_seconds=self._now())
            return status, parse_nodes(_object(await self._ask("GET", NODES)))
        except MasterUnavailable as error:
            raise HeadAway(str(error)) from error

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        return self._checked(await self._answer(method, path, body), path)

    async def _answer(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        try:
            return await self._http.send(
                method,
                f"{self._address}{path}",
                headers=headers,
                body=body,
                timeout_seconds=self._timeout_seconds,
                repeats=1 if method == "GET" else 0,
            )
        except NoAnswer as error:
            raise HeadAway(f"{self._where(path)}: {error}") from error

    def _checked(self, answer: httpx.Response, path: str) -> object:
        if answer.status_code in TOKEN:
            # The jobs go on; whoever mends the token finds them again.
            raise HeadAway(f"{self._where(path)}: HTTP {answer.status_code}: {TOKEN[answer.status_code]}")
        if answer.status_code != 200:
            raise HeadRefuses(self._said(answer, path))
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise HeadAway(f"{self._where(path)}: no JSON; is this the address of a Ray dashboard?") from error

    def _said(self, answer: httpx.Response, path: str) -> str:
        # The last line of a traceback is what it says; in its first seconds a head says that it has no agent.
        last = answer.text.strip().rpartition("\n")[2]
        return f"{self._where(path)}: HTTP {answer.status_code}: {one_line(last, LONGEST_NOTE)}"

    def _where(self, path: str) -> str:
        return f"Ray head {self._address}: {path.partition('?')[0]}"


def _object(said: object) -> Mapping[str, object]:
    if not isinstance(said, dict):
        raise HeadAway("the Ray head answered without a JSON object; is this the address of a Ray dashboard?")
    return said
