"""How fast a scheduled fleet answers a burst, its turns run by a process worker."""

import asyncio
import statistics
import sys
import time
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client

from ebbflow.standins import process
from tests.benchmarks.deployed import deploy, turns
from tests.benchmarks.world import INTERVAL_SECONDS, World, end_workers, fleet, save_blocks, save_master, spread, tell

BURSTS = 3
POOL = "bursts"


async def measure(running: World) -> None:
    """Print the seconds, and their ratio to the interval."""
    # A master of its own: nobody else's workers serve the bursts.
    (running.folder / "burst").mkdir()
    try:
        with process.swarmui_master(running.folder / "burst", environment=running.environment) as address:
            await _bursts(running, address)
    finally:
        end_workers(running)


async def _bursts(running: World, address: str) -> None:
    """From the request that breaks capacity to the provider call, under a schedule."""
    await save_blocks(running, "burst")
    await save_master("burst", address)
    parameter = fleet(
        "burst", master="burst", policy={"kind": "vanilla", "upper_task_ratio": 2, "lower_task_ratio": 0.5}
    )
    deploy(running, POOL, [{**turns(parameter), "schedules": [{"interval": INTERVAL_SECONDS}]}])
    state = running.folder / "state" / "burst"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    waits = []
    with process.running(command, environment=running.environment, log=running.folder / "worker.log"):
        await _new_worker(state, set(), within=6 * INTERVAL_SECONDS)
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
