"""Which rule costs least for which demand: plays them and renews `docs/which-rule.csv`, the source of the picture.

`python -m tests.benchmarks.which_rule`. Environment `k8s`, two seeds, a decision each 5 s. Our policies have their
defaults and those of a fleet's limits; `marginal` is told what waiting is worth, the first digit of the service time
and the median boot. The rules of other systems are the baselines of the league, which are told the true service time.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ebbflow.core.ports import Policy
from ebbflow.decision.limits import Limits
from ebbflow.policies.busy_ratio import BusyRatioPolicy
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.policies.pending_tasks import PendingTasksPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.environment import ENVIRONMENTS, Environment
from ebbflow.simulation.league_fleet import league_fleet
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.world import Driver
from tests.benchmarks.policy_slices import played, trace_of

TABLE = Path(__file__).resolve().parents[2] / "docs" / "which-rule.csv"
ENVIRONMENT = ENVIRONMENTS["k8s"]
WORTHS = (1.0, 10.0)
SEEDS = range(1, 3)
TURN_SECONDS, MOST_WORKERS = 5.0, 120

TRACES = (
    "sparse_v",
    "flat_a",
    "office_v",
    "sessions_v",
    "bursts_v",
    "crowds_v",
    "r1_am",
    "mmimg_pm",
    "large_d6",
    "vidur_conv",
)
OURS: dict[str, Callable[[], Policy]] = {
    "pending_tasks": PendingTasksPolicy,
    "busy_ratio": BusyRatioPolicy,
    "vanilla": VanillaPolicy,
}
THEIRS = ("erlangC", "seasonal", "keda-q1", "vast-like", "ray-idle300", "knative", "knative-delay600", "swarmui-tuned")


def main(arguments: Sequence[str] | None = None) -> None:
    """Play and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=TABLE, help="the table to write")
    given = parser.parse_args(arguments)
    rows = []
    for trace in TRACES:
        print(trace, file=sys.stderr, flush=True)
        rows += [[trace, rule, *(f"{cost:.1f}" for cost in costs)] for rule, costs in _costs(trace)]
    with given.to.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trace", "rule", *(f"hours_{worth:g}" for worth in WORTHS)])
        writer.writerows(rows)


def _costs(trace: str) -> list[tuple[str, list[float]]]:
    """Paid hours and what waiting is worth, for each rule."""
    ours = [_cost(trace, partial(_marginal, trace, worth), worth) for worth in WORTHS]
    rules: dict[str, Callable[[], Driver]] = {name: partial(_by_default, make) for name, make in OURS.items()}
    rules.update({name: BASELINES[name] for name in THEIRS})
    return [("marginal", ours), *((name, _all(trace, driver)) for name, driver in rules.items())]


def _cost(trace: str, driver: Callable[[], Driver], worth: float) -> float:
    return played(trace, ENVIRONMENT, SEEDS, driver).cost(worth)


def _all(trace: str, driver: Callable[[], Driver]) -> list[float]:
    score = played(trace, ENVIRONMENT, SEEDS, driver)
    return [score.cost(worth) for worth in WORTHS]


def _marginal(trace: str, worth: float) -> Driver:
    policy = MarginalPolicy(
        waiting_worth=worth,
        boot_seconds=ENVIRONMENT.providers[0].boots.median_seconds,
        service_seconds=float(f"{trace_of(trace).mean_service_seconds:.1g}"),
    )
    return _driver(policy, ENVIRONMENT)


def _by_default(make: Callable[[], Policy]) -> Driver:
    return _driver(make(), ENVIRONMENT)


def _driver(policy: Policy, environment: Environment) -> Driver:
    limits = Limits(max_workers=MOST_WORKERS, **getattr(policy, "default_limits", {}))
    fleet = league_fleet(environment, policy).model_copy(update={"limits": limits})
    return PolicyDriver(fleet, environment, interval_seconds=TURN_SECONDS)


if __name__ == "__main__":
    main()
