"""Policies of model servers in the whole loop: what clients do, the gateway tells, turns decide and machines follow."""

from pathlib import Path
from statistics import mean

import pytest

from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.fleet.model import Fleet
from ebbflow.policies.busy_ratio import BusyRatioPolicy
from ebbflow.services.simulated_clients.summary import summary_of
from tests.benchmarks import recorded_day
from tests.gateway.loop import LOAD_SECONDS, MACHINES, MASTER, Look, Loop, opened

pytestmark = pytest.mark.anyio

CLIENTS = 12
FLEET = Fleet(
    name="demo",
    interval_seconds=20,
    master=MASTER,
    providers=(ProviderEntry(block=MACHINES, max_workers=60, warm_workers=40),),
    policy=BusyRatioPolicy(half_life_seconds=60),
    limits=Limits(max_workers=30, min_idle_seconds=0, min_seconds_between_stops=0),
)


async def test_the_set_that_settled_at_one_whatever_the_load_follows_a_load_step_into_its_band(tmp_path: Path) -> None:
    """Its counter of busy instances was always 0, so the loop around a right formula never left its least size."""
    async with opened(Loop(tmp_path)) as world:
        calm = await world.turns(FLEET, 200)
        assert {look.hot for _, look in calm[6:]} == {1}

        world.let_clients_come(CLIENTS)
        await world.turns(FLEET, 600)
        steady = [look for _, look in await world.turns(FLEET, 400)]
        assert 0.6 <= mean(busy_share(look) for look in steady) <= 0.9, steady
        assert max(look.hot for look in steady) - min(look.hot for look in steady) <= 3, "it rests"
        high, made = steady[-1], world.machines.made

        world.let_clients_come(1)
        low = (await world.turns(FLEET, 1800))[-1][1]
        assert 1 <= low.hot <= 3
        assert (low.hot + 1) / (low.hot + low.stopped + 0.1) == pytest.approx(0.3, abs=0.04), "the hot share"
        assert low.hot + low.stopped < high.running, "and the others were ended"

        world.let_clients_come(CLIENTS)
        again = [look for _, look in await world.turns(FLEET, 400)]
        assert again[-1].hot >= high.hot - 3
        assert world.machines.started_again >= low.stopped - 1, "what has its model on its disk is started first"
        assert world.machines.made - made <= high.hot - low.hot - low.stopped + 3
        assert world.machines.lost == [], "nobody's work was cut off"


def busy_share(look: Look) -> float:
    """As the older system has it, for at least one hot instance."""
    return (look.busy + 1) / (look.hot + 0.05)


@pytest.mark.soak
async def test_two_recorded_hours_cost_less_than_a_fixed_fleets_and_lose_nobody() -> None:
    seconds = 7200.0
    arrivals = recorded_day.arrivals_of(recorded_day.TRACE, seconds=seconds)
    found = {
        name: summary_of(
            await recorded_day.play(fleet, seconds=recorded_day.BEFORE_SECONDS + seconds, arrivals=arrivals),
            endpoint="llama",
        )
        for name, fleet in recorded_day.fleets().items()
    }
    assert {sum(each.lost.values()) for each in found.values()} == {0}
    assert {each.successful for each in found.values()} == {len(arrivals)}
    assert (found["ours"].usd or 0.0) < 0.9 * (found["fixed"].usd or 0.0)
    more = (found["ours"].first_token_seconds.p95 or 0.0) - (found["fixed"].first_token_seconds.p95 or 0.0)
    assert more < LOAD_SECONDS[False]


def test_the_table_of_the_day_is_of_these_numbers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulate-clients.md").read_text()
    assert f"fixed fleet of {recorded_day.FIXED_WORKERS} | ours, up to {recorded_day.FIXED_WORKERS}" in page
    assert f"`{recorded_day.TRACE}`" in page
    assert f"`waiting_worth: {recorded_day.WAITING_WORTH:g}`" in page
    assert f"a turn every {recorded_day.TURN_SECONDS:g} s" in page
