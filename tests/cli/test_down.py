"""What of a folder `ebbflow down` leaves running, and for whom."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import IntervalSchedule

from ebbflow.cli.background import Background
from ebbflow.cli.down import living_on
from ebbflow.cli.local import Local
from ebbflow.cli.services import Services

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]


@pytest.fixture
async def client(anyio_backend: str, prefect_server: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as made:
        yield made


async def lives(client: PrefectClient, fleet: str, pool: str) -> None:
    """Deployed there with its schedule on, and nothing due in the time of a test."""
    await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    schedule = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(days=9)), active=True)
    await client.create_deployment(
        await client.create_flow_from_name("autoscale"),
        fleet,
        entrypoint="ebbflow.flows.autoscale.autoscale",
        parameters={"fleet": {"name": fleet}},
        schedules=[schedule],
        work_pool_name=pool,
    )


async def test_regression_at_somebody_elses_server_it_stayed_and_the_end_of_their_fleet_was_advised(
    client: PrefectClient, prefect_server: str, tmp_path: Path
) -> None:
    ours, theirs = (f"{whose}-{uuid4().hex[:6]}" for whose in ("ours", "theirs"))
    await lives(client, theirs, theirs)

    def folder(server: str) -> Local:
        return Local(tmp_path, Services(prefect_server=server, prefect_worker=ours), Background(tmp_path, {}))

    elsewhere, here = folder("http://127.0.0.1:9"), folder(prefect_server.removesuffix("/api"))
    assert theirs in await living_on(client, here), "its server is the folder's own"
    assert await living_on(client, elsewhere) == ()
    await lives(client, f"{ours}-too", ours)
    assert await living_on(client, elsewhere) == (f"{ours}-too",), "its runs are taken by the folder's worker"
