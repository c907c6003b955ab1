"""`waterfall`: so many workers as the work is worth; which provider takes them is placement's."""

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Reason, Want
from ebbflow.core.worker import Worker
from ebbflow.policies.waterfall import WaterfallPolicy

GPU, TWO = ("gpu",), ("gpu=2",)


def observed(demand: Demand, workers: int = 0) -> Observation:
    return Observation(
        demand, tuple(Worker(f"demo-3f9c-1-{index}", "local/a", WorkerState.READY) for index in range(workers))
    )


@pytest.mark.parametrize(
    ("tasks", "workers", "wanted"), [(0, 4, 0), (1, 0, 1), (10, 0, 1), (11, 0, 2), (25, 9, 3), (61, 5, 7), (900, 0, 90)]
)
def test_ten_tasks_are_worth_a_worker(tasks: int, workers: int, wanted: int) -> None:
    assert WaterfallPolicy().decide(observed(Demand(queued=tasks), workers)).total == wanted


def test_running_tasks_are_tasks() -> None:
    assert WaterfallPolicy().decide(observed(Demand(queued=8, running=3))).total == 2


MIXED = Demand(queued=45, shapes=(Shape(GPU, 15), Shape((), 30)))


def test_each_kind_is_wanted_by_itself_and_each_task_once() -> None:
    decision = WaterfallPolicy().decide(observed(MIXED, 1))
    assert decision.wanted == (Want((), 3), Want(GPU, 2))
    assert decision.headline == "queue 45: 5 workers"
    text = "45 tasks, one worker per 10 of each kind: 3 x {}, 2 x {gpu} wanted, 1 there"
    correction = "the library's rule, without this correction, would want 7"
    assert decision.reasons == (
        Reason("policy.waterfall", text),
        Reason("policy.waterfall.count_once", correction),
    )


def test_the_library_counts_what_requires_something_twice_and_compares_names_alone() -> None:
    library = WaterfallPolicy(uncorrected=("count_once", "compare_amounts"))
    assert library.decide(observed(MIXED)).wanted == (Want((), 5), Want(GPU, 2))
    sizes = Demand(queued=12, shapes=(Shape(TWO, 6), Shape(GPU, 6)))
    assert library.decide(observed(sizes)).wanted == (Want((), 2), Want(TWO, 2))
    assert WaterfallPolicy().decide(observed(sizes)).wanted == (Want(TWO, 1), Want(GPU, 1))
