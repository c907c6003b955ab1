"""A fleet while clients are simulated: what it costs, and, where it is to stay as it is, its turns paused."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import anyio

from ebbflow.cli.speaking import NOT_RIGHT, REFUSED, USAGE, end, warn
from ebbflow.core.text import one_line

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from ebbflow.flows.standings import Deployed
    from ebbflow.services.simulated_clients.cost import Price
    from ebbflow.turn.standing import Standing

CALL_SECONDS = 10.0
"""For one call to the Prefect server."""
TURN_SECONDS = 120.0
"""For a turn that has begun to come to its end: longer than its budget and the start of its process."""
POLL_SECONDS = 0.5


class FleetPrice:
    """What a fleet costs by its newest record, as `ebbflow status` shows it.

    Args:
        client: of the Prefect server.
        fleet: its name.
    """

    def __init__(self, client: "PrefectClient", fleet: str) -> None:
        self._client, self._fleet = client, fleet

    async def __call__(self, workers: int | None) -> "Price":
        """Now; unknown while a worker's price is, or while the server does not say."""
        import httpx
        from prefect.exceptions import PrefectException

        from ebbflow.core.errors import FleetError
        from ebbflow.flows.standings import standing
        from ebbflow.services.simulated_clients.cost import Price

        try:
            with anyio.fail_after(CALL_SECONDS):
                found = await standing(self._client, self._fleet, ())
        except (TimeoutError, httpx.HTTPError, PrefectException, FleetError):
            return Price()
        return price_of(found)


def price_of(fleet: "Standing") -> "Price":
    """The fleet's, which counts what is not known as nothing; so it is unknown where a worker's price is."""
    from ebbflow.services.simulated_clients.cost import Price

    by_url = {each.address.rstrip("/"): each.usd_per_hour for each in fleet.workers if each.address is not None}
    is_known = all(each.usd_per_hour is not None for each in fleet.workers)
    return Price(fleet.usd_per_hour if is_known else None, {url: usd for url, usd in by_url.items() if usd is not None})


async def turns_of(client: "PrefectClient", fleet: str) -> "Sequence[Deployed]":
    """The deployments whose runs are a fleet's turns; ends where there is no such fleet, or none for it."""
    from ebbflow.flows.standings import deployed_fleets
    from ebbflow.turn.standing import chosen

    deployed = await deployed_fleets(client)
    try:
        found = deployed[chosen(sorted(deployed), fleet)]
    except ValueError as error:
        end(USAGE, f"--fleet: {error}")
    turns = [each for each in found if each.flow == "autoscale"]
    if not turns:
        end(REFUSED, f"--fleet: no deployment of autoscale runs fleet {fleet!r}, so nothing of it can be measured")
    return turns


@asynccontextmanager
async def without_turns(
    client: "PrefectClient", turns: "Sequence[Deployed]", stop: asyncio.Event
) -> AsyncIterator[None]:
    """Pause these deployments and wait for the end of a turn that has begun; resume them, whatever happens.

    One that was paused before stays so.

    Args:
        client: of the Prefect server.
        turns: as `turns_of` has them.
        stop: set when a person wants an end.
    """
    ours = [each for each in turns if not each.response.paused]
    try:
        for each in ours:
            # Not the client's `pause_deployment`, after which the server still starts the runs that are late.
            path = {"id": each.response.id}
            with anyio.fail_after(CALL_SECONDS):
                await client.request("POST", "/deployments/{id}/pause_deployment", path_params=path)
        await _quiet(client, [each.response.id for each in turns], stop)
        warn(f"no turns until the end: {_names(ours) or 'they were paused before, and stay so'}")
        yield
    finally:
        # Also where this was cancelled, and each of them also where another one's call failed.
        with anyio.CancelScope(shield=True):
            for each in ours:
                await _resume(client, each)


async def _resume(client: "PrefectClient", turns: "Deployed") -> None:
    import httpx
    from prefect.exceptions import PrefectException

    try:
        with anyio.fail_after(CALL_SECONDS):
            await client.resume_deployment(turns.response.id)
    except (TimeoutError, httpx.HTTPError, PrefectException) as error:
        name = _names([turns])
        warn(
            f"{name} is still paused ({one_line(error)}): `prefect deployment resume {name}` lets its turns come again"
        )


async def _quiet(client: "PrefectClient", deployments: Sequence[UUID], stop: asyncio.Event) -> None:
    """Wait until none of them runs, or nobody wants that any more."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    going_on = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    deadline = anyio.current_time() + TURN_SECONDS
    while not stop.is_set():
        with anyio.fail_after(CALL_SECONDS):
            runs = await client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(deployments))),
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=going_on))),
                limit=1,
            )
        if not runs:
            return
        if anyio.current_time() > deadline:
            end(NOT_RIGHT, f"turn {runs[0].name!r} has not ended in {TURN_SECONDS:g} s, and nobody was simulated")
        await anyio.sleep(POLL_SECONDS)


def _names(turns: "Sequence[Deployed]") -> str:
    return ", ".join(f"{each.flow}/{each.response.name}" for each in turns)
