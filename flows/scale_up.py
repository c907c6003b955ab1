"""More workers, now: a floor under the fleet for a while."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.core.memory import OverrideKind
from ebbflow.fleet.model import Fleet
from ebbflow.flows.events import MOST_SECONDS, MOST_WORKERS, asked_by
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.requesting import ask


@flow(
    name="scale-up", flow_run_name="{fleet.name}: scale up by {count}", persist_result=False, result_storage=NO_RESULTS
)
async def scale_up(
    *,
    count: Annotated[int, Field(ge=1, le=MOST_WORKERS, description="How many workers more than now.")] = 1,
    reason: Annotated[str, Field(max_length=200, description="Why; it stands in the record.")] = "",
    hold_seconds: Annotated[
        float, Field(gt=0, le=MOST_SECONDS, description="For how long the fleet is kept at least this large.")
    ] = 3600,
    fleet: Fleet,
    event: Annotated[
        dict[str, Any] | None, Field(description="Set by a trigger: what its payload asks for goes before the others.")
    ] = None,
) -> State:
    """Raise the fleet's floor to its present supply plus `count`, and launch at once what that asks for."""
    key = ""
    if event is not None:
        asked = asked_by(event)
        count, reason, key = asked.count, asked.reason, asked.key
        hold_seconds = asked.hold_seconds or hold_seconds
    return await ask(
        fleet, flow="scale_up", kind=OverrideKind.FLOOR, count=count, reason=reason, hold_seconds=hold_seconds, key=key
    )
