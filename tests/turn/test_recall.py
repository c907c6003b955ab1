"""Which records a person asks about, and what is said where there is none such."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest

from ebbflow.core.chain import Stored
from ebbflow.core.errors import NotRecorded, RecordError
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.moments import moment
from ebbflow.turn.recall import DAY_SECONDS, Recall, workers_of
from tests.turn.lived import BEGAN, PAUSE_SECONDS, Lived, artifact, lived
from tests.turn.test_turn import FLEET

pytestmark = pytest.mark.anyio
WEEK_SECONDS = 7 * DAY_SECONDS


def recall_of(life: Lived) -> Recall:
    return Recall(life.outside.ledger, FLEET.name)


async def test_the_newest_record_is_there_however_long_ago_it_was() -> None:
    life = await lived()
    life.outside.clock.now += 90 * DAY_SECONDS
    assert (await recall_of(life).newest()).record.number == 11


@pytest.mark.parametrize(
    ("since_began", "number"),
    [(30.0, 1), (59.9, 1), (60.0, 2), (150.0, 5), (150.0 + PAUSE_SECONDS - 1, 5), (5000.0, 11)],
)
async def test_of_a_time_the_newest_turn_then_or_before_is_meant(since_began: float, number: int) -> None:
    life = await lived()
    assert (await recall_of(life).at(BEGAN + since_began)).record.number == number


async def test_a_time_before_the_past_is_refused_with_what_there_is() -> None:
    life = await lived()
    first, last = (moment(life.stored(number).stored_at) for number in (1, 11))
    words = f"there is what lies between record 1 of {first} and record 11 of {last}$"
    with pytest.raises(NotRecorded, match=words):
        await recall_of(life).at(BEGAN + 29.0)


@pytest.mark.parametrize("asked", ["run-05", "RUN-05"])
async def test_the_record_of_a_run_is_found(asked: str) -> None:
    life = await lived()
    assert (await recall_of(life).of_run(asked, most_seconds=WEEK_SECONDS)).record.number == 5


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ("run-99", NotRecorded, r"has no record of run 'run-99' \(one that was skipped leaves none\)"),
        ("run-0", ValueError, "begins several ids: run-01, run-02"),
    ],
)
async def test_a_run_that_is_not_one_of_its_own_is_refused(asked: str, error: type[Exception], words: str) -> None:
    life = await lived()
    with pytest.raises(error, match=words):
        await recall_of(life).of_run(asked, most_seconds=WEEK_SECONDS)


@pytest.mark.parametrize(
    ("count", "numbers"), [(1, [11]), (3, [9, 10, 11]), (11, [*range(1, 12)]), (500, [*range(1, 12)])]
)
async def test_of_the_last_records_there_are_as_many_as_were_asked_for_or_all(count: int, numbers: list[int]) -> None:
    past = await recall_of(await lived()).last(count)
    assert [entry.record.number for entry in past.entries] == numbers
    assert past.is_cut is (count < 11)


async def test_the_life_of_a_worker_is_found_by_the_beginning_of_its_id() -> None:
    life = await lived()
    past, meant = await recall_of(life).life_of(life.second[:-1] + "1", most_seconds=WEEK_SECONDS)
    assert (meant, len(past.entries), past.is_cut) == (life.second, 11, False)


async def test_of_a_long_life_only_what_tells_of_it_is_kept() -> None:
    life = await lived()
    past, _ = await recall_of(life).life_of(life.second, most_seconds=WEEK_SECONDS)
    known = {worker for entry in past.entries for worker in workers_of(entry.record)}
    kept = {name for entry in past.entries for name in entry.record.sections}
    assert (known, kept) == ({life.second}, {"fleet"})


async def test_an_unknown_worker_is_refused_with_those_that_there_are() -> None:
    life = await lived()
    with pytest.raises(NotRecorded, match=f"no record of a worker 'nobody'; .*; its newest record knows {life.first}$"):
        await recall_of(life).life_of("nobody", most_seconds=WEEK_SECONDS)
    with pytest.raises(ValueError, match="begins several ids: "):
        await recall_of(life).life_of("demo-", most_seconds=WEEK_SECONDS)


async def test_a_worker_from_before_what_is_looked_at_is_named_with_how_to_look_further() -> None:
    life = await lived()
    with pytest.raises(NotRecorded, match="--since looks further back"):
        await recall_of(life).life_of(life.second, most_seconds=30.0)


async def test_a_worker_that_left_long_ago_is_found_within_the_week() -> None:
    life = await lived()
    await life.turn(after=5 * DAY_SECONDS)
    _, meant = await recall_of(life).life_of(life.second, most_seconds=WEEK_SECONDS)
    assert meant == life.second


async def test_only_as_much_is_read_as_is_asked_for() -> None:
    life, since = await lived(), []

    class Counting(MemoryLedger):
        def stored_pages(self, at_seconds: float) -> AsyncIterator[Mapping[str, Stored]]:
            since.append(at_seconds)
            return super().stored_pages(at_seconds)

    known = life.outside.ledger
    ledger = Counting(known.clock, known.kept_home, known.records, known.claims, known.claimed_at)
    await Recall(ledger, FLEET.name).newest()
    assert since == [int(life.outside.clock.now) - 600.0]


async def test_a_fleet_without_a_record_is_told_from_one_that_lost_it() -> None:
    life = Lived()
    for asked in (recall_of(life).newest(), recall_of(life).at(BEGAN), recall_of(life).last(5)):
        with pytest.raises(NotRecorded, match="has no record yet: its first turn writes one"):
            await asked
    life = await lived()
    life.keep(11, None)
    with pytest.raises(RecordError, match="record 11 was deleted"):
        await recall_of(life).newest()


async def test_an_edited_record_ends_the_past_and_is_named() -> None:
    life = await lived()
    life.edit(4)
    past = await recall_of(life).last(500)
    assert [entry.record.number for entry in past.entries] == [*range(5, 12)]
    assert past.broken == "record 4 was edited: it no longer fits the hash that the chain has of it"
    with pytest.raises(RecordError, match="no further back can be read: record 4 was edited"):
        await recall_of(life).at(BEGAN + 60.0)


async def test_a_record_that_was_cut_off_ends_the_past_too() -> None:
    life = await lived()
    life.keep(11, (life.stored(11).text or "")[:-20])
    with pytest.raises(RecordError, match="record 11 was edited"):
        await recall_of(life).last(5)


async def test_a_record_of_a_format_that_is_not_known_ends_the_past_with_those_that_are() -> None:
    life = await lived()
    life.forge('"format":3', '"format":9')
    with pytest.raises(
        RecordError, match="record 11 cannot be read: record has format 9, this version reads 1, 2 and 3"
    ):
        await recall_of(life).newest()


async def test_a_new_chain_begins_where_the_one_before_it_was_lost() -> None:
    life = await lived()
    life.keep(11, None)
    await life.turn()
    past = await recall_of(life).last(500)
    assert ([entry.record.number for entry in past.entries], past.broken[:21]) == ([12], "record 11 was deleted")


async def test_a_record_that_is_kept_without_a_text_is_no_record() -> None:
    life = await lived()
    life.outside.ledger.records[artifact(11)] = replace(life.stored(11), text=None)
    with pytest.raises(RecordError, match="record 11 was edited"):
        await recall_of(life).newest()
