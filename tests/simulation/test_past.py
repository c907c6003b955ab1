"""A fleet's own past as a trace and an environment."""

import math
from dataclasses import replace

import pytest

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.core.worker import Worker
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.simulation.environment import COUNTING, COUNTLESS, K8S
from ebbflow.simulation.past import (
    Boots,
    RecordedLook,
    boots_of,
    now_gone,
    past_trace,
    served_seconds,
    told_by,
)
from ebbflow.simulation.past_environment import WARM_BOOTS, boot_times, past_environment
from ebbflow.simulation.trace import TraceError

T0 = 1_767_571_200.0
WISHED, STARTING, READY, DRAINING, FAILED = (
    WorkerState.WISHED,
    WorkerState.STARTING,
    WorkerState.READY,
    WorkerState.DRAINING,
    WorkerState.FAILED,
)


def looks(*rows: tuple[float, Demand]) -> list[RecordedLook]:
    return [RecordedLook(T0 + at, demand, ()) for at, demand in rows]


def seen(at: float, *workers: tuple[str, WorkerState], price: float | None = None) -> RecordedLook:
    made = tuple(Worker(name, f"local-provider/{name[0]}", state, usd_per_hour=price) for name, state in workers)
    return RecordedLook(T0 + at, Demand(), made)


def test_a_master_that_counts_is_believed() -> None:
    past = looks(
        (0, Demand(arrived=100, served=90)),
        (60, Demand(queued=2, running=2, arrived=106, served=92)),
        (120, Demand(arrived=106, served=96)),
    )
    trace = past_trace("p", past, service_seconds=999)
    assert len(trace.at_seconds) == 6
    assert trace.at_seconds == (5.0, 15.0, 25.0, 35.0, 45.0, 55.0)
    # Two worker-minutes of service for six requests.
    assert trace.mean_service_seconds == pytest.approx(120 / 6)


@pytest.mark.parametrize(
    ("demands", "master"),
    [
        ([Demand(), Demand(queued=1)], COUNTLESS),
        ([Demand(complete=False), Demand(arrived=3, served=1)], COUNTING),
        ([Demand(arrived=3)], COUNTLESS),
    ],
    ids=["no counters", "counters", "one of two"],
)
def test_candidates_are_told_as_much_as_the_past_was(demands: list[Demand], master: MasterCaps) -> None:
    told = told_by(looks(*((60.0 * place, demand) for place, demand in enumerate(demands))))
    environment, _ = past_environment([ProviderEntry(block="local-provider/a")], {}, max_workers=1, master=told)
    assert environment.master == master


def test_a_counter_that_went_back_began_anew() -> None:
    past = looks((0, Demand(arrived=1000)), (60, Demand(arrived=3)))
    assert len(past_trace("p", past, service_seconds=10).at_seconds) == 3


def test_without_counters_what_was_done_or_has_gathered_must_have_come() -> None:
    past = looks(
        (0, Demand()),
        (60, Demand(queued=3, running=2)),
        (120, Demand(queued=1, running=2)),
        (180, Demand()),
    )
    trace = past_trace("p", past, service_seconds=20)
    worked = 60 + 120 + 60
    assert trace.work_hours * 3600 == pytest.approx(worked, abs=20)
    assert list(trace.at_seconds) == sorted(trace.at_seconds)


def test_fractions_of_a_request_wait_for_the_next_look() -> None:
    past = looks(*((10.0 * place, Demand(running=1)) for place in range(31)))
    trace = past_trace("p", past, service_seconds=100)
    # 300 s of work, and the one that was there at the first look.
    assert len(trace.at_seconds) == 1 + 3


def test_looks_that_did_not_know_the_demand_are_left_out_and_not_taken_for_zero() -> None:
    steady = [(60.0 * place, Demand(running=2)) for place in range(10)]
    holes = [(at, Demand(complete=False) if 2 < place < 7 else demand) for place, (at, demand) in enumerate(steady)]
    whole, holed = (past_trace("p", looks(*rows), service_seconds=30) for rows in (steady, holes))
    assert len(whole.at_seconds) == len(holed.at_seconds)


@pytest.mark.parametrize(
    ("past", "words"),
    [
        ([], "0 recorded looks"),
        (looks((0, Demand(queued=1))), "1 recorded looks"),
        (looks((0, Demand(complete=False)), (60, Demand(complete=False))), "0 recorded looks"),
        (looks((0, Demand()), (60, Demand())), "nothing came in the 60 s"),
        (looks((0, Demand(arrived=0)), (60, Demand(arrived=2_000_000))), "more than 1000000"),
    ],
    ids=["no record", "one look", "demand never known", "nothing came", "too much came"],
)
def test_a_past_that_tells_nothing_is_refused_with_the_reason(past: list[RecordedLook], words: str) -> None:
    with pytest.raises(TraceError, match=words):
        past_trace("own past", past, service_seconds=20)


