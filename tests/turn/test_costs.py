"""What fleets have cost: by the very rule of their own sums, and with every gap named."""

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from ebbflow.core.instance import Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.record import memory_leans_on
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.costing import read_costs
from ebbflow.turn.costs import By, Costs
from tests.making import changed
from tests.turn.outside import HOST_CAPS, Host, Outside, Queue
from tests.turn.test_chain_reader import edit
from tests.turn.test_turn import FLEET, turn

pytestmark = pytest.mark.anyio

NOON = 20_000 * 86_400.0 + 43_200.0
CAPS = replace(HOST_CAPS, usd_per_hour=3.6, capabilities=("gpu=2",), keeps_stopped=True)
WARM = Instance("demo-zzzz-1-0", "i-warm", InstanceState.STOPPED, "demo", "", usd_per_hour=0.36, is_warm=True)
KEEPS = changed(FLEET, providers=(changed(FLEET.providers[0], warm_workers=1),))


class Priced(Host):
    """Its rows say what an hour costs."""

    usd_per_hour: float | None = 3.6

    async def list_instances(self, fleet: str) -> InstanceList:
        rows = (
            row if row.is_warm else replace(row, usd_per_hour=self.usd_per_hour)
            for row in (await super().list_instances(fleet)).instances
        )
        return InstanceList(tuple(rows))


def outside_of(caps: ProviderCaps = CAPS) -> Outside:
    outside = Outside(host=Priced(caps))
    outside.clock.now = NOON
    outside.ledger.kept_home = "h0me0"
    return outside


async def live(outside: Outside, turns: int, fleet: Any = FLEET) -> None:
    """Any: a fleet, as tests make it."""
    for _ in range(turns):
        await turn(outside, fleet)


async def summed(outside: Outside, seconds: float = 86_400.0, **given: Any) -> Costs:
    """Any: each is typed where it is taken."""
    return await read_costs(outside.ledger, [FLEET.name], seconds=seconds, **{"zone": UTC, **given})


async def own_usd(outside: Outside) -> float:
    head = await ChainReader(outside.ledger).head(FLEET.name)
    assert head is not None
    assert head.record is not None
    return head.record.memory.spent_usd


def delete(outside: Outside, number: int) -> None:
    """Delete one record, also of a claim that has been cleared away since."""
    (name,) = [name for name, stored in outside.ledger.records.items() if stored.record().number == number]
    del outside.ledger.records[name]


async def test_the_sum_is_the_fleets_own_to_the_cent() -> None:
    outside = outside_of()
    await live(outside, 20)
    outside.queue.waiting = 40
    await live(outside, 300)
    found = await summed(outside)
    (row,) = found.rows
    assert row.usd == pytest.approx(await own_usd(outside), abs=0.005)
    assert row.usd is not None
    assert row.usd > 4
    assert row.gpu_hours == pytest.approx(2 * row.worker_hours, abs=1e-5)
    assert (found.is_complete, found.gaps, row.unpriced_hours) == (True, (), 0.0)
    assert row == replace(found.sum, name=FLEET.name)


@pytest.mark.parametrize("by", By)
async def test_rows_of_every_kind_add_up_to_the_same_sum(by: By) -> None:
    outside = outside_of()
    await live(outside, 60)
    found, whole = await summed(outside, by=by), await summed(outside)
    assert found.sum == whole.sum
    for name in ("worker_hours", "ready_hours", "idle_hours", "usd"):
        assert sum(getattr(row, name) for row in found.rows) == pytest.approx(getattr(whole.sum, name), abs=1e-4)


async def test_who_serves_and_is_idle_is_idle_and_of_whom_nobody_said_it_is_named_apart() -> None:
    outside = outside_of()
    await live(outside, 3)
    first, second = outside.queue.entries
    outside.queue.entries[first] = replace(outside.queue.entries[first], busy=True, idle_seconds=None)
    outside.queue.entries[second] = replace(outside.queue.entries[second], busy=None, idle_seconds=None)
    await live(outside, 10)
    busy, unknown = sorted((await summed(outside, 270.0, by=By.WORKER)).rows, key=lambda row: row.unknown_busy_hours)
    assert (busy.name, busy.idle_share, busy.unknown_busy_hours) == (first, 0.0, 0.0)
    assert (unknown.name, unknown.unknown_busy_hours > 0.07, unknown.idle_share) == (second, True, 0.0)


async def test_a_fixed_fleet_has_its_maximum_all_the_time_at_the_mean_price() -> None:
    outside = outside_of()
    await live(outside, 121)
    (row,) = (await summed(outside)).rows
    assert row.fixed_worker_hours == pytest.approx(4.0, abs=0.001)
    assert row.fixed_usd == pytest.approx(4.0 * 3.6, abs=0.01)


