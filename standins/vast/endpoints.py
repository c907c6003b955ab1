"""The operations of a stand-in Vast API: what each request does to the account, and what it answers.

Source: vast-ai/docs, one YAML file of `api-reference/openapi/yaml` per operation.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from ebbflow.standins.vast.account import Account
from ebbflow.standins.vast.faults import Fault, FaultKind
from ebbflow.standins.vast.instances import read_launch
from ebbflow.standins.vast.listing import page
from ebbflow.standins.vast.logs import Logs
from ebbflow.standins.vast.offers import Offer, search
from ebbflow.standins.vast.refusals import Json, Refused, invalid


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is to be carried out."""

    request: Request
    body: Json
    id: int
    besides: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: its name for rights and rates, and how it is called."""

    name: str
    method: str
    path: str
    carry_out: Callable[[Call], Awaitable[Json]]


class Endpoints:
    """Every operation.

    Args:
        account: what they act on.
        now: epoch seconds.
        logs: where texts are kept that were asked for.
        templates: bodies of creates by their hash.
    """

    def __init__(self, account: Account, now: Callable[[], float], logs: Logs, templates: Mapping[str, Json]) -> None:
        self._account, self._now, self._logs, self._templates = account, now, logs, templates
        self._all = self._make()

    def find(self, method: str, path: str) -> tuple[Endpoint, int | None]:
        """The operation that a request asks for, and the id in its path.

        Raises:
            Refused: 404, as for any path that nobody serves.
        """
        for endpoint in self._all:
            found = re.fullmatch(endpoint.path, path)
            if found and endpoint.method == method:
                return endpoint, int(found[1]) if found.groups() else None
        raise Refused(404, "not_found", f"{method} {path} is not served.")

    def row(self, instance_id: int) -> Json:
        """An instance as a listing shows it."""
        instance = self._account.instances[instance_id]
        return instance.row(self._now(), is_offline=instance.offer.machine_id in self._account.offline)

    def _make(self) -> tuple[Endpoint, ...]:
        number, root = r"(\d+)", "/api/v0/instances/"
        return (
            Endpoint("search", "POST", "/api/v0/bundles/", self._search),
            Endpoint("search", "PUT", "/api/v0/search/asks/", self._search_new),
            Endpoint("create", "PUT", f"/api/v0/asks/{number}/", self._create),
            Endpoint("list", "GET", "/api/v1/instances/", self._list),
            Endpoint("list_old", "GET", root, self._list_old),
            Endpoint("show", "GET", f"{root}{number}/", self._show),
            Endpoint("update", "PUT", f"{root}{number}/", self._update),
            Endpoint("update_several", "PUT", root, self._update_several),
            Endpoint("destroy", "DELETE", f"{root}{number}/", self._destroy),
            Endpoint("destroy", "DELETE", root, self._destroy_several),
            Endpoint("restart", "PUT", f"{root}reboot/{number}/", self._reboot),
            Endpoint("restart", "PUT", f"{root}recycle/{number}/", self._recycle),
            Endpoint("bid", "PUT", f"{root}bid_price/{number}/", self._bid),
            Endpoint("logs", "PUT", f"{root}request_logs/{number}/", self._request_logs),
            Endpoint("user", "GET", "/api/v0/users/current/?", self._user),
        )

    async def _search(self, call: Call) -> Json:
        return {"offers": search(self._account.offers.values(), call.body, self._now(), self._account.offline)}

    async def _search_new(self, call: Call) -> Json:
        query, columns = call.body.get("q", {}), call.body.get("select_cols", ["*"])
        found = search(self._account.offers.values(), query, self._now(), self._account.offline)
        if "*" not in columns:
            found = [{name: row.get(name) for name in columns} for row in found]
        return {"offers": found}

    async def _create(self, call: Call) -> Json:
        launch = read_launch(call.body, self._templates)
        offer = self._account.check_offer(call.id, launch)
        instance = self._account.create(offer, launch)
        made = [instance]
        for fault in call.besides:
            if fault.kind is FaultKind.TWICE:
                twin = Offer(**{**vars(offer), "holder": None})
                made.append(self._account.create(twin, launch))
        for fault in call.besides:
            for each in made if fault.kind is FaultKind.LAG else ():
                each.hidden_reads = fault.reads
        return {"success": True, "new_contract": instance.id, "instance_api_key": instance.key}

    async def _list(self, call: Call) -> Json:
        query = call.request.query_params
        shown = [each for each in self._account.instances.values() if not each.hidden_reads]
        answer = page([self.row(each.id) for each in shown], query)
        for instance in self._account.instances.values():
            if not query.get("after_token"):
                instance.hidden_reads = max(0, instance.hidden_reads - 1)
        return answer

    async def _list_old(self, call: Call) -> Json:
        raise Refused(410, "deprecated_endpoint", "This endpoint is gone; use /api/v1/instances/.")

    async def _show(self, call: Call) -> Json:
        return {"instances": self.row(call.id) if call.id in self._account.instances else None}

    async def _update(self, call: Call) -> Json:
        self._account.instance(call.id)
        if not {"state", "label"} & set(call.body):
            raise invalid("neither state nor label")
        if "state" in call.body:
            self._account.set_state(call.id, call.body["state"])
        if "label" in call.body:
            self._account.set_label(call.id, call.body["label"])
        return {"success": True}

    async def _update_several(self, call: Call) -> Json:
        for number in _numbers(call.body, "ids"):
            self._account.set_state(number, call.body.get("state"))
        return {"success": True}

    async def _destroy(self, call: Call) -> Json:
        await self._account.destroy(call.id)
        return {"success": True}

    async def _destroy_several(self, call: Call) -> Json:
        for number in _numbers(call.body, "instance_ids"):
            await self._account.destroy(number)
        return {"success": True}

    async def _reboot(self, call: Call) -> Json:
        self._account.restart(call.id, "rebooting")
        return {"success": True}

    async def _recycle(self, call: Call) -> Json:
        self._account.restart(call.id, "recycling", wipes=True)
        return {"success": True}

    async def _bid(self, call: Call) -> Json:
        self._account.set_price(call.id, call.body.get("price"))
        return {"success": True}

    async def _request_logs(self, call: Call) -> Json:
        text = self._account.hosts.log_of(self._account.instance(call.id))
        path = self._logs.keep(text, call.body)
        return {"success": True, "result_url": f"{str(call.request.base_url).rstrip('/')}{path}"}

    async def _user(self, call: Call) -> Json:
        credit = 100.0 if self._account.has_credit else 0.0
        return {"id": 1, "username": "stand-in", "email": "stand-in@example.invalid", "credit": credit, "balance": 0.0}


def _numbers(body: Json, name: str) -> list[int]:
    found = body.get(name)
    if not isinstance(found, list) or not all(isinstance(each, int) for each in found):
        raise invalid(f"{name}: a list of ids")
    return found
