"""Fleets whose turns hold."""

import asyncio
import time

from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from tests.benchmarks.world import INTERVAL_SECONDS, World, fleet, save_blocks

TURNS = 2
"""One that launches, and one that registers whoever was not ready then."""
PAUSE_SECONDS = INTERVAL_SECONDS / 2 + 1
"""Ages of claims are known to the second."""


async def settled(running: World, *names: str) -> list[Fleet]:
    """Fleets with one registered worker each, whose next turns hold, soonest half an interval from now."""
    fleets = []
    for name in names:
        await save_blocks(running, name)
        fleets.append(Fleet.model_validate(fleet(name)))
    for _ in range(TURNS):
        # One after the other, as a server on SQLite likes it.
        for each in fleets:
            await autoscale(fleet=each)
        await asyncio.sleep(PAUSE_SECONDS)
    return fleets


class Pace:
    """Lets each fleet's turns begin when they are not too early."""

    def __init__(self) -> None:
        self._ready_at: dict[str, float] = {}

    async def wait(self, name: str) -> None:
        """Until the fleet's next turn may begin."""
        await asyncio.sleep(max(0.0, self._ready_at.get(name, 0.0) - time.monotonic()))

    def ended(self, name: str) -> None:
        """Note that a turn of the fleet has just ended."""
        self._ready_at[name] = time.monotonic() + PAUSE_SECONDS
