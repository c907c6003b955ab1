"""Who serves which request: order and accounts, in which nothing is twice or lost for any sequence of events."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ebbflow.gateway.reports import FRESH_SECONDS, WorkerView
from ebbflow.gateway.routing import ALIVE_SECONDS, UNUSED_SECONDS, Exhausted, Given, Issue, Numbers, Routing, Wait

READY = WorkerView("demo-0abc-1-0", url="http://10.0.0.1:3000", is_loaded=True, max_perf=10.0, reported_at=0.0)


def worker(number: int, **changes: object) -> WorkerView:
    return replace(READY, worker_id=f"demo-0abc-1-{number}", **changes)  # type: ignore[arg-type]


class Desk:
    """Routing with a clock, as clients and workers use it."""

    def __init__(self, **settings: float) -> None:
        self.issue = Issue()
        self.routing = Routing(self.issue, **settings)
        self.now = 0.0

    def poll(self, number: int = 0, cost: float = 10.0, priority: int = 0, keep_seconds: float = 60.0) -> Given | Wait:
        return self.routing.poll(number, cost=cost, priority=priority, keep_seconds=keep_seconds, now=self.now)

    def report(self, view: WorkerView) -> None:
        self.routing.reported(replace(view, reported_at=self.now), self.now)

    def worker_of(self, answer: Given | Wait) -> int | None:
        return int(answer.worker_id.rpartition("-")[2]) if isinstance(answer, Given) else None


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_worker_with_the_least_before_it_by_its_own_speed_is_chosen(desk: Desk) -> None:
    desk.report(worker(1, cur_load=100.0, max_perf=100.0))
    desk.report(worker(2, cur_load=20.5, max_perf=10.0))
    # 1 s of work against 2.05 s; each of ten adds 0.1 s there.
    assert [desk.worker_of(desk.poll()) for _ in range(11)] == [1] * 11
    assert desk.worker_of(desk.poll()) == 2


def test_what_a_worker_was_given_counts_until_it_says_so_itself(desk: Desk) -> None:
    desk.report(worker(1))
    first = desk.poll()
    assert isinstance(first, Given)
    assert desk.routing.in_flight == 10
    desk.report(worker(1, cur_load=10.0, working=frozenset({first.request})))
    (view,) = desk.routing.workers()
    assert (view.cur_load, desk.routing.in_flight, desk.routing.is_busy(view.worker_id)) == (10.0, 10.0, True)
    desk.report(worker(1))
    assert (desk.routing.in_flight, desk.routing.is_busy(view.worker_id)) == (0.0, False)


def test_without_a_worker_one_waits_and_knows_how_many_go_before(desk: Desk) -> None:
    answers = [desk.poll() for _ in range(3)]
    assert [answer.position for answer in answers if isinstance(answer, Wait)] == [0, 1, 2]
    assert {answer.seconds for answer in answers if isinstance(answer, Wait)} == {None}
    assert desk.routing.queued == 30
    assert [answer.request for answer in answers] == [1, 2, 3]


def test_asking_again_adds_nothing(desk: Desk) -> None:
    first = desk.poll()
    for _ in range(5):
        assert desk.poll(first.request) == first
    assert (desk.routing.queued, desk.routing.waiting) == (10.0, 1)


def test_one_that_polls_more_often_does_not_pass_one_that_came_before(desk: Desk) -> None:
    desk.routing.max_queue_seconds = 0.5
    early, late = desk.poll(), desk.poll()
    desk.report(worker(1))
    assert isinstance(desk.poll(late.request), Wait), "the worker is set aside for the one that came before"
    assert isinstance(desk.poll(early.request), Given)


def test_a_higher_priority_goes_first(desk: Desk) -> None:
    desk.routing.max_queue_seconds = 0.5
    plain, urgent = desk.poll(), desk.poll(priority=5)
    assert isinstance(urgent, Wait)
    assert urgent.position == 0
    desk.report(worker(1))
    assert isinstance(desk.poll(plain.request), Wait)
    assert isinstance(desk.poll(urgent.request), Given)


def test_nothing_is_set_aside_for_a_client_that_has_left(desk: Desk) -> None:
    desk.routing.max_queue_seconds = 0.5
    desk.poll()
    alive = desk.poll()
    desk.now = ALIVE_SECONDS + 1
    assert isinstance(desk.poll(alive.request), Wait)
    desk.report(worker(1))
    assert isinstance(desk.poll(alive.request), Given)


def test_a_worker_set_aside_for_a_client_that_leaves_goes_to_the_next(desk: Desk) -> None:
    desk.routing.max_queue_seconds = 0.5
    desk.poll()
    alive = desk.poll()
    desk.report(worker(1))
    desk.now = ALIVE_SECONDS + 1
    assert isinstance(desk.poll(alive.request), Given)


def test_one_that_nobody_asks_for_is_dropped_and_its_load_with_it(desk: Desk) -> None:
    desk.poll(keep_seconds=20)
    desk.now = 21
    other = desk.poll(cost=7)
    assert (desk.routing.queued, desk.routing.waiting) == (7.0, 1)
    assert isinstance(other, Wait)
    assert other.position == 0


def test_a_number_that_comes_back_after_it_was_sent_means_that_its_worker_failed_and_another_is_preferred(
    desk: Desk,
) -> None:
    desk.report(worker(1, max_perf=100.0))
    desk.report(worker(2))
    first = desk.poll()
    assert desk.worker_of(first) == 1
    again = desk.poll(first.request)
    assert (desk.worker_of(again), again.request) == (2, first.request)
    assert isinstance(first, Given)
    assert isinstance(again, Given)
    assert again.ticket > first.ticket, "a ticket's number is never used again"
    assert desk.routing.in_flight == 10
    third = desk.poll(first.request)
    assert desk.worker_of(third) in (1, 2), "where all have failed it, one of them must do"


def test_one_that_was_rejected_and_comes_back_keeps_its_place(desk: Desk) -> None:
    desk.report(worker(1))
    first = desk.poll()
    assert desk.routing.settled("demo-0abc-1-1", first.request, desk.now)
    desk.routing.forget("demo-0abc-1-1", desk.now)
    late = desk.poll()
    back = desk.poll(first.request)
    assert isinstance(back, Wait)
    assert isinstance(late, Wait)
    again = desk.poll(late.request)
    assert isinstance(again, Wait)
    assert (back.position, again.position) == (0, 1)


def test_above_its_longest_queue_a_worker_gets_nothing() -> None:
    desk = Desk(max_queue_seconds=2.0)
    desk.report(worker(1, cur_load=20.5))
    assert isinstance(desk.poll(), Wait)
    desk.report(worker(1, cur_load=20.0))
    assert isinstance(desk.poll(1), Given)


def test_a_request_that_is_more_than_any_worker_can_do_in_that_time_goes_to_one_with_room() -> None:
    desk = Desk(max_queue_seconds=2.0)
    desk.report(worker(1))
    assert isinstance(desk.poll(cost=1e6), Given)


@pytest.mark.parametrize(
    "changes",
    [{"error": "CUDA error"}, {"is_loaded": False}, {"max_perf": 0.0}, {"url": ""}],
    ids=["broken", "loading", "not measured", "no address"],
)
def test_one_that_is_not_ready_gets_nothing(desk: Desk, changes: dict[str, object]) -> None:
    desk.report(worker(1))
    desk.report(worker(1, **changes))
    assert isinstance(desk.poll(), Wait)


def test_one_that_is_silent_gets_nothing(desk: Desk) -> None:
    desk.report(worker(1))
    desk.now = FRESH_SECONDS + 1
    assert isinstance(desk.poll(), Wait)


def test_one_that_drains_gets_nothing_new_and_what_was_set_aside_goes_to_others(desk: Desk) -> None:
    desk.routing.max_queue_seconds = 0.5
    waits = desk.poll()
    desk.report(worker(1))
    desk.routing.drain("demo-0abc-1-1")
    assert isinstance(desk.poll(waits.request), Wait)
    assert not desk.routing.is_busy("demo-0abc-1-1")
    desk.routing.drain("demo-0abc-1-1", is_draining=False)
    assert isinstance(desk.poll(waits.request), Given)


def test_a_ticket_that_nobody_uses_is_taken_back(desk: Desk) -> None:
    desk.report(worker(1))
    desk.poll()
    desk.now = UNUSED_SECONDS + 1
    desk.report(worker(1))
    desk.poll(cost=1)
    assert desk.routing.in_flight == 1


def test_a_worker_that_was_started_anew_has_nothing_of_before(desk: Desk) -> None:
    desk.report(worker(1))
    desk.poll()
    desk.report(worker(1, restarts=1))
    assert desk.routing.in_flight == 0


def test_a_settlement_that_is_not_open_changes_nothing(desk: Desk) -> None:
    desk.report(worker(1))
    given = desk.poll()
    assert not desk.routing.settled("demo-0abc-1-2", given.request, desk.now), "another worker's"
    assert not desk.routing.settled("demo-0abc-1-1", 999, desk.now), "nobody's"
    assert desk.routing.settled("demo-0abc-1-1", given.request, desk.now)
    assert not desk.routing.settled("demo-0abc-1-1", given.request, desk.now), "settled before"
    assert desk.routing.in_flight == 0


def test_an_older_worker_that_names_no_requests_is_taken_at_its_next_word(desk: Desk) -> None:
    desk.report(worker(1, generation=2))
    desk.poll()
    desk.report(worker(1, generation=2, cur_load=3.0))
    assert desk.routing.in_flight == 0


def test_after_a_restart_clients_keep_their_numbers() -> None:
    issue = Issue(Numbers(500), Numbers(900))
    desk = Desk()
    desk.routing = Routing(issue)
    assert desk.poll(42).request == 42
    assert desk.poll(10**9).request == 500, "a number that was never given is nobody's"
    assert desk.poll(-3).request == 501


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_among_clients_that_stay_the_order_is_that_of_arrival(polls: list[int]) -> None:
    desk = Desk(max_queue_seconds=0.5)
    requests = [desk.poll().request for _ in range(10)]
    served: list[int] = []
    for index in [*polls, *range(10)] * 2:
        request = requests[index]
        if request in served:
            continue
        desk.report(worker(len(served)))
        for number in range(len(served)):
            desk.report(worker(number, error="gone"))
        if isinstance(desk.poll(request), Given):
            served.append(request)
    assert served == sorted(served)


class Accounts(RuleBasedStateMachine):
    """Any sequence of events; nothing is negative, nothing is twice, and in the end all is 0."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk(max_queue_seconds=3.0)
        self.costs: dict[int, float] = {}
        self.given: list[Given] = []
        self.restarts = 0

    @rule(cost=st.floats(0.1, 50), priority=st.integers(0, 2))
    def arrives(self, cost: float, priority: int) -> None:
        answer = self.desk.poll(0, cost, priority)
        assert answer.request not in self.costs, "a number is given once"
        self.costs[answer.request] = cost
        self.took(answer)

    @rule(data=st.data())
    def asks_again(self, data: st.DataObject) -> None:
        if self.costs:
            number = data.draw(st.sampled_from(sorted(self.costs)))
            self.took(self.desk.poll(number, self.costs[number]))

    def took(self, answer: Given | Wait) -> None:
        if isinstance(answer, Given):
            assert answer.ticket not in {each.ticket for each in self.given}
            self.given.append(answer)

    @rule(number=st.integers(0, 2), load=st.floats(0, 40), data=st.data())
    def reports(self, number: int, load: float, data: st.DataObject) -> None:
        mine = sorted({each.request for each in self.given if each.worker_id == f"demo-0abc-1-{number}"})
        named = data.draw(st.sets(st.sampled_from(mine))) if mine else set()
        self.desk.report(worker(number, cur_load=load, working=frozenset(named), restarts=self.restarts))

    @rule(number=st.integers(0, 2), data=st.data())
    def settles(self, number: int, data: st.DataObject) -> None:
        if self.given:
            request = data.draw(st.sampled_from([each.request for each in self.given]))
            self.desk.routing.settled(f"demo-0abc-1-{number}", request, self.desk.now)

    @rule(number=st.integers(0, 2))
    def is_lost(self, number: int) -> None:
        self.desk.routing.forget(f"demo-0abc-1-{number}", self.desk.now)

    @rule(number=st.integers(0, 2), is_draining=st.booleans())
    def drains(self, number: int, is_draining: bool) -> None:
        self.desk.routing.drain(f"demo-0abc-1-{number}", is_draining=is_draining)

    @rule()
    def all_begin_anew(self) -> None:
        self.restarts += 1

    @rule(seconds=st.floats(-1, 40))
    def time_passes(self, seconds: float) -> None:
        self.desk.now = max(0.0, self.desk.now + seconds)

    @invariant()
    def nothing_is_negative_and_nothing_is_twice(self) -> None:
        if not hasattr(self, "desk"):
            return
        routing = self.desk.routing
        assert routing.in_flight >= 0
        assert routing.queued >= -1e-9
        assert routing.in_flight + routing.queued <= sum(self.costs.values()) + 1e-6

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        for number in range(3):
            self.desk.routing.forget(f"demo-0abc-1-{number}", self.desk.now)
        assert self.desk.routing.in_flight == 0, "what nobody has is in flight nowhere"
        self.desk.now += 1000
        self.desk.routing.sweep(self.desk.now)
        assert (self.desk.routing.in_flight, self.desk.routing.queued, self.desk.routing.waiting) == (0.0, 0.0, 0)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_numbers_go_on_in_what_was_reserved_later_and_end_where_nothing_was() -> None:
    numbers = Numbers(1, 3)
    assert (numbers.left, numbers.take(), numbers.left) == (2, 1, 1)
    numbers.later = 100, 102
    assert (numbers.left, [numbers.take() for _ in range(3)], numbers.left) == (3, [2, 100, 101], 0)
    with pytest.raises(Exhausted):
        numbers.take()


