"""`target_queue_time`: measured performance for the load, the queue and the reserve."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.target_queue_time import TargetQueueTimePolicy

NOW = TargetQueueTimePolicy(inactivity_timeout_seconds=0, half_life_seconds=0, cold_mult=1)


def observed(
    demand: Demand, speeds: tuple[float | None, ...] = (), remembered: PolicyMemory | None = None
) -> Observation:
    fleet = tuple(
        Worker(f"demo-3f9c-1-{index}", "vast/a", WorkerState.READY, units_per_second=speed)
        for index, speed in enumerate(speeds)
    )
    return Observation(demand, fleet, elapsed_seconds=30.0, remembered=remembered or {})


def test_nine_hundred_units_at_a_use_of_ninety_percent_need_a_capacity_of_a_thousand() -> None:
    """Source: the vendor's guide to target_util."""
    demand = Demand(arrived=27_000)
    decision = NOW.decide(observed(demand, (100.0,), {"arrived": (0.0,)}))
    assert decision.total == 10
    text = (
        "900 units/s arrive, 0 units wait, to be begun in 10 s; / target_util 0.9 = 1000 units/s wanted, "
        "100 per worker: 10 workers; 0 warm beside them"
    )
    assert decision.reasons == (Reason("policy.target_queue_time", text),)
    assert decision.headline == "load 900/s: 10 workers"


@pytest.mark.parametrize(
    ("demand", "speeds", "wanted"),
    [
        pytest.param(Demand(), (), 0, id="nothing"),
        pytest.param(Demand(queued=90), (), 10, id="unmeasured, uncounted: one unit per request, one per second"),
        pytest.param(Demand(queued=80, running=10), (), 10, id="what runs is load too"),
        pytest.param(Demand(queued=90), (2.0,), 5, id="measured"),
        pytest.param(Demand(queued=1, queued_units=900.0), (20.0,), 5, id="units of work, not requests"),
        pytest.param(Demand(queued=90), (5.0, 10.0, 1.0), 3, id="whoever goes, the rest carries it"),
        pytest.param(Demand(queued=45), (5.0, 10.0, 1.0), 2, id="the slowest are counted first"),
    ],
)
def test_workers_for_the_queue_are_counted_by_what_they_do(
    demand: Demand, speeds: tuple[float | None, ...], wanted: int
) -> None:
    assert NOW.decide(observed(demand, speeds)).total == wanted


def test_arrivals_are_differences_and_rise_at_once() -> None:
    policy = TargetQueueTimePolicy(inactivity_timeout_seconds=0)
    first = policy.decide(observed(Demand(arrived=1000)))
    assert first.total == 0, "what came before anybody looked is no rate"
    second = policy.decide(observed(Demand(arrived=1270), remembered=first.remembers))
    assert second.total == 10
    calm = policy.decide(observed(Demand(arrived=1270), remembered=second.remembers))
    assert 5 < (calm.total or 0) < 10
    anew = policy.decide(observed(Demand(arrived=3), remembered=second.remembers))
    assert anew.total == 10, "a master that counts from zero again has no negative load"


def test_a_turn_that_saw_nothing_is_part_of_the_time_between_two_counts() -> None:
    first = NOW.decide(observed(Demand(arrived=0)))
    blind = NOW.decide(observed(Demand(complete=False), remembered=first.remembers))
    assert blind.wanted is None
    third = NOW.decide(observed(Demand(arrived=540), remembered=blind.remembers))
    assert third.total == 10
    assert "unseen_seconds" not in third.remembers


def test_the_work_of_a_request_is_measured_where_the_master_measures_it() -> None:
    before: PolicyMemory = {"arrived": (0.0,), "served": (0.0,), "served_units": (0.0,)}
    demand = Demand(arrived=27, served=10, served_units=500.0)
    assert NOW.decide(observed(demand, (10.0,), before)).total == 5


def test_what_nobody_has_measured_does_as_the_others_and_goes_on_doing_so() -> None:
    mixed = NOW.decide(observed(Demand(queued=90), (3.0, None)))
    assert mixed.remembers["speed"] == (3.0,)
    alone = NOW.decide(observed(Demand(queued=90), (None,), mixed.remembers))
    assert alone.total == 4


@pytest.mark.parametrize(
    ("timeout", "idle", "supply", "wanted"),
    [
        (0, 0.0, 2, 0),
        (100, 0.0, 2, 1),
        (100, 60.0, 2, 1),
        (100, 80.0, 2, 0),
        (100, 0.0, 0, 0),
        (-1, 9000.0, 2, 1),
        (-1, 9000.0, 0, 1),
    ],
)
def test_zero_is_allowed_after_a_time_without_requests(timeout: float, idle: float, supply: int, wanted: int) -> None:
    policy = TargetQueueTimePolicy(inactivity_timeout_seconds=timeout)
    decision = policy.decide(observed(Demand(), (1.0,) * supply, {"idle_seconds": (idle,)}))
    assert decision.total == wanted


def test_regression_what_was_left_of_an_average_kept_the_last_worker_for_half_an_hour() -> None:
    policy = TargetQueueTimePolicy(inactivity_timeout_seconds=100, half_life_seconds=60, units_per_second=1)
    remembered = {"arrived": (8.0,), "arrivals_per_second": (0.06,), "idle_seconds": (40.0,)}
    quiet = observed(Demand(arrived=8, served=8, served_units=8.0), (1.0,), remembered)
    decisions = [policy.decide(quiet)]
    for _ in range(2):
        decisions.append(policy.decide(replace(quiet, remembered=decisions[-1].remembers)))
    assert [decision.total for decision in decisions] == [1, 0, 0]
    waits = replace(quiet, demand=replace(quiet.demand, queued=1), remembered=decisions[-1].remembers)
    assert policy.decide(waits).total == 1


def test_a_request_ends_idleness() -> None:
    policy = TargetQueueTimePolicy()
    seen = observed(Demand(queued=1), (1.0,), {"idle_seconds": (200.0,)})
    assert policy.decide(seen).remembers["idle_seconds"] == (0.0,)
    assert policy.decide(replace(seen, demand=Demand())).remembers["idle_seconds"] == (230.0,)


def reserve(**numbers: float) -> Decision:
    return TargetQueueTimePolicy.model_validate(numbers).decide(observed(Demand(queued=90)))


def test_the_largest_of_three_targets_is_kept_loaded() -> None:
    assert (reserve().total, reserve().reserve) == (10, 15)
    assert reserve(cold_mult=1, min_cold_load=14).reserve == 4
    assert reserve(cold_mult=1, cold_workers=12).reserve == 2
    assert reserve(cold_mult=1).reserve == 0


def test_a_minimum_of_load_always_serves() -> None:
    assert TargetQueueTimePolicy(min_load=3).decide(observed(Demand())).total == 3


@pytest.mark.parametrize(
    "numbers",
    [{"target_util": 0}, {"target_util": 1.1}, {"target_queue_time_seconds": 0}, {"cold_mult": 0.5},
     {"inactivity_timeout_seconds": -2}, {"units_per_second": 0}],
)  # fmt: skip
def test_numbers_out_of_bounds_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TargetQueueTimePolicy.model_validate(numbers)
