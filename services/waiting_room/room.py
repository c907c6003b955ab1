"""What the waiting room answers, and what it was told: no network, no clock.

A SwarmUI master fails a request at its second look that finds no fitting child, unless nothing at all is `running` and
at least one backend is `loading`. An entry that leads here is `loading` for as long as this answers so.

Source: measured on SwarmUI 0.9.8.2; SwarmUI src/Backends/SwarmSwarmBackend.cs `ReviseRemoteDataList`.
"""

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

SERVICE = "ebbflow-waiting-room"
VERSION = 1
"""Of what a turn may ask of it; a turn names a room that is older than what it needs."""

HOLD_SECONDS = 20.0
"""How long a look of a master is held: answered at once, it would come again each second, with seven of its models."""

GATE_HOLD_SECONDS = 2.0
"""The same of a worker's look at its gate, which is to see soon that it has opened."""

MOST_SESSIONS = 10_000
MOST_FLEETS = 1_000
MOST_GATES = 10_000
MOST_GATES_TOLD = 1_000
MOST_FEATURES = 200
LONGEST_FEATURE = 100

Key = TypeVar("Key")
Json = dict[str, Any]
"""Any: JSON is what it is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said, and when."""

    body: Json
    status: int = 200
    hold_seconds: float = 0.0


@dataclass(slots=True)
class Room:
    """Everything that one waiting room knows, for any number of masters and fleets.

    Nothing of it must last: a room that was started anew is told again by the next turn.
    """

    hold_seconds: float = HOLD_SECONDS
    server_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    _fresh: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    """Sessions that have not looked yet: the first look runs inside a master's start of the entry, and is not held."""
    _features: "OrderedDict[str, tuple[str, ...]]" = field(default_factory=OrderedDict)
    """By fleet: what its workers were last seen to be able to do."""
    _waiting: "OrderedDict[tuple[str, str], None]" = field(default_factory=OrderedDict)
    """Gates, by fleet and worker, that their workers have asked for and that have not opened."""
    _opened: "OrderedDict[tuple[str, str], None]" = field(default_factory=OrderedDict)
    """Gates that have opened: their workers' children run."""

    def greeting(self) -> Answer:
        """What it is, for whoever looks at its bare address."""
        return Answer({"service": SERVICE, "version": VERSION})

    def asked(self, fleet: str, route: str, body: Mapping[str, object]) -> Answer:
        """What a master asks, by the entry of a fleet.

        Never an error, and never without a backend that loads: each would fail all that waits.

        Args:
            fleet: whose entry leads here.
            route: of SwarmUI's API, in any spelling.
            body: what came with it.
        """
        return self._loading(route, body, self._features.get(fleet, ()), self.hold_seconds)

    def gate(self, fleet: str, worker_id: str, route: str, body: Mapping[str, object]) -> Answer:
        """What a worker asks by its gate: loading, until the gate has opened; then an error, which ends it there."""
        if (fleet, worker_id) in self._opened:
            return Answer({"error": "this gate has opened", "error_id": "gate_has_opened"}, status=500)
        _keep(self._waiting, (fleet, worker_id), None, MOST_GATES)
        return self._loading(route, body, (), min(GATE_HOLD_SECONDS, self.hold_seconds))

    def open_gate(self, fleet: str, worker_id: str) -> Answer:
        """The worker's child runs at its master: nothing has to wait for it any more."""
        self._waiting.pop((fleet, worker_id), None)
        _keep(self._opened, (fleet, worker_id), None, MOST_GATES)
        return Answer({"service": SERVICE, "version": VERSION, "opened": worker_id})

    def of_fleet(self, fleet: str) -> Answer:
        """What a fleet's turn looks at: that it is a room, what it tells of the fleet's workers, whose gates wait."""
        gates = [worker_id for of, worker_id in self._waiting if of == fleet][-MOST_GATES_TOLD:]
        told = list(self._features.get(fleet, ()))
        return Answer({"service": SERVICE, "version": VERSION, "features": told, "gates": gates})

    def tell(self, fleet: str, features: Iterable[object]) -> Answer:
        """What a fleet's workers can do: without it SwarmUI's page leaves out parameters while there is no worker."""
        told = sorted({each for each in features if isinstance(each, str) and 0 < len(each) <= LONGEST_FEATURE})
        _keep(self._features, fleet, tuple(told[:MOST_FEATURES]), MOST_FLEETS)
        return self.of_fleet(fleet)

    def _loading(
        self, route: str, body: Mapping[str, object], features: tuple[str, ...], hold_seconds: float
    ) -> Answer:
        match route.lower():
            case "getnewsession":
                return Answer({"session_id": self._new_session(), "server_id": self.server_id})
            case "listbackends":
                return Answer(self._backends(features), hold_seconds=self._held(body, hold_seconds))
            case "listmodels":
                return Answer({"folders": [], "files": []})
        return Answer({"success": True})

    def _new_session(self) -> str:
        session_id = uuid.uuid4().hex
        _keep(self._fresh, session_id, None, MOST_SESSIONS)
        return session_id

    def _held(self, body: Mapping[str, object], hold_seconds: float) -> float:
        session_id = body.get("session_id")
        if isinstance(session_id, str) and session_id in self._fresh:
            del self._fresh[session_id]
            return 0.0
        return hold_seconds

    @staticmethod
    def _backends(features: tuple[str, ...]) -> Json:
        loading: Json = {"0": {"id": 0, "status": "loading"}}
        if not features:
            return loading
        # Takes no work: no usage is allowed, and the entry does not forward.
        shown = {
            "id": 1,
            "status": "running",
            "type": "swarmswarmbackend",
            "title": "room",
            "features": list(features),
            "max_usages": 0,
            "can_load_models": True,
            "current_model": None,
        }
        return {**loading, "1": shown}


def _keep(kept: "OrderedDict[Key, Any]", key: Key, value: object, most: int) -> None:
    """Keep it as the newest; the oldest goes where there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
