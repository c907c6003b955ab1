"""What is Ray's own: tokens, drains that it refuses, heads that are dead and answer, nodes with one label."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from ebbflow.adapters.masters.ray.settings import RaySettings
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.member import DrainAnswer, MemberState, Shape
from ebbflow.core.worker import Mark, Worker
from ebbflow.standins.ray.head import Task
from tests.adapters.masters.ray.played_head import CALL_SECONDS, HANG_SECONDS, RayWorld, ray_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world() -> AsyncIterator[RayWorld]:
    async with ray_world() as world:
        yield world


async def joined(world: RayWorld) -> Worker:
    worker = await world.start_worker()
    await world.let_join(worker)
    await world.clock.advance(15)
    assert (await world.adapter().joined(worker)).registered
    return worker


def test_a_worker_is_started_with_its_labels_and_no_secret() -> None:
    from ebbflow.adapters.masters.ray.adapter import RayAdapter

    settings = RaySettings(address="http://login1:8265/", join_address="login1:6379", token=SecretStr("s3cret-token"))
    spec = RayAdapter(settings, fleet="sdxl", home="h0me1").join_spec("sdxl-0abc-1-0")
    assert spec.arguments == (
        "--address=login1:6379",
        "--labels=autoscaler.worker/id=sdxl-0abc-1-0,autoscaler.worker/fleet=sdxl,autoscaler.worker/home=h0me1",
        "--node-name=sdxl-0abc-1-0",
        "--temp-dir=/tmp/ray-8916180b",
        "--block",
    )
    # With it said, Ray makes no token of its own.
    assert spec.environment == {"RAY_AUTH_MODE": "token"}
    assert "s3cret" not in repr(spec) + repr(settings)


def test_regression_of_several_workers_that_one_host_started_at_once_a_single_one_joined() -> None:
    from ebbflow.adapters.masters.ray.adapter import RayAdapter

    settings = RaySettings(address="http://login1:8265/", join_address="login1:6379", temp_folder="/scratch/")
    adapter = RayAdapter(settings, fleet="sdxl", home="h0me1")
    folders = {adapter.join_spec(f"sdxl-0abc-1-{index}").arguments[3] for index in range(100)}
    assert len(folders) == 100, "sockets of each are in a folder of its own"
    assert all(re.fullmatch(r"--temp-dir=/scratch/ray-[0-9a-f]{8}", folder) for folder in folders)


@pytest.mark.parametrize("folder", ["tmp", "/a folder", "/" + 30 * "a", "", "/tmp;ls"])
def test_a_temporary_folder_that_cannot_be_one_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="temp_folder"):
        RaySettings(address="http://login1:8265", join_address="login1:6379", temp_folder=folder)


@pytest.mark.parametrize(
    "address", ["http://login1:6379", "login1", "login1:port", "", "login1:6379/x", "a b:1", "login1:99999", "login1:0"]
)
def test_an_address_to_join_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="join_address is host:port, for instance login1:6379, without a scheme"):
        RaySettings(address="http://login1:8265", join_address=address)


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ("right", None, "HTTP 401: it asks for a token: set the master's token to that of RAY_AUTH_MODE=token"),
        ("right", "wrong", "HTTP 403: it does not take this token: set the one that the head was started with"),
    ],
)
async def test_a_missing_or_wrong_token_is_a_persons_to_mend(
    world: RayWorld, theirs: str, ours: str | None, said: str
) -> None:
    world.head.token, world.token = theirs, ours
    with pytest.raises(ConfigError, match=said) as refused:
        await world.adapter().probe()
    assert "wrong" not in str(refused.value)
    demand = await world.adapter().demand()
    assert (demand.complete, said in demand.detail) == (False, True)


async def test_with_the_right_token_all_is_well(world: RayWorld) -> None:
    world.head.token = world.token = "r1ght"
    health = await world.adapter().probe()
    assert (health.reachable, health.version) == (True, "2.60.0")


async def test_a_dead_head_still_tells_its_version_and_is_not_reachable(world: RayWorld) -> None:
    world.head.is_dead, world.call_seconds = True, HANG_SECONDS
    health = await world.adapter().probe()
    assert (health.reachable, health.version) == (False, "")


async def test_in_a_heads_first_seconds_demand_is_unknown(world: RayWorld) -> None:
    world.head.restart()
    world.head.submit({"GPU": 1.0})
    demand = await world.adapter().demand()
    assert (demand.complete, demand.detail) == (
        False,
        "the Ray head has not counted yet: it does so some seconds after its start",
    )


async def test_twenty_thousand_waiting_tasks_are_two_shapes(world: RayWorld) -> None:
    world.head.tasks.extend(Task({"GPU": 1.0}) for _ in range(20_000))
    world.head.submit({"GPU": 64.0})
    await world.clock.advance(6)
    demand = await world.adapter().demand()
    assert demand.shapes == (Shape(("gpu",), 20_000, kind="task"), Shape(("gpu=64",), 1, kind="task"))


async def test_ray_refuses_to_drain_who_works_and_the_work_goes_on(world: RayWorld) -> None:
    worker = await joined(world)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.BUSY
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.READY, True)
    assert await world.finish_work()
    # A refusal stands in the way of no later try.
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    await world.clock.advance(3)
    assert (await world.adapter().members()).members == ()


@pytest.mark.parametrize(
    ("has_notice", "answer", "state"),
    [(False, DrainAnswer.BUSY, MemberState.READY), (True, DrainAnswer.ACCEPTED, MemberState.DRAINING)],
    ids=["a row calls it failed", "its time limit is near"],
)
async def test_who_works_is_drained_only_where_its_provider_has_given_notice(
    world: RayWorld, has_notice: bool, answer: DrainAnswer, state: MemberState
) -> None:
    worker = await joined(world)
    await world.make_busy(worker)
    marked = replace(worker, mark=Mark(1, "why", 60, urgent=True, has_notice=has_notice))
    assert await world.adapter().drain(marked, 60) is answer
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (state, True)


async def test_a_node_that_is_drained_is_gone_for_ray_though_its_process_goes_on(world: RayWorld) -> None:
    worker = await joined(world)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    await world.clock.advance(3)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.GONE
    assert world.nodes[worker.worker_id].has_process, "it is paid for until its provider ends it"


async def test_ray_accepts_the_drain_of_a_node_that_it_does_not_know_and_we_ask_for_none(world: RayWorld) -> None:
    never = await world.start_worker()
    assert await world.adapter().drain(never, 60) is DrainAnswer.GONE
    assert world.head.jobs == {}


async def test_a_head_without_the_command_is_a_persons_to_mend(world: RayWorld) -> None:
    worker = await joined(world)
    world.head.has_command = False
    with pytest.raises(ConfigError, match="it has no `ray` on its PATH, so that no worker can be drained"):
        await world.adapter().drain(worker, 60)


async def test_regression_no_drain_ever_began_at_the_second_head_of_a_host(world: RayWorld) -> None:
    worker = await joined(world)
    world.head.has_agent, world.call_seconds = False, HANG_SECONDS
    with pytest.raises(MasterUnavailable, match=r"another Ray head .* start it with --dashboard-agent-listen-port=0"):
        await world.adapter().drain(worker, 60)
    world.head.has_agent, world.call_seconds = True, CALL_SECONDS
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED


async def test_a_worker_whose_drain_goes_on_is_not_drained_again_in_each_turn(world: RayWorld) -> None:
    worker = await joined(world)
    await world.make_busy(worker)
    for _ in range(3):
        assert await world.adapter().drain(worker, 600, force=True) is DrainAnswer.ACCEPTED
    assert len(world.head.jobs) == 1


async def test_two_nodes_with_one_id_are_told_and_both_drained(world: RayWorld) -> None:
    worker = await joined(world)
    await world.duplicate(worker)
    found = await world.adapter().members()
    assert [member.duplicate for member in found.members] == [True, True]
    assert found.detail == f"{worker.worker_id} is 2 nodes"
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    await world.clock.advance(3)
    assert (await world.adapter().members()).members == ()


async def test_a_proxy_in_the_place_of_the_head_is_named(world: RayWorld) -> None:
    world.head.body = "[]"
    with pytest.raises(MasterUnavailable, match="no JSON object; is this the address of a Ray dashboard"):
        await world.adapter().joined(await world.start_worker())
