"""The virtual world checks itself: nothing is lost, bills add up, and a fixed fleet waits as the textbook says."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.environment import K8S, MARKET, BootTimes, Environment, Luck, VirtualProvider
from ebbflow.simulation.polling import NEVER, Polls
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.score import score
from ebbflow.simulation.shared_world import SharedWorld
from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import AFTER_LAST_ARRIVAL_SECONDS, Soon, World, turn_after

STEADY = VirtualProvider("steady", BootTimes(100.0, 0.0, 100.0, 100.0))
SURE = Environment("sure", (STEADY,))
HARSH = Environment(
    "harsh",
    (VirtualProvider("harsh", BootTimes(60.0, 0.5, 20.0, 300.0), failing_share=0.2, mean_seconds_to_preemption=900.0),),
)


class Told:
    """A driver that does what a test says."""

    def __init__(self, does: Callable[[World], None], interval_seconds: float = 10.0) -> None:
        self.interval_seconds = interval_seconds
        self._does = does

    def tick(self, world: World) -> Soon | None:
        self._does(world)
        return None


def fixed(count: int) -> Told:
    def does(world: World) -> None:
        while world.size < count and world.launch() is not None:
            pass

    return Told(does)


def run(trace: Trace, driver: Told, environment: Environment = SURE, seed: int = 1) -> World:
    world = World(trace, environment, seed)
    world.run(driver)
    return world


def made_up(*rows: tuple[float, float]) -> Trace:
    return Trace("made up", tuple(row[0] for row in rows), tuple(row[1] for row in rows))


@pytest.fixture(scope="module")
def smoke() -> Trace:
    return load("mooncake").first(3000)


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("environment", [K8S, MARKET, HARSH], ids=lambda environment: environment.name)
def test_every_request_is_served_or_waits_or_is_in_service_and_the_bill_adds_up(
    smoke: Trace, name: str, environment: Environment
) -> None:
    world = World(smoke, environment, 7)
    world.run(BASELINES[name]())
    in_service = sum(worker.request >= 0 for worker in world.alive.values())
    assert len(smoke.at_seconds) == world.served + len(world.queue) + in_service
    assert world.running == in_service
    assert all(wait >= -1e-9 for wait in world.waits)
    assert all(wait == wait for wait in world.waits), "a wait was never set"
    assert world.ready == sum(worker.phase is Phase.READY for worker in world.alive.values())
    assert world.booting == sum(worker.phase is Phase.BOOTING for worker in world.alive.values())
    bill = math.fsum(
        max((world.horizon if worker.ended_at is None else worker.ended_at) - worker.launched_at, 60.0) / 3600
        for worker in world.workers
    )
    assert score(world).paid_hours == pytest.approx(bill)
    assert sum(worker.failed for worker in world.workers) == world.failures


def test_the_same_seed_gives_the_same_run_and_another_seed_another(smoke: Trace) -> None:
    def played(seed: int) -> object:
        world = World(smoke, MARKET, seed)
        world.run(BASELINES["knative"]())
        return score(world), world.waits

    assert played(1) == played(1)
    assert played(1) != played(2)


def test_two_drivers_meet_the_same_luck_at_the_same_launch(smoke: Trace) -> None:
    fates = []
    for name in ("ray-idle60", "erlangC"):
        world = World(smoke, MARKET, 3)
        world.run(BASELINES[name]())
        fates.append([(worker.boot_seconds, worker.will_fail) for worker in world.workers[:20]])
    assert fates[0] == fates[1]


def test_who_never_launches_leaves_everything_unserved() -> None:
    world = run(made_up((0.0, 1.0), (5.0, 2.0)), Told(lambda world: None))
    scored = score(world)
    assert (scored.unserved, scored.paid_hours) == (2, 0.0)
    assert world.waits == [5.0 + AFTER_LAST_ARRIVAL_SECONDS, AFTER_LAST_ARRIVAL_SECONDS]


def test_a_request_waits_for_the_boot_and_the_bill_begins_with_the_launch_call() -> None:
    world = run(made_up((0.0, 30.0)), fixed(1))
    assert world.waits == [100.0]
    assert score(world).paid_hours == pytest.approx(AFTER_LAST_ARRIVAL_SECONDS / 3600)


def test_at_one_instant_the_arrival_comes_before_the_tick() -> None:
    seen: list[int] = []
    run(made_up((10.0, 1.0)), Told(lambda world: seen.append(len(world.queue))))
    assert seen[:2] == [0, 1]


def test_a_worker_ends_at_once_where_it_is_idle_and_after_its_request_where_it_works() -> None:
    ended: list[float | None] = []

    def does(world: World) -> None:
        if world.now == 0:
            world.launch()
            world.launch()
        if world.now == 110:
            for worker in list(world.alive.values()):
                world.stop(worker)
            ended.extend(worker.ended_at for worker in world.workers)

    world = run(made_up((0.0, 30.0)), Told(does))
    assert ended == [None, 110.0]
    assert world.workers[0].ended_at == 130.0
    assert (world.served, world.lost_to_stops) == (1, 0)


def test_a_request_whose_worker_is_killed_starts_again_from_zero() -> None:
    def does(world: World) -> None:
        if world.now in (0, 110):
            world.launch()
        if world.now == 120:
            world.stop(world.workers[0], kills=True)

    world = run(made_up((0.0, 30.0)), Told(does))
    assert (world.lost_to_stops, world.served, world.waits) == (1, 1, [210.0])


def test_a_short_life_is_billed_its_minimum() -> None:
    def does(world: World) -> None:
        if world.now == 0:
            world.launch()
        elif world.alive:
            world.stop(world.workers[0])

    scored = score(run(made_up((0.0, 1.0)), Told(does)))
    assert scored.paid_hours == scored.wasted_hours == pytest.approx(60 / 3600)


def test_a_failed_launch_is_noticed_late_and_paid_until_then() -> None:
    never = Environment("never", (VirtualProvider("never", BootTimes(100.0, 0.0, 100.0, 100.0), failing_share=1.0),))

    def does(world: World) -> None:
        if world.now == 0:
            world.launch()

    scored = score(run(made_up((0.0, 1.0)), Told(does), never))
    assert (scored.failed_launches, scored.launches) == (1, 1)
    assert scored.wasted_hours == pytest.approx(150 / 3600)


def test_out_of_stock_is_refused_free_of_charge_and_the_next_provider_is_asked() -> None:
    empty = VirtualProvider("empty", STEADY.boots, out_of_stock=((0.0, 1e9),))
    dear = VirtualProvider("dear", STEADY.boots, price=3.0)
    world = run(made_up((0.0, 1.0)), fixed(1), Environment("two", (empty, dear)))
    scored = score(world)
    assert (scored.refused_launches, scored.launches) == (1, 1)
    assert scored.paid_hours == pytest.approx(3 * AFTER_LAST_ARRIVAL_SECONDS / 3600)


def test_a_full_provider_hands_over_to_the_next_and_the_fleet_has_a_maximum() -> None:
    providers = (VirtualProvider("a", STEADY.boots, max_workers=2), VirtualProvider("b", STEADY.boots))
    world = run(made_up((0.0, 1.0)), fixed(50), Environment("two", providers, max_workers=5))
    assert [worker.provider.name for worker in world.workers] == ["a", "a", "b", "b", "b"]


def test_work_goes_only_where_it_fits_and_overtakes_what_does_not() -> None:
    small = VirtualProvider("small", STEADY.boots, max_workers=1)
    large = VirtualProvider("large", BootTimes(200.0, 0.0, 200.0, 200.0), max_workers=1, capabilities=("gpu=4",))
    trace = Trace("shapes", (0.0, 1.0, 2.0), (10.0, 10.0, 10.0), (("gpu=2",), (), ("gpu=4",)))
    world = run(trace, fixed(2), Environment("two", (small, large)))
    assert world.waits == [200.0, 99.0, 208.0]


def test_a_preempted_request_returns_to_the_head_of_the_queue(smoke: Trace) -> None:
    world = World(smoke, HARSH, 1)
    world.run(BASELINES["ray-idle300"]())
    scored = score(world)
    assert scored.preempted > 0
    assert (scored.lost, scored.unserved) == (0, 0)


KEEPING = replace(STEADY, name="keeping", warm_boots=BootTimes(10.0, 0.0, 10.0, 10.0), storage_price=0.25)


def test_a_stopped_instance_costs_its_storage_until_it_is_started_or_ended() -> None:
    def does(world: World) -> None:
        if world.now == 0:
            world.launch()
        if world.now in (200, 400):
            world.stop(next(iter(world.alive.values())), keeps=True)
        if world.now == 300:
            world.start(world.stopped[0])
        if world.now == 600:
            world.end_stopped(world.stopped[1])

    world = run(made_up((0.0, 30.0)), Told(does), Environment("keeping", (KEEPING,)))
    assert [(kept.since, kept.ended_at) for kept in world.storage] == [(200.0, 300.0), (400.0, 600.0)]
    assert world.workers[1].became_ready_at == 310.0
    scored = score(world)
    assert scored.paid_hours == pytest.approx((200 + 100 + 0.25 * (100 + 200)) / 3600)
    assert (scored.launches, scored.wasted_hours) == (2, 0.0)


def test_a_worker_that_works_is_stopped_after_its_request_and_a_boot_leaves_nothing() -> None:
    def does(world: World) -> None:
        if world.now in (0, 110):
            world.launch()
        if world.now == 120:
            for worker in list(world.alive.values()):
                world.stop(worker, keeps=True)

    world = run(made_up((0.0, 30.0)), Told(does), Environment("keeping", (KEEPING,)))
    assert [(kept.number, kept.since) for kept in world.storage] == [(0, 130.0)]


def test_a_stopped_instance_is_not_started_without_stock_or_above_the_maximum() -> None:
    started: list[object] = []

    def does(world: World) -> None:
        if world.now == 0:
            world.launch()
        if world.now == 200:
            world.stop(world.workers[0], keeps=True)
        if world.now in (300, 400, 500):
            started.append(world.start(world.stopped[0]))
        if world.now == 350:
            world.launch()

    without = replace(KEEPING, out_of_stock=((250.0, 310.0),))
    world = run(made_up((0.0, 30.0)), Told(does), Environment("one", (without,), max_workers=1))
    assert started == [None, None, None]
    assert (world.refusals, list(world.stopped)) == (1, [0])


def test_warm_starts_take_nothing_from_the_luck_of_new_launches() -> None:
    provider = replace(KEEPING, failing_share=0.3, boots=BootTimes(60.0, 0.5, 20.0, 300.0))
    mixed, new = Luck(provider, 5), Luck(provider, 5)
    fates = []
    for _ in range(20):
        mixed.draw_warm()
        fates.append((mixed.draw(), new.draw()))
    assert all(one == other for one, other in fates)


@pytest.mark.parametrize(("servers", "load"), [(5, 0.8), (12, 0.9)])
def test_a_fixed_fleet_waits_as_erlang_says(servers: int, load: float) -> None:
    # Batches of exponential arrivals and services; the first arrivals come when the fleet stands.
    luck = random.Random(6)
    means = []
    for batch in range(24):
        at, rows = 200.0, []
        for _ in range(4000):
            at += luck.expovariate(load * servers / 10.0)
            rows.append((at, luck.expovariate(1 / 10.0)))
        world = run(made_up(*rows), fixed(servers), seed=batch)
        means.append(math.fsum(world.waits[400:]) / (len(rows) - 400))
    mean = math.fsum(means) / len(means)
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in means) / (len(means) - 1) / len(means))
    assert abs(mean - erlang_wait(servers, load, 10.0)) < 3 * error, (mean, error)


def test_a_fixed_fleet_gives_each_request_the_worker_that_is_free_first() -> None:
    luck = random.Random(2)
    rows = sorted((200 + luck.uniform(0, 3000), luck.expovariate(1 / 10.0)) for _ in range(800))
    free, waits = [0.0] * 3, []
    for at, service in rows:
        start = max(at, heapq.heappop(free))
        heapq.heappush(free, start + service)
        waits.append(start - at)
    assert run(made_up(*rows), fixed(3)).waits == pytest.approx(waits)


def erlang_wait(servers: int, load: float, service: float) -> float:
    offered = servers * load
    blocking = 1.0
    for busy in range(1, servers + 1):
        blocking = offered * blocking / (busy + offered * blocking)
    waiting = blocking / (1 - load * (1 - blocking))
    return waiting * service / (servers * (1 - load))


@pytest.mark.parametrize(
    ("now", "place", "soon", "turns_at", "then"),
    [
        pytest.param(60.0, 1, Soon(None, 11.0), (), (2, 120.0), id="nothing waits: the next one that is due"),
        pytest.param(60.0, 1, Soon(15.0, 11.0), (), (2, 75.0), id="something waits: sooner"),
        pytest.param(105.0, 2, Soon(15.0, 11.0), (), (2, 120.0), id="the one that is due comes as soon"),
        pytest.param(110.0, 2, Soon(15.0, 11.0), (), (3, 125.0), id="the one that is due is too near, and skipped"),
        pytest.param(110.0, 2, Soon(None, 11.0), (), (3, 180.0), id="too near, and nothing waits"),
        pytest.param(33.0, 1, Soon(15.0, 11.0), (3.0, 33.0, 59.0), (2, 48.0), id="recorded turns"),
        pytest.param(59.0, 2, Soon(15.0, 11.0), (3.0, 33.0, 59.0), (3, 74.0), id="after the last recorded one"),
        pytest.param(59.0, 2, Soon(None, 11.0), (3.0, 33.0, 59.0), (3, NEVER), id="after the last, nothing waits"),
    ],
)
def test_a_turn_more_comes_while_something_waits_and_no_two_are_nearer_than_they_may_be(
    now: float, place: int, soon: Soon, turns_at: tuple[float, ...], then: tuple[int, float]
) -> None:
    assert turn_after(soon, now, turns_at, place, 60.0) == then


@pytest.mark.parametrize("make", [World, SharedWorld])
def test_a_driver_is_called_when_it_says_and_when_it_is_due(make: type[World]) -> None:
    called: list[float] = []

    class Eager(Told):
        def tick(self, world: World) -> Soon | None:
            called.append(world.now)
            return Soon(12.0 if world.now < 40.0 else None, 9.0)

    make(made_up((5.0, 1.0)), SURE, 1, after_seconds=95.0).run(Eager(lambda world: None, 30.0))
    assert called == [0.0, 12.0, 24.0, 36.0, 48.0, 60.0, 90.0]


class Polled(Told):
    """Takes turns that are due and those that polls ask for, and notes when."""

    def __init__(self, does: Callable[[World], None] = lambda world: None, soon: Soon | None = None) -> None:
        super().__init__(does, 60.0)
        self.soon = soon or Soon(None, 11.0, Polls(5.0, 15.0))
        self.called: list[float] = []

    def tick(self, world: World) -> Soon | None:
        self.called.append(world.now)
        self._does(world)
        return self.soon


def launch_one(world: World) -> None:
    if not world.workers:
        world.launch()


@pytest.mark.parametrize("make", [World, SharedWorld])
@pytest.mark.parametrize(
    ("at_seconds", "called"),
    [
        pytest.param((32.0,), [0.0, 35.0, 60.0, 120.0], id="at once, at the poll after it came"),
        pytest.param((35.0,), [0.0, 35.0, 60.0, 120.0], id="it comes as a poll is taken"),
        pytest.param((2.0,), [0.0, 15.0, 60.0, 120.0], id="not nearer to the last turn than turns may be"),
        pytest.param((52.0,), [0.0, 55.0, 120.0], id="in the place of one that is due soon after"),
        pytest.param((57.0,), [0.0, 60.0, 75.0, 120.0], id="after a turn that was due as the poll was taken"),
        pytest.param((32.0, 44.0, 71.0), [0.0, 35.0, 60.0, 120.0], id="once, while work goes on waiting"),
    ],
)
def test_a_poll_that_sees_work_begin_to_wait_brings_a_turn(
    make: type[World], at_seconds: tuple[float, ...], called: list[float]
) -> None:
    driver = Polled()
    trace = made_up(*((at, 1.0) for at in at_seconds))
    make(trace, SURE, 1, after_seconds=150.0 - at_seconds[-1]).run(driver)
    assert [at for at in driver.called if at < 150.0] == called


@pytest.mark.parametrize("make", [World, SharedWorld])
def test_work_that_waits_again_after_a_poll_that_saw_none_brings_a_turn_again(make: type[World]) -> None:
    """One worker, ready at 100 s: the second request waits from 101 s to 112 s, the fourth from 131 s on."""
    driver = Polled(launch_one)
    trace = made_up((100.5, 11.5), (101.0, 5.0), (129.0, 30.0), (131.0, 5.0))
    make(trace, SURE, 1, after_seconds=39.0).run(driver)
    assert driver.called == [0.0, 60.0, 105.0, 120.0, 135.0]


@pytest.mark.parametrize("make", [World, SharedWorld])
def test_work_that_is_served_before_the_next_poll_is_not_seen(make: type[World]) -> None:
    driver = Polled(launch_one)
    trace = made_up((100.5, 1.0), (101.0, 5.0))
    make(trace, SURE, 1, after_seconds=30.0).run(driver)
    assert driver.called == [0.0, 60.0, 120.0]


@pytest.mark.parametrize("make", [World, SharedWorld])
def test_work_that_a_lost_worker_gives_back_is_seen_by_a_poll(make: type[World]) -> None:
    def launch_one_that_ends(world: World) -> None:
        launch_one(world)
        world.limit_ready_seconds(world.workers[0], 32.0)

    driver = Polled(launch_one_that_ends)
    make(made_up((110.0, 60.0)), SURE, 1, after_seconds=60.0).run(driver)
    assert driver.called == [0.0, 60.0, 120.0, 135.0]


@pytest.mark.parametrize("make", [World, SharedWorld])
def test_polls_begin_and_end_with_what_the_fleet_says_of_them(make: type[World]) -> None:
    driver = Polled()

    def turn_polls_off(world: World) -> None:
        driver.soon = Soon(None, 11.0, None if world.now < 120.0 else Polls(5.0, 15.0))

    driver._does = turn_polls_off
    make(made_up((32.0, 1.0), (80.0, 1.0)), SURE, 1, after_seconds=75.0).run(driver)
    assert driver.called == [0.0, 60.0, 120.0, 135.0]
