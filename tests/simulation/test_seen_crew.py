"""Workers that are counted by the world, and made where somebody looks, are the workers that a turn would show."""

from dataclasses import replace

import pytest

from ebbflow.core.crew import Crew
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision
from ebbflow.decision.decide import Decided
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.policies.swarmui import SwarmUIPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.environment import COUNTLESS, K8S, MARKET, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league import simulate
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.seen_crew import SeenCrew
from ebbflow.simulation.world import World

HARSH = Environment(
    "harsh",
    (
        VirtualProvider("near", BootTimes(60.0, 0.5, 20.0, 300.0), failing_share=0.3, max_workers=6, usd_per_hour=1.0),
        VirtualProvider("far", BootTimes(90.0, 0.5, 20.0, 300.0), mean_seconds_to_preemption=900.0),
    ),
)
POLICIES = {
    "vanilla": VanillaPolicy(upper_task_ratio=2.0),
    "swarmui": SwarmUIPolicy(min_queued_before_expand=1),
    "marginal": MarginalPolicy(),
}


@pytest.fixture(scope="module")
def hour() -> Trace:
    return load("mooncake").first(1500)


class Compared(PolicyDriver):
    """Counts each crew anew."""

    compared = 0

    def decide(self, world: World) -> Decided:
        decided = super().decide(world)
        shown = decided.observation.workers
        if isinstance(shown, SeenCrew):
            self.compared += 1
            joining, free, alike = shown.joining, shown.free, shown.alike
            numbers = [count(seconds) for count in (shown.rested, shown.eased) for seconds in (5.0, 60.0)]
            again = Crew(tuple(shown))
            assert (shown.counts, joining, free, dict(alike)) == (
                again.counts,
                again.joining,
                again.free,
                dict(again.alike),
            )
            assert numbers == [count(seconds) for count in (again.rested, again.eased) for seconds in (5.0, 60.0)]
            assert len(shown) == len(again)
        return decided


@pytest.mark.parametrize("environment", [K8S, HARSH], ids=lambda environment: environment.name)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_what_the_world_counts_is_what_the_workers_are(hour: Trace, environment: Environment, policy: object) -> None:
    fleet = league_fleet(environment, policy)  # type: ignore[arg-type]
    driver = Compared(fleet, environment, interval_seconds=10.0, is_brief=True)
    World(hour, environment, 3).run(driver)
    assert driver.compared > 300


@pytest.mark.parametrize("environment", [MARKET, HARSH, replace(K8S, master=COUNTLESS)], ids=["market", "harsh", "un"])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_a_brief_run_comes_to_the_same(hour: Trace, environment: Environment, policy: object) -> None:
    fleet = league_fleet(environment, policy)  # type: ignore[arg-type]
    played = [
        simulate(hour, environment, PolicyDriver(fleet, environment, interval_seconds=10.0, is_brief=brief), seed=2)
        for brief in (False, True)
    ]
    assert played[0] == played[1]


class Keeping:
    """Looks at what it was shown in the turn before."""

    kind = "keeping"
    before: Observation | None = None

    def decide(self, observation: Observation) -> Decision:
        before, self.before = self.before, observation
        if before is not None:
            list(before.workers)
        return Decision((), "keeps")


def test_whoever_looks_at_workers_after_their_turn_is_told_so(hour: Trace) -> None:
    fleet = league_fleet(K8S, Keeping())
    played = simulate(hour, K8S, PolicyDriver(fleet, K8S, interval_seconds=10.0, is_brief=True))
    assert "RuntimeError: the workers of a turn were looked at after it" in played.failure


def test_a_master_that_does_not_count_tells_what_waits_and_runs_alone(hour: Trace) -> None:
    shown: list[tuple[object, ...]] = []

    class Looking(Keeping):
        def decide(self, observation: Observation) -> Decision:
            demand = observation.demand
            shown.append((demand.queued > 0, demand.arrived, demand.served, demand.served_units))
            return Decision((), "looks")

    environment = replace(K8S, master=COUNTLESS)
    fleet = league_fleet(environment, Looking())
    World(hour, environment, 1).run(PolicyDriver(fleet, environment, interval_seconds=10.0))
    assert set(shown[5:]) == {(True, None, None, None)}


def test_providers_that_nobody_is_at_are_left_out() -> None:
    entry = ProviderEntry(block="simulated/far", max_workers=2)
    fleet = league_fleet(HARSH, VanillaPolicy()).model_copy(update={"providers": (entry,)})
    driver = PolicyDriver(fleet, HARSH, interval_seconds=10.0, is_brief=True)
    world = World(Trace("one", (0.0,), (500.0,)), HARSH, 1, after_seconds=60.0)
    world.run(driver)
    assert SeenCrew(world, ("simulated/near", "simulated/far")).counts.at == {"simulated/far": 1}
