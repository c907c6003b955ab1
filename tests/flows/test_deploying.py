"""Schedules of deployments on a real server, switched on and off."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import IntervalSchedule

from ebbflow.fleet.deployed import schedule_key
from ebbflow.flows.deploying import active_schedules, switch_schedules

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect, pytest.mark.usefixtures("prefect_server")]
KEY = schedule_key({"interval": 900.0})


@flow
async def waits() -> None:
    """Never run here."""


async def deployed_with_its_schedule_off(client: PrefectClient) -> tuple[str, UUID]:
    name = f"demo-{uuid4().hex[:6]}"
    schedule = DeploymentScheduleCreate(
        schedule=IntervalSchedule(interval=timedelta(seconds=900)), active=False, slug="every"
    )
    return f"waits/{name}", await client.create_deployment(
        await client.create_flow(waits), name, schedules=[schedule], enforce_parameter_schema=False
    )


async def planned(client: PrefectClient, deployment: UUID) -> int:
    of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    return len(await client.read_flow_runs(deployment_filter=of_it))


async def test_what_is_switched_on_has_its_next_runs_planned_and_need_not_wait_for_the_servers_own_round() -> None:
    async with get_client() as client:
        name, deployment = await deployed_with_its_schedule_off(client)
        await switch_schedules(client, {name: ()})
        assert (await active_schedules(client, [name]), await planned(client, deployment)) == ({name: frozenset()}, 0)
        await switch_schedules(client, {name: (KEY,)})
        assert await active_schedules(client, [name]) == {name: frozenset({KEY})}
        runs = await planned(client, deployment)
        assert runs >= 3
        await switch_schedules(client, {name: (KEY,)})
        assert await planned(client, deployment) == runs, "each time is planned once"
        await switch_schedules(client, {name: ()})
        assert (await active_schedules(client, [name]), await planned(client, deployment)) == ({name: frozenset()}, 0)


async def test_one_that_was_paused_is_planned_too() -> None:
    async with get_client() as client:
        name, deployment = await deployed_with_its_schedule_off(client)
        await switch_schedules(client, {name: (KEY,)})
        await client.pause_deployment(deployment)
        assert await planned(client, deployment) == 0
        await switch_schedules(client, {name: (KEY,)})
        assert await planned(client, deployment) >= 3
