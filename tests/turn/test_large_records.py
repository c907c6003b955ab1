"""Records of large fleets: small while little changes, exact when read back, and what they lean on is watched."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from ebbflow.core.canonical import Plain, canonical, digest
from ebbflow.core.chain import Head, Stored
from ebbflow.core.errors import RecordError
from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.member import Member, MemberState
from ebbflow.core.record import Record
from ebbflow.core.sections import MOST_RECORDS
from ebbflow.decision.evaluate import evaluate
from ebbflow.decision.limits import Limits
from ebbflow.fleet.model import Fleet
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.results import Held
from tests.making import fleet_of
from tests.turn.outside import Outside
from tests.turn.test_turn import turn

pytestmark = pytest.mark.anyio

MOST_BYTES = 20_000
Work = Callable[[Member, random.Random], Member]


def busy(member: Member, chance: random.Random) -> Member:
    return replace(member, busy=True, idle_seconds=None)


def idle_by_our_looks(member: Member, chance: random.Random) -> Member:
    return replace(member, busy=False, idle_seconds=None)


def idle_by_the_masters_figure(member: Member, chance: random.Random) -> Member:
    """Which begins somewhere, and of each worker is a little before or after that of the others."""
    begun = 700.0 if member.idle_seconds is None else member.idle_seconds
    return replace(member, busy=False, idle_seconds=begun + 30.0 + chance.random() - 0.5)


def fleet_that_holds(count: int) -> Fleet:
    return fleet_of(("local/a", count), limits=Limits(min_workers=count, max_workers=count, min_idle_seconds=60))


def outside_of(count: int) -> Outside:
    """A world in which so many workers of the fleet serve."""
    outside = Outside()
    outside.ledger.kept_home = "h0me0"
    for place in range(count):
        name = f"demo-3f9c-{1 + place // 50}-{place % 50}"
        url = f"http://10.0.{place // 250}.{place % 250 + 1}:7801"
        states = InstanceState.RUNNING, MemberState.READY
        outside.host.rows[name] = Instance(name, f"{place}:1790000000", states[0], "demo", "h0me0", url)
        outside.queue.entries[name] = Member(name, f"{place}", states[1], url, busy=True, model="sdxl/base")
    return outside


async def live(outside: Outside, turns: int, work: Work = busy) -> None:
    """So many turns that hold."""
    chance, entries = random.Random(7), outside.queue.entries
    for _ in range(turns):
        entries |= {name: work(member, chance) for name, member in entries.items()}
        held = await turn(outside, fleet_that_holds(len(entries)))
        assert isinstance(held, Held), held


def texts(outside: Outside) -> list[str]:
    return [stored.text or "" for stored in outside.ledger.records.values()]


async def head_of(outside: Outside) -> Head:
    head = await ChainReader(outside.ledger).head("demo")
    assert head is not None
    return head


async def record_of(outside: Outside) -> Record:
    head = await head_of(outside)
    assert head.record is not None, head.broken
    return head.record


async def assert_replays(outside: Outside, *, count: int) -> None:
    """Each record of the chain decides again what it decided, to the byte."""
    reader = ChainReader(outside.ledger)
    entries = await reader.history("demo")
    assert len(entries) == count
    for entry in entries:
        again = evaluate(await reader.inputs(entry.record), await reader.fleet(entry.record))
        assert canonical(again.plan) == canonical(entry.record.plan), entry.record.number
        assert canonical(again.memory) == canonical(entry.record.memory), entry.record.number


@pytest.mark.parametrize("work", [busy, idle_by_our_looks, idle_by_the_masters_figure])
async def test_regression_a_turn_of_a_thousand_workers_left_four_hundred_kilobytes_when_only_durations_changed(
    work: Work,
) -> None:
    outside = outside_of(1000)
    await live(outside, 6, work)
    stored = [len(text.encode()) for text in texts(outside)]
    assert stored[0] > 10 * MOST_BYTES
    # What adopting them changed in all of them may take a second base.
    assert sorted(stored)[-3] <= MOST_BYTES, stored
    assert max(stored[-2:]) <= MOST_BYTES, stored
    await assert_replays(outside, count=6)


async def test_a_small_fleet_stores_no_changes_and_asks_for_nothing_more() -> None:
    outside = outside_of(8)
    await live(outside, 3)
    assert all('"change":' not in text and "memory_by" not in text for text in texts(outside))
    assert await asked_for_by_a_turn(outside) == ["artifact-3"]


async def test_the_head_of_a_large_fleet_takes_one_request_more_and_the_turn_none_besides() -> None:
    outside = outside_of(60)
    await live(outside, 3, idle_by_the_masters_figure)
    assert await asked_for_by_a_turn(outside) == ["artifact-3", "artifact-1"]


async def asked_for_by_a_turn(outside: Outside) -> list[str]:
    asked = []

    class Counting(MemoryLedger):
        async def stored(self, artifact_id: str) -> Stored | None:
            asked.append(artifact_id)
            return await super().stored(artifact_id)

    ledger = outside.ledger
    outside.ledger = Counting(ledger.clock, ledger.kept_home, ledger.records, ledger.claims, ledger.claimed_at)
    outside.ledger._count = ledger._count
    await live(outside, 1)
    return asked


async def test_over_a_long_life_bases_are_left_behind_and_every_decision_replays() -> None:
    outside = outside_of(30)
    turns = MOST_RECORDS + 20
    await live(outside, turns, idle_by_the_masters_figure)
    sizes = [len(text) for text in texts(outside)]
    whole = [number for number, text in enumerate(texts(outside), 1) if '"memory":' in text]
    assert whole[:1] == [1]
    assert whole[-1] > 1
    assert 1 <= len(whole) - 1 <= 4, f"records in full: {whole}"
    assert sum(sizes) < turns * sizes[0] / 6
    await assert_replays(outside, count=turns)


async def test_workers_that_take_and_finish_work_replay_while_bases_change() -> None:
    def at_work_now_and_then(member: Member, chance: random.Random) -> Member:
        return (busy if chance.random() < 0.5 else idle_by_the_masters_figure)(member, chance)

    outside = outside_of(60)
    await live(outside, 12, at_work_now_and_then)
    assert sum('"memory":' in text for text in texts(outside)) < 12
    await assert_replays(outside, count=12)


async def test_a_large_fleet_goes_on_from_a_record_of_format_2() -> None:
    outside = outside_of(60)
    await live(outside, 1, idle_by_the_masters_figure)
    before = replace(await record_of(outside), format=2)
    outside.ledger.records["artifact-1"] = Stored(before.text())
    claim = outside.ledger.claims["demo"][1]
    outside.ledger.claims["demo"][1] = replace(claim, sha256=digest(before.text()))
    await live(outside, 4, idle_by_the_masters_figure)
    assert (await record_of(outside)).chain == before.chain
    assert [("memory_by" in text, '"format":2' in text) for text in texts(outside)[:2]] == [
        (False, True),
        (True, False),
    ]
    await assert_replays(outside, count=5)


async def leaning() -> Outside:
    """A chain whose head leans on its first record."""
    outside = outside_of(60)
    await live(outside, 3, idle_by_the_masters_figure)
    assert (await record_of(outside)).base_id == "artifact-1"
    return outside


async def lose(outside: Outside) -> None:
    del outside.ledger.records["artifact-1"]


async def edit(outside: Outside) -> None:
    stored = outside.ledger.records["artifact-1"]
    assert stored.text is not None
    outside.ledger.records["artifact-1"] = replace(
        stored, text=stored.text.replace("http://10.0.0.7:", "http://10.0.0.8:")
    )


async def garble(outside: Outside) -> None:
    outside.ledger.records["artifact-1"] = Stored("[" * 100_000)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose, "record 3 cannot be read: its memory leans on artifact artifact-1, which is gone or cannot be read"),
        (garble, "record 3 cannot be read: its memory leans on artifact artifact-1, which is gone or cannot be read"),
        (edit, "record 3 cannot be read: its memory does not fit its hash: artifact artifact-1, on which it leans"),
    ],
)
async def test_a_base_that_is_lost_or_edited_breaks_the_chain_as_the_head_itself_does(
    harm: Callable[[Outside], object], said: str
) -> None:
    outside = await leaning()
    await harm(outside)  # type: ignore[misc]
    head = await head_of(outside)
    assert head.record is None
    assert head.broken.startswith(said)
    before = set(outside.host.launched)
    await live(outside, 2, idle_by_the_masters_figure)
    record = await record_of(outside)
    assert (record.number, record.base_id) == (5, "artifact-4"), "a new chain leans on nothing of the old one"
    assert len(record.memory.workers) == 60
    assert set(outside.host.launched) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in": {"": {"set": {"complete": False}}}}, "record 3 of demo: section 'members' does not fit its hash"),
        ({"set": {"": {}}}, "record 3 of demo: section 'members' does not fit its hash"),
        ({"mood": "fine"}, "record 3 of demo: section 'members': its change does not fit, at 'mood'"),
        ([[10**9, 1]], "record 3 of demo: section 'members': its change does not fit"),
        ({"in": {"": {"ms_each": [[10**9, 1]]}}}, "record 3 of demo: section 'members': its change does not fit"),
        ("x" * 9000, "record 3 of demo: section 'members': its change does not fit"),
    ],
    ids=["another", "another value", "no part", "no object", "without end", "text"],
)
async def test_a_garbled_change_of_a_section_is_refused_by_name(change: Plain, said: str) -> None:
    outside = await leaning()
    record = await record_of(outside)
    section = replace(record.sections["members"], change=change)
    garbled = replace(record, sections={**record.sections, "members": section})
    with pytest.raises(RecordError) as refused:
        await ChainReader(outside.ledger).inputs(garbled)
    assert str(refused.value).startswith(said)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("change", [{"mood": "fine"}, {"in": {"": {"ms": 10**40}}}, 7, {}])
async def test_a_garbled_change_of_the_memory_is_no_record(change: Plain) -> None:
    outside = await leaning()
    record = await record_of(outside)
    assert record.memory_by is not None
    text = replace(record, memory_by=replace(record.memory_by, change=change)).text()
    claim = outside.ledger.claims["demo"][3]
    outside.ledger.records[claim.artifact_id] = Stored(text)
    outside.ledger.claims["demo"][3] = replace(claim, sha256=digest(text))
    head = await head_of(outside)
    assert head.record is None
    assert head.broken.startswith("record 3 cannot be read: its memory ")


async def test_a_section_that_leans_on_a_lost_record_says_so() -> None:
    outside = await leaning()
    record = await record_of(outside)
    await lose(outside)
    with pytest.raises(
        RecordError, match=r"record 3 of demo: section '.*': leans on artifact artifact-1, which is gone"
    ):
        await ChainReader(outside.ledger).inputs(record)
