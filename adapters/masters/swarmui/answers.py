"""What SwarmUI's answers say about demand and workers. Pure: no I/O, no clock.

Source: SwarmUI src/WebAPI/BackendAPI.cs (BackendToNet), src/WebAPI/AdminAPI.cs (GetGlobalStatus, ListConnectedUsers).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.ids import MAX_WORKER_ID
from ebbflow.core.member import Demand, Member, MemberState, PushMemberList, Shape

BACKEND_TYPE = "swarmswarmbackend"
"""The type of a backend that is another SwarmUI."""

_STATES = {
    "waiting": MemberState.JOINING,
    "loading": MemberState.JOINING,
    "running": MemberState.READY,
    "idle": MemberState.LOST,
    "errored": MemberState.LOST,
    "disabled": MemberState.LOST,
}
_TITLE = re.compile(rf"ebbflow/(?P<fleet>[^/]+)/(?P<home>[^/]+)/(?P<worker_id>[a-z0-9-]{{1,{MAX_WORKER_ID}}})")


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

    @property
    def is_child(self) -> bool:
        """Whether it is one of the worker's own backends, which is what takes work. Its title is not ours."""
        return self.ref < 0

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
class Title:
    """How a registered worker carries its identity."""

    fleet: str
    home: str
    worker_id: str

    def __str__(self) -> str:
        """The text that stands in the master."""
        return f"ebbflow/{self.fleet}/{self.home}/{self.worker_id}"


def parse_title(text: str) -> Title | None:
    """Read a title back, or answer None where it is not one of Ebbflow's."""
    found = _TITLE.fullmatch(text)
    return None if found is None else Title(found["fleet"], found["home"], found["worker_id"])


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


def parse_entries(answer: Mapping[str, object]) -> tuple[Entry, ...]:
    """Read the entries that are other SwarmUIs from ListBackends, in the order of their ids.

    Raises:
        MasterUnavailable: a row does not have SwarmUI's form; a list with holes would be taken for absence.
    """
    entries = []
    for row in answer.values():
        if not isinstance(row, dict) or not isinstance(row.get("type"), str):
            raise MasterUnavailable(f"SwarmUI listed a backend as {_short(row)}")
        if row["type"] == BACKEND_TYPE:
            entries.append(_entry(row))
    return tuple(sorted(entries, key=lambda entry: entry.ref))


def own_backends(answer: Mapping[str, object]) -> Counter[str]:
    """How many of a worker's own backends are in which status, from its ListBackends."""
    return Counter(str(row.get("status")) for row in answer.values() if isinstance(row, dict))


def members_of(entries: Sequence[Entry], *, fleet: str, home: str, busy: Mapping[str, bool | None]) -> PushMemberList:
    """Make our members, the half-made entries and the foreign ones out of a listing.

    Args:
        entries: all of them, children too.
        fleet: whose members are asked for.
        home: of which installation.
        busy: by address, what each worker says of itself; None where it did not answer.
    """
    controls = [entry for entry in entries if not entry.is_child]
    ours = [(title, entry) for entry in controls if (title := own_title(entry, fleet=fleet, home=home))]
    ids = Counter(title.worker_id for title, _ in ours)
    addresses = Counter(entry.address for _, entry in ours if entry.address)
    return PushMemberList(
        members=tuple(
            _member(
                title.worker_id,
                entry,
                [child for child in entries if child.is_child and child.address == entry.address],
                busy=busy.get(entry.address),
                duplicate=ids[title.worker_id] > 1 or addresses[entry.address] > 1,
            )
            for title, entry in ours
        ),
        complete=all(entry.status in _STATES for _, entry in ours),
        detail=_oddities(ours, ids, addresses),
        unfinished=tuple(str(entry.ref) for entry in controls if entry.is_unfinished),
        foreign=tuple(
            entry.title
            for entry in controls
            if entry.title.startswith(f"ebbflow/{fleet}/") and own_title(entry, fleet=fleet, home=home) is None
        ),
    )


def ownerless(entries: Sequence[Entry], title: str) -> list[Entry]:
    """The children of one worker's entry that go on without it: it is gone, or was switched off and has let go of all.

    A child carries no link to its entry but the entry's title, within its own, and its address.
    """
    controls = [entry for entry in entries if not entry.is_child and entry.title == title]
    if any(entry.enabled or entry.status != "disabled" for entry in controls):
        return []
    return [entry for entry in entries if entry.is_child and f": {title}] " in entry.title]


def own_title(entry: Entry, *, fleet: str, home: str) -> Title | None:
    """The title of an entry that is a worker of ours, else None."""
    title = None if entry.is_child else parse_title(entry.title)
    return title if title is not None and (title.fleet, title.home) == (fleet, home) else None


def _member(worker_id: str, entry: Entry, children: Sequence[Entry], *, busy: bool | None, duplicate: bool) -> Member:
    state = _state(entry, children)
    if state is MemberState.DRAINING and busy is False and (children or entry.is_being_emptied):
        # Children go one after the other, and the last one still takes work while the first one drains; and the worker
        # itself counts nothing any more up to two seconds before the master's request ends.
        busy = True
    used = [child.seconds_since_used for child in children if child.seconds_since_used is not None]
    return Member(
        worker_id=worker_id,
        master_ref=str(entry.ref),
        state=state,
        url=entry.address or None,
        busy=busy,
        # The control entry's own figure is never updated. A worker that was never used gives no figure at all.
        idle_seconds=min(used) if used and busy is False else None,
        model=next((child.model for child in children if child.model), None),
        duplicate=duplicate,
    )


def _state(entry: Entry, children: Sequence[Entry]) -> MemberState:
    # `enabled`, not `status`: an entry that was errored keeps that status when it is disabled.
    if not entry.enabled:
        return MemberState.DRAINING
    state = _STATES.get(entry.status, MemberState.JOINING)
    # Work runs on children only: connected without one, after a restart of the master for instance, takes none.
    serves = any(child.status == "running" for child in children)
    return MemberState.JOINING if state is MemberState.READY and not serves else state


def _oddities(ours: Sequence[tuple[Title, Entry]], ids: Counter[str], addresses: Counter[str]) -> str:
    unknown = [
        f"backend {entry.ref} has unknown status {entry.status!r}" for _, entry in ours if entry.status not in _STATES
    ]
    twice = [f"{worker_id} is registered {count} times" for worker_id, count in ids.items() if count > 1]
    shared = [f"{count} entries share {address}" for address, count in addresses.items() if count > 1]
    return "; ".join(unknown + twice + shared)


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
    )


def _short(value: object) -> str:
    return f"{value!r:.80}"
