"""`fixed_elastic`: a base that is started once and kept, and workers beyond it that come and go."""

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import PolicyMemory, Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.fixed_elastic import FixedElasticPolicy

STARTED: PolicyMemory = {"base_started": (1.0,)}


def observed(tasks: int, workers: int, remembered: PolicyMemory | None = None) -> Observation:
    fleet = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", WorkerState.READY) for index in range(workers))
    return Observation(Demand(queued=tasks), fleet, remembered=remembered or {})


@pytest.mark.parametrize(
    ("base", "tasks", "workers", "wanted"),
    [
        (1, 0, 0, 0),
        (1, 5, 0, 1),
        (3, 1, 0, 3),
        (1, 11, 1, 2),
        (1, 31, 3, 4),
        (1, 99, 1, 10),
        (1, 0, 3, 1),
        (2, 2, 5, 2),
        (2, 3, 5, 3),
        (4, 0, 4, 4),
    ],
)
def test_the_base_stays_and_the_rest_follows_the_ratios(base: int, tasks: int, workers: int, wanted: int) -> None:
    assert FixedElasticPolicy(base_workers=base).decide(observed(tasks, workers)).total == wanted


def test_one_step_is_the_step_of_the_library() -> None:
    policy = FixedElasticPolicy(steps_per_turn=1)
    assert [policy.decide(observed(99, workers)).total for workers in (1, 2, 3)] == [2, 3, 4]
    assert policy.decide(observed(0, 5)).total == 4


def test_a_base_that_was_started_is_kept_when_there_is_no_work_and_started_again_when_it_is_lost() -> None:
    first = FixedElasticPolicy().decide(observed(1, 0))
    assert first.remembers == STARTED
    again = FixedElasticPolicy().decide(observed(0, 0, first.remembers))
    assert (again.total, again.remembers) == (1, STARTED)


def test_workers_that_a_new_chain_finds_are_a_base() -> None:
    decision = FixedElasticPolicy(base_workers=2).decide(observed(0, 1))
    assert (decision.total, decision.remembers) == (2, STARTED)


def test_the_library_never_stops_a_secondary_and_starts_its_primary_once() -> None:
    seen = observed(0, 3)
    assert FixedElasticPolicy(uncorrected=("stop_secondary",)).decide(seen).total == 3
    reason = Reason("policy.fixed_elastic.stop_secondary", "the library's rule, without this correction, would want 3")
    assert reason in FixedElasticPolicy().decide(seen).reasons
    assert FixedElasticPolicy(uncorrected=("retry_primary",)).decide(observed(0, 0, STARTED)).total == 0


def test_it_says_what_it_counted() -> None:
    decision = FixedElasticPolicy().decide(observed(25, 1))
    assert decision.headline == "3 workers > 1"
    text = "25 tasks for 1 worker, 1 to 10 tasks per worker; the base of 1 is kept: 3 wanted"
    assert decision.reasons == (Reason("policy.fixed_elastic", text),)
    waiting = FixedElasticPolicy().decide(observed(0, 0))
    assert "the base of 1 is started with the first task: 0 wanted" in waiting.reasons[0].text


@pytest.mark.parametrize("numbers", [{"base_workers": 0}, {"upper_task_ratio": 1.5}, {"steps_per_turn": 0}])
def test_numbers_out_of_bounds_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FixedElasticPolicy.model_validate(numbers)
