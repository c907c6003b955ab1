"""Placement: which provider gets which launch, and which worker goes."""

from dataclasses import replace

import pytest

from ebbflow.core.crew import Crew
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.limits import Bounded, Limits
from ebbflow.decision.placement.place import place
from ebbflow.decision.placement.shares import Placed, ProviderShare
from ebbflow.decision.placement.victims import retire

CALM = Limits(min_idle_seconds=600, min_seconds_after_failure=120)
CAPS = ProviderCaps("here", idempotent_launch=True)
FIRST = ProviderShare("slurm/a", 2, CAPS)
SECOND = ProviderShare("vast/b", 3, replace(CAPS, usd_per_hour=0.4))
IDLE = Worker("w-1", "slurm/a", WorkerState.READY, busy=False, idle_seconds=700.0)


def seen(*workers: Worker, complete: bool = True) -> Observation:
    return Observation(Demand(complete=complete), workers)


def start(count: int, *shares: ProviderShare, workers: tuple[Worker, ...] = (), limits: Limits = CALM) -> Placed:
    return place(Bounded(count, count, 0), seen(*workers), shares, limits)


def stop(
    count: int, *workers: Worker, bounded: Bounded | None = None, shares: tuple[ProviderShare, ...] = (FIRST,)
) -> list[str]:
    asked = replace(bounded or Bounded(0, 0, count), stops=count)
    return [victim.worker_id for victim in place(asked, seen(*workers), shares, CALM).victims]


def where(placed: Placed) -> list[str]:
    return [launch.provider for launch in placed.launches]


def said(placed: Placed) -> list[tuple[str, str]]:
    return [(reason.rule, reason.text) for reason in placed.reasons]


def test_launches_fill_the_providers_in_the_order_of_the_fleet() -> None:
    placed = start(4, FIRST, SECOND)
    assert where(placed) == ["slurm/a", "slurm/a", "vast/b", "vast/b"]
    assert said(placed) == [("placement.max_workers", "slurm/a: 0 of 2 workers exist")]
    assert [launch.usd_per_hour for launch in placed.launches] == [None, None, 0.4, 0.4]
    assert placed.launches[0].reason == "slurm/a is next in order and has room"


def test_the_order_of_the_fleet_is_the_preference() -> None:
    assert where(start(1, SECOND, FIRST)) == ["vast/b"]


def test_everybody_who_may_exist_takes_room_at_a_provider() -> None:
    ending = replace(IDLE, state=WorkerState.TERMINATING)
    gone = replace(IDLE, worker_id="w-2", state=WorkerState.GONE)
    assert where(start(3, FIRST, SECOND, workers=(ending, gone))) == ["slurm/a", "vast/b", "vast/b"]


def test_launches_that_find_no_room_are_counted_and_named() -> None:
    placed = start(7, FIRST, SECOND)
    assert len(placed.launches) == 5
    assert said(placed)[-1] == ("placement.full", "2 of 7 launches found no provider with room")


def test_a_provider_rests_after_a_failure_and_the_next_in_order_is_asked() -> None:
    resting = replace(FIRST, seconds_since_failure=30.0, failure="no nodes")
    placed = start(1, resting, SECOND)
    assert where(placed) == ["vast/b"]
    assert said(placed) == [("placement.cooldown", "slurm/a: rests for another 90 s after a failure: no nodes")]
    assert where(start(1, replace(resting, seconds_since_failure=120.0), SECOND)) == ["slurm/a"]


def test_nothing_is_launched_where_the_listing_is_unknown() -> None:
    placed = start(1, replace(FIRST, complete=False, detail="timeout"), SECOND)
    assert where(placed) == ["vast/b"]
    text = "slurm/a: listing unknown (timeout), nothing is launched there"
    assert said(placed) == [("placement.unknown", text)]


@pytest.mark.parametrize(("age", "launches"), [(0.0, 0), (83.9, 0), (84.0, 1)])
def test_a_new_chain_waits_until_every_launch_before_it_is_listed(age: float, launches: int) -> None:
    slow = replace(SECOND, caps=replace(CAPS, settle_seconds=60.0))
    placed = place(Bounded(1, 1, 0), seen(), [FIRST, slow], CALM, chain_age_seconds=age, budget_seconds=24.0)
    assert len(placed.launches) == launches
    if not launches:
        text = f"this chain of records is {age:.0f} s old; nothing is launched before 84 s"
        assert said(placed) == [("placement.settle", text)]


def test_a_new_chain_at_providers_that_list_at_once_waits_for_nothing() -> None:
    assert where(place(Bounded(1, 1, 0), seen(), [FIRST], CALM, chain_age_seconds=0.0, budget_seconds=24.0))


def test_regression_nothing_is_launched_while_a_run_whose_record_is_lost_may_launch() -> None:
    placed = place(Bounded(1, 1, 0), seen(), [FIRST], CALM, predecessors_act=True)
    assert where(placed) == []
    assert said(placed)[0][0] == "placement.settle"


