"""Marginal: at one price for waiting it launches, holds and lets go, and it learns what it needs from what it sees."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision
from ebbflow.core.worker import Mark, Worker
from ebbflow.policies.formulas.boot_times import KEPT_BOOTS, KEPT_JOINING
from ebbflow.policies.formulas.marginal_memory import NUMBERS, Learned
from ebbflow.policies.formulas.peaks import KEPT_PEAKS
from ebbflow.policies.marginal import MarginalPolicy

BATCH, PATIENT, WATCHING = ALL = tuple(MarginalPolicy(waiting_worth=worth) for worth in (0.1, 1.0, 10.0))
MOST_MEMORY_BYTES = 3000


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


def steady(
    policy: MarginalPolicy,
    *,
    per_second: float,
    service: float,
    workers: int,
    minutes: int = 40,
    elapsed: float = 10.0,
    counts: tuple[str, ...] = ("arrived", "served"),
) -> Decision:
    """What it decides after a while of even arrivals, all served at once."""
    decision, came = None, 0.0
    busy = round(per_second * service)
    for _ in range(round(minutes * 60 / elapsed)):
        idle = ready(workers - busy, idle=500.0, first=busy)
        known = dict.fromkeys(counts, int(came))
        seen = look(0, (*ready(busy, busy=True), *idle), before=decision, elapsed=elapsed, **known)
        decision = policy.decide(seen)
        came += elapsed * per_second
    assert decision is not None
    return decision


def learned(decision: Decision) -> Learned:
    return Learned.read(decision.remembers)


def memory_bytes(decision: Decision) -> int:
    return len(json.dumps(dict(decision.remembers)))


def test_nothing_is_wanted_where_nothing_is_asked_for() -> None:
    decision = PATIENT.decide(look())
    assert (decision.total, decision.headline) == (0, "load 0.0, queue 0")


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("elapsed", [5.0, 30.0, 60.0])
@pytest.mark.parametrize("counted", [True, False])
def test_a_lone_request_brings_one_worker_and_no_more_however_long_it_waits(
    policy: MarginalPolicy, elapsed: float, counted: bool
) -> None:
    decision = policy.decide(look(arrived=0 if counted else None))
    assert decision.total == 0
    workers: tuple[Worker, ...] = ()
    for turn in range(round(600 / elapsed)):
        arrived = 1 if counted else None
        seen = look(1, workers, before=decision, elapsed=elapsed, arrived=arrived, served=0 if counted else None)
        decision = policy.decide(seen)
        assert decision.total == 1, f"turn {turn}: {decision.reasons}"
        workers = starting(1, age=turn * elapsed)


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("queued", [2, 5, 20, 200])
def test_after_a_rest_a_queue_brings_no_more_workers_than_it_has_requests_and_spare_ones(
    policy: MarginalPolicy, queued: int
) -> None:
    decision = policy.decide(look(arrived=0, served=0))
    for _ in range(60):
        decision = policy.decide(look(before=decision, elapsed=60.0, arrived=0, served=0))
    wanted = policy.decide(look(queued, before=decision, elapsed=5.0, arrived=queued, served=0)).total or 0
    assert 1 <= wanted <= (queued if policy.waiting_worth <= 1 else 3 * queued)


def test_a_queue_launches_more_the_more_waiting_is_worth() -> None:
    wanted = [policy.decide(look(40)).total or 0 for policy in ALL]
    assert wanted[0] < wanted[1] < wanted[2]


def test_workers_on_their_way_count_so_that_a_queue_launches_once() -> None:
    first = PATIENT.decide(look(40))
    assert first.total
    second = PATIENT.decide(look(40, starting(first.total), before=first))
    assert second.total == first.total


def test_what_waits_all_the_time_is_served_in_the_end() -> None:
    decision, workers = PATIENT.decide(look(60)), 0
    for _ in range(240):
        workers = max(workers, decision.total or 0)
        busy = min(60, workers)
        decision = PATIENT.decide(look(60 - busy, ready(busy, busy=True), before=decision, elapsed=30.0))
    assert 55 <= workers <= 70


def test_even_load_is_staffed_with_a_margin_that_grows_with_the_worth() -> None:
    # One request a second of ten seconds: a load of ten.
    wanted = [steady(policy, per_second=1.0, service=10.0, workers=30).total or 0 for policy in ALL]
    assert 8 <= wanted[0] <= 10
    assert 10 <= wanted[1] <= 12
    assert 13 <= wanted[2] <= 17


@pytest.mark.parametrize("counts", [("arrived", "served"), ("arrived",), ("served",)])
@pytest.mark.parametrize("elapsed", [5.0, 30.0, 60.0])
def test_whichever_the_master_counts_tells_rate_and_service_time(counts: tuple[str, ...], elapsed: float) -> None:
    known = learned(steady(PATIENT, per_second=1.0, service=10.0, workers=20, counts=counts, elapsed=elapsed))
    assert known.service_seconds(20.0) == pytest.approx(10.0, rel=0.1)
    assert known.rate == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("elapsed", [5.0, 30.0, 60.0])
def test_a_look_at_short_work_in_a_long_turn_tells_little_of_how_long_it_takes(elapsed: float) -> None:
    # Ten requests a second of two seconds each; when somebody looks, it happens to be nobody or many.
    decision, came = None, 0
    for turn in range(round(1800 / elapsed)):
        crew = (*ready(40 * (turn % 2), busy=True), *ready(40 - 40 * (turn % 2), idle=1.0, first=40))
        came += round(10 * elapsed)
        decision = PATIENT.decide(look(0, crew, before=decision, elapsed=elapsed, arrived=came, served=came))
        assert 1.0 <= learned(decision).service_seconds(2.0) <= 4.0
    assert decision is not None
    assert learned(decision).service_seconds(2.0) == pytest.approx(2.0, rel=0.25)


def test_a_sudden_rise_is_believed_until_one_has_ended() -> None:
    wanted = []
    for earlier_crowds in (0, 4):
        decision, came = PATIENT.decide(look(arrived=0, served=0)), 0
        for _ in range(earlier_crowds):
            for turn in range(120):
                came += 20 if turn < 3 else 0
                decision = PATIENT.decide(look(before=decision, arrived=came, served=came))
        came += 30
        wanted.append(PATIENT.decide(look(30, before=decision, arrived=came, served=came - 30)).total or 0)
    assert wanted[0] > 1.2 * wanted[1]


def test_without_counters_work_in_service_tells_the_load() -> None:
    for elapsed in (5.0, 30.0, 60.0):
        decision = steady(PATIENT, per_second=0.4, service=20.0, workers=28, counts=(), elapsed=elapsed)
        known = learned(decision)
        assert known.rate * known.service_seconds(20.0) == pytest.approx(8.0, rel=0.02)
        assert 8 <= (decision.total or 0) <= 10


def test_without_counters_workers_that_have_just_gone_idle_tell_the_service_time() -> None:
    # Five work for five seconds each, so that one ends each second: the last one did some part of a second ago.
    decision = None
    for turn in range(1500):
        idle = replace(ready(1)[0], worker_id="demo-3f9c-1-90", idle_seconds=0.618 * turn % 1)
        others = ready(3, idle=900.0, first=20)
        decision = PATIENT.decide(look(0, (*ready(5, busy=True), idle, *others), before=decision, elapsed=5.0))
    assert decision is not None
    assert learned(decision).service_seconds(20.0) == pytest.approx(5.0, rel=0.25)


def test_boots_are_learned_and_more_gone_than_serve_have_failed() -> None:
    first = PATIENT.decide(look(5, starting(2, age=90.0)))
    arrived = replace(ready(1)[0], state_seconds=4.0)
    second = PATIENT.decide(look(5, (arrived,), before=first, elapsed=10.0))
    known = learned(second)
    assert known.boots == (95.0,)
    assert (known.ended, known.failed) == (2.0, 1.0)
    boots = known.boot_times(120.0)
    assert boots.lead_seconds == 120.0
    assert boots.paid_seconds > (95 + 4 * 120) / 5, "the failed one is paid for too"


def test_a_worker_goes_only_when_its_time_is_over_and_nobody_who_has_just_worked() -> None:
    decision = steady(PATIENT, per_second=1.0, service=10.0, workers=14)
    held = [14]
    for _ in range(150):
        decision = PATIENT.decide(look(0, ready(14, idle=500.0), before=decision, arrived=2400, served=2400))
        held.append(decision.total or 0)
    assert held[10] >= 10, "let go at once"
    assert held[-1] == 0
    assert held == sorted(held, reverse=True)
    assert PATIENT.decide(look(0, ready(3, idle=99.0), before=decision)).total == 3
    assert PATIENT.decide(look(0, ready(3, idle=101.0), before=decision)).total == 0


@pytest.mark.parametrize("policy", ALL)
def test_a_fleet_whose_memory_is_lost_is_held_until_there_is_something_to_judge_it_by(policy: MarginalPolicy) -> None:
    workers = (*ready(10, busy=True), *ready(6, idle=500.0, first=10))
    decision = policy.decide(look(0, workers, arrived=90_000, served=89_990))
    assert decision.total == 16
    came, sizes = 90_000, []
    for _ in range(240):
        came += 10
        seen = look(0, workers, before=decision, arrived=came, served=came - 10)
        decision = policy.decide(seen)
        sizes.append(decision.total or 0)
    assert sizes[0] == 16
    assert min(sizes) >= 10
    kept = steady(policy, per_second=1.0, service=10.0, workers=16)
    assert abs(sizes[-1] - (kept.total or 0)) <= 1, "it does not come to what it had come to before"


def test_nobody_goes_while_anything_waits() -> None:
    assert BATCH.decide(look(1, ready(4, idle=5000.0))).total == 4


@pytest.mark.parametrize("policy", ALL)
def test_whatever_waits_it_never_wants_more_than_a_fleet_may_have(policy: MarginalPolicy) -> None:
    decision = policy.decide(look(0))
    for _ in range(40):
        decision = policy.decide(look(50_000_000, before=decision, elapsed=60.0))
        assert decision.total == 10_000
    assert all(math.isfinite(number) for series in decision.remembers.values() for number in series)


def test_it_never_wants_fewer_than_work() -> None:
    for policy in ALL:
        assert (policy.decide(look(0, ready(7, busy=True))).total or 0) >= 7


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
    assert learned(after).rate == pytest.approx(1.0 * -math.expm1(-60 / 60), rel=0.01)


@pytest.mark.parametrize(("arrived", "served"), [(10, 10), (0, 0), (10, None), (None, 10)])
def test_a_counter_that_went_back_began_anew(arrived: int | None, served: int | None) -> None:
    first = steady(PATIENT, per_second=1.0, service=10.0, workers=14)
    workers = (*ready(10, busy=True), *ready(4, idle=500.0, first=10))
    after = PATIENT.decide(look(0, workers, before=first, arrived=arrived, served=served))
    assert 0 < learned(after).rate <= 1.01
    assert 5 < learned(after).service_seconds(20.0) < 20
    assert after.total == first.total


OLD_MEMORY = {
    "counters": (0.5, 1.0, 90.0, 88.0, 4000.0, 88.0, 0.0),
    "joining": (3.0,),
    "boots": (110.0, 130.0),
    "peaks": (12.0, 4.0, 0.0, 3.0),
}


@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(OLD_MEMORY, id="of the form before"),
        pytest.param({"learned": (1.0, 2.0), "held": (1.0,)}, id="too short"),
        pytest.param({"learned": (0.0,) * NUMBERS, "excess": (1.0, 2.0)}, id="torn"),
        pytest.param({"arrived": (3.0,), "busy": (2.0,)}, id="of another policy"),
    ],
)
def test_memory_of_another_form_is_lost_and_no_error(memory: dict[str, tuple[float, ...]]) -> None:
    decision = PATIENT.decide(replace(look(40), remembered=memory, elapsed_seconds=30.0))
    assert decision == PATIENT.decide(look(40))


@pytest.mark.parametrize("held", [(1.0,), (), (5.0, 3.0, 2.0)])
def test_a_series_of_another_length_is_no_error(held: tuple[float, ...]) -> None:
    before = PATIENT.decide(look(4))
    seen = look(4, before=replace(before, remembers={**before.remembers, "held": held, "lasted": held}))
    assert (PATIENT.decide(seen).total or 0) >= 1


def test_the_same_observation_gives_the_same_decision() -> None:
    seen = look(17, (*ready(3, busy=True), *starting(2)), before=PATIENT.decide(look(40)))
    assert PATIENT.decide(seen) == PATIENT.decide(seen)


@pytest.mark.parametrize("policy", ALL)
def test_more_that_waits_never_means_fewer_whatever_is_remembered(policy: MarginalPolicy) -> None:
    for seen, _ in _stormy(policy, counted=False):
        before = 0
        for queued in (0, 1, 2, 5, 20, 100):
            total = policy.decide(replace(seen, demand=replace(seen.demand, queued=queued))).total or 0
            assert total >= before, f"{queued} queued: {total} after {before}"
            before = total


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        pytest.param(PATIENT.decide(look()), ["0 wanted, 0 there", "0.0 busy on average"], id="nothing to do"),
        pytest.param(PATIENT.decide(look(40)), ["0 there", "for 40 queued after a boot of 120 s"], id="a queue"),
        pytest.param(
            WATCHING.decide(look(40)), ["not more than 110, as at most 40 requests were there at once"], id="a crowd"
        ),
        pytest.param(BATCH.decide(look(1)), ["1 since somebody has to come for 1 queued"], id="somebody has to come"),
        pytest.param(
            BATCH.decide(look(1, ready(4, idle=900.0))),
            ["4 kept since nobody goes while anything is queued"],
            id="kept",
        ),
        pytest.param(
            steady(PATIENT, per_second=1.0, service=10.0, workers=30),
            ["12 wanted, 30 there: 10.5 busy on average (1 requests/s of 10.5 s)", "+1.3 for how far demand swings"],
            id="a load",
        ),
    ],
)
def test_one_sentence_says_why_with_the_numbers(decision: Decision, words: list[str]) -> None:
    (reason,) = decision.reasons
    assert reason.rule == "policy.marginal"
    assert not [word for word in words if word not in reason.text], reason.text
    assert "\n" not in reason.text


def test_what_is_held_says_how_likely_it_is_needed_again() -> None:
    decision = steady(PATIENT, per_second=0.1, service=20.0, workers=4, minutes=30)
    held = PATIENT.decide(look(0, ready(4, idle=500.0), before=decision, elapsed=100.0, arrived=180, served=180))
    assert "held since" in held.reasons[0].text
    assert "the next request comes within its boot time of 120 s" in held.reasons[0].text
    assert "% of the time" in held.reasons[0].text


def test_a_hold_that_is_longer_than_usual_says_so() -> None:
    policy = MarginalPolicy(waiting_worth=1.0)
    busy = steady(policy, per_second=0.5, service=10.0, workers=12)
    longer = {**busy.remembers, "imagined": (0.0, 0.0, 0.0, 2.0)}
    calm = look(0, ready(12, idle=500.0), before=replace(busy, remembers=longer), arrived=1200, served=1200)
    usual, held = policy.decide(replace(calm, remembered=busy.remembers)), policy.decide(calm)
    assert "times as long as usual" not in usual.reasons[0].text
    assert "for 9 times as long as usual since that would have been cheaper" in held.reasons[0].text


def test_turns_that_follow_each_other_end_where_decisions_one_by_one_do() -> None:
    course, decision = PATIENT.course({}), None
    for seen, decision in _stormy(PATIENT, counted=True):
        assert course.wanted(seen) == decision.total
    assert decision is not None
    assert course.remembers == decision.remembers


def test_where_nobody_reads_it_the_answer_is_the_same_without_words() -> None:
    seen = look(17, (*ready(3, busy=True), *starting(2)), before=PATIENT.decide(look(40)))
    told, untold = PATIENT.decide(seen), PATIENT.decide(replace(seen, explains=False))
    assert (untold.wanted, untold.remembers) == (told.wanted, told.remembers)
    assert untold.reasons[0].text == ""


@pytest.mark.parametrize("worth", [0.0, -1.0, 0.001, 1000.0, float("nan"), float("inf")])
def test_a_worth_out_of_range_is_refused(worth: float) -> None:
    with pytest.raises(ValidationError, match="waiting_worth"):
        MarginalPolicy(waiting_worth=worth)


@pytest.mark.parametrize("knob", ["boot_seconds", "service_seconds"])
def test_a_hint_out_of_range_is_refused(knob: str) -> None:
    with pytest.raises(ValidationError, match=knob):
        MarginalPolicy.model_validate({knob: 0})


def test_worths_between_and_beyond_those_that_were_tried_are_between_and_as_there() -> None:
    wanted = [
        steady(MarginalPolicy(waiting_worth=worth), per_second=2.0, service=10.0, workers=60).total or 0
        for worth in (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
    ]
    assert wanted == sorted(wanted)
    assert (wanted[0], wanted[-1]) == (wanted[1], wanted[-2])


@pytest.mark.parametrize("counted", [True, False])
def test_memory_stays_small_and_a_decision_quick_with_a_thousand_workers(counted: bool) -> None:
    spent = []
    for seen, decision in _stormy(WATCHING, counted=counted, workers=1000):
        began = time.process_time()
        WATCHING.decide(seen)
        spent.append(time.process_time() - began)
        known = learned(decision)
        assert len(known.boots) <= KEPT_BOOTS
        assert len(known.joining) <= KEPT_JOINING
        assert len(known.held) <= 2 * KEPT_PEAKS
        assert memory_bytes(decision) <= MOST_MEMORY_BYTES
    # A millisecond is the goal; a shared machine is given some room.
    assert sorted(spent)[len(spent) // 2] < 0.003


def _stormy(policy: MarginalPolicy, *, counted: bool, workers: int = 30) -> Iterator[tuple[Observation, Decision]]:
    """Boots end all the time and the load swings and falls for long, so that there is much to remember."""
    decision: Decision | None = None
    for turn in range(120):
        busy = round(0.6 * workers * (1 - turn % 40 / 40))
        boots = tuple(
            replace(worker, joining_seconds=(13.0 * turn + 7.3 * place) % 300)
            for place, worker in enumerate(starting(workers // 10))
        )
        crew = (*ready(busy, busy=True), *ready(workers - busy, idle=(turn % 9) * 20.0, first=busy), *boots)
        seen = look(
            workers // 2 - turn % 40 * workers // 80 if turn % 3 else 0,
            crew,
            before=decision,
            elapsed=(5.0, 30.0, 60.0)[turn % 3],
            arrived=turn * workers if counted else None,
            served=turn * workers - busy if counted and turn else None,
        )
        decision = policy.decide(seen)
        yield seen, decision
