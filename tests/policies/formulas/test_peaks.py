"""Peaks: the highest of late, in a series that stays short."""

import random

import pytest

from ebbflow.policies.formulas.peaks import KEPT_PEAKS, Peaks, highest_since, noted


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_of_the_last_seconds_is_what_a_search_finds(seed: int) -> None:
    luck = random.Random(seed)
    seen: list[tuple[float, float]] = []
    peaks: Peaks = ()
    now = 0.0
    for _ in range(500):
        now = round(now + luck.choice([5.0, 30.0, 60.0]), 1)
        seen.append((now, float(luck.randint(0, 9))))
        peaks = noted(peaks, *seen[-1], now - 300.0)
        assert peaks[1] == max(value for at, value in seen if at >= now - 300.0)


def test_a_long_fall_keeps_few_values_and_the_highest() -> None:
    peaks: Peaks = ()
    for step in range(1000):
        peaks = noted(peaks, float(step), 2000.0 - step, step - 1e6)
        assert peaks[1] == 2000.0
    assert len(peaks) <= 2 * KEPT_PEAKS


def test_what_was_noted_stays_as_it_was() -> None:
    peaks = noted((), 0.0, 3.0, -60.0)
    assert noted(peaks, 5.0, 4.0, -55.0) == (5.0, 4.0)
    assert noted(peaks, 5.0, 2.0, -55.0) == (0.0, 3.0, 5.0, 2.0)
    assert peaks == (0.0, 3.0)


@pytest.mark.parametrize(
    ("since", "highest"),
    [
        pytest.param(-100.0, 9.0, id="all of it"),
        pytest.param(0.0, 9.0, id="at that time counts"),
        pytest.param(1.0, 4.0, id="without the oldest"),
        pytest.param(61.0, 2.0, id="the newest alone"),
        pytest.param(999.0, 2.0, id="of nothing newer the newest"),
    ],
)
def test_of_what_was_noted_a_shorter_time_can_be_asked_for(since: float, highest: float) -> None:
    peaks = noted(noted(noted((), 0.0, 9.0, -600.0), 60.0, 4.0, -540.0), 120.0, 2.0, -480.0)
    assert highest_since(peaks, since) == highest
