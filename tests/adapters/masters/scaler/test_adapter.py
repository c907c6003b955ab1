"""What is the scheduler's own: its interpreter, two connections, managers of one id, workers that hand tasks back."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.asking import Scheduler
from ebbflow.adapters.masters.scaler.settings import ScalerSettings, Wire
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.core.plan import Want
from ebbflow.standins.scaler.scheduler import PlayedGroupScheduler
from tests.adapters.masters.scaler.played_world import FLEET, HOME, SETTINGS, ScalerWorld

HEARTBEAT = {"manager_id": f"ebbflow.{FLEET}.{HOME}", "most_workers": 1, "workers_per_group": 1, "speaks": True}

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> ScalerWorld:
    return ScalerWorld()


def asking_with(python: str, **settings: object) -> ScalerAdapter:
    read = ScalerSettings.model_validate({**SETTINGS, "python": python, **settings})
    return ScalerAdapter(read, fleet=FLEET, home=HOME)


def test_a_worker_is_one_process_of_the_vendors_command_under_our_managers_id() -> None:
    assert asking_with(sys.executable).join_spec("demo-0abc-1-0").arguments == (
        "tcp://10.1.0.5:2345",
        "--object-storage-address=tcp://10.1.0.5:2346",
        "--worker-manager-id=ebbflow.demo.h0me1",
        "--mode=fixed",
        "--max-task-concurrency=1",
        "--worker-type=demo-0abc-1-0+h0me1",
    )


def test_a_worker_of_1_15_has_everything_in_its_name() -> None:
    adapter = asking_with(sys.executable, wire="1.15", workers_per_group=2)
    assert adapter.join_spec("demo-0abc-1-0", ("cpu=4", "gpu")).arguments == (
        "tcp://10.1.0.5:2345",
        "--object-storage-address=tcp://10.1.0.5:2346",
        "--num-of-workers=2",
        "--worker-names=demo-0abc-1-0+h0me1+cpu=4+gpu,demo-0abc-1-0+h0me1+cpu=4+gpu",
        "--per-worker-capabilities=cpu=4,gpu=1",
    )


def test_a_worker_tells_what_its_provider_gives_and_no_part_of_anything() -> None:
    adapter = asking_with(sys.executable)
    assert adapter.join_spec("demo-0abc-1-0", ("gpu=2",)).arguments[-1] == "--per-worker-capabilities=gpu=2"
    with pytest.raises(ConfigError, match=r"capability 'gpu': the scheduler takes whole amounts"):
        adapter.join_spec("demo-0abc-1-0", ("gpu=0.5",))


@pytest.mark.parametrize(
    "address",
    [
        "10.1.0.5:2345",
        "http://10.1.0.5:2345",
        "tcp://10.1.0.5",
        "tcp://10.1.0.5:65534",
        "tcp://:1",
        "tcp://login1:2345",
        "tcp://localhost:2345",
        "tcp://10.1.0:1",
        "tcp://[fd00:1",
    ],
)
@pytest.mark.parametrize("field", ["scheduler", "object_storage", "monitor"])
def test_an_address_that_is_none_is_refused(field: str, address: str) -> None:
    with pytest.raises(ValueError, match="is no address: tcp://IP:PORT would be right"):
        ScalerSettings.model_validate({**SETTINGS, field: address})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpu=0.5"], "takes whole amounts from 1 to 2147483647 alone, such as gpu=4"),
        (["gpu=0"], "takes whole amounts"),
        (["gpu=99999999999999999999"], "takes whole amounts"),
        (["a b"], "expected a name"),
    ],
)
def test_capabilities_that_the_scheduler_cannot_be_told_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ScalerSettings.model_validate({**SETTINGS, "capabilities": words})


@pytest.mark.parametrize(
    ("scheduler", "monitor", "asked"),
    [
        ("tcp://10.1.0.5:2345", None, "tcp://10.1.0.5:2347"),
        ("tcp://[fd00::1]:2345", None, "tcp://[fd00::1]:2347"),
        ("tcp://10.1.0.5:2345", "tcp://10.1.0.5:9", "tcp://10.1.0.5:9"),
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


@pytest.mark.parametrize(
    ("wire", "line"),
    [("2.9", r"opengris-scaler==2\.9\.0"), ("1.15", r"opengris-scaler==1\.15\.0 ConfigArgParse==1\.7\.1")],
)
async def test_each_release_is_asked_by_a_program_of_its_own(wire: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"can ask a scheduler of {wire} .*-m pip install {line}$"):
        await asking_with(sys.executable, wire=wire).probe()


async def test_what_the_packages_own_library_writes_before_the_answer_is_passed_over(world: ScalerWorld) -> None:
    _, said, _ = await world.scheduler.run([], json.dumps({**HEARTBEAT, "identity": "x"}).encode(), {}, 1)
    world.scheduler.answer = 0, b"2026-11-29 ERROR scaler[1]: something\n" + said + b"\n", b""
    assert (await world.adapter().demand()).complete
    world.scheduler.answer = 0, b"2026-11-29 ERROR scaler[1]: Invalid YMQ magic string received\n", b""
    demand = await world.adapter().demand()
    assert not demand.complete
    assert demand.detail.endswith("is no JSON object; is it of release 2.9?")


async def test_a_program_that_hangs_is_ended_and_says_nothing_of_the_queue(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    demand = await asking_with(str(python), call_timeout_seconds=3).demand()
    assert (demand.complete, demand.detail) == (False, "scheduler tcp://10.1.0.5:2345: no answer within 3 s")


async def test_what_the_schedulers_own_policy_wants_is_told_beside_the_queue(world: ScalerWorld) -> None:
    assert (await world.adapter().demand()).desired == (Want((), 0),)
    for _ in range(25):
        world.scheduler.submit()
    demand = await world.adapter().demand()
    assert (demand.queued, demand.running, demand.desired) == (25, 0, (Want((), 1),))


async def test_a_scheduler_of_1_15_is_told_which_groups_live_before_it_plans() -> None:
    world = ScalerWorld("1.15")
    scheduler = world.scheduler
    assert isinstance(scheduler, PlayedGroupScheduler)
    scheduler.groups["ecs-8e1"] = ["Worker|ECS|1|2"]
    worker = await world.start_worker()
    await world.let_join(worker)
    for _ in range(25):
        scheduler.submit()
    assert (await world.adapter().demand()).desired == (Want((), 2),), "one is there, one more is commanded"
    assert set(scheduler.groups) == {"ecs-8e1", f"{worker.worker_id}+{HOME}"}
    await world.end_worker(worker)
    assert (await world.adapter().demand()).desired == (Want((), 1),)
    assert set(scheduler.groups) == {"ecs-8e1"}, "what is gone frees its place, what is another's stays"


async def test_a_scheduler_of_1_15_that_was_started_anew_is_told_of_groups_that_live() -> None:
    world = ScalerWorld("1.15")
    worker = await world.start_worker()
    await world.let_join(worker)
    await world.adapter().demand()
    await world.restart_master()
    assert (await world.adapter().demand()).desired == (Want((), 0),), "its stop names a group that it was told"


@pytest.mark.parametrize("wire", ["2.9", "1.15"])
async def test_a_worker_of_several_processes_is_busy_while_one_of_them_is(wire: Wire) -> None:
    world = ScalerWorld(wire)
    worker = await world.start_worker()
    spec = world.adapter(workers_per_group=3).join_spec(worker.worker_id)
    first = world.scheduler.start_worker(spec.arguments)
    assert len(world.scheduler.workers) == 3
    task = world.scheduler.submit()
    (member,) = (await world.adapter(workers_per_group=3).members()).members
    assert (member.worker_id, member.busy, member.duplicate) == (worker.worker_id, True, False)
    world.scheduler.finish(task)
    (member,) = (await world.adapter(workers_per_group=3).members()).members
    assert member.busy is False
    # One process more than were started: two workers of one id.
    world.scheduler.workers.append(replace(first, name=""))
    listing = await world.adapter(workers_per_group=3).members()
    assert {member.duplicate for member in listing.members} == {True}
    assert listing.detail == f"{worker.worker_id} is 4 workers of the scheduler, and at most 3 were started"


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

    scheduler = Scheduler(ScalerSettings.model_validate(SETTINGS), fleet=FLEET, home=HOME, run=run)
    found: list[object] = []

    async def ask(scope: anyio.CancelScope) -> None:
        with scope:
            found.append((await scheduler.speak())["number"])

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


async def test_whoever_looks_right_after_a_drain_sees_what_it_saw_and_others_look_anew(world: ScalerWorld) -> None:
    worker = await world.start_worker()
    await world.let_join(worker)
    adapter = world.adapter()
    assert await adapter.drain(worker, 60) is DrainAnswer.ACCEPTED
    assert len((await adapter.members([worker.worker_id])).members) == 1
    assert world.scheduler.asked == 1
    world.scheduler.submit()
    (member,) = (await adapter.members()).members
    assert (member.busy, world.scheduler.asked) == (True, 2)


async def test_regression_a_worker_was_gone_to_us_ten_seconds_after_our_manager_had_last_spoken(
    world: ScalerWorld,
) -> None:
    worker = await world.start_worker()
    await world.let_join(worker)
    await world.adapter().demand()
    world.scheduler.forget_managers()
    assert (await world.adapter().joined(worker)).registered
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED


async def test_looking_at_workers_never_speaks_as_the_manager(world: ScalerWorld) -> None:
    await world.adapter().members()
    await world.scheduler.run([], json.dumps({**HEARTBEAT, "identity": "somebody"}).encode(), {}, 1)
    assert "another one of this id speaks to it" in (await world.adapter().demand()).detail


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