async def test_what_is_kept_warm_costs_its_storage_as_in_the_fleets_own_sum() -> None:
    outside = outside_of()
    await live(outside, 2, KEEPS)
    outside.host.rows["warm"] = replace(WARM, home="h0me0")
    await live(outside, 120, KEEPS)
    outside.host.rows["warm"] = replace(WARM, home="h0me0", usd_per_hour=None)
    own = await own_usd(outside)
    (row,) = (await summed(outside)).rows
    assert row.warm_hours == pytest.approx(1.0, abs=0.01)
    assert row.storage_usd == pytest.approx(0.36, abs=0.005)
    assert row.usd == pytest.approx(own, abs=0.005)
    await live(outside, 20, KEEPS)
    later = (await summed(outside, 300.0)).sum
    assert (later.storage_usd, later.unpriced_hours > 0.07) == (None, True)
    names = {each.name for each in (await summed(outside, by=By.WORKER)).rows}
    assert WARM.worker_id in names


async def test_a_price_that_nobody_knows_is_unknown_and_never_zero() -> None:
    outside = outside_of(replace(CAPS, usd_per_hour=None, capabilities=()))
    outside.host.usd_per_hour = None  # type: ignore[attr-defined]  # it is a Priced one
    await live(outside, 10)
    (row,) = (await summed(outside)).rows
    assert (row.usd, row.gpu_hours, row.fixed_usd) == (None, None, None)
    assert row.unpriced_hours == row.unknown_gpu_worker_hours == row.worker_hours > 0


async def test_days_are_those_of_the_time_zone_and_each_has_its_share() -> None:
    outside = outside_of()
    outside.clock.now = 20_000 * 86_400.0 + 22 * 3600.0
    await live(outside, 6 * 120)
    own = await own_usd(outside)
    utc = await summed(outside, by=By.DAY)
    assert [row.name for row in utc.rows] == ["2024-10-04", "2024-10-05"]
    assert utc.rows[1].usd == pytest.approx(own, abs=0.005), "the fleet's own sum begins at midnight UTC"
    east = await summed(outside, by=By.DAY, zone=timezone(timedelta(hours=1)))
    assert [row.name for row in east.rows] == ["2024-10-04", "2024-10-05"]
    assert east.rows[0].worker_hours == pytest.approx(2.0, abs=0.05)
    assert east.time_zone.endswith("+0100")
    assert east.sum.usd == utc.sum.usd


async def test_only_what_was_asked_for_is_counted() -> None:
    outside = outside_of()
    await live(outside, 240)
    hour = (await summed(outside, 3600.0)).sum
    assert hour.worker_hours == pytest.approx(2.0, abs=0.02)
    assert (await summed(outside, 3600.0)).is_complete


@pytest.mark.parametrize("way", ["deleted", "edited", "of a format that nobody reads"])
async def test_where_a_record_is_lost_the_gap_is_named_and_the_fleets_own_sum_knows_its_money(way: str) -> None:
    outside = outside_of()
    await live(outside, 12)
    if way == "deleted":
        delete(outside, 6)
    else:
        edit(outside, 6, '"format":3', '"format":9' if way != "edited" else '"format":2')
    await live(outside, 6)
    found = await summed(outside)
    (gap,) = found.gaps
    assert "record 6 was" in gap.why
    assert (gap.ended_at - gap.began_at, gap.is_whole, found.is_complete) == (90.0, True, False)
    assert gap.usd == pytest.approx(90 / 3600 * 2 * 3.6, abs=0.001)
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)
    assert found.sum.gap_usd == pytest.approx(gap.usd)


async def test_where_every_other_record_is_lost_one_gap_is_named_and_nothing_is_looked_for_twice() -> None:
    outside = outside_of()
    await live(outside, 30)
    for number in range(8, 20, 2):
        delete(outside, number)
    found = await summed(outside)
    (gap,) = found.gaps
    assert (gap.why, gap.is_whole) == ("record 18 was deleted", True)
    assert (gap.ended_at - gap.began_at) == 30.0 * (19 - 6)
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)


async def test_a_fleet_of_which_nothing_is_left_but_one_record_is_unknown_and_not_free() -> None:
    outside = outside_of()
    await live(outside, 2)
    delete(outside, 1)
    (row,) = (await summed(outside)).rows
    assert (row.usd, row.gpu_hours, row.storage_usd, row.fixed_usd) == (None, None, None, None)


async def test_what_was_before_the_oldest_record_that_is_left_is_unknown() -> None:
    outside = outside_of()
    await live(outside, 20)
    for number in range(1, 11):
        delete(outside, number)
    found = await summed(outside)
    (gap,) = found.gaps
    assert (gap.began_at, gap.ended_at, gap.usd) == (found.since_at, NOON + 11 * 30, None)
    assert gap.why == "record 10 was deleted"
    assert found.sum.worker_hours == pytest.approx(9 * 2 * 30 / 3600, abs=0.01)


async def test_a_new_chain_after_a_record_that_could_not_be_used_leaves_a_gap() -> None:
    outside = outside_of()
    await live(outside, 10)
    delete(outside, 10)
    await live(outside, 30)
    found = await summed(outside)
    (gap,) = found.gaps
    assert "record 10 was deleted" in gap.why
    assert found.sum.worker_hours == pytest.approx((7 + 29) * 2 * 30 / 3600, abs=0.02)


