"""The ledger in memory obeys the same words as the one on a server."""

import secrets
import time
from dataclasses import dataclass, field, replace

import pytest

from ebbflow.contracts import LedgerContract
from ebbflow.contracts.ledger import record_of
from ebbflow.core.ports import Ledger
from ebbflow.turn.memory_ledger import MemoryLedger


@dataclass
class MemoryWorld:
    """One ledger whose clock a test can move."""

    fleet: str = field(default_factory=lambda: f"c{secrets.token_hex(4)}")
    kept: MemoryLedger = field(default_factory=MemoryLedger)
    later_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.kept.clock = lambda: time.time() + self.later_seconds

    def ledger(self) -> Ledger:
        return self.kept

    async def pass_time(self, seconds: float) -> None:
        self.later_seconds += seconds

    async def delete(self, artifact_id: str) -> None:
        del self.kept.records[artifact_id]

    async def edit(self, artifact_id: str) -> None:
        stored = self.kept.records[artifact_id]
        self.kept.records[artifact_id] = replace(stored, text=f"{stored.text} ")

    async def numbers(self) -> set[int]:
        return set(self.kept.claims.get(self.fleet, {}))


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    async def world(self) -> MemoryWorld:
        return MemoryWorld()


@pytest.mark.anyio
async def test_a_deleted_record_does_not_give_its_name_to_the_next() -> None:
    ledger = MemoryLedger()
    first = await ledger.store(record_of("demo", 1), summary="")
    del ledger.records[first]
    assert await ledger.store(record_of("demo", 2), summary="") != first
