"""The waiting room of one fleet at a SwarmUI master: an entry that loads for ever, switched on while nobody serves.

A request fails at its second look that finds no fitting child, unless nothing at all is `running` and something is
`loading`: what waits for the room's entry waits for the next worker. Measured on 0.9.8.2; what the room answers is in
`services/waiting_room`.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

import anyio

from ebbflow.adapters.http import HttpClient, NoAnswer
from ebbflow.adapters.masters.swarmui.answers import GATES, Entry, Listing
from ebbflow.adapters.masters.swarmui.backends import SwarmUIBackends
from ebbflow.adapters.masters.swarmui.ownership import RoomTitle, title_of_parent
from ebbflow.adapters.masters.swarmui.workers import Readiness
from ebbflow.core.errors import FleetError, MasterUnavailable
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.member import Registration, Room, RoomState
from ebbflow.core.text import one_line

logger = logging.getLogger(__name__)

SERVICE, VERSION = "ebbflow-waiting-room", 1
"""What a room says it is, and the oldest that will do."""

SETTINGS = {
    # With AllowIdle a room that was away comes back `running`, where everything fails.
    "AllowIdle": False,
    "AllowForwarding": False,
    "AllowWebsocket": False,
    "AuthorizationHeader": "",
    "OtherHeaders": "",
    "ConnectionAttemptTimeoutSeconds": 30,
}
HOLDS = ("loading", "waiting")
"""Statuses of an entry in which requests wait for it."""
LOOKS, LOOK_SECONDS = 15, 0.2
"""At an entry that was switched on: it loads within 0.3 s, or its master is busy with others."""
CALL_SECONDS = 2.0
"""For one question to the room itself."""
MOST_BYTES = 256 * 1024
SLOW_LINK_SECONDS = 0.1
"""For one answer of a worker. Measured: none of 24 joins within 10 ms lost anything, 3 of 4 at 100 ms did."""
MOST_WORDS, LONGEST_WORD = 1_000, 100
NOT_TOLD = frozenset({"comfyui"})
"""A tab of workflows, whose backend is on a worker."""


class SwarmUIRoom:
    """One fleet's.

    Args:
        address: where the room's server is, without a trailing slash.
        fleet: whose.
        home: of which installation.
        backends: the master's list.
        http: asks the room itself.
        sleep: waits between two looks.
    """

    def __init__(
        self,
        address: str,
        fleet: str,
        home: str,
        *,
        backends: SwarmUIBackends,
        http: HttpClient,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._title = RoomTitle(fleet, home)
        self._backends, self._http, self._sleep = backends, http, sleep
        self.address = f"{address}/fleets/{home}/{fleet}"
        self._gates = f"{address}{GATES}{home}/{fleet}"
        self.lock = anyio.Lock()
        """Whoever takes a child out of service holds it from the look to the deed."""

    async def look(self, listing: Listing) -> Room:
        """How it stands now. Changes nothing."""
        own = self._own(listing.entries)
        said, problem = await self._look_at_room()
        is_needed = not serves(listing)
        return Room(
            _state(own),
            answers=not problem,
            is_needed=is_needed,
            detail=problem or _in_the_way(listing, own),
            features=features_of(listing),
            told=_words(said.get("features")),
            # An id becomes part of an address.
            gates=tuple(each for each in _words(said.get("gates")) if parse_worker_id(each) is not None),
            # Which models workers have, the master knows only while they serve.
            missing_models=() if is_needed else await self._missing_models(),
        )

    def gate_of(self, worker_id: str) -> str:
        """The address of a worker's gate: what it lists as one more backend, which loads until the gate opens."""
        return f"{self._gates}/{worker_id}"

    async def open_gate(self, worker_id: str) -> None:
        """Let a worker's gate open, so that the worker lists nothing any more that loads.

        Raises:
            MasterUnavailable: the room does not answer; then the gate fails by itself, which opens it too.
        """
        answer = await self._ask("POST", self.gate_of(worker_id), {})
        if isinstance(answer, str):
            raise MasterUnavailable(answer)

    async def open(self, features: Sequence[str] = ()) -> None:
        """Make requests wait that find nobody: its entry is there, switched on, and loads.

        Args:
            features: what workers were last seen to be able to do, where nobody serves now.

        Raises:
            MasterUnavailable: it does not load, or the room does not answer.
        """
        _, problem = await self._look_at_room()
        if problem:
            raise MasterUnavailable(problem)
        listing = await self._backends.listing()
        await self._tell(features_of(listing) or features)
        own = self._own(listing.entries)
        for extra in own[1:]:
            await self._backends.delete(extra)
        if not own:
            ref = await self._backends.place_for(self._title, listing.entries)
            await self._backends.started(ref, LOOKS * LOOK_SECONDS)
            await self._backends.edit(ref, self._title, self.address, settings=self._settings)
        elif not own[0].enabled:
            await self._backends.toggle(own[0], enabled=True)
        elif own[0].status not in HOLDS:
            # An edit of this entry alone: restarting all would end everybody's work.
            await self._backends.edit(own[0].ref, self._title, self.address, settings=self._settings)
        await self._until_it_holds()

    async def close(self) -> None:
        """Somebody serves again, and whoever finds nobody free waits for that; where that is over, nothing is done."""
        listing = await self._backends.listing()
        if not serves(listing):
            return
        await self._tell(features_of(listing))
        for entry in self._own(listing.entries):
            await self._backends.toggle(entry, enabled=False)

    async def remove(self) -> None:
        """Take it out of the master."""
        for entry in self._own((await self._backends.listing()).entries):
            await self._backends.delete(entry)

    async def hold_if_last(self, going: Collection[Entry], listing: Listing) -> None:
        """Switch it on before the last that serve go out of service.

        Args:
            going: entries that are about to be switched off.
            listing: as it is now.

        Raises:
            MasterUnavailable: it would not hold, so nobody may go.
        """
        if serves(listing, without={entry.address for entry in going}) or not serves(listing):
            return
        if _state(self._own(listing.entries)) is not RoomState.HOLDING:
            await self.open()

    async def hold_if_nobody(self, listing: Listing) -> None:
        """Switch it on where nobody serves by now.

        Raises:
            MasterUnavailable: it would not hold.
        """
        if not serves(listing) and _state(self._own(listing.entries)) is not RoomState.HOLDING:
            await self.open()

    async def _missing_models(self) -> tuple[str, ...]:
        with anyio.move_on_after(CALL_SECONDS):
            try:
                return await self._backends.missing_models()
            except FleetError as error:
                logger.debug("which models the master itself has is not known: %s", error)
        return ()

    async def _until_it_holds(self) -> None:
        for _ in range(LOOKS):
            own = self._own((await self._backends.listing()).entries)
            if _state(own) is RoomState.HOLDING:
                return
            await self._sleep(LOOK_SECONDS)
        raise MasterUnavailable(
            f"the waiting room's entry does not load: {own[0].status if own else 'it is not there'}"
        )

    async def _look_at_room(self) -> tuple[dict[str, object], str]:
        """What the room itself says, and why it would not do; empty: it would."""
        answer = await self._ask("GET", self.address, None)
        if isinstance(answer, str):
            return {}, answer
        if answer.get("service") != SERVICE:
            who = "something else than a waiting room answers: start `ebbflow waiting-room` there"
            return {}, f"{self.address}: {who}"
        version = answer.get("version")
        if not isinstance(version, int) or version < VERSION:
            older = f"the waiting room is older than this release (version {version!r:.20}): upgrade it"
            return {}, f"{self.address}: {older}"
        return answer, ""

    async def _tell(self, features: Sequence[str]) -> None:
        """Let the room tell what workers can do: while there is none, the page leaves out what nobody has."""
        if features:
            await self._ask("POST", self.address, {"features": list(features)})

    async def _ask(self, method: str, url: str, body: dict[str, object] | None) -> dict[str, object] | str:
        """What the room says, or why it says nothing."""
        try:
            answer = await self._http.send(method, url, body=body, timeout_seconds=CALL_SECONDS)
        except NoAnswer as error:
            return f"{url}: the waiting room does not answer: {one_line(error)}"
        try:
            said = json.loads(answer.content[:MOST_BYTES])
        except (ValueError, RecursionError):
            said = None
        return said if isinstance(said, dict) else {}

    @property
    def _settings(self) -> dict[str, object]:
        return {"Address": self.address, **SETTINGS}

    def _own(self, entries: Sequence[Entry]) -> list[Entry]:
        """Its entries: one, or more after a run that was killed; the oldest first."""
        return [entry for entry in entries if not entry.is_child and self._is_own(entry)]

    def _is_own(self, entry: Entry) -> bool:
        return entry.address == self.address or self._title.is_of(entry.title)


