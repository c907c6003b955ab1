"""Imagined holds: workers are held longer where that would have been cheaper, again and again."""

import math
from collections.abc import Callable

import pytest

from ebbflow.policies.formulas.boot_times import Boots
from ebbflow.policies.formulas.imagined_holds import NAMES, NOBODY, TIMES, Circumstances, Imagined
from ebbflow.policies.formulas.marginal_staffing import tuned_to

BOOTS = Boots(240.0, 290.0)
SERVICE_SECONDS = 4.0


def bursts(second: float) -> float:
    """Three minutes of five busy workers, each 23 minutes."""
    return 1.2 if second % 1380 < 180 else 0.0


def one_crowd(second: float) -> float:
    return 1.2 if second < 180 else 0.0


def even(second: float) -> float:
    return 1.2


def nothing(second: float) -> float:
    return 0.0


def far_apart(second: float) -> float:
    """So far that no hold bridges it."""
    return 1.2 if second % 14_000 < 180 else 0.0


def after(
    per_second: Callable[[float], float],
    *,
    worth: float,
    hours: float = 8.0,
    known: Imagined | None = None,
    begin: float = 0.0,
) -> Imagined:
    """What is remembered after a while of demand, whose load is averaged as the policy does."""
    known, rate, tuned, turn = known or Imagined(), 0.0, tuned_to(worth), 10.0
    held = tuned.held_boots * BOOTS.paid_seconds
    for place in range(round(hours * 3600 / turn)):
        came = per_second(place * turn)
        rate += -math.expm1(-turn / 60) * (came - rate)
        if known.is_due(came * turn, turn, BOOTS.lead_seconds):
            clock, load = begin + place * turn, rate * SERVICE_SECONDS
            known.step(Circumstances(clock, load, rate, SERVICE_SECONDS, BOOTS, held, worth, tuned))
    return known


@pytest.mark.parametrize(
    ("per_second", "worth", "times"),
    [
        pytest.param(bursts, 1.0, 9.0, id="bursts that come again are waited for"),
        pytest.param(bursts, 10.0, 3.0, id="and no longer than that takes, where holds are longer anyway"),
        pytest.param(one_crowd, 10.0, 1.0, id="one crowd changes nothing"),
        pytest.param(even, 1.0, 1.0, id="even demand neither"),
        pytest.param(nothing, 10.0, 1.0, id="nor does none"),
    ],
)
def test_a_hold_is_longer_where_that_would_have_been_cheaper_again_and_again(
    per_second: Callable[[float], float], worth: float, times: float
) -> None:
    assert TIMES[after(per_second, worth=worth).chosen] == times


def test_a_longer_hold_is_given_up_once_bursts_are_too_far_apart_for_it() -> None:
    known = after(bursts, worth=1.0)
    assert known.chosen
    assert after(far_apart, worth=1.0, hours=72, known=known, begin=8 * 3600).chosen == 0


def test_who_serves_all_at_once_leaves_no_request_and_costs_what_is_there() -> None:
    known = after(even, worth=1.0)
    ready, young, old, present = known.fleets[0][:4]
    assert present == pytest.approx(1.2 * SERVICE_SECONDS, abs=0.1)
    assert ready >= present
    assert (young, old) == pytest.approx((0.0, 0.0), abs=0.01)


def test_a_fleet_that_nobody_asks_for_anything_costs_nothing() -> None:
    known = after(nothing, worth=1.0)
    assert [fleet[:8] for fleet in known.fleets] == [NOBODY] * len(TIMES)


def test_it_is_the_same_when_it_comes_back_from_memory() -> None:
    known = after(bursts, worth=1.0)
    assert Imagined.read(dict(known.series())) == known


def test_where_nobody_imagines_nothing_is_remembered() -> None:
    assert Imagined().series() == {}


@pytest.mark.parametrize(
    "memory",
    [
        pytest.param({}, id="of before"),
        pytest.param({"imagined": (0.0, 0.0, 0.0, 0.0)}, id="torn"),
        pytest.param({"imagined": (0.0, 0.0), **dict.fromkeys(NAMES, NOBODY)}, id="too short"),
        pytest.param({"imagined": (0.0, 0.0, 0.0, 7.0), **dict.fromkeys(NAMES, NOBODY)}, id="of more fleets"),
        pytest.param({"imagined": (0.0, 0.0, 0.0, 1.0), **dict.fromkeys(NAMES, (1.0,))}, id="of other fleets"),
    ],
)
def test_memory_of_another_form_begins_anew(memory: dict[str, tuple[float, ...]]) -> None:
    known = Imagined.read(memory)
    tuned = tuned_to(1.0)
    known.is_due(0.0, 120.0, BOOTS.lead_seconds)
    known.step(Circumstances(120.0, 0.0, 0.0, SERVICE_SECONDS, BOOTS, 300.0, 1.0, tuned))
    assert known.chosen == 0
    assert [fleet[:8] for fleet in known.fleets] == [NOBODY] * len(TIMES)
