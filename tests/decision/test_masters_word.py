"""What the master's list of members makes of a worker beside its state: silence, disorder, persons, leftovers."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import InstanceState
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import MemberList, MemberState, PushMemberList
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.giving_up import give_up
from ebbflow.decision.roster import Roster
from tests.decision.test_roster import ID, MARK, OTHERS, READY, SHOWN, instance, member, only, rules, turn


@pytest.mark.parametrize("known", [(READY,), ()], ids=["known", "adopted"])
def test_an_entry_that_two_looks_find_disabled_is_the_durable_mark_whoever_set_it(known: tuple[Worker, ...]) -> None:
    once = turn(known, instance(), members=member(MemberState.DRAINING))
    assert (only(once).mark, only(once).is_supply, rules(once)) == (None, True, ["roster.switched_off"])
    found = only(turn(once.workers, instance(), members=member(MemberState.DRAINING)))
    assert found.state is WorkerState.DRAINING
    assert found.mark == Mark(5, "the master shows it draining", 900.0)


def test_regression_an_entry_that_a_person_switched_off_and_on_ended_its_worker() -> None:
    once = turn(READY, instance(), members=member(MemberState.DRAINING))
    back = turn(once.workers, instance(), members=member())
    assert (only(back).state, only(back).mark, rules(back)) == (WorkerState.READY, None, ["roster.put_back"])
    assert "roster.put_back" not in rules(turn(back.workers, instance(), members=member()))


@pytest.mark.parametrize("state", [MemberState.READY, MemberState.JOINING])
@pytest.mark.parametrize("forced", [True, False])
def test_regression_a_drained_worker_that_a_person_put_back_was_drained_again(
    state: MemberState, *, forced: bool
) -> None:
    marked = replace(READY, state=WorkerState.DRAINING, mark=replace(MARK, forced=forced), member=MemberState.DRAINING)
    idle = replace(member(state), idle_seconds=4000.0)
    back = turn(marked, instance(), members=idle, elapsed=1.0)
    assert (only(back).mark, only(back).is_supply, rules(back)) == (None, True, ["roster.put_back"])
    assert only(back).idle_seconds == 0.0, "it is wanted, whatever it did before"
    assert only(turn(back.workers, instance(), members=idle, elapsed=50.0)).idle_seconds == 50.0


def test_a_mark_stays_while_the_master_has_not_been_seen_to_obey_it() -> None:
    marked = replace(READY, state=WorkerState.DRAINING, mark=MARK, member=MemberState.READY)
    assert only(turn(marked, instance(), members=member(), elapsed=1.0)).mark is not None
    twice = replace(member(), duplicate=True)
    assert only(turn(replace(marked, member=MemberState.DRAINING), instance(), members=twice, elapsed=1.0)).mark


FED = replace(member(MemberState.LOST, busy=None), is_fed=True)
"""It answers nothing, and its master has not noticed."""


def test_regression_a_worker_that_hangs_was_supply_for_ten_minutes() -> None:
    once = turn((READY, *OTHERS), instance(), *SHOWN, members=MemberList((FED, *ALIVE)))
    assert (once.workers[0].state, once.workers[0].is_fed) == (WorkerState.READY, True), (
        "one look is a question that failed"
    )
    assert "answers nothing, which the master has not noticed" in once.reasons[0].text
    twice = turn(once.workers, instance(), *SHOWN, members=MemberList((FED, *ALIVE)))
    assert (twice.workers[0].state, twice.workers[0].is_supply) == (WorkerState.LOST, False)
    marked = all_given_up(twice)[0]
    assert marked.mark is not None, "disabled, so that nothing more is given to it"
    assert "while the master gives it work" in marked.mark.reason
    assert [worker.mark for worker in all_given_up(twice)[1:]] == [None, None]


def test_where_most_answer_nothing_at_once_nobody_is_taken_out_of_service_for_it() -> None:
    silent = tuple(replace(FED, worker_id=worker.worker_id) for worker in OTHERS)
    seen = MemberList((member(), *silent))
    once = turn((READY, *OTHERS), instance(), *SHOWN, members=seen)
    twice = turn(once.workers, instance(), *SHOWN, members=seen, elapsed=2000.0)
    assert [worker.mark for worker in all_given_up(twice)] == [None, None, None]
    assert [worker.is_supply for worker in twice.workers] == [True, False, False], "others are launched in their place"


def test_regression_a_silent_worker_that_its_master_fed_was_ended_as_one_that_had_been_idle() -> None:
    once = turn((replace(READY, busy=False), *OTHERS), instance(), *SHOWN, members=MemberList((FED, *ALIVE)))
    twice = turn(once.workers, instance(), *SHOWN, members=MemberList((FED, *ALIVE)))
    marked = all_given_up(twice)[0]
    assert marked.heard_busy is None, "what it was given since nobody knows"
    assert marked.mark is not None
    assert marked.mark.remaining_seconds == 900.0


def test_a_dead_worker_that_its_master_has_noticed_is_as_idle_as_it_was() -> None:
    once = turn((replace(READY, busy=False), *OTHERS), instance(), *SHOWN, members=MemberList((FED, *ALIVE)))
    noticed = turn(once.workers, instance(), *SHOWN, members=MemberList((member(MemberState.LOST, busy=None), *ALIVE)))
    assert [once.workers[0].heard_busy, noticed.workers[0].heard_busy] == [None, False]
    off = turn(once.workers, instance(), *SHOWN, members=MemberList((member(MemberState.DRAINING, busy=None), *ALIVE)))
    assert off.workers[0].heard_busy is None, "switched off while it was fed: nobody knows"


def test_regression_a_fleet_that_we_cannot_hear_was_launched_anew_beside_itself() -> None:
    silent = tuple(replace(FED, worker_id=worker.worker_id) for worker in (READY, *OTHERS))
    once = turn((READY, *OTHERS), instance(), *SHOWN, members=MemberList(silent))
    twice = turn(once.workers, instance(), *SHOWN, members=MemberList(silent), elapsed=600.0)
    assert [worker.is_supply for worker in twice.workers] == [True] * 3
    assert "it is we who hear nothing" in twice.reasons[0].text


def test_the_only_worker_that_answers_nothing_is_no_supply_and_is_named_in_every_record() -> None:
    once = turn(READY, instance(), members=FED)
    twice = turn(once.workers, instance(), members=FED)
    assert (only(twice).is_supply, all_given_up(twice)[0].mark) == (False, None)
    assert [rules(once), rules(twice)] == [["roster.silent"], ["roster.silent"]]


def test_regression_a_load_that_no_figure_counts_left_a_worker_idle_for_as_long_as_before() -> None:
    loads = turn(READY, instance(), members=member(busy=True))
    idle = replace(member(), idle_seconds=4000.0)
    after = turn(loads.workers, instance(), members=idle)
    assert only(after).idle_seconds == 30.0, "no longer than since it was seen busy"
    assert only(turn(after.workers, instance(), members=idle)).idle_seconds == 60.0


def test_a_mark_that_was_never_obeyed_is_not_dropped_at_its_deadline() -> None:
    over = replace(MARK, age_seconds=900.0)
    marked = replace(READY, state=WorkerState.DRAINING, mark=over, member=MemberState.READY)
    assert only(turn(marked, instance(), members=member())).mark is not None
    assert only(turn(replace(marked, member=MemberState.DRAINING), instance(), members=member())).mark is None
    assert only(turn(replace(marked, member=None), instance(), members=member())).mark is None, "its note was lost"


@pytest.mark.parametrize("register_turns", [0, 3])
def test_regression_a_registered_worker_that_never_served_again_was_waited_for_without_end(register_turns: int) -> None:
    joins = replace(
        READY,
        state=WorkerState.STARTING,
        instance=InstanceState.RUNNING,
        joining_seconds=600.0,
        register_turns=register_turns,
    )
    (found,) = give_up([joins], 5, launch_timeout_seconds=600.0, retries=1, drain_deadline_seconds=900.0)
    assert found.state is WorkerState.FAILED


@pytest.mark.parametrize(
    ("state", "elapsed", "becomes"),
    [
        (MemberState.JOINING, 9.0, WorkerState.STARTING),
        (MemberState.JOINING, 10.0, WorkerState.LOST),
        (MemberState.LOST, 10.0, WorkerState.LOST),
        (MemberState.READY, 10.0, WorkerState.READY),
    ],
)
def test_regression_a_registered_worker_whose_child_did_not_come_was_supply_for_its_whole_launch_timeout(
    state: MemberState, elapsed: float, becomes: WorkerState
) -> None:
    wrong = replace(member(state), disorder="no child of it takes work")
    starting = replace(READY, state=WorkerState.STARTING)
    once = turn(starting, instance(), members=wrong)
    assert ("roster.disorder" in rules(once), only(once).disorder_seconds) == (True, 0.0)
    twice = turn(once.workers, instance(), members=wrong, elapsed=elapsed)
    assert only(twice).state is becomes
    well = turn(twice.workers, instance(), members=member())
    assert (only(well).state, only(well).disorder, only(well).disorder_seconds) == (WorkerState.READY, "", None)


def test_what_is_left_of_a_worker_is_deregistered_whether_the_record_knows_it_or_not() -> None:
    left = PushMemberList(strays=(ID,))
    gone = replace(READY, state=WorkerState.GONE)
    for known in ((gone,), ()):
        found = only(turn(known, members=left))
        assert (found.member, found.registered) == (MemberState.LOST, True)
    assert only(turn(READY, instance(), members=left)).member is None, "one that lives is registered anew"
    assert rules(turn(gone, members=left)) == ["roster.stray"]


@pytest.mark.parametrize("state", [MemberState.JOINING, MemberState.READY])
def test_one_that_calls_itself_broken_leaves_at_once_and_is_ended_with_what_it_has(state: MemberState) -> None:
    broken = replace(member(state), broken="CUDA error")
    found = only(turn(READY, instance(), members=broken))
    assert (found.state, found.is_supply, found.broken) == (WorkerState.DRAINING, False, "CUDA error")
    assert found.mark is not None
    assert (found.mark.reason, found.mark.forced) == ("it says that it is broken: CUDA error", True)
    again = turn(found, instance(), members=member())
    assert only(again).mark is not None, "its word stands until it is started anew"


def test_what_a_person_did_and_what_serves_besides_is_told() -> None:
    called = replace(member(), renamed="Bob's GPU (backend 7)")
    said = turn(READY, instance(), members=PushMemberList((called,), others=("a GPU of the master (backend 2)",)))
    assert rules(said) == ["roster.renamed", "roster.others"]
    assert [text in reason.text for reason, text in zip(said.reasons, ("Bob's GPU", "not counted"), strict=True)] == [
        True
    ] * 2


ALIVE = tuple(member(worker_id=worker.worker_id) for worker in OTHERS)


def all_given_up(roster: Roster) -> list[Worker]:
    return give_up(roster.workers, 5, launch_timeout_seconds=600.0, retries=1, drain_deadline_seconds=900.0)
