"""Stopped instances that are kept for a quick start, and instances that are no worker's."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs, Observation, ProviderLook, Spare
from ebbflow.core.plan import Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.limits import Bounded, Limits
from ebbflow.decision.placement.place import place
from ebbflow.decision.placement.shares import Placed, ProviderShare
from ebbflow.decision.warm import (
    STOP_SECONDS,
    end_spares,
    find_spares,
    has_become_warm,
    is_half_started,
    keep_warm,
    leaving,
)
from tests.making import inputs_of

CAPS = ProviderCaps("us", settle_seconds=60.0, takes_price_cap=True, keeps_stopped=True, usd_per_hour=0.5)
SHARE = ProviderShare("vast/a", 4, CAPS, warm_workers=1)
LEAVES = Worker(
    "sdxl-3f9c-1-0", "vast/a", WorkerState.DRAINING, instance_id="1", registered=True, mark=Mark(4, "idle", 60.0)
)
SPARE = Spare("vast/a", "7", "sdxl-3f9c-1-7", is_warm=True, usd_per_hour=0.01)
ACTING = Memory(claims=(RecentClaim(4, "artifact-4", budget_seconds=24.0, age_seconds=23.9),))


def inputs(*rows: Instance) -> Inputs:
    return inputs_of("sdxl", providers=(ProviderLook("vast/a", CAPS, InstanceList(rows)),))


def row(identity: str, worker_id: str = "sdxl-3f9c-1-0", *, warm: bool = False, home: str = "h0me0") -> Instance:
    state = InstanceState.STOPPED if warm else InstanceState.RUNNING
    return Instance(worker_id, identity, state, "sdxl", home, is_warm=warm)


def stops(
    *workers: Worker, spares: tuple[Spare, ...] = (), share: ProviderShare = SHARE, memory: Memory | None = None
) -> list[bool]:
    leaves = leaving(workers, 5, memory or Memory())
    return [worker.stops for worker in keep_warm(workers, spares, [share], leaving=leaves)]


def test_a_surplus_worker_is_stopped_instead_of_ended_while_the_pool_is_short() -> None:
    second = replace(LEAVES, worker_id="sdxl-3f9c-1-1", instance_id="2")
    assert stops(LEAVES, second) == [True, False]
    assert stops(LEAVES, second, share=replace(SHARE, warm_workers=2)) == [True, True]
    assert stops(LEAVES, spares=(SPARE,)) == [False]
    assert stops(replace(LEAVES, stops=True), second) == [True, False]


@pytest.mark.parametrize(
    "worker",
    [
        replace(LEAVES, mark=None, state=WorkerState.READY),
        replace(LEAVES, mark=Mark(5, "idle", 60.0)),
        replace(LEAVES, registered=False),
        replace(LEAVES, failure=Failure.OUTPUT),
        replace(LEAVES, state=WorkerState.FAILED),
        replace(LEAVES, unanswered_seconds=0.0),
    ],
    ids=["stays", "marked just now", "never served", "failed once", "failed", "silent"],
)
def test_only_what_served_well_and_leaves_as_surplus_is_kept(worker: Worker) -> None:
    assert stops(worker) == [False]


def test_nobody_is_stopped_while_the_claim_that_marked_it_may_still_act() -> None:
    assert stops(LEAVES, memory=ACTING) == [False]


def test_a_provider_that_cannot_keep_anything_ends_it() -> None:
    assert stops(LEAVES, share=replace(SHARE, caps=replace(CAPS, keeps_stopped=False))) == [False]


def test_a_stop_that_is_not_carried_out_becomes_an_end() -> None:
    stopping = replace(LEAVES, state=WorkerState.TERMINATING, stops=True)
    assert stops(replace(stopping, state_seconds=STOP_SECONDS - 1)) == [True]
    assert stops(replace(stopping, state_seconds=STOP_SECONDS)) == [False]


def test_a_pool_that_was_made_smaller_meanwhile_ends_what_was_to_be_stopped() -> None:
    assert stops(replace(LEAVES, stops=True), share=replace(SHARE, warm_workers=0)) == [False]


def test_a_worker_whose_instance_is_warm_has_ended_unless_it_is_about_to_start_it() -> None:
    warm = row("1", warm=True)
    starts = Worker("sdxl-3f9c-1-0", "vast/a", WorkerState.WISHED, warm_instance_id="1")
    assert is_half_started(starts, warm)
    assert not has_become_warm(starts, warm)
    assert has_become_warm(replace(LEAVES, state=WorkerState.TERMINATING, stops=True), warm)
    assert not has_become_warm(replace(LEAVES, state=WorkerState.TERMINATING), warm), "it is to be ended"
    assert not has_become_warm(replace(LEAVES, failure=Failure.OUTPUT), warm)


def test_what_no_worker_has_is_a_spare_and_another_homes_is_not() -> None:
    worker = Worker("sdxl-3f9c-1-0", "vast/a", WorkerState.READY, instance_id="1")
    seen = inputs(
        row("1"), row("2"), row("3", "sdxl-3f9c-1-3", warm=True), row("4", "sdxl-3f9c-1-4", warm=True, home="zzzzz")
    )
    spares = list(find_spares(seen.providers[0], seen, {"sdxl-3f9c-1-0": row("1")}, [worker]))
    assert [(spare.instance_id, spare.is_warm) for spare in spares] == [("2", False), ("3", True)]


def test_a_warm_instance_that_a_wish_is_about_to_start_is_no_spare() -> None:
    wish = Worker("sdxl-3f9c-2-0", "vast/a", WorkerState.WISHED, warm_instance_id="3")
    seen = inputs(row("3", "sdxl-3f9c-1-3", warm=True))
    assert list(find_spares(seen.providers[0], seen, {}, [wish])) == []


def test_the_most_expensive_beyond_the_number_to_keep_are_ended() -> None:
    dear = replace(SPARE, instance_id="8", usd_per_hour=0.02)
    (ended,) = end_spares([SPARE, dear], [SHARE], idle=())
    assert (ended.verb, ended.instance_id, ended.reason) == (
        Verb.TERMINATE,
        "8",
        "2 are kept warm, warm_workers is 1",
    )
    assert end_spares([SPARE, dear], [replace(SHARE, complete=False)], idle=()) == ()


def test_one_too_many_of_a_worker_is_ended_where_it_is_known_to_work_for_nobody() -> None:
    double = replace(SPARE, is_warm=False)
    (ended,) = end_spares([double], [SHARE], idle={double.instance_id})
    assert ended.reason == "one too many of sdxl-3f9c-1-7"
    assert end_spares([double], [SHARE], idle=()) == ()


def launched(
    count: int, share: ProviderShare = SHARE, *spares: Spare, limits: Limits | None = None, budget: float = 24.0
) -> Placed:
    seen = Observation(Demand(), (), spares)
    return place(Bounded(count, count, 0), seen, [share], limits or Limits(), budget_seconds=budget)


def test_a_warm_instance_is_started_before_a_new_one_is_launched() -> None:
    placed = launched(2, SHARE, SPARE)
    assert [launch.instance_id for launch in placed.launches] == ["7", ""]
    assert placed.launches[0].reason == "7 of vast/a is warm: started again"
    assert {launch.usd_per_hour for launch in placed.launches} == {0.5}


def test_what_is_warm_takes_room_and_gives_it_back_by_being_started() -> None:
    full = replace(SHARE, max_workers=1)
    assert [launch.instance_id for launch in launched(2, full, SPARE).launches] == ["7"]
    assert [launch.instance_id for launch in launched(2, SHARE, SPARE, limits=Limits(max_workers=1)).launches] == ["7"]


def test_launches_beyond_the_rate_of_the_provider_are_the_next_turns() -> None:
    slow = replace(SHARE, caps=replace(CAPS, seconds_between_launches=5.0, call_seconds=10.0))
    placed = launched(4, slow, budget=21.0)
    assert len(placed.launches) == 3
    assert placed.reasons[0].text == "vast/a: 3 launches fit into a turn, 5 s apart; the rest is the next turn's"


def test_a_wish_counts_at_its_cap_and_an_unknown_price_stops_launches_under_a_fleets_cap() -> None:
    assert len(launched(4, limits=Limits(max_usd_per_hour=1.2)).launches) == 2
    assert len(launched(4, SHARE, SPARE, limits=Limits(max_usd_per_hour=1.0)).launches) == 1
    unpriced = Worker("sdxl-3f9c-1-9", "vast/a", WorkerState.READY)
    seen = Observation(Demand(), (unpriced,))
    placed = place(Bounded(1, 1, 0), seen, [SHARE], Limits(max_usd_per_hour=9.0), budget_seconds=24.0)
    assert placed.launches == ()
    assert placed.reasons[0].text == "the price of sdxl-3f9c-1-9 is unknown, and max_usd_per_hour is 9"


def test_the_lower_of_the_block_and_the_fleets_line_is_the_price_of_a_launch() -> None:
    (launch,) = launched(1, replace(SHARE, max_usd_per_hour=0.4)).launches
    assert launch.usd_per_hour == 0.4
