"""Fleets' chains of records, followed backwards and page by page: however long they are, little is held at once.

Where a record is gone, was edited or cannot be read, the walk goes on below it, with the next older record that another
one names as the one before it: who is not named was perhaps never claimed, and counts for nothing.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from ebbflow.core.canonical import Plain, digest
from ebbflow.core.chain import Stored
from ebbflow.core.errors import ConfigError, RecordError
from ebbflow.core.ports import Ledger
from ebbflow.core.record import PROVIDER, Link, Record, memory_leans_on, parse_base
from ebbflow.core.sections import Base, is_of_hash

T = TypeVar("T")

LATE_SECONDS = 120.0
"""A record is stored no longer than this, and its turn's budget, before its claim."""
MOST_KEPT = 64
"""Parts of other records that are kept for the next ones, which mostly lean on the same."""
NEW_CHAIN = "a new chain of records begins"
NO_CLAIM = "none of its claims is there"


@dataclass(frozen=True, slots=True)
class Step:
    """One claimed record on the way back."""

    record: Record
    stored_at: float
    """Epoch seconds, UTC, by the ledger's own clock."""
    parts: Mapping[str, Plain]
    """Its fleet, its looks at providers and what else the walk keeps, as stored, by section; what could not be had is
    not among them."""
    lost: str = ""
    """Why it is not known what came between this one and the step before, which is later; empty: nothing did."""
    noted_at: float = 0.0
    """When it was noted what came of its actions; as `stored_at` while nothing is."""


