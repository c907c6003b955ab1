"""The tests that every ledger passes. Public: ledgers outside this repository subclass it too.

Write a world, which is one ledger as a test can move it, and hand it in::

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        async def world(self) -> AsyncIterator[MyWorld]:
            async with my_world() as world:
                yield world

Tests are async: the test suite needs the fixture `anyio_backend` returning `"asyncio"`.
"""

# ruff: noqa: D102  (a test's name is its sentence)

import asyncio
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import pytest

from ebbflow.core.canonical import digest
from ebbflow.core.chain import Claim, head_of
from ebbflow.core.ids import check_home
from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.member import Demand, MasterCaps, MemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, MasterLook, ProviderLook, TurnFacts
from ebbflow.core.plan import Outcome, Plan, Result, Verb
from ebbflow.core.ports import Ledger
from ebbflow.core.record import Record, make_record

IDLE = Demand()
INTERVAL_SECONDS = 60.0
CLOCK_SLACK_SECONDS = 3.0
"""A clock may be read to the second below, and lag a little."""
OUTCOME = Outcome(Verb.LAUNCH, "contract-3f9c-1-0", "local-provider/x", Result.DONE, "started")


class LedgerWorld(Protocol):
    """One ledger, as a test can move it. Nothing here goes through the adapter under test."""

    fleet: str
    """A fleet's name that nobody has used; it is no longer than 18 characters."""

    def ledger(self) -> Ledger:
        """A new object, as the next run makes it."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let everything that was claimed in this world become older."""
        ...

    async def delete(self, artifact_id: str) -> None:
        """Somebody deletes a record."""
        ...

    async def edit(self, artifact_id: str) -> None:
        """Somebody edits a record's text."""
        ...

    async def numbers(self) -> set[int]:
        """The numbers of the fleet that are claimed."""
        ...


def record_of(fleet: str, number: int, *, headline: str = "", demand: Demand = IDLE) -> Record:
    """A record that holds; different headlines make different records of one number."""
    inputs = Inputs(
        fleet,
        "abcde",
        "3f9c",
        number,
        TurnFacts(0.0, 0.8 * INTERVAL_SECONDS),
        demand,
        MemberList(),
        MasterLook(MasterCaps()),
        (ProviderLook("local-provider/x", ProviderCaps("here"), InstanceList()),),
        Memory(),
    )
    return make_record(
        inputs,
        fleet={},
        plan=Plan(headline, None, 0, 0),
        memory=Memory(),
        flow="autoscale",
        flow_run_id=str(uuid4()),
        before=None,
        link=None,
    )


async def claim_once(ledger: Ledger, record: Record) -> Claim | None:
    """What a turn does between its decision and its actions."""
    artifact_id = await ledger.store(record, summary=record.plan.headline)
    return await ledger.claim(record, artifact_id, interval_seconds=INTERVAL_SECONDS)


