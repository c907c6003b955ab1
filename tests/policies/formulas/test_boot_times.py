"""Boot times: who is no longer on the way, how long that took, and what failed launches cost."""

import pytest

from ebbflow.policies.formulas.boot_times import gone, priced


@pytest.mark.parametrize(
    ("before", "now", "left"),
    [
        pytest.param([10.0, 50.0], [20.0, 60.0], [], id="all are still on their way"),
        pytest.param([10.0, 50.0], [20.0], [60.0], id="the oldest has come"),
        pytest.param([50.0, 50.0], [60.0], [60.0], id="one of two of the same age"),
        pytest.param([10.0], [0.0, 20.3], [], id="another was launched, and clocks are not exact"),
        pytest.param([30.0, 10.0], [], [20.0, 40.0], id="both, the youngest first"),
        pytest.param([], [5.0], [], id="nobody was"),
    ],
)
def test_who_is_gone_is_told_by_age(before: list[float], now: list[float], left: list[float]) -> None:
    assert gone(before, now, 10.0) == left


@pytest.mark.parametrize(
    ("seen", "ended", "failed", "lead", "paid"),
    [
        pytest.param((), 0.0, 0.0, 120.0, 120.0, id="the hint alone"),
        pytest.param((60.0,) * 8, 8.0, 0.0, 60.0, 80.0, id="the hint counts for four"),
        pytest.param((120.0,), 8.0, 8.0, 120.0, 300.0, id="half of them fail"),
        pytest.param((120.0,), 90.0, 90.0, 120.0, 300.0, id="no more than half are believed to"),
        pytest.param((0.0,) * 40, 40.0, 0.0, 1.0, 480 / 44, id="at once is a second"),
    ],
)
def test_a_launch_takes_the_median_and_costs_the_mean_and_what_fails(
    seen: tuple[float, ...], ended: float, failed: float, lead: float, paid: float
) -> None:
    boots = priced(seen, 120.0, ended, failed)
    assert (boots.lead_seconds, boots.paid_seconds) == pytest.approx((lead, paid))
