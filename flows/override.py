"""A person's word over a fleet, for a while: floor, ceiling, pin, pause; or the end of all that hold."""

from typing import Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.core.errors import ConfigError
from ebbflow.core.memory import OverrideKind
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.refusals import refuses
from ebbflow.flows.requesting import ask
from ebbflow.flows.the_fleet import GivenFleet, run_name


@flow(name="override", flow_run_name=run_name("{kind}"), persist_result=False, result_storage=NO_RESULTS)
@refuses
async def override(
    *,
    kind: Literal["floor", "ceiling", "pin", "pause", "wind_down", "end"],
    count: Annotated[int | None, Field(ge=0, le=10_000)] = None,
    worker_ids: tuple[str, ...] = (),
    override_ids: tuple[str, ...] = (),
    force: bool = False,
    reason: Annotated[str, Field(max_length=200)] = "",
    hold_seconds: Annotated[float, Field(gt=0, le=604_800)] = 3600,
    fleet: GivenFleet,
) -> State:
    """Hold a fleet at what a person says; it ends by itself, within one turn of its time.

    Args:
        kind: floor, ceiling: at least, at most `count` workers. pin: never remove `worker_ids`. pause: launch nothing
            and take nobody out. wind_down: no workers at all, min_workers or not. end: end `override_ids`, or all
            overrides of this fleet.
        count: For floor and ceiling: how many workers.
        worker_ids: For pin: who stays. For ceiling: who goes first.
        override_ids: For end: the ids of those to end; empty: all that hold.
        force: For ceiling and wind_down: also while busy, at the drain deadline.
        reason: Why; it stands in every record while it holds.
        hold_seconds: For how long.
        fleet: Which fleet, by its name.
    """
    asked = OverrideKind(kind)
    if asked in (OverrideKind.FLOOR, OverrideKind.CEILING) and count is None:
        raise ConfigError(f"override: kind {kind} needs a count of workers; it is empty, so nothing was done")
    if asked is OverrideKind.PIN and not worker_ids:
        raise ConfigError("override: kind pin needs worker_ids; none are given, so nothing was done")
    return await ask(
        fleet,
        flow="override",
        kind=asked,
        count=count or 0,
        worker_ids=worker_ids,
        force=force,
        reason=reason,
        hold_seconds=hold_seconds,
        is_absolute=True,
        ends=override_ids,
    )
