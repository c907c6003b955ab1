"""Policy `no` never asks for a change, whatever it sees."""

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.no import NoPolicy


@pytest.mark.parametrize(("tasks", "workers"), [(0, 0), (1, 0), (99, 1), (0, 5), (5, 3)])
def test_it_has_no_opinion(tasks: int, workers: int) -> None:
    fleet = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", WorkerState.READY) for index in range(workers))
    decision = NoPolicy().decide(Observation(Demand(queued=tasks), fleet))
    assert decision.wanted is None
    assert decision.total is None
    assert decision.headline == "no policy"
    text = f"policy no has no opinion; {workers} serve or start"
    assert decision.reasons == (Reason("policy.no", text),)


def test_unknown_demand_changes_nothing() -> None:
    assert NoPolicy().decide(Observation(Demand(complete=False), ())).wanted is None
