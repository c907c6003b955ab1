"""Numbers that cannot be so are unknown: never an error, never zero, and never stored."""

import math
from typing import Any

import pytest

from ebbflow.core.instance import Instance, InstanceList, InstanceState
from ebbflow.core.member import Demand, Member, MemberList, MemberState, Shape
from ebbflow.turn.plausible import plausible_demand, plausible_list, plausible_members

NO_NUMBERS = (math.nan, math.inf, -math.inf, -1.0, 1e300)
ROW = Instance("demo-3f9c-1-0", "i-1", InstanceState.RUNNING, "demo", "h0me0", usd_per_hour=0.4, retries=3)
MEMBER = Member("demo-3f9c-1-0", "7", MemberState.READY, "http://w", False, idle_seconds=12.5, units_per_second=3.0)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_regression_an_idle_time_that_is_no_number_fails_no_turn(number: float) -> None:
    member = Member("demo-3f9c-1-0", "7", MemberState.READY, idle_seconds=number, units_per_second=number)
    (found,) = plausible_members(MemberList((member,))).members
    assert (found.idle_seconds, found.units_per_second) == (None, None)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_price_that_is_no_number_is_unknown(number: float) -> None:
    row = Instance("demo-3f9c-1-0", "i-1", InstanceState.RUNNING, "demo", "h0me0", usd_per_hour=number)
    (found,) = plausible_list(InstanceList((row,))).instances
    assert found.usd_per_hour is None


@pytest.mark.parametrize("retries", [-3, 10**9])
def test_retries_that_nobody_can_mean_are_the_fleets_own(retries: int) -> None:
    row = Instance("demo-3f9c-1-0", "i-1", InstanceState.RUNNING, "demo", "h0me0", retries=retries)
    assert plausible_list(InstanceList((row,))).instances[0].retries is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"queued": -5}, "queued -5"),
        ({"running": -1}, "running -1"),
        ({"shapes": (Shape(("GPU:1",), -2),)}, "work that requires ('GPU:1',) -2"),
        ({"source_age_seconds": math.nan}, "nan s old"),
    ],
)
def test_a_demand_with_a_count_below_zero_is_unknown_and_not_zero(said: dict[str, Any], why: str) -> None:
    found = plausible_demand(Demand(**said))
    assert not found.complete
    assert why in found.detail


def test_other_figures_of_a_demand_are_unknown_each() -> None:
    said = Demand(3, 1, waiting=-1, queued_units=math.nan, arrived=-7, served=2, served_units=math.inf)
    assert plausible_demand(said) == Demand(3, 1, served=2)


def test_what_can_be_so_stays_as_it_is() -> None:
    listing, members = InstanceList((ROW,)), MemberList((MEMBER,))
    assert plausible_list(listing) is listing
    assert plausible_members(members) is members
    demand = Demand(10**12, 3, waiting=2, queued_units=1e9, arrived=7, served=4, served_units=0.0)
    assert plausible_demand(demand) == demand
