"""What is read of a fleet's past to be played anew, and what is said of one that is not whole."""

from dataclasses import dataclass, replace

import pytest

from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.fleet.model import Fleet
from ebbflow.flows.fleet_past import FleetPast, read_fleet_past
from ebbflow.flows.past_check import PastTold, check_playable, compare
from ebbflow.policies.capability import CapabilityPolicy
from ebbflow.policies.master import MasterPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from tests.making import changed
from tests.test_upgrade import NAME, ledger_up_to
from tests.turn.lived import FEWER, Lived, lived
from tests.turn.outside import Clock, Outside, Queue
from tests.turn.test_turn import FLEET

pytestmark = pytest.mark.anyio
DAY = 86_400.0
WIDE = changed(FLEET, policy=VanillaPolicy(lower_task_ratio=1, upper_task_ratio=3))
NARROW = changed(WIDE, limits=changed(WIDE.limits, max_workers=2))


@dataclass
class Counting(Queue):
    """Counts what came and what it served; every request takes a minute."""

    came: int = 0
    served: int = 0

    async def demand(self) -> Demand:
        serving = min(len(self.entries), self.waiting)
        self.served += serving
        self.waiting -= serving
        return Demand(queued=self.waiting, running=serving, arrived=self.came, served=self.served)


async def busy_past(turns: int = 60, fleet: Fleet = WIDE, queue: Counting | None = None) -> Lived:
    """A fleet whose queue was long for a while, one turn a minute; the host has a price."""
    queue = queue or Counting()
    life = Lived(Outside(clock=Clock(1_790_000_000.0), queue=queue))
    life.outside.host.caps = replace(life.outside.host.caps, usd_per_hour=2.0)
    for place in range(turns):
        came = 5 if 10 <= place < 25 else int(place % 5 == 0)
        queue.came += came
        queue.waiting += came
        await life.turn(fleet, after=60.0)
    return life


async def past_of(life: Lived, *, seconds: float = DAY) -> FleetPast:
    found = await read_fleet_past(life.outside.ledger, FLEET.name, seconds=seconds)
    assert found is not None
    return found


async def compared(life: Lived, before: Fleet, after: Fleet, *, seconds: float = DAY, most: float = 20.0) -> PastTold:
    return await compare(await past_of(life, seconds=seconds), before, after, seconds=seconds, fail_above_percent=most)


async def test_a_past_is_read_with_what_came_and_what_the_fleet_did() -> None:
    life = await busy_past()
    past = await past_of(life)
    assert (past.records, past.missing) == (60, ())
    assert past.recorded.launches == len(life.outside.host.launched) > 2
    assert past.recorded.stops == len(set(life.outside.host.ended)) > 0
    came = 15 * 5 + 9
    assert abs(len(past.played.trace.at_seconds) - came) <= 1
    assert past.provider_caps["local/a"].usd_per_hour == 2.0
    assert past.played.boots["local/a"].usd_per_hour == 2.0


@pytest.mark.parametrize("polls", [None, 5.0])
async def test_how_often_the_newest_fleet_looked_is_read(polls: float | None) -> None:
    sooner = changed(WIDE, waiting_interval_seconds=12.0, poll_interval_seconds=polls)
    queue = Counting(caps=replace(Counting().caps, takes_polls=True))
    past = await past_of(await busy_past(4, sooner, queue))
    assert past.played.interval_seconds == WIDE.interval_seconds
    assert (past.played.waiting_interval_seconds, past.played.poll_interval_seconds) == (12.0, polls)
    assert not past.played.turns_at(WIDE), "nobody can say which turns it would have taken"


async def test_the_fleet_that_is_deployed_differs_in_nothing_from_itself() -> None:
    told = await compared(await busy_past(), WIDE, WIDE, most=0.0)
    assert told.deployed == told.written
    assert (told.worker_hours_percent, told.is_within, told.is_right) == (0.0, True, True)


async def test_a_lower_limit_is_fewer_worker_hours_and_longer_waits_and_does_not_pass() -> None:
    life = await busy_past()
    told = await compared(life, WIDE, NARROW)
    assert told.written.worker_hours < told.deployed.worker_hours
    assert told.written.launches < told.deployed.launches
    assert (told.written.waited_p95_seconds or 0) > (told.deployed.waited_p95_seconds or 0)
    assert told.worker_hours_percent is not None
    assert told.worker_hours_percent < -20
    assert not told.is_within
    assert (await compared(life, WIDE, NARROW, most=60.0)).is_within
    other = await compared(life, NARROW, WIDE)
    assert other.worker_hours_percent is not None
    assert other.worker_hours_percent > 20
    assert not other.is_within


