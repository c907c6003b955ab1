"""Vanilla against the library's own table, with the two corrections, and with the steps of a whole turn."""

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Mark, Worker
from ebbflow.policies.vanilla import VanillaPolicy

ONE_STEP = VanillaPolicy(steps_per_turn=1)


def observed(tasks: int, *states: WorkerState, running: int = 0) -> Observation:
    workers = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", state) for index, state in enumerate(states))
    return Observation(Demand(queued=tasks - running, running=running), workers)


def ready(count: int) -> tuple[WorkerState, ...]:
    return (WorkerState.READY,) * count


LIBRARY = [
    # tasks, workers, wanted, headline, rule
    (0, 0, 0, "queue 0, 0 workers", "nothing to do, and nobody there"),
    (1, 0, 1, "queue 1 > 0", "1 task > 10 per worker x 0 workers"),
    (25, 0, 1, "queue 25 > 0", "25 tasks > 10 per worker x 0 workers"),
    (10, 1, 1, "queue 10, 1 worker", "10 tasks for 1 worker, 1 to 10 each is fine"),
    (20, 2, 2, "queue 20, 2 workers", "20 tasks for 2 workers, 1 to 10 each is fine"),
    (1, 1, 1, "queue 1, 1 worker", "1 task for 1 worker, 1 to 10 each is fine"),
    (11, 1, 2, "queue 11 > 10", "11 tasks > 10 per worker x 1 worker"),
    (21, 2, 3, "queue 21 > 20", "21 tasks > 10 per worker x 2 workers"),
    (31, 3, 4, "queue 31 > 30", "31 tasks > 10 per worker x 3 workers"),
    (2, 3, 2, "queue 2 < 3", "2 tasks < 1 per worker x 3 workers"),
    (3, 3, 3, "queue 3, 3 workers", "3 tasks for 3 workers, 1 to 10 each is fine"),
    (0, 1, 0, "queue 0 < 1", "0 tasks < 1 per worker x 1 worker"),
]


@pytest.mark.parametrize(("tasks", "workers", "wanted", "headline", "rule"), LIBRARY)
def test_one_step_is_the_step_of_the_library(tasks: int, workers: int, wanted: int, headline: str, rule: str) -> None:
    decision = ONE_STEP.decide(observed(tasks, *ready(workers)))
    assert decision.total == wanted
    assert decision.headline == headline
    assert decision.reasons == (Reason("policy.vanilla", f"{rule}: {wanted} wanted"),)


@pytest.mark.parametrize("state", [WorkerState.WISHED, WorkerState.PENDING, WorkerState.STARTING])
def test_a_launch_in_flight_counts_so_that_it_is_not_repeated(state: WorkerState) -> None:
    # D1: the library would start another at every heartbeat until the first has answered.
    decision = ONE_STEP.decide(observed(5, state))
    assert (decision.total, decision.headline) == (1, "queue 5, 1 worker")


@pytest.mark.parametrize("state", [WorkerState.TERMINATING, WorkerState.FAILED, WorkerState.LOST, WorkerState.GONE])
def test_who_does_not_serve_does_not_count(state: WorkerState) -> None:
    assert ONE_STEP.decide(observed(5, state)).total == 1


def test_a_marked_worker_does_not_count() -> None:
    worker = Worker("demo-3f9c-1-0", "local/a", WorkerState.DRAINING, mark=Mark(1, "idle", 60.0))
    assert ONE_STEP.decide(Observation(Demand(queued=5), (worker,))).total == 1


def test_running_work_is_work() -> None:
    assert ONE_STEP.decide(observed(11, *ready(1), running=11)).total == 2


def test_the_last_worker_stays_while_there_is_work() -> None:
    # The library stops it at 1 task and a lower ratio of 2, and starts it again at the next heartbeat.
    policy = VanillaPolicy(lower_task_ratio=2, upper_task_ratio=10)
    assert policy.decide(observed(1, *ready(1))).total == 1
    assert policy.decide(observed(0, *ready(1))).total == 0


@pytest.mark.parametrize(
    ("tasks", "workers", "wanted", "headline"),
    [
        (25, 0, 3, "queue 25 > 0"),
        (37, 2, 4, "queue 37 > 20"),
        (1000, 1, 16, "queue 1000 > 10"),
        (9, 10, 9, "queue 9 < 10"),
        (0, 10, 0, "queue 0 < 10"),
        (0, 20, 5, "queue 0 < 20"),
        (3, 4, 3, "queue 3 < 4"),
    ],
)
def test_a_turn_stands_for_fifteen_steps(tasks: int, workers: int, wanted: int, headline: str) -> None:
    decision = VanillaPolicy().decide(observed(tasks, *ready(workers)))
    assert (decision.total, decision.headline) == (wanted, headline)


def test_unknown_demand_is_not_zero() -> None:
    observation = Observation(Demand(complete=False, detail="timeout"), observed(0, *ready(2)).workers)
    decision = VanillaPolicy().decide(observation)
    assert decision.wanted is None
    assert decision.headline == "demand unknown"
    text = "demand is unknown (timeout), which is not zero: 2 workers stay"
    assert decision.reasons == (Reason("policy.vanilla", text),)


def test_bands_that_cross_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValidationError, match=r"upper_task_ratio 10 must be at least twice lower_task_ratio 6, or one"):
        VanillaPolicy(upper_task_ratio=10, lower_task_ratio=6)


@pytest.mark.parametrize(
    "numbers", [{"upper_task_ratio": 0}, {"lower_task_ratio": 0}, {"steps_per_turn": 0}, {"upper": 3}]
)
def test_numbers_out_of_bounds_and_unknown_names_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        VanillaPolicy.model_validate(numbers)


def test_the_widest_narrow_band_neither_starts_nor_stops_for_ever() -> None:
    policy = VanillaPolicy(lower_task_ratio=5, upper_task_ratio=10)
    for tasks in range(60):
        wanted = 3
        for _ in range(4):
            previous, wanted = wanted, policy.decide(observed(tasks, *ready(wanted))).total or 0
        assert wanted == previous, f"{tasks} tasks swing between {previous} and {wanted} workers"
