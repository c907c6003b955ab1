"""What clients ask: for a worker, and about their endpoint.

Source: paths, bodies and answers are those that Vast's client and command know (`vastai` 1.9.1).
"""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ebbflow.gateway import showing
from ebbflow.gateway.asking import (
    MOST_COST,
    MOST_PRIORITY,
    Problem,
    body,
    client_key,
    keep_seconds,
    number,
    text,
    whole,
)
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.endpoints import Endpoint
from ebbflow.gateway.guard import Guard, answered
from ebbflow.gateway.journal import KEPT
from ebbflow.gateway.terms import Clocks, Ticket

MOST_NUMBER = 2**53
"""The largest number that every client's JSON keeps."""
MOST_DIGITS = 16


class ForClients:
    """The routes.

    Args:
        desk: what the gateway knows.
        guard: answers for what goes wrong.
        clocks: of this host.
        timed: is told how long each answer of `/route/` took, in seconds.
    """

    def __init__(self, desk: Desk, guard: Guard, clocks: Clocks, timed: Callable[[float], None]) -> None:
        self._desk, self._clocks, self._timed = desk, clocks, timed
        self.routes = [
            Route("/route/", guard(self._route), methods=["POST"]),
            Route("/done/", guard(self._done), methods=["POST"]),
            Route("/get_endpoint_workers/", guard(self._workers), methods=["POST"]),
            Route("/get_endpoint_logs/", guard(self._logs), methods=["POST"]),
            Route("/api/v0/endptjobs/", guard(self._endpoints)),
            Route("/api/v0/endptjobs/{number}/", guard(self._endpoint)),
        ]

    async def _route(self, request: Request) -> Response:
        began = self._clocks.monotonic()
        data = await body(request)
        key, endpoint = client_key(request, data), text(data, "endpoint")
        answer = self._desk.route(
            endpoint,
            key,
            number=whole(data, "request_idx", least=0, most=MOST_NUMBER, usual=0),
            cost=number(data, "cost", least=0, most=MOST_COST, usual=1),
            priority=whole(data, "priority", least=-MOST_PRIORITY, most=MOST_PRIORITY, usual=0),
            keep_seconds=keep_seconds(data),
        )
        now = self._clocks.monotonic()
        if isinstance(answer, Ticket):
            shown = showing.ticket(endpoint, answer)
        else:
            shown = showing.waiting(endpoint, self._desk.endpoints.named(endpoint).routing, answer)
        self._timed(now - began)
        return answered(shown)

    async def _done(self, request: Request) -> Response:
        """From clients of servers that report nothing: a request is over, or was not served there."""
        data = await body(request)
        key, endpoint = client_key(request, data), text(data, "endpoint")
        success = data.get("success", True)
        if not isinstance(success, bool):
            raise Problem(400, "success: true or false is expected")
        request_idx = whole(data, "request_idx", least=1, most=MOST_NUMBER, usual=0)
        return answered({"settled": self._desk.done(endpoint, key, request_idx, is_done=success)})

    async def _workers(self, request: Request) -> Response:
        """For the vendor's client, which takes a list and nothing else."""
        endpoint = self._asked(request, await body(request))
        now, wall = self._clocks.monotonic(), self._clocks.wall()
        members = self._desk.members(endpoint.row.name)
        return answered([showing.worker_for_clients(each, now, wall) for each in members])

    async def _logs(self, request: Request) -> Response:
        """What the vendor's command prints, one of its four levels; we have one."""
        data = await body(request)
        endpoint = self._asked(request, data)
        tail = whole(data, "tail", least=0, most=KEPT, usual=KEPT)
        lines = "\n".join(
            showing.line(line.at, line.worker_id, line.words)
            for line in self._desk.journal.last(endpoint.row.name, tail)
        )
        return answered(dict.fromkeys(("info0", "info1", "trace", "debug"), lines))

    async def _endpoints(self, request: Request) -> Response:
        key = client_key(request, {})
        endpoint = self._desk.endpoints.of_key(key)
        return answered({"success": True, "results": [_for_the_vendor(endpoint, key)]})

    async def _endpoint(self, request: Request) -> Response:
        key = client_key(request, {})
        said = request.path_params["number"]
        if not said.isdecimal() or len(said) > MOST_DIGITS:
            raise Problem(404, "there is no such endpoint: its number is expected")
        endpoint = self._asked(request, {"id": int(said)})
        return answered({"success": True, "result": _for_the_vendor(endpoint, key)})

    def _asked(self, request: Request, data: Mapping[str, object]) -> Endpoint:
        """The endpoint of the key; where a number is said, it must be its own."""
        endpoint = self._desk.endpoints.of_key(client_key(request, data))
        said = data.get("id", endpoint.row.number)
        if said != endpoint.row.number or isinstance(said, bool):
            raise Problem(404, f"id: the endpoint of this key has the number {endpoint.row.number}")
        return endpoint


def _for_the_vendor(endpoint: Endpoint, key: str) -> dict[str, object]:
    """An endpoint as its client reads it; whoever asks has shown the key."""
    return {
        "id": endpoint.row.number,
        "endpoint_name": endpoint.row.name,
        "api_key": key,
        "user_id": 0,
        "created_at": 0.0,
        "max_queue_time": endpoint.row.max_queue_seconds,
        "endpoint_state": "active",
    }
