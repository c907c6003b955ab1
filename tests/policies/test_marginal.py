"""Marginal: at one price for waiting it launches, holds and lets go, and it learns what it needs from what it sees."""

import json
import math
import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision
from ebbflow.core.worker import Mark, Worker
from ebbflow.policies.formulas.marginal_memory import KEPT_BOOTS, KEPT_PEAKS, Learned
from ebbflow.policies.marginal import MarginalPolicy

BATCH, PATIENT, WATCHING = (MarginalPolicy(waiting_worth=worth) for worth in (0.1, 1.0, 10.0))


def ready(count: int, *, busy: bool = False, idle: float = 0.0, first: int = 0) -> tuple[Worker, ...]:
    return tuple(
        Worker(
            f"demo-3f9c-1-{first + index}",
            "local/a",
            WorkerState.READY,
            state_seconds=5000.0,
            busy=busy,
            idle_seconds=None if busy else idle,
        )
        for index in range(count)
    )


def starting(count: int, age: float = 10.0) -> tuple[Worker, ...]:
    return tuple(
        Worker(f"demo-3f9c-2-{index}", "local/a", WorkerState.STARTING, joining_seconds=age) for index in range(count)
    )


def look(
    queued: int = 0,
    workers: tuple[Worker, ...] = (),
    *,
    before: Decision | None = None,
    elapsed: float = 10.0,
    arrived: int | None = None,
    served: int | None = None,
) -> Observation:
    running = sum(worker.busy is True for worker in workers)
    return Observation(
        Demand(queued=queued, running=running, arrived=arrived, served=served),
        workers,
        elapsed_seconds=elapsed if before else 0.0,
        remembered=before.remembers if before else {},
    )


def steady(policy: MarginalPolicy, *, per_second: float, service: float, workers: int, minutes: int = 60) -> Decision:
    """What it decides after an hour of even arrivals, all served at once."""
    decision, arrived = None, 0.0
    busy = round(per_second * service)
    for _ in range(minutes * 6):
        seen = look(
            0,
            (*ready(busy, busy=True), *ready(workers - busy, idle=500.0, first=busy)),
            before=decision,
            arrived=int(arrived),
            served=int(arrived),
        )
        decision = policy.decide(seen)
        arrived += 10 * per_second
    assert decision is not None
    return decision


def learned(decision: Decision) -> Learned:
    return Learned.read(decision.remembers)


def test_nothing_is_wanted_where_nothing_is_asked_for() -> None:
    decision = PATIENT.decide(look())
    assert (decision.total, decision.headline) == (0, "load 0.0, queue 0")


def test_a_queue_launches_more_the_more_waiting_is_worth() -> None:
    wanted = [policy.decide(look(40)).total or 0 for policy in (BATCH, PATIENT, WATCHING)]
    assert wanted[0] < wanted[1] < wanted[2]


def test_workers_on_their_way_count_so_that_a_queue_launches_once() -> None:
    first = PATIENT.decide(look(40))
    assert first.total
    second = PATIENT.decide(look(40, starting(first.total), before=first))
    assert second.total == first.total


def test_a_queue_that_drains_before_a_boot_ends_launches_nothing() -> None:
    # Ten workers serve 60 requests in a boot of 120 s; 20 more are gone by then.
    assert PATIENT.decide(look(20, ready(10, busy=True))).total == 10
    assert (PATIENT.decide(look(300, ready(10, busy=True))).total or 0) > 10


def test_a_lone_request_waits_as_long_as_a_boot_is_worth_and_no_longer() -> None:
    decision, waited = BATCH.decide(look(1, arrived=1, served=0)), 0.0
    while decision.total == 0:
        waited += 60.0
        assert waited < 5000, "it would wait for ever"
        decision = BATCH.decide(look(1, before=decision, elapsed=60.0, arrived=1, served=0))
    assert waited == pytest.approx(1200, abs=60)
    assert PATIENT.decide(look(1, before=PATIENT.decide(look(1)), elapsed=120.0)).total == 1


def test_even_load_is_staffed_with_a_margin_that_grows_with_the_worth() -> None:
    # One request a second of ten seconds: a load of ten.
    wanted = [
        steady(policy, per_second=1.0, service=10.0, workers=30).total or 0 for policy in (BATCH, PATIENT, WATCHING)
    ]
    assert 8 <= wanted[0] <= 11
    assert 11 <= wanted[1] <= 14
    assert 15 <= wanted[2] <= 19


def test_service_time_is_learned_from_the_time_in_service() -> None:
    known = learned(steady(PATIENT, per_second=1.0, service=10.0, workers=20))
    assert known.service_seconds(20.0) == pytest.approx(10.0, rel=0.1)
    assert known.arrivals_per_second(90.0, 20.0) == pytest.approx(1.0, rel=0.01)


def test_boots_are_learned_and_a_failed_one_counts_as_long_as_it_was_waited_for() -> None:
    first = PATIENT.decide(look(5, starting(2, age=90.0)))
    arrived = replace(ready(1)[0], state_seconds=4.0)
    second = PATIENT.decide(look(5, (arrived,), before=first, elapsed=10.0))
    assert learned(second).boots == [96.0, 100.0]
    assert learned(second).boot_seconds(120.0) == pytest.approx((196 + 4 * 120) / 6)


