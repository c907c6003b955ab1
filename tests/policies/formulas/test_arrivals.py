"""What came is guessed right on average where nobody counts it, and the service time is learned from who goes idle."""

from dataclasses import replace

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.worker import Worker
from ebbflow.policies.formulas.arrivals import Look, flow_since, served_now
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.environment import K8S
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.world import World

BUSY = Worker("a", "p", WorkerState.READY, state_seconds=500.0, busy=True)
REST = replace(BUSY, busy=False, idle_seconds=300.0)
EASED = replace(BUSY, busy=False, idle_seconds=0.5)
NEW = replace(BUSY, busy=False, idle_seconds=0.5, state_seconds=0.5)


def seen(queued: int, running: int, *workers: Worker) -> Observation:
    return Observation(Demand(queued, running), workers)


@pytest.mark.parametrize(
    ("before", "now", "came", "owed"),
    [
        (None, seen(5, 1), 0.0, 0.0),
        (Look(), seen(0, 0), 0.0, 0.0),
        (Look(), seen(3, 0), 3.0, 0.0),
        (Look(2, 2), seen(2, 2), 2.0, 0.0),
        (Look(0, 2), seen(0, 0), 0.0, -1.0),
        (Look(0, 0, -1.0), seen(3, 0), 2.0, 0.0),
    ],
    ids=["the first look", "nothing", "a queue", "steady work", "work that ended sooner", "what was owed"],
)
def test_what_came_is_what_is_there_more_and_what_was_finished(
    before: Look | None, now: Observation, came: float, owed: float
) -> None:
    flow = flow_since(before, now, seconds=10.0, service_seconds=10.0)
    assert (flow.came, flow.look.owed) == (came, owed)


def test_a_guess_says_how_far_it_may_be_off() -> None:
    assert flow_since(Look(0, 4), seen(0, 4), seconds=10.0, service_seconds=10.0).error == 2.0
    assert flow_since(Look(), seen(7, 0), seconds=10.0, service_seconds=10.0).error == 0.0


@pytest.mark.parametrize(
    ("now", "served"),
    [
        (seen(0, 1, BUSY, REST), (2.5, 0.0)),
        (seen(0, 1, BUSY, REST, EASED), (3.75, 1.0)),
        (seen(0, 1, BUSY, REST, NEW), (2.5, 0.0)),
        (seen(1, 1, BUSY, REST, EASED), None),
        (seen(0, 1, BUSY, EASED), None),
        (seen(0, 1, BUSY), None),
    ],
    ids=["nobody", "one", "one that has not worked yet", "a queue", "nobody else free", "nobody free"],
)
def test_service_is_learned_where_an_end_of_work_is_seen(now: Observation, served: tuple[float, float] | None) -> None:
    assert served_now(now, seconds=60.0, service_seconds=10.0) == served


class Guessing(PolicyDriver):
    """A fleet that compares the guess with what really came."""

    guessed = 0.0
    look: Look | None = None
    worked = finished = 0.0

    def decide(self, world: World):  # type: ignore[no-untyped-def]
        decided = super().decide(world)
        shown, service = decided.observation, world.trace.mean_service_seconds
        flow = flow_since(self.look, shown, seconds=shown.elapsed_seconds, service_seconds=service)
        self.guessed, self.look = self.guessed + flow.came, flow.look
        learned = served_now(shown, seconds=shown.elapsed_seconds, service_seconds=service)
        if learned is not None:
            self.worked, self.finished = self.worked + learned[0], self.finished + learned[1]
        return decided


@pytest.fixture(scope="module")
def images() -> Trace:
    return load("servegen_mmimg").first(6000)


@pytest.mark.parametrize("interval", [5.0, 30.0, 60.0])
@pytest.mark.parametrize("upper", [1.0, 4.0], ids=["mostly free", "mostly queueing"])
def test_over_hours_the_guess_is_right(images: Trace, interval: float, upper: float) -> None:
    policy = VanillaPolicy(upper_task_ratio=upper, lower_task_ratio=upper / 2)
    driver = Guessing(league_fleet(K8S, policy), K8S, interval_seconds=interval, is_brief=True)
    World(images, K8S, 1).run(driver)
    assert driver.guessed == pytest.approx(len(images.at_seconds), rel=0.05)
    if interval == 5.0:
        assert driver.worked / driver.finished == pytest.approx(images.mean_service_seconds, rel=0.5)
