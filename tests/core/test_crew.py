"""Workers are counted once, as every rule would count them."""

from dataclasses import fields, replace

import pytest

from ebbflow.core.crew import Alike, Crew
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import CanLaunch, Observation, Spare
from ebbflow.core.worker import Mark, Worker

READY = Worker("a", "near", WorkerState.READY, state_seconds=500.0, busy=True)
IDLE = replace(READY, worker_id="b", busy=False, idle_seconds=90.0)
FRESH = replace(IDLE, worker_id="c", provider="far", idle_seconds=4.0)
UNTRIED = replace(FRESH, worker_id="d", state_seconds=4.0)
SILENT = replace(READY, worker_id="e", busy=None)
RETIRING = replace(IDLE, worker_id="f", is_retiring=True)
MARKED = replace(IDLE, worker_id="g", state=WorkerState.DRAINING, mark=Mark(1, "idle", 900.0))
STARTS = Worker("h", "far", WorkerState.STARTING, joining_seconds=30.0)
PENDING = replace(STARTS, worker_id="i", state=WorkerState.PENDING)
WISHED = replace(STARTS, worker_id="j", state=WorkerState.WISHED)
LOST = replace(STARTS, worker_id="k", state=WorkerState.LOST)
GONE = replace(STARTS, worker_id="l", state=WorkerState.GONE)
EVERYONE = (READY, IDLE, FRESH, UNTRIED, SILENT, RETIRING, MARKED, STARTS, PENDING, WISHED, LOST, GONE)


def test_everyone_is_counted_by_standing_and_provider() -> None:
    counts = Crew(EVERYONE).counts
    assert (counts.supply, counts.ready, counts.idle, counts.existing, counts.retiring) == (8, 5, 4, 11, 1)
    assert counts.at == {"near": 5, "far": 6}
    assert counts.held == {"near": 4, "far": 5}


def test_an_observation_counts_as_its_workers_say() -> None:
    seen = Observation(Demand(), EVERYONE)
    assert seen.supply == sum(worker.is_supply for worker in EVERYONE)
    assert seen.existing == sum(worker.may_exist for worker in EVERYONE)
    assert (seen.serving, seen.idle) == (5, 4)
    assert seen.joining == (STARTS, PENDING, WISHED)
    assert seen.count(WorkerState.READY) == 6


@pytest.mark.parametrize(("seconds", "rested", "eased"), [(3.0, 3, 0), (4.0, 3, 0), (5.0, 1, 1), (91.0, 0, 2)])
def test_idle_ones_are_told_by_how_long_they_have_been(seconds: float, rested: int, eased: int) -> None:
    crew = Crew((READY, IDLE, FRESH, UNTRIED, SILENT, MARKED))
    assert (crew.rested(seconds), crew.eased(seconds)) == (rested, eased)


def test_those_on_their_way_and_those_that_have_just_come_are_told_by_their_times() -> None:
    seen = Observation(Demand(), (READY, UNTRIED, STARTS, MARKED, replace(PENDING, joining_seconds=2.0)))
    assert seen.joining_seconds == [30.0, 2.0]
    assert [seen.fresh(seconds) for seconds in (4.0, 4.1, 501.0)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("count", "seconds", "found"),
    [(1, 0.0, ["b"]), (9, 0.0, ["b", "c", "d"]), (9, 5.0, ["b"]), (0, 0.0, []), (-1, 0.0, []), (9, 91.0, [])],
)
def test_who_has_rested_for_longest_comes_first_and_of_two_the_first_by_name(
    count: int, seconds: float, found: list[str]
) -> None:
    crew = Crew((UNTRIED, READY, FRESH, IDLE, SILENT, MARKED, PENDING))
    assert [worker_id for worker_id, _ in crew.longest_idle(count, seconds)] == found


def test_only_who_is_pending_or_known_to_be_idle_is_free() -> None:
    assert Crew(EVERYONE).free == (IDLE, FRESH, UNTRIED, PENDING)


def test_the_supply_is_told_apart_by_what_it_can_do() -> None:
    able = replace(READY, capabilities=("gpu",), model="m", units_per_second=2.0, usd_per_hour=1.0)
    assert Crew((READY, SILENT, able, MARKED)).alike == {
        Alike("near", None, (), False, False): 2,
        Alike("near", "m", ("gpu",), True, True): 1,
    }


def test_a_crew_is_equal_to_a_tuple_of_the_same_workers() -> None:
    crew = Crew([READY, IDLE])
    assert crew == (READY, IDLE) == crew == Crew((READY, IDLE)) != Crew((IDLE, READY))
    assert () == Crew(()) != (READY,)
    assert (crew[0], crew[1:], len(crew), list(crew), READY in crew) == (READY, (IDLE,), 2, [READY, IDLE], True)
    assert repr(crew) == repr((READY, IDLE))


def test_an_observation_with_other_workers_counts_anew() -> None:
    seen = Observation(Demand(), (READY, IDLE))
    assert (seen.supply, replace(seen, workers=(READY,)).supply, replace(seen, elapsed_seconds=5.0).supply) == (2, 1, 2)
    assert replace(seen, elapsed_seconds=5.0).workers is seen.workers


def test_an_observation_with_offers_is_the_same_in_all_else() -> None:
    given = {
        "demand": Demand(3), "workers": (READY,), "spares": (Spare("b", "c", "d"),), "seconds_since_start": 1.0,
        "seconds_since_stop": 2.0, "at_seconds": 3.0, "elapsed_seconds": 4.0, "remembered": {"x": (1.0,)},
        "explains": False,
    }  # fmt: skip
    assert {each.name for each in fields(Observation)} == {*given, "can_launch"}
    offers = CanLaunch((), 5)
    seen = Observation(**given)  # type: ignore[arg-type]
    assert seen.offered(offers) == replace(seen, can_launch=offers)
