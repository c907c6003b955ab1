"""More workers, now: a floor under the fleet for a while."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.core.memory import OverrideKind
from ebbflow.fleet.model import Fleet
from ebbflow.flows.requesting import ask


@flow(name="scale-up", flow_run_name="{fleet.name}: scale up by {count}")
async def scale_up(
    *,
    count: Annotated[int, Field(ge=1, le=64, description="How many workers more than now.")] = 1,
    reason: Annotated[str, Field(max_length=200, description="Why; it stands in the record.")] = "",
    hold_seconds: Annotated[
        float, Field(gt=0, le=604_800, description="For how long the fleet is kept at least this large.")
    ] = 3600,
    fleet: Fleet,
) -> State:
    """Raise the fleet's floor to its present supply plus `count`, and launch at once what that asks for."""
    return await ask(
        fleet, flow="scale_up", kind=OverrideKind.FLOOR, count=count, reason=reason, hold_seconds=hold_seconds
    )
