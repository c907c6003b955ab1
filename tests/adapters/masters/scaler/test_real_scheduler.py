"""One history of the real schedulers of opengris-scaler: our program asks them, their own commands are the workers."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.settings import ScalerSettings, Wire
from ebbflow.contracts.master import worker_at
from ebbflow.core.member import DrainAnswer, Member, MemberState
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker
from tests.scaler.scheduler import RealScheduler, programs, real_scheduler

FLEET, HOME = "demo", "h0me1"
PATIENCE_SECONDS = 30.0
pytestmark = [pytest.mark.anyio, pytest.mark.soak]


@pytest.fixture(params=["2.9", "1.15"])
async def real(anyio_backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RealScheduler]:
    with real_scheduler(tmp_path, wire=request.param) as scheduler:
        yield scheduler


async def until(holds: Callable[[], Awaitable[object]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := await holds()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}; {found}"
        await asyncio.sleep(0.3)


async def test_a_fleet_sees_what_it_works_on_and_ended_workers_hand_their_tasks_back(real: RealScheduler) -> None:
    adapter = ScalerAdapter(ScalerSettings.model_validate(real.settings), fleet=FLEET, home=HOME)
    # A scheduler of 1.15 commands nothing where nothing is to be done, which is no opinion.
    no_work = None if real.wire == "1.15" else (Want((), 0),)

    async def member(worker: Worker) -> Member | None:
        listing = await adapter.members()
        return next((each for each in listing.members if each.worker_id == worker.worker_id), None)

    async def answers() -> bool:
        return (await adapter.probe()).version == f"{real.wire}.0"

    await until(answers, "the scheduler answers")
    before = await adapter.demand()
    assert (before.complete, before.total, before.desired) == (True, 0, no_work)

    real.hold()
    client = real.work(3, 0)

    async def wait() -> bool:
        return (await adapter.demand()).queued == 3

    await until(wait, "three tasks wait")
    assert (await adapter.demand()).desired == (Want((), 1),), "its own policy asks for one worker"

    first, second = (worker_at(f"{FLEET}-0abc-1-{number}", "http://unused:1") for number in (1, 2))
    processes = {}
    for worker in (first, second):
        assert not (await adapter.joined(worker)).registered
        processes[worker.worker_id] = real.start(*real.worker_command, *adapter.join_spec(worker.worker_id).arguments)

        async def has_joined(worker: Worker = worker) -> bool:
            return (await adapter.joined(worker)).registered

        await until(has_joined, "it joins")

        async def works(worker: Worker = worker) -> bool:
            seen = await member(worker)
            return seen is not None and (seen.state, seen.busy) == (MemberState.READY, True)

        if worker is first:
            await until(works, "it works")
    assert await adapter.drain(first, 60) is DrainAnswer.BUSY

    processes[first.worker_id].send_signal(signal.SIGTERM)

    async def has_left() -> bool:
        return await member(first) is None

    await until(has_left, "the one that was ended is gone from the scheduler")
    assert await adapter.drain(first, 60) is DrainAnswer.GONE
    real.release()
    assert await asyncio.to_thread(client.wait, PATIENCE_SECONDS) == 0, "no task is lost"
    assert set(real.began()) == {0, 1, 2}

    async def is_idle() -> bool:
        seen = await member(second)
        return seen is not None and seen.busy is False

    await until(is_idle, "the other one is idle")
    assert await adapter.drain(second, 60) is DrainAnswer.ACCEPTED
    assert (await adapter.demand()).desired == (Want((), 0),)
    real.restart()

    async def is_heard() -> bool:
        return (await adapter.demand()).complete

    async def has_ended() -> bool:
        return processes[second.worker_id].poll() is not None

    await until(is_heard, "a scheduler that was started anew hears the same manager")
    if real.wire == "1.15":
        await until(partial(member, second), "the worker comes back")
    else:
        await until(has_ended, "the worker has ended with the scheduler that it was connected to")


async def test_a_program_of_the_other_release_makes_the_scheduler_unknown_and_does_it_no_harm(
    real: RealScheduler,
) -> None:
    other: Wire = "2.9" if real.wire == "1.15" else "1.15"
    settings = {**real.settings, "wire": other, "call_timeout_seconds": 3}
    right = ScalerAdapter(ScalerSettings.model_validate(real.settings), fleet=FLEET, home=HOME)

    async def is_heard() -> bool:
        return (await right.demand()).complete

    await until(is_heard, "the scheduler answers")
    for python, said in ((programs(other), "release"), (real.programs, f"-m pip install opengris-scaler=={other}.0")):
        wrong = ScalerSettings.model_validate({**settings, "python": str(python / "python")})
        demand = await ScalerAdapter(wrong, fleet=FLEET, home=HOME).demand()
        assert not demand.complete
        assert said in demand.detail
    assert (await right.demand()).complete