async def test_a_played_fleet_comes_near_to_what_it_did() -> None:
    told = await compared(await busy_past(120), WIDE, WIDE)
    assert told.deployed.worker_hours == pytest.approx(told.recorded.worker_hours, rel=0.25)
    assert not any("take the difference for a direction" in note for note in told.notes)


async def test_what_workers_took_to_leave_is_read_and_paid_for_in_a_play() -> None:
    life = await busy_past(120)
    past = await past_of(life)
    # Marked in one turn, ended in the next, and gone by the one after that.
    assert past.played.boots["local/a"].leave_seconds == pytest.approx((130.0, 130.0), abs=15)
    told = await compared(life, WIDE, WIDE)
    assert told.deployed.usd == pytest.approx(told.recorded.usd, rel=0.05)


async def test_what_a_warm_instance_costs_is_read_where_one_was_listed() -> None:
    keeping = changed(WIDE, providers=(changed(WIDE.providers[0], warm_workers=1),))
    life = Lived(Outside(clock=Clock(1_790_000_000.0), queue=Counting()))
    life.outside.host.caps = replace(life.outside.host.caps, usd_per_hour=2.0, keeps_stopped=True)
    warm = Instance("demo-zzzz-1-0", "i-warm", InstanceState.STOPPED, "demo", "", usd_per_hour=0.2, is_warm=True)
    await life.turn(keeping)
    assert (await past_of(life)).played.boots["local/a"].storage_usd_per_hour is None
    home = (await life.outside.ledger.home(create=False)) or ""
    life.outside.host.rows["warm"] = replace(warm, home=home)
    for _ in range(3):
        await life.turn(keeping)
    assert (await past_of(life)).played.boots["local/a"].storage_usd_per_hour == 0.2


@dataclass
class Sharing(Counting):
    """Each of its workers serves two requests at once."""

    async def demand(self) -> Demand:
        serving = min(2 * len(self.entries), self.waiting)
        self.served += serving
        self.waiting -= serving
        for place, (worker_id, entry) in enumerate(sorted(self.entries.items())):
            self.entries[worker_id] = replace(entry, busy=2 * place < serving)
        return Demand(queued=self.waiting, running=serving, arrived=self.came, served=self.served)


async def test_workers_that_served_two_requests_at_once_do_so_in_a_play_and_that_is_told() -> None:
    life = await busy_past(60, queue=Sharing())
    past = await past_of(life)
    assert past.played.requests_at_once == 2
    assert "workers are played with 2 requests at once each, as recorded" in past.notes
    told = await compared(life, WIDE, WIDE)
    assert told.deployed.worker_hours == pytest.approx(told.recorded.worker_hours, rel=0.25)
    alone = await compare(
        replace(past, played=replace(past.played, requests_at_once=1)), WIDE, WIDE, seconds=DAY, fail_above_percent=20
    )
    assert (alone.deployed.waited_p95_seconds or 0) > (told.deployed.waited_p95_seconds or 0)


async def test_nothing_came_and_still_two_minimums_are_compared() -> None:
    life = Lived()
    for _ in range(20):
        await life.turn(after=60.0)
    told = await compared(life, FLEET, FEWER)
    assert told.worker_hours_percent == pytest.approx(-50.0, abs=8)
    assert any("does not count what it serves: each request is taken for 20 s" in note for note in told.notes)
    assert told.written.waited_p95_seconds is None


async def test_only_what_was_asked_for_counts_and_what_came_before_is_played_too() -> None:
    life = await busy_past(60)
    told = await compared(life, WIDE, WIDE, seconds=1800.0)
    assert told.records == 30
    assert told.until_at - told.since_at == pytest.approx(1740.0, abs=60)
    past = await past_of(life, seconds=1800.0)
    assert len(past.played.looks) == 60


async def test_of_very_many_looks_some_are_left_out_and_what_came_stays_the_same() -> None:
    life = await busy_past(120)
    past = await read_fleet_past(life.outside.ledger, FLEET.name, seconds=DAY, most_looks=20)
    assert past is not None
    assert len(past.played.looks) <= 20
    assert any("there are so many records that of 8 looks one is played" in note for note in past.notes)
    assert past.records == 120
    assert abs(len(past.played.trace.at_seconds) - len((await past_of(life)).played.trace.at_seconds)) <= 2


