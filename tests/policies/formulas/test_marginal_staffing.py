"""Staffing by the margin: what load, swing, backlog and the work that exists are worth in workers."""

import math

import pytest

from ebbflow.policies.formulas.boot_times import Boots
from ebbflow.policies.formulas.marginal_staffing import (
    TUNED,
    WORTHS,
    backlog,
    cautious_rate,
    margin,
    most_useful,
    tuned_to,
)

BATCH, PATIENT, WATCHING = TUNED


@pytest.mark.parametrize(("worth", "tuned"), [*zip(WORTHS, TUNED, strict=True), (0.01, BATCH), (100.0, WATCHING)])
def test_a_worth_that_was_tried_has_its_numbers_and_one_beyond_has_the_last(worth: float, tuned: object) -> None:
    assert tuned_to(worth) == tuned


def test_a_worth_between_has_numbers_between() -> None:
    between = tuned_to(math.sqrt(10))
    for name in PATIENT.__slots__:
        low, high = sorted((getattr(PATIENT, name), getattr(WATCHING, name)))
        assert low <= getattr(between, name) <= high
        assert getattr(between, name) == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    ("load", "swing", "tuned", "workers"),
    [
        pytest.param(0.0, 0.0, WATCHING, 0.0, id="nothing"),
        pytest.param(0.0, 900.0, WATCHING, 0.0, id="a burst of long ago holds nobody"),
        pytest.param(9.0, 9.0, PATIENT, 1.2, id="even arrivals: the square root of the load"),
        pytest.param(9.0, 0.0, PATIENT, 1.2, id="and no less"),
        pytest.param(9.0, 109.0, WATCHING, 1.1 * math.sqrt(9 + 0.8 * 100 * 9 / 9.1 / 1.6), id="bursts ask for more"),
        pytest.param(9.0, 9.0, BATCH, -1.2, id="where waiting is cheap some load may wait"),
    ],
)
def test_the_margin_follows_the_swing(load: float, swing: float, tuned: object, workers: float) -> None:
    assert margin(load, swing, tuned, 20.0) == pytest.approx(workers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("service_seconds", "workers"),
    [
        pytest.param(300.0, 1.2, id="long"),
        pytest.param(8.0, 1.2, id="just not short"),
        pytest.param(0.8, 3.45, id="a tenth of it: as much more as ten times the worth"),
    ],
)
def test_of_short_requests_more_is_kept_free(service_seconds: float, workers: float) -> None:
    assert margin(9.0, 9.0, tuned_to(1.0), service_seconds) == pytest.approx(workers)


def test_a_rate_of_one_arrival_is_no_rate_to_go_by_and_a_long_one_is() -> None:
    assert cautious_rate(1 / 60, 1 / 700, 60.0, PATIENT) < 1 / 60 / 2
    assert cautious_rate(1.0, 0.5, 60.0, PATIENT) == pytest.approx(1.0, rel=0.15)
    assert cautious_rate(0.0, 0.5, 60.0, PATIENT) == pytest.approx(0.5, rel=0.1), "the longer average speaks too"
    assert cautious_rate(0.0, 0.0, 60.0, PATIENT) == 0.0


@pytest.mark.parametrize(
    ("queued", "rate", "serving", "joining", "workers"),
    [
        pytest.param(10, 0.0, 0, (), 10 * math.sqrt(20 / 240), id="Q sqrt(k m / 2 B)"),
        pytest.param(10, 0.0, 4, (), 0.0, id="drained within a boot"),
        pytest.param(10, 0.0, 0, (120.0,) * 4, 0.0, id="by those that are as good as there"),
        pytest.param(10, 0.0, 0, (0.0,) * 4, 10 * math.sqrt(20 / 240), id="not by those just launched"),
        pytest.param(10, 0.1, 0, (), (10 + 0.85 * 12) * math.sqrt(20 / 240), id="with what comes meanwhile"),
    ],
)
def test_the_backlog_is_what_still_waits_when_a_boot_ends(
    queued: int, rate: float, serving: int, joining: tuple[float, ...], workers: float
) -> None:
    found = backlog(
        *(queued, rate, serving, joining),
        boots=Boots(120.0, 120.0),
        turn_seconds=0.0,
        service_seconds=20.0,
        worth=1.0,
        haste=1.0,
    )
    assert found == pytest.approx(workers)


@pytest.mark.parametrize(
    ("staffed", "peak", "least", "spare", "most"),
    [
        pytest.param(9, 0, 0, 2.8, 0, id="no request, no worker"),
        pytest.param(9, 1, 0, 2.8, 1, id="one request, one worker, whatever the rate says"),
        pytest.param(0, 3, 0, 2.8, 6, id="spare ones beyond the first"),
        pytest.param(0, 101, 0, 0.45, 46, id="a crowd that will be gone has not one each"),
        pytest.param(60, 101, 0, 0.45, 60, id="but the load is staffed"),
        pytest.param(0, 101, 80, 0.45, 80, id="and so is what was there all the time"),
    ],
)
def test_never_more_workers_than_there_is_work_for(
    staffed: int, peak: float, least: float, spare: float, most: int
) -> None:
    assert most_useful(staffed, peak, least, spare) == most
