"""What SwarmUI's answers say about demand and workers. Pure: no I/O, no clock.

Source: SwarmUI src/WebAPI/BackendAPI.cs (BackendToNet), src/WebAPI/AdminAPI.cs (GetGlobalStatus, ListConnectedUsers).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.member import Demand, Shape

BACKEND_TYPE = "swarmswarmbackend"
"""The type of a backend that is another SwarmUI."""
SCALING_TYPE = "autoscalingbackend"
"""The type of SwarmUI's own auto-scaler, which takes no work. Source: src/Backends/BackendHandler.cs."""
CHILD_OF = "[Remote from "
"""How the title of a child begins. Source: SwarmUI src/Backends/SwarmSwarmBackend.cs."""
GATES = "/gates/"
"""In the address of a backend that is a gate, at any waiting room."""
MOST_MODELS = 100
"""Whose names are kept; who lacks more than that has to copy names anyhow."""
MOST_FEATURES = 200
"""Of one backend; more is something else."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a server is doing, counted in images and model loads."""

    waiting: int
    """Requested and not finished, running ones included."""
    live: int
    loading: int
    unplaced: int | None = None
    """Requests that wait for a backend; saturates at twice the backends' slots per user."""

    @property
    def is_busy(self) -> bool:
        """Whether anything runs, loads or waits."""
        return bool(self.waiting or self.live or self.loading)


@dataclass(frozen=True, slots=True)
class Entry:
    """One backend of the master that is another SwarmUI."""

    ref: int
    """Below 0 for a child. Given out again after a restart of the master, so never an identity across turns."""
    title: str
    address: str
    status: str
    enabled: bool
    seconds_since_used: float | None
    """None: never."""
    model: str | None
    features: tuple[str, ...] = ()
    """What it can do, in SwarmUI's words."""
    is_launched: bool = False
    """An entry that an auto-scaling backend made for a worker of its own, not a person or us."""

    @property
    def is_child(self) -> bool:
        """Whether it is one of the worker's own backends, which is what takes work. Its title is not ours."""
        return self.ref < 0 and not self.is_launched

    @property
    def is_waiting(self) -> bool:
        """Whether its start has not begun."""
        return self.status == "waiting"

    @property
    def is_being_emptied(self) -> bool:
        """Whether it was switched off and its master still waits for a child, which has left the list by then."""
        return not self.enabled and self.status == "running"

    @property
    def is_unfinished(self) -> bool:
        """Whether it is what a registration leaves between its two calls, or a person before filling in the form."""
        return not self.is_child and not self.title and not self.address


@dataclass(frozen=True, slots=True)
class Listing:
    """What a master's ListBackends shows."""

    entries: tuple[Entry, ...] = ()
    """Those that are other SwarmUIs, in the order of their ids."""
    local: tuple[str, ...] = ()
    """The master's own backends that run, by name."""
    scaling: tuple[str, ...] = ()
    """Its auto-scaling backends that run, by name: they take no work, and while one runs nothing waits."""
    has_scaler: bool = False
    """Whether one of them is switched on and runs or starts: whoever it launched has it to thank for its pings."""
    fills_up: bool = False
    """Whether one of them still starts: it pings nobody before it has its minimum."""


def parse_activity(answer: Mapping[str, object]) -> Activity:
    """Read GetGlobalStatus.

    Raises:
        MasterUnavailable: a number is missing or implausible.
    """
    status = answer.get("status")
    if not isinstance(status, dict):
        raise MasterUnavailable(f"SwarmUI gave no status but {_short(status)}")
    return _activity(status)


def sum_activity(answer: Mapping[str, object]) -> Activity:
    """Read ListConnectedUsers, which older servers have, and add the users up.

    Raises:
        MasterUnavailable: a number is missing or implausible.
    """
    users = answer.get("users")
    if not isinstance(users, list) or not all(isinstance(user, dict) for user in users):
        raise MasterUnavailable(f"SwarmUI gave no list of users but {_short(users)}")
    each = [_activity(user) for user in users]
    unplaced = [a.unplaced for a in each if a.unplaced is not None]
    return Activity(
        sum(a.waiting for a in each),
        sum(a.live for a in each),
        sum(a.loading for a in each),
        sum(unplaced) if unplaced else None,
    )


def demand_of(activity: Activity) -> Demand:
    """What the master's activity means as demand: one shape, since SwarmUI tells no models apart."""
    # waiting_gens includes the live ones; both are read one after the other, so live may be ahead for an instant.
    queued = max(0, activity.waiting - activity.live)
    return Demand(
        queued=queued,
        running=activity.live,
        waiting=activity.unplaced,
        shapes=(Shape(count=queued),) if queued else (),
    )


