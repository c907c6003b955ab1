"""More workers, now: a floor under the fleet for a while."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.core.memory import OverrideKind
from ebbflow.flows.events import MOST_SECONDS, MOST_WORKERS, asked_by
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.refusals import refuses
from ebbflow.flows.requesting import ask
from ebbflow.flows.the_fleet import GivenFleet, run_name


@flow(name="scale-up", flow_run_name=run_name("scale up by {count}"), persist_result=False, result_storage=NO_RESULTS)
@refuses
async def scale_up(
    *,
    count: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = 1,
    reason: Annotated[str, Field(max_length=200)] = "",
    hold_seconds: Annotated[float, Field(gt=0, le=MOST_SECONDS)] = 3600,
    fleet: GivenFleet,
    event: dict[str, Any] | None = None,
) -> State:
    """Raise the fleet's floor to its present supply plus `count`, and launch at once what that asks for.

    Args:
        count: How many workers more than now.
        reason: Why; it stands in the record.
        hold_seconds: For how long the fleet is kept at least this large. It ends by itself.
        fleet: Which fleet, by its name.
        event: Leave it empty. A trigger sets it, and what its payload asks for goes before the others.
    """
    key = ""
    if event is not None:
        asked = asked_by(event)
        count, reason, key = asked.count, asked.reason, asked.key
        hold_seconds = asked.hold_seconds or hold_seconds
    return await ask(
        fleet, flow="scale_up", kind=OverrideKind.FLOOR, count=count, reason=reason, hold_seconds=hold_seconds, key=key
    )
