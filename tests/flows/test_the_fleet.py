"""A person's flow takes its fleet by name, as its turns are deployed now, and one that is given whole as before."""

from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client

from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.override import override
from ebbflow.flows.scale_up import scale_up
from ebbflow.flows.standings import deployed_fleets
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]


async def deploy(client: PrefectClient, flow: Any, name: str, fleet: object) -> None:
    """As `prefect deploy` leaves it. Any: a flow."""
    module = flow.name.replace("-", "_")
    await client.create_deployment(
        await client.create_flow(flow),
        name,
        parameters={"fleet": fleet},
        entrypoint=f"ebbflow.flows.{module}.{module}",
        enforce_parameter_schema=False,
    )


@together
async def test_a_fleet_given_by_name_is_the_one_whose_turns_are_deployed(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    async with get_client() as client:
        await deploy(client, autoscale, world.name, world.fleet_json(limits={"max_workers": 2}))
        await deploy(client, scale_up, world.name, world.name)
        raised = await world.house.turn(scale_up, {"fleet": world.name, "count": 2})
        assert raised.state.name == "Acted", raised.said
        assert raised.run.name.startswith(f"{world.name}: +2 (scale up by ")
        await world.is_right(2)
        refused = await world.house.turn(scale_up, {"fleet": world.name, "count": 1})
        assert refused.state.name == "Refused"
        assert refused.run.name == f"{world.name}: scale up by 1"
        assert "above limits.max_workers 2" in str(refused.state.message)
        held = await world.house.turn(override, {"fleet": world.fleet_json(), "kind": "pause"})
        assert held.state.name in ("Acted", "Held"), "given whole, as deployments of before give it"
        ways = (await deployed_fleets(client))[world.name]
        assert [each.flow for each in ways if each.fleet == world.fleet(limits={"max_workers": 2})] == [
            each.flow for each in ways
        ]


async def test_a_fleet_whose_turns_nobody_takes_is_refused_with_those_that_there_are(
    prefect_server: str,
) -> None:
    state = await scale_up(fleet="no-such-fleet", return_state=True)
    assert state.name == "Refused"
    assert str(state.message).startswith("no turns of a fleet 'no-such-fleet' are deployed here, so nothing was done")


async def test_a_deployment_that_this_release_cannot_read_is_named(prefect_server: str) -> None:
    async with get_client() as client:
        await deploy(client, autoscale, "of-tomorrow", {"name": "tomorrow", "colour": "red"})
        await deploy(client, scale_up, "of-tomorrow", "tomorrow")
        assert [each.fleet for each in (await deployed_fleets(client))["tomorrow"]] == [None, None]
    state = await scale_up(fleet="tomorrow", return_state=True)
    assert state.name == "Refused"
    assert "cannot read what deployment autoscale/of-tomorrow holds" in str(state.message)
