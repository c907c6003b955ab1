"""Our gateway as a master: workers tell it how they do, and it is told here at which address each of them is.

Clients are sent to a worker while its lease holds, which every turn renews: without turns nobody is sent anywhere after
a while, so that a worker whose instance is gone, or another's by now, is not handed out for ever.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import httpx

from ebbflow.adapters.http import HttpClient, NoAnswer
from ebbflow.adapters.masters.gateway.answers import parse_demand, parse_rows
from ebbflow.adapters.masters.gateway.settings import GatewaySettings, PlainServers
from ebbflow.adapters.masters.time_limit import time_limit
from ebbflow.adapters.redaction import Redaction
from ebbflow.core.errors import ConfigError, FleetError, MasterRejected, MasterUnavailable
from ebbflow.core.ids import check_fleet_name, check_home, parse_worker_id
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    DrainWay,
    Health,
    IdleSource,
    MasterCaps,
    PushMemberList,
    Registration,
)
from ebbflow.core.text import one_line
from ebbflow.core.worker import Worker
from ebbflow.gateway.wire import token_of


class GatewayAdapter:
    """The ports `PushMaster` and `KeepsAlive` for one endpoint of a gateway.

    Args:
        settings: where and how.
        fleet: whose workers it manages.
        home: of which installation.
        transport: replaces the network in tests.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        fleet: str,
        home: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._fleet, self._home = check_fleet_name(fleet), check_home(home)
        self._http = HttpClient(transport=transport)
        self._hide = Redaction(settings)

    @property
    def caps(self) -> MasterCaps:
        """What the gateway can do."""
        return MasterCaps(
            drain=DrainWay.NATIVE,
            needs_keepalive_seconds=self._settings.lease_seconds,
            can_start_from_zero=True,
            counts_requests=True,
            idle_source=IdleSource.OBSERVED,
            call_seconds=2 * self._settings.call_timeout_seconds,
            worker_networks=tuple(self._settings.worker_networks),
            takes_polls=True,
        )

    async def probe(self) -> Health:
        """Whether it answers, lets us in, and has the endpoint."""
        try:
            with self._limit("probe"):
                await self._account()
                await self._check_servers()
        except (MasterUnavailable, MasterRejected) as error:
            return Health(reachable=False, detail=str(error))
        return Health(reachable=True)

    async def _check_servers(self) -> None:
        """Let the gateway say whether it can look after such servers.

        Raises:
            ConfigError: it cannot; names the field.
        """
        servers = self._settings.plain_servers
        if servers is None:
            return
        try:
            await self._call("POST", "servers/check", _said(servers), repeats=1)
        except MasterRejected as error:
            raise ConfigError(f"plain_servers of the master's block: {error}") from error

    async def demand(self) -> Demand:
        """What waits at the endpoint and what its workers were given."""
        try:
            with self._limit("demand"):
                return parse_demand(await self._account())
        except FleetError as error:
            return Demand(complete=False, detail=str(error))

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        """Workers of this fleet and home; nobody can rename one, so what is known of them is not needed."""
        try:
            with self._limit("members"):
                rows = parse_rows(await self._account(), restart_seconds=self._settings.restart_seconds)
        except FleetError as error:
            return PushMemberList(complete=False, detail=str(error))
        ours = [row for row in rows if self._is_of_fleet(row.worker_id)]
        return PushMemberList(
            members=tuple(
                row.member
                for row in ours
                if row.home == self._home and (worker_ids is None or row.worker_id in worker_ids)
            ),
            foreign=tuple(row.worker_id for row in ours if row.home != self._home),
            others=tuple(row.worker_id for row in rows if not self._is_of_fleet(row.worker_id)),
        )

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        """What the vendor's worker software reads: where it reports, and the token by which it is known."""
        if self._settings.plain_servers is not None:
            return JoinSpec()
        return JoinSpec(
            environment={
                "REPORT_ADDR": self._settings.report_address or self._settings.address,
                "MASTER_TOKEN": token_of(worker_id, self._settings.worker_secret.get_secret_value()),
                # Its own default wants a certificate that the vendor has signed.
                "USE_SSL": "false",
            }
        )

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Tell the gateway at which address the worker is, once it has spoken there."""
        if worker.url is None:
            return Registration(False, f"{worker.worker_id} has no address yet")
        told: dict[str, object] = {"url": worker.url, "home": self._home, "lease_seconds": self._settings.lease_seconds}
        servers = self._settings.plain_servers
        if servers is not None:
            told["server"] = _said(servers)
        path = f"endpoints/{self._settings.endpoint}/workers/{worker.worker_id}"
        with self._limit("register"):
            answer = await self._call("PUT", path, told)
        if answer.get("heard") is True:
            return Registration(True)
        if servers is None:
            return Registration(False, f"{worker.worker_id} does not report to the gateway yet")
        error = one_line(str(answer.get("error") or "it loads, or its test prompt is not answered yet"), 200)
        return Registration(False, f"{worker.worker_id} does not serve yet: {error}")

    async def deregister(self, worker: Worker) -> None:
        """Let the gateway forget it."""
        with self._limit("deregister"):
            await self._call("DELETE", f"endpoints/{self._settings.endpoint}/workers/{worker.worker_id}")

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Send nobody more to it; at its deadline, one that works is sent clients again, unless by force."""
        path = f"workers/{worker.worker_id}/drain"
        with self._limit("drain"):
            try:
                answer = await self._call("PUT", path)
                if answer.get("busy") is True and not deadline_seconds and not force:
                    await self._call("DELETE", path)
                    return DrainAnswer.BUSY
            except _AbsentError:
                return DrainAnswer.SILENT
        return DrainAnswer.ACCEPTED

    async def shut_down(self, worker: Worker) -> None:
        """Nothing: its provider ends it."""

    async def mend(self, worker: Worker) -> Registration:
        """Nothing: it is held in one place, wholly or not."""
        return Registration(True)

    async def remove_unfinished(self, master_ref: str) -> None:
        """Nothing: a registration is one call."""

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Renew their leases, in one call; whether each has spoken of late."""
        asked = [worker.worker_id for worker in workers]
        path = f"endpoints/{self._settings.endpoint}/leases"
        with self._limit("keepalive"):
            said = await self._call("POST", path, {"worker_ids": asked, "lease_seconds": self._settings.lease_seconds})
        return {worker_id: said.get(worker_id) is True for worker_id in asked}

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    def _is_of_fleet(self, worker_id: str) -> bool:
        parts = parse_worker_id(worker_id)
        return parts is not None and parts.fleet == self._fleet

    async def _account(self) -> Mapping[str, object]:
        try:
            return await self._call("GET", f"endpoints/{self._settings.endpoint}", repeats=1)
        except _AbsentError as error:
            raise ConfigError(
                f"gateway {self._settings.address} has no endpoint {self._settings.endpoint!r}: make it with "
                f"`ebbflow endpoint {self._settings.endpoint}`, or name another one"
            ) from error

    async def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, repeats: int = 0
    ) -> Mapping[str, object]:
        where = f"gateway {self._settings.address}: {path}"
        try:
            answer = await self._http.send(
                method,
                f"{self._settings.address}/operator/{path}",
                headers={"Authorization": f"Bearer {self._settings.operator_key.get_secret_value()}"},
                body=body,
                timeout_seconds=self._settings.call_timeout_seconds,
                repeats=repeats,
            )
        except NoAnswer as error:
            raise MasterUnavailable(f"{where}: {error}") from error
        if answer.status_code == 401:
            raise ConfigError(f"{where}: HTTP 401: set operator_key to EBBFLOW_GATEWAY_OPERATOR_KEY of the gateway")
        said = _object(answer)
        if answer.status_code == 404 and said is not None and "error" in said:
            raise _AbsentError(where)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise MasterUnavailable(f"{where}: HTTP {answer.status_code}: {one_line(answer.text, 200)}")
        if answer.status_code >= 300:
            raise MasterRejected(f"{where}: HTTP {answer.status_code}: {one_line(answer.text, 200)}")
        if said is None:
            raise MasterUnavailable(f"{where}: no JSON object; is this the address of a gateway?")
        return said

    def _limit(self, what: str) -> AbstractContextManager[None]:
        return time_limit(self.caps.call_seconds, f"gateway {self._settings.address}: {what}", self._hide)


class _AbsentError(MasterRejected):
    """There is no such endpoint or worker."""


def _said(servers: PlainServers) -> dict[str, object]:
    """As the gateway is told: the one place where their key is taken out."""
    return {**servers.model_dump(exclude={"api_key"}), "api_key": servers.api_key.get_secret_value()}


def _object(answer: httpx.Response) -> Mapping[str, object] | None:
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
