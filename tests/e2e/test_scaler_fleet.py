"""Whole fleets whose master is a real scheduler of opengris-scaler, with the vendor's own workers."""

import signal
from collections.abc import AsyncIterator
from os import kill
from pathlib import Path

import pytest

from ebbflow.blocks import LocalProvider, ScalerMaster
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all, processes_with
from tests.e2e.world import NOTED_START
from tests.scaler.scheduler import RealScheduler, real_scheduler

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

VANILLA = {"kind": "vanilla", "upper_task_ratio": 4, "lower_task_ratio": 1}


@pytest.fixture
async def scheduler(anyio_backend: str, tmp_path: Path) -> AsyncIterator[RealScheduler]:
    with real_scheduler(tmp_path) as running:
        yield running


@pytest.fixture
async def fleet(
    scheduler: RealScheduler, tmp_path: Path, prefect_server: str, prefect_environment: dict[str, str]
) -> AsyncIterator[MovedFleet]:
    made = MovedFleet(PrefectHouse(prefect_environment), tmp_path, policy=VANILLA)
    master = ScalerMaster(
        scheduler=scheduler.address, object_storage=scheduler.storage, python=str(scheduler.programs / "python")
    )
    command = [str(scheduler.programs / "scaler_worker_manager"), "baremetal_native"]
    provider = LocalProvider.model_validate(
        {
            "command": ["/bin/sh", "-c", NOTED_START, str(made.starts), *command],
            "state_folder": tmp_path / "state",
            "environment": {"HOME": str(tmp_path)},
        }
    )
    await made.keep(master, provider)
    yield made
    await end_all("EBBFLOW_FLEET", made.name)


async def test_tasks_bring_workers_one_that_is_killed_loses_none_and_idle_workers_go(
    fleet: MovedFleet, scheduler: RealScheduler
) -> None:
    await fleet.turn()
    assert fleet.workers() == set(), "nobody is there for nothing"
    client = scheduler.work(20, 1.5)
    await fleet.turns_until(lambda: len(fleet.workers()) == 3, "twenty tasks want more than three workers")
    await fleet.turns_until(scheduler.began, "they work")
    for pid, variables in processes_with("EBBFLOW_FLEET", fleet.name).items():
        if variables.get("EBBFLOW_WORKER_ID") == sorted(fleet.workers())[0]:
            kill(pid, signal.SIGKILL)
    await fleet.turns_until(lambda: client.poll() is not None, "all tasks are done")
    assert client.returncode == 0, "with their results"
    assert set(scheduler.began()) == set(range(20))
    await fleet.turns_until(lambda: not fleet.workers(), "idle workers go")
    assert set(fleet.started().values()) == {1}
