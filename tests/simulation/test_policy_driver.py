"""Our policies decide in the virtual world on what production knows, and a bad answer is that policy's failure."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.decision.limits import Limits
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.environment import K8S, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league import simulate
from ebbflow.simulation.policy_driver import EPOCH_SECONDS, UNSPACED, PolicyDriver
from ebbflow.simulation.recorded import Trace, load

STEADY = BootTimes(100.0, 0.0, 100.0, 100.0)
SURE = Environment("sure", (VirtualProvider("sure", STEADY),))


@dataclass
class Scripted:
    """Wants what it is told, and keeps what it saw."""

    wanted: Any = 1
    """Any: also what no policy may want."""
    kind: str = "scripted"
    seen: list[Observation] = field(default_factory=list)

    def decide(self, observation: Observation) -> Decision:
        # The world's workers are good for one tick only.
        self.seen.append(replace(observation, workers=tuple(replace(worker) for worker in observation.workers)))
        if isinstance(self.wanted, Exception):
            raise self.wanted
        count = self.wanted(observation) if callable(self.wanted) else self.wanted
        before = observation.remembered.get("ticks", (0.0,))[0]
        return Decision((Want(count=count),), "scripted", remembers={"ticks": (before + 1,)})


def burst(count: int = 1, service: float = 30.0) -> Trace:
    return Trace("burst", (0.0,) * count, (service,) * count)


def test_a_policy_sees_a_worker_start_serve_and_idle() -> None:
    policy = Scripted()
    simulate(burst(), SURE, PolicyDriver(policy, SURE, interval_seconds=10))
    first, starting, busy, idle = (policy.seen[place] for place in (0, 4, 12, 20))
    assert first.workers == ()
    assert [first.demand.queued, first.demand.running, first.demand.arrived] == [1, 0, 1]
    (worker,) = starting.workers
    assert (worker.state, worker.joining_seconds, worker.state_seconds) == (WorkerState.STARTING, 40.0, 40.0)
    (worker,) = busy.workers
    assert (worker.state, worker.busy, worker.idle_seconds, worker.state_seconds) == (
        WorkerState.READY,
        True,
        None,
        20.0,
    )
    (worker,) = idle.workers
    assert (worker.busy, worker.idle_seconds, worker.usd_per_hour) == (False, 70.0, 1.0)
    assert (idle.demand.served, idle.demand.served_units, idle.demand.total) == (1, 30.0, 0)


def test_a_policy_is_told_the_hour_and_what_it_remembered() -> None:
    policy = Scripted()
    simulate(burst(), SURE, PolicyDriver(policy, SURE, interval_seconds=10))
    assert policy.seen[0].at_seconds == EPOCH_SECONDS
    assert policy.seen[0].remembered == {}
    assert policy.seen[3].at_seconds == EPOCH_SECONDS + 30
    assert (policy.seen[3].elapsed_seconds, policy.seen[3].remembered) == (10.0, {"ticks": (3.0,)})


def test_a_failed_launch_is_seen_once_and_its_provider_rests() -> None:
    failing = Environment("failing", (VirtualProvider("f", STEADY, failing_share=1.0),))
    policy = Scripted()
    limits = Limits(max_workers=5, min_seconds_after_failure=120)
    outcome = simulate(burst(), failing, PolicyDriver(policy, failing, interval_seconds=10, limits=limits))
    states = [[worker.state for worker in seen.workers] for seen in policy.seen]
    assert states[15:17] == [[WorkerState.FAILED], []]
    assert states[28] == [WorkerState.STARTING]
    assert outcome.score is not None
    assert outcome.score.unserved == 1


def test_out_of_stock_sends_the_next_launch_elsewhere() -> None:
    first = VirtualProvider("first", STEADY, out_of_stock=((0.0, 1e9),))
    two = Environment("two", (first, VirtualProvider("second", STEADY)))
    policy = Scripted()
    limits = Limits(max_workers=5, min_seconds_after_failure=120)
    simulate(burst(), two, PolicyDriver(policy, two, interval_seconds=10, limits=limits))
    assert [worker.provider for worker in policy.seen[5].workers] == ["second"]


def test_busy_workers_are_never_stopped() -> None:
    policy = Scripted(lambda observation: 3 if observation.at_seconds < EPOCH_SECONDS + 130 else 0)
    outcome = simulate(burst(3, 500.0), SURE, PolicyDriver(policy, SURE, interval_seconds=10))
    assert outcome.score is not None
    assert (outcome.score.lost, outcome.score.unserved) == (0, 0)


def test_limits_hold_in_the_virtual_world_as_they_do_in_a_turn() -> None:
    limits = Limits(max_workers=2, min_idle_seconds=600)
    policy = Scripted(lambda observation: 50 if observation.at_seconds < EPOCH_SECONDS + 130 else 0)
    simulate(burst(), SURE, PolicyDriver(policy, SURE, interval_seconds=10, limits=limits))
    assert max(len(seen.workers) for seen in policy.seen) == 2
    longest = max(worker.idle_seconds or 0.0 for seen in policy.seen for worker in seen.workers)
    assert 600 <= longest <= 680


def test_demand_is_shown_by_what_it_requires() -> None:
    trace = Trace("shapes", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (("gpu=2",), (), ("gpu=2",)))
    policy = Scripted()
    simulate(trace, SURE, PolicyDriver(policy, SURE))
    assert [(shape.requires, shape.count) for shape in policy.seen[0].demand.shapes] == [((), 1), (("gpu=2",), 2)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (RuntimeError("out of ideas"), "scripted raised RuntimeError: out of ideas"),
        (float("nan"), "scripted wants nan workers; that must be a whole number from 0 to 10000"),
        (1_000_000, "scripted wants 1000000 workers"),
        (-1, "scripted wants -1 workers"),
        ("many", "scripted raised TypeError"),
    ],
    ids=["raises", "nan", "million", "negative", "text"],
)
def test_a_policy_that_fails_is_reported_and_nobody_else_suffers(wanted: object, said: str) -> None:
    outcome = simulate(burst(), SURE, PolicyDriver(Scripted(wanted), SURE))
    assert outcome.score is None
    assert said in outcome.failure
    assert outcome.failure.startswith("after 0 s: ")


def test_memory_that_is_no_number_is_a_failure() -> None:
    class Forgetful(Scripted):
        def decide(self, observation: Observation) -> Decision:
            return replace(super().decide(observation), remembers={"rates": (float("nan"),)})

    assert (
        "remembers rates with a number that is none" in simulate(burst(), SURE, PolicyDriver(Forgetful(), SURE)).failure
    )


@pytest.mark.parametrize("interval", [0.0, -5.0, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="it must be positive"):
        PolicyDriver(VanillaPolicy(), K8S, interval_seconds=interval)


def test_what_a_policy_remembers_is_plain_json() -> None:
    policy = Scripted()
    simulate(burst(), SURE, PolicyDriver(policy, SURE, limits=UNSPACED))
    assert json.loads(json.dumps({**policy.seen[-1].remembered}))


def test_the_same_seed_gives_the_same_bytes() -> None:
    trace = load("mooncake").first(1500)
    runs = [simulate(trace, K8S, PolicyDriver(VanillaPolicy(), K8S), seed=2) for _ in range(2)]
    assert runs[0] == runs[1]