def serves(listing: Listing, *, without: Collection[str] = ()) -> bool:
    """Whether anybody takes work at the master, whoever's it is.

    A child of an entry that is switched off runs until it has done its work, and then is gone.

    Args:
        listing: all of it.
        without: addresses that are about to be out of service.
    """
    controls = [entry for entry in listing.entries if not entry.is_child]
    off = {entry.address for entry in controls if not entry.enabled} - {
        entry.address for entry in controls if entry.enabled
    }
    running = {entry.address for entry in listing.entries if entry.is_child and entry.status == "running"}
    return bool(listing.local) or bool(running - off - set(without))


def with_risk(answer: Registration, readiness: Readiness) -> Registration:
    """What may be lost at a join: an entry runs two round trips before its child, unless its worker has a gate.

    Args:
        answer: of the master.
        readiness: of the worker.
    """
    is_slow = readiness.seconds > SLOW_LINK_SECONDS or bool(answer.warning)
    if not answer.registered or readiness.has_gate or not is_slow:
        return answer
    why = "" if answer.warning else f", and takes {readiness.seconds:.1f} s to answer"
    risk = f"it joins without a gate{why}: requests that wait may be lost at this join; see docs/swarmui.md, Gates"
    return replace(answer, warning=f"{answer.warning}; {risk}" if answer.warning else risk)


