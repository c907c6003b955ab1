"""How a person ends a fleet for good: pause its schedule, allow zero workers, scale down, let one more turn clear up.

`min_workers` forbids it as the fleet stands, so the two runs get the same fleet with a minimum of zero as their
parameter, and the master's block is told that it may be left without workers.
"""

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from ebbflow.demo.blocks import NAME, master_block
from ebbflow.demo.errors import StepFailed
from ebbflow.fleet.model import Fleet

RUN_SECONDS = 90.0
POLL_SECONDS = 0.5


async def pause_schedule(client: PrefectClient) -> None:
    """No more turns by themselves; those that were created ahead are deleted with it.

    A worker takes runs a few seconds ahead: one that it has already would bring the fleet back to its minimum, so it is
    waited for.

    Raises:
        StepFailed: one did not end in time.
    """
    deployment = await client.read_deployment_by_name(f"autoscale/{NAME}")
    await client.pause_deployment(deployment.id)
    taken = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING])
        ),
    )
    deadline = time.monotonic() + RUN_SECONDS
    while await client.read_flow_runs(flow_run_filter=taken):
        if time.monotonic() > deadline:
            raise StepFailed(f"autoscale/{NAME} still had runs after {RUN_SECONDS:g} s of pause")
        await asyncio.sleep(POLL_SECONDS)


async def allow_zero(master_url: str) -> None:
    """Save the master's block so that a fleet of zero workers is accepted."""
    await master_block(master_url, allow_start_from_zero=True).asave(NAME, overwrite=True)


def ending(fleet: Fleet) -> dict[str, object]:
    """The fleet's own parameter, with a minimum of zero."""
    limits = fleet.limits.model_copy(update={"min_workers": 0})
    changed: dict[str, object] = fleet.model_copy(update={"limits": limits}).model_dump(mode="json")
    return changed


async def run(client: PrefectClient, flow: str, parameters: Mapping[str, object]) -> FlowRun:
    """Run a deployment and wait for its end, as `prefect deployment run --watch` does.

    Raises:
        StepFailed: it did not complete, or not in time.
    """
    deployment = await client.read_deployment_by_name(f"{flow}/{NAME}")
    created = await client.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters))
    return await _wait(client, created.id, flow)


async def _wait(client: PrefectClient, run_id: UUID, flow: str) -> FlowRun:
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        found = await client.read_flow_run(run_id)
        if found.state is not None and found.state.is_final():
            if not found.state.is_completed():
                raise StepFailed(f"{flow}/{NAME} ended as {found.state.name}: {found.state.message}")
            return found
        if time.monotonic() > deadline:
            raise StepFailed(f"{flow}/{NAME} did not end within {RUN_SECONDS:g} s")
        await asyncio.sleep(POLL_SECONDS)
