"""Numbers that cannot be so are unknown: never an error, never zero, and never stored."""

import math
from dataclasses import replace
from typing import Any

import pytest

from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.member import Demand, Member, MemberList, MemberState, Shape
from ebbflow.turn.plausible import plausible_demand, plausible_list, plausible_members

NO_NUMBERS = (math.nan, math.inf, -math.inf, -1.0, 1e300)
ROW = Instance("demo-3f9c-1-0", "i-1", InstanceState.RUNNING, "demo", "h0me0", usd_per_hour=0.4, retries=3)
MEMBER = Member("demo-3f9c-1-0", "7", MemberState.READY, "http://w", False, idle_seconds=12.5, units_per_second=3.0)
CAPS, HERE = ProviderCaps("somewhere"), ProviderCaps("here", is_this_host=True)


def listed(row: Instance, caps: ProviderCaps = CAPS, networks: tuple[str, ...] = ()) -> Instance:
    """The row as a turn takes it."""
    (found,) = plausible_list(InstanceList((row,)), caps, networks).instances
    return found


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_regression_an_idle_time_that_is_no_number_fails_no_turn(number: float) -> None:
    member = Member("demo-3f9c-1-0", "7", MemberState.READY, idle_seconds=number, units_per_second=number)
    (found,) = plausible_members(MemberList((member,))).members
    assert (found.idle_seconds, found.units_per_second) == (None, None)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_price_that_is_no_number_is_unknown(number: float) -> None:
    row = Instance("demo-3f9c-1-0", "i-1", InstanceState.RUNNING, "demo", "h0me0", usd_per_hour=number)
    found = listed(row)
    assert found.usd_per_hour is None


@pytest.mark.parametrize("retries", [-3, 10**9])
def test_retries_that_nobody_can_mean_are_the_fleets_own(retries: int) -> None:
    row = Instance("demo-3f9c-1-0", "i-1", InstanceState.RUNNING, "demo", "h0me0", retries=retries)
    assert listed(row).retries is None


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
    assert plausible_list(listing, CAPS, ()) is listing
    assert plausible_members(members) is members
    demand = Demand(10**12, 3, waiting=2, queued_units=1e9, arrived=7, served=4, served_units=0.0)
    assert plausible_demand(demand) == demand


def test_regression_an_announced_metadata_address_was_asked_with_our_credentials() -> None:
    found = listed(replace(ROW, url="http://169.254.169.254/latest"))
    assert (found.url, found.state, found.failure) == (None, InstanceState.FAILED, Failure.OUTPUT)
    assert found.is_declared, "an address that it announced before holds"
    assert "http://169.254.169.254/latest: 169.254.169.254 is a link-local or metadata address" in found.detail


def test_loopback_is_an_address_of_workers_of_this_machine_alone() -> None:
    row = replace(ROW, url="http://127.0.0.1:7801")
    assert listed(row, HERE) is row
    assert listed(row, CAPS, ("127.0.0.0/8",)) is row
    assert "is loopback" in listed(row).detail
    assert "is loopback" in listed(row, CAPS, ("0.0.0.0/0",)).detail


def test_regression_an_address_with_a_password_was_quoted_wherever_it_was_refused() -> None:
    row = replace(ROW, url="http://carol:s3cret@10.0.0.7:7801", detail="see http://carol:s3cret@10.0.0.7/x")
    for state in InstanceState:
        found = listed(replace(row, state=state))
        assert found.url is None
        assert "s3cret" not in repr(found)
        assert "carol" not in repr(found)
    member = replace(MEMBER, url="http://carol:s3cret@10.0.0.7:7801")
    assert "s3cret" not in repr(plausible_members(MemberList((member,))))


def test_an_instance_that_is_ending_does_not_fail_by_its_address() -> None:
    row = replace(ROW, state=InstanceState.TERMINATING, url="http://[fe80::1]:7801")
    assert (listed(row).state, listed(row).url) == (InstanceState.TERMINATING, None)


def test_idle_times_are_taken_to_the_millisecond_as_they_are_remembered() -> None:
    (member,) = plausible_members(MemberList((Member("w", "1", MemberState.READY, idle_seconds=700 / 3),))).members
    assert member.idle_seconds == 233.333
