"""The one reader of the chain: what it reads it has compared, and what it leans on it reads once."""

from dataclasses import replace

import pytest

from ebbflow.core.chain import Stored
from ebbflow.core.errors import RecordError
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.results import Acted, Held
from tests.turn.outside import Outside
from tests.turn.test_turn import FLEET, turn

pytestmark = pytest.mark.anyio


async def lived(turns: int = 4) -> Outside:
    outside = Outside()
    for _ in range(turns):
        assert isinstance(await turn(outside), Acted | Held)
    return outside


def edit(outside: Outside, number: int, before: str, after: str) -> None:
    """Change the text of one record."""
    name = outside.ledger.claims[FLEET.name][number].artifact_id
    stored = outside.ledger.records[name]
    assert stored.text is not None
    assert before in stored.text
    outside.ledger.records[name] = replace(stored, text=stored.text.replace(before, after))


async def test_the_history_is_as_long_as_the_chain_is_unbroken() -> None:
    outside = await lived()
    entries = await ChainReader(outside.ledger).history(FLEET.name)
    assert [entry.record.number for entry in entries] == [1, 2, 3, 4]
    assert [bool(entry.outcomes) for entry in entries] == [True, False, False, False]
    edit(outside, 2, "queue", "Queue")
    assert [entry.record.number for entry in await ChainReader(outside.ledger).history(FLEET.name)] == [3, 4]


async def test_only_what_was_stored_since_a_time_is_read() -> None:
    outside = await lived()
    entries = await ChainReader(outside.ledger).history(FLEET.name, since=outside.clock.now - 30.0)
    assert [entry.record.number for entry in entries] == [3, 4]


async def test_an_edited_memory_is_not_replayed() -> None:
    outside = await lived()
    (*_, last) = await ChainReader(outside.ledger).history(FLEET.name)
    edit(outside, 3, '"memory":{', '"memory":{"seconds_since_stop":77,')
    with pytest.raises(RecordError, match="which was edited since"):
        await ChainReader(outside.ledger).inputs(last.record)


async def test_an_edited_fleet_is_not_given_out() -> None:
    outside = await lived()
    (*_, last) = await ChainReader(outside.ledger).history(FLEET.name)
    edit(outside, 1, '"max_workers":4', '"max_workers":9')
    with pytest.raises(RecordError, match="its fleet does not fit its hash"):
        await ChainReader(outside.ledger).fleet(last.record)


async def test_a_record_that_leans_on_one_that_is_gone_says_on_which() -> None:
    outside = await lived()
    (first, *_, last) = await ChainReader(outside.ledger).history(FLEET.name)
    del outside.ledger.records[first.artifact_id]
    with pytest.raises(RecordError, match=f"leans on artifact {first.artifact_id}, which is gone"):
        await ChainReader(outside.ledger).inputs(last.record)


async def test_what_records_lean_on_is_read_once() -> None:
    outside = await lived()
    asked: list[str] = []
    ledger = outside.ledger

    class Counting(type(ledger)):  # type: ignore[misc]
        async def stored(self, artifact_id: str) -> Stored | None:
            asked.append(artifact_id)
            found: Stored | None = await super().stored(artifact_id)
            return found

    counting = Counting(ledger.clock, ledger.kept_home, ledger.records, ledger.claims, ledger.claimed_at)
    reader = ChainReader(counting)
    head = await reader.head(FLEET.name)
    assert head is not None
    assert head.record is not None
    for _ in range(3):
        await reader.inputs(head.record)
        await reader.fleet(head.record)
    assert len(asked) == len(set(asked))
