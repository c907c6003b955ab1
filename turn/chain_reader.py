"""The one reader of a fleet's chain of records: the door through which a record is later explained and replayed."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ebbflow.core.canonical import Plain, canonical, digest, encode
from ebbflow.core.chain import Claim, Head, Stored, head_of
from ebbflow.core.errors import RecordError
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Outcome
from ebbflow.core.ports import Ledger
from ebbflow.core.record import Record, restore_inputs
from ebbflow.fleet.model import Fleet


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
class Claimed:
    """A record that was claimed, and its claim."""

    claim: Claim
    record: Record


class ChainReader:
    """Reads through a ledger, and what a record leans on only once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._kept: dict[str, Stored] = {}
        self._parsed: dict[str, Record] = {}

    async def head(self, fleet: str) -> Head | None:
        """The newest claim and its record, or None where the fleet has no chain.

        Raises:
            ConfigError: the claim was edited, and a person must act.
        """
        claim = await self._ledger.newest_claim(fleet)
        return None if claim is None else head_of(claim, await self._ledger.stored(claim.artifact_id))

    async def last_readable(self, fleet: str) -> Claimed | None:
        """The newest record that can be read, also where the claim or the record after it cannot."""
        for claim in await self._ledger.readable_claims(fleet):
            head = head_of(claim, await self._ledger.stored(claim.artifact_id))
            if head.record is not None:
                return Claimed(claim, head.record)
        return None

    async def notes(self, claims: Sequence[RecentClaim]) -> dict[int, tuple[Outcome, ...]]:
        """The notes that are there by now, by claim number."""
        found = {}
        for claim in claims:
            stored = await self._ledger.stored(claim.artifact_id)
            outcomes = stored.outcomes() if stored is not None else None
            if outcomes is not None:
                found[claim.number] = outcomes
        return found

    async def history(self, fleet: str, *, since: float = 0.0) -> tuple[ChainEntry, ...]:
        """A fleet's claimed records, oldest first, as far back as the chain can be followed unbroken.

        Unclaimed records count for nothing: only what the chain's links name, by artifact and by hash, is read.

        Args:
            fleet: its name.
            since: no further back than this; epoch seconds by the ledger's own clock.
        """
        claim = await self._ledger.newest_claim(fleet)
        if claim is None:
            return ()
        found = await self._ledger.stored_since(since)
        self._kept.update(found)
        chain: list[ChainEntry] = []
        artifact_id, sha256 = claim.artifact_id, claim.sha256
        while (stored := found.get(artifact_id)) is not None and digest(stored.text or "") == sha256:
            try:
                record = stored.record()
            except RecordError:
                break
            outcomes = stored.outcomes() or ()
            self._parsed[artifact_id] = record
            chain.append(ChainEntry(artifact_id, record, outcomes, stored.stored_at, stored.changed_at))
            if record.previous is None or record.previous.broken:
                break
            artifact_id, sha256 = record.previous.artifact_id, record.previous.sha256
        return tuple(reversed(chain))

    async def inputs(self, record: Record) -> Inputs:
        """The inputs of a stored decision, gathered from the records that hold them, so that it can be replayed.

        Raises:
            RecordError: a record that this one leans on is gone, or was edited.
        """
        values = {name: await self.section(record, name) for name in record.sections}
        link = record.previous
        if link is None or link.broken:
            return restore_inputs(record, values, Memory())
        before = await self._leaned_on(record, link.artifact_id, sha256=link.sha256)
        return restore_inputs(record, values, before.memory)

    async def fleet(self, record: Record) -> Fleet:
        """The fleet as it was when a record was decided.

        Raises:
            RecordError: it is gone, was edited, or this version does not take it any more.
        """
        value = await self.section(record, "fleet")
        if digest(canonical(value)) != record.sections["fleet"].sha256:
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
        if section.artifact_id is not None:
            holder = await self._leaned_on(record, section.artifact_id)
            if name not in holder.sections:
                raise RecordError(f"record {holder.number} of {record.fleet} has no section {name!r} to lean on")
            section = holder.sections[name]
        return encode(section.value)

    async def _leaned_on(self, record: Record, artifact_id: str, *, sha256: str = "") -> Record:
        """Another record, read once; where a hash is known, as it was then."""
        if artifact_id not in self._kept:
            stored = await self._ledger.stored(artifact_id)
            if stored is None:
                raise RecordError(
                    f"record {record.number} of {record.fleet} leans on artifact {artifact_id}, which is gone"
                )
            self._kept[artifact_id] = stored
        if sha256 and digest(self._kept[artifact_id].text or "") != sha256:
            raise RecordError(
                f"record {record.number} of {record.fleet} follows artifact {artifact_id}, which was edited since"
            )
        if artifact_id not in self._parsed:
            self._parsed[artifact_id] = self._kept[artifact_id].record()
        return self._parsed[artifact_id]
