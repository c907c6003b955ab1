"""Fleets that really run, side by side with what a play of the same requests says of them.

Each fleet has a master, pods and a schedule of its own; all share one Prefect server, one runner and one cluster.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ebbflow.blocks import KubernetesProvider
from ebbflow.fleet.model import Fleet
from ebbflow.flows.fleet_past import FleetPast, read_fleet_past
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.score import percentile
from ebbflow.simulation.two_fleets import play_fleet
from ebbflow.standins.kubernetes.server import ApiServer
from ebbflow.standins.process import running
from tests.e2e.deploying import BY_RUNNER, POOL, deploy, deployments, prefect, write_prefect_file
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.world import WORKER_PROGRAM, PrefectWorld, opened_worlds
from tests.kubernetes_cluster import stand_in_cluster, with_node

INTERVAL_SECONDS = 15
LOAD_SECONDS = 8
"""What a worker takes from its start until it serves, beside the start of its process."""
SECONDS_PER_STEP = 0.05
CHILD_SECONDS = 0.1
"""How much longer than its work an image holds its worker, as the master is told (`tests.e2e.master`)."""
USD_PER_HOUR = 2.0
MOST_WORKERS = 5
TIMES = {"call_timeout_seconds": 0.5}
"""Of SwarmUI's port: two calls of it, with what else a turn that ends a worker waits for, are the whole budget."""
POD = {
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "worker",
                "image": "stand-in",
                "command": [
                    *WORKER_PROGRAM,
                    "--host", "$(POD_IP)", "--port", "7801", "--load_seconds", str(LOAD_SECONDS),
                ],
                "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            }
        ],
    }
}  # fmt: skip
FLEET: dict[str, Any] = {
    "interval_seconds": INTERVAL_SECONDS,
    "policy": {"kind": "vanilla", "upper_task_ratio": 2, "lower_task_ratio": 1},
    "limits": {"min_workers": 1, "max_workers": MOST_WORKERS, "min_idle_seconds": 30},
    "readiness": {"launch_timeout_seconds": 600},
}


@dataclass(frozen=True)
class Figures:
    """What is compared."""

    usd: float
    p95_seconds: float


@dataclass(frozen=True)
class RealRun:
    """What came of one fleet."""

    seed: int
    trace: Trace
    """What was asked for, in seconds since `began_at`."""
    began_at: float
    """Epoch seconds."""
    waits: tuple[float, ...]
    """Of each request, as its user saw it: from asking to the answer, less its service."""
    fleet: Fleet
    past: FleetPast
    earlier: "RealRun | None" = None
    """Of the same fleet, which may not have shrunk again since."""

    @property
    def real(self) -> Figures:
        """What its records say that it cost, and what its users saw."""
        assert self.past.recorded.usd is not None
        return Figures(self.past.recorded.usd, percentile(sorted(self.waits), 0.95))

    @property
    def asked(self) -> list[tuple[float, float]]:
        """When its fleet was asked for something, in epoch seconds, and what that takes; by earlier runs too."""
        before = self.earlier.asked if self.earlier is not None else []
        ours = zip(self.trace.at_seconds, self.trace.service_seconds, strict=True)
        return [*before, *((self.began_at + at, service) for at, service in ours)]

    @property
    def predicted(self) -> Figures:
        """What the same fleet comes to that is played on the same requests."""
        begins_at = self.past.played.known[0].at_seconds
        rows = sorted((at - begins_at, service) for at, service in self.asked)
        came = Trace(self.trace.name, tuple(at for at, _ in rows), tuple(service for _, service in rows))
        played = play_fleet(replace(self.past.played, came=came, counts_from=self.began_at), self.fleet).figures
        assert played.usd is not None
        assert played.waited_p95_seconds is not None
        return Figures(played.usd, played.waited_p95_seconds)


def requests_of(seed: int, seconds: float) -> Trace:
    """Calm and bursts in turn; each request takes between two and ten seconds."""
    draw = random.Random(f"trust/{seed}")
    at: list[float] = []
    services: list[float] = []
    now, ends_at, is_burst = 0.0, 0.0, True
    while True:
        if now >= ends_at:
            is_burst = not is_burst
            ends_at = now + (draw.uniform(15, 30) if is_burst else draw.uniform(20, 40))
        now += draw.expovariate(0.9 if is_burst else 0.1)
        if now >= seconds:
            return Trace(f"seed {seed}", tuple(at), tuple(services))
        at.append(now)
        services.append(SECONDS_PER_STEP * round(draw.uniform(2, 10) / SECONDS_PER_STEP) + CHILD_SECONDS)


