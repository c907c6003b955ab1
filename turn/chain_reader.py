"""The one reader of a fleet's chain of records: the door through which a record is later explained and replayed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError

from ebbflow.core.canonical import Plain, digest
from ebbflow.core.chain import Claim, Head, Stored, head_of
from ebbflow.core.errors import RecordError
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Outcome
from ebbflow.core.ports import Ledger
from ebbflow.core.record import Link, Record, memory_leans_on, parse_base, restore_inputs
from ebbflow.core.sections import Base, is_of_hash
from ebbflow.fleet.model import Fleet
from ebbflow.turn.chain_pages import Pages


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One claimed record of a chain, with the note on its claim."""

    artifact_id: str
    record: Record
    outcomes: tuple[Outcome, ...]
    """Empty while there is no note."""
    stored_at: float
    """Epoch seconds, UTC, by the ledger's own clock."""
    noted_at: float


@dataclass(frozen=True, slots=True)
class Past:
    """A fleet's claimed records, as far back as they were read, and why no further."""

    entries: tuple[ChainEntry, ...] = ()
    """Oldest first."""
    is_cut: bool = False
    """Earlier ones are there, from before the time since which was asked."""
    broken: str = ""
    """Why the chain cannot be followed further back. Empty, and not cut: it began there."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A record that was claimed, and its claim."""

    claim: Claim
    record: Record


