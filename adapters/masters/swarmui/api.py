"""SwarmUI's HTTP API: transport, sessions, and what its answers mean as errors.

Source: SwarmUI src/WebAPI/API.cs, src/WebAPI/BasicAPIFeatures.cs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import anyio

from ebbflow.adapters.http import HttpClient, NoAnswer
from ebbflow.adapters.masters.swarmui.sessions import SessionStore
from ebbflow.core.errors import ConfigError, MasterRejected, MasterUnavailable

EVERYTHING = "*"
"""The permission that includes all others."""

MAX_WORD, MAX_PERMISSIONS = 512, 1000
"""What is kept of a session: a server can say anything."""

LOCKED = "Settings are locked."
UNAUTHORIZED = "Invalid or unauthorized."


class Unanswered(MasterUnavailable):
    """Nothing came back in time: nobody is there, or whoever is there is silent."""


class SessionExpired(MasterUnavailable):
    """The server does not know the session. It is renewed once; a second time it stays an error."""


class Unauthorized(ConfigError):
    """It is a SwarmUI, and wants a token of an account."""


class UnknownRoute(MasterRejected):
    """The server is older than the route."""


@dataclass(frozen=True, slots=True)
class Session:
    """What GetNewSession gave. The id is a secret: whoever has it acts as its user."""

    session_id: str = field(repr=False)
    server_id: str = ""
    """Made anew whenever the server's process starts. Source: SwarmUI src/Utils/Utilities.cs, LoopPreventionID."""
    version: str = ""
    permissions: tuple[str, ...] = ()

    def lacks(self, needed: Iterable[str]) -> tuple[str, ...]:
        """The permissions among `needed` that its user did not have when it was made."""
        if EVERYTHING in self.permissions:
            return ()
        return tuple(permission for permission in needed if permission not in self.permissions)


class SwarmUIServer:
    """One SwarmUI server, master or worker, as its API shows it.

    Args:
        http: makes the calls.
        address: without a trailing slash.
        role: what it is called in errors.
        headers: what every call carries, in plain text.
        secrets: what is never shown, even where the server repeats it.
        sessions: keeps its session.
        timeout_seconds: for one call.
        must_prove_itself: its address was announced by others, so that the headers are sent to what has answered as a
            SwarmUI and to nothing else.
        may_refuse: an answer of 401 is such an answer: of a proxy that wants what the headers hold.
    """

    def __init__(
        self,
        http: HttpClient,
        address: str,
        *,
        role: str,
        headers: Mapping[str, str],
        secrets: Sequence[str],
        sessions: SessionStore,
        timeout_seconds: float,
        must_prove_itself: bool = False,
        may_refuse: bool = False,
    ) -> None:
        self.address = address
        self._http = http
        self._name = f"SwarmUI {role} {address}"
        self._headers = headers
        self._secrets = tuple(secrets)
        self._sessions = sessions
        self._timeout_seconds = timeout_seconds
        self._must_prove_itself = must_prove_itself
        self._may_refuse = may_refuse
        self._session: Session | None = None
        self._lock = anyio.Lock()

    async def call(
        self,
        route: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float | None = None,
        repeats: int = 0,
    ) -> dict[str, object]:
        """Call one route and return its answer.

        Args:
            route: such as `ListBackends`.
            body: without the session.
            timeout_seconds: less than the usual time.
            repeats: how often a temporary failure is tried again; only for routes that change nothing twice.

        Raises:
            ConfigError: a person must act.
            MasterUnavailable: temporary.
            MasterRejected: permanent; `UnknownRoute` where the server is too old.
        """
        seconds = timeout_seconds or self._timeout_seconds
        session = await self.session()
        try:
            return await self._post(route, body or {}, session, seconds, repeats)
        except SessionExpired:
            session = await self.renew(session)
            return await self._post(route, body or {}, session, seconds, repeats)

    async def session(self) -> Session:
        """The session in use: remembered, stored, or made where there is none."""
        async with self._lock:
            if self._session is None:
                self._session = parse_session(await self._sessions.get(self.address))
            if self._session is None:
                self._session = await self._make_session()
            return self._session

    async def renew(self, outdated: Session) -> Session:
        """Replace a session that is expired, or whose facts are too old."""
        async with self._lock:
            # Of several calls that find the same session expired, the first one renews it for all.
            if self._session is None or self._session == outdated:
                self._session = await self._make_session()
            return self._session

    async def forget(self) -> None:
        """Drop the session, here and in the store."""
        self._session = None
        await self._sessions.put(self.address, None)

    async def is_same_as(self, other: "SwarmUIServer") -> bool:
        """Whether two addresses lead to one server; `other` must have answered just now."""
        mine, theirs = await self.session(), await other.session()
        if mine.server_id and mine.server_id == theirs.server_id:
            return True
        # A server id lasts as long as the process, our sessions longer: they may hold an old one. A server that does
        # not know the other's session is another one; where it does, new sessions tell, as accounts may be shared.
        try:
            await self._post("ListBackends", {}, theirs, self._timeout_seconds, repeats=1)
        except SessionExpired:
            return False
        return (await self.renew(mine)).server_id == (await other.renew(theirs)).server_id

    async def _make_session(self) -> Session:
        answer = await self._first_answer() if self._must_prove_itself and self._headers else None
        if answer is None:
            answer = await self._post("GetNewSession", {}, None, self._timeout_seconds, repeats=0)
        session_id = answer.get("session_id")
        if not isinstance(session_id, str) or not 0 < len(session_id) <= MAX_WORD:
            raise MasterUnavailable(f"{self._name}: GetNewSession gave no session id of at most {MAX_WORD} characters")
        permissions = answer.get("permissions")
        names = permissions[:MAX_PERMISSIONS] if isinstance(permissions, list) else []
        if EVERYTHING in names:
            # An owner has sixty more, which say nothing then; a thousand workers' are kept together.
            names = [EVERYTHING]
        session = Session(
            session_id=session_id,
            server_id=str(answer.get("server_id") or "")[:MAX_WORD],
            version=str(answer.get("version") or "")[:MAX_WORD],
            permissions=tuple(str(name)[:MAX_WORD] for name in names),
        )
        await self._sessions.put(self.address, json.dumps(asdict(session)))
        return session

    async def _first_answer(self) -> dict[str, object] | None:
        """What it says to somebody without credentials: a session, or None where it is a worker that wants them.

        Raises:
            ConfigError: it refuses us, and may be anything.
            MasterUnavailable, MasterRejected: it did not answer as a SwarmUI does.
        """
        what, (status, content) = f"{self._name}: GetNewSession", await self._sent("GetNewSession", {}, {}, None, 0)
        if status == 401:
            if self._may_refuse:
                return None
            raise ConfigError(
                f"{what}: HTTP 401 and not from SwarmUI, so that credentials are not sent to it; if this is a proxy in "
                "front of workers, name its network in the master's worker_networks"
            )
        try:
            return read_answer(what, status, content, secrets=self._secrets)
        except Unauthorized:
            return None

    async def _post(
        self, route: str, body: Mapping[str, object], session: Session | None, seconds: float, repeats: int
    ) -> dict[str, object]:
        what = f"{self._name}: {route}"
        secrets = self._secrets
        if session is not None:
            body = {**body, "session_id": session.session_id}
            secrets = (*secrets, session.session_id)
        status, content = await self._sent(route, body, self._headers, seconds, repeats)
        if self._must_prove_itself and _json_object(content) is None:
            # Whoever is there now has to prove itself anew.
            await self.forget()
        return read_answer(what, status, content, secrets=secrets)

    async def _sent(
        self,
        route: str,
        body: Mapping[str, object],
        headers: Mapping[str, str],
        seconds: float | None,
        repeats: int,
    ) -> tuple[int, bytes]:
        """The status and the content of what came back."""
        limit = self._timeout_seconds if seconds is None else seconds
        url = f"{self.address}/API/{route}"
        try:
            answer = await self._http.send(
                "POST", url, headers=headers, body=body, timeout_seconds=limit, repeats=repeats
            )
        except NoAnswer as error:
            if self._must_prove_itself and not error.maybe_sent:
                await self.forget()
            raise Unanswered(f"{self._name}: {route}: {error}") from error
        return answer.status_code, answer.content