@asynccontextmanager
async def deployed(folder: Path, given: Mapping[str, str], count: int) -> AsyncIterator[Sequence[PrefectWorld]]:
    """So many fleets, each with one worker that serves."""
    environment = {**given, "PREFECT_LOGGING_LEVEL": "INFO"}
    pool, log = f"{POOL}-trust", folder / "runner.log"
    async with (
        opened_worlds(folder, PrefectHouse(given)) as worlds,
        stand_in_cluster(ApiServer()) as cluster,
        with_node(cluster, folder / "node"),
    ):
        settings = cluster.settings(pod_template=POD, call_timeout_seconds=1, usd_per_hour=USD_PER_HOUR).model_dump()
        made = []
        for _ in range(count):
            world = await worlds(elsewhere=True, master=TIMES, **FLEET)
            provider = await world.keep(KubernetesProvider.model_validate(settings))
            world.changes["providers"] = [{"block": provider, "max_workers": MOST_WORKERS}]
            made.append(world)
        # Of a fleet's flows the first one is the one with a schedule.
        rows = [deployments(world, scheduled=True, runs_by=BY_RUNNER, pool=pool)[0] for world in made]
        write_prefect_file(folder, rows)
        await deploy(environment, folder, pool=pool)
        with running([sys.executable, "-m", "ebbflow.cli", "runner", "--pool", pool], environment=environment, log=log):
            await asyncio.gather(*(world.until_serving(1) for world in made))
            yield made
            await prefect(environment, folder, "work-pool", "pause", pool)


async def real_run(
    world: PrefectWorld, seed: int, *, seconds: float, after_seconds: float, earlier: RealRun | None = None
) -> RealRun:
    """Ask one fleet for what a seed draws, and read what its records say of that time.

    Args:
        world: its fleet takes its turns by itself.
        seed: of the requests.
        seconds: in which they come.
        after_seconds: then the fleet has time to shrink.
        earlier: what the same fleet was asked for before.
    """
    trace, began_at, began = requests_of(seed, seconds), time.time(), time.monotonic()
    await world.master.call("ListBackends")

    async def ask(place: int) -> float:
        at, service = trace.at_seconds[place], trace.service_seconds[place]
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        steps = round((service - CHILD_SECONDS) / SECONDS_PER_STEP)
        answer = await world.master.call("GenerateText2Image", images=1, steps=steps)
        assert answer.get("images"), answer
        return max(0.0, time.monotonic() - began - at - service)

    waits = await asyncio.gather(*(ask(place) for place in range(len(trace.at_seconds))))
    await asyncio.sleep(max(0.0, began + seconds + after_seconds - time.monotonic()))
    async with world.house.ledger(world.name) as ledger:
        past = await read_fleet_past(ledger, world.name, seconds=time.time() - began_at)
    assert past is not None
    return RealRun(seed, trace, began_at, tuple(waits), world.fleet(), past, earlier)


def compared(runs: Sequence[RealRun]) -> tuple[Figures, list[str]]:
    """By how many percent the prediction is off over all runs, mean against mean, and lines that tell each of them."""
    real, predicted = [run.real for run in runs], [run.predicted for run in runs]
    lines = [
        f"seed {run.seed}: {found.usd:.3f} USD, predicted {said.usd:.3f} ({more(found.usd, said.usd):+.1f} %); p95 of "
        f"the waits {found.p95_seconds:.1f} s, predicted {said.p95_seconds:.1f} s "
        f"({more(found.p95_seconds, said.p95_seconds):+.1f} %)"
        for run, found, said in zip(runs, real, predicted, strict=True)
    ]
    off = Figures(
        more(fmean(each.usd for each in real), fmean(each.usd for each in predicted)),
        more(fmean(each.p95_seconds for each in real), fmean(each.p95_seconds for each in predicted)),
    )
    lines.append(f"{len(runs)} runs: predicted cost {off.usd:+.1f} %, predicted p95 {off.p95_seconds:+.1f} %")
    return off, lines


def more(real: float, predicted: float) -> float:
    """By how many percent the prediction is more."""
    return 100 * (predicted - real) / real
