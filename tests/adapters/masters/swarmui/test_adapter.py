"""The SwarmUI master against the stand-in: the contract, and who may ask it what, how often and for how long."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings, backend_settings
from ebbflow.contracts import SessionContract
from ebbflow.contracts.master import worker_at
from ebbflow.core.errors import ConfigError, MasterRejected, RegistrationRejected
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.swarmui.sessions import Access
from tests.adapters.masters.swarmui.played_master import (
    CALL_SECONDS,
    FLEET,
    HANG_SECONDS,
    HOME,
    SwarmUIWorld,
    mocked,
    opened_world,
    ready,
)

pytestmark = pytest.mark.anyio


class TestSwarmUI(SessionContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[SwarmUIWorld]:
        async with opened_world(tmp_path) as world:
            yield world


async def test_a_worker_with_the_address_of_the_master_is_refused_and_never_shut_down(world: SwarmUIWorld) -> None:
    itself = worker_at("sdxl-0abc-1-0", world.address)
    with pytest.raises(RegistrationRejected, match="master's own address"):
        await world.adapter().register(itself)
    await world.adapter().shut_down(itself)
    assert world.entries() == []
    assert world.master.app.requests_for("ShutdownServer") == []


async def test_the_master_is_known_under_another_address_also_after_its_restart(world: SwarmUIWorld) -> None:
    itself = worker_at("sdxl-0abc-1-0", world.address.replace("127.0.0.1", "localhost"))
    await world.adapter().probe()
    world.master.app.server_id = "made anew when the process starts"
    await world.adapter().keepalive([itself])  # a session of its own, whose server id is newer than the master's
    with pytest.raises(RegistrationRejected, match="master's own address"):
        await world.adapter().register(itself)
    await world.adapter().shut_down(itself)
    assert world.entries() == []
    assert world.master.app.requests_for("ShutdownServer") == []


async def test_locked_settings_are_a_matter_for_a_person(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.are_settings_locked = True
    with pytest.raises(ConfigError, match="--lock_settings"):
        await world.adapter().probe()
    with pytest.raises(ConfigError, match="--lock_settings"):
        await world.adapter().register(await world.start_worker())


@pytest.mark.parametrize(
    "permission",
    ["view_backends_list", "add_remove_backends", "edit_backends", "toggle_backends", "read_server_info_panels"],
)
async def test_a_missing_permission_is_a_matter_for_a_person_until_it_is_given(
    world: SwarmUIWorld, permission: str
) -> None:
    needed = {"view_backends_list", "add_remove_backends", "edit_backends", "toggle_backends"}
    granted = frozenset(needed | {"read_server_info_panels"})
    world.master.app.access = Access(permissions=granted - {permission})
    for _ in range(2):
        with pytest.raises(ConfigError, match=permission):
            await world.adapter().probe()
    world.master.app.access = Access(permissions=granted)
    assert (await world.adapter().probe()).reachable
    assert world.sessions_given() == 1
    assert world.entries() == []


async def test_a_wrong_token_is_a_matter_for_a_person_and_is_never_shown(world: SwarmUIWorld) -> None:
    world.master.app.access = Access(token="the-right-one")
    adapter = world.adapter(token="the-wrong-one")
    with pytest.raises(ConfigError, match="swarm_token") as caught:
        await adapter.probe()
    assert "the-wrong-one" not in repr(caught.value)
    assert (await world.adapter(token="the-right-one").probe()).version


async def test_a_forgotten_session_is_renewed_once(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.sessions.expire_all()
    assert (await world.adapter().demand()).complete
    assert world.sessions_given() == 2


async def test_a_session_that_is_forgotten_at_once_is_not_renewed_in_a_loop() -> None:
    calls = []

    def forgetful(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        if request.url.path.endswith("GetNewSession"):
            return httpx.Response(200, json={"session_id": "a" * 40, "permissions": ["*"]})
        return httpx.Response(401, json={"error_id": "invalid_session_id", "error": "Invalid session ID."})

    adapter = mocked(forgetful)
    demand = await adapter.demand()
    await adapter.aclose()
    assert not demand.complete
    assert [path.rsplit("/")[-1] for path in calls] == ["GetNewSession", "GetGlobalStatus"] * 2


async def test_calls_at_the_same_time_share_one_session(world: SwarmUIWorld) -> None:
    adapter = world.adapter()
    await asyncio.gather(adapter.probe(), adapter.demand(), adapter.members())
    world.master.app.sessions.expire_all()
    await asyncio.gather(adapter.probe(), adapter.demand(), adapter.members())
    assert world.sessions_given() == 2


async def test_an_old_master_tells_demand_by_its_users(world: SwarmUIWorld) -> None:
    world.master.app.faults.add(Fault(FaultKind.BAD_ROUTE, "GetGlobalStatus"))
    assert (await world.adapter().demand()).complete
    assert world.master.app.requests_for("ListConnectedUsers")


async def test_an_error_with_status_200_is_an_error(world: SwarmUIWorld) -> None:
    world.master.app.faults.add(Fault(FaultKind.ERROR, text="the disk is full"))
    assert "the disk is full" in (await world.adapter().demand()).detail
    assert "the disk is full" in (await world.adapter().members()).detail
    assert "the disk is full" in (await world.adapter().probe()).detail
    with pytest.raises(MasterRejected, match="the disk is full"):
        await world.adapter().drain(worker_at("sdxl-0abc-1-0", None), 60)


async def test_one_temporary_failure_of_a_look_is_not_seen(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.faults.add(Fault(FaultKind.FAIL, "GetGlobalStatus", times=1))
    assert (await world.adapter().demand()).complete


async def test_a_slow_master_is_waited_for_only_so_long(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.faults.add(Fault(FaultKind.SLOW, seconds=3600))
    began = time.monotonic()
    demand = await world.adapter(call_timeout_seconds=HANG_SECONDS).demand()
    assert not demand.complete
    assert time.monotonic() - began < CALL_SECONDS


async def test_waiting_and_running_images_are_counted_apart(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    demand = await world.adapter().demand()
    (member,) = (await world.adapter().members()).members
    assert (demand.queued, demand.running, demand.shapes) == (0, 1, ())
    assert (member.busy, member.idle_seconds) == (True, None)
    assert await world.finish_work()
    await world.clock.advance(90)
    (member,) = (await world.adapter().members()).members
    assert member.busy is False
    assert member.idle_seconds is not None
    assert 89 <= member.idle_seconds <= 120
    assert member.model == "sdxl.safetensors"


async def test_fifty_workers_of_which_half_hang_fit_into_one_call(world: SwarmUIWorld) -> None:
    workers = await world.start_registered(50)
    await world.adapter(call_timeout_seconds=30).keepalive(workers)
    for worker in workers[:25]:
        world.workers[worker.worker_id].app.faults.add(Fault(FaultKind.HANG))
    # On a loaded machine those that live need longer; nobody may take longer than a call altogether.
    for seconds in (4, 12, 36):
        adapter = world.adapter(call_timeout_seconds=seconds)
        began = time.monotonic()
        taken = await adapter.keepalive(workers)
        assert time.monotonic() - began < adapter.caps.call_seconds
        began = time.monotonic()
        listing = await adapter.members()
        assert time.monotonic() - began < adapter.caps.call_seconds
        busy = sorted(str(member.busy) for member in listing.members)
        answered = [taken[worker.worker_id] for worker in workers]
        if (answered, busy) == ([False] * 25 + [True] * 25, ["False"] * 25 + ["None"] * 25):
            return
    pytest.fail(f"{answered} {busy} {listing.detail}")


@pytest.mark.parametrize("workers", [1, 50])
async def test_a_turn_asks_the_master_three_times_and_each_worker_once(world: SwarmUIWorld, workers: int) -> None:
    await world.start_registered(workers)
    world.settings["call_timeout_seconds"] = 5
    await asyncio.gather(world.adapter().probe(), world.adapter().members())  # sessions are kept between turns
    before = requests_to_all(world)
    adapter = world.adapter()
    await adapter.probe()
    await adapter.demand()
    assert len((await adapter.members()).members) == workers
    assert requests_to_all(world) - before == 3 + workers


def requests_to_all(world: SwarmUIWorld) -> int:
    """Requests of the adapter; the master's own to its workers look the same but for one route."""
    to_workers = sum(len(worker.app.requests_for("GetGlobalStatus")) for worker in world.workers.values())
    return len(world.master.app.requests) + to_workers


