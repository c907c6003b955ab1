"""Memory holds durations only: time passes by what a turn adds, and nothing gets older by accident."""

from dataclasses import fields, replace

import pytest

from ebbflow.core.canonical import canonical
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import (
    AvoidedMachine,
    Memory,
    Override,
    OverrideKind,
    ProviderMemory,
    RecentClaim,
    UnfinishedEntry,
    aged_providers,
)
from ebbflow.core.worker import Mark, Worker

WORKER = Worker(
    "sdxl-3f9c-1a-0",
    "local/a",
    WorkerState.DRAINING,
    state_seconds=10.0,
    joining_seconds=20.0,
    idle_seconds=30.0,
    mark=Mark(number=45, reason="idle", deadline_seconds=900.0, age_seconds=40.0),
    absent_looks=1,
    absent_seconds=50.0,
    unanswered_seconds=60.0,
)


def override(remaining_seconds: float) -> Override:
    return Override("run-1", OverrideKind.FLOOR, 3, "ada", "demo", remaining_seconds)


MEMORY = Memory(
    chain_age_seconds=1.0,
    workers=(WORKER,),
    providers=(ProviderMemory("local/a", "host-1", seconds_since_failure=2.0, failures=1),),
    overrides=(override(3600.0),),
    claims=(RecentClaim(45, "artifact-45", budget_seconds=20.0, age_seconds=3.0),),
    unfinished=(UnfinishedEntry("7", age_seconds=4.0),),
    seconds_since_start=5.0,
    seconds_since_stop=6.0,
    manager="deployment-1",
    manager_age_seconds=7.0,
)


def test_every_duration_grows_by_the_elapsed_time_and_nothing_else_changes() -> None:
    mark = WORKER.mark
    assert mark is not None
    assert MEMORY.aged(30.0) == Memory(
        chain_age_seconds=31.0,
        workers=(
            replace(
                WORKER,
                state_seconds=40.0,
                joining_seconds=50.0,
                idle_seconds=60.0,
                mark=replace(mark, age_seconds=70.0),
                absent_seconds=80.0,
                unanswered_seconds=90.0,
            ),
        ),
        providers=(ProviderMemory("local/a", "host-1", seconds_since_failure=32.0, failures=1),),
        overrides=(override(3570.0),),
        claims=(RecentClaim(45, "artifact-45", budget_seconds=20.0, age_seconds=33.0),),
        unfinished=(UnfinishedEntry("7", age_seconds=34.0),),
        seconds_since_start=35.0,
        seconds_since_stop=36.0,
        manager="deployment-1",
        manager_age_seconds=37.0,
    )


def test_what_never_happened_stays_never() -> None:
    worker = replace(WORKER, idle_seconds=None, unanswered_seconds=None, mark=None)
    aged = Memory(workers=(worker,), providers=(ProviderMemory("local/a", "host-1"),)).aged(30.0)
    assert aged.seconds_since_start is None
    assert aged.seconds_since_stop is None
    assert aged.providers[0].seconds_since_failure is None
    assert (aged.workers[0].idle_seconds, aged.workers[0].unanswered_seconds, aged.workers[0].mark) == (None,) * 3


def test_a_worker_that_is_not_absent_collects_no_absence() -> None:
    present = replace(WORKER, absent_looks=0, absent_seconds=50.0)
    assert Memory(workers=(present,)).aged(30.0).workers[0].absent_seconds == 0.0


@pytest.mark.parametrize("elapsed_seconds", [0.0, -0.001, -30.0, -1e9])
def test_a_clock_that_was_set_back_ages_nothing(elapsed_seconds: float) -> None:
    assert MEMORY.aged(elapsed_seconds) == MEMORY


@pytest.mark.parametrize(
    ("remaining_seconds", "left"), [(30.001, [0.001]), (30.0, []), (29.9, []), (0.0, []), (60.0, [30.0])]
)
def test_an_override_is_dropped_once_its_time_is_over(remaining_seconds: float, left: list[float]) -> None:
    aged = Memory(overrides=(override(remaining_seconds),)).aged(30.0)
    assert [held.remaining_seconds for held in aged.overrides] == left


def test_overrides_expire_one_by_one_and_keep_their_order() -> None:
    aged = Memory(overrides=(override(90.0), override(10.0), override(40.0))).aged(30.0)
    assert [held.remaining_seconds for held in aged.overrides] == [60.0, 10.0]


def test_durations_are_kept_to_the_millisecond() -> None:
    assert MEMORY.aged(0.1234567).chain_age_seconds == 1.123
    assert MEMORY.aged(0.0004).chain_age_seconds == 1.0


def test_many_small_steps_give_the_same_bytes_as_one_large_step() -> None:
    stepped = MEMORY
    for _ in range(300):
        stepped = stepped.aged(0.1)
    assert canonical(stepped) == canonical(MEMORY.aged(30.0))


def test_a_claim_is_over_once_its_budget_has_passed() -> None:
    assert not MEMORY.is_over(45)
    assert not MEMORY.aged(16.999).is_over(45)
    assert MEMORY.aged(17.0).is_over(45)


def test_a_claim_that_was_forgotten_is_over() -> None:
    assert MEMORY.is_over(44)


def test_a_mark_says_how_long_is_left_and_never_less_than_nothing() -> None:
    remaining = [worker.mark.remaining_seconds for worker in MEMORY.workers if worker.mark]
    assert remaining == [860.0]
    later = [worker.mark.remaining_seconds for worker in MEMORY.aged(10_000.0).workers if worker.mark]
    assert later == [0.0]


def test_what_is_remembered_of_a_provider_is_found_by_its_whole_reference() -> None:
    found = MEMORY.provider("local/a")
    assert found is not None
    assert found.failures == 1
    assert MEMORY.provider("local/ab") is None
    assert MEMORY.provider("local") is None


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (override(1800.4), "floor 3 by ada for another 1800 s: demo"),
        (replace(override(60.0), kind=OverrideKind.CEILING, count=0, reason=""), "ceiling 0 by ada for another 60 s"),
        (
            replace(override(60.0), kind=OverrideKind.PIN, worker_ids=("w-1", "w-2")),
            "pin of w-1, w-2 by ada for another 60 s: demo",
        ),
    ],
)
def test_an_override_reads_as_a_sentence(held: Override, text: str) -> None:
    assert str(held) == text


def test_a_provider_that_grows_older_keeps_all_that_is_remembered_of_it() -> None:
    known = ProviderMemory("p", "f", 1.0, 2, "why")
    assert aged_providers((known,), 5.0) == (replace(known, seconds_since_failure=6.0),)
    avoiding = replace(known, avoided=(AvoidedMachine("m"),))
    assert aged_providers((avoiding,), 5.0)[0].avoided == (AvoidedMachine("m", 5.0),)
    assert len(fields(ProviderMemory)) == 6, "a new field has to be carried there"
