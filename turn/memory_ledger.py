"""A ledger in memory: for tests, searches and trying things out. It obeys the same contract as the one on a server."""

import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ebbflow.core.canonical import digest, encode
from ebbflow.core.chain import Claim, Stored, claim_age
from ebbflow.core.ids import check_home
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.turn.words import random_word

PER_PAGE = 200


@dataclass(slots=True)
class MemoryLedger:
    """Records and claims of this process. Its methods do not wait, so each is one step.

    Args:
        clock: epoch seconds.
    """

    clock: Callable[[], float] = time.time
    kept_home: str | None = None
    records: dict[str, Stored] = field(default_factory=dict)
    """By artifact id."""
    claims: dict[str, dict[int, Claim]] = field(default_factory=dict)
    """By fleet and number; their age is counted from `claimed_at`."""
    claimed_at: dict[tuple[str, int], float] = field(default_factory=dict)
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def home(self, *, create: bool) -> str:
        """The random word of this ledger."""
        if self.kept_home is None and not create:
            return random_word(5)
        if self.kept_home is None:
            self.kept_home = random_word(5)
        return check_home(self.kept_home)

    async def now(self) -> float:
        """By its clock, to the second below."""
        return float(int(self.clock()))

    async def newest_claim(self, fleet: str) -> Claim | None:
        """The claim with the highest number, with its age to the second below."""
        return next(iter(await self.readable_claims(fleet)), None)

    async def readable_claims(self, fleet: str) -> Sequence[Claim]:
        """All of them; nobody edits them here."""
        return [
            replace(claim, age_seconds=claim_age(float(int(self.clock() - self.claimed_at[fleet, number]))))
            for number, claim in sorted(self.claims.get(fleet, {}).items(), reverse=True)
        ]

    async def stored(self, artifact_id: str) -> Stored | None:
        """One record with its note."""
        return self.records.get(artifact_id)

    async def stored_all(self, artifact_ids: Sequence[str]) -> Mapping[str, Stored]:
        """Those of these records that are there."""
        return {name: self.records[name] for name in artifact_ids if name in self.records}

    async def stored_since(self, at_seconds: float) -> Mapping[str, Stored]:
        """Every record that was stored since then."""
        return {name: stored for name, stored in self.records.items() if stored.stored_at >= at_seconds}

    async def stored_pages(self, at_seconds: float) -> AsyncIterator[Mapping[str, Stored]]:
        """The same, a page at a time."""
        found = sorted((await self.stored_since(at_seconds)).items(), key=lambda each: each[1].stored_at)[::-1]
        for place in range(0, len(found), PER_PAGE):
            yield dict(found[place : place + PER_PAGE])

    async def store(self, record: Record, *, summary: str) -> str:
        """Store a record, unclaimed. Its summary is for people who look at a server."""
        artifact_id = f"artifact-{next(self._count)}"
        self.records[artifact_id] = Stored(record.text(), None, self.clock(), self.clock())
        return artifact_id

    async def claim(self, record: Record, artifact_id: str, *, interval_seconds: float) -> Claim | None:
        """Claim a record's number, and clear away what is old."""
        claims = self.claims.setdefault(record.fleet, {})
        ours = Claim(record.number, artifact_id, digest(record.text()), record.turn.budget_seconds)
        if max(claims, default=0) > record.number:
            return None
        if claims.setdefault(record.number, ours) != ours:
            return None
        self.claimed_at.setdefault((record.fleet, record.number), self.clock())
        oldest = self.claimed_at[record.fleet, record.number] - max(10 * interval_seconds, 600.0)
        for number in [number for number in claims if self.claimed_at[record.fleet, number] < oldest]:
            del claims[number]
        return ours

    async def note(self, record: Record, claim: Claim, outcomes: Sequence[Outcome]) -> None:
        """Attach what came of a claim's actions; where the record is gone, the note is lost with it."""
        kept = self.records.get(claim.artifact_id)
        if kept is not None:
            self.records[claim.artifact_id] = replace(kept, note=encode(tuple(outcomes)), changed_at=self.clock())
