"""A turn that sees work wait asks for one more run of its deployment, on a real server."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId, FlowRunFilterTags
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.flow_engine import run_flow_async
from prefect.states import Scheduled
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.deploying import switch_schedules
from ebbflow.flows.following import TAG, calls_sooner
from ebbflow.standins.http import serve
from ebbflow.standins.process import free_port
from tests.e2e.prefect_house import flow_run
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld
from tests.making import fleet_of, inputs_of

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]

SOON_SECONDS = 20.0


async def deployed(client: PrefectClient, fleet: Fleet) -> UUID:
    """A deployment of a fleet's turns, whose schedule has nothing due in the time of a test."""
    schedule = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(days=9)), active=True)
    parameters = {"fleet": fleet.model_dump(mode="json")}
    flow_id = await client.create_flow(autoscale)
    return await client.create_deployment(flow_id, fleet.name, schedules=[schedule], parameters=parameters)


async def taken(client: PrefectClient, run: FlowRun) -> FlowRun:
    """A run of a deployment, taken as whoever polls for runs does; how it ended."""
    parameters: Any = run.parameters
    parameters = {"fleet": Fleet.model_validate(parameters["fleet"])}
    await run_flow_async(autoscale, flow_run=run, parameters=parameters, return_type="state")
    return await flow_run(run.id)


async def skipped(client: PrefectClient, run: FlowRun) -> str:
    """Why a run took no turn; it can be taken again."""
    await client.set_flow_run_state(run.id, Scheduled(), force=True)
    ended = await taken(client, await client.read_flow_run(run.id))
    assert ended.state is not None
    assert ended.state.name == "Skipped", ended.state.message
    return ended.state.message or ""


async def asked_for(client: PrefectClient, deployment: UUID) -> Sequence[FlowRun]:
    """Runs that a turn asked for, the latest first."""
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]), tags=FlowRunFilterTags(all_=[TAG])
    )
    found = await client.read_flow_runs(flow_run_filter=wanted)
    return sorted(found, key=lambda run: run.created.timestamp() if run.created else 0.0, reverse=True)


@pytest.mark.soak
@together
async def test_work_that_waits_brings_turn_after_turn_of_the_same_deployment_until_a_person_stops_its_schedule(
    prefect_world: PrefectWorld,
) -> None:
    world = prefect_world
    async with get_client() as client:
        fleet = world.fleet(waiting_interval_seconds=SOON_SECONDS, limits={"min_workers": 1, "max_workers": 4})
        deployment = await deployed(client, fleet)
        quiet = await taken(client, await client.create_flow_run_from_deployment(deployment))
        assert quiet.state is not None
        assert quiet.state.name == "Acted", quiet.state.message
        assert await asked_for(client, deployment) == [], "nothing waits"
        world.generate(images=6)
        await world.busy_worker()
        await world.pass_time(60)
        first = await taken(client, await client.create_flow_run_from_deployment(deployment))
        (asked,) = await asked_for(client, deployment)
        assert (asked.state_name, asked.parameters) == ("Scheduled", first.parameters)
        looked_at = (await world.record()).turn.at_seconds
        assert asked.expected_start_time is not None
        assert asked.expected_start_time.timestamp() == pytest.approx(looked_at + SOON_SECONDS)
        await world.pass_time(SOON_SECONDS)
        followed = await taken(client, asked)
        assert {TAG, "ebbflow", f"fleet:{world.name}"} <= set(followed.tags)
        record = await world.record()
        assert (record.number, record.flow_run_id) == (3, str(asked.id))
        assert record.turn.manager == fleet.name, "and of no other deployment than the scheduled ones"
        again, before = await asked_for(client, deployment)
        assert before.id == asked.id
        await client.update_deployment(deployment, DeploymentUpdate(parameters={"fleet": {"name": "another"}}))
        assert (await skipped(client, again)).endswith(f"{fleet.name} was deployed anew since this turn was asked for")
        await client.update_deployment(deployment, DeploymentUpdate(parameters=again.parameters))
        await switch_schedules(client, {f"autoscale/{fleet.name}": ()})
        assert "was stopped since this turn was asked for" in await skipped(client, again)
        await world.pass_time(SOON_SECONDS)
        by_hand = await taken(client, await client.create_flow_run_from_deployment(deployment))
        assert (await world.record()).flow_run_id == str(by_hand.id), "what a person starts is a turn all the same"
        assert len(await asked_for(client, deployment)) == 2, "and asks for none"
        await world.finish_work()


async def test_a_deployment_that_has_gone_meanwhile_and_a_server_that_is_away_cost_a_turn_a_warning(
    prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    asks, log = inputs_of(), logging.getLogger("ebbflow")
    async with get_client() as client:
        fleet = fleet_of(("local/a", 2), name=f"gone-{uuid4().hex[:6]}")
        deployment = await client.read_deployment(await deployed(client, fleet))
        await client.delete_deployment(deployment.id)
        await calls_sooner(client, deployment, log)(asks, 2e9)
    async with PrefectClient(f"http://127.0.0.1:{free_port()}/api") as away:
        await calls_sooner(away, deployment, log)(asks, 2e9)
    said = [each.getMessage() for each in caplog.records if each.name == "ebbflow"]
    assert len(said) == 2
    assert all(each.startswith("no turn could be asked for before the next one is due: ") for each in said), said


async def test_a_server_that_hangs_keeps_no_turn_from_acting(caplog: pytest.LogCaptureFixture) -> None:
    async def hang(request: Request) -> JSONResponse:
        await anyio.sleep(60)
        return JSONResponse({})

    schedule = DeploymentSchedule(schedule=IntervalSchedule(interval=timedelta(days=9)), active=True)
    plain = {"id": uuid4(), "name": "demo", "flow_id": uuid4(), "schedules": [schedule], "labels": {}}
    deployment = DeploymentResponse.model_validate(plain)
    hanging = Starlette(routes=[Route("/{path:path}", hang, methods=["GET", "POST"])])
    async with serve(hanging) as url, PrefectClient(f"{url}/api") as client:
        call = calls_sooner(client, deployment, logging.getLogger("ebbflow"), call_seconds=0.2)
        with anyio.fail_after(20):
            await call(inputs_of(), 2e9)
    (said,) = [each.getMessage() for each in caplog.records if each.name == "ebbflow"]
    assert said.endswith("the server did not answer within 0.2 s")
