"""Two fleets on one past: what counts of a play, to the second, and to the cent."""

from dataclasses import replace

import pytest

from ebbflow.core.member import Demand
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.fleet.model import Fleet
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.past import Boots, RecordedLook
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import OwnPast, more_of, play_fleet

T0 = 1_767_571_200.0
HOUR = 3600.0
FLEET = Fleet(
    name="quick",
    master="swarmui-master/main",
    providers=(ProviderEntry(block="x/a", max_workers=4),),
    policy=VanillaPolicy(lower_task_ratio=1, upper_task_ratio=2),
    limits=Limits(min_workers=2, max_workers=4, min_idle_seconds=60, min_seconds_between_stops=0),
    interval_seconds=30.0,
)
QUIET = OwnPast(
    looks=tuple(RecordedLook(T0 + 60 * place, Demand(), ()) for place in range(121)),
    boots={"x/a": Boots((30.0, 30.0), 0, 2.0)},
    counts_from=T0 + HOUR,
    until=T0 + 2 * HOUR,
)


def test_where_nothing_came_its_minimum_is_paid_for_the_time_that_counts_and_nothing_else() -> None:
    played = play_fleet(QUIET, FLEET)
    assert played.figures.worker_hours == pytest.approx(2.0)
    assert played.figures.usd == pytest.approx(4.0)
    assert (played.figures.launches, played.figures.stops, played.figures.unpriced_hours) == (0, 0, 0)
    assert played.figures.waited_p95_seconds is None
    assert played.faults.failed == 0


@pytest.mark.parametrize(
    ("recorded", "played", "is_known"),
    [
        pytest.param(None, None, True, id="all came when they were due"),
        pytest.param(None, 15.0, True, id="the played fleet asks for more itself"),
        pytest.param(15.0, 15.0, True, id="some came sooner, as they do in the played fleet"),
        pytest.param(15.0, None, False, id="some came sooner that the played fleet does not take"),
        pytest.param(15.0, 20.0, False, id="some came sooner than in the played fleet"),
    ],
)
def test_recorded_turns_are_those_of_a_fleet_that_would_have_taken_them(
    recorded: float | None, played: float | None, is_known: bool
) -> None:
    past = replace(QUIET, interval_seconds=60.0, waiting_interval_seconds=recorded)
    fleet = FLEET.model_copy(update={"interval_seconds": 60.0, "waiting_interval_seconds": played})
    assert past.turns_at(fleet) == (tuple(60.0 * place for place in range(121)) if is_known else ())


@pytest.mark.parametrize(
    ("recorded", "played", "is_known"),
    [
        pytest.param(None, 5.0, True, id="the played fleet polls itself"),
        pytest.param(5.0, 5.0, True, id="some came by polls, as they do in the played fleet"),
        pytest.param(5.0, None, False, id="some came by polls that the played fleet does not take"),
        pytest.param(5.0, 10.0, False, id="some came by polls that the played fleet takes later"),
    ],
)
def test_recorded_turns_that_came_by_polls_are_those_of_a_fleet_that_polls_alike(
    recorded: float | None, played: float | None, is_known: bool
) -> None:
    past = replace(QUIET, interval_seconds=60.0, waiting_interval_seconds=15.0, poll_interval_seconds=recorded)
    fleet = FLEET.model_copy(
        update={"interval_seconds": 60.0, "waiting_interval_seconds": 15.0, "poll_interval_seconds": played}
    )
    assert past.turns_at(fleet) == (tuple(60.0 * place for place in range(121)) if is_known else ())


def test_polls_shorten_the_wait_of_who_comes_to_a_fleet_at_rest_and_are_played() -> None:
    came = Trace("a crowd", (1510.0,) * 12, (60.0,) * 12)
    past = replace(QUIET, came=came, counts_from=T0)
    soon = FLEET.model_copy(update={"interval_seconds": 300.0, "waiting_interval_seconds": 15.0})
    polled = soon.model_copy(update={"poll_interval_seconds": 5.0})
    waits = [play_fleet(past, fleet).figures.waited_p95_seconds for fleet in (soon, polled)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[1] < waits[0] - 30.0


def test_turns_that_follow_soon_shorten_waits_and_are_played() -> None:
    """Three long requests, of which one waits for two workers, and then one comes every two seconds."""
    at = (1700.0,) * 3 + tuple(1800.0 + 2.0 * place for place in range(300))
    came = Trace("a rise", at, (600.0,) * 3 + (6.0,) * 300)
    past = replace(QUIET, came=came, counts_from=T0)
    slow = FLEET.model_copy(update={"interval_seconds": 300.0})
    soon = slow.model_copy(update={"waiting_interval_seconds": 15.0})
    waits = [play_fleet(past, fleet).figures.waited_p95_seconds for fleet in (slow, soon)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[1] < waits[0] - 60.0


def test_where_no_price_is_known_hours_are_told_and_no_money() -> None:
    played = play_fleet(replace(QUIET, boots={}), FLEET)
    assert played.figures.usd is None
    assert played.figures.unpriced_hours == pytest.approx(2.0)
    assert any("a guess" in note for note in played.notes)


def test_what_came_before_the_time_that_counts_raises_a_fleet_and_is_not_counted_itself() -> None:
    busy = tuple(
        replace(look, demand=Demand(queued=8, running=4) if 40 <= place < 62 else Demand())
        for place, look in enumerate(QUIET.looks)
    )
    quiet, early = play_fleet(QUIET, FLEET).figures, play_fleet(replace(QUIET, looks=busy), FLEET).figures
    assert early.worker_hours > quiet.worker_hours, "who was there at the beginning is paid until the end"
    whole = play_fleet(replace(QUIET, looks=busy, counts_from=T0), FLEET).figures
    assert whole.launches > early.launches


def test_requests_wait_and_workers_are_launched_and_stopped_where_they_come() -> None:
    busy = tuple(
        replace(look, demand=Demand(queued=8, running=2) if 70 <= place < 100 else Demand())
        for place, look in enumerate(QUIET.looks)
    )
    past = replace(QUIET, looks=busy)
    few = play_fleet(past, FLEET.model_copy(update={"limits": FLEET.limits.model_copy(update={"max_workers": 2})}))
    many = play_fleet(past, FLEET)
    assert (few.figures.launches, few.figures.stops) == (0, 0)
    assert many.figures.launches >= 1
    assert many.figures.stops >= 1
    assert (few.figures.waited_p95_seconds or 0) >= (many.figures.waited_p95_seconds or 0)


def test_a_past_whose_demand_was_never_known_cannot_be_played() -> None:
    unknown = tuple(replace(look, demand=Demand(complete=False)) for look in QUIET.looks)
    with pytest.raises(TraceError, match="0 recorded looks knew the demand"):
        play_fleet(replace(QUIET, looks=unknown), FLEET)


@pytest.mark.parametrize(
    ("before", "after", "percent"), [(10, 12, 20.0), (10, 5, -50.0), (0, 0, 0.0), (0, 1, None), (4, 4, 0.0)]
)
def test_more_is_a_share_of_what_was_before(before: float, after: float, percent: float | None) -> None:
    assert more_of(before, after) == percent
