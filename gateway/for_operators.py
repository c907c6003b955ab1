"""What the masters' blocks ask and tell, and people who run the gateway; all of it with an operator's key."""

from collections.abc import Mapping

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from ebbflow.gateway import showing
from ebbflow.gateway.asking import Problem, body, check_operator, endpoint_name, lease_seconds, number, text, whole
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.guard import Guard, Handler, answered, said
from ebbflow.gateway.metrics import Metrics
from ebbflow.gateway.openapi import DOCUMENT, page
from ebbflow.gateway.registration import server_of
from ebbflow.gateway.terms import Clocks
from ebbflow.gateway.wire import ADDRESS

MOST_WAITING = 1_000_000


class ForOperators:
    """The routes.

    Args:
        desk: what the gateway knows.
        guard: answers for what goes wrong.
        clocks: of this host.
        keys: of operators.
        metrics: for Prometheus.
    """

    def __init__(self, desk: Desk, guard: Guard, clocks: Clocks, keys: tuple[str, ...], metrics: Metrics) -> None:
        self._desk, self._clocks, self._keys, self._metrics = desk, clocks, keys, metrics

        def ours(path: str, **handlers: Handler) -> Route:
            """One route, with a handler for each method, so that a refused method names all of them."""

            async def answer(request: Request) -> Response:
                check_operator(request, self._keys)
                method = "GET" if request.method == "HEAD" else request.method
                return await handlers[method](request)

            return Route(path, guard(answer), methods=list(handlers))

        endpoint = "/operator/endpoints/{name}"
        self.routes = [
            ours("/operator/endpoints", GET=self._endpoints),
            ours(endpoint, GET=self._account, PUT=self._make_endpoint),
            ours(f"{endpoint}/keys", POST=self._new_key),
            ours(f"{endpoint}/log", GET=self._log),
            ours(f"{endpoint}/leases", POST=self._leases),
            ours(f"{endpoint}/workers/{{worker_id}}", PUT=self._register, DELETE=self._deregister),
            ours("/operator/workers/{worker_id}/drain", PUT=self._drain, DELETE=self._drain),
            ours("/operator/servers/check", POST=self._check_server),
            ours("/metrics", GET=self._show_metrics),
            Route("/healthz", guard(self._health)),
            Route("/readyz", guard(self._ready)),
            Route("/openapi.json", guard(self._document)),
            Route("/docs", guard(self._page)),
        ]

    async def _health(self, request: Request) -> Response:
        return answered({"ok": True})

    async def _ready(self, request: Request) -> Response:
        """Whether it can keep what it is told; known workers are routed to without that."""
        if not self._desk.is_saved:
            return said(503, "the gateway's database does not answer", retry_after_seconds=5)
        return answered({"ok": True})

    async def _document(self, request: Request) -> Response:
        return answered(DOCUMENT)

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(page())

    async def _show_metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _endpoints(self, request: Request) -> Response:
        rows = (each.row for each in self._desk.endpoints)
        return answered({"endpoints": [{"name": row.name, "number": row.number} for row in rows]})

    async def _make_endpoint(self, request: Request) -> Response:
        name, data = endpoint_name(request), await body(request)
        row = await self._desk.endpoints.make(
            name,
            max_queue_seconds=float(number(data, "max_queue_seconds", least=0.001, most=86_400, usual=30.0)),
            most_waiting=whole(data, "most_waiting", least=1, most=MOST_WAITING, usual=20_000),
            routes_per_second=float(number(data, "routes_per_second", least=1, most=1e6, usual=10_000.0)),
        )
        return answered(
            {
                "name": row.name,
                "number": row.number,
                "max_queue_seconds": row.max_queue_seconds,
                "most_waiting": row.most_waiting,
                "routes_per_second": row.routes_per_second,
            }
        )

    async def _account(self, request: Request) -> Response:
        """What a master's adapter asks for: the work, and who does it; each figure aged by its own clock."""
        name, now = endpoint_name(request), self._clocks.monotonic()
        routing = self._desk.endpoints.named(name).routing
        return answered(
            {
                "queued_requests": routing.waiting,
                "in_flight_requests": routing.in_flight_requests,
                "arrived": routing.totals.arrived,
                "served": routing.totals.served,
                "served_units": routing.totals.served_units,
                "queued_units": routing.queued,
                "oldest_seconds": routing.oldest_seconds(now),
                "in_flight_units": routing.in_flight,
                "usual_load_seconds": routing.load_seconds,
                "workers": [showing.worker(each, now) for each in self._desk.members(name)],
            }
        )

    async def _new_key(self, request: Request) -> Response:
        data = await body(request)
        overlap = data.get("overlap_seconds")
        if overlap is not None:
            overlap = float(number(data, "overlap_seconds", least=0, most=10 * 366 * 86_400))
        key = await self._desk.endpoints.make_key(endpoint_name(request), overlap_seconds=overlap)
        return answered({"key": key}, 201)

    async def _log(self, request: Request) -> Response:
        name = endpoint_name(request)
        self._desk.endpoints.named(name)
        lines = self._desk.journal.last(name)
        return answered(
            {"lines": [{"at": line.at, "worker_id": line.worker_id, "words": line.words} for line in lines]}
        )

    async def _register(self, request: Request) -> Response:
        data = await body(request)
        url = text(data, "url")
        if not ADDRESS.fullmatch(url):
            raise Problem(400, "url: http://HOST:PORT is expected")
        view = await self._desk.register(
            endpoint_name(request),
            request.path_params["worker_id"],
            home=text(data, "home", 20, usual=""),
            url=url.rstrip("/"),
            lease_seconds=lease_seconds(data),
            server=server_of(data["server"]) if data.get("server") is not None else None,
        )
        is_ready = view is not None and view.is_ready(self._clocks.monotonic())
        # A server that reports nothing is heard of once its model has answered.
        is_heard = view is not None and (is_ready or view.request_seconds is None)
        return answered({"heard": is_heard, "ready": is_ready, "error": view.error if view else ""})

    async def _check_server(self, request: Request) -> Response:
        """Whether servers of this kind can be looked after; nothing is changed."""
        server_of(await body(request))
        return answered({"ok": True})

    async def _deregister(self, request: Request) -> Response:
        endpoint_name(request)
        await self._desk.deregister(request.path_params["worker_id"])
        return answered({})

    async def _leases(self, request: Request) -> Response:
        data = await body(request)
        renewed = await self._desk.renew(endpoint_name(request), _ids(data), lease_seconds=lease_seconds(data))
        return answered(renewed)

    async def _drain(self, request: Request) -> Response:
        busy = await self._desk.drain(request.path_params["worker_id"], is_draining=request.method == "PUT")
        return answered({"busy": busy})


def _ids(data: Mapping[str, object]) -> list[str]:
    ids = data.get("worker_ids")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise Problem(400, "worker_ids: a list of texts is expected")
    return ids
