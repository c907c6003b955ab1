"""What chance alone may do to differences: known tails and decisions, and families of settings that do the same."""

import random
from collections.abc import Sequence

import pytest

from ebbflow.simulation.advice import Goal, differences
from ebbflow.simulation.advice_chance import FAMILY_ERROR, chance_of, margin, student_bound, student_tail, told_apart
from ebbflow.simulation.neighbours import AS_IT_IS
from tests.simulation.test_advice import judged


@pytest.mark.parametrize(
    ("degrees", "chance", "errors"),
    [
        (1, 0.05, 12.706),
        (2, 0.05, 4.303),
        (3, 0.05, 3.182),
        (4, 0.05, 2.776),
        (7, 0.05, 2.365),
        (13, 0.05, 2.160),
        (30, 0.05, 2.042),
        (1, 0.001, 636.619),
        (2, 0.001, 31.599),
        (3, 0.001, 12.924),
        (7, 0.001, 5.408),
        (13, 0.01, 3.012),
        (6, 0.5, 0.718),
    ],
)
def test_the_tail_of_students_t_and_its_bound_are_those_of_the_tables(
    degrees: int, chance: float, errors: float
) -> None:
    assert student_bound(chance, degrees) == pytest.approx(errors, abs=0.0006)
    assert student_tail(errors, degrees) == pytest.approx(chance, rel=0.002)
    assert student_tail(-errors, degrees) == student_tail(errors, degrees)


def test_no_error_is_the_likeliest_and_one_beyond_all_is_no_chance() -> None:
    assert student_tail(0.0, 3) == 1.0
    assert student_tail(1e200, 6) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "chance"),
    [
        ([1.0, -1.0, 1.0, -1.0], 1.0),
        ([0.0, 0.0, 0.0], 1.0),
        ([2.0, 2.0, 2.0], 0.0),
        ([1.0, 2.0, 3.0], 0.0742),
        ([-1.0, -2.0, -3.0], 0.0742),
        ([7.0], 0.0),
    ],
    ids=["to both sides", "nothing", "always the same", "three", "three below", "one alone"],
)
def test_a_mean_is_as_likely_by_chance_as_its_values_scatter(values: Sequence[float], chance: float) -> None:
    assert chance_of(values) == pytest.approx(chance, abs=1e-4)


def test_a_mean_is_beyond_its_margin_where_it_is_less_likely_than_that() -> None:
    values = [1.0, 2.0, 3.0]
    assert margin(values, 0.08) < 2.0 < margin(values, 0.07)
    assert margin([7.0], 0.05) == 0.0


@pytest.mark.parametrize(
    ("chances", "told"),
    [
        ([], []),
        ([0.05], [True]),
        ([0.051], [False]),
        ([0.01, 0.04, 0.03, 0.005], [True, False, False, True]),
        ([0.02, 0.04], [True, True]),
        ([0.026, 0.04], [False, False]),
        ([0.04, 0.04, 0.04], [False, False, False]),
        ([1.0, 0.0, 0.03, 0.0], [False, True, False, True]),
        ([0.0, 0.024, 0.0, 0.04], [True, True, True, True]),
        ([1.0] * 20, [False] * 20),
    ],
)
def test_of_a_family_the_surest_are_told_as_holm_has_it(chances: list[float], told: list[bool]) -> None:
    assert list(told_apart(chances)) == told


def test_whatever_is_sure_enough_for_the_whole_family_is_told_and_nothing_that_is_not_so_alone() -> None:
    drawn = random.Random(1)
    for _ in range(500):
        chances = [drawn.random() ** 6 for _ in range(drawn.randint(1, 24))]
        for chance, is_told in zip(chances, told_apart(chances), strict=True):
            assert is_told or chance > FAMILY_ERROR / len(chances)
            assert not is_told or chance <= FAMILY_ERROR


@pytest.mark.parametrize("scatter", [(1.0, 0.0, 0.0), (1.0, 0.5, 1.0)], ids=["of parts alone", "of all kinds"])
def test_of_many_families_of_settings_that_do_the_same_about_one_in_twenty_at_most_has_one_that_is_told(
    scatter: tuple[float, float, float],
) -> None:
    drawn, families, settings = random.Random(1), 150, 10
    of_families, alone = 0, 0
    for _ in range(families):
        own, *others = [judged(f"{place}", _scattered(drawn, *scatter)) for place in range(settings + 1)]
        of_families += any(each.is_told for each in differences(own, others, Goal(0.0)))
        alone += any(each.is_told for other in others for each in differences(own, [other], Goal(0.0)))
    # Of so many families drawn, the share that chance makes is sure to 2 or 3 of 100.
    assert of_families <= 0.08 * families
    assert alone > 0.15 * families, "each compared by itself, one or another is told far more often"


def _scattered(drawn: random.Random, by_part: float, by_play: float, by_both: float) -> list[list[float]]:
    """What a setting costs in three plays of eight parts: 100, but for chance."""
    parts = [drawn.gauss(0.0, by_part) for _ in range(8)]
    plays = [drawn.gauss(0.0, by_play) for _ in range(3)]
    return [[100.0 + part + play + drawn.gauss(0.0, by_both) for part in parts] for play in plays]


def test_a_gain_that_is_plain_is_told_among_many_settings_that_do_nothing() -> None:
    drawn = random.Random(3)
    own = judged(AS_IT_IS, _scattered(drawn, 1.0, 0.2, 1.0))
    gain = judged("gain", [[0.9 * each for each in play] for play in _scattered(drawn, 1.0, 0.2, 1.0)])
    others = [judged(f"same {place}", _scattered(drawn, 1.0, 0.2, 1.0)) for place in range(19)]
    first, *rest = differences(own, [gain, *others], Goal(0.0))
    assert first.is_told
    assert abs(first.percent) > first.spread_percent
    assert not any(each.is_told for each in rest)


def test_a_spread_is_wider_the_more_settings_are_compared() -> None:
    drawn = random.Random(3)
    own, one, two = [judged(f"{place}", _scattered(drawn, 1.0, 0.2, 1.0)) for place in range(3)]
    (alone,) = differences(own, [one], Goal(0.0))
    among, _ = differences(own, [one, two], Goal(0.0))
    assert among.percent == alone.percent
    assert among.spread_percent > alone.spread_percent
