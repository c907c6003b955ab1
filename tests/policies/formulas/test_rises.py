"""A rise of the last seconds is believed as far as rises have lasted before."""

import math

import pytest

from ebbflow.policies.formulas.rises import risen, sureness


@pytest.mark.parametrize(
    ("lasting", "sure"),
    [
        pytest.param(1.0, 1.0, id="every rise lasted, or none was seen"),
        pytest.param(0.9, 0.185, id="some did not"),
        pytest.param(0.5, 0.0, id="half of it"),
        pytest.param(0.0, 0.0, id="crowds only"),
    ],
)
def test_who_has_seen_rises_end_is_soon_sure_of_none(lasting: float, sure: float) -> None:
    assert sureness(lasting) == pytest.approx(sure, abs=0.001)


@pytest.mark.parametrize(
    ("rate", "sudden", "elapsed", "share", "expected"),
    [
        pytest.param(1.0, 5.0, 5.0, 0.0, 1.0, id="nobody believes it"),
        pytest.param(1.0, 0.5, 5.0, 1.0, 1.0, id="a fall is no rise"),
        pytest.param(1.0, 1.5, 5.0, 1.0, 1.0, id="within what chance makes"),
        pytest.param(1.0, 5.0, 5.0, 1.0, 5.0 - 2 * math.sqrt(5 / 20), id="less two deviations of ten seconds"),
        pytest.param(1.0, 5.0, 60.0, 1.0, 5.0 - 2 * math.sqrt(5 / 60), id="a long turn is an average itself"),
        pytest.param(1.0, 5.0, 5.0, 0.5, 1.0 + 0.5 * 3, id="half of it"),
        pytest.param(0.0, 0.0, 5.0, 1.0, 0.0, id="nothing"),
    ],
)
def test_so_much_of_a_sudden_rise_is_added(
    rate: float, sudden: float, elapsed: float, share: float, expected: float
) -> None:
    assert risen(rate, sudden, elapsed_seconds=elapsed, share=share) == pytest.approx(expected)


def test_more_that_came_never_means_a_lower_rate() -> None:
    found = [risen(1.0, sudden / 10, elapsed_seconds=5.0, share=0.7) for sudden in range(200)]
    assert found == sorted(found)
