"""What an instance tells about its own work: generations per session, and the state of its backends as a whole.

Source: SwarmUI src/WebAPI/BasicAPIFeatures.cs `GetCurrentStatusRaw`,
src/Backends/BackendHandler.cs `CurrentBackendStatus`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from ebbflow.standins.clock import Clock
from ebbflow.standins.swarmui.http import Call, JsonObject, Route
from ebbflow.standins.swarmui.sessions import GivenSessions, Session

BACKEND_STATUS_CACHE_SECONDS = 1.0
_WHERE = "in the Backends section of the Server tab before you can continue."
MESSAGES = {
    "empty": f"No backends present. You must configure backends {_WHERE}",
    "all_disabled": f"All backends are disabled. You must enable backends {_WHERE}",
    "disabled": "Some backends are disabled. Please enable or configure them to continue.",
    "loading": "Backends are still loading on the server...",
}
"""Measured on SwarmUI 0.9.8.2. Other words have a message that was not seen."""


class BackendState(StrEnum):
    """States of one backend, as SwarmUI spells them."""

    WAITING = "waiting"
    LOADING = "loading"
    RUNNING = "running"
    IDLE = "idle"
    ERRORED = "errored"
    DISABLED = "disabled"


@dataclass(slots=True)
class Load:
    """Generations of one session, in images."""

    waiting_gens: int = 0
    """Requested and not finished, those that run included."""
    loading_models: int = 0
    waiting_backends: int = 0
    live_gens: int = 0

    def to_json(self) -> JsonObject:
        """Return the four counters."""
        return {
            "waiting_gens": self.waiting_gens,
            "loading_models": self.loading_models,
            "waiting_backends": self.waiting_backends,
            "live_gens": self.live_gens,
        }

    def include(self, other: "Load") -> None:
        """Add the counters of `other`."""
        self.waiting_gens += other.waiting_gens
        self.loading_models += other.loading_models
        self.waiting_backends += other.waiting_backends
        self.live_gens += other.live_gens


class Loads:
    """The loads of all sessions."""

    def __init__(self) -> None:
        self._by_session: dict[str, tuple[str, Load]] = {}

    def of(self, session: Session) -> Load:
        """Return the counters of a session, made at its first use."""
        return self._by_session.setdefault(session.id, (session.user_id, Load()))[1]

    def total(self, user_id: str | None = None) -> Load:
        """Return the sum over all sessions, or over those of one user."""
        total = Load()
        for owner, load in self._by_session.values():
            if user_id in (None, owner):
                total.include(load)
        return total

    def clear(self) -> None:
        """Forget everything: the process has ended."""
        self._by_session.clear()


def backend_status(states: Iterable[BackendState], are_enabled: Iterable[bool]) -> JsonObject:
    """Sum the backends up in one word; `errored` wins as soon as one backend has it."""
    present, enabled = list(states), list(are_enabled)
    loading = any(state in (BackendState.LOADING, BackendState.WAITING) for state in present)
    word, look = "unknown", "error"
    if not present:
        word, look = "empty", "error"
    elif not any(enabled):
        word, look = "all_disabled", "error"
    elif BackendState.ERRORED in present:
        word, look = "errored", "error"
    elif BackendState.RUNNING in present:
        word, look = ("some_loading", "warn") if loading else ("running", "")
    elif loading:
        word, look = "loading", "soft"
    elif BackendState.DISABLED in present:
        word, look = "disabled", "warn"
    elif BackendState.IDLE in present:
        word, look = "idle", "warn"
    message = "" if word == "running" else MESSAGES.get(word, f"The backends are: {word}.")
    return {"status": word, "class": look, "message": message, "any_loading": loading}


class StatusRoutes:
    """GetGlobalStatus, GetCurrentStatus and ListConnectedUsers of one instance."""

    def __init__(
        self, *, clock: Clock, sessions: GivenSessions, loads: Loads, summary: Callable[[], JsonObject]
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self._loads = loads
        self._summary = summary
        self._cached: tuple[float, JsonObject] | None = None

    def routes(self) -> tuple[Route, ...]:
        """Return the three routes."""
        return (
            Route("GetGlobalStatus", self._global, "read_server_info_panels"),
            Route("GetCurrentStatus", self._current, "fundamental_generate_tab_access"),
            Route("ListConnectedUsers", self._users, "read_server_info_panels"),
        )

    async def _global(self, _: Call) -> JsonObject:
        return self._report(self._loads.total())

    async def _current(self, call: Call) -> JsonObject:
        return self._report(self._loads.of(call.session))

    async def _users(self, _: Call) -> JsonObject:
        shown = sorted(user for user in self._sessions.user_ids() if not user.startswith("__"))
        return {"users": [{"id": user, **self._activity(user), **self._loads.total(user).to_json()} for user in shown]}

    def _activity(self, user: str) -> JsonObject:
        seconds = self._clock.now() - self._sessions.last_active_at(user)
        return {
            "last_active_seconds": seconds,
            "active_sessions": [{"address": "127.0.0.1", "count": self._sessions.count_of(user)}],
            "last_active": f"{int(seconds)} seconds ago",
        }

    def _report(self, load: Load) -> JsonObject:
        return {"status": load.to_json(), "backend_status": self._backend_status(), "supported_features": []}

    def _backend_status(self) -> JsonObject:
        now = self._clock.now()
        if self._cached is None or now - self._cached[0] >= BACKEND_STATUS_CACHE_SECONDS:
            self._cached = (now, self._summary())
        return self._cached[1]