def test_a_provider_above_its_price_cap_is_passed_over() -> None:
    placed = start(1, replace(SECOND, max_usd_per_hour=0.39), replace(FIRST, caps=replace(CAPS, usd_per_hour=1.0)))
    assert where(placed) == ["slurm/a"]
    assert said(placed) == [("placement.price", "vast/b: 0.4 USD/h is above its cap of 0.39")]


def test_an_unknown_price_is_not_a_low_price() -> None:
    for share, limits in ((replace(FIRST, max_usd_per_hour=1.0), CALM), (FIRST, Limits(max_usd_per_hour=9))):
        placed = start(1, share, limits=limits)
        assert where(placed) == []
        assert said(placed)[0] == ("placement.price", "slurm/a: its price is unknown, and a price cap is set")


@pytest.mark.parametrize(("cap", "launches"), [(0.8, 0), (1.19, 0), (1.2, 1), (1.7, 2), (9.0, 3)])
def test_the_whole_fleet_never_costs_more_than_its_cap(cap: float, launches: int) -> None:
    rented = Worker("w-1", "slurm/a", WorkerState.READY, usd_per_hour=0.8)
    placed = start(3, SECOND, workers=(rented,), limits=Limits(max_usd_per_hour=cap))
    assert len(placed.launches) == launches
    if launches < 3:
        text = f"vast/b: 0.8 USD/h now, 0.4 for one more, max_usd_per_hour is {cap:g}"
        assert said(placed)[0] == ("limits.max_usd_per_hour", text)


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        (replace(IDLE, busy=True, idle_seconds=None), "it works"),
        (replace(IDLE, busy=None, idle_seconds=None), "unknown is not idle"),
        (replace(IDLE, busy=None, idle_seconds=9000.0), "unknown is not idle, whatever figure stands beside it"),
        (replace(IDLE, idle_seconds=None), "how long it is idle is unknown"),
        (replace(IDLE, idle_seconds=599.9), "it is not idle for long"),
        (replace(IDLE, state=WorkerState.STARTING), "it starts"),
        (replace(IDLE, state=WorkerState.WISHED), "it may exist or not"),
        (replace(IDLE, state=WorkerState.PENDING), "nobody can end a pending one safely here"),
        (replace(IDLE, state=WorkerState.LOST), "it is no supply"),
        (replace(IDLE, mark=Mark(1, "idle", 9.0), state=WorkerState.DRAINING), "it goes already"),
        (replace(IDLE, provider="gone/c"), "nobody could end it"),
    ],
)
def test_this_one_never_goes(worker: Worker, why: str) -> None:
    assert stop(1, worker) == [], why


def test_stops_that_find_nobody_say_so() -> None:
    placed = place(Bounded(0, 0, 2), seen(IDLE, replace(IDLE, worker_id="w-2", busy=True)), [FIRST], CALM)
    text = "1 of 2 stops found no worker that may go: only idle ones do, for 600 s"
    assert said(placed) == [("placement.no_victim", text)]
    assert [(victim.worker_id, victim.reason) for victim in placed.victims] == [
        ("w-1", "not needed any more, idle 700 s")
    ]


def test_nobody_is_stopped_while_members_are_unknown() -> None:
    placed = place(Bounded(0, 0, 1), seen(IDLE), [FIRST], CALM, members_complete=False)
    assert placed.victims == ()
    assert placed.reasons == (Reason("placement.unknown", "members are unknown, so nobody is stopped"),)


def test_nobody_is_stopped_where_the_listing_is_unknown() -> None:
    assert stop(1, IDLE, shares=(replace(FIRST, complete=False),)) == []


def test_the_longest_idle_goes_first_and_ties_are_settled_by_id() -> None:
    workers = [replace(IDLE, worker_id=f"w-{index}", idle_seconds=seconds) for index, seconds in enumerate((700, 900))]
    assert stop(1, *workers) == ["w-1"]
    assert stop(1, *reversed([replace(worker, idle_seconds=800.0) for worker in workers])) == ["w-0"]


def test_lower_tiers_go_before_who_is_idle_longer() -> None:
    cheap = replace(IDLE, worker_id="w-2", provider="vast/b", idle_seconds=601.0)
    assert stop(2, IDLE, cheap, shares=(FIRST, SECOND)) == ["w-2", "w-1"]


def test_the_last_holder_of_a_model_goes_last() -> None:
    workers = (
        replace(IDLE, worker_id="w-1", model="sdxl", idle_seconds=9000.0),
        replace(IDLE, worker_id="w-2", model="flux", idle_seconds=800.0),
        replace(IDLE, worker_id="w-3", model="flux", idle_seconds=700.0),
        replace(IDLE, worker_id="w-4", model=None, idle_seconds=650.0),
    )
    # Once one flux worker is chosen the other is the last that holds it.
    assert stop(4, *workers) == ["w-2", "w-4", "w-1", "w-3"]


