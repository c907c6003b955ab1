"""Policies of model servers in the whole loop: what clients do, the gateway tells, turns decide and machines follow."""

from pathlib import Path
from statistics import mean

import pytest

from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.fleet.model import Fleet
from ebbflow.policies.busy_ratio import BusyRatioPolicy
from tests.gateway.loop import MACHINES, MASTER, Look, Loop, opened

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
