"""The house with Prefect: each turn is a flow run in this process, on a real server.

Every age that a turn reasons with comes from the server's timestamps of its claims, so moving those back lets time
pass for one fleet and for nobody else.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, State

from ebbflow.blocks.opening import load_provider, open_fleet
from ebbflow.core.chain import Claim
from ebbflow.core.ports import Ledger, Provider
from ebbflow.fleet.model import Fleet
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.opened import OpenFleet
from tests.e2e.houses import AnyFlow, Row


@dataclass
class PrefectTurn:
    """One run of a flow, as Prefect remembers it."""

    state: State[Any]
    run: FlowRun

    @property
    def said(self) -> str:
        """Name and message of the final state."""
        return f"{self.run.name} | {self.state.name}: {self.state.message}"

    async def tasks(self) -> list[str]:
        """The names of its task runs. They travel as events, and arrive a moment after the run has ended."""
        wanted = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[self.run.id]))
        names: list[str] = []
        async with get_client() as client:
            for _ in range(20):
                runs = await client.read_task_runs(task_run_filter=wanted)
                before, names = names, sorted(run.name for run in runs)
                if (_ >= 2 and not names) or (names and names == before):
                    break
                await asyncio.sleep(0.1)
        return names

    async def artifacts(self) -> list[Artifact]:
        """What it left."""
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.run.id]))
        async with get_client() as client:
            return await client.read_artifacts(artifact_filter=wanted)

    async def rows(self) -> list[Row]:
        """The table that it left; empty where it left none."""
        tables = [artifact for artifact in await self.artifacts() if artifact.type == "table"]
        return [row for table in tables for row in json.loads(str(table.data))]


@dataclass(frozen=True)
class PrefectHouse:
    """A real Prefect server on loopback, to which this process talks.

    Args:
        environment: what another process needs to talk to it.
    """

    environment: Mapping[str, str]

    async def save(self, block: Block, name: str) -> None:
        """Save it on the server."""
        await block.asave(name, overwrite=True)

    async def provider(self, reference: str) -> Provider:
        """The adapter of a block that the server has."""
        async with get_client() as client:
            return await load_provider(client, reference)

    @asynccontextmanager
    async def opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AsyncIterator[OpenFleet]:
        """A fleet with its adapters, from the server's blocks."""
        async with (
            get_client() as client,
            open_fleet(client, fleet, home, remembered=remembered, dry_run=dry_run) as opened,
        ):
            yield opened

    @asynccontextmanager
    async def ledger(self, fleet: str) -> AsyncIterator[Ledger]:
        """The server's artifacts and Variables."""
        async with get_client() as client:
            yield PrefectLedger(client)

    async def claims(self, fleet: str) -> dict[int, Claim]:
        """The fleet's Variables."""
        async with get_client() as client:
            found = (await PrefectLedger(client)._claims(fleet))[0]
        values = {number: variable["value"] for number, variable in found.items()}
        return {
            number: Claim(number, value["artifact"], value["sha256"], value["budget_seconds"])
            for number, value in values.items()
        }

    def pass_time(self, fleet: str, seconds: float) -> None:
        """Let the server's timestamps of the fleet's claims become older."""
        pass_time(self.environment, fleet, seconds)

    async def turn(self, flow: AnyFlow, parameters: Mapping[str, Any]) -> PrefectTurn:
        """Run the flow in this process."""
        run: Callable[..., Awaitable[State[Any]]] = flow
        state = await run(**parameters, return_state=True)
        run_id = state.state_details.flow_run_id
        assert run_id is not None
        return PrefectTurn(state, await flow_run(run_id))


def pass_time(environment: Mapping[str, str], fleet: str, seconds: float) -> None:
    """Let the server's timestamps of one fleet's claims become older.

    Turns read the server's clock off its `Date` header, which lags by up to two seconds: leave such a margin.
    """
    database = Path(environment["PREFECT_HOME"]) / "prefect.db"
    with _connected(database) as connection:
        connection.execute(
            "UPDATE variable SET created = strftime('%Y-%m-%d %H:%M:%f', created, ?) || '000' "
            "WHERE name GLOB ? AND name NOT GLOB ?",
            (f"{-seconds:+} seconds", f"ebbflow_{fleet}_[0-9]*", f"ebbflow_{fleet}_*[^0-9]*"),
        )


@contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, timeout=120, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


async def flow_run(run_id: UUID) -> FlowRun:
    """One flow run, as the server has it now."""
    async with get_client() as client:
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        return run
