"""Workers and demand of the last hours, as a fleet's page plots them."""

import pytest

from ebbflow.turn.past_hours import BAR_SECONDS, BARS, PastHours, past_of

NOON = 1_796_040_000.0


def seen(*looks: tuple[float, int, int | None]) -> PastHours:
    past = PastHours()
    for minutes, workers, demand in looks:
        past = past.seen(NOON + 60 * minutes, workers, demand)
    return past


def test_a_bar_holds_the_most_of_its_few_minutes() -> None:
    past = seen((0, 1, 0), (1, 3, 9), (4, 2, 4), (5, 2, 1))
    assert (past.workers, past.demand) == ((3, 2), (9, 1))


def test_minutes_without_a_turn_and_unknown_demand_are_gaps() -> None:
    past = seen((0, 1, 8), (15, 2, None))
    assert (past.workers, past.demand) == ((1, None, None, 2), (8, None, None, None))
    assert past.plot().split("\n") == [
        "workers  last 2, most 2        ▄  █",
        "demand   last unknown, most 8  █   ",
        "5 minutes a bar, until 12:20 UTC",
    ]


def test_nothing_is_told_apart_from_little() -> None:
    assert (
        seen((0, 0, 0), (5, 1, 1), (10, 16, 100))
        .plot()
        .startswith("workers  last 16, most 16    ·▁█\ndemand   last 100, most 100  ·▁█\n")
    )


def test_what_is_older_than_all_bars_is_forgotten() -> None:
    past = seen(*((5 * bar, bar, 0) for bar in range(BARS + 3)))
    assert past.workers == tuple(range(3, BARS + 3))
    assert past.began == NOON // BAR_SECONDS + 3
    assert seen((0, 7, 7), (5 * BARS, 1, 1)).workers == (1,)


def test_a_clock_that_was_set_back_changes_no_bar_but_the_last() -> None:
    assert seen((0, 1, 1), (10, 2, 2), (-600, 5, 0)).workers == (1, None, 5)


def test_it_is_kept_in_few_short_texts() -> None:
    past = seen(*((5 * bar, 10**9, 10**12) for bar in range(BARS)))
    assert past_of(past.kept()) == past
    assert max(len(text) for text in past.kept().values()) <= 500, "a server cuts what is longer"
    assert past_of(seen((0, 1, None), (12, 0, 3)).kept()) == seen((0, 1, None), (12, 0, 3))


@pytest.mark.parametrize(
    "kept",
    [
        None,
        {},
        {"past_began": "1", "past_workers": "1,2", "past_demand": "1"},
        {"past_began": "-1", "past_workers": "1", "past_demand": "1"},
        {"past_began": "1", "past_workers": "1,x", "past_demand": "1,2"},
        {"past_began": "1", "past_workers": "٣", "past_demand": "1"},
        {"past_began": "1", "past_workers": 7, "past_demand": None},
        {"past_began": "1", "past_workers": "1," * BARS, "past_demand": "1," * BARS},
        {"past_began": "9" * 30, "past_workers": "1", "past_demand": "1"},
    ],
)
def test_what_somebody_wrote_in_its_place_is_no_past(kept: dict[str, object] | None) -> None:
    assert past_of(kept) == PastHours()
    assert past_of(kept).seen(NOON, 1, 1).workers == (1,)