def test_a_boot_lasts_from_the_wish_to_the_first_look_at_which_the_worker_served() -> None:
    past = [
        seen(0, ("a-1", WISHED), ("b-1", WISHED), ("a-9", READY), price=0.5),
        seen(30, ("a-1", STARTING), ("b-1", STARTING)),
        seen(60, ("a-1", READY), ("b-1", FAILED)),
        seen(90, ("a-1", READY), ("b-1", FAILED)),
    ]
    found = boots_of(past)
    assert found["local-provider/a"] == Boots((60.0,), 0, 0.5), "an adopted worker tells nothing of its boot"
    assert found["local-provider/b"] == Boots((), 1, 0.5)


def test_a_price_is_what_was_paid_and_a_cap_only_where_nobody_knows() -> None:
    paid, wished = seen(0, ("a-1", READY), price=0.5), seen(30, ("a-2", WISHED), ("b-1", WISHED), price=0.9)
    found = boots_of([paid, wished])
    assert {provider: boots.usd_per_hour for provider, boots in found.items()} == {
        "local-provider/a": 0.5,
        "local-provider/b": 0.9,
    }


def entry(block: str, max_workers: int, warm_workers: int = 0) -> ProviderEntry:
    return ProviderEntry(block=block, max_workers=max_workers, warm_workers=warm_workers)


def test_stopped_instances_start_as_recorded_where_the_fleet_keeps_any() -> None:
    again = Worker("a-2", "x/a", WISHED, usd_per_hour=2.0, warm_instance_id="i-7")
    past = [
        seen(0, ("a-1", WISHED)),
        seen(90, ("a-1", READY)),
        RecordedLook(T0 + 90, Demand(), (again,)),
        RecordedLook(T0 + 110, Demand(), (replace(again, state=READY),)),
    ]
    boots = boots_of(past)
    assert boots["x/a"].warm_seconds == (20.0,)
    assert boots["x/a"].seconds == ()
    environment, notes = past_environment(
        [entry("x/a", 3, 1), entry("x/b", 3, 1), entry("x/c", 3)], boots, max_workers=9
    )
    first, second, third = environment.providers
    assert first.warm_boots is not None
    assert first.warm_boots.median_seconds == 20.0
    assert (second.warm_boots, third.warm_boots) == (WARM_BOOTS, None)
    assert first.storage_usd_per_hour == pytest.approx(0.06)
    assert first.storage_price == 0.03
    assert "1 recorded starts" in notes[1]
    assert "a guess, since none is recorded" in notes[3]


def test_the_environment_boots_and_fails_and_costs_as_recorded() -> None:
    boots = {"x/a": Boots((50.0, 100.0, 200.0), 1, 0.5), "x/b": Boots((10.0,), 0, 2.0)}
    environment, notes = past_environment([entry("x/a", 3), entry("x/b", 4), entry("x/c", 5)], boots, max_workers=6)
    first, second, third = environment.providers
    assert (first.boots.median_seconds, first.boots.least_seconds, first.boots.most_seconds) == (100, 50, 200)
    assert first.boots.sigma == pytest.approx(math.log(2) * math.sqrt(2 / 3))
    assert (first.failing_share, first.price, second.price) == (0.25, 1.0, 4.0)
    assert [provider.usd_per_hour for provider in environment.providers] == [0.5, 2.0, None]
    assert (first.max_workers, third.max_workers, environment.max_workers) == (3, 5, 6)
    assert third.boots.median_seconds == 75, "whom nothing is known of boots like the others"
    assert "3 recorded boots" in notes[0]
    assert "the other providers" in notes[2]


def test_a_fleet_without_recorded_boots_says_that_they_are_a_guess() -> None:
    environment, (note,) = past_environment([entry("x/a", 3)], {}, max_workers=3)
    assert environment.providers[0].boots == K8S.providers[0].boots
    assert "a guess" in note


def test_one_recorded_boot_is_a_distribution() -> None:
    assert boot_times([12.0]).mean_seconds == pytest.approx(12.0)


def test_service_is_unknown_where_nobody_counts() -> None:
    past = looks((0, Demand(running=1)), (60, Demand(running=1)))
    assert served_seconds(past) is None
    assert served_seconds([replace(look, demand=replace(look.demand, served=7)) for look in past]) is None


def test_a_boot_ends_where_its_worker_began_to_serve_and_begins_where_its_turn_looked() -> None:
    past = [
        replace(seen(0, ("a-1", WISHED)), looked_after_seconds=1.5),
        seen(30, ("a-1", STARTING)),
        replace(seen(60, ("a-1", READY)), ready_since=T0 + 41.5),
    ]
    assert boots_of(past)["local-provider/a"].seconds == (40.0,)


