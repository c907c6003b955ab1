"""A turn that holds against a no-op flow, both run by the same process worker; and how fast a burst is answered."""

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType

from ebbflow.standins import process
from tests.benchmarks.world import (
    INTERVAL_SECONDS,
    ROOT,
    World,
    end_workers,
    fleet,
    save_blocks,
    save_master,
    spread,
    tell,
)

ROUNDS = 5
BURSTS = 3
POOL = "bench"


async def measure(running: World) -> None:
    """Print the ratios."""
    await save_blocks(running, "held")
    _deploy(running, [_turns(fleet("held")), {"name": "noop", "entrypoint": "tests/benchmarks/noop.py:noop"}])
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    log = running.folder / "worker.log"
    with process.running(command, environment=running.environment, log=log):
        try:
            await _compare(running)
            # A master of its own: nobody else's workers serve the bursts.
            (running.folder / "burst").mkdir()
            with process.swarmui_master(running.folder / "burst", environment=running.environment) as address:
                await _bursts(running, address)
        finally:
            end_workers(running)


def _turns(parameter: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": parameter["name"],
        "entrypoint": "ebbflow.flows.autoscale:autoscale",
        "parameters": {"fleet": parameter},
    }


def _deploy(running: World, deployments: list[dict[str, Any]]) -> None:
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    pooled = [{**deployment, "work_pool": {"name": POOL}} for deployment in deployments]
    file = running.folder / "prefect.yaml"
    file.write_text(yaml.safe_dump({"name": "bench", "pull": pull, "deployments": pooled}))
    for arguments in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
    ):
        subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            env=running.environment,
            cwd=ROOT,
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
        )


async def _compare(running: World) -> None:
    turns, noops = [], []
    async with get_client() as client:
        for _ in range(2):
            # The first turns launch and register the worker that the later ones hold.
            await _run(client, "autoscale/held")
            await asyncio.sleep(8)
        for round_number in range(ROUNDS):
            noops.append(await _wall_seconds(client, await _run(client, "noop/noop")))
            run = await _run(client, "autoscale/held")
            if run.state is None or run.state.name != "Held":
                tell(f"  round {round_number}: the turn did not hold but {run.state and run.state.name}, not counted")
                continue
            tasks = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
            assert not tasks, f"a turn that holds made {len(tasks)} task runs"
            turns.append(await _wall_seconds(client, run))
            await asyncio.sleep(6)
    assert turns, "no turn held, so there is nothing to compare: look at the rounds above"
    tell(f"no-op flow by the worker, min / median / max:       {spread(noops)}")
    tell(f"turn that holds by the worker, min / median / max:  {spread(turns)}")
    tell(f"  ratio of medians: {statistics.median(turns) / statistics.median(noops):.2f}x (goal 1.15x), no task runs")


async def _run(client: PrefectClient, name: str) -> FlowRun:
    deployment = await client.read_deployment_by_name(name)
    run = await client.create_flow_run_from_deployment(deployment.id)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        run = await client.read_flow_run(run.id)
        if run.state is not None and run.state.is_final():
            return run
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{name} did not end")


async def _wall_seconds(client: PrefectClient, run: FlowRun) -> float:
    """From the worker's taking it (Pending) to its end: process start, imports and the flow itself."""
    states = await client.read_flow_run_states(run.id)
    taken = min(state.timestamp for state in states if state.type is StateType.PENDING)
    ended = max(state.timestamp for state in states if state.is_final())
    return (ended - taken).total_seconds()


async def _bursts(running: World, address: str) -> None:
    """From the request that breaks capacity to the provider call, under a schedule."""
    await save_blocks(running, "burst")
    await save_master("burst", address)
    parameter = fleet(
        "burst", master="burst", policy={"kind": "vanilla", "upper_task_ratio": 2, "lower_task_ratio": 0.5}
    )
    _deploy(running, [{**_turns(parameter), "schedules": [{"interval": INTERVAL_SECONDS}]}])
    state = running.folder / "state" / "burst"
    await _new_worker(state, set(), within=6 * INTERVAL_SECONDS)
    waits = []
    for burst in range(BURSTS):
        # Bursts come at different places of the interval.
        await asyncio.sleep(INTERVAL_SECONDS * (1.3 + burst / BURSTS))
        waits.append(await _burst(state, address))
        tell(f"  burst {burst + 1} of {BURSTS}: provider call after {waits[-1]:.1f} s")
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("autoscale/burst")
        await client.pause_deployment(deployment.id)
    tell(f"request that breaks capacity to provider call:      {spread(waits)}, interval {INTERVAL_SECONDS:g} s")
    tell(f"  ratio of the median to the interval: {statistics.median(waits) / INTERVAL_SECONDS:.2f}x")


async def _burst(state: Path, address: str) -> float:
    known = _started(state)
    began = time.time()
    load = asyncio.ensure_future(_post(address, requests=3 * len(known) + 3))
    called = await _new_worker(state, known, within=4 * INTERVAL_SECONDS)
    await load
    return called - began


def _started(state: Path) -> set[Path]:
    return set(state.glob("*/process.json"))


async def _new_worker(state: Path, known: set[Path], *, within: float) -> float:
    """When the next worker was started."""
    deadline = time.time() + within
    while not (new := _started(state) - known):
        if time.time() > deadline:
            raise TimeoutError(f"no worker was launched within {within:g} s")
        await asyncio.sleep(0.05)
    return min(path.stat().st_mtime for path in new)


async def _post(address: str, requests: int) -> None:
    async with httpx.AsyncClient(timeout=120) as client:
        session = (await client.post(f"{address}/API/GetNewSession", json={})).json()["session_id"]
        body = {"session_id": session, "images": 1, "steps": 100}
        await asyncio.gather(
            *(client.post(f"{address}/API/GenerateText2Image", json=body) for _ in range(requests)),
            return_exceptions=True,
        )
