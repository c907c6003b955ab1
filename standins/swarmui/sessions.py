"""Who may call a stand-in SwarmUI: accounts, permissions and API sessions."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from ebbflow.standins.clock import Clock

SESSION_SECONDS = 31 * 24 * 3600.0
LOCAL_USER = "local"


@dataclass(frozen=True, slots=True)
class Access:
    """What an instance asks of its callers.

    Source: SwarmUI src/Core/WebServer.cs, `GetUserIdFor`.
    """

    token: str | None = field(default=None, repr=False)
    """The value of the cookie `swarm_token` when the instance wants one (AuthorizationRequired)."""
    permissions: frozenset[str] = frozenset({"*"})
    lets_localhost_in: bool = False
    """SwarmUI lets localhost through by default; off here, as every request of a test comes from there."""

    def user_of(self, request: Request) -> str | None:
        """Return the user's id, or None for a caller who is not let in."""
        is_local = self.lets_localhost_in and "x-forwarded-for" not in request.headers
        if self.token is None or is_local:
            return request.headers.get("x-swarm-user_id", LOCAL_USER)
        given = request.cookies.get("swarm_token", "")
        return LOCAL_USER if secrets.compare_digest(given.encode(), self.token.encode()) else None

    def allows(self, permission: str | None) -> bool:
        """Say whether a session may use a route that needs `permission`."""
        return permission is None or not self.permissions.isdisjoint({"*", permission})


@dataclass(frozen=True, slots=True)
class Session:
    """One API session."""

    id: str
    user_id: str
    opened_at: float


class GivenSessions:
    """The session ids that an instance has given out and still knows.

    Args:
        clock: sessions live 31 days of it.
        path: where ids survive a restart; None forgets them, as `--no_persist` does.
    """

    def __init__(self, clock: Clock, path: Path | None) -> None:
        self._clock = clock
        self._path = path
        self._known: dict[str, Session] = {}
        self._active_at: dict[str, float] = {}
        self.given = 0
        """How many ids were ever given out: a client that asks for one per run shows here."""

    def open(self, user_id: str) -> Session:
        """Give out a new id."""
        session = Session(secrets.token_hex(20), user_id, self._clock.now())
        self._known[session.id] = session
        self._active_at[user_id] = self._clock.now()
        self.given += 1
        self._save()
        return session

    def find(self, session_id: str) -> Session | None:
        """Return the session, or None if its id is unknown or too old."""
        session = self._known.get(session_id)
        if session is None or self._clock.now() - session.opened_at > SESSION_SECONDS:
            return None
        self._active_at[session.user_id] = self._clock.now()
        return session

    def last_active_at(self, user_id: str) -> float:
        """Return when a user was last heard of, by the clock."""
        return self._active_at.get(user_id, self._clock.now())

    def count_of(self, user_id: str) -> int:
        """Return how many sessions a user has."""
        return sum(session.user_id == user_id for session in self._known.values())

    def user_ids(self) -> set[str]:
        """Return every user who has a session."""
        return {session.user_id for session in self._known.values()}

    def expire_all(self) -> None:
        """Forget every id."""
        self._known.clear()
        self._save()

    def reload(self) -> None:
        """Know only what was persisted, as after a start of the process."""
        self._known.clear()
        if self._path is not None and self._path.exists():
            users: dict[str, str] = json.loads(self._path.read_text())
            # The clock of an earlier process means nothing to this one: persisted sessions start anew.
            self._known = {key: Session(key, user, self._clock.now()) for key, user in users.items()}

    def _save(self) -> None:
        if self._path is not None:
            self._path.write_text(json.dumps({session.id: session.user_id for session in self._known.values()}))