def test_guesses_of_a_boots_end_count_where_no_sure_one_is_known() -> None:
    guessed = replace(seen(60, ("a-1", READY)), ready_since=T0 + 45, is_ready_since_sure=False)
    past = [seen(0, ("a-1", WISHED), ("a-2", WISHED)), guessed]
    assert boots_of(past)["local-provider/a"].seconds == (45.0,)
    sure = replace(seen(90, ("a-2", READY)), ready_since=T0 + 50)
    assert boots_of([*past, sure])["local-provider/a"].seconds == (50.0,)


def test_leaving_lasts_from_the_mark_of_an_idle_worker_until_a_look_does_not_know_it() -> None:
    def worker(name: str, state: WorkerState, *, busy: bool) -> Worker:
        return Worker(name, "local-provider/a", state, busy=busy)

    idle, busy = worker("a-1", DRAINING, busy=False), worker("a-2", DRAINING, busy=True)
    looks_at = [
        RecordedLook(T0, Demand(), (idle, busy)),
        RecordedLook(T0 + 30, Demand(), (idle, busy)),
        RecordedLook(T0 + 60, Demand(), now_gone((idle, busy), ())),
    ]
    assert boots_of(looks_at)["local-provider/a"].leave_seconds == (60.0,), "who worked left when its work was done"
    environment, _ = past_environment([entry("local-provider/a", 3)], boots_of(looks_at), max_workers=3)
    assert environment.providers[0].leave_seconds == 60.0
    never, _ = past_environment([entry("x/a", 3)], {}, max_workers=3, usual_leave_seconds=40.0)
    assert never.providers[0].leave_seconds == 40.0


def test_whom_the_next_look_forgot_is_gone_and_nobody_twice() -> None:
    before = (Worker("a-1", "x/a", DRAINING), Worker("a-2", "x/a", READY), Worker("a-3", "x/a", WorkerState.GONE))
    (gone,) = now_gone(before, (before[1],))
    assert (gone.worker_id, gone.state) == ("a-1", WorkerState.GONE)


def test_a_provider_that_takes_a_cap_is_played_at_the_prices_of_its_launches_and_at_its_rate() -> None:
    launched = [
        seen(0, ("a-1", WISHED), ("a-2", WISHED), price=0.9),
        seen(60, ("a-1", READY), price=0.3),
        seen(70, ("a-2", READY), price=0.5),
    ]
    boots = boots_of(launched)
    assert boots["local-provider/a"].prices == (0.3, 0.5), "a wish counts at its cap, and is no price"
    caps = ProviderCaps("here", takes_price_cap=True, usd_per_hour=0.9, seconds_between_launches=3.0, call_seconds=4.0)
    environment, notes = past_environment(
        [entry("local-provider/a", 3)], boots, max_workers=3, caps={"local-provider/a": caps}
    )
    (provider,) = environment.providers
    assert (provider.prices, provider.takes_price_cap, provider.most_usd_per_hour) == ((0.3, 0.5), True, 0.9)
    assert (provider.seconds_between_launches, provider.call_seconds) == (3.0, 4.0)
    assert any("0.3 to 0.5 USD per hour, and is refused above its cap" in note for note in notes)
    fixed, _ = past_environment(
        [entry("local-provider/a", 3)],
        boots,
        max_workers=3,
        caps={"local-provider/a": replace(caps, takes_price_cap=False)},
    )
    assert (fixed.providers[0].prices, fixed.providers[0].usd_per_hour) == ((), 0.5)


def test_workers_of_a_past_serve_as_many_at_once_as_was_seen() -> None:
    environment, _ = past_environment([entry("x/a", 3)], {}, max_workers=3, requests_at_once=4)
    assert environment.providers[0].requests_at_once == 4


def test_storage_costs_what_was_recorded_and_a_guess_where_nothing_was() -> None:
    kept = [entry("x/a", 3, 1)]
    recorded, notes = past_environment(kept, {"x/a": Boots((30.0,), 0, 2.0, storage_usd_per_hour=0.1)}, max_workers=3)
    assert recorded.providers[0].storage_price == pytest.approx(0.05)
    assert recorded.providers[0].storage_usd_per_hour == pytest.approx(0.1)
    assert notes[1].endswith("an hour of storage counts as 0.05 of an hour in use (as recorded)")
    guessed, notes = past_environment(kept, {"x/a": Boots((30.0,), 0, 2.0)}, max_workers=3)
    assert guessed.providers[0].storage_price == pytest.approx(0.03)
    assert notes[1].endswith("(a guess)")
