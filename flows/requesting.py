"""A turn with a person's request in it: repeated until this run gets a claim, because a person waits for it."""

import asyncio
from collections.abc import Sequence

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from ebbflow.core.errors import FleetError
from ebbflow.core.memory import OverrideKind
from ebbflow.core.observation import ScaleRequest
from ebbflow.core.text import one_line
from ebbflow.flows.own_run import own_run
from ebbflow.flows.running import run_turn
from ebbflow.flows.the_fleet import GivenFleet, the_fleet
from ebbflow.turn.results import Skipped

LOOKS = 20
"""So often a run that loses the claim looks again."""

PAUSE_SECONDS = 1.0


async def ask(
    given: GivenFleet,
    *,
    flow: str,
    kind: OverrideKind,
    reason: str,
    hold_seconds: float,
    count: int = 0,
    worker_ids: Sequence[str] = (),
    force: bool = False,
    is_absolute: bool = False,
    ends: Sequence[str] = (),
    key: str = "",
) -> State:
    """Take a turn with one override more.

    The override is keyed by this flow run, or by what asks for it where that has a key: a repetition adds nothing.

    Raises:
        ConfigError: the fleet is given by a name that nobody takes turns for.
        FleetError: every look lost its claim to another run; nothing was changed.
    """
    fleet = await the_fleet(given)
    request = ScaleRequest(
        key=key or str(flow_run.get_id()),
        kind=kind,
        owner=one_line(_owner(), 100),
        reason=one_line(reason, 200),
        hold_seconds=hold_seconds,
        count=count,
        worker_ids=tuple(worker_ids),
        force=force,
        is_absolute=is_absolute,
        ends=tuple(ends),
    )
    for _ in range(LOOKS):
        result, state = await run_turn(fleet, flow=flow, request=request)
        if not isinstance(result, Skipped):
            return state
        await asyncio.sleep(PAUSE_SECONDS)
    raise FleetError(f"{flow} of fleet {fleet.name!r} lost {LOOKS} claims in a row to other runs; run it again")


def _owner() -> str:
    """Who started this run, as Prefect knows it."""
    run = own_run()
    if run is None:
        return "a local call"
    created = run.created_by
    return (created.display_value or str(created.type)) if created else "a person"
