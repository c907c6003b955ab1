"""What a play predicts is what comes: fleets under real flows, each beside a play of the same requests."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.e2e.trust import Figures, RealRun, compared, deployed, real_run
from tests.e2e.world import PrefectWorld
from tests.endurance import Endurance

pytestmark = pytest.mark.anyio

Tells = Callable[[str, Mapping[str, int]], None]

AT_ONCE = 3
AFTER_SECONDS = 35.0
"""Time to shrink, which is predicted too."""
SOAK_SECONDS = 110.0
LONG_SEEDS = tuple(range(1, 11))
LEAST_LONG_SECONDS = 150.0

MOST_OFF_COST_PERCENT, MOST_OFF_P95_PERCENT = 5.0, 10.0
"""Over ten runs."""
FEW_RUNS_MAY = 2.5
"""Times as much over three runs: a single request that comes before a look or after it may change a whole run."""


async def runs_at_once(
    worlds: Sequence[PrefectWorld], seeds: Sequence[int], seconds: float, earlier: Sequence[RealRun] = ()
) -> list[RealRun]:
    """One run of each fleet, as far as there are seeds, after earlier ones of all of them."""
    before: Sequence[RealRun | None] = earlier or [None] * len(worlds)
    return await asyncio.gather(
        *(
            real_run(world, seed, seconds=seconds, after_seconds=AFTER_SECONDS, earlier=last)
            for world, seed, last in zip(worlds, seeds, before, strict=False)
        )
    )


def tell(tells: Tells, runs: int, off: Figures) -> None:
    """Say it at the end of the session, whatever else was tested."""
    percents = {"% of cost": round(off.usd), "% of the p95 wait": round(off.p95_seconds)}
    tells(f"{runs} fleets, predicted more than real", percents)


@pytest.mark.soak
async def test_three_runs_cost_and_wait_about_as_predicted(
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: str,
    prefect_environment: dict[str, str],
    tells: Tells,
) -> None:
    async with deployed(tmp_path_factory.mktemp("trust"), prefect_environment, AT_ONCE) as worlds:
        runs = await runs_at_once(worlds, LONG_SEEDS, SOAK_SECONDS)
    off, lines = compared(runs)
    told = "\n".join(lines)
    print(told)
    tell(tells, len(runs), off)
    assert abs(off.usd) <= FEW_RUNS_MAY * MOST_OFF_COST_PERCENT, told
    assert abs(off.p95_seconds) <= FEW_RUNS_MAY * MOST_OFF_P95_PERCENT, told


@pytest.mark.endurance
async def test_ten_runs_cost_and_wait_as_predicted(
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: str,
    prefect_environment: dict[str, str],
    endurance: Endurance,
    tells: Tells,
) -> None:
    rounds = [LONG_SEEDS[place : place + AT_ONCE] for place in range(0, len(LONG_SEEDS), AT_ONCE)]
    seconds = max(LEAST_LONG_SECONDS, endurance.seconds / len(rounds) - AFTER_SECONDS)
    runs: list[RealRun] = []
    async with deployed(tmp_path_factory.mktemp("trust"), prefect_environment, AT_ONCE) as worlds:
        for seeds in rounds:
            runs += await runs_at_once(worlds, seeds, seconds, runs[-AT_ONCE:])
            endurance.say(compared(runs)[1][-1])
    off, lines = compared(runs)
    told = "\n".join(lines)
    endurance.say(told)
    tell(tells, len(runs), off)
    assert abs(off.usd) <= MOST_OFF_COST_PERCENT, told
    assert abs(off.p95_seconds) <= MOST_OFF_P95_PERCENT, told