async def test_no_secret_is_in_any_error_repr_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="ebbflow")
    secrets = ["tok-master", "tok-worker", "tok-auth", "tok-other"]
    session_id = "5e55" * 10

    def gossip(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("GetNewSession"):
            return httpx.Response(200, json={"session_id": session_id, "permissions": ["*"]})
        said = f"{dict(request.headers)} {request.content.decode()} {request.headers.get('cookie')} tok-auth"
        return httpx.Response(200, json={"error": said[-150:]})

    settings = {
        "token": "tok-master",
        "worker_token": "tok-worker",
        "authorization_header": "Bearer tok-auth",
        "other_headers": {"X-Key": "tok-other"},
    }
    adapter = mocked(gossip, **settings)
    worker = worker_at("sdxl-0abc-1-0", "http://worker:7801")
    shown = [repr(adapter), repr(vars(adapter)), (await adapter.demand()).detail, (await adapter.members()).detail]
    shown += [(await adapter.probe()).detail, (await adapter.register(worker)).detail]
    await adapter.keepalive([worker])
    for call in (adapter.deregister(worker), adapter.drain(worker, 60)):
        with pytest.raises(MasterRejected) as caught:
            await call
        shown.append(repr(caught.value))
    await adapter.aclose()
    text = " ".join([*shown, caplog.text])
    assert "***" in text
    assert [secret for secret in [*secrets, session_id] if secret in text] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "ftp://master"},
        {"address": "http://user:s3cret@master:7801"},
        {"address": "http://master:7801/?token=s3cret"},
        {"token": "s3cret word"},
        {"token": "s3cret;"},
        {"worker_token": "s3cret:x"},
        {"authorization_header": "s3cret\nHost: other"},
        {"other_headers": {"X Key": "s3cret"}},
        {"other_headers": {"Cookie": "s3cret"}},
        {"other_headers": {"X-Key": "s3cret:colon"}},
        {"require_control_within_minutes": 2},
        {"unknown": "s3cret"},
    ],
)
def test_wrong_settings_are_refused_without_being_quoted(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        SwarmUISettings.model_validate({"address": "http://master:7801", **wrong})
    assert "s3cret" not in str(caught.value)


def test_settings_become_caps_arguments_and_backends() -> None:
    settings = SwarmUISettings(
        address=" https://master/swarm/ ", worker_token=SecretStr("w"), require_control_within_minutes=7
    )
    adapter = SwarmUIAdapter(settings, fleet=FLEET, home=HOME, sessions=InMemorySessionStore())
    assert settings.address == "https://master/swarm"
    assert adapter.join_spec("sdxl-0abc-1-0").arguments == ("--require_control_within", "7")
    assert adapter.caps.needs_keepalive_seconds == 420
    assert not adapter.caps.can_start_from_zero
    assert adapter.caps.call_seconds == 10
    assert backend_settings(settings, "http://w:1")["OtherHeaders"] == "Cookie: swarm_token=w"
