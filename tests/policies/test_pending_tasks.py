"""`pending_tasks`: a worker for each waiting task beyond the free ones; the defects of the older system stay away."""

from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import CanLaunch, Observation, Offer
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.pending_tasks import PendingTasksPolicy

GPU, TWO = ("gpu",), ("gpu=2",)
READY, STARTING, PENDING = WorkerState.READY, WorkerState.STARTING, WorkerState.PENDING


def worker(
    name: str, busy: bool | None = False, idle: float | None = 0.0, words: tuple[str, ...] = GPU,
    state: WorkerState = READY,
) -> Worker:  # fmt: skip
    return Worker(name, "slurm/a", state, words, busy=busy, idle_seconds=None if busy else idle)


BUSY, FREE, IDLE = worker("busy", True), worker("free"), worker("idle", False, 61.0)
UNKNOWN = worker("unknown", None, None)
ON_ITS_WAY, QUEUED = worker("starting", None, None, state=STARTING), worker("queued", None, None, state=PENDING)


def observed(tasks: int, *workers: Worker, words: tuple[str, ...] = GPU, running: int = 0) -> Observation:
    return Observation(Demand(queued=tasks, running=running, shapes=(Shape(words, tasks),)), workers)


@pytest.mark.parametrize(
    ("tasks", "workers", "wanted"),
    [
        pytest.param(0, (), 0, id="nothing"),
        pytest.param(3, (), 3, id="all that are missing at once"),
        pytest.param(150, (), 150, id="more than a page of a list holds"),
        pytest.param(3, (BUSY,), 4, id="beside the busy one"),
        pytest.param(3, (FREE, ON_ITS_WAY, QUEUED), 3, id="free, starting and queued ones are capacity"),
        pytest.param(1, (UNKNOWN,), 2, id="who cannot tell is not counted on"),
        pytest.param(0, (BUSY, IDLE), 1, id="one long task does not keep the others"),
        pytest.param(0, (FREE,), 1, id="not idle for long enough"),
        pytest.param(1, (IDLE,), 1, id="needed"),
        pytest.param(0, (UNKNOWN,), 1, id="unknown is not idle"),
        pytest.param(0, (QUEUED,), 0, id="not begun and not needed"),
        pytest.param(0, (ON_ITS_WAY,), 1, id="what has begun is let to serve"),
        pytest.param(1, (FREE, QUEUED), 1, id="who serves is filled first"),
    ],
)
def test_what_waits_gets_a_worker_beyond_the_free_ones(tasks: int, workers: tuple[Worker, ...], wanted: int) -> None:
    assert PendingTasksPolicy().decide(observed(tasks, *workers)).total == wanted


def test_a_task_for_two_gpus_beside_a_free_gpu_gets_its_worker() -> None:
    decision = PendingTasksPolicy().decide(observed(1, FREE, words=TWO))
    assert {want.capabilities: want.count for want in decision.wanted or ()} == {GPU: 1, TWO: 1}


def test_the_running_ones_are_not_counted_again() -> None:
    assert PendingTasksPolicy().decide(observed(0, BUSY, running=1)).total == 1


def test_a_master_that_tells_no_shapes_still_gets_a_worker_for_each_task() -> None:
    plain = worker("plain", words=())
    assert PendingTasksPolicy().decide(Observation(Demand(queued=3), (plain,))).total == 3


def test_work_that_no_worker_can_do_is_not_counted_and_is_said() -> None:
    policy = PendingTasksPolicy(worker_capabilities=("gpu=4",))
    seen = Observation(Demand(queued=9, shapes=(Shape(("cpu",), 4), Shape(GPU, 5))), (BUSY,))
    decision = policy.decide(seen)
    assert Counter({want.capabilities: want.count for want in decision.wanted or ()}) == {GPU: 1, ("gpu=4",): 2}
    assert decision.reasons == (
        Reason(
            "policy.pending_tasks",
            "9 tasks wait, 0 of 1 worker free or starting; needed: 2 more; not needed: 0, idle for 60 s or not begun",
        ),
        Reason("policy.pending_tasks.unsatisfiable", "no worker of {gpu=4} can do 4 x {cpu}: not counted"),
    )


PAIR, WHOLE = Offer(("cpu=8", "gpu=2"), 3), ("cpu=8", "gpu=2")


