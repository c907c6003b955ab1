"""Claims and the head of a fleet's chain of records.

Number n+1 is claimed by creating one name that the ledger gives to one caller only. Nothing is locked, leased or
updated, so nothing can stay stuck when the claimant dies.
"""

from dataclasses import dataclass

from ebbflow.core.canonical import Plain, decode, digest
from ebbflow.core.errors import RecordError
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record, parse_record
from ebbflow.core.sections import Base

ROUNDED_SECONDS = 2.0
"""How far two timestamps of one ledger may be apart through rounding."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act on one record."""

    number: int
    artifact_id: str
    sha256: str
    """Of the record's text."""
    budget_seconds: float
    age_seconds: float = 0.0
    """By the ledger's own timestamps, rounded down. Below zero: its clock was set back since."""


def claim_age(seconds: float) -> float:
    """The age of a claim from two timestamps, of which the later one may be to the second below.

    Args:
        seconds: the difference; less than `-ROUNDED_SECONDS` only where the clock was set back in between.
    """
    return seconds if seconds < -ROUNDED_SECONDS else max(0.0, seconds)


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as its ledger keeps it, with the note that was attached to it. Neither has been looked into yet."""

    text: str | None
    """None: what is kept there holds no text."""
    note: Plain = None
    stored_at: float = 0.0
    """Epoch seconds, UTC, by the ledger's own clock."""
    changed_at: float = 0.0
    """When the note was attached; as `stored_at` while there is none."""

    def record(self, base: Base | None = None) -> Record:
        """Read the record; where its memory leans on another one, with that.

        Raises:
            RecordError: says what is wrong with it.
        """
        return parse_record(self.text or "", base)

    def outcomes(self) -> tuple[Outcome, ...] | None:
        """What the note tells; None while there is none, and where it cannot be read: the next listing shows more."""
        if self.note is None:
            return None
        try:
            return decode(tuple[Outcome, ...], self.note, where="outcomes")
        except RecordError:
            return None


@dataclass(frozen=True, slots=True)
class Head:
    """The newest claim of a fleet and what its record says."""

    claim: Claim
    record: Record | None
    broken: str = ""
    """Why there is no record: it was deleted, edited, or cannot be read."""
    outcomes: tuple[Outcome, ...] | None = None
    """Its note; None while there is none."""


def head_of(claim: Claim, stored: Stored | None, base: Base | None = None) -> Head:
    """What a claim and the record behind it say together, also where the record is no longer what was claimed.

    Args:
        claim: of the record.
        stored: the record, as its ledger keeps it; None: it is gone.
        base: the record that its memory leans on, where there is one.
    """
    if stored is None:
        return Head(claim, None, f"record {claim.number} was deleted (artifact {claim.artifact_id})")
    if stored.text is None or digest(stored.text) != claim.sha256:
        return Head(claim, None, f"record {claim.number} was edited: it no longer fits the hash of its claim")
    try:
        return Head(claim, stored.record(base), "", stored.outcomes())
    except RecordError as error:
        return Head(claim, None, f"record {claim.number} cannot be read: {error}")
