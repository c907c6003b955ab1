"""Limits: each that binds says so with its numbers, and persons' overrides speak in the order they came."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.errors import OverrideRefused
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.worker import Worker
from ebbflow.decision.limits import Bounded, Limits, apply, check_request
from ebbflow.decision.schedule import Floor

FREE = Limits(max_workers=100, min_seconds_between_stops=0)


def observed(ready: int, *, gone_soon: int = 0, complete: bool = True) -> Observation:
    states = [WorkerState.READY] * ready + [WorkerState.TERMINATING] * gone_soon
    workers = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", state) for index, state in enumerate(states))
    return Observation(Demand(complete=complete), workers)


def wants(count: int | None) -> Decision:
    return Decision(None if count is None else (Want(count=count),), "test")


def held(kind: OverrideKind, count: int, *ids: str, key: str = "run-1", force: bool = False) -> Override:
    return Override(key, kind, count, "ada", "", 60.0, worker_ids=ids, force=force)


FLOOR, CEILING, PIN = OverrideKind.FLOOR, OverrideKind.CEILING, OverrideKind.PIN
FLOOR_3 = "floor 3 by ada for another 60 s"
CEILING_1 = "ceiling 1 by ada for another 60 s"


def numbers(bounded: Bounded) -> tuple[int, int, int]:
    return bounded.target, bounded.launches, bounded.stops


@pytest.mark.parametrize(
    ("wanted", "ready", "result"),
    [(3, 1, (3, 2, 0)), (1, 3, (1, 0, 2)), (2, 2, (2, 0, 0)), (None, 2, (2, 0, 0)), (0, 0, (0, 0, 0))],
)
def test_without_limits_the_decision_stands(wanted: int | None, ready: int, result: tuple[int, int, int]) -> None:
    bounded = apply(wants(wanted), observed(ready), FREE)
    assert (numbers(bounded), bounded.reasons) == (result, ())


@pytest.mark.parametrize(
    ("limits", "wanted", "ready", "result", "rule", "text"),
    [
        ({"min_workers": 2}, 0, 3, (2, 0, 1), "limits.min_workers", "min_workers is 2: 0 becomes 2"),
        ({"min_workers": 2}, None, 0, (2, 2, 0), "limits.min_workers", "min_workers is 2: 0 becomes 2"),
        ({"max_workers": 4}, 9, 3, (4, 1, 0), "limits.max_workers", "max_workers is 4: 9 becomes 4"),
        ({"max_workers": 4}, None, 6, (4, 0, 2), "limits.max_workers", "max_workers is 4: 6 becomes 4"),
    ],
)
def test_minimum_and_maximum_bind_and_say_so(
    limits: dict[str, int], wanted: int | None, ready: int, result: tuple[int, int, int], rule: str, text: str
) -> None:
    bounded = apply(wants(wanted), observed(ready), FREE.model_copy(update=limits))
    assert numbers(bounded) == result
    assert bounded.reasons == (Reason(rule, text),)


def test_the_library_row_of_31_tasks_on_3_groups_stops_at_the_maximum() -> None:
    bounded = apply(wants(4), observed(3), Limits(max_workers=3))
    assert numbers(bounded) == (3, 0, 0)
    assert bounded.reasons == (Reason("limits.max_workers", "max_workers is 3: 4 becomes 3"),)


def test_workers_that_are_being_ended_take_room_until_they_are_gone() -> None:
    bounded = apply(wants(4), observed(1, gone_soon=2), Limits(max_workers=4))
    assert numbers(bounded) == (4, 1, 0)
    text = "launches: 3 workers may exist, max_workers is 4: 3 becomes 1"
    assert bounded.reasons == (Reason("limits.max_workers", text),)


@pytest.mark.parametrize(
    ("overrides", "wanted", "target", "rules"),
    [
        ([held(FLOOR, 3)], 1, 3, [("override.floor", f"{FLOOR_3}: 1 becomes 3")]),
        ([held(FLOOR, 3)], 5, 5, []),
        ([held(CEILING, 1)], 5, 1, [("override.ceiling", f"{CEILING_1}: 5 becomes 1")]),
        ([held(CEILING, 1)], 0, 0, []),
        (
            [held(FLOOR, 3), held(CEILING, 1)],
            2,
            1,
            [("override.floor", f"{FLOOR_3}: 2 becomes 3"), ("override.ceiling", f"{CEILING_1}: 3 becomes 1")],
        ),
        (
            [held(CEILING, 1), held(FLOOR, 3)],
            2,
            3,
            [("override.ceiling", f"{CEILING_1}: 2 becomes 1"), ("override.floor", f"{FLOOR_3}: 1 becomes 3")],
        ),
    ],
)
def test_overrides_speak_oldest_first_so_that_the_last_word_counts(
    overrides: list[Override], wanted: int, target: int, rules: list[tuple[str, str]]
) -> None:
    bounded = apply(wants(wanted), observed(2), FREE, overrides=overrides)
    assert bounded.target == target
    assert bounded.reasons == tuple(Reason(*rule) for rule in rules)


def test_nobody_overrides_the_fleets_own_limits() -> None:
    limits = Limits(min_workers=2, max_workers=4)
    assert apply(wants(3), observed(3), limits, overrides=[held(FLOOR, 9)]).target == 4
    assert apply(wants(3), observed(3), limits, overrides=[held(CEILING, 0)]).target == 2


def test_a_floor_holds_while_demand_is_unknown() -> None:
    assert apply(wants(None), observed(1, complete=False), FREE, overrides=[held(FLOOR, 3)]).launches == 2


def test_pins_and_preferences_are_passed_on() -> None:
    overrides = [held(PIN, 0, "w-1"), held(CEILING, 1, "w-2", "w-3"), held(FLOOR, 1, "w-4")]
    bounded = apply(wants(2), observed(2), FREE, overrides=overrides)
    assert bounded.pinned == ("w-1",)
    assert bounded.preferred == ("w-2", "w-3")
    assert (bounded.forced, bounded.forced_ids) == (0, ())


def test_a_ceiling_that_binds_makes_a_stop_urgent_and_skips_the_spacing() -> None:
    limits = Limits(min_seconds_between_stops=60)
    observation = replace(observed(3), seconds_since_stop=1.0)
    calm = apply(wants(1), observation, limits)
    assert (calm.stops, calm.hurried) == (0, 0)
    urgent = apply(wants(3), observation, limits, overrides=[held(CEILING, 1)])
    assert (urgent.stops, urgent.hurried) == (2, 2)


def test_force_reaches_as_many_as_the_person_asked_for_and_no_more() -> None:
    bounded = apply(wants(0), observed(4), FREE, overrides=[held(CEILING, 3, "w-1", force=True)])
    assert (bounded.stops, bounded.forced, bounded.forced_ids) == (4, 1, ("w-1",))


def test_regression_a_forced_ceiling_that_is_reached_forces_nobody_any_more() -> None:
    bounded = apply(wants(1), observed(3), FREE, overrides=[held(CEILING, 3, force=True)])
    assert (bounded.stops, bounded.forced) == (2, 0)


def test_regression_force_does_not_spread_to_workers_named_without_force() -> None:
    overrides = [held(CEILING, 1, "w-1", key="run-1"), held(CEILING, 2, "w-2", key="run-2", force=True)]
    bounded = apply(wants(4), observed(4), FREE, overrides=overrides)
    assert (bounded.forced, bounded.forced_ids) == (2, ("w-2",))


@pytest.mark.parametrize(
    ("since", "launches", "reasons"),
    [
        (None, 1, ("starts: one per 30 s: 3 becomes 1",)),
        (29.0, 0, ("starts: the last was 29 s ago, 30 s must pass: 3 becomes 0",)),
        (30.0, 1, ("starts: one per 30 s: 3 becomes 1",)),
    ],
)
def test_starts_are_spaced(since: float | None, launches: int, reasons: tuple[str, ...]) -> None:
    observation = replace(observed(1), seconds_since_start=since)
    bounded = apply(wants(4), observation, FREE.model_copy(update={"min_seconds_between_starts": 30.0}))
    assert bounded.launches == launches
    assert bounded.reasons == tuple(Reason("limits.min_seconds_between_starts", text) for text in reasons)


@pytest.mark.parametrize(
    ("since", "stops", "reasons"),
    [
        (None, 1, ("stops: one per 60 s: 3 becomes 1",)),
        (0.0, 0, ("stops: the last was 0 s ago, 60 s must pass: 3 becomes 0",)),
        (61.0, 1, ("stops: one per 60 s: 3 becomes 1",)),
    ],
)
def test_stops_are_spaced(since: float | None, stops: int, reasons: tuple[str, ...]) -> None:
    observation = replace(observed(4), seconds_since_stop=since)
    bounded = apply(wants(1), observation, Limits(min_seconds_between_stops=60))
    assert bounded.stops == stops
    assert bounded.reasons == tuple(Reason("limits.min_seconds_between_stops", text) for text in reasons)


def test_unknown_demand_fills_the_minimum_only_when_every_listing_is_complete() -> None:
    limits = Limits(min_workers=3)
    known = apply(wants(None), observed(1, complete=False), limits)
    assert known.launches == 2
    blind = apply(wants(None), observed(1, complete=False), limits, listings_complete=False)
    assert blind.launches == 0
    text = "neither demand nor every listing is known, so nothing is launched: 2 becomes 0"
    assert blind.reasons[-1] == Reason("limits.unknown", text)


def test_known_demand_launches_although_one_listing_is_unknown() -> None:
    assert apply(wants(3), observed(1), FREE, listings_complete=False).launches == 2


def test_a_minimum_above_the_maximum_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValidationError, match="min_workers 5 is above max_workers 4; lower one of them"):
        Limits(min_workers=5, max_workers=4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_workers", -1),
        ("max_workers", 10_001),
        ("min_seconds_between_starts", -1),
        ("min_seconds_after_failure", 86_401),
        ("min_seconds_between_stops", -0.1),
        ("min_idle_seconds", 604_801),
        ("max_usd_per_hour", -1),
        ("max_worker", 3),
    ],
)
def test_a_limit_out_of_bounds_or_unknown_is_refused_by_its_name(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        Limits.model_validate({field: value})


def test_a_request_beyond_the_limits_is_refused_with_the_way_out() -> None:
    limits = Limits(min_workers=1, max_workers=4)
    check_request(4, limits, asked="scale_up by 1 from 3")
    check_request(1, limits, asked="scale_down by 1 from 2")
    with pytest.raises(OverrideRefused, match=r"scale_up by 2 from 3 means 5 workers, above limits.max_workers 4"):
        check_request(5, limits, asked="scale_up by 2 from 3")
    with pytest.raises(OverrideRefused, match=r"scale_down by 2 from 2 means 0 workers, below limits.min_workers 1"):
        check_request(0, limits, asked="scale_down by 2 from 2")


def test_a_floor_by_the_clock_raises_what_the_policy_wants_and_a_person_lowers_it() -> None:
    floor = Floor(3, "schedule '0 8 * * *' UTC asks for 3 until 2026-11-25 10:00")
    nothing = Decision((Want(count=0),), "x")
    bounded = apply(nothing, Observation(Demand(), ()), Limits(), floors=[floor])
    assert bounded.launches == 3
    assert bounded.reasons[0] == Reason("schedule.floor", f"{floor.reason}: 0 becomes 3")
    ceiling = Override("k", OverrideKind.CEILING, 1, "ada", "", 60.0)
    assert apply(nothing, Observation(Demand(), ()), Limits(), floors=[floor], overrides=[ceiling]).launches == 1
