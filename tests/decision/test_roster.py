"""Who exists: each rule of the reconciliation, one turn at a time."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import IdleSource, MasterCaps, Member, MemberList, MemberState
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, ProviderLook
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.giving_up import give_up
from ebbflow.decision.roster import Roster, reconcile
from ebbflow.decision.rows import instances_of_ours
from tests.making import inputs_of

CAPS = ProviderCaps("here")
SURE = ProviderCaps("here", absence_is_gone=True)
ID = "demo-3f9c-1-0"
READY = Worker(ID, "local/a", WorkerState.READY, instance_id="i-1", url="http://w", registered=True)
MARK = Mark(3, "idle", deadline_seconds=60.0)
UNKNOWN_MEMBERS = MemberList((), complete=False, detail="timeout")
UNKNOWN_LIST = InstanceList((), complete=False, detail="timeout")


def instance(state: InstanceState = InstanceState.RUNNING, *, worker_id: str = ID, home: str = "h0me0") -> Instance:
    return Instance(worker_id, "i-1", state, "demo", home, "http://w")


def member(state: MemberState = MemberState.READY, *, worker_id: str = ID, busy: bool | None = False) -> Member:
    return Member(worker_id, "7", state, "http://w", busy)


def inputs(
    listing: InstanceList,
    members: MemberList = UNKNOWN_MEMBERS,
    *,
    caps: ProviderCaps = CAPS,
    memory: Memory | None = None,
) -> Inputs:
    look = ProviderLook("local/a", caps, listing)
    return inputs_of(members=members, providers=(look,), memory=memory or Memory())


def turn(
    workers: tuple[Worker, ...] | Worker,
    *instances: Instance,
    members: MemberList | Member | None = None,
    elapsed: float = 30.0,
    caps: ProviderCaps = CAPS,
    listing: InstanceList | None = None,
) -> Roster:
    """One turn, `elapsed` seconds after the memory was written. No members given: nobody is a member."""
    if members is None or isinstance(members, Member):
        members = MemberList(() if members is None else (members,))
    known = (workers,) if isinstance(workers, Worker) else workers
    memory = Memory(workers=known).aged(elapsed)
    seen = inputs(listing or InstanceList(instances), members, caps=caps, memory=memory)
    return reconcile(seen, memory, drain_deadline_seconds=900.0)


def only(roster: Roster) -> Worker:
    (worker,) = roster.workers
    return worker


def rules(roster: Roster) -> list[str]:
    return [reason.rule for reason in roster.reasons]


OTHERS = tuple(replace(READY, worker_id=f"demo-3f9c-1-{index}") for index in (1, 2))
SHOWN = tuple(instance(worker_id=worker.worker_id) for worker in OTHERS)


def test_absent_once_is_unknown() -> None:
    roster = turn((READY, *OTHERS), *SHOWN, members=UNKNOWN_MEMBERS)
    absent = roster.workers[0]
    assert (absent.state, absent.instance, absent.absent_looks) == (WorkerState.READY, None, 1)
    assert roster.suspects == frozenset()


@pytest.mark.parametrize(("apart", "state"), [(29.9, WorkerState.READY), (30.0, WorkerState.GONE)])
def test_absent_from_two_complete_listings_thirty_seconds_apart_is_gone(apart: float, state: WorkerState) -> None:
    once = turn((READY, *OTHERS), *SHOWN, members=UNKNOWN_MEMBERS)
    twice = turn(once.workers, *SHOWN, members=UNKNOWN_MEMBERS, elapsed=apart)
    assert twice.workers[0].state is state


def test_an_incomplete_listing_between_counts_neither_for_nor_against() -> None:
    once = turn((READY, *OTHERS), *SHOWN, members=UNKNOWN_MEMBERS)
    unknown = turn(once.workers, listing=UNKNOWN_LIST, members=UNKNOWN_MEMBERS)
    assert unknown.workers[0].absent_looks == 1
    assert rules(unknown) == ["roster.unknown", "roster.unknown"]
    assert turn(unknown.workers, *SHOWN, members=UNKNOWN_MEMBERS).workers[0].state is WorkerState.GONE


def test_a_worker_that_is_listed_again_was_never_away() -> None:
    once = turn((READY, *OTHERS), *SHOWN, members=UNKNOWN_MEMBERS)
    back = turn(once.workers, instance(), *SHOWN, members=UNKNOWN_MEMBERS).workers[0]
    assert (back.state, back.absent_looks, back.absent_seconds) == (WorkerState.READY, 0, 0.0)


def test_one_listing_is_enough_where_absence_is_gone() -> None:
    assert turn((READY, *OTHERS), *SHOWN, caps=SURE).workers[0].state is WorkerState.GONE


def test_one_listing_is_not_enough_for_who_has_served_while_the_master_does_not_answer() -> None:
    once = turn((READY, *OTHERS), *SHOWN, members=UNKNOWN_MEMBERS, caps=SURE)
    assert once.workers[0].state is WorkerState.READY
    assert turn(once.workers, *SHOWN, members=UNKNOWN_MEMBERS, caps=SURE).workers[0].state is WorkerState.GONE


@pytest.mark.parametrize("caps", [CAPS, SURE])
def test_more_than_half_vanishing_at_once_is_believed_when_a_second_look_agrees(caps: ProviderCaps) -> None:
    once = turn((READY, *OTHERS), SHOWN[0], members=UNKNOWN_MEMBERS, caps=caps)
    assert once.suspects == {"local/a"}
    assert [worker.state for worker in once.workers] == [WorkerState.READY] * 3
    assert "roster.suspect" in rules(once)
    twice = turn(once.workers, SHOWN[0], members=UNKNOWN_MEMBERS, caps=caps)
    assert twice.suspects == frozenset()
    assert [worker.state for worker in twice.workers].count(WorkerState.GONE) == 2


def test_workers_that_are_being_ended_may_vanish_without_suspicion() -> None:
    ending = tuple(replace(worker, state=WorkerState.TERMINATING) for worker in OTHERS)
    assert turn((READY, *ending), instance(), members=UNKNOWN_MEMBERS).suspects == frozenset()


def test_a_wish_that_is_not_listed_stays_a_wish() -> None:
    wish = Worker(ID, "local/a", WorkerState.WISHED)
    found = only(turn(wish, caps=SURE))
    assert (found.state, found.joining_seconds, found.absent_looks) == (WorkerState.WISHED, 30.0, 1)


@pytest.mark.parametrize(
    ("state", "shown", "becomes"),
    [
        (WorkerState.WISHED, InstanceState.PENDING, WorkerState.PENDING),
        (WorkerState.WISHED, InstanceState.RUNNING, WorkerState.STARTING),
        (WorkerState.PENDING, InstanceState.STARTING, WorkerState.STARTING),
        (WorkerState.PENDING, InstanceState.UNKNOWN, WorkerState.PENDING),
        (WorkerState.STARTING, InstanceState.FAILED, WorkerState.STARTING),
        (WorkerState.STARTING, InstanceState.STOPPED, WorkerState.LOST),
        (WorkerState.LOST, InstanceState.RUNNING, WorkerState.STARTING),
        (WorkerState.READY, InstanceState.TERMINATING, WorkerState.READY),
        (WorkerState.READY, InstanceState.GONE, WorkerState.GONE),
        (WorkerState.READY, InstanceState.PENDING, WorkerState.PENDING),
        (WorkerState.TERMINATING, InstanceState.RUNNING, WorkerState.TERMINATING),
        (WorkerState.FAILED, InstanceState.RUNNING, WorkerState.FAILED),
        (WorkerState.FAILED, InstanceState.GONE, WorkerState.GONE),
    ],
)
def test_the_providers_word(state: WorkerState, shown: InstanceState, becomes: WorkerState) -> None:
    worker = Worker(ID, "local/a", state, registered=state is WorkerState.READY)
    assert only(turn(worker, instance(shown), members=UNKNOWN_MEMBERS)).state is becomes


@pytest.mark.parametrize(
    ("state", "shown", "becomes"),
    [
        (WorkerState.STARTING, MemberState.JOINING, WorkerState.STARTING),
        (WorkerState.STARTING, MemberState.READY, WorkerState.READY),
        (WorkerState.WISHED, MemberState.READY, WorkerState.READY),
        (WorkerState.READY, MemberState.JOINING, WorkerState.STARTING),
        (WorkerState.READY, MemberState.LOST, WorkerState.READY),
        (WorkerState.STARTING, MemberState.LOST, WorkerState.STARTING),
        (WorkerState.LOST, MemberState.LOST, WorkerState.LOST),
        (WorkerState.LOST, MemberState.READY, WorkerState.READY),
        (WorkerState.READY, MemberState.DRAINING, WorkerState.STARTING),
        (WorkerState.FAILED, MemberState.READY, WorkerState.FAILED),
        (WorkerState.TERMINATING, MemberState.READY, WorkerState.TERMINATING),
    ],
)
def test_the_masters_word(state: WorkerState, shown: MemberState, becomes: WorkerState) -> None:
    assert only(turn(Worker(ID, "local/a", state), instance(), members=member(shown))).state is becomes


def test_becoming_ready_ends_the_launch_timeout() -> None:
    late = Worker(ID, "local/a", WorkerState.STARTING, joining_seconds=900.0, state_seconds=50.0)
    ready = only(turn(late, instance(), members=member()))
    assert (ready.joining_seconds, ready.state_seconds, ready.registered) == (0.0, 0.0, True)


def test_a_worker_that_the_master_forgot_starts_again_so_that_it_is_registered_again() -> None:
    found = only(turn(READY, instance()))
    assert (found.state, found.registered, found.url) == (WorkerState.STARTING, True, "http://w")


def test_unknown_members_are_not_forgotten_members() -> None:
    assert only(turn(READY, instance(), members=UNKNOWN_MEMBERS)).state is WorkerState.READY


def test_a_worker_of_ours_that_no_record_knows_is_adopted() -> None:
    found = only(turn((), instance(), members=member()))
    assert (found.provider, found.state, found.instance_id) == ("local/a", WorkerState.READY, "i-1")
    assert (found.launch_number, found.joining_seconds, found.mark, found.detail) == (0, 0.0, None, "adopted")


def test_an_instance_that_has_ended_is_not_adopted() -> None:
    assert turn((), instance(InstanceState.GONE)).workers == ()


def test_another_homes_instance_is_shown_and_never_touched() -> None:
    roster = turn((), instance(home="other"))
    assert roster.workers == ()
    assert [reason.text for reason in roster.reasons] == [
        "local/a: another home's, never touched: demo-3f9c-1-0 (home other)"
    ]


def test_another_homes_instance_with_our_workers_id_is_not_our_worker() -> None:
    found = turn((READY, *OTHERS), instance(home="other"), *SHOWN, members=UNKNOWN_MEMBERS).workers[0]
    assert (found.instance, found.absent_looks) == (None, 1)


def test_another_fleets_instance_is_not_ours() -> None:
    look = inputs(InstanceList((replace(instance(), fleet="other"),)))
    assert instances_of_ours(look.providers[0], look) == {}


def test_of_two_instances_with_one_id_the_one_that_runs_is_the_worker() -> None:
    ended = replace(instance(InstanceState.FAILED), instance_id="i-0")
    for rows in ((ended, instance()), (instance(), ended)):
        look = inputs(InstanceList(rows))
        assert instances_of_ours(look.providers[0], look)[ID].instance_id == "i-1"


def member_of(worker: Worker, *, busy: bool | None) -> Member:
    return Member(worker.worker_id, "7", MemberState.READY, worker.url, busy)


@pytest.mark.parametrize("caps", [CAPS, SURE])
@pytest.mark.parametrize("busy", [True, False])
def test_regression_one_that_answers_is_not_gone_because_complete_lists_lack_it(caps: ProviderCaps, busy: bool) -> None:
    members = MemberList((member_of(READY, busy=busy),))
    found = (READY, *OTHERS)
    for _ in range(4):
        found = turn(found, *SHOWN, members=members, caps=caps).workers
    assert (found[0].state, found[0].instance, found[0].busy) == (WorkerState.READY, None, busy)


def test_regression_three_that_work_are_not_gone_because_two_lists_were_empty() -> None:
    members = MemberList(tuple(member_of(worker, busy=True) for worker in (READY, *OTHERS)))
    found = (READY, *OTHERS)
    for _ in range(3):
        found = turn(found, members=members, caps=SURE).workers
    assert [worker.state for worker in found] == [WorkerState.READY] * 3


@pytest.mark.parametrize("busy", [True, None])
def test_gone_and_listed_again_is_the_same_worker_again(busy: bool | None) -> None:
    gone = replace(READY, state=WorkerState.GONE, absent_looks=2)
    roster = turn(gone, instance(), members=member_of(READY, busy=busy))
    assert (only(roster).state, roster.spares) == (WorkerState.READY, ())


def test_one_that_was_being_ended_is_still_marked_when_it_is_listed_again() -> None:
    gone = replace(READY, state=WorkerState.GONE, mark=MARK)
    found = only(turn(gone, instance(), members=member(busy=True)))
    assert (found.state, found.mark is not None) == (WorkerState.DRAINING, True)


DOUBLE = replace(instance(), instance_id="i-2", url="http://double")


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param((instance(InstanceState.UNKNOWN), DOUBLE), id="its row says unknown"),
        pytest.param((instance(InstanceState.GONE), DOUBLE), id="its row says gone"),
        pytest.param((replace(instance(), url="http://elsewhere"), DOUBLE), id="its address changed"),
        pytest.param((DOUBLE,), id="its row is missing"),
        pytest.param((replace(instance(), state=InstanceState.TERMINATING), DOUBLE), id="it is said to be ending"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_regression_of_two_instances_of_one_id_the_one_that_works_stays_the_worker(
    shown: tuple[Instance, ...], order: int
) -> None:
    found = only(turn(READY, *shown[::order], members=member(busy=True)))
    assert (found.instance_id, found.url, found.may_exist) == ("i-1", "http://w", True)


def test_regression_an_address_with_a_slash_at_its_end_is_no_other_one() -> None:
    shown = replace(instance(), instance_id="its process", url="http://w/")
    found = only(turn(READY, shown, members=member(busy=True)))
    assert (found.instance_id, found.instance) == ("its process", InstanceState.RUNNING)


def test_what_was_announced_once_holds_for_the_life_of_the_instance() -> None:
    found = only(turn(READY, replace(instance(), url="http://elsewhere"), members=member(busy=False)))
    assert found.url == "http://w"


def test_regression_a_job_that_slurm_started_twice_was_asked_at_its_first_address_for_ever() -> None:
    starting = replace(READY, state=WorkerState.STARTING, registered=False)
    assert only(turn(starting, replace(instance(), url="http://second"))).url == "http://second"


@pytest.mark.parametrize("shown", [InstanceState.FAILED, InstanceState.TERMINATING])
@pytest.mark.parametrize("busy", [True, None, False])
def test_regression_a_row_that_says_failed_marks_who_has_served_and_does_not_end_it(
    shown: InstanceState, busy: bool | None
) -> None:
    found = only(turn(READY, replace(instance(shown), detail="a sidecar crashed"), members=member(busy=busy)))
    assert found.state is WorkerState.DRAINING
    assert found.mark is not None
    assert (found.mark.number, found.mark.deadline_seconds, found.mark.forced) == (5, 900.0, False)
    assert found.mark.reason.startswith("its provider says that it ")


DECLARED = replace(instance(InstanceState.FAILED), failure=Failure.CAPACITY, is_declared=True, detail="no weights")


@pytest.mark.parametrize(
    ("worker", "answer"), [(replace(READY, registered=False), None), (READY, None), (None, member()), (READY, member())]
)
def test_regression_a_prompt_that_a_worker_prints_does_not_declare_it_failed(
    worker: Worker | None, answer: Member | None
) -> None:
    found = only(turn((worker,) if worker else (), DECLARED, members=answer))
    assert (found.failure, found.mark) == (None, None)
    assert found.state not in (WorkerState.FAILED, WorkerState.TERMINATING)


def test_who_has_announced_nothing_may_declare_that_it_failed() -> None:
    starting = replace(READY, state=WorkerState.STARTING, url=None, registered=False, launch_number=1)
    found = only(turn(starting, DECLARED))
    assert (found.state, found.failure) == (WorkerState.FAILED, Failure.CAPACITY)


@pytest.mark.parametrize("busy", [True, None])
def test_regression_one_that_its_provider_means_to_end_is_marked_and_not_ended(busy: bool | None) -> None:
    found = only(turn(READY, replace(instance(), ends_soon="PreemptionByScheduler"), members=member(busy=busy)))
    assert (found.state, found.failure) == (WorkerState.DRAINING, None)
    assert found.mark is not None
    assert found.mark.deadline_seconds == 900.0
    assert found.mark.reason == "its provider means to end it: PreemptionByScheduler"
    assert (found.mark.urgent, found.mark.has_notice) == (True, True)


def test_a_row_that_says_failed_fails_who_never_served() -> None:
    starting = replace(READY, state=WorkerState.STARTING, registered=False, launch_number=1)
    assert only(turn(starting, instance(InstanceState.FAILED))).state is WorkerState.FAILED


def test_regression_one_from_before_the_chain_is_not_ended_because_its_row_says_failed() -> None:
    found = only(turn((), instance(InstanceState.FAILED)))
    assert found.state is WorkerState.DRAINING
    assert found.mark is not None
    assert found.mark.deadline_seconds == 900.0


@pytest.mark.parametrize(("last_busy", "deadline"), [(True, 900.0), (None, 900.0), (False, 0.0)])
def test_who_is_lost_is_waited_for_as_long_as_it_may_work(last_busy: bool | None, deadline: float) -> None:
    lost = replace(READY, state=WorkerState.LOST, last_busy=last_busy, unanswered_seconds=60.0)
    found = given_up(lost)
    assert found.mark is not None
    assert found.mark.deadline_seconds == deadline


def test_what_was_heard_last_is_remembered_while_nobody_answers() -> None:
    busy = only(turn(READY, instance(), members=member(busy=True)))
    silent = only(turn(busy, instance(), members=member(MemberState.LOST, busy=None)))
    assert (silent.busy, silent.last_busy) == (None, True)


def test_regression_one_of_ours_whose_marks_somebody_took_off_is_counted_and_named() -> None:
    roster = turn(READY, instance(home=""), members=member(busy=True))
    assert (only(roster).state, only(roster).instance) == (WorkerState.READY, InstanceState.RUNNING)
    assert rules(roster) == ["roster.unmarked"]


def test_another_homes_instance_is_shown_although_its_id_is_one_of_ours() -> None:
    roster = turn((READY, *OTHERS), instance(), *SHOWN, instance(home="other"), members=UNKNOWN_MEMBERS)
    assert [reason.text for reason in roster.reasons if reason.rule == "roster.foreign"] == [
        f"local/a: another home's, never touched: {ID} (home other)"
    ]


def test_regression_one_of_this_chain_whose_marks_somebody_took_off_is_ours_although_the_record_forgot_it() -> None:
    roster = turn((), instance(home=""))
    assert only(roster).worker_id == ID
    assert "roster.unmarked" in rules(roster)


def test_one_without_marks_that_no_record_knows_is_a_strangers() -> None:
    roster = turn((), instance(home="", worker_id="demo-0ld0-1-0"))
    assert (roster.workers, roster.spares) == ((), ())


def test_foreign_members_are_shown() -> None:
    roster = turn((), members=MemberList((), foreign=("demo-zzzz-1-0 (home other)",)))
    assert [reason.rule for reason in roster.reasons] == ["roster.foreign"]


@pytest.mark.parametrize(
    ("mark", "shown", "stays"),
    [
        (MARK, MemberState.READY, True),
        (replace(MARK, age_seconds=60.0), MemberState.READY, False),
        (replace(MARK, age_seconds=60.0), MemberState.DRAINING, True),
        (replace(MARK, age_seconds=60.0, forced=True), MemberState.READY, True),
    ],
)
def test_a_mark_is_taken_back_once_its_deadline_is_over_and_the_master_serves_it(
    mark: Mark, shown: MemberState, stays: bool
) -> None:
    marked = replace(READY, state=WorkerState.DRAINING, mark=mark)
    found = only(turn(marked, instance(), members=member(shown, busy=True), elapsed=0.0))
    assert (found.mark is not None) is stays
    assert found.state is (WorkerState.DRAINING if stays else WorkerState.READY)


def test_regression_a_worker_whose_mark_was_taken_back_may_be_pending_again() -> None:
    # A requeued Slurm job: DRAINING cannot become PENDING, and a turn that raises would raise for ever.
    drained = replace(READY, state=WorkerState.DRAINING, mark=None)
    found = only(turn(drained, instance(InstanceState.PENDING)))
    assert found.state is WorkerState.STARTING
    assert only(turn(found, instance(InstanceState.PENDING))).state is WorkerState.PENDING


def test_a_worker_that_nobody_answers_for_is_timed_from_the_first_such_look() -> None:
    lost = member(MemberState.LOST, busy=None)
    first = only(turn(READY, instance(), members=lost))
    assert first.unanswered_seconds == 0.0
    assert only(turn(first, instance(), members=lost)).unanswered_seconds == 30.0
    assert only(turn(first, instance(), members=UNKNOWN_MEMBERS)).unanswered_seconds == 30.0
    assert only(turn(first, instance(), members=member())).unanswered_seconds is None


@pytest.mark.parametrize(("elapsed", "becomes"), [(9.0, WorkerState.READY), (10.0, WorkerState.LOST)])
def test_regression_one_look_without_an_answer_launched_a_second_worker(elapsed: float, becomes: WorkerState) -> None:
    lost = member(MemberState.LOST, busy=None)
    roster = turn(READY, instance(), members=lost)
    first = only(roster)
    assert (first.state, first.is_supply, first.busy) == (WorkerState.READY, True, None)
    assert [reason.text for reason in roster.reasons if reason.rule == "roster.silent"] == [
        f"the master gets no answer from {ID}: lost if a look 10 s later agrees"
    ]
    second = turn(first, instance(), members=lost, elapsed=elapsed)
    assert only(second).state is becomes
    assert any(reason.rule == "roster.silent" for reason in second.reasons) is (becomes is WorkerState.READY)


def test_idle_time_is_the_masters_figure_or_counted_from_our_first_idle_look() -> None:
    exact = replace(member(), idle_seconds=12.34567)
    assert only(turn(READY, instance(), members=exact)).idle_seconds == 12.346
    first = only(turn(READY, instance(), members=member()))
    assert first.idle_seconds == 0.0
    assert only(turn(first, instance(), members=member())).idle_seconds == 30.0


@pytest.mark.parametrize("busy", [True, None])
def test_a_worker_that_works_or_cannot_tell_is_not_idle(busy: bool | None) -> None:
    idle = replace(READY, idle_seconds=500.0)
    assert only(turn(idle, instance(), members=member(busy=busy))).idle_seconds is None


def test_idle_time_starts_again_after_an_unknown_look() -> None:
    idle = replace(READY, idle_seconds=500.0)
    assert only(turn(idle, instance(), members=UNKNOWN_MEMBERS)).idle_seconds is None


def test_a_member_without_an_instance_is_never_supply() -> None:
    first = only(turn((), members=member()))
    assert (first.provider, first.state, first.is_supply) == ("", WorkerState.LOST, False)
    again = only(turn(first, members=member(), listing=UNKNOWN_LIST))
    assert (again.state, again.is_supply) == (WorkerState.LOST, False), "regression: it became ready at the second look"


def test_a_member_without_an_instance_is_gone_after_two_complete_looks() -> None:
    first = only(turn((), members=member(busy=None)))
    for elapsed, state in ((29.0, WorkerState.LOST), (30.0, WorkerState.GONE)):
        assert only(turn(first, members=member(busy=None), elapsed=elapsed)).state is state


@pytest.mark.parametrize("busy", [True, False])
def test_regression_a_member_that_answers_is_not_forgotten_because_lists_lack_it(busy: bool) -> None:
    found = only(turn((), members=member(busy=busy)))
    for _ in range(3):
        found = only(turn(found, members=member(busy=busy), elapsed=60.0))
        assert found.state is WorkerState.LOST


def test_regression_a_member_whose_instance_is_listed_later_is_adopted() -> None:
    first = only(turn((), members=member(), listing=UNKNOWN_LIST))
    found = only(turn(first, instance(), members=member()))
    assert (found.provider, found.state, found.instance_id) == ("local/a", WorkerState.READY, "i-1")


def test_a_half_made_entry_is_no_worker() -> None:
    assert turn((), members=member(worker_id="")).workers == ()


def given_up(worker: Worker, *, retries: int = 1) -> Worker:
    (found,) = give_up([worker], 5, launch_timeout_seconds=600.0, retries=retries, drain_deadline_seconds=900.0)
    return found


STARTING = Worker(
    ID,
    "local/a",
    WorkerState.STARTING,
    instance=InstanceState.RUNNING,
    url="http://w",
    joining_seconds=600.0,
    register_turns=1,
)


def test_a_worker_that_never_became_ready_fails_and_is_marked() -> None:
    failed = given_up(STARTING)
    detail = "not ready after 600 s (launch_timeout_seconds 600): announced http://w"
    assert (failed.state, failed.failure, failed.detail) == (WorkerState.FAILED, Failure.TIMEOUT, detail)
    assert failed.mark == Mark(5, detail, deadline_seconds=0.0)


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        (replace(STARTING, joining_seconds=599.9), "its time is not over"),
        (replace(STARTING, register_turns=0), "it announced itself only just now"),
        (replace(STARTING, joining_seconds=5.0, attempts=1), "one retry is due"),
        (replace(STARTING, joining_seconds=5.0, attempts=9, retries=9), "its script asked for more retries"),
        (replace(STARTING, instance=None), "it was not listed now"),
        (replace(STARTING, state=WorkerState.READY), "it serves"),
        (replace(STARTING, state=WorkerState.WISHED, instance=None), "a wish is given up by its own rule"),
        (replace(STARTING, mark=MARK), "it goes already"),
    ],
)
def test_this_worker_is_not_given_up(worker: Worker, why: str) -> None:
    assert given_up(worker) == worker, why


def test_a_worker_that_never_announced_itself_needs_no_attempts() -> None:
    failed = given_up(replace(STARTING, url=None, register_turns=0))
    assert failed.detail.endswith("never announced a URL")


@pytest.mark.parametrize(
    ("asked", "attempts", "words"),
    [
        (None, 2, "in 2 attempts (retries 1)"),
        (0, 1, "in 1 attempt (retries 0)"),
        (3, 4, "in 4 attempts (retries 3)"),
    ],
    ids=["as the fleet says", "its script wants one attempt", "its script wants more"],
)
def test_a_worker_that_nobody_reached_in_all_its_attempts_fails_at_once(
    asked: int | None, attempts: int, words: str
) -> None:
    failed = given_up(replace(STARTING, joining_seconds=1.0, retries=asked, attempts=attempts))
    assert (failed.state, failed.failure) == (WorkerState.FAILED, Failure.TIMEOUT)
    assert words in failed.detail
    assert failed.mark is not None


def test_attempts_begin_anew_after_a_worker_has_served() -> None:
    before = replace(STARTING, attempts=1, joining_seconds=1.0)
    found = only(turn(before, instance(), members=member()))
    assert (found.state, found.attempts, found.register_turns) == (WorkerState.READY, 0, 0)


def test_a_workers_own_retries_are_remembered_when_it_is_listed() -> None:
    found = only(turn(STARTING, replace(instance(), retries=7)))
    assert found.retries == 7
    assert only(turn(found, instance())).retries == 7


def test_a_worker_that_failed_by_itself_is_marked() -> None:
    failed = given_up(replace(STARTING, state=WorkerState.FAILED, detail="exit code 1"))
    assert failed.mark == Mark(5, "exit code 1", deadline_seconds=0.0)


@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({"unanswered_seconds": 59.9}, False),
        ({"unanswered_seconds": 60.0}, True),
        ({"unanswered_seconds": None, "state_seconds": 599.9}, False),
        ({"unanswered_seconds": None, "state_seconds": 600.0}, True),
        ({"unanswered_seconds": 60.0, "provider": ""}, False),
    ],
)
def test_a_lost_worker_is_marked_after_sixty_silent_seconds(changes: dict[str, str | float | None], goes: bool) -> None:
    lost = given_up(replace(READY, state=WorkerState.LOST, **changes))  # type: ignore[arg-type]
    assert (lost.mark is not None) is goes
    assert lost.state is (WorkerState.DRAINING if goes else WorkerState.LOST)


def test_an_idle_figure_counts_only_where_the_master_or_the_worker_times_it() -> None:
    told = Member(ID, "7", MemberState.READY, "http://w", False, 700.0)
    known = replace(READY, idle_seconds=812.0)
    listing = InstanceList((instance(),))
    times = {}
    for source in IdleSource:
        look = ProviderLook("local/a", CAPS, listing)
        caps = MasterCaps(idle_source=source)
        seen = inputs_of(members=MemberList((told,)), master_caps=caps, providers=(look,))
        roster = reconcile(seen, Memory(workers=(known,)), drain_deadline_seconds=900.0)
        times[source] = only(roster).idle_seconds
    assert times == {IdleSource.MASTER: 700.0, IdleSource.WORKER: 700.0, IdleSource.OBSERVED: 812.0}
