"""A driver that takes turns by counts alone comes to what one does that decides each turn as production does."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Counted, Observation
from ebbflow.core.plan import Decision, PolicyMemory, Want
from ebbflow.core.ports import Counting, Course
from ebbflow.decision.limits import Limits
from ebbflow.fleet.model import Fleet
from ebbflow.policies.formulas.courses import Forgetful
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.swarmui import SwarmUIPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.environment import COUNTLESS, K8S, MARKET, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league import simulate
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.quick_driver import QuickDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.seen_counts import SeenCounts
from ebbflow.simulation.seen_crew import SeenCrew
from ebbflow.simulation.world import World

HARSH = Environment(
    "harsh",
    (
        VirtualProvider("near", BootTimes(60.0, 0.5, 20.0, 300.0), failing_share=0.3, max_workers=6, usd_per_hour=1.0),
        VirtualProvider("far", BootTimes(90.0, 0.5, 20.0, 300.0), mean_seconds_to_preemption=900.0),
    ),
)
SHORT = replace(
    K8S, name="short", providers=(replace(K8S.providers[0], out_of_stock=((300.0, 900.0), (1500.0, 1600.0))),)
)
WARM = Environment(
    "warm",
    (VirtualProvider("x/near", BootTimes(60.0, 0.5, 20.0, 300.0), warm_boots=BootTimes(8.0, 0.0, 8.0, 8.0)),),
)
ENVIRONMENTS = (K8S, MARKET, HARSH, SHORT, WARM, replace(K8S, name="countless", master=COUNTLESS))
POLICIES: dict[str, Any] = {
    "vanilla": VanillaPolicy(upper_task_ratio=2.0),
    "vanilla, uncorrected": VanillaPolicy(upper_task_ratio=2.0, uncorrected=("count_starting",)),
    "swarmui": SwarmUIPolicy(min_queued_before_expand=1),
    "marginal": MarginalPolicy(),
    "marginal for people who watch": MarginalPolicy(waiting_worth=10.0),
    "none": NoPolicy(),
}
SPACED = Limits(max_workers=9, min_workers=1, min_seconds_between_starts=45.0, min_seconds_between_stops=60.0)
FLOOR = Override("a", OverrideKind.FLOOR, 4, "ops", "", 900.0)


@pytest.fixture(scope="module")
def hour() -> Trace:
    return load("mooncake").first(1500)


def played(
    kind: type[PolicyDriver], trace: Trace, environment: Environment, fleet: Fleet, *, brief: bool = True, **given: Any
) -> tuple[object, ...]:
    """What came of a run, and what the fleet remembers of itself at its end."""
    driver = kind(fleet, environment, interval_seconds=7.3, is_brief=brief, **given)
    outcome = simulate(trace, environment, driver, seed=2)
    return replace(outcome, run=replace(outcome.run, candidate="")), driver.memory


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment.name)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_a_quick_run_comes_to_the_same(hour: Trace, environment: Environment, policy: Any) -> None:
    fleet = league_fleet(environment, policy)
    assert played(QuickDriver, hour, environment, fleet) == played(PolicyDriver, hour, environment, fleet, brief=False)


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"limits": SPACED}, id="limits that bind"),
        pytest.param({"limits": Limits(min_idle_seconds=90.0, min_seconds_after_failure=300.0)}, id="rests"),
        pytest.param({"readiness": {"launch_timeout_seconds": 70.0}}, id="boots that take too long"),
        pytest.param({"placement": {"drain": "tier_by_tier", "order": "price"}}, id="placement"),
        pytest.param(
            {"schedules": ({"cron": "20 0 * * *", "duration_seconds": 600, "min_workers": 5},)}, id="a schedule"
        ),
    ],
)
@pytest.mark.parametrize("policy", [POLICIES["vanilla"], POLICIES["marginal"]], ids=["vanilla", "marginal"])
def test_what_else_a_fleet_says_has_its_say(hour: Trace, sections: dict[str, Any], policy: Any) -> None:
    fleet = league_fleet(HARSH, policy)
    fleet = Fleet.model_validate({**fleet.model_dump(), "policy": policy, **sections})
    quick, slow = (played(kind, hour, HARSH, fleet, overrides=(FLOOR,)) for kind in (QuickDriver, PolicyDriver))
    assert quick == slow


@pytest.mark.parametrize("poll_seconds", [None, 5.0], ids=["without polls", "with polls"])
@pytest.mark.parametrize("environment", [K8S, HARSH, WARM], ids=lambda environment: environment.name)
def test_turns_that_come_sooner_because_work_waits_are_the_same_in_a_quick_run(
    hour: Trace, environment: Environment, poll_seconds: float | None
) -> None:
    fleet = league_fleet(environment, POLICIES["marginal"])
    fleet = fleet.model_copy(update={"waiting_interval_seconds": 15.0, "poll_interval_seconds": poll_seconds})
    driven: list[tuple[Any, PolicyDriver]] = []
    for kind, is_brief in ((QuickDriver, True), (PolicyDriver, False)):
        driver = kind(fleet, environment, interval_seconds=60.0, is_brief=is_brief)
        driven.append((simulate(hour, environment, driver, seed=2), driver))
    (quick, quick_driver), (slow, slow_driver) = driven
    assert quick.score is not None
    assert replace(quick, run=slow.run) == slow
    assert quick_driver.memory == slow_driver.memory
    assert quick_driver.faults.turns == slow_driver.faults.turns


def test_most_turns_are_taken_by_counts_alone(hour: Trace) -> None:
    decided = []

    class Told(QuickDriver):
        def _observation(self, world: World) -> Observation:
            decided.append(world.now)
            return super()._observation(world)

    driver = Told(league_fleet(K8S, VanillaPolicy()), K8S, interval_seconds=5.0, is_brief=True)
    World(hour, K8S, 1).run(driver)
    assert 0 < len(decided) < driver.faults.turns / 5


def test_only_a_brief_driver_leaves_anything_out(hour: Trace) -> None:
    driver = QuickDriver(league_fleet(K8S, MarginalPolicy()), K8S, interval_seconds=10.0)
    decided = []

    class Counting(QuickDriver):
        def _observation(self, world: World) -> Observation:
            decided.append(world.now)
            return super()._observation(world)

    driver = Counting(league_fleet(K8S, MarginalPolicy()), K8S, interval_seconds=10.0)
    World(hour, K8S, 1).run(driver)
    assert len(decided) == driver.faults.turns


@dataclass(frozen=True)
class Odd:
    """Wants three, and answers as it is told from a time on."""

    from_seconds: float
    answer: Any
    kind: str = "odd"

    def decide(self, observation: Observation) -> Decision:
        known = observation.remembered.get("turn", (0.0,))[0]
        return Decision((Want(count=self._answer(known)),), "odd", remembers={"turn": (known + 1,)})

    def course(self, remembered: PolicyMemory) -> Course:
        return _OddCourse(self, remembered.get("turn", (0.0,))[0])

    def _answer(self, turn: float) -> int:
        if turn * 7.3 < self.from_seconds:
            return 3
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


class _OddCourse:
    def __init__(self, odd: Odd, turn: float) -> None:
        self._odd, self._turn = odd, turn

    def wanted(self, seen: Counted) -> int:
        answer = self._odd._answer(self._turn)
        self._turn += 1
        return answer

    @property
    def remembers(self) -> PolicyMemory:
        return {"turn": (self._turn,)}


@pytest.mark.parametrize(
    "answer",
    [ValueError("no"), float("nan"), -1, 2_000_000, "3"],
    ids=["raises", "nan", "negative", "too many", "a word"],
)
def test_a_policy_that_fails_on_its_way_holds_its_fleet(hour: Trace, answer: Any) -> None:
    fleet = league_fleet(K8S, Odd(3000.0, answer))
    outcomes = [simulate(hour, K8S, kind(fleet, K8S, interval_seconds=7.3, is_brief=True)) for kind in DRIVERS]
    quick, slow = outcomes
    assert (quick.score, quick.timeline) == (slow.score, slow.timeline)
    assert quick.faults == slow.faults
    assert quick.faults.failed > 100


DRIVERS = (QuickDriver, PolicyDriver)


def test_who_reads_counts_alone_can_be_asked_by_them() -> None:
    assert isinstance(VanillaPolicy(), Counting)
    assert not isinstance(NoPolicy(), Counting)
    assert Forgetful(lambda seen: seen.supply).remembers == {}


def test_counts_are_those_of_the_workers(hour: Trace) -> None:
    class Compared(PolicyDriver):
        compared = 0

        def tick(self, world: World) -> None:
            decided = self.decide(world)
            shown = decided.observation.workers
            if isinstance(shown, SeenCrew):
                self.compared += 1
                seen, again = SeenCounts(world), replace(decided.observation, workers=tuple(shown))
                seen.look(decided.observation.elapsed_seconds)
                assert read(seen) == read(again)
            self.act(world, decided)

    for environment in ENVIRONMENTS:
        driver = Compared(
            league_fleet(environment, MarginalPolicy()), environment, interval_seconds=10.0, is_brief=True
        )
        World(hour, environment, 3).run(driver)
        assert driver.compared > 200


def read(seen: Counted) -> tuple[object, ...]:
    """All that can be read of it."""
    demand = seen.demand
    return (
        *(demand.queued, demand.running, demand.waiting, demand.arrived, demand.served),
        *(seen.supply, seen.serving, seen.idle, seen.elapsed_seconds, list(seen.joining_seconds)),
        *(count(seconds) for count in (seen.fresh, seen.rested, seen.eased) for seconds in (5.0, 60.0)),
    )


class Doubling(VanillaPolicy):
    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return replace(decision, wanted=(Want(count=2 * (decision.total or 0)),))


def test_a_policy_that_decides_otherwise_than_the_one_it_is_made_of_is_asked_in_each_turn(hour: Trace) -> None:
    fleet = league_fleet(K8S, Doubling())
    assert played(QuickDriver, hour, K8S, fleet) == played(PolicyDriver, hour, K8S, fleet)
