"""What each worker needs next, whatever the policy wants."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import MemberState, PushMemberList
from ebbflow.core.memory import Memory, RecentClaim, UnfinishedEntry
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.placement.shares import ProviderShare
from ebbflow.decision.upkeep import Upkeep, keep_up, sweep
from tests.making import inputs_of

SHARE = ProviderShare("local/a", 4, ProviderCaps("here", idempotent_launch=True, relist_seconds=1.0))
ONCE = replace(SHARE, caps=ProviderCaps("here", settle_seconds=40.0))
RUNS = Worker("demo-3f9c-1-0", "local/a", WorkerState.STARTING, instance=InstanceState.RUNNING, url="http://w")
WISH = Worker(
    "demo-3f9c-1-0",
    "local/a",
    WorkerState.WISHED,
    launch_number=4,
    state_seconds=30.0,
    joining_seconds=30.0,
    absent_looks=2,
)
MARKED = replace(RUNS, state=WorkerState.DRAINING, registered=True, mark=Mark(4, "idle", 60.0))
ACTING = Memory(claims=(RecentClaim(4, "artifact-4", budget_seconds=24.0, age_seconds=23.9),))


def inputs(*, members: bool = True, takes_urls: bool = True, unfinished: tuple[str, ...] = ()) -> Inputs:
    found = PushMemberList((), complete=members, unfinished=unfinished)
    return inputs_of(members=found, takes_urls=takes_urls)


def next_step(
    worker: Worker,
    share: ProviderShare | None = SHARE,
    *,
    memory: Memory | None = None,
    seen: Inputs | None = None,
    predecessors_act: bool = False,
) -> Upkeep:
    return keep_up(
        worker,
        seen or inputs(),
        memory or Memory(),
        share,
        launch_timeout_seconds=600.0,
        predecessors_act=predecessors_act,
    )


def verb(upkeep: Upkeep) -> Verb | None:
    return upkeep.action.verb if upkeep.action else None


def test_a_wish_that_a_complete_listing_lacks_is_launched_again_under_the_same_id() -> None:
    upkeep = next_step(WISH)
    assert verb(upkeep) is Verb.LAUNCH
    assert upkeep.action is not None
    assert upkeep.action.worker_id == WISH.worker_id
    assert upkeep.worker == replace(WISH, launch_number=5, state_seconds=0.0, absent_looks=0)


@pytest.mark.parametrize("share", [None, replace(SHARE, complete=False), ONCE])
def test_a_wish_waits_where_it_is_unknown_or_where_sending_twice_makes_two(share: ProviderShare | None) -> None:
    assert next_step(WISH, share) == Upkeep(WISH)


def test_a_wish_waits_while_the_run_that_launches_it_may_still_be_acting() -> None:
    assert next_step(WISH, memory=ACTING) == Upkeep(WISH)
    assert verb(next_step(WISH, memory=ACTING.aged(0.1))) is Verb.LAUNCH


@pytest.mark.parametrize(
    ("worker", "share", "given_up"),
    [
        (replace(WISH, joining_seconds=600.0), SHARE, True),
        (replace(WISH, joining_seconds=600.0, state_seconds=23.9), SHARE, False),
        (WISH, replace(SHARE, max_workers=0), True),
        (replace(WISH, state_seconds=63.9, joining_seconds=63.9), ONCE, False),
        (replace(WISH, state_seconds=64.0, joining_seconds=64.0), ONCE, True),
        (replace(WISH, state_seconds=63.9), replace(ONCE, max_workers=0), False),
        (replace(WISH, state_seconds=64.0, joining_seconds=64.0, absent_looks=1), ONCE, False),
    ],
)
def test_regression_a_wish_is_given_up_only_when_its_last_launch_would_be_listed(
    worker: Worker, share: ProviderShare, given_up: bool
) -> None:
    upkeep = next_step(worker, share)
    assert upkeep.action is None
    assert (upkeep.worker is None) is given_up
    if given_up:
        assert upkeep.reason is not None
        assert upkeep.reason.rule == "upkeep.given_up"


def test_a_worker_with_a_url_is_registered_and_the_attempt_is_counted() -> None:
    upkeep = next_step(RUNS)
    assert verb(upkeep) is Verb.REGISTER
    assert upkeep.worker == replace(RUNS, register_turns=1)


def test_a_worker_without_a_url_is_waited_for_where_the_list_may_be_read_again() -> None:
    silent = replace(RUNS, url=None)
    assert verb(next_step(silent)) is Verb.REGISTER
    assert next_step(silent, ONCE).action is None
    assert next_step(silent, seen=inputs(takes_urls=False)).action is None


@pytest.mark.parametrize(
    ("worker", "members", "why"),
    [
        (RUNS, False, "members are unknown"),
        (replace(RUNS, member=MemberState.JOINING), True, "it is joining"),
        (replace(RUNS, instance=None), True, "it was not listed now"),
        (replace(RUNS, state=WorkerState.READY), True, "it serves"),
        (replace(RUNS, state=WorkerState.LOST), True, "it may come back"),
    ],
)
def test_this_worker_is_left_alone(worker: Worker, members: bool, why: str) -> None:
    assert next_step(worker, seen=inputs(members=members)) == Upkeep(worker), why


def test_a_marked_worker_is_never_registered() -> None:
    for mark in (MARKED.mark, replace(MARKED, mark=Mark(5, "new", 60.0)).mark):
        for state in (WorkerState.STARTING, WorkerState.DRAINING, WorkerState.FAILED):
            assert verb(next_step(replace(MARKED, state=state, mark=mark))) is not Verb.REGISTER


def test_regression_nobody_is_registered_while_a_run_whose_record_is_lost_may_be_ending_it() -> None:
    assert next_step(RUNS, predecessors_act=True) == Upkeep(RUNS)


def test_the_claim_that_marks_only_drains() -> None:
    fresh = replace(MARKED, mark=Mark(5, "idle", 60.0))
    assert verb(next_step(fresh)) is Verb.DRAIN


def test_a_later_claim_tears_down_once_the_marking_claims_budget_is_over() -> None:
    assert verb(next_step(MARKED, memory=ACTING)) is Verb.DRAIN
    assert verb(next_step(MARKED, memory=ACTING.aged(0.1))) is Verb.TEAR_DOWN


def test_a_worker_that_never_joined_has_nothing_to_drain() -> None:
    fresh = replace(MARKED, registered=False, mark=Mark(5, "surplus", 60.0))
    assert next_step(fresh) == Upkeep(fresh)


@pytest.mark.parametrize(
    ("worker", "share", "members"),
    [
        (MARKED, SHARE, False),
        (MARKED, replace(SHARE, complete=False), True),
        (replace(MARKED, instance=None), SHARE, True),
    ],
)
def test_nothing_is_ended_while_anything_about_it_is_unknown(
    worker: Worker, share: ProviderShare, members: bool
) -> None:
    assert next_step(worker, share, seen=inputs(members=members)) == Upkeep(worker)


def test_an_end_that_is_not_seen_yet_is_asked_for_again() -> None:
    assert verb(next_step(replace(MARKED, state=WorkerState.TERMINATING))) is Verb.TERMINATE


def test_an_instance_that_failed_is_terminated_at_once() -> None:
    failed = replace(RUNS, state=WorkerState.FAILED, instance=InstanceState.FAILED, mark=Mark(5, "exit code 1", 0.0))
    assert verb(next_step(failed)) is Verb.TERMINATE


def test_a_worker_that_is_gone_is_deregistered_and_then_forgotten() -> None:
    gone = replace(RUNS, state=WorkerState.GONE, instance=None, member=MemberState.LOST)
    assert verb(next_step(gone)) is Verb.DEREGISTER
    forgotten = next_step(replace(gone, member=None))
    assert (forgotten.worker, forgotten.action) == (None, None)
    assert forgotten.reason is not None
    assert forgotten.reason.text == "demo-3f9c-1-0 is gone: ended"
    assert next_step(replace(gone, member=None), seen=inputs(members=False)).worker is not None


def test_a_member_that_works_is_not_deregistered_although_its_instance_is_gone() -> None:
    gone = replace(RUNS, state=WorkerState.GONE, instance=None, member=MemberState.READY, busy=True)
    upkeep = next_step(gone)
    assert (upkeep.worker, upkeep.action) == (gone, None)
    assert upkeep.reason is not None
    assert upkeep.reason.rule == "upkeep.busy"


def test_half_made_entries_are_followed_and_removed_after_ten_minutes() -> None:
    known = (UnfinishedEntry("7", 599.9), UnfinishedEntry("8", 600.0), UnfinishedEntry("9", 700.0))
    swept = list(sweep(inputs(unfinished=("7", "8", "new")), known))
    assert [entry for entry, _ in swept] == [*known[:2], UnfinishedEntry("new", 0.0)]
    assert [(action.verb, action.member_ref) for _, action in swept if action] == [(Verb.DEREGISTER, "8")]


def test_half_made_entries_are_kept_while_members_are_unknown() -> None:
    known = (UnfinishedEntry("8", 600.0),)
    assert list(sweep(inputs(members=False), known)) == [(known[0], None)]


WRONG = replace(
    RUNS,
    state=WorkerState.LOST,
    registered=True,
    busy=False,
    disorder="no child of it takes work",
    disorder_seconds=10.0,
)


@pytest.mark.parametrize("state", [WorkerState.LOST, WorkerState.READY, WorkerState.STARTING])
def test_an_entry_that_is_wrong_for_two_of_its_masters_polls_is_mended(state: WorkerState) -> None:
    upkeep = next_step(replace(WRONG, state=state, member=MemberState.JOINING))
    assert verb(upkeep) is Verb.MEND
    assert upkeep.action is not None
    assert upkeep.action.reason == WRONG.disorder


@pytest.mark.parametrize(
    "change",
    [{"disorder_seconds": 9.9}, {"busy": True}, {"busy": None}, {"disorder": ""}, {"mark": Mark(5, "idle", 60.0)}],
)
def test_nothing_is_mended_while_it_may_work_or_leaves(change: dict[str, object]) -> None:
    assert verb(next_step(replace(WRONG, **change))) is not Verb.MEND  # type: ignore[arg-type]
    assert verb(next_step(WRONG, predecessors_act=True)) is not Verb.MEND


def test_a_worker_whose_entry_is_switched_off_and_that_is_not_marked_is_left_alone() -> None:
    assert next_step(replace(RUNS, registered=True, member=MemberState.DRAINING)).action is None
