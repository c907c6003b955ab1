"""The gateway over HTTP: what workers, clients and operators may ask, each with a proof of its own.

Source: the paths, bodies and answers of workers and clients are those of Vast's software (`vastai` 1.9.1 and the two
generations before it); `/operator/` is ours, for the master's adapter.
"""

import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from hmac import compare_digest
from typing import Any
from uuid import uuid4

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ebbflow.gateway.desk import Desk, Refused, Ticket, Unknown
from ebbflow.gateway.reports import BadReport, WorkerView, read
from ebbflow.gateway.routing import Wait
from ebbflow.gateway.store import StoreError, WorkerRow

MOST_BYTES = 256 * 1024
MOST_COST = 1e12
TEND_SECONDS = 2.0
KEEP_SECONDS = 5.0, 60.0, 600.0
"""How long a request may be left unasked for: at least, where nothing is said, at most."""
UNKNOWN_SECONDS = 35.0
"""A rate of load that is older is unknown."""

Handler = Callable[[Request], Awaitable[Response]]


class Problem(Exception):
    """What was asked for is not possible; its words go to whoever asked."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Gateway:
    """The application.

    Args:
        desk: what it knows.
        operator_keys: of the masters' blocks and of people; two while one takes the other's place.
        monotonic: seconds of a clock that only goes on.
    """

    def __init__(self, desk: Desk, *, operator_keys: tuple[str, ...], monotonic: Callable[[], float]) -> None:
        self.desk = desk
        self._operator_keys, self._monotonic = operator_keys, monotonic
        self.app = Starlette(
            lifespan=self._lifespan,
            routes=[
                Route("/pubkey/", self._guarded(self._public_key)),
                Route("/worker_status/", self._guarded(self._worker_status), methods=["POST"]),
                Route("/delete_requests/", self._guarded(self._delete_requests), methods=["POST"]),
                Route("/route/", self._guarded(self._route), methods=["POST"]),
                Route("/get_endpoint_workers/", self._guarded(self._endpoint_workers), methods=["POST"]),
                Route("/operator/endpoints/{name}", self._guarded(self._endpoint), methods=["GET", "PUT"]),
                Route("/operator/endpoints/{name}/keys", self._guarded(self._new_key), methods=["POST"]),
                Route(
                    "/operator/endpoints/{name}/workers/{worker_id}",
                    self._guarded(self._worker),
                    methods=["PUT", "DELETE"],
                ),
                Route("/operator/endpoints/{name}/leases", self._guarded(self._leases), methods=["POST"]),
                Route("/operator/workers/{worker_id}/drain", self._guarded(self._drain), methods=["PUT", "DELETE"]),
                Route("/healthz", self._guarded(self._health)),
            ],
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        await self.desk.open()
        async with anyio.create_task_group() as group:
            group.start_soon(self._tend)
            yield
            group.cancel_scope.cancel()
        await self.desk.store.aclose()

    async def _tend(self) -> None:
        while True:
            await anyio.sleep(TEND_SECONDS)
            await self.desk.tend()

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except Refused:
                return _said(401, "Authentication failed")
            except Unknown as error:
                return _said(404, f"there is no {str(error)[:60]!r}")
            except BadReport as error:
                self.desk.counts.bad_reports += 1
                return _said(400, str(error))
            except Problem as error:
                return _said(error.status, error.words)
            except StoreError:
                return _said(503, "the gateway's database does not answer: ask again")

        return answer

    async def _public_key(self, request: Request) -> Response:
        # As text: workers import it as it is.
        return PlainTextResponse(self.desk.public_key)

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"ok": True})

    async def _worker_status(self, request: Request) -> Response:
        try:
            data = await _body(request)
        except Problem:
            # A worker's start script pastes its words in unescaped.
            self.desk.counts.bad_reports += 1
            raise
        self.desk.report(read(data))
        return JSONResponse({})

    async def _delete_requests(self, request: Request) -> Response:
        data = await _body(request)
        entries = data.get("requests")
        token = data.get("mtoken")
        if not isinstance(entries, list) or not isinstance(token, str):
            raise Problem(400, "requests: a list is expected, and mtoken: a text")
        settled = [
            # A client that left is done with; one that was rejected comes back.
            (number, entry.get("success") is True)
            for entry in entries
            if isinstance(entry, dict) and type(number := entry.get("request_idx")) is int
        ]
        self.desk.settle(token, settled)
        return JSONResponse({})

    async def _route(self, request: Request) -> Response:
        data = await _body(request)
        key, endpoint = _client_key(request, data), data.get("endpoint")
        if not isinstance(endpoint, str):
            raise Problem(400, "endpoint: a text is expected")
        cost, number = data.get("cost", 1), data.get("request_idx", 0)
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= MOST_COST:
            raise Problem(400, f"cost: a number from 0 to {MOST_COST:g} is expected")
        if type(number) is not int:
            raise Problem(400, "request_idx: a whole number is expected")
        priority = data.get("priority", 0)
        if type(priority) is not int or not -100 <= priority <= 100:
            raise Problem(400, "priority: a whole number from -100 to 100 is expected")
        keep_seconds = _keep_seconds(data.get("replay_timeout"))
        answer = self.desk.route(endpoint, key, number=number, cost=cost, priority=priority, keep_seconds=keep_seconds)
        if isinstance(answer, Ticket):
            return JSONResponse(_ticket(endpoint, answer))
        return JSONResponse(self._waiting(endpoint, answer))

    def _waiting(self, endpoint: str, answer: Wait) -> dict[str, object]:
        """No key `url`: to the vendor's client, that it is there means a worker."""
        now = self._monotonic()
        views = list(self.desk.routing(endpoint).workers())
        ready, broken = sum(view.is_ready(now) for view in views), sum(bool(view.error) for view in views)
        loading = len(views) - ready - broken
        about = "" if answer.seconds is None else f", about {answer.seconds:.0f} s"
        words = f"total workers: {len(views)} ready: {ready} loading: {loading} error: {broken}"
        return {
            "endpoint": endpoint,
            "status": f"{words}; {answer.position} before this one{about}",
            "request_idx": answer.request,
            "position": answer.position,
            "expected_wait_seconds": answer.seconds,
            "__request_id": str(uuid4()),
        }

    async def _endpoint_workers(self, request: Request) -> Response:
        """For the vendor's client, which takes a list and nothing else."""
        data = await _body(request)
        endpoint = self.desk.endpoint_of(_client_key(request, data))
        now = self._monotonic()
        members = self.desk.members(endpoint.row.name).values()
        return JSONResponse([_as_the_vendor_shows(row, view, now) for row, view, _ in members])

    async def _endpoint(self, request: Request) -> Response:
        self._check_operator(request)
        name = request.path_params["name"]
        if request.method == "PUT":
            data = await _body(request)
            seconds = data.get("max_queue_seconds", 30.0)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 86_400:
                raise Problem(400, "max_queue_seconds: a number above 0, up to 86400, is expected")
            row = await self.desk.make_endpoint(name, max_queue_seconds=float(seconds))
            return JSONResponse({"name": row.name, "number": row.number, "max_queue_seconds": row.max_queue_seconds})
        return JSONResponse(self._account(name))

    def _account(self, name: str) -> dict[str, object]:
        """What a master's adapter asks for: the work, and who does it; each figure aged by its own clock."""
        now, routing = self._monotonic(), self.desk.routing(name)
        members = self.desk.members(name)
        return {
            "queued_requests": routing.waiting,
            "in_flight_requests": routing.in_flight_requests,
            "arrived": routing.totals.arrived,
            "served": routing.totals.served,
            "served_units": routing.totals.served_units,
            "queued_units": routing.queued,
            "oldest_seconds": routing.oldest_seconds(now),
            "in_flight_units": routing.in_flight,
            "workers": [_account_of(row, view, busy, now) for row, view, busy in members.values()],
        }

    async def _new_key(self, request: Request) -> Response:
        self._check_operator(request)
        data = await _body(request)
        overlap = data.get("overlap_seconds")
        is_number = isinstance(overlap, int | float) and not isinstance(overlap, bool) and math.isfinite(overlap)
        if overlap is not None and not is_number:
            raise Problem(400, "overlap_seconds: a number is expected, or nothing")
        key = await self.desk.make_key(request.path_params["name"], overlap_seconds=overlap)
        return JSONResponse({"key": key}, status_code=201)

    async def _worker(self, request: Request) -> Response:
        self._check_operator(request)
        name, worker_id = request.path_params["name"], request.path_params["worker_id"]
        if request.method == "DELETE":
            await self.desk.deregister(worker_id)
            return JSONResponse({})
        data = await _body(request)
        url, lease = data.get("url"), _lease(data)
        home = data.get("home", "")
        if not isinstance(home, str) or len(home) > 20:
            raise Problem(400, "home: a text of at most 20 letters is expected")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise Problem(400, "url: http://HOST:PORT is expected")
        view = await self.desk.register(name, worker_id, home=home, url=url.rstrip("/"), lease_seconds=lease)
        now = self._monotonic()
        return JSONResponse({"heard": view is not None, "ready": view is not None and view.is_ready(now)})

    async def _leases(self, request: Request) -> Response:
        self._check_operator(request)
        data = await _body(request)
        worker_ids = data.get("worker_ids")
        if not isinstance(worker_ids, list) or not all(isinstance(each, str) for each in worker_ids):
            raise Problem(400, "worker_ids: a list of texts is expected")
        name = request.path_params["name"]
        return JSONResponse(await self.desk.renew(name, worker_ids, lease_seconds=_lease(data)))

    async def _drain(self, request: Request) -> Response:
        self._check_operator(request)
        busy = await self.desk.drain(request.path_params["worker_id"], is_draining=request.method == "PUT")
        return JSONResponse({"busy": busy})

    def _check_operator(self, request: Request) -> None:
        given = _bearer(request).encode()
        # Each is compared, so that the time tells nothing.
        if not any([compare_digest(given, key.encode()) for key in self._operator_keys]):
            raise Refused


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object that came. Any: it is somebody else's.

    Raises:
        Problem: it is none, or too long.
    """
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MOST_BYTES:
            raise Problem(413, f"at most {MOST_BYTES} bytes are read")
    try:
        data = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem(400, "the body is no JSON") from error
    if not isinstance(data, dict):
        raise Problem(400, "the body is no JSON object")
    return data


def _bearer(request: Request) -> str:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _client_key(request: Request, data: Mapping[str, object]) -> str:
    """The key, wherever the client says it; where it says two, they must be one."""
    said = {str(key) for key in (_bearer(request), request.query_params.get("api_key"), data.get("api_key")) if key}
    if len(said) != 1:
        raise Refused
    return said.pop()


def _lease(data: Mapping[str, object]) -> float:
    seconds = data.get("lease_seconds", 600.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 86_400:
        raise Problem(400, "lease_seconds: a number above 0, up to 86400, is expected")
    return float(seconds)


def _keep_seconds(said: object) -> float:
    least, usual, most = KEEP_SECONDS
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        return usual
    return min(max(float(said), least), most)


def _ticket(endpoint: str, ticket: Ticket) -> dict[str, object]:
    return {
        "endpoint": endpoint,
        "url": ticket.url,
        # As it was signed: older workers sign the number as it is printed.
        "cost": ticket.given.cost,
        "reqnum": ticket.given.ticket,
        "request_idx": ticket.given.request,
        "signature": ticket.signature,
        "__request_id": str(uuid4()),
    }


def _account_of(row: WorkerRow, view: WorkerView | None, busy: bool, now: float) -> dict[str, object]:
    heard = view or WorkerView(row.worker_id)
    is_heard = view is not None and math.isfinite(heard.reported_at)
    age = max(0.0, now - heard.reported_at) if is_heard else None
    is_known = age is not None and age <= UNKNOWN_SECONDS
    return {
        "worker_id": row.worker_id,
        "home": row.home,
        "url": row.url,
        "is_draining": row.is_draining,
        "ready": heard.is_ready(now),
        "loaded": heard.is_loaded,
        "busy": busy if is_known else None,
        "error": heard.error,
        "other_url": heard.url if heard.url not in ("", row.url) else "",
        "report_age_seconds": age,
        "load_seconds": heard.load_seconds,
        "max_perf": heard.max_perf,
        "cur_load": heard.cur_load if is_known else None,
        "offered_per_second": heard.offered_per_second if is_known else None,
        "rejected_per_second": heard.rejected_per_second if is_known else None,
        "restarts": heard.restarts,
    }


def _as_the_vendor_shows(row: WorkerRow, view: WorkerView | None, now: float) -> dict[str, object]:
    heard = view or WorkerView(row.worker_id)
    state = "error" if heard.error else "idle" if heard.is_ready(now) else "model_loading"
    number = heard.instance_id
    return {
        "id": int(number) if number.isdecimal() else row.worker_id,
        "status": state,
        "cur_load": heard.cur_load,
        "cur_load_rolling_avg": heard.cur_load,
        "new_load": heard.offered_per_second or 0.0,
        "cur_perf": heard.cur_perf,
        "perf": heard.max_perf,
        "measured_perf": heard.max_perf,
        "reqs_working": len(heard.working) or heard.working_count,
        "disk_usage": heard.disk_gb,
    }


def _said(status: int, words: str) -> Response:
    return JSONResponse({"error": words}, status_code=status)
