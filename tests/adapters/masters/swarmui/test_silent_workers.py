"""Workers that answer nothing, or not everything: what they are taken for, and how long they are waited for."""

import anyio
import httpx
import pytest

from ebbflow.contracts.master import worker_at
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.swarmui.worker import WorkerSettings
from tests.adapters.masters.swarmui.played_master import HANG_SECONDS, SwarmUIWorld, mocked, ready

pytestmark = pytest.mark.anyio


async def test_regression_a_worker_that_hangs_was_supply_for_ten_minutes(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    world.workers[worker.worker_id].app.faults.add(Fault(FaultKind.HANG))
    adapter = world.adapter(call_timeout_seconds=HANG_SECONDS)
    await adapter.keepalive([worker])
    (member,) = (await adapter.members()).members
    assert (member.state, member.is_fed, member.busy) == (MemberState.LOST, True, None)
    (entry,) = world.entries()
    assert str(entry.state) == "running", "the master has not noticed"


@pytest.mark.parametrize("answers", ["AdminTakeControl", "GetGlobalStatus"])
async def test_a_worker_that_answers_one_route_and_not_another_is_not_silent(world: SwarmUIWorld, answers: str) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    serving = world.workers[worker.worker_id]
    for route in {"AdminTakeControl", "GetGlobalStatus"} - {answers}:
        serving.app.faults.add(Fault(FaultKind.HANG, route))
    adapter = world.adapter(call_timeout_seconds=HANG_SECONDS)
    taken = await adapter.keepalive([worker])
    (member,) = (await adapter.members()).members
    assert member.state is MemberState.READY
    assert (taken[worker.worker_id], member.busy) == ((True, None) if answers == "AdminTakeControl" else (False, False))


@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.GARBAGE, FaultKind.NO_RESULT])
async def test_a_worker_that_answers_badly_is_not_silent(world: SwarmUIWorld, kind: FaultKind) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    world.workers[worker.worker_id].app.faults.add(Fault(kind))
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.is_fed, member.busy) == (MemberState.READY, False, None)


async def test_regression_every_question_of_a_turn_waited_for_a_silent_worker_as_long_as_the_first() -> None:
    limits: list[float] = []

    async def silent(request: httpx.Request) -> httpx.Response:
        limits.append(anyio.current_effective_deadline() - anyio.current_time())
        raise httpx.ConnectTimeout("nobody")

    adapter = mocked(silent, call_timeout_seconds=9)
    worker = worker_at("sdxl-0abc-1-0", "http://worker:7801")
    for _ in range(3):
        await adapter.keepalive([worker])
    await adapter.aclose()
    first, *later = limits
    assert 8 < first <= 9
    assert [limit <= 1 for limit in later] == [True, True]


@pytest.mark.parametrize("usages", [1, 2])
async def test_regression_a_worker_that_hung_with_work_was_busy_for_ever(world: SwarmUIWorld, usages: int) -> None:
    worker = await world.start_worker(WorkerSettings(max_usages=usages))
    await ready(world, worker)
    await world.make_busy(worker)
    world.workers[worker.worker_id].hang()
    world.settings["call_timeout_seconds"] = HANG_SECONDS
    assert await world.adapter().drain(worker, 900) is DrainAnswer.ACCEPTED
    (entry,) = world.entries()
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.DRAINING, None), "its master waits, and knows nothing"
    assert (str(entry.state) == "running") is (usages == 1)
