"""A stand-in Vast API whose instances run as local processes: the ASGI application.

Source: vast-ai/docs, `api-reference/openapi/yaml` and the guides; the vendor's client, vastai 1.9.1.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ebbflow.standins.clock import Clock, RealClock
from ebbflow.standins.http import ConnectionDropped
from ebbflow.standins.vast.account import Account
from ebbflow.standins.vast.endpoints import Call, Endpoints
from ebbflow.standins.vast.faults import Fault, FaultKind, take_faults
from ebbflow.standins.vast.hosts import Hosts, Program
from ebbflow.standins.vast.instances import RentedInstance
from ebbflow.standins.vast.keys import KEY, Key, key_of, redacted
from ebbflow.standins.vast.limits import RateLimits
from ebbflow.standins.vast.logs import Logs
from ebbflow.standins.vast.offers import Offer
from ebbflow.standins.vast.refusals import Json, Refused

EPOCH = 1795000000.0
"""What time it is where a test gives the clock."""


@dataclass
class Recorded:
    """A request as it arrived, without its secrets."""

    at: float
    """Epoch seconds."""
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Json
    status: int | None = None
    """Of the answer; None: none was given."""


class VastApi:
    """The application, and everything that a test asks it or does to it.

    Args:
        offers: that can be rented.
        program: how instances run.
        clock: boots, rate limits and every timestamp are on it.
        epoch: what time it is when this is made, in epoch seconds; None: the computer's, or with a clock a fixed one.
        folder: for the disks and logs of instances; None: a temporary one.

    Attributes:
        account: offers, instances, and what others do in the market.
        hosts: how instances boot.
        keys: by secret.
        bad_key_status: 401, or 404 as the real service has been seen to answer.
        limits: rates, off until switched on, and the daily quota.
        faults: switched on; the oldest that fits strikes.
        templates: bodies of creates by their hash.
        log: every request but those to `/control/` and for log files.
    """

    def __init__(
        self,
        offers: Iterable[Offer] = (),
        *,
        program: Program | None = None,
        clock: Clock | None = None,
        epoch: float | None = None,
        folder: Path | None = None,
    ) -> None:
        self.clock: Clock = clock or RealClock()
        now = epoch if epoch is not None else time.time() if clock is None else EPOCH
        self._zero = now - self.clock.now()
        self.hosts = Hosts(program or Program(), self.clock, folder)
        self.account = Account(self.hosts, self.now, offers)
        self.keys: dict[str, Key] = {KEY: Key("main")}
        self.bad_key_status = 401
        self.limits = RateLimits()
        self.faults: list[Fault] = []
        self.templates: dict[str, Json] = {}
        self.log: list[Recorded] = []
        self.logs = Logs()
        self.controls: Mapping[str, Callable[[Json], Awaitable[Json]]] = {}
        self._endpoints = Endpoints(self.account, self.now, self.logs, self.templates)

    @property
    def offers(self) -> dict[int, Offer]:
        """All of them by id, taken or not."""
        return self.account.offers

    @property
    def instances(self) -> dict[int, RentedInstance]:
        """Those that are not destroyed, by id."""
        return self.account.instances

    def now(self) -> float:
        """Epoch seconds on the service's clock."""
        return self._zero + self.clock.now()

    def count(self, method: str, within: str = "") -> int:
        """How many requests of a method arrived whose path holds a text."""
        return sum(each.method == method and within in each.path for each in self.log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI: lifespan and HTTP."""
        if scope["type"] == "lifespan":
            async with self._living():
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)

    def row(self, instance_id: int) -> Json:
        """An instance as a listing shows it."""
        return self._endpoints.row(instance_id)

    @contextlib.asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        async with self.hosts.working():
            try:
                yield
            finally:
                await self.account.background.stop()

    async def _respond(self, request: Request) -> Response:
        path = request.url.path
        if path.startswith("/control/"):
            return await self._control(path.removeprefix("/control/"), await request.body())
        if path.startswith("/results/"):
            return self.logs.read(path)
        raw = await request.body()
        recorded = Recorded(
            self.now(),
            request.method,
            path,
            {name: redacted(name, value) for name, value in request.query_params.items()},
            {name: redacted(name, value) for name, value in request.headers.items()},
            _object(raw),
        )
        self.log.append(recorded)
        fault, besides = take_faults(self.faults, request.method, _address(request))
        response = await self._struck(fault, Call(request, recorded.body, 0, besides))
        recorded.status = response.status_code
        return response

    async def _struck(self, fault: Fault | None, call: Call) -> Response:
        """Answer a request, with what a fault does to it."""
        kind = fault.kind if fault is not None else None
        if kind is FaultKind.DROP:
            raise ConnectionDropped
        if kind is FaultKind.HANG:
            await asyncio.Event().wait()
        if fault is not None and kind is FaultKind.ANSWER:
            return fault.answer.response()
        try:
            response = await self._answer(call, is_short=kind is FaultKind.SHORT)
        except Refused as refused:
            response = JSONResponse(refused.body, refused.status)
        if kind is FaultKind.DROP_AFTER:
            raise ConnectionDropped
        if kind is FaultKind.LOSE_ANSWER:
            await asyncio.Event().wait()
        if fault is not None and kind is FaultKind.ANSWER_AFTER:
            return fault.answer.response()
        if fault is not None and kind is FaultKind.SLOW:
            await self.clock.sleep(fault.seconds)
        return response

    async def _answer(self, call: Call, *, is_short: bool) -> Response:
        request = call.request
        if request.url.path == "/api/v0/gpu_names/unique/":  # asked for without a key
            return JSONResponse({"gpu_names": sorted({each.gpu_name for each in self.account.offers.values()})})
        key = key_of(request, self.keys, self.account.instances, self.bad_key_status)
        endpoint, number = self._endpoints.find(request.method, request.url.path)
        key.check(endpoint.name, number)
        client = request.client.host if request.client else ""
        refusal = self.limits.refusal(endpoint.name, f"{key.name}@{client}", self.now())
        if refusal is not None:
            return refusal
        answer = await endpoint.carry_out(Call(request, call.body, number or 0, call.besides))
        if is_short and answer.get("instances"):
            answer = {**answer, "instances": answer["instances"][:-1]}
        return JSONResponse(answer)

    async def _control(self, name: str, raw: bytes) -> Response:
        if name not in self.controls:
            return PlainTextResponse(f"known: {', '.join(sorted(self.controls))}", 404)
        try:
            return JSONResponse(await self.controls[name](_object(raw)))
        except (KeyError, TypeError, ValueError, Refused) as error:
            return PlainTextResponse(f"{type(error).__name__}: {error}", 400)


def _address(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}"


def _object(raw: bytes) -> Json:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