def test_a_worker_goes_only_when_its_time_is_over_and_nobody_who_worked_a_minute_ago() -> None:
    decision = steady(PATIENT, per_second=1.0, service=10.0, workers=14)
    held = [14]
    for _ in range(150):
        decision = PATIENT.decide(look(0, ready(14, idle=500.0), before=decision, arrived=3600, served=3600))
        held.append(decision.total or 0)
    assert held[10] >= 10, "let go at once"
    assert held[-1] == 0
    assert held == sorted(held, reverse=True)
    assert PATIENT.decide(look(0, ready(3, idle=59.0))).total == 3
    assert PATIENT.decide(look(0, ready(3, idle=61.0))).total == 0


def test_nobody_goes_while_anything_waits() -> None:
    assert BATCH.decide(look(1, ready(4, idle=5000.0))).total == 4


def test_whatever_waits_it_never_wants_more_than_a_fleet_may_have() -> None:
    assert WATCHING.decide(look(50_000_000)).total == 10_000


def test_it_never_wants_fewer_than_work() -> None:
    for policy in (BATCH, PATIENT, WATCHING):
        assert policy.decide(look(0, ready(7, busy=True))).total == 7


def test_who_is_marked_failed_or_lost_does_not_count() -> None:
    marked = Worker("demo-3f9c-1-9", "local/a", WorkerState.DRAINING, busy=False, mark=Mark(1, "idle", 60.0))
    others = (marked, Worker("demo-3f9c-1-8", "local/a", WorkerState.LOST))
    assert PATIENT.decide(look(40, others)).total == PATIENT.decide(look(40)).total


def test_unknown_demand_holds_and_the_time_is_not_lost() -> None:
    first = PATIENT.decide(look(0, arrived=100, served=100))
    unknown = Observation(
        Demand(complete=False, detail="timed out"), ready(2), elapsed_seconds=30.0, remembered=first.remembers
    )
    held = PATIENT.decide(unknown)
    assert (held.wanted, held.headline) == (None, "demand unknown")
    assert "demand is unknown (timed out), which is not zero: 2 workers stay" in held.reasons[0].text
    after = PATIENT.decide(look(0, before=held, elapsed=30.0, arrived=160, served=160))
    assert learned(after).rate == pytest.approx(1.0 * -math.expm1(-60 / 90), rel=0.01)


def test_a_counter_that_went_back_began_anew() -> None:
    first = PATIENT.decide(look(0, arrived=5000, served=5000))
    after = PATIENT.decide(look(0, before=first, arrived=10, served=10))
    assert 0 < learned(after).rate < 1.0


def test_without_counters_work_in_service_tells_the_load() -> None:
    decision = None
    for _ in range(120):
        decision = PATIENT.decide(look(0, (*ready(8, busy=True), *ready(20, idle=500.0, first=8)), before=decision))
    assert decision is not None
    assert 9 <= (decision.total or 0) <= 12


def test_memory_of_another_shape_begins_anew() -> None:
    odd = replace(look(40), remembered={"counters": (1.0, 2.0), "peaks": (1.0,)})
    assert PATIENT.decide(odd).total == PATIENT.decide(look(40)).total


def test_the_same_observation_gives_the_same_decision() -> None:
    seen = look(17, (*ready(3, busy=True), *starting(2)), before=PATIENT.decide(look(40)))
    assert PATIENT.decide(seen) == PATIENT.decide(seen)


def test_the_reason_names_the_numbers() -> None:
    (reason,) = PATIENT.decide(look(40)).reasons
    assert reason.rule == "policy.marginal"
    assert "40 queued after a boot of 120 s" in reason.text


@pytest.mark.parametrize("worth", [0.0, -1.0, 0.001, 1000.0, float("nan"), float("inf")])
def test_a_worth_out_of_range_is_refused(worth: float) -> None:
    with pytest.raises(ValidationError, match="waiting_worth"):
        MarginalPolicy(waiting_worth=worth)


@pytest.mark.parametrize("knob", ["boot_seconds", "service_seconds"])
def test_a_hint_out_of_range_is_refused(knob: str) -> None:
    with pytest.raises(ValidationError, match=knob):
        MarginalPolicy.model_validate({knob: 0})


def test_memory_stays_small_and_a_decision_quick_with_a_thousand_workers() -> None:
    workers = (*ready(600, busy=True), *ready(300, idle=30.0, first=600), *starting(100))
    decision = WATCHING.decide(look(500, workers, arrived=0, served=0))
    spent = []
    for tick in range(1, 120):
        # Boots end all the time, and the load swings, so that there is much to remember.
        moving = tuple(replace(worker, joining_seconds=(13.0 * tick + place) % 300) for place, worker in
                       enumerate(starting(100)))  # fmt: skip
        seen = look(
            (tick * 37) % 500, (*workers[:900], *moving), before=decision, arrived=tick * 900, served=tick * 800
        )
        began = time.process_time()
        decision = WATCHING.decide(seen)
        spent.append(time.process_time() - began)
    assert len(learned(decision).boots) <= KEPT_BOOTS
    assert len(learned(decision).peaks) <= KEPT_PEAKS + 1
    assert len(json.dumps(dict(decision.remembers))) < 10_000
    # A millisecond is the goal; a shared machine is given some room.
    assert sorted(spent)[len(spent) // 2] < 0.003
