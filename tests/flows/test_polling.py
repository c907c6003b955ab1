"""Polls between turns, on a real server: when they ask for a turn, and when for none."""

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from secrets import token_hex
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ebbflow.blocks import ScalerMaster, SwarmUIMaster
from ebbflow.contracts.ledger import claim_once, record_of
from ebbflow.core.member import Demand
from ebbflow.core.memory import Memory, Override, OverrideKind
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.deploying import switch_schedules
from ebbflow.flows.following import TAG
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.polling import AGAIN_SECONDS, ROUND_SECONDS, QueuePoller
from ebbflow.standins.http import serve
from ebbflow.standins.process import free_port
from tests.e2e.prefect_house import pass_time
from tests.making import fleet_of

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]

POLL_SECONDS, SOON_SECONDS = 5.0, 20.0
POLLS = int(ROUND_SECONDS / POLL_SECONDS)
LOG = logging.getLogger("ebbflow")


@dataclass
class Queue:
    """A master that plays what it was told, a poll after the other, and then the last of it."""

    waiting: Sequence[int | None] = (0,)
    """None: it fails."""
    asked: int = 0

    def routes(self) -> list[Route]:
        return [
            Route("/API/GetNewSession", self.session, methods=["POST"]),
            Route("/API/GetGlobalStatus", self.status, methods=["POST"]),
        ]

    async def session(self, request: Request) -> JSONResponse:
        return JSONResponse({"session_id": "s", "user_id": "u", "version": "0.9.8", "permissions": ["*"]})

    async def status(self, request: Request) -> JSONResponse:
        now = self.waiting[min(self.asked, len(self.waiting) - 1)]
        self.asked += 1
        counts = {"waiting_gens": now, "live_gens": 0, "loading_models": 0, "waiting_backends": now}
        return JSONResponse({"status": counts}) if now is not None else JSONResponse({}, status_code=500)


@dataclass
class Times:
    """A clock that only sleeping moves; what is given happens at its seconds."""

    then: dict[float, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    now: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at in sorted(at for at in self.then if at <= self.now):
            await self.then.pop(at)()


@dataclass
class Site:
    """One deployed fleet with one record, and its master."""

    client: PrefectClient
    fleet: Fleet
    pool: str
    deployment: DeploymentResponse
    queue: Queue
    environment: dict[str, str]

    async def round(self, *waiting: int | None, pool: str = "", **then: Callable[[], Awaitable[object]]) -> int:
        """What a new poller does in its first minute; how often the master was asked."""
        self.queue.waiting, self.queue.asked = waiting, 0
        times = Times({float(at.removeprefix("at_")): each for at, each in then.items()})
        await QueuePoller(self.client, pool or self.pool, LOG, clock=lambda: times.now, sleep=times.sleep).round()
        return self.queue.asked

    async def turn(self, number: int, *, queued: int = 0) -> None:
        """A turn that saw so much wait, just now."""
        record = record_of(self.fleet.name, number, demand=Demand(queued=queued))
        assert await claim_once(PrefectLedger(self.client), record)

    async def runs(self) -> list[FlowRun]:
        """What was asked for, the oldest first."""
        wanted = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[self.deployment.id]), tags=FlowRunFilterTags(all_=[TAG])
        )
        found = await self.client.read_flow_runs(flow_run_filter=wanted)
        return sorted(found, key=lambda run: run.created.timestamp() if run.created else 0.0)

    def pass_time(self, seconds: float) -> None:
        """Let all that the server holds of the fleet be so much older."""
        pass_time(self.environment, self.fleet.name, seconds)


