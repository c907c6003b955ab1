"""All benchmarks: `make bench`. They print ratios within one run; absolute times say more about the machine."""

import asyncio
import tempfile
from pathlib import Path

from tests.benchmarks import command_start, gateway, kubernetes_calls, vast
from tests.benchmarks.world import tell, world


def main() -> None:
    """Measure what needs no Prefect, then start one world and measure in it."""
    command_start.measure()
    gateway.measure()
    asyncio.run(kubernetes_calls.measure())
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(vast.measure(Path(folder)))
    tell("starting a Prefect server and a stand-in master")
    with world() as running:
        # Only now: Prefect reads the environment that the world has set when it is imported.
        from tests.benchmarks import ray_autoscaler, scaler_manager, slurm, turn_by_worker, turn_in_process

        asyncio.run(turn_in_process.measure(running))
        asyncio.run(slurm.measure(running))
        asyncio.run(turn_by_worker.measure(running))
        asyncio.run(ray_autoscaler.measure(running))
        asyncio.run(scaler_manager.measure(running))


if __name__ == "__main__":
    main()
