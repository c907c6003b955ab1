"""Whose a SwarmUI master's entry is: by the title that we gave it, or by an address that we registered. Pure.

A title is a person's to change, and a child carries no link to its entry but that entry's title and address.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ebbflow.adapters.masters.swarmui.answers import Entry
from ebbflow.core.ids import MAX_WORKER_ID
from ebbflow.core.worker import Worker

_TITLE = re.compile(rf"ebbflow/(?P<fleet>[^/]+)/(?P<home>[^/]+)/(?P<worker_id>[a-z0-9-]{{1,{MAX_WORKER_ID}}})")
_CHILD = re.compile(r"\[Remote from -?\d+: (?P<title>.*?)\] (?P<remote>.*)", re.DOTALL)
_ANSWERED = ("running", "loading", "waiting")
"""Statuses in which somebody may be at an entry's address."""


ROOM = "waiting-room"
"""Stands in the place of a worker's id, and is none: those hold the fleet's name and numbers."""
FOR_PEOPLE = " - "
"""What stands behind it in a title is for people, and not compared."""


@dataclass(frozen=True, slots=True)
class Title:
    """How a registered worker carries its identity."""

    fleet: str
    home: str
    worker_id: str

    def __str__(self) -> str:
        """The text that stands in the master."""
        return f"ebbflow/{self.fleet}/{self.home}/{self.worker_id}{FOR_PEOPLE}added and removed by ebbflow"


@dataclass(frozen=True, slots=True)
class RoomTitle:
    """How the entry of a fleet's waiting room is told from those of workers."""

    fleet: str
    home: str

    @property
    def compared(self) -> str:
        """What makes it this one."""
        return f"ebbflow/{self.fleet}/{self.home}/{ROOM}"

    def is_of(self, title: str) -> bool:
        """Whether a title is this one."""
        return title.partition(FOR_PEOPLE)[0] == self.compared

    def __str__(self) -> str:
        """The text that stands in the master; its form wraps it to two lines."""
        said = "not a worker: keeps requests waiting while no worker runs; 'loading' is normal"
        return f"{self.compared}{FOR_PEOPLE}{said}"


def parse_title(text: str) -> Title | None:
    """Read a worker's title back, or answer None where it is not one of Ebbflow's."""
    found = _TITLE.fullmatch(text.partition(FOR_PEOPLE)[0])
    if found is None or found["worker_id"] == ROOM:
        return None
    return Title(found["fleet"], found["home"], found["worker_id"])


def address_of(worker: Worker) -> str:
    """A worker's announced address, as SwarmUI lists it."""
    return (worker.url or "").strip().rstrip("/")


def title_of_parent(child: Entry) -> str:
    """The title of the entry that made a child, as it was then."""
    found = _CHILD.fullmatch(child.title)
    return found["title"] if found else ""


def remote_title(child: Entry) -> str:
    """What the worker calls the backend behind a child."""
    found = _CHILD.fullmatch(child.title)
    return found["remote"] if found else child.title


class Ownership:
    """Tells the entries of one fleet and home from all others.

    Args:
        fleet: whose.
        home: of which installation.
        known: whom the record knows, with the addresses that were registered.
        silent: addresses at which nobody answers.
    """

    def __init__(self, fleet: str, home: str, known: Iterable[Worker] = (), *, silent: Collection[str] = ()) -> None:
        self._fleet = fleet
        self._home = home
        self._silent = silent
        self._alive: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        for worker in known:
            if worker.registered and worker.url:
                there = self._alive if worker.may_exist else self._gone
                there[address_of(worker)] = worker.worker_id

    def title(self, worker_id: str) -> Title:
        """What an entry of this worker is called."""
        return Title(self._fleet, self._home, worker_id)

    def owner(self, entry: Entry) -> str | None:
        """The id of the worker whose entry it is; None: it is not ours, or a child."""
        if entry.is_child:
            return None
        title = parse_title(entry.title)
        if title is not None:
            return self._ours(title)
        return self._owner_of_address(entry)

    def owner_of_child(self, child: Entry) -> str | None:
        """The id of the worker of ours whose entry made a child; None: nobody's of ours, or it is none."""
        title = parse_title(title_of_parent(child)) if child.is_child else None
        if title is not None:
            return self._ours(title)
        return self._owner_of_address(child) if child.is_child else None

    def entries_of(self, worker_id: str, entries: Iterable[Entry]) -> list[Entry]:
        """The entries of one worker: those with our title first, the oldest before others; a second is a duplicate."""
        ours = [entry for entry in entries if self.owner(entry) == worker_id]
        return sorted(ours, key=lambda entry: (self.is_renamed(entry), entry.ref))

    def ownerless(self, worker_id: str, entries: Sequence[Entry]) -> list[Entry]:
        """The children of one worker that go on without an entry: it is gone, or switched off and has let go of all."""
        controls = self.entries_of(worker_id, entries)
        if any(control.enabled or control.status != "disabled" for control in controls):
            return []
        return [entry for entry in entries if self.owner_of_child(entry) == worker_id]

    def is_renamed(self, entry: Entry) -> bool:
        """Whether one of ours carries another name than we gave it."""
        return parse_title(entry.title) is None

    def is_of_another_home(self, entry: Entry) -> bool:
        """Whether it carries our fleet's name and another home."""
        is_ours = self.owner(entry) is not None or RoomTitle(self._fleet, self._home).is_of(entry.title)
        return not entry.is_child and entry.title.startswith(f"ebbflow/{self._fleet}/") and not is_ours

    def _owner_of_address(self, entry: Entry) -> str | None:
        """Whose address it is. One whose worker has gone may be somebody else's by now, and then somebody answers."""
        alive = self._alive.get(entry.address)
        is_answered = entry.status in _ANSWERED and entry.address not in self._silent
        return alive if alive is not None or is_answered else self._gone.get(entry.address)

    def _ours(self, title: Title) -> str | None:
        return title.worker_id if (title.fleet, title.home) == (self._fleet, self._home) else None
