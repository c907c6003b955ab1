"""The transport that a SwarmUI master and worker share: routes, parameters, sessions, error shapes, fault switches.

Source: SwarmUI src/WebAPI/API.cs, src/WebAPI/APICallReflectBuilder.cs, src/WebAPI/BasicAPIFeatures.cs.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from ebbflow.standins.clock import Clock
from ebbflow.standins.faults import Fault, FaultKind, Faults, RecordedRequest
from ebbflow.standins.http import ConnectionDropped
from ebbflow.standins.swarmui.permissions import shown
from ebbflow.standins.swarmui.reading import Parameter, Refusal, coerce, read_json
from ebbflow.standins.swarmui.sessions import Access, GivenSessions, Session

logger = logging.getLogger(__name__)

JsonObject = dict[str, object]

API_PREFIX = "/api/"
CONTROL_PREFIX = "/control/"
VERSION = "0.9.8.2.stand-in"
GARBAGE_PAGE = "<html><body>Welcome to nginx!</body></html>"
SECRET_KEYS = frozenset({"session_id", "AuthorizationHeader", "OtherHeaders"})
PLAYS_WEBSOCKET = "stand_in_websocket"
"""Says of a request between stand-ins that SwarmUI would have used a websocket for it."""
KILLED = 137


@dataclass(frozen=True, slots=True)
class Call:
    """One accepted request, as its handler sees it."""

    session: Session
    body: JsonObject
    arguments: Mapping[str, int | bool | str]

    def integer(self, name: str) -> int:
        """Return an Int32 argument."""
        return int(self.arguments[name])

    def boolean(self, name: str) -> bool:
        """Return a Boolean argument."""
        return bool(self.arguments[name])

    def text(self, name: str) -> str:
        """Return a String argument."""
        return str(self.arguments[name])


Handler = Callable[[Call], Awaitable[JsonObject | None]]
Control = Callable[[JsonObject], Awaitable[JsonObject]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API."""

    name: str
    handler: Handler
    permission: str
    parameters: tuple[Parameter, ...] = ()
    changes_settings: bool = False
    """Refused while settings are locked (`--lock_settings`)."""


def without_secrets(body: Mapping[str, object]) -> JsonObject:
    """Return a copy that may be logged."""
    return {key: _shown(key, value) for key, value in body.items()}


def _shown(key: str, value: object) -> object:
    if key in SECRET_KEYS and value:
        return "<secret>"
    return without_secrets(value) if isinstance(value, dict) else value


