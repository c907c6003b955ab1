"""What is the scheduler's own: its interpreter, two connections, managers of one id, workers that hand tasks back."""

import json
import sys
from pathlib import Path

import anyio
import pytest

from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.asking import Scheduler
from ebbflow.adapters.masters.scaler.settings import ScalerSettings
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.core.plan import Want
from tests.adapters.masters.scaler.played_world import FLEET, HOME, SETTINGS, ScalerWorld

HEARTBEAT = {"manager_id": f"ebbflow.{FLEET}.{HOME}", "most_workers": 1}

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> ScalerWorld:
    return ScalerWorld()


def asking_with(python: str, **settings: object) -> ScalerAdapter:
    read = ScalerSettings.model_validate({**SETTINGS, "python": python, **settings})
    return ScalerAdapter(read, fleet=FLEET, home=HOME)


def test_a_worker_is_one_process_of_the_vendors_command_under_our_managers_id() -> None:
    assert asking_with(sys.executable).join_spec("demo-0abc-1-0").arguments == (
        "tcp://login1:2345",
        "--worker-manager-id=ebbflow.demo.h0me1",
        "--object-storage-address=tcp://login1:2346",
        "--mode=fixed",
        "--max-task-concurrency=1",
        "--worker-type=demo-0abc-1-0",
    )


@pytest.mark.parametrize(
    "address", ["login1:2345", "http://login1:2345", "tcp://login1", "tcp://login1:99999", "tcp://:1"]
)
@pytest.mark.parametrize("field", ["scheduler", "object_storage", "monitor"])
def test_an_address_that_is_none_is_refused(field: str, address: str) -> None:
    with pytest.raises(ValueError, match="is no address: tcp://HOST:PORT would be right"):
        ScalerSettings.model_validate({**SETTINGS, field: address})


@pytest.mark.parametrize(
    ("words", "said"), [(["gpu=0.5"], "takes whole amounts alone, such as gpu=4"), (["a b"], "expected a name")]
)
def test_capabilities_that_the_scheduler_cannot_be_told_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ScalerSettings.model_validate({**SETTINGS, "capabilities": words})


@pytest.mark.parametrize(
    ("scheduler", "monitor", "asked"),
    [
        ("tcp://login1:2345", None, "tcp://login1:2347"),
        ("tcp://[fd00::1]:2345", None, "tcp://[fd00::1]:2347"),
        ("tcp://login1:2345", "tcp://login1:9", "tcp://login1:9"),
    ],
)
def test_its_monitor_is_two_ports_above_where_nothing_is_said(scheduler: str, monitor: str | None, asked: str) -> None:
    settings = ScalerSettings.model_validate({**SETTINGS, "scheduler": scheduler, "monitor": monitor})
    assert settings.monitor_address == asked


async def test_an_interpreter_that_is_not_there_is_a_persons_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which cannot be run: No such file or directory"):
        await asking_with(str(tmp_path / "python")).probe()


async def test_an_interpreter_without_the_package_is_told_with_the_line_that_installs_it() -> None:
    with pytest.raises(ConfigError, match=r"-m pip install opengris-scaler==2\.9\.0"):
        await asking_with(sys.executable).probe()


async def test_a_program_that_hangs_is_ended_and_says_nothing_of_the_queue(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    demand = await asking_with(str(python), call_timeout_seconds=1).demand()
    assert (demand.complete, demand.detail) == (False, "scheduler tcp://login1:2345: no answer within 1 s")


async def test_what_the_schedulers_own_policy_wants_is_told_beside_the_queue(world: ScalerWorld) -> None:
    assert (await world.adapter().demand()).desired == (Want((), 0),)
    for _ in range(25):
        world.scheduler.submit()
    demand = await world.adapter().demand()
    assert (demand.queued, demand.running, demand.desired) == (25, 0, (Want((), 1),))


async def test_no_command_is_no_opinion_and_never_none_wanted(world: ScalerWorld) -> None:
    world.scheduler.has_opinion = False
    assert (await world.adapter().demand()).desired is None


async def test_a_second_manager_of_one_id_hears_nothing_and_says_so(world: ScalerWorld) -> None:
    await world.scheduler.run([], json.dumps({**HEARTBEAT, "identity": "somebody"}).encode(), {}, 1)
    demand = await world.adapter().demand()
    assert (demand.complete, demand.desired) == (True, None)
    assert "another one of this id speaks to it" in demand.detail


async def test_regression_two_calls_at_once_closed_each_others_connection(world: ScalerWorld) -> None:
    adapter, found = world.adapter(), list[bool]()

    async def look() -> None:
        found.append((await adapter.members()).complete)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(look)
    assert found == [True] * 20
    assert world.scheduler.most_at_once == 1
    assert world.scheduler.asked <= 2, "those who wait share an answer"


async def test_regression_behind_a_call_that_was_cancelled_others_got_an_answer_from_before_they_asked() -> None:
    may_end = [anyio.Event() for _ in range(3)]
    begun: list[int] = []

    async def run(*_: object) -> tuple[int, bytes, bytes]:
        number = len(begun)
        begun.append(number)
        await may_end[number].wait()
        return 0, json.dumps({"number": number}).encode(), b""

    scheduler = Scheduler(ScalerSettings.model_validate(SETTINGS), "ebbflow.demo.h0me1", run=run)
    found: list[object] = []

    async def ask(scope: anyio.CancelScope) -> None:
        with scope:
            found.append((await scheduler.ask())["number"])

    second = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        for scope in (anyio.CancelScope(), second, anyio.CancelScope()):
            group.start_soon(ask, scope)
            await anyio.wait_all_tasks_blocked()
        may_end[0].set()
        await anyio.wait_all_tasks_blocked()
        second.cancel()
        await anyio.wait_all_tasks_blocked()
        may_end[2].set()
    assert found == [0, 2]


async def test_a_monitor_that_is_closed_is_unknown(world: ScalerWorld) -> None:
    world.scheduler.is_monitor_closed = True
    assert not (await world.adapter().members()).complete
    with pytest.raises(MasterUnavailable, match="gave no account of its work in time"):
        await world.adapter().joined(await world.start_worker())


async def test_who_works_is_busy_to_a_drain_and_hands_its_task_back_when_it_is_ended(world: ScalerWorld) -> None:
    worker = await world.start_worker()
    await world.let_join(worker)
    task = world.scheduler.submit()
    assert await world.adapter().drain(worker, 60) is DrainAnswer.BUSY
    await world.end_worker(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.GONE
    demand = await world.adapter().demand()
    assert (demand.queued, demand.running, task.is_done) == (1, 0, False)


async def test_a_worker_that_was_killed_is_lost_before_the_scheduler_forgets_it(world: ScalerWorld) -> None:
    worker = await world.start_worker()
    await world.let_join(worker)
    world.scheduler.end_worker(world.workers[worker.worker_id], hands_back=False)
    await world.clock.advance(16)
    (member,) = (await world.adapter().members()).members
    assert member.state is MemberState.LOST
    await world.clock.advance(60)
    assert (await world.adapter().members()).members == ()
