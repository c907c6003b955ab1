"""`busy_ratio`: the numbers of the older system, and the loop around them that it never had right."""

import itertools

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import PolicyMemory, Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.busy_ratio import BusyRatioPolicy, hot_wanted, total_wanted
from ebbflow.policies.formulas.averages import rise_at_once

READY, PENDING = WorkerState.READY, WorkerState.PENDING


@pytest.mark.parametrize(
    ("busy", "hot", "wanted"),
    [
        (10, 10, 12),
        (6, 10, 10),
        (2, 10, 4),
        (1, 1, 2),
        (0, 1, 1),
        (0, 2, 1),
        # Without any worker the older system has a ratio of 20, and starts as many.
        (0, 0, 1),
        (5, 0, 6),
    ],
)
def test_the_share_of_busy_ones_is_led_into_its_band(busy: int, hot: int, wanted: int) -> None:
    assert hot_wanted(busy, hot) == wanted


@pytest.mark.parametrize(("hot", "total"), [(1, 6), (0, 3), (5, 19)])
def test_three_of_ten_that_are_loaded_are_hot(hot: int, total: int) -> None:
    assert total_wanted(hot) == total


def test_load_rises_at_once_and_falls_by_half_in_its_half_life() -> None:
    assert rise_at_once(9.0, 3.0, 5.0, 100.0) == 9.0
    assert rise_at_once(0.0, 8.0, 100.0, 100.0) == pytest.approx(4.0)
    assert rise_at_once(0.0, 1.0, 5.0, 100.0) == pytest.approx(0.966, abs=0.001)
    assert rise_at_once(2.0, None, 5.0, 100.0) == 2.0
    assert rise_at_once(2.0, 8.0, 5.0, 0.0) == 2.0


def observed(
    tasks: int, hot: int, remembered: PolicyMemory | None = None, state: WorkerState = READY, elapsed: float = 30.0
) -> Observation:
    fleet = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", state) for index in range(hot))
    return Observation(Demand(queued=tasks), fleet, elapsed_seconds=elapsed, remembered=remembered or {})


def test_a_turn_makes_few_actions() -> None:
    assert BusyRatioPolicy().decide(observed(50, 0)).total == 3
    assert BusyRatioPolicy().decide(observed(0, 50)).total == 47
    assert BusyRatioPolicy(actions_per_turn=100).decide(observed(50, 0)).total == 53


def test_what_starts_is_not_started_again() -> None:
    assert BusyRatioPolicy().decide(observed(2, 3, state=PENDING)).total == 3


def test_a_load_step_is_followed_to_its_band_and_back_down_slowly() -> None:
    """The older system counted no busy worker, and so settled at one whatever the load."""
    policy = BusyRatioPolicy()
    hot, sizes = 1, list[int]()
    memory: PolicyMemory = {}
    for tasks in [20] * 10 + [0] * 40:
        decision = policy.decide(observed(tasks, hot, memory))
        hot, memory = decision.total or 0, decision.remembers
        sizes.append(hot)
    assert sizes[9] == 23
    assert sizes[10] == 23, "a short calm ends nothing"
    assert sizes[-1] == 1
    assert all(before - after <= 3 for before, after in itertools.pairwise(sizes))


def test_a_busy_worker_is_load_whatever_the_queue_says() -> None:
    fleet = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", READY, busy=True) for index in range(4))
    assert BusyRatioPolicy().decide(Observation(Demand(), fleet)).total == 5


def test_it_says_what_it_counted_and_how_much_is_to_be_kept_warm() -> None:
    decision = BusyRatioPolicy().decide(observed(4, 2))
    assert (decision.total, decision.reserve) == (5, 14)
    assert decision.headline == "load 4: 5 workers"
    text = (
        "4 workers' worth of load, 4.0 on average, over 2 workers, busy share to be 0.6 to 0.9: 5 would do, "
        "5 wanted with at most 3 actions; 14 warm for a hot share of 0.3"
    )
    assert decision.reasons == (Reason("policy.busy_ratio", text),)
    assert decision.remembers == {"busy": (4.0,), "hot": (5.0,)}


def test_the_reserve_outlives_a_short_calm() -> None:
    calm = BusyRatioPolicy().decide(observed(0, 5, {"busy": (4.0,), "hot": (5.0,)}))
    assert (calm.reserve or 0) + (calm.total or 0) >= 16


@pytest.mark.parametrize(
    "numbers",
    [{"upper_busy_ratio": 0.6}, {"hot_share": 0}, {"hot_share": 1.5}, {"actions_per_turn": 0}, {"tasks_per_worker": 0}],
)
def test_bands_that_cross_and_numbers_out_of_bounds_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        BusyRatioPolicy.model_validate(numbers)


def test_the_refusal_names_both_ratios() -> None:
    with pytest.raises(ValidationError, match=r"upper_busy_ratio 0.5 must be above lower_busy_ratio 0.6"):
        BusyRatioPolicy(upper_busy_ratio=0.5)
