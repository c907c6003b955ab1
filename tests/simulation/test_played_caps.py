"""What binds a deployed fleet binds it when it is played: price caps, rates within a turn's budget, time to leave."""

from dataclasses import replace

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.decision.rules import Drain
from ebbflow.fleet.model import Fleet
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.simulation.books import books_of
from ebbflow.simulation.environment import BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league_fleet import UNSPACED, league_fleet
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.quick_driver import QuickDriver
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.shared_world import world_of
from ebbflow.simulation.world import World

MARKET = VirtualProvider(
    "market",
    BootTimes(10.0, 0.0, 10.0, 10.0),
    usd_per_hour=0.4,
    prices=(0.2, 0.4, 0.6),
    takes_price_cap=True,
    most_usd_per_hour=0.9,
    least_billed_seconds=0.0,
)
QUIET = Trace("quiet", (5000.0,), (1.0,))


class Wants:
    """Wants so many at each turn, the last one for ever."""

    kind = "wants"

    def __init__(self, *counts: int) -> None:
        self._counts = counts
        self.seen: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision((Want(count=self._counts[min(len(self.seen), len(self._counts)) - 1]),), "wants")


def play(
    policy: Wants,
    provider: VirtualProvider,
    *,
    fleet_usd: float | None = None,
    seconds: float = 600.0,
    deadline_seconds: float = 900.0,
    **entry: float,
) -> World:
    environment = Environment("one", (provider,))
    fleet = Fleet(
        name="one",
        master="simulated/master",
        providers=(ProviderEntry.model_validate({"block": provider.block, "max_workers": 50, **entry}),),
        limits=UNSPACED.model_copy(update={"max_usd_per_hour": fleet_usd}),
        interval_seconds=20.0,
        drain=Drain(deadline_seconds=deadline_seconds),
    ).model_copy(update={"policy": policy})
    world = World(QUIET, environment, 1, after_seconds=seconds - QUIET.last_at_seconds)
    world.run(PolicyDriver(fleet, environment))
    return world


def test_a_launch_costs_what_was_offered_and_one_above_the_cap_is_refused() -> None:
    capped = play(Wants(20), MARKET, max_usd_per_hour=0.5)
    assert {worker.usd_per_hour for worker in capped.workers} == {0.2, 0.4}
    assert capped.refusals > 0
    free = play(Wants(20), MARKET)
    assert {worker.usd_per_hour for worker in free.workers} == {0.2, 0.4, 0.6}
    assert free.refusals == 0


def test_nothing_is_launched_where_every_price_is_above_the_cap() -> None:
    world = play(Wants(3), MARKET, max_usd_per_hour=0.1)
    assert (len(world.workers), world.refusals > 0) == (0, True)


def test_a_fleets_cap_counts_a_launch_at_its_own_cap_and_a_worker_at_its_price() -> None:
    policy = Wants(20)
    world = play(policy, MARKET, fleet_usd=2.0, max_usd_per_hour=0.6)
    # Three launches at 0.6 fit at first; what they really cost leaves room for more.
    assert sum(worker.launched_at == 0.0 for worker in world.workers) == 3
    usd = sum(worker.usd_per_hour or 0.0 for worker in world.alive.values())
    assert 2.0 - 0.6 < usd <= 2.0
    assert policy.seen[-1].usd_per_hour == pytest.approx(usd)


def test_two_plays_with_the_same_luck_meet_the_same_prices() -> None:
    first, again = (play(Wants(20), MARKET, max_usd_per_hour=0.5) for _ in range(2))
    assert [worker.usd_per_hour for worker in first.workers] == [worker.usd_per_hour for worker in again.workers]


def test_a_dear_worker_counts_as_more_hours_than_a_cheap_one() -> None:
    world = play(Wants(20), replace(MARKET, price=2.0))
    assert {(worker.usd_per_hour, round(worker.price, 9)) for worker in world.workers} == {
        (0.2, 1.0),
        (0.4, 2.0),
        (0.6, 3.0),
    }
    books = books_of(world, 0.0, world.horizon)
    assert books.usd == pytest.approx(books.paid_hours * 0.2)