def parse_session(text: str | None) -> Session | None:
    """Read a stored session back; None where there is none that this version understands."""
    try:
        stored = json.loads(text or "null")
        return Session(**{**stored, "permissions": tuple(stored["permissions"])})
    except (ValueError, TypeError, KeyError):
        return None


def read_answer(what: str, status: int, content: bytes, *, secrets: Iterable[str] = ()) -> dict[str, object]:
    """Return what a route answered, or raise what its error means. The body counts first, the status second.

    Args:
        what: server and route, for the message.
        status: HTTP status. 200 alone is no success, and 400 or 401 alone is no reason.
        content: the body.
        secrets: never shown, even where the server repeats them.
    """
    body = _json_object(content)
    if body is None:
        raise _error_of_status(what, status)
    error, error_id = body.get("error"), body.get("error_id")
    if error or error_id:
        raise _error_of_body(what, status, _shown(error or error_id, secrets), str(error_id or ""))
    if status != 200:
        raise _error_of_status(what, status)
    return body


def _json_object(content: bytes) -> dict[str, object] | None:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _error_of_body(what: str, status: int, error: str, error_id: str) -> Exception:
    said = f"{what}: {error!r}"
    if error_id == "invalid_session_id":
        return SessionExpired(said)
    if error_id == "bad_permissions":
        return ConfigError(f"{said}; give its account's role the permission for this route")
    if error_id == "bad_route":
        return UnknownRoute(f"{said}; this SwarmUI is too old")
    if error == LOCKED:
        return ConfigError(f"{said} Start this SwarmUI without --lock_settings, or no worker can be registered")
    if error == UNAUTHORIZED:
        return Unauthorized(f"{said} Set the token of an account of this SwarmUI (cookie swarm_token)")
    if error_id == "internal_error" or status >= 500:
        return MasterUnavailable(said)
    return MasterRejected(said)


def _error_of_status(what: str, status: int) -> Exception:
    if 300 <= status < 400:
        return ConfigError(f"{what}: HTTP {status}, a redirect; set the address that it leads to")
    if status in (401, 403):
        return ConfigError(f"{what}: HTTP {status} and not from SwarmUI; a proxy in front of it refuses us")
    if status == 429 or status >= 500:
        return MasterUnavailable(f"{what}: HTTP {status}")
    return MasterRejected(f"{what}: HTTP {status} without SwarmUI's JSON; is this the address of a SwarmUI?")


def _shown(error: object, secrets: Iterable[str]) -> str:
    text = str(error)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text[:200]