def features_of(listing: Listing) -> tuple[str, ...]:
    """What those that work runs on can do, but for what makes the page show what then fails."""
    return tuple(sorted({each for entry in listing.entries if entry.is_child for each in entry.features} - NOT_TOLD))


def _words(value: object) -> tuple[str, ...]:
    words = value[:MOST_WORDS] if isinstance(value, list) else []
    return tuple(each for each in words if isinstance(each, str) and 0 < len(each) <= LONGEST_WORD)


def _state(own: Sequence[Entry]) -> RoomState:
    if not own:
        return RoomState.ABSENT
    if not own[0].enabled:
        return RoomState.OFF
    return RoomState.HOLDING if own[0].status in HOLDS else RoomState.BROKEN


def _in_the_way(listing: Listing, own: Sequence[Entry]) -> str:
    """What makes requests fail though the room is on: an entry that is `running` and takes no work."""
    if listing.scaling:
        return (
            f"{listing.scaling[0]} is switched on in the master, and while it is nothing waits: switch it off, since "
            "this fleet launches by itself"
        )
    if serves(listing):
        return ""
    parents = {title_of_parent(entry) for entry in listing.entries if entry.is_child}
    for entry in listing.entries:
        is_empty = not entry.is_child and entry.enabled and entry.status == "running" and entry.title not in parents
        if is_empty and entry not in own:
            name = one_line(entry.title)[:80] or "without title"
            cure = "its fleet puts it right" if entry.title.startswith("ebbflow/") else "disable it"
            return f"{name} (backend {entry.ref}) runs without a child, and while it does nothing waits: {cure}"
    return ""
