"""A fleet that is held while clients are simulated, on a real Prefect server: paused, and let go in every case."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import typer
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Running

from ebbflow.cli.held_fleet import FleetPrice, price_of, turns_of, without_turns
from ebbflow.services.simulated_clients.cost import Price
from ebbflow.turn.standing import Standing, TurnsStanding, WorkerStanding
from tests.cli.test_simulate_clients import simulating
from tests.gateway.processes import ENDPOINT, gateway_process

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]
A, B = "http://10.0.0.1:3000", "http://10.0.0.2:3000"
HOUR = [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(hours=1)), active=True)]


@pytest.fixture
async def client(anyio_backend: str, prefect_server: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as made:
        yield made


async def deployed(client: PrefectClient, fleet: str, *names: str, flow: str = "autoscale") -> Sequence[UUID]:
    """Deployments of a fleet; what else it has is not looked at."""
    flow_id = await client.create_flow_from_name(flow)
    return [
        await client.create_deployment(
            flow_id,
            name,
            entrypoint=f"ebbflow.flows.{flow}.{flow}",
            parameters={"fleet": {"name": fleet}},
            schedules=HOUR,
        )
        for name in names
    ]


async def paused(client: PrefectClient, deployments: Sequence[UUID]) -> list[bool]:
    return [(await client.read_deployment(each)).paused for each in deployments]


async def test_its_turns_are_paused_and_come_again_and_what_was_paused_before_stays_so(client: PrefectClient) -> None:
    turns = await deployed(client, "held-a", "held-a", "held-a-too")
    (other,) = await deployed(client, "held-a", "held-a", flow="scale_up")
    (strange,) = await deployed(client, "held-b", "held-b")
    await client.pause_deployment(turns[1])
    async with without_turns(client, await turns_of(client, "held-a"), asyncio.Event()):
        assert await paused(client, [*turns, other, strange]) == [True, True, False, False]
    assert await paused(client, [*turns, other, strange]) == [False, True, False, False]
    ours = await client.read_deployment(turns[0])
    assert [schedule.active for schedule in ours.schedules] == [True]


async def test_runs_that_are_late_do_not_start_meanwhile(client: PrefectClient) -> None:
    (turns,) = await deployed(client, "held-c", "held-c")

    async def left() -> int:
        return sum(run.deployment_id == turns for run in await client.read_flow_runs(limit=200))

    # As its scheduler makes them, hours ago.
    ago = datetime.now(UTC) - timedelta(hours=5)
    times = {"start_time": ago.isoformat(), "end_time": (ago + timedelta(hours=4)).isoformat(), "min_runs": 2}
    await client.request("POST", "/deployments/{id}/schedule", path_params={"id": turns}, json=times)
    assert await left() >= 2
    async with without_turns(client, await turns_of(client, "held-c"), asyncio.Event()):
        assert await left() == 0


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, typer.Exit])
async def test_whatever_ends_the_run_the_turns_come_again(client: PrefectClient, error: type[BaseException]) -> None:
    turns = await deployed(client, "held-d", "held-d")
    found = await turns_of(client, "held-d")
    with pytest.raises(error):
        async with without_turns(client, found, asyncio.Event()):
            raise error
    assert await paused(client, turns) == [False]


async def test_a_turn_that_has_begun_is_waited_for_unless_a_person_wants_an_end(client: PrefectClient) -> None:
    (turns,) = await deployed(client, "held-e", "held-e")
    run = await client.create_flow_run_from_deployment(turns)
    await client.set_flow_run_state(run.id, Running(), force=True)
    found, stop = await turns_of(client, "held-e"), asyncio.Event()

    async def hold() -> StateType | None:
        async with without_turns(client, found, stop):
            return (await client.read_flow_run(run.id)).state_type

    holding = asyncio.create_task(hold())
    await asyncio.wait([holding], timeout=1.0)
    assert not holding.done()
    assert await paused(client, [turns]) == [True]
    stop.set()
    assert await asyncio.wait_for(holding, timeout=10) is StateType.RUNNING
    assert await paused(client, [turns]) == [False]


async def test_a_fleet_that_is_not_there_is_refused_with_those_that_are(
    client: PrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await deployed(client, "held-f", "held-f", flow="scale_up")
    for name, code, words in (
        ("nobody", 2, "there is no fleet 'nobody'; there are: "),
        ("held-f", 4, "no deployment of autoscale runs fleet 'held-f'"),
    ):
        with pytest.raises(typer.Exit) as refused:
            await turns_of(client, name)
        assert refused.value.exit_code == code
        assert words in capsys.readouterr().err


def standing(*workers: tuple[str | None, float | None], usd_per_hour: float | None) -> Standing:
    turns = TurnsStanding(True, "", 60.0, 1.0, 2.0, "autoscale/demo")
    made = tuple(
        WorkerStanding(f"demo-{number}", "vast/a", "ready", 1.0, address, None, None, usd, None, "")
        for number, (address, usd) in enumerate(workers)
    )
    return Standing("demo", turns, 1, workers=made, usd_per_hour=usd_per_hour)


@pytest.mark.parametrize(
    ("found", "price"),
    [
        (standing(usd_per_hour=None), Price()),
        (standing(usd_per_hour=0.0), Price(0.0)),
        (standing((A, 0.4), (None, 0.3), usd_per_hour=0.8), Price(0.8, {A: 0.4})),
        (standing((f"{A}/", 0.4), usd_per_hour=0.4), Price(0.4, {A: 0.4})),
        (standing((A, 0.4), (B, None), usd_per_hour=0.4), Price(None, {A: 0.4})),
        (standing((A, None), usd_per_hour=0.0), Price()),
    ],
    ids=["no record", "no workers", "one starts, and storage", "a slash", "one is unknown", "all are unknown"],
)
async def test_a_fleet_costs_what_its_record_says_and_is_unknown_where_a_worker_is(
    found: Standing, price: Price
) -> None:
    assert price_of(found) == price


async def test_a_fleet_without_a_record_costs_nobody_knows_what(client: PrefectClient) -> None:
    assert await FleetPrice(client, "held-g")(3) == Price()


async def test_the_command_lets_the_turns_come_again_after_ctrl_c(
    client: PrefectClient, tmp_path: Path, prefect_environment: dict[str, str]
) -> None:
    turns = await deployed(client, "held-h", "held-h")
    with gateway_process(tmp_path) as gateway:
        key = gateway.endpoint()
        words = ["--rate", "5", "--seconds", "600", "--no-manage", "--fleet", "held-h"]
        with simulating(gateway, key, *words, environment=prefect_environment) as process:
            while not gateway.operator("GET", f"endpoints/{ENDPOINT}")["queued_requests"]:
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.1)
            assert await paused(client, turns) == [True]
            process.send_signal(signal.SIGINT)
            said, told = process.communicate(timeout=60)
    assert process.returncode == 1, said + told
    assert await paused(client, turns) == [False]
    assert "no turns until the end: autoscale/held-h" in told
    assert "cut off" in said
    assert "Traceback" not in told
