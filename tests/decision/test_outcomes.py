"""Notes of earlier claims: read once, believed as far as a listing does not know better."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import Failure, InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import MemberState
from ebbflow.core.memory import Memory, ProviderMemory
from ebbflow.core.observation import ProviderLook
from ebbflow.core.plan import Outcome, Result, Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.outcomes import note_failures, settle
from tests.making import inputs_of

MARK = Mark(3, "idle", 60.0)


def told(worker: Worker, *outcomes: Outcome, idempotent: bool = True) -> Memory:
    memory = Memory(workers=(worker,), providers=(ProviderMemory("local/a", "here"),))
    look = ProviderLook("local/a", ProviderCaps("here", idempotent_launch=idempotent), InstanceList())
    return settle(
        memory,
        inputs_of(providers=(look,), memory=memory, outcomes=outcomes),
        drain_deadline_seconds=900.0,
    )


def worker(state: WorkerState, *, mark: Mark | None = None) -> Worker:
    return Worker("demo-3f9c-1-0", "local/a", state, mark=mark)


def note(verb: Verb, result: Result, detail: str = "said so") -> Outcome:
    return Outcome(verb, "demo-3f9c-1-0", "local/a", result, detail)


@pytest.mark.parametrize("result", [Result.CAPACITY, Result.REJECTED])
def test_a_refused_launch_ends_the_wish_and_cools_the_provider_down(result: Result) -> None:
    memory = told(worker(WorkerState.WISHED), note(Verb.LAUNCH, result, "no nodes"))
    assert memory.workers == ()
    assert memory.providers == (ProviderMemory("local/a", "here", 0.0, 1, "no nodes"),)


@pytest.mark.parametrize("result", [Result.DONE, Result.UNKNOWN, Result.FAILED])
@pytest.mark.parametrize("idempotent", [True, False])
def test_a_launch_that_was_not_refused_stays_a_wish_until_a_listing_shows_it(result: Result, idempotent: bool) -> None:
    wish = worker(WorkerState.WISHED)
    memory = told(wish, note(Verb.LAUNCH, result), idempotent=idempotent)
    (kept,) = memory.workers
    assert kept == replace(wish, launch_trouble="" if result is Result.DONE else "said so")
    assert memory.providers[0].failures == 0


def test_a_launch_that_was_never_sent_is_kept_where_it_may_be_sent_again() -> None:
    wish = worker(WorkerState.WISHED)
    assert told(wish, note(Verb.LAUNCH, Result.NOT_BEGUN)).workers == (wish,)
    assert told(wish, note(Verb.LAUNCH, Result.NOT_BEGUN), idempotent=False).workers == ()


def test_a_refusal_means_nothing_for_a_worker_that_a_listing_has_shown() -> None:
    starting = worker(WorkerState.STARTING)
    assert told(starting, note(Verb.LAUNCH, Result.CAPACITY)).workers == (starting,)


def test_a_rejected_registration_marks_the_worker() -> None:
    (settled,) = told(worker(WorkerState.STARTING), note(Verb.REGISTER, Result.REJECTED, "wrong address")).workers
    assert settled.mark == Mark(5, "wrong address", deadline_seconds=0.0)
    assert (settled.failure, settled.detail) == (Failure.REJECTED, "wrong address")


def test_a_rejected_registration_does_not_renew_a_mark() -> None:
    marked = worker(WorkerState.DRAINING, mark=MARK)
    assert told(marked, note(Verb.REGISTER, Result.REJECTED)).workers == (marked,)


@pytest.mark.parametrize("verb", [Verb.DRAIN, Verb.TEAR_DOWN])
def test_a_busy_worker_goes_back_into_service(verb: Verb) -> None:
    (settled,) = told(worker(WorkerState.DRAINING, mark=MARK), note(verb, Result.BUSY)).workers
    assert settled.mark is None


@pytest.mark.parametrize("result", [Result.WAITING, Result.SILENT, Result.FAILED, Result.NOT_BEGUN])
@pytest.mark.parametrize("verb", [Verb.DRAIN, Verb.TEAR_DOWN])
def test_anything_else_keeps_the_mark(verb: Verb, result: Result) -> None:
    marked = worker(WorkerState.DRAINING, mark=MARK)
    assert told(marked, note(verb, result)).workers == (marked,)


def test_an_accepted_end_is_ending_and_not_gone() -> None:
    (settled,) = told(worker(WorkerState.DRAINING, mark=MARK), note(Verb.TEAR_DOWN, Result.DONE)).workers
    assert (settled.state, settled.state_seconds) == (WorkerState.TERMINATING, 0.0)


@pytest.mark.parametrize("state", [WorkerState.TERMINATING, WorkerState.GONE])
def test_an_end_that_is_known_already_changes_nothing(state: WorkerState) -> None:
    ended = worker(state)
    assert told(ended, note(Verb.TEAR_DOWN, Result.DONE)).workers == (ended,)


def test_notes_are_read_in_their_order() -> None:
    settled = told(
        worker(WorkerState.DRAINING, mark=MARK),
        note(Verb.DRAIN, Result.BUSY),
        note(Verb.TEAR_DOWN, Result.DONE),
    ).workers
    assert [(one.state, one.mark) for one in settled] == [(WorkerState.TERMINATING, None)]


def test_a_note_about_a_forgotten_worker_changes_nothing() -> None:
    wish = worker(WorkerState.WISHED)
    about_another = Outcome(Verb.DRAIN, "demo-3f9c-0-0", "local/a", Result.BUSY)
    assert told(wish, about_another).workers == (wish,)


def test_failures_are_counted_where_the_provider_is_known() -> None:
    known = (ProviderMemory("local/a", "here", seconds_since_failure=50.0, failures=2),)
    noted = note_failures(known, [("local/a", "first"), ("gone/b", "whatever")])
    assert noted == (ProviderMemory("local/a", "here", 0.0, 3, "first"),)


def test_regression_eight_launches_refused_in_one_turn_count_as_one_failure() -> None:
    known = (ProviderMemory("local/a", "here"),)
    noted = note_failures(known, [("local/a", f"no nodes for {number}") for number in range(8)])
    assert noted == (ProviderMemory("local/a", "here", 0.0, 1, "no nodes for 0 (and 7 more)"),)


def test_what_is_refused_and_what_fails_in_one_turn_is_one_failure() -> None:
    refused = note_failures((ProviderMemory("local/a", "here", 50.0, 2),), [("local/a", "no nodes")])
    assert [known.failures for known in note_failures(refused, [("local/a", "exit code 1")])] == [3]


def test_failed_attempts_to_reach_a_worker_are_counted_over_turns() -> None:
    starting = replace(worker(WorkerState.STARTING), attempts=2)
    tried = replace(note(Verb.REGISTER, Result.WAITING), attempts=3)
    (found,) = told(starting, tried).workers
    assert found.attempts == 5
    (found,) = told(starting, note(Verb.REGISTER, Result.WAITING)).workers
    assert found.attempts == 2, "loading, or not announced yet, is no attempt"


def test_what_a_registration_has_begun_is_told_to_the_next_attempt_until_it_is_done() -> None:
    begun = replace(note(Verb.REGISTER, Result.WAITING), begun="process:7")
    (found,) = told(worker(WorkerState.STARTING), begun).workers
    assert found.begun == "process:7"
    (found,) = told(found, note(Verb.REGISTER, Result.DONE)).workers
    assert found.begun == ""


def test_regression_a_registration_without_an_answer_forgot_what_was_begun() -> None:
    begun = replace(worker(WorkerState.STARTING), begun="process:7")
    (found,) = told(begun, note(Verb.REGISTER, Result.UNKNOWN)).workers
    assert found.begun == "process:7"


def test_whoever_was_taken_out_of_service_is_known_to_be_out_before_a_look_shows_it() -> None:
    drained = replace(note(Verb.DRAIN, Result.DONE, "accepted"), is_out=True)
    (found,) = told(replace(worker(WorkerState.DRAINING), member=MemberState.READY), drained).workers
    assert found.member is MemberState.DRAINING
