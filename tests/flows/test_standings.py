"""How a fleet stands, read from a real server."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Pending, Scheduled

from ebbflow.flows.standings import deployed_fleets, standing
from tests.flows.test_polling import Queue, deployed

pytestmark = pytest.mark.anyio

SOON_SECONDS = 30.0


async def test_regression_a_run_that_its_worker_has_taken_was_not_the_next_one(
    prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    """A worker takes a run ten seconds before it is due, and has it pending until then."""
    async with get_client() as client, deployed(client, Queue(), prefect_environment) as site:
        due_at = datetime.now(UTC) + timedelta(seconds=SOON_SECONDS)
        run = await client.create_flow_run_from_deployment(site.deployment.id, state=Scheduled(scheduled_time=due_at))
        await client.set_flow_run_state(run.id, Pending())
        found = await deployed_fleets(client, flow="autoscale")
        shown = await standing(client, site.fleet.name, found[site.fleet.name])
        assert shown.turns.next_in_seconds is not None
        assert shown.turns.next_in_seconds <= SOON_SECONDS
