"""The native worker manager of opengris-scaler and ours on one burst at a real scheduler, at most four workers.

Both start the vendor's own workers as processes of this host. The scheduler's policy is its `vanilla`; ours is the
policy of that name. A worker is paid for from its start until nothing of it runs.
"""

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.bursts import each, paid_seconds
from tests.benchmarks.world import World, tell
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all, kill_at_once, processes_with
from tests.scaler.fleet import local_provider, master_at
from tests.scaler.scheduler import RealScheduler, real_scheduler

TASKS, TASK_SECONDS = 40, 4.0
MOST_WORKERS = 4
CALL_SECONDS = 3.0
TURN_SECONDS = 25.0
"""The shortest interval of such a fleet; the native manager's is 2 s."""
IDLE_SECONDS = 10.0
"""Ours; the native manager honours a wish for fewer once it has lasted for half a minute."""
SILENT_SECONDS = "15"
"""Until the scheduler gives a killed worker's tasks to others; by itself a minute."""

Workers = Callable[[], dict[object, list[int]]]
"""Process ids by worker."""


@dataclass(frozen=True)
class Outcome:
    """What one burst came to."""

    makespan_seconds: float
    """From submit to the last result."""
    worker_seconds: float
    is_complete: bool
    """Every task has its result."""


async def measure(running: World) -> None:
    """Print the ratios."""
    for kills in (False, True):
        what = f"scaler burst of {TASKS}{', a busy worker killed' if kills else ''}"
        ours = await _measured(lambda scheduler, folder: _ours(running, scheduler, folder), kills=kills)
        _tell(what, "ours", ours)
        theirs = await _measured(lambda scheduler, _: _native(scheduler), kills=kills)
        _tell(what, "its native manager", theirs)
        tell(
            f"  against it: worker-seconds {ours.worker_seconds / theirs.worker_seconds:.2f} (goal 0.9), "
            f"makespan {ours.makespan_seconds / theirs.makespan_seconds:.2f} (goal 1)"
        )


def _tell(what: str, who: str, found: Outcome) -> None:
    lost = "nothing lost" if found.is_complete else "TASKS LOST"
    tell(f"{what}, {who}: {found.makespan_seconds:.0f} s, {found.worker_seconds:.0f} worker-seconds, {lost}")


async def _measured(
    managed: Callable[[RealScheduler, Path], AbstractAsyncContextManager[Workers]], *, kills: bool
) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with real_scheduler(folder, more=("--worker-timeout-seconds", SILENT_SECONDS)) as scheduler:
            async with managed(scheduler, folder) as workers:
                return await _burst(scheduler, workers, kills=kills)


@asynccontextmanager
async def _ours(running: World, scheduler: RealScheduler, folder: Path) -> AsyncIterator[Workers]:
    limits = {"max_workers": MOST_WORKERS, "min_idle_seconds": IDLE_SECONDS, "min_seconds_between_stops": 0}
    fleet = MovedFleet(
        PrefectHouse(running.environment),
        folder,
        most_each=MOST_WORKERS,
        interval_seconds=TURN_SECONDS,
        policy={"kind": "vanilla"},
        limits=limits,
    )
    await fleet.keep(master_at(scheduler, call_timeout_seconds=CALL_SECONDS), local_provider(scheduler, fleet))

    def workers() -> dict[object, list[int]]:
        found: dict[object, list[int]] = {}
        for pid, variables in processes_with("EBBFLOW_FLEET", fleet.name).items():
            found.setdefault(variables.get("EBBFLOW_WORKER_ID"), []).append(pid)
        return found

    try:
        async with each(TURN_SECONDS, fleet.turn_now):
            yield workers
    finally:
        await end_all("EBBFLOW_FLEET", fleet.name)


@asynccontextmanager
async def _native(scheduler: RealScheduler) -> AsyncIterator[Workers]:
    process = scheduler.start(
        "scaler_worker_manager",
        "baremetal_native",
        scheduler.address,
        f"--object-storage-address={scheduler.storage}",
        "--worker-manager-id=native",
        f"--max-task-concurrency={MOST_WORKERS}",
    )

    def workers() -> dict[object, list[int]]:
        found: dict[object, list[int]] = {}
        for child in psutil.Process(process.pid).children():
            # One that ended meanwhile is none.
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found[child.pid] = [child.pid, *(each.pid for each in child.children(recursive=True))]
        return found

    yield workers


async def _burst(scheduler: RealScheduler, workers: Workers, *, kills: bool) -> Outcome:
    submitted = time.monotonic()
    client = scheduler.work(TASKS, TASK_SECONDS)
    done_at: list[float] = []

    def is_done() -> bool:
        if victims and len(scheduler.began()) >= TASKS // 4 and (there := list(workers().values())):
            victims.clear()
            kill_at_once(there[0])
        if not done_at and client.poll() is not None:
            done_at.append(time.monotonic())
        return bool(done_at)

    victims = ["one"] if kills else []
    paid = await paid_seconds(is_done, lambda: len(workers()))
    return Outcome(done_at[0] - submitted, paid, client.returncode == 0)