def parse_listing(answer: Mapping[str, object]) -> Listing:
    """Read ListBackends of a master.

    Raises:
        MasterUnavailable: a row does not have SwarmUI's form; a list with holes would be taken for absence.
    """
    entries: list[Entry] = []
    local: list[str] = []
    scaling: list[str] = []
    has_scaler = fills_up = False
    for row in answer.values():
        if not isinstance(row, dict) or not isinstance(row.get("type"), str):
            raise MasterUnavailable(f"SwarmUI listed a backend as {_short(row)}")
        if row["type"] == SCALING_TYPE and row.get("enabled") is not False:
            fills_up = fills_up or row.get("status") in ("loading", "waiting")
            has_scaler = has_scaler or fills_up or row.get("status") == "running"
        if row["type"] == BACKEND_TYPE:
            entries.append(_entry(row))
        elif row.get("status") == "running" and row.get("enabled") is not False:
            running = scaling if row["type"] == SCALING_TYPE else local
            running.append(f"{row.get('title') or row['type']} (backend {row.get('id')})")
    return Listing(
        entries=tuple(sorted(entries, key=lambda entry: entry.ref)),
        local=tuple(sorted(local)),
        scaling=tuple(sorted(scaling)),
        has_scaler=has_scaler,
        fills_up=fills_up,
    )


def own_backends(answer: Mapping[str, object]) -> Counter[str]:
    """How many of a worker's own backends are in which status, from its ListBackends; a gate of ours is none."""
    rows = (row for row in answer.values() if isinstance(row, dict) and not _is_gate(row))
    return Counter(str(row.get("status")) for row in rows)


def has_gate(answer: Mapping[str, object]) -> bool:
    """Whether a worker has a gate that has not opened, from its ListBackends."""
    rows = (row for row in answer.values() if isinstance(row, dict))
    return any(_is_gate(row) and row.get("status") in ("waiting", "loading") for row in rows)


def only_remote(answer: Mapping[str, object]) -> tuple[str, ...]:
    """Names of models that workers have and the master itself has not, from its ListModels."""
    files = answer.get("files")
    rows = files if isinstance(files, list) else []
    names = {row.get("name") for row in rows if isinstance(row, dict) and row.get("local") is False}
    return tuple(sorted(name for name in names if isinstance(name, str) and name))[:MOST_MODELS]


def _is_gate(row: Mapping[str, object]) -> bool:
    settings = row.get("settings")
    address = settings.get("Address") if isinstance(settings, dict) else None
    return row.get("type") == BACKEND_TYPE and isinstance(address, str) and GATES in address


def names_of_running(answer: Mapping[str, object]) -> Counter[str]:
    """How many of a worker's own running backends have which name, from its ListBackends."""
    rows = (row for row in answer.values() if isinstance(row, dict) and row.get("status") == "running")
    return Counter(str(row.get("title") or "") for row in rows)


def _activity(counts: Mapping[str, object]) -> Activity:
    unplaced = _count(counts, "waiting_backends") if "waiting_backends" in counts else None
    return Activity(
        _count(counts, "waiting_gens"), _count(counts, "live_gens"), _count(counts, "loading_models"), unplaced
    )


def _count(counts: Mapping[str, object], name: str) -> int:
    value = counts.get(name)
    if type(value) is not int or value < 0:  # not isinstance: true is no count
        raise MasterUnavailable(f"SwarmUI gave no count for {name} but {_short(value)}")
    return value


def _entry(row: Mapping[str, object]) -> Entry:
    settings = row.get("settings")
    address = settings.get("Address", "") if isinstance(settings, dict) else None
    ref, enabled, used, model = (
        row.get("id"),
        row.get("enabled"),
        row.get("seconds_since_used"),
        row.get("current_model"),
    )
    if type(ref) is not int or not isinstance(enabled, bool) or not isinstance(address, str):
        raise MasterUnavailable(f"SwarmUI listed backend {_short(ref)} without an id, settings or enabled")
    never = row.get("time_since_used") == "Never" or not isinstance(used, int | float) or isinstance(used, bool)
    return Entry(
        ref=ref,
        title=str(row.get("title") or ""),
        address=address.strip().rstrip("/"),
        status=str(row.get("status") or ""),
        enabled=enabled,
        seconds_since_used=None if never else float(str(used)),
        model=model if isinstance(model, str) and model else None,
        features=_features(row.get("features")),
        is_launched=ref < 0 and not str(row.get("title") or "").startswith(CHILD_OF),
    )


def _features(value: object) -> tuple[str, ...]:
    return tuple(each for each in value[:MOST_FEATURES] if isinstance(each, str)) if isinstance(value, list) else ()


def _short(value: object) -> str:
    return f"{value!r:.80}"
