"""A search for hours ends in time, says its seed, and repeats what it did."""

import pytest

from tests.endurance import HOURS, TEN_MINUTES, Endurance, hours


class Clock:
    """Goes on by half a minute each time that somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 30.0
        return self.now


def test_a_search_says_its_seed_its_progress_and_how_much_it_did() -> None:
    said: list[str] = []
    rounds = list(Endurance(said.append, "a search", 150.0, Clock(), seed=7).rounds())
    assert said[0] == "a search: seed 7, for 150 s"
    assert said[1:] == [
        "a search: 1 rounds in 60 s",
        "a search: 3 rounds in 120 s",
        "a search: 4 rounds, nothing found",
    ]
    assert len(rounds) == 4


def test_the_same_seed_draws_the_same() -> None:
    first, again = (
        [rng.random() for rng in Endurance(lambda _: None, "a search", 300.0, Clock(), seed=7).rounds()]
        for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize(("said", "found"), [("", TEN_MINUTES), ("2", 2.0), ("0.25", 0.25)])
def test_hours_may_be_fractions_and_are_ten_minutes_by_default(
    monkeypatch: pytest.MonkeyPatch, said: str, found: float
) -> None:
    monkeypatch.setenv(HOURS, said)
    assert hours() == found


@pytest.mark.parametrize("said", ["0", "-1", "soon", "nan", "inf"])
def test_hours_that_are_none_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(HOURS, said)
    with pytest.raises(ValueError, match=f"HOURS is '{said}': give a number above 0"):
        hours()
