"""The scheduled flow: one turn of a fleet every interval."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.fleet.model import Fleet
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.running import run_turn


@flow(
    name="autoscale",
    flow_run_name="{fleet.name}: turn",
    retries=0,
    validate_parameters=True,
    persist_result=False,
    result_storage=NO_RESULTS,
)
async def autoscale(
    fleet: Fleet,
    dry_run: Annotated[bool, Field(description="Look and decide, and change nothing anywhere.")] = False,
) -> State:
    """Evaluate a fleet once: keep its workers alive, observe, decide, record and claim, act, note the outcome."""
    _, state = await run_turn(fleet, flow="autoscale", dry_run=dry_run)
    return state