async def test_a_past_that_is_shorter_than_was_asked_for_is_told_and_is_no_fault() -> None:
    told = await compared(await busy_past(30), WIDE, WIDE)
    assert told.notes[0].startswith("only 0.48 h are recorded, from ")
    assert told.is_right


async def test_a_change_of_the_fleet_and_a_pause_are_told() -> None:
    past = await past_of(await lived())
    assert any("the fleet was changed with record 7 of " in note for note in past.notes)
    assert any(note.startswith("no turn was taken for 10 minutes in all (1 times)") for note in past.notes)


@pytest.mark.parametrize(
    ("harm", "words"), [("edit", "record 30 was edited"), ("delete", "record 30 was deleted"), ("old", "format 0")]
)
async def test_a_record_that_is_gone_edited_or_of_a_format_nobody_reads_does_not_pass(harm: str, words: str) -> None:
    life = await busy_past()
    if harm == "edit":
        life.edit(30)
    elif harm == "delete":
        life.keep(30, None)
    else:
        # Its hash in the chain agrees: it is the format alone that cannot be read.
        await _as_old(life, 60)
    told = await compared(life, WIDE, WIDE)
    assert len(told.missing) == 1
    assert words in told.missing[0]
    assert told.is_within
    assert not told.is_right


async def _as_old(life: Lived, number: int) -> None:
    life.forge('"format":3', '"format":0')
    await life.turn(WIDE, after=60.0)
    await life.turn(WIDE, after=60.0)


async def test_records_of_the_first_release_are_read() -> None:
    past = await read_fleet_past(ledger_up_to(7), NAME, seconds=DAY)
    assert past is not None
    assert (past.records, past.missing) == (7, ())
    assert all(look.demand.complete for look in past.played.looks)


async def test_records_that_were_deleted_at_the_far_end_are_missing_and_not_never_there() -> None:
    life = await busy_past()
    for number in range(1, 31):
        life.keep(number, None)
    past = await past_of(life)
    assert past.records == 30
    (missing,) = past.missing
    assert missing.startswith("before ")
    assert "record 30 was deleted" in missing


async def test_where_nothing_is_recorded_nothing_is_found() -> None:
    life = await busy_past(3)
    life.outside.clock.now += 7 * DAY
    assert await read_fleet_past(life.outside.ledger, FLEET.name, seconds=DAY) is None
    assert await read_fleet_past(Outside().ledger, "nobody", seconds=DAY) is None


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        (changed(FLEET, policy=CapabilityPolicy()), "does not tell"),
        (changed(FLEET, policy=MasterPolicy()), "says of itself no number of workers"),
        (changed(FLEET, interval_seconds=900.0), "end themselves after 600 s"),
    ],
)
async def test_what_the_master_cannot_do_is_refused_in_the_fleets_words(fleet: Fleet, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_playable(await past_of(await lived()), fleet, "as it is written")


async def test_a_policy_that_asks_for_more_than_how_much_work_there_was_is_refused_with_what_would_do() -> None:
    past = replace(await past_of(await lived()), master_caps=MasterCaps(per_shape_demand=True))
    with pytest.raises(ConfigError, match="replay --last N --policy FILE"):
        check_playable(past, changed(FLEET, policy=CapabilityPolicy()), "as it is written")
    owned = replace(past, master_caps=MasterCaps(owns_workers=True))
    with pytest.raises(ConfigError, match="starts and ends its workers itself"):
        check_playable(owned, changed(FLEET, master="swarmui-master/b"), "as it is written")


async def test_a_new_master_is_told_and_an_old_one_ends_the_past() -> None:
    life = Lived()
    for _ in range(5):
        await life.turn(changed(FLEET, master="swarmui-master/old"), after=60.0)
    for _ in range(5):
        await life.turn(after=60.0)
    past = await past_of(life)
    assert past.records == 5
    assert any("its master was swarmui-master/old: what came there is left out" in note for note in past.notes)
    told = await compared(life, FLEET, changed(FLEET, master="swarmui-master/new"))
    assert any("its master is to be swarmui-master/new" in note for note in told.notes)
