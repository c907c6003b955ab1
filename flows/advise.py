"""What a fleet pays, how long its users wait, and what another setting would do: advice from its own past."""

from typing import Annotated

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from ebbflow.flows.advice_page import leave_advice
from ebbflow.flows.advising import LIMIT_SECONDS, PAST_SECONDS, PLAYS, SETTINGS, Asked, advise_on
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.refusals import refuses
from ebbflow.flows.the_fleet import GivenFleet, run_name, the_fleet
from ebbflow.simulation.two_fleets import SERVICE_SECONDS


@flow(name="advise", flow_run_name=run_name("advice from its past"))
@refuses
async def advise(
    *,
    past_hours: Annotated[float, Field(gt=0, le=24 * 366)] = PAST_SECONDS / 3600,
    waiting_worth: Annotated[float | None, Field(ge=0, le=1000)] = None,
    wait_p95_seconds: Annotated[float | None, Field(gt=0, le=86_400)] = None,
    service_seconds: Annotated[float, Field(gt=0, le=86_400)] = SERVICE_SECONDS,
    plays: Annotated[int, Field(ge=1, le=20)] = PLAYS,
    settings: Annotated[int, Field(ge=1, le=100)] = SETTINGS,
    limit_seconds: Annotated[float, Field(gt=0, le=6 * 3600)] = LIMIT_SECONDS,
    fleet: GivenFleet,
) -> State:
    """Play the fleet, its neighbours and other policies on its past; leave a page with figures, advice and a diff.

    Args:
        past_hours: How far back the fleet's past is read.
        waiting_worth: What an hour of a user's waiting is worth in worker-hours; empty: the policy's own number, or 1.
        wait_p95_seconds: Instead of that: the least cost at which 95 of 100 requests wait less than this.
        service_seconds: Work of one request, where the fleet's master does not count what it serves.
        plays: How often each setting is played, with other luck at launches.
        settings: At most so many settings are played, the fleet as it is among them.
        limit_seconds: No play begins later than this; the page says what was left out.
        fleet: Whose past is played, by its name. Nothing of it is changed.
    """
    asked = Asked(
        past_seconds=3600 * past_hours,
        waiting_worth=waiting_worth,
        wait_p95_seconds=wait_p95_seconds,
        plays=plays,
        settings=settings,
        limit_seconds=limit_seconds,
        service_seconds=service_seconds,
    )
    asked.check()
    played = await the_fleet(fleet)
    async with get_client() as client:
        told = await advise_on(PrefectLedger(client), played, asked, say=get_run_logger().info)
    return Completed(name="Advised", message=await leave_advice(told))