def shaped(*workers: Worker, most: int = 3, reserved: tuple[Shape, ...] = (), **shapes: Shape) -> Observation:
    waiting = tuple(shapes.values())
    demand = Demand(queued=sum(shape.count for shape in waiting), shapes=waiting, reserved=reserved)
    return Observation(demand, workers, can_launch=CanLaunch((replace(PAIR, most=most),), most))


def asked(observation: Observation) -> dict[tuple[str, ...], int]:
    wanted = PendingTasksPolicy().decide(observation).wanted
    return {want.capabilities: want.count for want in wanted or ()}


def test_new_workers_are_what_the_providers_give_and_not_what_each_task_requires() -> None:
    assert asked(shaped(parts=Shape(("cpu", "gpu=0.25"), 8))) == {WHOLE: 1}
    assert asked(shaped(tasks=Shape(("cpu=8",), 2))) == {WHOLE: 2}


def test_a_task_that_fits_beside_the_work_of_a_busy_worker_launches_nobody() -> None:
    half_free = replace(worker("busy", True, words=WHOLE), free=("cpu=4", "gpu"))
    assert asked(shaped(half_free, tasks=Shape(("cpu", "gpu"), 1))) == {WHOLE: 1}
    assert asked(shaped(half_free, tasks=Shape(("cpu", "gpu=2"), 1))) == {WHOLE: 2}


def test_a_worker_of_which_its_master_sees_less_than_its_provider_says_is_taken_at_the_masters_word() -> None:
    without_gpu = replace(worker("free", words=WHOLE), free=("cpu=8",))
    assert asked(shaped(without_gpu, tasks=Shape(("gpu",), 1))) == {WHOLE: 2}


def test_regression_a_worker_whose_own_resource_is_taken_stayed_while_tasks_waited_for_it() -> None:
    idle = worker("idle", False, 5000.0, ("cpu=8", "a100_80gb"))
    demand = Demand(queued=2, shapes=(Shape(("a100_80gb", "cpu"), 2),), used_up=("a100_80gb", "cpu"))
    told = Observation(demand, (idle,), can_launch=CanLaunch((Offer(idle.capabilities, 3),), 3))
    assert PendingTasksPolicy().decide(told).total == 2, "its master says that it is taken"


def test_regression_parts_of_two_gpus_were_taken_for_one() -> None:
    busy = replace(worker("busy", True, None, TWO), free=("gpu=0.8",))
    assert PendingTasksPolicy().decide(observed(1, busy, words=("gpu=0.6",))).total == 2


def test_a_gang_that_does_not_fit_the_limits_launches_nobody_and_says_so() -> None:
    gang = Shape(("gpu",), 4, gang=4, apart=True, kind="group")
    assert asked(shaped(gang=gang, most=4)) == {WHOLE: 4}
    decision = PendingTasksPolicy().decide(shaped(gang=gang, most=3))
    assert decision.total == 0
    assert decision.reasons[1] == Reason(
        "policy.pending_tasks.gang", "there is no room for whole gangs of 4 x {gpu}: nothing is launched for them"
    )


def test_what_is_asked_for_to_fit_in_counts_beside_no_running_work() -> None:
    two = (Shape(("gpu",), 2, kind="request"),)
    assert asked(shaped(reserved=two)) == {WHOLE: 1}
    # Not once more while work is on it; and it stays for that when it is idle.
    assert asked(shaped(worker("busy", True, words=WHOLE), reserved=two)) == {WHOLE: 1}
    assert asked(shaped(worker("idle", False, 999.0, words=WHOLE), reserved=two)) == {WHOLE: 1}
    assert asked(shaped(worker("idle", False, 999.0, words=WHOLE))) == {}


def test_what_nobody_can_do_is_said_and_launches_nobody_whatever_it_asks_for() -> None:
    decision = PendingTasksPolicy().decide(
        shaped(tasks=Shape(("gpu=1000000",), 1), others=Shape(("cpu", "tpu"), 20_000))
    )
    assert decision.total == 0
    assert decision.reasons[1].rule == "policy.pending_tasks.unsatisfiable"


@pytest.mark.parametrize(
    "numbers", [{"idle_seconds": -1}, {"worker_capabilities": ["two words"]}, {"used_up": ["gpu", "gpu"]}]
)
def test_numbers_and_words_out_of_bounds_are_refused(numbers: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PendingTasksPolicy.model_validate(numbers)