def test_a_pending_worker_goes_first_where_ending_it_is_safe() -> None:
    safe = replace(FIRST, caps=replace(CAPS, cancels_pending=True))
    pending = Worker("w-9", "slurm/a", WorkerState.PENDING)
    placed = place(Bounded(0, 0, 1), seen(IDLE, pending), [safe], CALM)
    assert [(victim.worker_id, victim.reason) for victim in placed.victims] == [
        ("w-9", "not needed any more, and not started yet")
    ]


def test_a_pinned_worker_stays() -> None:
    other = replace(IDLE, worker_id="w-2", idle_seconds=650.0)
    assert stop(2, IDLE, other, bounded=Bounded(0, 0, 2, pinned=("w-1",))) == ["w-2"]


def test_a_worker_named_by_a_person_goes_first_and_idle_is_enough_when_urgent() -> None:
    fresh = replace(IDLE, worker_id="w-2", idle_seconds=0.0)
    bounded = Bounded(0, 0, 1, hurried=1, preferred=("w-2",))
    placed = place(bounded, seen(IDLE, fresh), [FIRST], CALM)
    assert [(victim.worker_id, victim.reason, victim.forced) for victim in placed.victims] == [
        ("w-2", "named by a person, idle 0 s", False)
    ]


def test_even_an_urgent_stop_never_hits_a_busy_worker() -> None:
    busy = replace(IDLE, busy=True, idle_seconds=None)
    bounded = Bounded(0, 0, 1, hurried=1, preferred=("w-1",))
    placed = place(bounded, seen(busy), [FIRST], CALM)
    assert placed.victims == ()
    assert said(placed)[0][1].endswith("or however short where a person asked")


def test_by_force_the_named_worker_goes_while_it_works_and_only_that_one() -> None:
    busy = [replace(IDLE, worker_id=f"w-{index}", busy=True, idle_seconds=None) for index in (1, 2)]
    bounded = Bounded(0, 0, 2, hurried=2, preferred=("w-2",), forced=2, forced_ids=("w-2",))
    placed = place(bounded, seen(*busy), [FIRST], CALM)
    assert [(victim.worker_id, victim.reason, victim.forced) for victim in placed.victims] == [
        ("w-2", "named by a person, by force, idle not at all", True)
    ]


def test_force_without_names_takes_the_idle_before_the_busy() -> None:
    busy = replace(IDLE, worker_id="w-0", busy=True, idle_seconds=None)
    fresh = replace(IDLE, worker_id="w-9", idle_seconds=0.0)
    assert stop(1, busy, fresh, bounded=Bounded(0, 0, 1, hurried=1, forced=1)) == ["w-9"]


def test_regression_the_policys_own_stops_are_not_forced_by_a_persons() -> None:
    busy = [replace(IDLE, worker_id=f"w-{index}", busy=True, idle_seconds=None) for index in (1, 2, 3)]
    assert stop(3, *busy, bounded=Bounded(0, 0, 3, hurried=3, forced=1)) == ["w-1"]


def test_workers_above_what_their_provider_may_hold_retire_idle_ones_first() -> None:
    busy = replace(IDLE, worker_id="w-0", busy=True, idle_seconds=None)
    retired = retire(Crew([busy, IDLE]), [replace(FIRST, max_workers=1)])
    assert [(worker.worker_id, worker.is_retiring, worker.is_supply) for worker in retired] == [
        ("w-0", False, True),
        ("w-1", True, False),
    ]


def test_a_retiring_worker_goes_once_the_others_serve_what_is_wanted() -> None:
    retiring, other = replace(IDLE, is_retiring=True), replace(IDLE, worker_id="w-2", provider="vast/b")
    shares = [replace(FIRST, max_workers=0), SECOND]
    placed = place(Bounded(1, 0, 0), seen(retiring, other), shares, CALM)
    assert [(victim.worker_id, victim.reason) for victim in placed.victims] == [
        ("w-1", "slurm/a may hold 0 now, idle 700 s")
    ]
    assert place(Bounded(2, 1, 0), seen(retiring, other), shares, CALM).victims == ()


def test_a_retiring_worker_is_not_ended_while_it_works_even_when_others_are_forced() -> None:
    retiring = replace(IDLE, is_retiring=True, busy=True, idle_seconds=None)
    bounded = Bounded(0, 0, 1, hurried=1, forced=1)
    assert place(bounded, seen(retiring), [replace(FIRST, max_workers=0)], CALM).victims == ()


def test_regression_nobody_retires_while_demand_is_unknown() -> None:
    retiring = replace(IDLE, is_retiring=True)
    observation = seen(retiring, complete=False)
    assert place(Bounded(0, 0, 0), observation, [replace(FIRST, max_workers=0)], CALM).victims == ()
