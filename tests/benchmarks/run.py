"""All benchmarks: `make bench`. They print ratios within one run; absolute times say more about the machine.

All of it takes at most 25 minutes, `make bench BENCH_ARGS=--quick` at most five.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import command_start, gateway, kubernetes_calls, large_fleets, thousand_workers, vast
from tests.benchmarks.turn_prices_elsewhere import WHERE
from tests.benchmarks.world import ROOT, tell, world

LEFT_OUT = (
    "all with PostgreSQL, and with a server that stores no events",
    "fleets of more than 1,000",
    "bytes on the server of plain turns",
    "a thousand workers that report to the gateway",
    "Vast, whose rate limits take a minute",
    "bursts under a schedule",
    "Slurm",
    "Ray's autoscaler",
    "the Scaler's own manager",
)
QUICK_ROUNDS = 2
MOST_SECONDS = 600


def main() -> None:
    """Measure what needs no Prefect, then start one world and measure in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most five minutes; says what it leaves out")
    is_quick = parser.parse_args().quick
    if is_quick:
        tell(f"a quick one, with fewer rounds, and without: {'; '.join(LEFT_OUT)}")
    with part("all"):
        _without_prefect(is_quick=is_quick)
        _with_prefect(is_quick=is_quick)


@contextmanager
def part(name: str) -> Iterator[None]:
    """One of them; says how long it took."""
    tell(f"-- {name}")
    began = time.monotonic()
    yield
    tell(f"-- {name}: took {time.monotonic() - began:.0f} s")


def _without_prefect(*, is_quick: bool) -> None:
    with part("start of the command"):
        command_start.measure(QUICK_ROUNDS if is_quick else command_start.STARTS)
    with part("large fleets: decisions"):
        large_fleets.measure(1000 if is_quick else large_fleets.MOST)
    with part("large fleets: turns"):
        thousand_workers.measure()
    with part("gateway"):
        gateway.measure(is_quick=is_quick)
    with part("Kubernetes"):
        asyncio.run(kubernetes_calls.measure())
    if not is_quick:
        with part("Vast"), tempfile.TemporaryDirectory() as folder:
            asyncio.run(vast.measure(Path(folder)))


def _with_prefect(*, is_quick: bool) -> None:
    tell("starting a Prefect server and a stand-in master")
    with world() as running:
        # Only now: Prefect reads the environment that the world has set when it is imported.
        from tests.benchmarks import ray_autoscaler, scaler_manager, slurm, turn_by_worker, turn_in_process, turn_prices

        with part("price of a turn"):
            rounds = QUICK_ROUNDS if is_quick else turn_prices.ROUNDS
            asyncio.run(turn_prices.measure(running, rounds=rounds, is_quick=is_quick))
        with part("parts of a turn, and launches"):
            asyncio.run(turn_in_process.measure(running))
        if is_quick:
            return
        with part("bursts"):
            asyncio.run(turn_by_worker.measure(running))
        with part("Slurm"):
            asyncio.run(slurm.measure(running))
        with part("Ray's autoscaler"):
            asyncio.run(ray_autoscaler.measure(running))
        with part("the Scaler's own manager"):
            asyncio.run(scaler_manager.measure(running))
    for where in WHERE:
        with part(f"price of a turn, {where}"):
            words = [sys.executable, "-m", "tests.benchmarks.turn_prices_elsewhere", where]
            subprocess.run(words, cwd=ROOT, check=True, timeout=MOST_SECONDS)


if __name__ == "__main__":
    main()
