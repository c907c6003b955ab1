"""Claims and the head of a fleet's chain of records.

Number n+1 is claimed by creating one name that the server gives to one caller only. Nothing is locked, leased or
updated, so nothing can stay stuck when the claimant dies.
"""

import re
from dataclasses import dataclass

from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record

HOME_VARIABLE = "ebbflow_home"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act on one record."""

    number: int
    artifact_id: str
    sha256: str
    """Of the record's text."""
    budget_seconds: float
    age_seconds: float = 0.0
    """By the server's own timestamps, rounded down."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest claim of a fleet and what its record says."""

    claim: Claim
    record: Record | None
    broken: str = ""
    """Why there is no record: it was deleted, edited, or cannot be read."""
    outcomes: tuple[Outcome, ...] | None = None
    """Its note; None while there is none."""


def claim_name(fleet: str, number: int) -> str:
    """The name that is created to claim a number."""
    return f"ebbflow_{fleet}_{number}"


def claim_number(fleet: str, name: str) -> int | None:
    """The number that a name claims for this fleet, or None for any other name."""
    found = re.fullmatch(rf"ebbflow_{re.escape(fleet)}_(\d+)", name)
    return int(found[1]) if found else None
