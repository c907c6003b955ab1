"""Workers that serve several requests at once: where requests go, who is idle, and what is lost with whom."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.environment import K8S, MARKET, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.score import score
from ebbflow.simulation.shared_world import SharedWorld, world_of
from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import World

TWO_AT_ONCE = VirtualProvider("two", BootTimes(10.0, 0.0, 10.0, 10.0), usd_per_hour=1.0, requests_at_once=2)
SHARED = Environment("shared", (TWO_AT_ONCE,))


class Told:
    """A driver that does what a test says."""

    interval_seconds = 10.0

    def __init__(self, does: Callable[[World], None]) -> None:
        self._does = does

    def tick(self, world: World) -> None:
        self._does(world)


def keeps(count: int) -> Told:
    def does(world: World) -> None:
        while world.size < count:
            world.launch()

    return Told(does)


def played(driver: Told, *requests: tuple[float, float], requires: tuple[tuple[str, ...], ...] = ()) -> World:
    trace = Trace("made up", tuple(at for at, _ in requests), tuple(work for _, work in requests), requires)
    world = world_of(trace, SHARED, 1, after_seconds=500.0)
    world.run(driver)
    return world


def test_only_an_environment_that_shares_workers_gets_the_slower_world() -> None:
    trace = Trace("one", (0.0,), (1.0,))
    assert type(world_of(trace, K8S, 1)) is World
    assert type(world_of(trace, SHARED, 1)) is SharedWorld


def test_a_worker_takes_as_many_as_it_has_places_for_and_the_next_one_waits() -> None:
    world = played(keeps(1), (20.0, 30.0), (21.0, 30.0), (22.0, 30.0))
    assert world.waits == [0.0, 0.0, 28.0]
    assert world.served == 3


def test_a_request_goes_to_the_worker_with_the_fewest_and_of_those_to_the_oldest() -> None:
    seen: dict[float, list[list[int]]] = {}

    def does(world: World) -> None:
        keeps(2).tick(world)
        assert isinstance(world, SharedWorld)
        seen[world.now] = [sorted(world._held.get(number, [])) for number in range(2)]

    played(Told(does), (21.0, 100.0), (22.0, 100.0), (23.0, 100.0), (24.0, 100.0), (25.0, 1.0))
    assert seen[30.0] == [[0, 2], [1, 3]]


def test_who_serves_anything_is_not_idle_and_ends_with_the_last_of_it_when_it_is_taken_out() -> None:
    def does(world: World) -> None:
        keeps(1 if world.now < 30 else 0).tick(world)
        if world.now == 30.0:
            assert world.idle == []
            world.stop(world.workers[0])
            assert world.workers[0].phase is Phase.DRAINING

    world = played(Told(does), (20.0, 15.0), (20.0, 25.0), (31.0, 1.0))
    assert world.workers[0].ended_at == 45.0
    assert world.served == 2
    assert list(world.queue) == [2], "it gives nothing to who drains"


@pytest.mark.parametrize("kills", [True, False])
def test_all_that_a_worker_serves_is_lost_with_it_and_returns_to_the_head_of_the_queue(kills: bool) -> None:
    def does(world: World) -> None:
        keeps(1).tick(world)
        if world.now == 30.0:
            if kills:
                world.stop(world.workers[0], kills=True)
            else:
                world._happen(3, world.workers[0])
            assert list(world.queue) == [0, 1, 2]

    world = played(Told(does), (20.0, 60.0), (21.0, 60.0), (22.0, 60.0))
    assert (world.lost_to_stops, world.lost_to_preemption) == ((2, 0) if kills else (0, 2))
    assert world.served == 3
    assert world.waits[0] == 30.0, "it begins anew on the next worker"


@pytest.mark.parametrize("name", ["erlangC", "knative", "swarmui"])
@pytest.mark.parametrize("environment", [K8S, MARKET], ids=lambda environment: environment.name)
def test_with_one_request_at_once_both_worlds_come_to_the_same_to_the_byte(name: str, environment: Environment) -> None:
    trace = load("mooncake").first(1500)
    plain, shared = World(trace, environment, 5), SharedWorld(trace, environment, 5)
    for world in (plain, shared):
        world.run(BASELINES[name]())
    assert plain.waits == shared.waits
    assert repr(score(plain)) == repr(score(shared))


def test_our_policies_decide_the_same_in_both_worlds_where_workers_serve_one_at_a_time() -> None:
    trace = load("mooncake").first(1500)
    fleet = league_fleet(K8S, VanillaPolicy(upper_task_ratio=2))
    plain, shared = World(trace, K8S, 5), SharedWorld(trace, K8S, 5)
    for world in (plain, shared):
        world.run(PolicyDriver(fleet, K8S, interval_seconds=10.0, is_brief=True))
    assert plain.waits == shared.waits
    assert repr(score(plain)) == repr(score(shared))


def test_books_of_shared_workers_add_up_under_failures_and_preemption() -> None:
    harsh = replace(TWO_AT_ONCE, failing_share=0.2, mean_seconds_to_preemption=600.0, requests_at_once=3)
    trace = load("mooncake").first(2000)
    world = world_of(trace, Environment("harsh", (harsh,)), 3)
    world.run(BASELINES["knative"]())
    assert len(trace.at_seconds) == world.served + len(world.queue) + len(world.in_service())
    assert world.running == len(world.in_service())
    assert all(wait >= -1e-9 for wait in world.waits)
    assert all(wait == wait for wait in world.waits)
    assert world.ready == sum(worker.phase is Phase.READY for worker in world.alive.values())
    assert score(world).preempted > 0


class Watching:
    """Wants one worker, and keeps what it saw."""

    kind = "watching"

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision((Want(count=1),), "watching")


def test_a_policy_sees_requests_in_service_and_one_busy_worker() -> None:
    policy = Watching()
    fleet = league_fleet(SHARED, policy)
    world = world_of(Trace("two", (21.0, 22.0), (15.0, 15.0)), SHARED, 1, after_seconds=60.0)
    world.run(PolicyDriver(fleet, SHARED, interval_seconds=10.0))
    at_thirty = policy.seen[3]
    assert (at_thirty.demand.running, at_thirty.demand.queued, at_thirty.serving, at_thirty.idle) == (2, 0, 1, 0)
    assert policy.seen[4].idle == 1


def test_a_request_that_requires_something_passes_by_who_cannot_do_it() -> None:
    able = replace(TWO_AT_ONCE, name="able", capabilities=("gpu=1", "big"))
    plain = replace(TWO_AT_ONCE, name="plain", capabilities=("gpu=1",))
    environment = Environment("mixed", (plain, able))
    trace = Trace("typed", (21.0, 22.0, 23.0), (50.0, 50.0, 50.0), (("big",), ("big",), ("big",)))
    world = world_of(trace, environment, 1, after_seconds=200.0)

    def does(world: World) -> None:
        if not world.workers:
            world.launch(0)
            world.launch(1)

    world.run(Told(does))
    assert world.waits == [0.0, 0.0, 48.0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"requests_at_once": 0}, "requests_at_once is 0: 1 or more is right"),
        ({"leave_seconds": -1.0}, "leave_seconds is -1.0"),
        ({"launch_seconds": float("nan")}, "launch_seconds is nan"),
        ({"prices": (0.5, float("inf"))}, "prices are"),
    ],
)
def test_a_provider_that_cannot_be_is_refused_by_name(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(TWO_AT_ONCE, **wrong)  # type: ignore[arg-type]  # what is wrong with them is the test