class ChainReader:
    """Reads through a ledger, and what a record leans on only once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._kept: dict[str, Stored | None] = {}
        self._bases: dict[str, Base] = {}
        self._parsed: dict[str, Record] = {}

    async def head(self, fleet: str) -> Head | None:
        """The newest claim and its record, or None where the fleet has no chain.

        Raises:
            ConfigError: the claim was edited, and a person must act.
        """
        claim = await self._ledger.newest_claim(fleet)
        return None if claim is None else await self._head(claim)

    async def last_readable(self, fleet: str) -> Claimed | None:
        """The newest record that can be read, also where the claim or the record after it cannot."""
        for claim in await self._ledger.readable_claims(fleet):
            head = await self._head(claim)
            if head.record is not None:
                return Claimed(claim, head.record)
        return None

    async def base(self, head: Head | None) -> Base | None:
        """What the record after a head that was read here may store changes of; None where that cannot be had.

        It was read with the head, but where only other parts than the memory lean on it.
        """
        if head is None or head.record is None:
            return None
        with suppress(RecordError):
            return await self._base(head.record.base_id or head.claim.artifact_id)
        return None

    async def notes(self, claims: Sequence[RecentClaim]) -> dict[int, tuple[Outcome, ...]]:
        """The notes that are there by now, by claim number."""
        if not claims:
            return {}
        stored = await self._ledger.stored_all([claim.artifact_id for claim in claims])
        told = {claim.number: stored[claim.artifact_id].outcomes() for claim in claims if claim.artifact_id in stored}
        return {number: outcomes for number, outcomes in told.items() if outcomes is not None}

    async def history(self, fleet: str, *, since: float = 0.0) -> tuple[ChainEntry, ...]:
        """A fleet's claimed records, oldest first, as far back as the chain can be followed unbroken.

        Args:
            fleet: its name.
            since: no further back than this; epoch seconds by the ledger's own clock.
        """
        return (await self.past(fleet, since=since)).entries

    async def past(
        self, fleet: str, *, since: float = 0.0, slim: Callable[[ChainEntry], ChainEntry] | None = None
    ) -> Past:
        """The same, with what ended it.

        Unclaimed records count for nothing: only what the chain's links name, by artifact and by hash, is read.

        Args:
            fleet: its name.
            since: no further back than this; epoch seconds by the ledger's own clock.
            slim: makes of each record what is kept of it; None: all of it, and what is read besides, to lean on.

        Raises:
            ConfigError: the newest claim was edited, and a person must act.
        """
        claim = await self._ledger.newest_claim(fleet)
        if claim is None:
            return Past()
        pages = Pages(self._ledger.stored_pages(since), self._kept if slim is None else None)
        chain: list[ChainEntry] = []
        link: Link | None = Link(claim.number, claim.artifact_id, claim.sha256)
        broken = ""
        while link is not None and not broken:
            stored = await pages.find(link.artifact_id) or await self._ledger.stored(link.artifact_id)
            if stored is None:
                broken = f"record {link.number} is gone (artifact {link.artifact_id})"
                break
            if stored.stored_at < since:
                return Past(tuple(reversed(chain)), is_cut=True)
            try:
                record = await self._followed(link, stored)
            except RecordError as error:
                broken = f"record {link.number} {error}"
                break
            outcomes = stored.outcomes() or ()
            entry = ChainEntry(link.artifact_id, record, outcomes, stored.stored_at, stored.changed_at)
            chain.append(entry if slim is None else slim(entry))
            if slim is None:
                self._parsed[link.artifact_id] = record
            link = record.previous
            broken = link.broken if link is not None else ""
        return Past(tuple(reversed(chain)), broken=broken)

    async def inputs(self, record: Record) -> Inputs:
        """The inputs of a stored decision, gathered from the records that hold them, so that it can be replayed.

        Raises:
            RecordError: a record that this one leans on is gone, or was edited.
        """
        values = {name: await self.section(record, name) for name in record.sections}
        before = await self.before(record)
        return restore_inputs(record, values, before.memory if before is not None else Memory())

    async def before(self, record: Record) -> Record | None:
        """The record before, as it was when it was followed; None where a chain began, or its memory could not be used.

        Raises:
            RecordError: it is gone, or was edited since.
        """
        link = record.previous
        if link is None or link.broken:
            return None
        stored = await self._stored(link.artifact_id)
        if digest(stored.text or "") != link.sha256:
            raise RecordError(
                f"record {record.number} of {record.fleet} follows artifact {link.artifact_id}, which was edited since"
            )
        if link.artifact_id not in self._parsed:
            self._parsed[link.artifact_id] = await self._read(stored)
        return self._parsed[link.artifact_id]

    async def fleet(self, record: Record) -> Fleet:
        """The fleet as it was when a record was decided.

        Raises:
            RecordError: it is gone, was edited, or this version does not take it any more.
        """
        value = await self.section(record, "fleet")
        if not is_of_hash(value, record.sections["fleet"].sha256):
            raise RecordError(f"record {record.number} of {record.fleet}: its fleet does not fit its hash")
        try:
            return Fleet.model_validate(value)
        except ValidationError as error:
            raise RecordError(f"record {record.number} of {record.fleet}: its fleet cannot be read: {error}") from error

    async def section(self, record: Record, name: str) -> Plain:
        """One part of what a record saw, in full, from the record that holds it; its hash is not compared here.

        Raises:
            RecordError: the record has no such section, or the one that holds it is gone.
        """
        section = record.sections.get(name)
        if section is None:
            raise RecordError(f"record {record.number} of {record.fleet} has no section {name!r}")
        if section.artifact_id is None:
            return cast(Plain, section.value)
        try:
            held_by = await self._base(section.artifact_id)
            return held_by.value(name, section)
        except RecordError as error:
            raise RecordError(f"record {record.number} of {record.fleet}: section {name!r}: {error}") from error

    async def _head(self, claim: Claim) -> Head:
        stored = self._kept[claim.artifact_id] = await self._ledger.stored(claim.artifact_id)
        base = None
        if stored is not None and (leaned_on := memory_leans_on(stored.text or "")) is not None:
            with suppress(RecordError):
                base = await self._base(leaned_on)
        return head_of(claim, stored, base)

    async def _read(self, stored: Stored) -> Record:
        """A record, with the memory that may lean on another one."""
        leaned_on = memory_leans_on(stored.text or "")
        return stored.record(await self._base(leaned_on) if leaned_on is not None else None)

    async def _followed(self, link: Link, stored: Stored) -> Record:
        """The record that a link names, as it was when it was linked."""
        if digest(stored.text or "") != link.sha256:
            raise RecordError("was edited: it no longer fits the hash that the chain has of it")
        if link.artifact_id in self._parsed:
            return self._parsed[link.artifact_id]
        try:
            return await self._read(stored)
        except RecordError as error:
            raise RecordError(f"cannot be read: {error}") from error

    async def _base(self, artifact_id: str) -> Base:
        if artifact_id not in self._bases:
            self._bases[artifact_id] = parse_base((await self._stored(artifact_id)).text or "", artifact_id)
        return self._bases[artifact_id]

    async def _stored(self, artifact_id: str) -> Stored:
        """Another record, asked for once."""
        if artifact_id not in self._kept:
            self._kept[artifact_id] = await self._ledger.stored(artifact_id)
        stored = self._kept[artifact_id]
        if stored is None:
            raise RecordError(f"leans on artifact {artifact_id}, which is gone")
        return stored
