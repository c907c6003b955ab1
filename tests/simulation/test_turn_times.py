"""Turns are played when they were taken, and workers serve from when they did, as far as records tell."""

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import Memory
from ebbflow.core.observation import TurnFacts
from ebbflow.core.plan import Action, Plan, Verb
from ebbflow.core.record import Record
from ebbflow.core.worker import Worker
from ebbflow.simulation.turn_times import LOOKING_SHARE, led_in, looked_after, serving_since, turns_as_taken

STATES = {"wished": WorkerState.WISHED, "starting": WorkerState.STARTING, "ready": WorkerState.READY}


def record(at: float, *states: str, look: float = 0.0, verbs: tuple[Verb, ...] = ()) -> Record:
    workers = tuple(Worker(f"w-{place}", "x/a", STATES[state]) for place, state in enumerate(states))
    actions = tuple(Action(verb, f"w-{place}", "x/a", "") for place, verb in enumerate(verbs))
    return Record(
        fleet="f",
        home="home1",
        chain="abcd",
        number=1,
        turn=TurnFacts(elapsed_seconds=20.0, budget_seconds=16.0, look_seconds=look, at_seconds=at),
        plan=Plan("", len(states), len(states), len(states), actions=actions),
        memory=Memory(workers=workers),
        flow="autoscale",
        flow_run_id="",
        sections={},
        previous=None,
    )


LAUNCHING = record(1000.0, "wished", "ready", verbs=(Verb.LAUNCH,))
REGISTERING = record(1000.0, "starting", "ready", verbs=(Verb.REGISTER,))
ALSO_ENDING = record(1000.0, "wished", "ready", verbs=(Verb.LAUNCH, Verb.TEAR_DOWN))
LATER = record(1020.0, "ready", "ready", look=2.0)


@pytest.mark.parametrize(
    ("before", "noted_at", "was_launched", "since", "is_sure"),
    [
        # The turn noted what came of it as soon as its last worker was registered.
        (LAUNCHING, 1011.0, True, 1011.0, True),
        (REGISTERING, 1003.5, False, 1003.5, True),
        # Without a note: in the middle of the time that the turn acted, from 2 to 16 s.
        (LAUNCHING, 0.0, True, 1009.0, False),
        (LAUNCHING, 999.0, True, 1009.0, False),
        # Seven in ten were ready before it acted, three in ten became so meanwhile.
        (REGISTERING, 0.0, False, 1002.0 + 14.0**2 / 40, False),
        # A note of a turn that did other things besides says no more than that it was over.
        (ALSO_ENDING, 1012.0, True, 1007.0, False),
    ],
)
def test_a_worker_serves_since_the_turn_that_registered_it(
    before: Record, noted_at: float, was_launched: bool, since: float, is_sure: bool
) -> None:
    found, is_found_sure = serving_since(before, LATER, noted_at=noted_at, was_launched=was_launched)
    assert found == pytest.approx(since)
    assert is_found_sure == is_sure


def test_a_turn_that_still_waits_for_another_worker_was_over_later_than_this_one_served() -> None:
    before = record(1000.0, "wished", "wished", verbs=(Verb.LAUNCH, Verb.LAUNCH))
    after = record(1020.0, "ready", "starting", look=2.0)
    since, is_sure = serving_since(before, after, noted_at=1016.0, was_launched=True)
    assert since == pytest.approx(1009.0)
    assert not is_sure


def test_a_clock_that_went_back_makes_nobody_serve_before_a_turn() -> None:
    assert serving_since(LATER, LAUNCHING, noted_at=5.0, was_launched=False) == (1020.0, False)


def test_a_look_comes_some_time_after_its_turn_began() -> None:
    assert looked_after(LATER.turn) == pytest.approx(2.0 * LOOKING_SHARE)


@pytest.mark.parametrize(
    ("looked_at", "interval", "taken"),
    [
        ((), 20.0, ()),
        ((100.0,), 20.0, ()),
        ((100.0, 121.0, 139.0), 20.0, (100.0, 121.0, 139.0)),
        # One run was skipped: there was a turn less.
        ((100.0, 121.0, 161.0), 20.0, (100.0, 121.0, 161.0)),
        # Nobody took turns for a while: those that were due are played.
        ((100.0, 120.0, 201.0), 20.0, (100.0, 120.0, 140.0, 160.0, 180.0, 201.0)),
        # What came too soon was skipped.
        ((100.0, 120.0, 125.0, 141.0), 20.0, (100.0, 120.0, 141.0)),
        # Another interval is late by the same share: a tenth.
        ((100.0, 122.0, 144.0), 10.0, (100.0, 111.0, 122.0, 133.0, 144.0)),
        # Nobody is early.
        ((100.0, 118.0, 136.0), 10.0, (100.0, 110.0, 120.0, 130.0)),
    ],
)
def test_turns_are_taken_when_they_were(
    looked_at: tuple[float, ...], interval: float, taken: tuple[float, ...]
) -> None:
    found = turns_as_taken(
        looked_at, recorded_interval_seconds=20.0, interval_seconds=interval, least_apart_seconds=interval / 2
    )
    assert found == pytest.approx(taken)


def test_turns_that_came_soon_are_taken_by_a_fleet_that_takes_such() -> None:
    found = turns_as_taken(
        (100.0, 160.0, 175.0, 183.0, 220.0),
        recorded_interval_seconds=60.0,
        interval_seconds=60.0,
        least_apart_seconds=11.0,
    )
    assert found == (100.0, 160.0, 175.0, 220.0)


def test_turns_of_a_past_have_others_before_them_and_after_them() -> None:
    turns = led_in((0.0, 21.0, 39.0), lead_seconds=50.0, interval_seconds=20.0, until=140.0)
    assert turns == (10.0, 30.0, 50.0, 71.0, 89.0, 109.0, 129.0)
    assert led_in((), lead_seconds=50.0, interval_seconds=20.0, until=140.0) == ()
