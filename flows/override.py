"""A person's word over a fleet, for a while: floor, ceiling, pin, pause; or the end of all that hold."""

from typing import Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from ebbflow.core.errors import ConfigError
from ebbflow.core.memory import OverrideKind
from ebbflow.fleet.model import Fleet
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.requesting import ask


@flow(name="override", flow_run_name="{fleet.name}: {kind}", persist_result=False, result_storage=NO_RESULTS)
async def override(
    *,
    kind: Annotated[
        Literal["floor", "ceiling", "pin", "pause", "wind_down", "end"],
        Field(
            description="floor, ceiling: at least, at most `count` workers. pin: never remove `worker_ids`. pause: "
            "launch nothing and take nobody out. wind_down: no workers at all, min_workers or not. "
            "end: end `override_ids`, or all overrides of this fleet."
        ),
    ],
    count: Annotated[int | None, Field(ge=0, le=10_000, description="For floor and ceiling: how many workers.")] = None,
    worker_ids: Annotated[tuple[str, ...], Field(description="For pin: who stays. For ceiling: who goes first.")] = (),
    override_ids: Annotated[
        tuple[str, ...], Field(description="For end: the ids of those to end; empty: all that hold.")
    ] = (),
    force: Annotated[
        bool, Field(description="For ceiling and wind_down: also while busy, at the drain deadline.")
    ] = False,
    reason: Annotated[str, Field(max_length=200, description="Why; it stands in every record while it holds.")] = "",
    hold_seconds: Annotated[float, Field(gt=0, le=604_800, description="For how long.")] = 3600,
    fleet: Fleet,
) -> State:
    """Hold a fleet at what a person says; it ends by itself, within one turn of its time."""
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
