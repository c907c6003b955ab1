"""Fewer workers, now: a ceiling over the fleet for a while, with names where a person has any."""

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.core.errors import ConfigError
from ebbflow.core.memory import OverrideKind
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.refusals import refuses
from ebbflow.flows.requesting import ask
from ebbflow.flows.the_fleet import GivenFleet, run_name


@flow(name="scale-down", flow_run_name=run_name("scale down"), persist_result=False, result_storage=NO_RESULTS)
@refuses
async def scale_down(
    *,
    count: Annotated[int | None, Field(ge=1, le=10_000)] = None,
    worker_ids: tuple[str, ...] = (),
    force: bool = False,
    reason: Annotated[str, Field(max_length=200)] = "",
    hold_seconds: Annotated[float, Field(gt=0, le=604_800)] = 3600,
    fleet: GivenFleet,
) -> State:
    """Lower the fleet's ceiling below its present supply. Idle workers go at once, busy ones when they become idle.

    Args:
        count: How many workers fewer than now; empty: as many as are named.
        worker_ids: Who goes first; empty: whoever is idle longest.
        force: Also while busy, at the fleet's drain deadline.
        reason: Why; it stands in the record.
        hold_seconds: For how long the fleet is kept at most this large. It ends by itself.
        fleet: Which fleet, by its name.
    """
    if count is None and not worker_ids:
        raise ConfigError("scale_down: give a count, or worker_ids; both are empty, so nothing was done")
    return await ask(
        fleet,
        flow="scale_down",
        kind=OverrideKind.CEILING,
        count=count or 0,
        worker_ids=worker_ids,
        force=force,
        reason=reason,
        hold_seconds=hold_seconds,
    )