@asynccontextmanager
async def deployed(
    client: PrefectClient, queue: Queue, environment: dict[str, str], *, pool: str = "", **given: Any
) -> AsyncIterator[Site]:
    name = f"polled-{token_hex(3)}"
    async with serve(Starlette(routes=queue.routes())) as url:
        await SwarmUIMaster(address=url, call_timeout_seconds=3).asave(name, client=client)
        usual = {"waiting_interval_seconds": SOON_SECONDS, "poll_interval_seconds": POLL_SECONDS}
        fleet = fleet_of(
            ("local-provider/a", 2), **{"name": name, "master": f"swarmui-master/{name}", **usual, **given}
        )
        if not pool:
            await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        schedule = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(days=9)), active=True)
        deployment = await client.create_deployment(
            await client.create_flow(autoscale),
            name,
            entrypoint="ebbflow.flows.autoscale.autoscale",
            schedules=[schedule],
            parameters={"fleet": fleet.model_dump(mode="json")},
            work_pool_name=pool or name,
        )
        site = Site(client, fleet, pool or name, await client.read_deployment(deployment), queue, environment)
        await site.turn(1)
        yield site
        await client.delete_deployment(site.deployment.id)
        if not pool:
            await client.delete_work_pool(name)


@pytest.fixture
async def site(prefect_server: str, prefect_environment: dict[str, str]) -> AsyncIterator[Site]:
    async with get_client() as client, deployed(client, Queue(), prefect_environment) as made:
        yield made


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "ebbflow")
    return lambda: [each.getMessage() for each in caplog.records if each.name == "ebbflow"]


def seconds_of(run: FlowRun) -> float:
    assert run.expected_start_time is not None
    return run.expected_start_time.timestamp()


async def test_work_that_begins_to_wait_brings_one_turn_at_once_however_often_and_by_whom_it_is_polled(
    site: Site,
) -> None:
    site.pass_time(40)
    assert await site.round(0) == POLLS
    assert await site.runs() == []
    now = await PrefectLedger(site.client).now()
    await site.round(0, 0, 3)
    await site.round(2, 0, 1)
    (run,) = await site.runs()
    assert seconds_of(run) == pytest.approx(now, abs=15)
    assert run.state is not None
    assert run.state.message == f"a poll after turn 1 saw work wait at {site.fleet.master} (queue 3)"
    await site.turn(2)
    site.pass_time(40)
    await site.round(0, 1)
    assert len(await site.runs()) == 2, "after the next turn one more may come"


async def test_soon_after_a_turn_it_waits_until_another_one_may_come(site: Site) -> None:
    claimed_at = await PrefectLedger(site.client).now()
    await site.round(1)
    (run,) = await site.runs()
    assert seconds_of(run) == pytest.approx(claimed_at + SOON_SECONDS, abs=3)


@pytest.mark.parametrize(("saw", "brings"), [(1, 1), (0, 2)], ids=["saw it", "had looked before it came"])
async def test_what_goes_on_waiting_brings_no_more_once_a_turn_has_seen_it(site: Site, saw: int, brings: int) -> None:
    site.pass_time(40)

    async def turn() -> None:
        await site.turn(2, queued=saw)
        site.pass_time(40)

    await site.round(1, at_20=turn)
    assert len(await site.runs()) == brings


async def test_a_master_that_does_not_answer_changes_nothing_and_is_told_of_once(
    site: Site, said: Callable[[], list[str]]
) -> None:
    site.pass_time(40)
    assert await site.round(1, None, None, 1) == POLLS + 1, "a question that fails is asked once more"
    assert len(await site.runs()) == 1, "nobody knows whether the work was gone meanwhile"
    (line,) = said()
    assert line.startswith(f"a poll of {site.fleet.master} tells nothing: ")


@pytest.mark.parametrize("what", ["another pool", "stopped", "stopped meanwhile", "changed meanwhile"])
async def test_nobody_asks_for_a_turn_of_another_pool_or_that_a_person_has_stopped_or_changed(
    site: Site, what: str
) -> None:
    site.pass_time(40)

    async def change() -> None:
        if what == "changed meanwhile":
            given = DeploymentUpdate(parameters={"fleet": {"name": "another"}})
            await site.client.update_deployment(site.deployment.id, given)
        else:
            await switch_schedules(site.client, {f"autoscale/{site.pool}": ()})

    if what == "stopped":
        await change()
    meanwhile = what.endswith("meanwhile")
    pool = "another" if what == "another pool" else site.pool
    asked = await site.round(0, 0, 1, pool=pool, **({"at_6": change} if meanwhile else {}))
    assert asked == (POLLS if meanwhile else 0)
    assert await site.runs() == []


