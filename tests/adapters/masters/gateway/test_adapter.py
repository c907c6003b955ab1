"""What is the gateway's own: units of work, leases, tokens, an endpoint that must be there, workers' addresses."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ebbflow.adapters.masters.gateway.answers import parse_demand, parse_rows
from ebbflow.adapters.masters.gateway.settings import GatewaySettings
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.member import MemberState
from tests.adapters.masters.gateway.gateway_world import ENDPOINT, SECRET, SETTINGS, GatewayWorld, gateway_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite'}") as world:
        yield world


async def routed(world: GatewayWorld, **more: object) -> dict[str, Any]:
    return dict((await world._http.post("/route/", json={"endpoint": ENDPOINT, "api_key": world.key, **more})).json())


async def test_work_is_told_in_requests_and_in_units_and_a_workers_speed_with_it(world: GatewayWorld) -> None:
    worker = await world.start_worker()
    await world.adapter().register(worker)
    assert "url" in await routed(world, cost=30)
    await world.operator("PUT", f"workers/{worker.worker_id}/drain")
    assert "url" not in await routed(world, cost=7)
    demand = await world.adapter().demand()
    assert (demand.queued, demand.queued_units, demand.running, demand.arrived) == (1, 7.0, 1, 2)
    (member,) = (await world.adapter().members()).members
    assert (member.units_per_second, member.busy, member.state) == (50.0, True, MemberState.DRAINING)


async def test_one_that_reports_its_first_error_has_a_while_to_start_itself_anew_and_is_broken_at_the_next(
    world: GatewayWorld,
) -> None:
    worker = await world.start_worker()
    await world.adapter().register(worker)

    async def seen(**settings: float) -> tuple[MemberState, str]:
        (member,) = (await world.adapter(**settings).members()).members
        return member.state, member.broken

    await world.fail(worker, "CUDA error")
    assert await seen() == (MemberState.JOINING, "")
    assert await seen(restart_seconds=0) == (MemberState.JOINING, "CUDA error"), "it is given no time"
    world.now += 20
    await world.start_anew(worker)
    assert await seen() == (MemberState.READY, "")
    await world.fail(worker, "out of memory")
    assert await seen() == (MemberState.JOINING, "out of memory"), "that was its second"


async def test_one_whose_first_error_lasts_is_broken(world: GatewayWorld) -> None:
    worker = await world.start_worker()
    await world.adapter().register(worker)
    await world.fail(worker, "CUDA error")
    for _ in range(18):
        world.now += 10
        await world._report(worker.worker_id)
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.broken) == (MemberState.JOINING, "CUDA error")


async def test_a_worker_is_started_with_its_own_token_and_told_where_to_report(world: GatewayWorld) -> None:
    spec = world.adapter(report_address="https://gw.example/").join_spec("demo-0abc-1-7")
    assert spec.environment["REPORT_ADDR"] == "https://gw.example"
    assert spec.environment["MASTER_TOKEN"].startswith("demo-0abc-1-7.")
    assert SECRET not in str(spec)


async def test_clients_are_sent_to_a_worker_while_turns_renew_its_lease(world: GatewayWorld) -> None:
    worker = await world.start_worker()
    await world.adapter(lease_seconds=60).register(worker)
    for _ in range(3):
        world.now += 30
        await world._report(worker.worker_id)
        assert await world.adapter(lease_seconds=60).keepalive([worker]) == {worker.worker_id: True}
        assert "url" in await routed(world)
    world.now += 61
    await world._report(worker.worker_id)
    assert "url" not in await routed(world)


async def test_one_that_says_another_address_than_its_providers_is_not_ready(world: GatewayWorld) -> None:
    worker = await world.start_worker()
    await world.adapter().register(worker)
    world._workers[worker.worker_id]["url"] = "http://evil.example:3000"
    await world._report(worker.worker_id)
    (member,) = (await world.adapter().members()).members
    assert member.state is MemberState.JOINING


async def test_an_endpoint_that_is_not_there_is_a_persons_to_make(world: GatewayWorld) -> None:
    with pytest.raises(ConfigError, match="has no endpoint 'other': make it"):
        await world.adapter(endpoint="other").probe()
    demand = await world.adapter(endpoint="other").demand()
    assert not demand.complete, "nobody knows what would wait"


async def test_a_wrong_key_is_a_persons_to_mend_and_is_in_no_error(world: GatewayWorld) -> None:
    with pytest.raises(ConfigError, match="set operator_key to EBBFLOW_GATEWAY_OPERATOR_KEY") as error:
        await world.adapter(operator_key="x" * 40).probe()
    assert "x" * 40 not in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"worker_secret": "short"}, "at least 32 letters"),
        ({"endpoint": "a b"}, "endpoint is 1 to 40 of"),
        ({"address": "gateway"}, "address"),
        ({"lease_seconds": 5}, "lease_seconds"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        GatewaySettings.model_validate({**SETTINGS, **change})
    assert "short" not in str(error.value), "a secret may stand in the wrong field"


ROW = {"worker_id": "demo-0abc-1-0", "home": "h0me1", "url": "http://10.0.0.1:3000", "report_age_seconds": 3}
FIGURES = {
    "queued_requests": 0,
    "in_flight_requests": 0,
    "queued_units": 0,
    "arrived": 0,
    "served": 0,
    "served_units": 0,
}


@pytest.mark.parametrize(
    ("changes", "state", "busy"),
    [
        ({"ready": True, "busy": False}, MemberState.READY, False),
        ({"ready": False, "busy": False}, MemberState.JOINING, False),
        ({"ready": True, "busy": True, "is_draining": True}, MemberState.DRAINING, True),
        ({"ready": True, "busy": None}, MemberState.READY, None),
        # Old news of it is none.
        ({"ready": True, "busy": False, "report_age_seconds": 36}, MemberState.LOST, None),
        ({"ready": True, "busy": False, "report_age_seconds": None}, MemberState.LOST, None),
        ({"busy": False, "is_draining": True, "report_age_seconds": 36}, MemberState.DRAINING, None),
        ({"ready": "yes", "busy": "no"}, MemberState.JOINING, None),
    ],
)
def test_a_row_is_a_member(changes: dict[str, Any], state: MemberState, busy: bool | None) -> None:
    (row,) = parse_rows({"workers": [ROW | changes]}, restart_seconds=180)
    assert (row.member.state, row.member.busy) == (state, busy)


@pytest.mark.parametrize("rows", [None, {}, ["x"], [{"worker_id": 7}], [ROW | {"home": None}]], ids=str)
def test_a_list_with_a_hole_is_unknown_as_a_whole(rows: object) -> None:
    with pytest.raises(MasterUnavailable, match="the gateway"):
        parse_rows({"workers": rows}, restart_seconds=180)


@pytest.mark.parametrize("key", sorted(FIGURES))
@pytest.mark.parametrize("value", [None, "many", True, -1, float("inf"), 1e16], ids=str)
def test_a_figure_that_is_none_makes_demand_unknown(key: str, value: object) -> None:
    assert parse_demand(FIGURES).total == 0
    with pytest.raises(MasterUnavailable, match=f"as {key}"):
        parse_demand(FIGURES | {key: value})