@dataclass
class ChainWalk:
    """One fleet's way back."""

    ledger: Ledger
    fleet: str
    next: Link | None
    """What to read next; None: that is to be found, or there is nothing."""
    since: float
    """No further back than the last record before this; epoch seconds by the ledger's own clock."""
    take: Callable[[Step], None]
    """Is given each step as soon as it is read, the newest first."""
    lost: str = ""
    """Why it is not known what came after the claim, or before the last step; empty: all is known."""
    is_done: bool = False
    also: Collection[str] = ()
    """Further sections that each step keeps."""
    _lost_ids: set[str] = field(default_factory=set)
    _last: Step | None = None
    _parts: "OrderedDict[str, Plain]" = field(default_factory=OrderedDict)
    _bases: "OrderedDict[str, Base]" = field(default_factory=OrderedDict)

    async def read(self, page: Mapping[str, Stored]) -> None:
        """Go as far as a page leads.

        Args:
            page: records of whatever fleets, the newest first, older than those of the page before.
        """
        oldest = min((stored.stored_at for stored in page.values()), default=math.inf)
        while not self.is_done:
            if self.next is None:
                self.next = await self._found_again(page)
                if self.next is None:
                    return
            stored = page.get(self.next.artifact_id)
            if stored is None and oldest > self._is_due_after():
                return
            await self._follow(self.next, stored or await self.ledger.stored(self.next.artifact_id), page)

    async def finish(self) -> None:
        """Go on without pages: what is followed now is the last record from before, or is gone."""
        while not self.is_done and self.next is not None:
            await self._follow(self.next, await self.ledger.stored(self.next.artifact_id), {})
        self.is_done = True

    def _is_due_after(self) -> float:
        """The record that is followed is not on a page whose oldest record is as old as this."""
        turn = None if self._last is None else self._last.record.turn
        if self._last is None or turn is None or turn.head is None or turn.clock_back_seconds:
            # The newest of all; or one that by its clock may have been stored later than the one that follows it.
            return math.inf
        return self._last.stored_at - turn.head.age_seconds - turn.budget_seconds - LATE_SECONDS

    async def _follow(self, link: Link, stored: Stored | None, page: Mapping[str, Stored]) -> None:
        if stored is None:
            self._lose(link, f"record {link.number} was deleted")
            return
        if digest(stored.text or "") != link.sha256:
            self._lose(link, f"record {link.number} was edited")
            return
        try:
            record = await self._record(stored, page)
        except RecordError as error:
            self._lose(link, f"record {link.number} cannot be read: {error}")
            return
        parts = await self._parts_of(record, page)
        self._last = Step(record, stored.stored_at, parts, self.lost, stored.changed_at)
        self.take(self._last)
        self.lost, self.next, before = "", None, record.previous
        self.is_done = stored.stored_at < self.since
        if before is None:
            self.lost = NEW_CHAIN
        elif before.broken:
            self._lose(before, before.broken)
        else:
            self.next = before

    def _lose(self, link: Link, why: str) -> None:
        self.next = None
        self._lost_ids.add(link.artifact_id)
        self.lost = self.lost or why

    async def _found_again(self, page: Mapping[str, Stored]) -> Link | None:
        """The link of the newest record of a page that is older than what was lost; it names one that was claimed."""
        for name, stored in page.items():
            if name in self._lost_ids or f'"fleet":"{self.fleet}"' not in (stored.text or ""):
                continue
            try:
                record = await self._record(stored, page)
            except RecordError:
                continue
            link = record.previous
            if (
                link is not None
                and not link.broken
                and link.artifact_id not in self._lost_ids
                and self._is_older(record)
            ):
                return link
        return None

    def _is_older(self, record: Record) -> bool:
        if record.fleet != self.fleet or self._last is None:
            return record.fleet == self.fleet
        last = self._last.record
        if record.chain != last.chain:
            return record.turn.at_seconds <= last.turn.at_seconds
        return record.number < last.number

    async def _record(self, stored: Stored, page: Mapping[str, Stored]) -> Record:
        leaned_on = memory_leans_on(stored.text or "")
        return stored.record(await self._base(leaned_on, page) if leaned_on is not None else None)

    async def _base(self, artifact_id: str, page: Mapping[str, Stored]) -> Base:
        if artifact_id not in self._bases:
            stored = page.get(artifact_id) or await self.ledger.stored(artifact_id)
            if stored is None:
                raise RecordError(f"leans on artifact {artifact_id}, which is gone")
            _keep(self._bases, artifact_id, parse_base(stored.text or "", artifact_id), most=4)
        return self._bases[artifact_id]

    async def _parts_of(self, record: Record, page: Mapping[str, Stored]) -> Mapping[str, Plain]:
        found: dict[str, Plain] = {}
        for name, section in record.sections.items():
            if name not in ("fleet", *self.also) and not name.startswith(PROVIDER):
                continue
            if section.sha256 not in self._parts:
                try:
                    held_by = await self._base(section.artifact_id, page) if section.artifact_id is not None else None
                    value = cast(Plain, section.value) if held_by is None else held_by.value(name, section)
                except RecordError:
                    continue
                if not is_of_hash(value, section.sha256):
                    continue
                _keep(self._parts, section.sha256, value, most=MOST_KEPT)
            self._parts.move_to_end(section.sha256)
            found[name] = self._parts[section.sha256]
        return found


def _keep(kept: "OrderedDict[str, T]", name: str, value: T, *, most: int) -> None:
    kept[name] = value
    if len(kept) > most:
        kept.popitem(last=False)


async def newest_readable(ledger: Ledger, fleet: str) -> tuple[Link | None, str]:
    """A fleet's newest record whose claim nobody has edited, and what is wrong with a newer one; empty: nothing."""
    lost = ""
    try:
        claim = await ledger.newest_claim(fleet)
    except ConfigError as error:
        claim, lost = next(iter(await ledger.readable_claims(fleet)), None), str(error)
    if claim is None:
        return None, lost or NO_CLAIM
    return Link(claim.number, claim.artifact_id, claim.sha256), lost


async def walk(ledger: Ledger, walks: Sequence[ChainWalk], *, since: float) -> None:
    """Go back in all of these fleets at once, and read each page only once."""
    async for page in ledger.stored_pages(since):
        for each in walks:
            await each.read(page)
        if all(each.is_done for each in walks):
            break
    for each in walks:
        await each.finish()
