"""The ready-made Slurm fleet as its operator runs it: `prefect deploy`, a Prefect worker, and only the schedule."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from ebbflow.blocks import SwarmUIMaster
from ebbflow.decision.upkeep import LOOKS_APART_SECONDS
from ebbflow.fleet.model import BUDGET_SHARE, OVERHEAD_SECONDS
from ebbflow.standins.process import running
from tests.e2e.master import StandInMaster
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.test_slurm_deployment import SLURM, block, swarmui
from tests.e2e.world import LOOPBACK, World
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session

__all__ = ["slurm", "slurm_session", "swarmui"]

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

PATIENCE_SECONDS = 300.0
# Its own names: other tests deploy the same page on the same server.
POOL, FLEET = "slurm-login-scheduled", "swarm-scheduled"
# The page's timers are minutes; what is tried here is the way up and down, not the waiting.
QUICK_LIMITS = {
    "min_workers": 1,
    "max_workers": 2,
    "min_seconds_between_starts": 0,
    "min_seconds_between_stops": 0,
    "min_idle_seconds": 0,
}


async def prefect(environment: Mapping[str, str], folder: Path, *words: str) -> None:
    done = await anyio.run_process(
        [sys.executable, "-m", "prefect", *words],
        env=dict(environment),
        cwd=folder,
        check=False,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, f"prefect {' '.join(words)}: {done.stdout.decode()[-3000:]}"


def tail(log: Path) -> str:
    return log.read_text()[-4000:]


async def eventually(holds: Callable[[], object], what: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_SECONDS:g} s: {what}; the worker's log ends with:\n{tail(log)}")
        await anyio.sleep(0.5)


async def test_the_deployed_fleet_of_jobs_goes_up_and_down_by_its_schedule(
    slurm: Cluster, swarmui: Path, tmp_path: Path, prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    master = StandInMaster(tmp_path / "master")
    try:
        await master.start()
        await SwarmUIMaster(address=master.url, worker_networks=[LOOPBACK], call_timeout_seconds=3).asave(
            "slurm", overwrite=True
        )
        provider = block(slurm, swarmui)
        await provider.asave("gpu", overwrite=True)
        page = (SLURM.folder / "prefect.yaml").read_text().replace("slurm-login", POOL).replace("swarm-slurm", FLEET)
        content: dict[str, Any] = yaml.safe_load(page)
        call_seconds = provider.get_provider().caps.call_seconds
        interval = math.ceil((LOOKS_APART_SECONDS + call_seconds + OVERHEAD_SECONDS) / BUDGET_SHARE)
        fleet = content["definitions"]["fleet"]
        # The deployments hold the very same object.
        fleet |= {"interval_seconds": interval, "limits": QUICK_LIMITS}
        fleet["policy"]["min_queued_before_expand"] = 2
        content["deployments"][0]["schedules"] = [{"interval": interval}]
        (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(content))
        await prefect(prefect_environment, tmp_path, "work-pool", "create", POOL, "--type", "process")
        await prefect(prefect_environment, tmp_path, "--no-prompt", "deploy", "--all")
        command = [sys.executable, "-m", "ebbflow.cli", "runner", "--pool", POOL]
        log = tmp_path / "worker.log"
        start = f"ebbflow.{FLEET}."
        environment = {**prefect_environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with running(command, environment=environment, log=log):
            world = World(FLEET, tmp_path, PrefectHouse(prefect_environment), master)
            await eventually(lambda: len(slurm.names(start)) == 1, "the first job", log)
            await _until_serving(world, 1, log)
            # Four images of 40 s: one runs, three wait, for longer than a turn and a boot.
            work = world.generate(images=4, steps=800)
            await eventually(lambda: len(slurm.names(start)) == 2, "a second job", log)
            await _until_serving(world, 2, log)
            with anyio.fail_after(PATIENCE_SECONDS):
                assert len((await work)["images"]) == 4
            await eventually(lambda: len(slurm.names(start)) == 1, "one job goes", log)
            await prefect(prefect_environment, tmp_path, "work-pool", "pause", POOL)
        state = await master.control("State")
        assert (state["served"], state["lost"]) == (4, 0)
        async with get_client() as client:
            wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"fleet:{FLEET}"]))
            runs = await client.read_flow_runs(flow_run_filter=wanted, limit=200)
        failed = [run.name for run in runs if run.state and run.state.is_failed()]
        assert failed == [], tail(log)
        ran = [run.name for run in runs if run.state and run.state.is_completed()]
        assert any(": +1 (queue" in name for name in ran), ran
        assert any(": -1 (" in name for name in ran), ran
    finally:
        await master.close()


async def _until_serving(world: World, count: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = await world.master.call("ListBackends", nonreal=True, full_data=True)
        if sum(row["id"] < 0 and row["status"] == "running" for row in listed.values()) == count:
            return
        assert time.monotonic() < deadline, f"{listed}; {tail(log)}"
        await anyio.sleep(0.5)
