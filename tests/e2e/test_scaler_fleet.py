"""Whole fleets whose master is a real scheduler of opengris-scaler, with the vendor's own workers."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ebbflow.adapters.masters.scaler.settings import Wire
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all, kill_at_once, processes_with
from tests.scaler.fleet import local_provider, master_at
from tests.scaler.scheduler import real_scheduler

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

VANILLA = {"kind": "vanilla", "upper_task_ratio": 4, "lower_task_ratio": 1}
SCHEDULERS_OWN = {"kind": "master"}


@pytest.fixture
async def house(prefect_server: str, prefect_environment: dict[str, str]) -> PrefectHouse:
    return PrefectHouse(prefect_environment)


async def test_tasks_bring_workers_one_that_is_killed_loses_none_and_idle_workers_go(
    house: PrefectHouse, tmp_path: Path
) -> None:
    # By itself it waits a minute until it takes a silent worker for dead.
    with real_scheduler(tmp_path, more=("--worker-timeout-seconds", "15")) as scheduler:
        fleet = MovedFleet(house, tmp_path, policy=VANILLA)
        await fleet.keep(master_at(scheduler), local_provider(scheduler, fleet))
        try:
            await fleet.turn()
            assert fleet.workers() == set(), "nobody is there for nothing"
            client = scheduler.work(20, 1.5)
            await fleet.turns_until(lambda: len(fleet.workers()) == 3, "twenty tasks want more than three workers")
            await fleet.turns_until(scheduler.began, "they work")
            victim = sorted(fleet.workers())[0]
            found = processes_with("EBBFLOW_FLEET", fleet.name)
            # One that sees its own processor die calls the task failed, and the scheduler takes its word.
            kill_at_once([pid for pid, variables in found.items() if variables.get("EBBFLOW_WORKER_ID") == victim])
            await fleet.turns_until(lambda: client.poll() is not None, "all tasks are done")
            assert client.returncode == 0, "with their results"
            assert set(scheduler.began()) == set(range(20))
            await fleet.turns_until(lambda: not fleet.workers(), "idle workers go")
            assert set(fleet.started().values()) == {1}
        finally:
            await end_all("EBBFLOW_FLEET", fleet.name)


@pytest.mark.parametrize("wire", ["2.9", "1.15"])
async def test_a_hundred_plain_tasks_and_fifty_with_a_gpu_bring_both_kinds_of_workers_which_go_again(
    wire: Wire, house: PrefectHouse, tmp_path: Path
) -> None:
    limits: dict[str, Any] = {"max_workers": 5, "min_idle_seconds": 30, "min_seconds_between_stops": 0}
    # When workers join while tasks are held, the balancing of 1.15 now and then cancels what no worker has, and
    # the scheduler answers nobody from then on.
    calm = ("--load-balance-seconds", "3600") if wire == "1.15" else ()
    with real_scheduler(tmp_path, "allocate=capability; scaling=capability", wire=wire, more=calm) as scheduler:
        fleet = MovedFleet(house, tmp_path, policy=SCHEDULERS_OWN, limits=limits)
        kinds = local_provider(scheduler, fleet), local_provider(scheduler, fleet, "gpu")
        await fleet.keep(master_at(scheduler, capabilities=["gpu"], most_workers=5), *kinds)
        try:
            scheduler.hold()
            client = scheduler.work(100, 0, with_gpu=50)
            await fleet.turns_until(lambda: len(fleet.workers()) == 5, "both kinds as many as there may be")
            with_gpu = {each for each in fleet.workers() if (tmp_path / "state-gpu" / fleet.name / each).exists()}
            assert 2 <= len(with_gpu) <= 3, "either kind as many as its provider may have"
            scheduler.release()
            await fleet.turns_until(lambda: client.poll() is not None, "all tasks are done")
            assert client.returncode == 0, "with their results"
            assert Counter(scheduler.began()) == Counter(range(150)), "each once"
            await fleet.turns_until(lambda: not fleet.workers(), "idle workers go")
            assert set(fleet.started().values()) == {1}
        finally:
            await end_all("EBBFLOW_FLEET", fleet.name)
