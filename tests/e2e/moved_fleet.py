"""A fleet as a test moves it turn by turn, whose workers join a real master by themselves."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block

from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import processes_with

PATIENCE_SECONDS = 150.0


class MovedFleet:
    """One fleet.

    Args:
        house: where its turns run.
        folder: of this test.
        most_each: workers of one provider.
        sections: of the fleet, in the place of the usual ones.
    """

    def __init__(self, house: PrefectHouse, folder: Path, *, most_each: int = 3, **sections: Any) -> None:
        self.house, self.folder = house, folder
        self.name = f"r{secrets.token_hex(4)}"
        self._most_each, self._sections = most_each, sections
        self._master: Block | None = None
        self._providers: dict[str, Block] = {}

    async def keep(self, master: Block, *providers: Block) -> None:
        """Save its blocks under its name; a second provider of one kind under that and its number."""
        self._master = master
        await self.house.save(master, self.name)
        for number, block in enumerate(providers):
            name = (
                self.name if block.get_block_type_slug() not in map(_kind, self._providers) else f"{self.name}-{number}"
            )
            self._providers[f"{block.get_block_type_slug()}/{name}"] = block
            await self.house.save(block, name)

    @property
    def starts(self) -> Path:
        """Where each start of a worker of this host is noted."""
        return self.folder / "starts"

    def started(self) -> Counter[str]:
        """How often each worker was started."""
        with suppress(FileNotFoundError):
            return Counter(line.split()[0] for line in self.starts.read_text().splitlines())
        return Counter()

    def workers(self) -> set[str]:
        """Ids of those of whom a process lives."""
        found = processes_with("EBBFLOW_FLEET", self.name).values()
        # Some of Ray's processes write their title over the rest of their environment.
        return {variables["EBBFLOW_WORKER_ID"] for variables in found if "EBBFLOW_WORKER_ID" in variables}

    def fleet(self) -> Fleet:
        """As a person writes it."""
        assert self._master is not None, "it was saved"
        plain: dict[str, Any] = {
            "interval_seconds": 60,
            "policy": {"kind": "pending_tasks", "idle_seconds": 30},
            "limits": {"max_workers": 3, "min_idle_seconds": 30, "min_seconds_between_stops": 0},
            **self._sections,
            "name": self.name,
            "master": f"{self._master.get_block_type_slug()}/{self.name}",
            "providers": [{"block": reference, "max_workers": self._most_each} for reference in self._providers],
        }
        return Fleet.model_validate(plain)

    async def turn(self) -> str:
        """One turn of the flow, half a minute of the fleet's time after the last one; how it ended."""
        self.house.pass_time(self.name, 33)
        return await self.turn_now()

    async def turn_now(self) -> str:
        """One turn, as late as it is."""
        turn = await self.house.turn(autoscale, {"fleet": self.fleet()})
        assert turn.state.name in ("Acted", "Held"), turn.said
        return turn.said

    async def turns_until(self, holds: Callable[[], object], what: str) -> None:
        """Turns, with time for Ray to count between them, until something holds."""
        deadline, said = time.monotonic() + PATIENCE_SECONDS, list[str]()
        while not holds():
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}; {said[-5:]}"
            said.append(await self.turn())
            await asyncio.sleep(1)


def _kind(reference: str) -> str:
    return reference.partition("/")[0]
