"""What a decision costs in a large fleet, by policy: growing, holding, shrinking; and how it grows with the fleet.

python -m tests.benchmarks.large_fleets [--most 10000]
"""

import argparse
import math
import time
from collections.abc import Sequence
from typing import cast

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.ports import Policy
from ebbflow.core.worker import Worker
from ebbflow.decision.decide import Circumstances, decide
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderShare
from ebbflow.fleet.nameable import ours
from tests.benchmarks.world import tell
from tests.making import fleet_of

SIZES = (10, 100, 1000, 10_000)
GOAL_MS = {1000: 40.0, 10_000: 500.0}
GOAL_EXPONENT = 1.1
KINDS = (("a100",), ("h100",), ("a100", "gpu=4"))
PHASES = ("growing", "holding", "shrinking")
MOST = 10_000
"""Of a fleet."""
LIMITS = Limits(max_workers=MOST, min_idle_seconds=60, min_seconds_between_stops=0)
LEAST_SECONDS = 0.02
"""Short ones are repeated for so long."""


def measure(most: int = 10_000) -> None:
    """Print each policy's worst phase at each size, and its exponent."""
    for kind, model in ours().items():
        worst: dict[int, tuple[float, str]] = {}
        for size in (each for each in SIZES if each <= most):
            found = {phase: _seconds(cast(Policy, model()), phase, size) for phase in PHASES}
            phase = max(found, key=lambda each: found[each])
            worst[size] = found[phase], phase
        sizes = [size for size in worst if size >= 100]
        exponent = math.log(worst[sizes[-1]][0] / worst[sizes[0]][0], sizes[-1] / sizes[0])
        told = ", ".join(
            f"{size}: {1000 * seconds:.1f} ms {phase}" + (f" (goal {GOAL_MS[size]:g})" if size in GOAL_MS else "")
            for size, (seconds, phase) in worst.items()
        )
        tell(f"decision of {kind}: {told}; exponent {exponent:.2f} (goal {GOAL_EXPONENT})")


def _seconds(policy: Policy, phase: str, size: int) -> float:
    shares = tuple(
        ProviderShare(f"local/{name}", MOST, ProviderCaps("f", capabilities=kind))
        for name, kind in zip("abc", KINDS, strict=True)
    )
    fleet = fleet_of(*((share.provider, MOST) for share in shares), policy=policy, limits=LIMITS)
    observation = _observation(phase, size, [share.provider for share in shares])
    took, repeats = 0.0, 0
    while took < LEAST_SECONDS:
        # It waits for nothing, so that this is its time, whatever else the machine does.
        began = time.process_time()
        decide(observation, shares, fleet, Circumstances(per_shape_demand=True))
        took, repeats = took + time.process_time() - began, repeats + 1
    return took / repeats


def _observation(phase: str, size: int, providers: Sequence[str]) -> Observation:
    is_busy = phase != "shrinking"
    # One that grows comes to its size.
    count = size // 2 if phase == "growing" else size
    workers = tuple(
        Worker(
            f"demo-3f9c-1-{number}",
            providers[number % 3],
            WorkerState.READY,
            busy=is_busy,
            idle_seconds=None if is_busy else 9000.0,
            capabilities=KINDS[number % 3],
            registered=True,
        )
        for number in range(count)
    )
    queued = 20 * size if phase == "growing" else 0
    shapes = tuple(Shape(kind, queued // 3) for kind in KINDS) if queued else ()
    demand = Demand(queued=sum(shape.count for shape in shapes), running=count if is_busy else 0, shapes=shapes)
    return Observation(demand, workers, elapsed_seconds=30.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    measure(parser.parse_args().most)