def test_without_a_number_nothing_is_taken(desk: Desk) -> None:
    desk.issue.requests.end = 2
    desk.poll()
    with pytest.raises(Exhausted):
        desk.poll()
    assert (desk.routing.waiting, desk.routing.totals.arrived) == (1, 1)


def test_who_waits_for_a_worker_that_loads_is_told_how_long_by_what_others_took(desk: Desk) -> None:
    desk.report(worker(1, load_seconds=100.0, max_perf=20.0))
    desk.now = 10
    desk.poll()
    assert desk.routing.load_seconds == 100
    desk.routing.forget("demo-0abc-1-1", desk.now)
    desk.now = 20
    waits = desk.poll()
    assert isinstance(waits, Wait)
    assert waits.seconds is None, "nobody comes"
    desk.report(worker(2, is_loaded=False, max_perf=0.0, started_at=20.0))
    desk.now = 50
    first, second = desk.poll(waits.request), desk.poll(cost=40)
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert first.seconds == 70
    assert second.seconds == pytest.approx(70 + 25 / 20)
    desk.report(worker(2, is_loaded=False, max_perf=0.0, started_at=20.0, error="CUDA error"))
    desk.now = 60
    waits = desk.poll(waits.request)
    assert isinstance(waits, Wait)
    assert waits.seconds is None, "that one will not serve"