async def test_while_no_turn_was_taken_two_intervals_count_and_the_rest_is_named() -> None:
    outside = outside_of()
    await live(outside, 5)
    await turn(outside, after=3600.0)
    await live(outside, 5)
    found = await summed(outside)
    (gap,) = found.gaps
    assert (gap.ended_at - gap.began_at, gap.is_whole) == (3600.0, False)
    assert gap.usd == pytest.approx(60 / 3600 * 2 * 3.6, abs=0.001)
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)


async def test_a_fleet_whose_turns_have_stopped_is_unknown_since() -> None:
    outside = outside_of()
    await live(outside, 5)
    outside.clock.now += 600.0
    (gap,) = (await summed(outside)).gaps
    assert (gap.why, gap.ended_at - gap.began_at, gap.usd) == ("no turn was taken since", 600.0, None)


async def test_of_a_fleet_without_a_worker_all_is_known_while_no_turn_is_taken() -> None:
    outside = outside_of()
    nobody = changed(FLEET, limits=Limits(min_workers=0, max_workers=4))
    await live(outside, 3, nobody)
    await turn(outside, nobody, after=7200.0)
    found = await summed(outside)
    assert (found.is_complete, found.sum.usd, found.sum.worker_hours) == (True, 0.0, 0.0)
    assert found.sum.fixed_worker_hours == pytest.approx(8.0, abs=0.1)


async def test_a_clock_that_was_set_back_is_named_and_both_sides_are_counted() -> None:
    outside = outside_of()
    await live(outside, 20)
    await turn(outside, after=-300.0)
    await live(outside, 20)
    found = await summed(outside)
    (gap,) = found.gaps
    assert gap.why.startswith("the clock was set back by 300 s")
    assert found.sum.worker_hours == pytest.approx((19 + 20) * 2 * 30 / 3600, abs=0.01)
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)


async def test_records_that_nobody_claimed_count_for_nothing() -> None:
    outside = outside_of()
    await live(outside, 10)
    stored = [each.record() for each in outside.ledger.records.values()]
    for record in stored[3:6]:
        dear = tuple(replace(worker, usd_per_hour=999.0) for worker in record.memory.workers)
        await outside.ledger.store(replace(record, memory=replace(record.memory, workers=dear)), summary="")
    found = await summed(outside)
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)


async def test_a_fleet_whose_claims_are_gone_is_summed_as_far_as_records_name_each_other() -> None:
    outside = outside_of()
    await live(outside, 10)
    outside.ledger.claims.clear()
    found = await summed(outside)
    assert [gap.why for gap in found.gaps] == ["none of its claims is there"]
    assert found.sum.worker_hours == pytest.approx(8 * 2 * 30 / 3600, abs=0.001)


async def test_several_fleets_have_a_row_each_and_a_sum() -> None:
    outside = outside_of()
    other = changed(FLEET, name="other")
    for _ in range(10):
        await turn(outside, FLEET)
        await turn(outside, other, after=0.0)
    found = await read_costs(outside.ledger, ["demo", "other"], seconds=3600.0, zone=UTC)
    assert [row.fleet for row in found.rows] == ["demo", "other"]
    assert found.sum.worker_hours == pytest.approx(sum(row.worker_hours for row in found.rows))
    assert found.sum.fleet == ""


async def test_a_wish_is_not_what_ran() -> None:
    outside = outside_of()
    await live(outside, 1)
    head = await ChainReader(outside.ledger).head(FLEET.name)
    assert head is not None
    assert head.record is not None
    assert {worker.state for worker in head.record.memory.workers} == {WorkerState.WISHED}
    await live(outside, 1)
    found = await summed(outside)
    assert (found.sum.worker_hours > 0, found.sum.ready_hours, found.sum.fixed_usd) == (True, 0.0, None)


async def test_the_time_that_turns_look_is_paid_for_too() -> None:
    outside = outside_of()

    class Slow(Queue):
        async def demand(self) -> Demand:
            outside.clock.now += 3.0
            return await super().demand()

    outside.queue = Slow()
    for _ in range(120):
        await turn(outside, after=27.0)
    found = await summed(outside)
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)
    assert found.sum.worker_hours == pytest.approx(119 * 2 * 30 / 3600, abs=0.01)


async def test_records_of_a_large_fleet_that_lean_on_each_other_are_summed_alike() -> None:
    outside = outside_of()
    many = changed(
        FLEET, limits=Limits(min_workers=30, max_workers=60), providers=(ProviderEntry(block="a/b", max_workers=60),)
    )
    await live(outside, 40, many)
    leaning = [stored.text for stored in outside.ledger.records.values() if memory_leans_on(stored.text or "")]
    assert leaning, "else this tests nothing"
    found = await summed(outside)
    assert found.is_complete
    assert found.sum.usd == pytest.approx(await own_usd(outside), abs=0.005)
