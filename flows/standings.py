"""How the fleets of a Prefect server stand: read from claims, records, deployments and runs, and nothing changed."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from pydantic import ValidationError

from ebbflow.core.chain import Head
from ebbflow.core.errors import FleetError, RecordError
from ebbflow.core.observation import Inputs
from ebbflow.core.text import one_line
from ebbflow.fleet.deployed import flow_of
from ebbflow.fleet.model import Fleet
from ebbflow.flows.ledger import PER_PAGE, PrefectLedger
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.standing import Schedule, Seen, Standing, standing_of


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployment of a flow of ours for one fleet."""

    flow: str
    """Such as `scale_up`."""
    response: DeploymentResponse
    fleet: Fleet | None
    """None where what it holds is no fleet of this release."""


async def deployed_fleets(client: PrefectClient, *, flow: str = "") -> Mapping[str, tuple[Deployed, ...]]:
    """The deployments of ours by the name of their fleet, of one flow or of all.

    One that names its fleet has the fleet that its turns take.
    """
    found: dict[str, list[Deployed]] = {}
    wanted = FlowFilter(name=FlowFilterName(any_=[flow])) if flow else None
    offset = 0
    while True:
        page = await client.read_deployments(flow_filter=wanted, limit=PER_PAGE, offset=offset)
        for deployment in page:
            kind, given = flow_of(deployment.entrypoint or ""), deployment.parameters.get("fleet")
            name = given.get("name") if isinstance(given, dict) else given
            if kind is not None and isinstance(name, str):
                found.setdefault(name, []).append(Deployed(kind, deployment, _fleet(given)))
        if len(page) < PER_PAGE:
            return {name: _with_the_fleet(each) for name, each in found.items()}
        offset += PER_PAGE


def _with_the_fleet(deployed: list[Deployed]) -> tuple[Deployed, ...]:
    fleet = next((each.fleet for each in deployed if each.flow == "autoscale"), None)
    return tuple(
        replace(each, fleet=fleet) if isinstance(each.response.parameters.get("fleet"), str) else each
        for each in deployed
    )


async def fleet_names(client: PrefectClient) -> tuple[str, ...]:
    """Every fleet that has a deployment or a record."""
    deployed, recorded = await asyncio.gather(deployed_fleets(client), recorded_fleets(client))
    return tuple(sorted({*deployed, *recorded}))


async def standings(client: PrefectClient) -> tuple[Standing, ...]:
    """Every fleet that has a deployment or a record, by name."""
    deployed, recorded = await asyncio.gather(deployed_fleets(client), recorded_fleets(client))
    names = sorted({*deployed, *recorded})
    # One after the other: a server on SQLite can stand still for a minute when nine requests come at once.
    return tuple([await standing(client, name, deployed.get(name, ())) for name in names])


async def standing(client: PrefectClient, name: str, deployed: tuple[Deployed, ...]) -> Standing:
    """How one fleet stands."""
    reader = ChainReader(PrefectLedger(client))
    autoscale = next((each for each in deployed if each.flow == "autoscale"), None)
    try:
        head = await reader.head(name)
    except FleetError as error:
        # A claim that was edited: the fleet is there, and its turns say the same.
        fleet, schedule = autoscale.fleet if autoscale else None, await _schedule(client, deployed)
        return standing_of(Seen(name, fleet=fleet, schedule=schedule, trouble=one_line(error)))
    fleet = (autoscale.fleet if autoscale else None) or await _recorded_fleet(reader, head)
    seen = Seen(name, head, fleet, await inputs_of(reader, head), await _schedule(client, deployed))
    return standing_of(seen)


async def recorded_fleets(client: PrefectClient) -> set[str]:
    """Names of fleets that have a claim, from the names of their Variables."""
    found, offset = set[str](), 0
    while True:
        body = {"variables": {"name": {"like_": "ebbflow_%"}}, "limit": PER_PAGE, "offset": offset}
        page = (await client.request("POST", "/variables/filter", json=body)).json()
        for variable in page:
            claim = re.fullmatch(r"ebbflow_([a-z0-9-]+)_\d+", variable["name"])
            found |= {claim[1]} if claim else set()
        if len(page) < PER_PAGE:
            return found
        offset += PER_PAGE


def _fleet(given: Any) -> Fleet | None:
    # Any: what somebody's deployment holds as its parameter.
    try:
        return Fleet.model_validate(given)
    except ValidationError:
        return None


async def _recorded_fleet(reader: ChainReader, head: Head | None) -> Fleet | None:
    try:
        return await reader.fleet(head.record) if head is not None and head.record is not None else None
    except RecordError:
        return None


async def inputs_of(reader: ChainReader, head: Head | None) -> Inputs | None:
    """What the newest record saw; None where there is none, or where it leans on one that is gone."""
    try:
        return await reader.inputs(head.record) if head is not None and head.record is not None else None
    except RecordError:
        return None


async def _schedule(client: PrefectClient, deployed: tuple[Deployed, ...]) -> Schedule:
    """What starts its turns: of several deployments one whose schedule is on."""
    ours = [each.response for each in deployed if each.flow == "autoscale"]
    ours.sort(key=lambda each: (not is_on(each), each.name))
    if not ours:
        return Schedule()
    deployment = ours[0]
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    waiting, late, ended, pool = await asyncio.gather(
        client.read_flow_runs(
            deployment_filter=wanted,
            # A worker takes a run some seconds before it is due, and has it pending.
            flow_run_filter=FlowRunFilter(state=_in_states(StateType.SCHEDULED, StateType.PENDING)),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=1,
        ),
        client.read_flow_runs(
            deployment_filter=wanted,
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"]))),
            limit=PER_PAGE,
        ),
        client.read_flow_runs(
            deployment_filter=wanted,
            flow_run_filter=FlowRunFilter(
                state=_in_states(StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
            ),
            sort=FlowRunSort.END_TIME_DESC,
            limit=1,
        ),
        pool_of(client, deployment.work_pool_name or ""),
    )
    expected = waiting[0].expected_start_time if waiting else None
    state = ended[0].state if ended else None
    is_failed = state is not None and state.type in (StateType.FAILED, StateType.CRASHED)
    return Schedule(
        deployment=f"autoscale/{deployment.name}",
        is_on=is_on(deployment),
        work_pool=deployment.work_pool_name or "",
        pool_type=pool.type if pool else "",
        is_polled=await is_polled(client, pool) if pool else None,
        next_in_seconds=max(0.0, expected.timestamp() - time.time()) if expected else None,
        late_runs=len(late),
        last_error=one_line(state.message or state.name or "") if state is not None and is_failed else "",
    )


def _in_states(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))


def is_on(deployment: DeploymentResponse) -> bool:
    """Whether one of its schedules starts runs."""
    return not deployment.paused and any(schedule.active for schedule in deployment.schedules)


async def pool_of(client: PrefectClient, name: str) -> WorkPool | None:
    """A work pool; None: there is none of that name."""
    wanted = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    return next(iter(await client.read_work_pools(work_pool_filter=wanted)), None) if name else None


async def is_polled(client: PrefectClient, pool: WorkPool) -> bool:
    """Whether a worker asks the pool for work, by the server's own clock; pools that push need none."""
    if pool.is_push_pool or pool.is_managed_pool:
        return True
    return any(worker.status is WorkerStatus.ONLINE for worker in await client.read_workers_for_work_pool(pool.name))
