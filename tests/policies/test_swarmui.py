"""`swarmui`: the rule of SwarmUI's own auto-scaling backend, as its source has it."""

from dataclasses import replace
from typing import Any

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.worker import Worker
from ebbflow.fleet.model import Fleet
from ebbflow.policies.swarmui import SwarmUIPolicy

IDLE = Worker("w-0", "local-provider/a", WorkerState.READY, busy=False, idle_seconds=900.0)


def observed(demand: Demand, *, busy: int = 0, idle: int = 0, starting: int = 0) -> Observation:
    workers = [replace(IDLE, worker_id=f"i-{index}") for index in range(idle)]
    workers += [replace(IDLE, worker_id=f"b-{index}", busy=True, idle_seconds=None) for index in range(busy)]
    workers += [Worker(f"s-{index}", "local-provider/a", WorkerState.STARTING) for index in range(starting)]
    return Observation(demand, tuple(workers))


@pytest.mark.parametrize(
    ("demand", "workers", "wanted", "headline"),
    [
        pytest.param(Demand(queued=9, waiting=9), {}, 0, "queue 9 < 10", id="nine wait: not yet"),
        pytest.param(Demand(queued=10, waiting=10), {}, 1, "queue 10 >= 10", id="ten wait: one"),
        pytest.param(
            Demand(queued=30, running=2, waiting=8), {"busy": 2}, 3, "queue 10 >= 10", id="waiting and running"
        ),
        pytest.param(Demand(queued=30, running=2, waiting=7), {"busy": 2}, 2, "queue 9 < 10", id="images do not count"),
        pytest.param(
            Demand(queued=0, running=12, waiting=0), {"busy": 3}, 3, "queue 12, nobody waits", id="nobody waits"
        ),
        pytest.param(Demand(queued=40, waiting=40), {"starting": 1}, 2, "queue 40 >= 10", id="one more a turn"),
        pytest.param(Demand(waiting=0), {"idle": 2, "busy": 1}, 2, "queue 0, 2 idle", id="idle ones go one by one"),
        pytest.param(Demand(queued=3, waiting=3), {"idle": 1}, 1, "queue 3 < 10", id="idle ones stay while some wait"),
        pytest.param(Demand(queued=12), {"busy": 1}, 2, "queue 12 >= 10", id="a master that does not tell them apart"),
    ],
)
def test_the_rule(demand: Demand, workers: dict[str, int], wanted: int, headline: str) -> None:
    decision = SwarmUIPolicy().decide(observed(demand, **workers))
    assert decision.total == wanted, decision.reasons
    assert decision.headline == headline


def test_unknown_demand_keeps_what_exists() -> None:
    decision = SwarmUIPolicy().decide(observed(Demand(complete=False, detail="down"), idle=2))
    assert decision.total is None
    assert "down" in decision.reasons[0].text


@pytest.mark.parametrize("waiting", range(0, 30, 3))
def test_more_demand_never_means_fewer_workers(waiting: int) -> None:
    less = SwarmUIPolicy().decide(observed(Demand(queued=waiting, waiting=waiting), idle=1, busy=2)).total
    more = SwarmUIPolicy().decide(observed(Demand(queued=waiting + 1, waiting=waiting + 1), idle=1, busy=2)).total
    assert less is not None
    assert more is not None
    assert more >= less


def fleet(**fields: Any) -> Fleet:
    told = {"name": "sdxl", "master": "swarmui-master/main", "providers": [{"block": "local-provider/a"}]}
    return Fleet.model_validate({**told, "policy": {"kind": "swarmui"}, **fields})


def test_the_policy_brings_the_defaults_of_swarmuis_own_backend() -> None:
    limits = fleet().limits
    assert (limits.min_workers, limits.max_workers, limits.min_idle_seconds) == (0, 5, 600)
    assert (limits.min_seconds_between_starts, limits.min_seconds_between_stops) == (60, 60)
    assert limits.min_seconds_after_failure == 120


def test_what_the_fleet_says_itself_wins_over_those_defaults() -> None:
    limits = fleet(limits={"min_workers": 1, "max_workers": 8}).limits
    assert (limits.min_workers, limits.max_workers, limits.min_seconds_between_starts) == (1, 8, 60)


def test_the_record_of_a_fleet_reads_back_as_the_same_fleet() -> None:
    assert Fleet.model_validate_json(fleet().model_dump_json()) == fleet()
