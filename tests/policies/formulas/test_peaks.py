"""Peaks: the highest of late, in a series that stays short."""

import random

import pytest

from ebbflow.policies.formulas.peaks import KEPT_PEAKS, Peaks


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_of_the_last_seconds_is_what_a_search_finds(seed: int) -> None:
    luck = random.Random(seed)
    seen: list[tuple[float, float]] = []
    peaks, now = Peaks(), 0.0
    for _ in range(500):
        now = round(now + luck.choice([5.0, 30.0, 60.0]), 1)
        seen.append((now, float(luck.randint(0, 9))))
        highest = Peaks(peaks.flat).note(now, seen[-1][1], 300.0)
        assert highest == max(value for at, value in seen if at >= now - 300.0)
        peaks.note(now, seen[-1][1], 300.0)


def test_a_long_fall_keeps_few_values_and_the_highest() -> None:
    peaks = Peaks()
    for step in range(1000):
        assert peaks.note(float(step), 2000.0 - step, 1e6) == 2000.0
    assert len(peaks.flat) <= 2 * KEPT_PEAKS