async def test_regression_after_a_deploy_polls_did_nothing_until_the_queue_had_been_empty_once(site: Site) -> None:
    """While a file is deployed its schedules are off for some seconds, and then its fleet is another one."""
    site.pass_time(40)
    site.queue.waiting = (1,)
    times, anew = Times(), site.fleet.model_dump(mode="json") | {"interval_seconds": 50.0}

    async def deploy() -> None:
        await site.client.update_deployment(site.deployment.id, DeploymentUpdate(parameters={"fleet": anew}))

    poller = QueuePoller(site.client, site.pool, LOG, clock=lambda: times.now, sleep=times.sleep)
    await site.client.pause_deployment(site.deployment.id)
    await poller.round()
    assert times.now == ROUND_SECONDS, "there was none before"
    await site.client.resume_deployment(site.deployment.id)
    site.queue.waiting = (0, 0, 1)
    site.queue.asked = 0
    times.then = {times.now + POLL_SECONDS + 1: deploy}
    await poller.round()
    assert await site.runs() == [], "nobody knows yet what it is now"
    await site.client.pause_deployment(site.deployment.id)
    began_at = times.now
    await poller.round()
    assert times.now == began_at + AGAIN_SECONDS
    await site.client.resume_deployment(site.deployment.id)
    await poller.round()
    assert len(await site.runs()) == 1


async def test_a_fleet_that_is_polled_seldom_keeps_nobody_from_polling_the_others(
    site: Site, prefect_environment: dict[str, str]
) -> None:
    times, seldom = Times(), Queue()
    async with deployed(
        site.client, seldom, prefect_environment, interval_seconds=600, poll_interval_seconds=150, pool=site.pool
    ):
        poller = QueuePoller(site.client, site.pool, LOG, clock=lambda: times.now, sleep=times.sleep)
        for _ in range(4):
            await poller.round()
    # Both move the one clock, so that some polls of the first fall together.
    assert (times.now, seldom.asked) == (4 * ROUND_SECONDS, 2)
    assert site.queue.asked > 3 * POLLS


async def test_nobody_asks_for_a_turn_of_a_fleet_that_a_person_holds(site: Site) -> None:
    held = Override("h", OverrideKind.PAUSE, 0, "somebody", "", 3600.0)
    record = replace(record_of(site.fleet.name, 2), memory=Memory(overrides=(held,)))
    assert await claim_once(PrefectLedger(site.client), record)
    site.pass_time(40)
    assert await site.round(1) == POLLS
    assert await site.runs() == []


async def test_a_fleet_that_asks_for_no_polls_or_whose_master_takes_none_is_left_alone(
    prefect_server: str, prefect_environment: dict[str, str], said: Callable[[], list[str]]
) -> None:
    async with get_client() as client:
        async with deployed(client, Queue(), prefect_environment, poll_interval_seconds=None) as site:
            assert await site.round(1) == 0
        alone = ScalerMaster(scheduler=f"tcp://127.0.0.1:{free_port()}", python=sys.executable)
        await alone.asave("unpolled", overwrite=True, client=client)
        async with deployed(client, Queue(), prefect_environment, master="scaler-master/unpolled") as site:
            assert await site.round(1) == 0
        assert said() == []
        async with deployed(client, Queue(), prefect_environment, master="scaler-master/nobody") as site:
            assert await site.round(1) == 0
            assert [line.partition(": ")[0] for line in said()] == [
                f"fleet {site.fleet.name} is not polled until the next look at what is deployed"
            ]


async def test_a_server_that_is_away_costs_a_minute_of_polls(said: Callable[[], list[str]]) -> None:
    times = Times()
    async with PrefectClient(f"http://127.0.0.1:{free_port()}/api") as away:
        await QueuePoller(away, "pool", LOG, clock=lambda: times.now, sleep=times.sleep).round()
    assert times.now == ROUND_SECONDS
    assert [line.partition(": ")[0] for line in said()] == ["nobody polls until the next look at what is deployed"]
