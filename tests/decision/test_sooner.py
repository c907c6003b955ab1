"""Whether work waits for which a turn can do anything before the next one is due."""

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.worker import Worker
from ebbflow.decision.limits import Limits
from ebbflow.decision.sooner import can_change, waits
from tests.making import fleet_of

FLEET = fleet_of(("local/a", 2), ("local/b", 1), limits=Limits(max_workers=9))


@pytest.mark.parametrize(
    ("demand", "does"),
    [
        pytest.param(Demand(), False, id="an empty queue"),
        pytest.param(Demand(queued=0, running=5), False, id="work that runs"),
        pytest.param(Demand(queued=1), True, id="one that waits"),
        pytest.param(Demand(queued=0, waiting=2), True, id="a master that tells who finds nobody free"),
        pytest.param(Demand(queued=3, complete=False), False, id="a master that did not answer"),
    ],
)
def test_work_waits_where_the_master_says_so(demand: Demand, does: bool) -> None:
    assert waits(demand) is does


READY, STARTING, WISHED = WorkerState.READY, WorkerState.STARTING, WorkerState.WISHED
GOING, GONE = WorkerState.TERMINATING, WorkerState.GONE


@pytest.mark.parametrize(
    ("states", "can"),
    [
        pytest.param([], True, id="nobody is there"),
        pytest.param([READY, READY], True, id="a provider has room for one more"),
        pytest.param([READY, READY, READY], False, id="all that may be serve"),
        pytest.param([READY, READY, STARTING], True, id="one of them starts, and will be registered"),
        pytest.param([READY, READY, WISHED], True, id="one of them is launched by this turn"),
        pytest.param([READY, READY, GOING], True, id="one of them goes, and another may come for it"),
        pytest.param([READY, READY, READY, GONE], False, id="who is gone makes no room that is not there"),
    ],
)
def test_a_turn_can_change_something_unless_all_that_a_fleet_may_have_serve(
    states: list[WorkerState], can: bool
) -> None:
    workers = [Worker(f"w-{place}", "local/a", state) for place, state in enumerate(states)]
    assert can_change(FLEET, workers, ()) is can


@pytest.mark.parametrize(
    ("kind", "can"),
    [
        (OverrideKind.PAUSE, False),
        (OverrideKind.WIND_DOWN, False),
        (OverrideKind.FLOOR, True),
        (OverrideKind.CEILING, True),
        (OverrideKind.PIN, True),
    ],
)
def test_nothing_can_change_in_a_fleet_that_a_person_holds(kind: OverrideKind, can: bool) -> None:
    held = Override("run-1", kind, 1, "ada", "", 60.0)
    assert can_change(FLEET, [], [held]) is can
