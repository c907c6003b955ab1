"""A hundred launches as Slurm jobs, and a turn's time at the provider with a long queue, on a real cluster."""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Callable

from ebbflow.adapters.providers.slurm.adapter import SlurmAdapter
from ebbflow.adapters.providers.slurm.settings import SlurmSettings
from ebbflow.blocks import SlurmProvider
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from tests.benchmarks.world import World, fleet, save_master, tell
from tests.slurm.cluster import Cluster, SlurmIsMissing, cluster

ROUNDS = 10
LAUNCHES = 100
QUEUED = 300
INTERVAL_SECONDS = 60


async def measure(running: World) -> None:
    """Print the ratios; one line where Slurm is not installed."""
    try:
        with cluster(running.folder / "slurm-bench") as slurm:
            await _launches(running, slurm)
            await _long_queue(slurm)
    except SlurmIsMissing as error:
        tell(f"Slurm: not measured, {str(error).strip()}")


def _settings(slurm: Cluster) -> dict[str, object]:
    return {"command": ["/bin/sleep", "600"], "slurm_conf": str(slurm.conf), "gpus": 0, "url_channel": "none"}


async def _launches(running: World, slurm: Cluster) -> None:
    await save_master("bench", running.master)
    await SlurmProvider.model_validate(_settings(slurm)).asave("hundred", overwrite=True)
    told = Fleet.model_validate(
        fleet(
            "hundred",
            interval_seconds=INTERVAL_SECONDS,
            providers=[{"block": "slurm-provider/hundred", "max_workers": LAUNCHES}],
            limits={"min_workers": LAUNCHES, "max_workers": LAUNCHES},
        )
    )
    one = _median_seconds(lambda: slurm.submit("bare", "--hold"))
    turns, busy = 0, 0.0
    while len(slurm.names("ebbflow.hundred.")) < LAUNCHES:
        if turns:
            await asyncio.sleep(INTERVAL_SECONDS / 2 + 1)
        began = time.perf_counter()
        await autoscale(fleet=told)
        busy += time.perf_counter() - began
        turns += 1
    names = [name for name, _ in slurm.names("ebbflow.hundred.").values()]
    assert len(set(names)) == len(names) == LAUNCHES, f"{len(names)} jobs, {len(set(names))} names"
    tell(f"{LAUNCHES} launches as Slurm jobs: {turns} turns, {busy:.1f} s in them, none doubled")
    tell(f"  a launch in such a turn against one bare sbatch: {busy / LAUNCHES / one:.2f}x")


async def _long_queue(slurm: Cluster) -> None:
    left = QUEUED - len(slurm.jobs())
    slurm.submit("foreign", f"--array=1-{left}", "--hold")
    provider = SlurmAdapter(SlurmSettings.model_validate(_settings(slurm)))
    provider_seconds, bare_seconds = [], []
    for _ in range(ROUNDS):
        bare_seconds.append(_seconds(lambda: subprocess.run(["squeue"], env=slurm.environment, capture_output=True)))
        began = time.perf_counter()
        listing = await provider.list_instances("hundred")
        provider_seconds.append(time.perf_counter() - began)
        assert listing.complete
        assert len(listing.instances) == LAUNCHES
    ratio = statistics.median(provider_seconds) / statistics.median(bare_seconds)
    tell(f"a turn's provider time with {len(slurm.jobs())} jobs in the queue against one bare squeue: {ratio:.1f}x")


def _median_seconds(call: Callable[[], object]) -> float:
    return statistics.median(_seconds(call) for _ in range(ROUNDS))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