@pytest.mark.anyio
class LedgerContract:
    """Subclass it, and override the fixture `world`."""

    @pytest.fixture
    async def world(self) -> LedgerWorld:
        raise NotImplementedError("a subclass of LedgerContract overrides the fixture `world`")

    async def test_a_fleet_without_a_chain_has_no_claim(self, world: LedgerWorld) -> None:
        assert await world.ledger().newest_claim(world.fleet) is None

    async def test_a_record_is_read_back_as_it_was_stored(self, world: LedgerWorld) -> None:
        record = record_of(world.fleet, 1)
        began = await world.ledger().now()
        artifact_id = await world.ledger().store(record, summary="a few words")
        stored = await world.ledger().stored(artifact_id)
        assert stored is not None
        assert stored.text == record.text()
        assert stored.record() == record
        assert stored.outcomes() is None
        assert -CLOCK_SLACK_SECONDS <= stored.stored_at - began <= 60.0

    async def test_a_record_counts_for_nothing_until_it_is_claimed(self, world: LedgerWorld) -> None:
        await world.ledger().store(record_of(world.fleet, 1), summary="")
        assert await world.ledger().newest_claim(world.fleet) is None

    async def test_a_claim_names_its_record_and_fits_it(self, world: LedgerWorld) -> None:
        record = record_of(world.fleet, 1)
        claimed = await claim_once(world.ledger(), record)
        found = await world.ledger().newest_claim(world.fleet)
        assert claimed is not None
        assert found is not None
        assert replace(found, age_seconds=0.0) == replace(claimed, age_seconds=0.0)
        assert (found.number, found.sha256, found.budget_seconds) == (1, digest(record.text()), 48.0)
        assert 0.0 <= found.age_seconds < 60.0
        assert head_of(found, await world.ledger().stored(found.artifact_id)).record == record

    async def test_of_twenty_that_claim_one_number_one_gets_it(self, world: LedgerWorld) -> None:
        records = [record_of(world.fleet, 1, headline=str(each)) for each in range(20)]
        claims = await asyncio.gather(*(claim_once(world.ledger(), record) for record in records))
        (won,) = [claim for claim in claims if claim is not None]
        found = await world.ledger().newest_claim(world.fleet)
        assert found is not None
        assert found.artifact_id == won.artifact_id

    async def test_a_claim_of_the_future_is_one_from_before_its_clock_was_set_back(self, world: LedgerWorld) -> None:
        assert await claim_once(world.ledger(), record_of(world.fleet, 1)) is not None
        await world.pass_time(-3600.0)
        found = await world.ledger().newest_claim(world.fleet)
        assert found is not None
        assert -3600.0 - CLOCK_SLACK_SECONDS <= found.age_seconds < -3500.0

    async def test_claims_that_can_be_read_come_the_newest_first(self, world: LedgerWorld) -> None:
        assert list(await world.ledger().readable_claims(world.fleet)) == []
        for number in (1, 2, 3):
            assert await claim_once(world.ledger(), record_of(world.fleet, number)) is not None
        found = await world.ledger().readable_claims(world.fleet)
        assert [claim.number for claim in found] == [3, 2, 1]
        newest = await world.ledger().newest_claim(world.fleet)
        assert newest is not None
        assert found[0].artifact_id == newest.artifact_id

    async def test_who_asks_again_with_the_same_record_has_it_still(self, world: LedgerWorld) -> None:
        record = record_of(world.fleet, 1)
        artifact_id = await world.ledger().store(record, summary="")
        first, again = [
            await world.ledger().claim(record, artifact_id, interval_seconds=INTERVAL_SECONDS) for _ in range(2)
        ]
        assert first is not None
        assert again == first

    async def test_a_number_that_somebody_else_has_is_not_given_again(self, world: LedgerWorld) -> None:
        assert await claim_once(world.ledger(), record_of(world.fleet, 1, headline="one")) is not None
        assert await claim_once(world.ledger(), record_of(world.fleet, 1, headline="other")) is None

    async def test_a_claim_below_the_newest_is_refused_and_leaves_nothing(self, world: LedgerWorld) -> None:
        assert await claim_once(world.ledger(), record_of(world.fleet, 3)) is not None
        assert await claim_once(world.ledger(), record_of(world.fleet, 2)) is None
        found = await world.ledger().newest_claim(world.fleet)
        assert found is not None
        assert found.number == 3
        assert await world.numbers() == {3}

    async def test_a_claim_becomes_older_by_the_ledgers_own_clock(self, world: LedgerWorld) -> None:
        await claim_once(world.ledger(), record_of(world.fleet, 1))
        await world.pass_time(100.0)
        found = await world.ledger().newest_claim(world.fleet)
        assert found is not None
        assert 100.0 - CLOCK_SLACK_SECONDS <= found.age_seconds <= 160.0

    async def test_old_claims_are_cleared_away_and_never_the_newest(self, world: LedgerWorld) -> None:
        for number in (1, 2):
            await claim_once(world.ledger(), record_of(world.fleet, number))
        await world.pass_time(5 * INTERVAL_SECONDS)
        await claim_once(world.ledger(), record_of(world.fleet, 3))
        assert await world.numbers() == {1, 2, 3}, "ten intervals, at least ten minutes"
        await world.pass_time(40 * INTERVAL_SECONDS)
        await claim_once(world.ledger(), record_of(world.fleet, 4))
        assert await world.numbers() == {4}

    async def test_a_fleet_whose_name_begins_with_anothers_has_a_chain_of_its_own(self, world: LedgerWorld) -> None:
        await claim_once(world.ledger(), record_of(f"{world.fleet}-x", 7))
        assert await world.ledger().newest_claim(world.fleet) is None
        assert await claim_once(world.ledger(), record_of(world.fleet, 1)) is not None

    async def test_a_note_is_read_beside_its_record_which_stays_as_it_was(self, world: LedgerWorld) -> None:
        record = record_of(world.fleet, 1)
        claimed = await claim_once(world.ledger(), record)
        assert claimed is not None
        await world.ledger().note(record, claimed, [OUTCOME])
        stored = await world.ledger().stored(claimed.artifact_id)
        assert stored is not None
        assert stored.outcomes() == (OUTCOME,)
        assert digest(stored.text or "") == claimed.sha256
        assert stored.changed_at >= stored.stored_at

    async def test_a_note_on_a_record_that_is_gone_is_lost_with_it(self, world: LedgerWorld) -> None:
        record = record_of(world.fleet, 1)
        claimed = await claim_once(world.ledger(), record)
        assert claimed is not None
        await world.delete(claimed.artifact_id)
        await world.ledger().note(record, claimed, [OUTCOME])
        assert await world.ledger().stored(claimed.artifact_id) is None

    async def test_a_record_that_was_edited_no_longer_fits_its_claim(self, world: LedgerWorld) -> None:
        claimed = await claim_once(world.ledger(), record_of(world.fleet, 1))
        assert claimed is not None
        await world.edit(claimed.artifact_id)
        head = head_of(claimed, await world.ledger().stored(claimed.artifact_id))
        assert head.record is None
        assert "edited" in head.broken

    async def test_what_was_stored_since_a_time_is_found_claimed_or_not(self, world: LedgerWorld) -> None:
        ledger = world.ledger()
        began = await ledger.now() - CLOCK_SLACK_SECONDS
        names = [await ledger.store(record_of(world.fleet, number), summary="") for number in (1, 2)]
        found = await world.ledger().stored_since(began)
        assert [found[name].record().number for name in names] == [1, 2]
        assert await world.ledger().stored_since(began + 3600.0) == {}

    async def test_pages_hold_what_was_stored_since_a_time_the_newest_first(self, world: LedgerWorld) -> None:
        ledger = world.ledger()
        began = await ledger.now() - CLOCK_SLACK_SECONDS
        stored = [await ledger.store(record_of(world.fleet, each), summary="") for each in (1, 2)]
        pages = [page async for page in world.ledger().stored_pages(began)]
        assert [name for page in pages for name in page if name in stored] == [stored[1], stored[0]]
        assert [name async for page in world.ledger().stored_pages(began + 3600.0) for name in page] == []

    async def test_several_records_are_read_at_once_without_those_that_are_gone(self, world: LedgerWorld) -> None:
        records = [record_of(world.fleet, number) for number in (1, 2, 3)]
        claims = [claim for record in records if (claim := await claim_once(world.ledger(), record)) is not None]
        names = [claim.artifact_id for claim in claims]
        await world.ledger().note(records[0], claims[0], [OUTCOME])
        await world.delete(names[1])
        found = await world.ledger().stored_all([*names, "no id of any ledger"])
        assert {name: stored.record() for name, stored in found.items()} == {names[0]: records[0], names[2]: records[2]}
        assert [found[name].outcomes() for name in (names[0], names[2])] == [(OUTCOME,), None]

    async def test_one_home_is_made_however_many_ask_at_once(self, world: LedgerWorld) -> None:
        ledger = world.ledger()
        homes = await asyncio.gather(*(ledger.home(create=True) for _ in range(10)))
        assert len(set(homes)) == 1
        assert check_home(homes[0]) == await world.ledger().home(create=False)
