"""Points of time, as people write them and read them where they are."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ebbflow.turn.moments import age_of, check_moment, moment, moment_of

NOW = datetime(2026, 11, 30, 16, 30, tzinfo=UTC).timestamp()
"""17:30 in Berlin."""


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("14:03", "2026-11-30 14:03:00"),
        ("9:05:07", "2026-11-30 09:05:07"),
        ("2026-11-29T14:03", "2026-11-29 14:03:00"),
        ("2026-11-29 14:03", "2026-11-29 14:03:00"),
        ("2026-11-29T14:03Z", "2026-11-29 15:03:00"),
        ("2026-11-29T14:03-05:00", "2026-11-29 20:03:00"),
        ("2026-07-29T14:03", "2026-07-29 14:03:00"),
        ("2026-11-30", "2026-11-30 00:00:00"),
        ("2h", "2026-11-30 15:30:00"),
        ("90s", "2026-11-30 17:28:30"),
        (" 3d ", "2026-11-27 17:30:00"),
        ("17:30", "2026-11-30 17:30:00"),
    ],
)
def test_a_time_is_read_as_it_is_written_and_shown_by_the_local_clock(text: str, shown: str) -> None:
    assert moment(moment_of(text, now_seconds=NOW)) == shown


@pytest.mark.parametrize("text", ["", "soon", "25:00", "14:3", "2h ago", "-2h", "2w", "2026-13-01", "9999999d", "1"])
def test_what_is_no_time_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: 14:03, 2026-11-30T14:03, 2026-11-30T14:03Z or 2h"):
        moment_of(text, now_seconds=NOW)
    with pytest.raises(ValueError, match="is no time: 14:03"):
        check_moment(text)


@pytest.mark.parametrize(
    "text", ["0:00", "8:53", "8:54", "14:03", "23:59:59", "2h", "365d", "2026-11-30", "2999-01-01T00:00Z"]
)
def test_a_time_of_any_hour_is_one_before_anybody_has_asked_how_late_it_is(text: str) -> None:
    check_moment(text)


@pytest.mark.parametrize("text", ["17:31", "2026-12-01", "2026-11-30T17:00Z"])
def test_a_time_that_is_yet_to_come_is_refused_and_not_taken_for_yesterday(text: str) -> None:
    with pytest.raises(ValueError, match="is yet to come: it is 2026-11-30 17:30:00; of another day"):
        moment_of(text, now_seconds=NOW)


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("30m", 1800), ("8h", 28_800), ("14 d", 1_209_600)])
def test_an_age_is_read_as_it_is_written(text: str, seconds: float) -> None:
    assert age_of(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "7w", "h", "-7d", "1.5h"])
def test_what_is_no_age_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no age: 45s, 30m, 8h or 2d would be right"):
        age_of(text)