class SwarmApi:
    """The ASGI application of one instance.

    Args:
        sessions: the ids this instance knows.
        live: entered while the application is served; the instance's own tasks run inside.
        state: what `/Control/State` tells beside the request log.
        crash: ends the instance like a killed process.
        controls: control routes of the instance, by lower-case name.
        websocket_routes: names that only answer to a websocket, of which the stand-in has none.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        clock: Clock,
        access: Access,
        sessions: GivenSessions,
        live: Callable[[], AbstractAsyncContextManager[None]],
        state: Callable[[], JsonObject],
        crash: Callable[[], None],
        controls: Mapping[str, Control] | None = None,
        websocket_routes: frozenset[str] = frozenset({"generatetext2imagews"}),
    ) -> None:
        self.access = access
        self.sessions = sessions
        self.server_id = str(uuid.uuid4())
        self.faults = Faults()
        self.requests: list[RecordedRequest] = []
        self.are_settings_locked = False
        self.is_closed = False
        """It takes no request any more, while what it took before may still go on."""
        self.ended = asyncio.Event()
        self.exit_code = 0
        self._routes = {route.name.lower(): route for route in routes}
        self._websocket_routes = websocket_routes
        self._clock = clock
        self._live = live
        self._state = state
        self._crash = crash
        self._controls = self._own_controls() | dict(controls or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI: lifespan and HTTP."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            if self.is_closed:
                raise ConnectionDropped
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)

    def requests_for(self, route: str) -> list[RecordedRequest]:
        """Return the requests that a route received, oldest first."""
        return [request for request in self.requests if request.route.lower() == route.lower()]

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._live():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, request: Request) -> Response:
        path = request.url.path
        if path.lower().startswith(CONTROL_PREFIX):
            return await self._control(path[len(CONTROL_PREFIX) :], await request.body())
        if not path.lower().startswith(API_PREFIX):
            return PlainTextResponse("not part of the API", 404)
        name, raw = path[len(API_PREFIX) :], await request.body()
        self.requests.append(
            RecordedRequest(self._clock.now(), request.method, name, without_secrets(_object_or_empty(raw)))
        )
        fault = self.faults.take(name)
        struck = await self._strike(fault) if fault is not None else None
        if struck is not None:
            return struck
        response = await self._answer(request, name, raw, fault)
        if fault is not None and fault.kind is FaultKind.LOSE_ANSWER:
            await asyncio.Event().wait()
        return response

    async def _strike(self, fault: Fault) -> Response | None:
        """Apply a fault that comes before the API; None goes on to it."""
        match fault.kind:
            case FaultKind.FAIL:
                return HTMLResponse("<html><body>502 Bad Gateway</body></html>", 500)
            case FaultKind.GARBAGE:
                return HTMLResponse(GARBAGE_PAGE)
            case FaultKind.SLOW:
                await self._clock.sleep(fault.seconds)
            case FaultKind.HANG:
                await asyncio.Event().wait()
            case FaultKind.CRASH:
                self._crash()
                await asyncio.Event().wait()  # the connection is dropped before anything is sent
        return None

    async def _answer(self, request: Request, name: str, raw: bytes, fault: Fault | None) -> Response:
        if request.method != "POST":
            return RedirectResponse("/Error/NoGetAPI", 302)
        try:
            return JSONResponse(await self._call(request, name, _read_body(request, raw), fault))
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status)
        except ConnectionDropped:
            raise
        except Exception:  # SwarmUI answers any exception of a handler, and broken JSON, in this one way
            logger.debug("the stand-in answers internal_error", exc_info=True)
            return JSONResponse({"error_id": "internal_error", "error": "An internal error occurred"}, 400)

    async def _call(self, request: Request, name: str, body: JsonObject, fault: Fault | None) -> JsonObject:
        if name.lower() == "getnewsession":
            return _faulted(fault) or self._new_session(request)
        session = self._session_of(request, body)
        faulted = _faulted(fault)
        if faulted is not None:
            return faulted
        route = self._route(name)
        if not self.access.allows(route.permission):
            raise Refusal("You lack permissions for this route.", status=400, error_id="bad_permissions")
        call = Call(session, body, _bind(route, body))
        if route.changes_settings and self.are_settings_locked:
            raise Refusal("Settings are locked.")
        result = await route.handler(call)
        if result is None:
            raise _no_result()
        return result

    def _new_session(self, request: Request) -> JsonObject:
        user_id = self.access.user_of(request)
        if user_id is None:
            raise Refusal("Invalid or unauthorized.")
        session = self.sessions.open(user_id)
        return {
            "session_id": session.id,
            "user_id": session.user_id,
            "output_append_user": True,
            "version": VERSION,
            "server_id": self.server_id,
            "permissions": shown(self.access.permissions),
        }

    def _session_of(self, request: Request, body: JsonObject) -> Session:
        if "session_id" not in body and "x-session-id" not in request.headers:
            raise Refusal("missing session id", status=400, error_id="basic_api")
        given = body.get("session_id", request.headers.get("x-session-id"))
        session = self.sessions.find(str(given))
        if session is None:
            text = "Invalid session ID. You may need to refresh the page."
            raise Refusal(text, status=401, error_id="invalid_session_id")
        return session

    def _route(self, name: str) -> Route:
        if name.lower() in self._websocket_routes:
            text = "API route needs websocket, request is HTTP"
            raise Refusal(text, status=400, error_id="bad_request_method")
        if name.lower() not in self._routes:
            raise _bad_route()
        return self._routes[name.lower()]

    async def _control(self, name: str, raw: bytes) -> Response:
        """Drive the stand-in from another process; no part of SwarmUI."""
        control = self._controls.get(name.lower().replace("_", ""))
        if control is None:
            return JSONResponse({"error": f"no control {name!r}", "controls": sorted(self._controls)}, 404)
        try:
            return JSONResponse(await control(_object_or_empty(raw)))
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 422)

    def _own_controls(self) -> dict[str, Control]:
        faults = {kind.value.replace("_", ""): self._fault_control(kind) for kind in FaultKind}
        return faults | {
            "crash": self._control_crash,
            "heal": self._control_heal,
            "expiresessions": self._control_expire,
            "locksettings": self._control_lock,
            "permissions": self._control_permissions,
            "state": self._control_state,
        }

    def _fault_control(self, kind: FaultKind) -> Control:
        async def switch_on(body: JsonObject) -> JsonObject:
            self.faults.add(Fault(kind, **body))  # type: ignore[arg-type]  # an unknown key answers 422
            return {"result": "Success."}

        return switch_on

    async def _control_crash(self, body: JsonObject) -> JsonObject:
        """Die now, or at the next request for `route`."""
        if body:
            return await self._fault_control(FaultKind.CRASH)(body)
        self._crash()
        await asyncio.Event().wait()
        return {}

    async def _control_heal(self, _: JsonObject) -> JsonObject:
        self.faults.clear()
        return {"result": "Success."}

    async def _control_expire(self, _: JsonObject) -> JsonObject:
        self.sessions.expire_all()
        return {"result": "Success."}

    async def _control_lock(self, body: JsonObject) -> JsonObject:
        self.are_settings_locked = bool(body.get("locked", True))
        return {"locked": self.are_settings_locked}

    async def _control_permissions(self, body: JsonObject) -> JsonObject:
        given = body.get("permissions", ["*"])
        if not isinstance(given, list):
            raise TypeError("permissions must be a list")
        allowed = frozenset(str(permission) for permission in given)
        self.access = Access(self.access.token, allowed, self.access.lets_localhost_in)
        return {"permissions": sorted(allowed)}

    async def _control_state(self, _: JsonObject) -> JsonObject:
        return {
            "now": self._clock.now(),
            "server_id": self.server_id,
            "sessions_given": self.sessions.given,
            **self._state(),
            "requests": [asdict(request) for request in self.requests],
        }


def _read_body(request: Request, raw: bytes) -> JsonObject:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Refusal("Wrong content type", status=400, error_id="basic_api")
    # A chunked request has no Content-Length: SwarmUI refuses it whatever it holds.
    if int(request.headers.get("content-length", "0")) <= 0:
        raise Refusal("bad content length", status=400, error_id="basic_api")
    body = read_json(raw)
    if not isinstance(body, dict):
        raise TypeError("the body is no JSON object")
    return body


def _object_or_empty(raw: bytes) -> JsonObject:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _bind(route: Route, body: JsonObject) -> dict[str, int | bool | str]:
    bound: dict[str, int | bool | str] = {}
    for parameter in route.parameters:
        if parameter.name in body:
            bound[parameter.name] = coerce(parameter, body[parameter.name])
        elif parameter.default is None:
            raise Refusal(f"Missing required parameter '{parameter.name}'")
        else:
            bound[parameter.name] = parameter.default
    return bound


def _faulted(fault: Fault | None) -> JsonObject | None:
    """Return or raise what a fault puts in the place of the handler's answer; None lets the handler answer."""
    if fault is None:
        return None
    match fault.kind:
        case FaultKind.ERROR:
            return {"error": fault.text}
        case FaultKind.NO_RESULT:
            raise _no_result()
        case FaultKind.BAD_ROUTE:
            raise _bad_route()
    return None


def _no_result() -> Refusal:
    return Refusal("API call did not return any output", status=400, error_id="no_result")


def _bad_route() -> Refusal:
    return Refusal("Unknown API route", status=400, error_id="bad_route")