PACED = replace(MARKET, prices=(), takes_price_cap=False, seconds_between_launches=4.0, call_seconds=2.0)


def test_a_providers_rate_leaves_the_rest_of_the_launches_to_later_turns() -> None:
    world = play(Wants(9), PACED)
    # Sixteen of twenty seconds are a turn's budget: four launches fit, four seconds apart, the last with its call.
    assert [worker.launched_at for worker in world.workers] == [0.0] * 4 + [20.0] * 4 + [40.0]


def test_launches_of_one_turn_follow_each_other_at_the_providers_rate() -> None:
    world = play(Wants(4), PACED)
    assert [worker.became_ready_at for worker in world.workers] == [10.0, 14.0, 18.0, 22.0]


def test_a_run_that_launches_late_is_paid_for_from_its_look() -> None:
    world = play(Wants(1), replace(PACED, launch_seconds=3.0))
    (worker,) = world.workers
    assert (worker.launched_at, worker.became_ready_at) == (0.0, 13.0)


def test_a_worker_that_leaves_is_paid_for_until_it_is_seen_gone_and_is_no_supply() -> None:
    policy = Wants(2, 2, 0)
    world = play(policy, replace(MARKET, prices=(), takes_price_cap=False, leave_seconds=45.0))
    assert [worker.ended_at for worker in world.workers] == [85.0, 85.0]
    drains = [
        observation.at_seconds - policy.seen[0].at_seconds
        for observation in policy.seen
        if any(worker.state is WorkerState.DRAINING for worker in observation.workers)
    ]
    assert drains == [60.0, 80.0]
    assert all(observation.supply == 0 for observation in policy.seen[3:])
    assert policy.seen[3].existing == 2


def test_no_drain_deadline_hurries_who_has_no_work_any_more() -> None:
    leaving = replace(MARKET, prices=(), takes_price_cap=False, leave_seconds=45.0)
    world = play(Wants(1, 1, 0), leaving, deadline_seconds=0.0)
    assert [worker.ended_at for worker in world.workers] == [85.0]


def test_turns_may_be_taken_at_times_of_their_own() -> None:
    policy = Wants(1)
    environment = Environment("one", (replace(MARKET, prices=(), takes_price_cap=False),))
    fleet = Fleet(name="one", master="simulated/master", providers=(ProviderEntry(block=MARKET.block),))
    world = World(QUIET, environment, 1, after_seconds=100.0 - QUIET.last_at_seconds)
    driver = PolicyDriver(fleet.model_copy(update={"policy": policy}), environment)
    world.run(driver, turns_at=(3.0, 31.0, 59.0))
    began = policy.seen[0].at_seconds
    assert [observation.at_seconds - began for observation in policy.seen] == [0.0, 28.0, 56.0]
    assert [worker.launched_at for worker in world.workers] == [3.0]


@pytest.mark.parametrize("more", [{}, {"requests_at_once": 3}, {"seconds_between_launches": 4.0}])
def test_both_drivers_come_to_the_same_where_workers_are_shared_leave_slowly_and_have_prices(
    more: dict[str, float],
) -> None:
    provider = replace(MARKET, failing_share=0.05, leave_seconds=45.0, **more)  # type: ignore[arg-type]  # of each its own
    environment, trace = Environment("one", (provider,)), load("mooncake").first(1500)
    fleet = league_fleet(environment, MarginalPolicy())
    came = []
    for kind in (PolicyDriver, QuickDriver):
        world = world_of(trace, environment, 2, after_seconds=600.0)
        world.run(kind(fleet, environment, interval_seconds=20.0, is_brief=True))
        came.append((world.waits, books_of(world, 0.0, world.horizon)))
    assert came[0] == came[1]
