"""Floors by the clock: when they hold, what they say, and which schedules are refused."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from ebbflow.decision.schedule import Floor, Schedule, floors

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = Schedule(cron="0 8 * * 1-5", timezone="Europe/Berlin", duration_seconds=36_000, min_workers=4)
NIGHT = Schedule(cron="30 2 * * *", timezone="Europe/Berlin", duration_seconds=3600, min_workers=1)


def held(schedule: Schedule, when: datetime) -> bool:
    return bool(floors([schedule], when.timestamp()))


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        (datetime(2026, 11, 25, 7, 59, 59, tzinfo=BERLIN), False),
        (datetime(2026, 11, 25, 8, tzinfo=BERLIN), True),
        (datetime(2026, 11, 25, 8, 0, 0, 500_000, tzinfo=BERLIN), True),
        (datetime(2026, 11, 25, 17, 59, 59, tzinfo=BERLIN), True),
        (datetime(2026, 11, 25, 18, tzinfo=BERLIN), False),
        (datetime(2026, 11, 28, 9, tzinfo=BERLIN), False),
        # The same wall clock is another hour in UTC when summer time holds.
        (datetime(2026, 11, 25, 7, 0, tzinfo=UTC), True),
        (datetime(2026, 7, 22, 6, 0, tzinfo=UTC), True),
        (datetime(2026, 7, 22, 5, 59, tzinfo=UTC), False),
    ],
)
def test_a_floor_holds_from_its_time_on_for_its_duration(when: datetime, holds: bool) -> None:
    assert held(OFFICE, when) is holds


def test_a_floor_says_which_schedule_asks_for_it_and_until_when() -> None:
    at = datetime(2026, 11, 25, 9, tzinfo=BERLIN).timestamp()
    reason = "schedule '0 8 * * 1-5' Europe/Berlin asks for 4 until 2026-11-25 18:00"
    assert floors([OFFICE, NIGHT], at) == (Floor(4, reason),)
    # The reason is the same in each turn in which it holds.
    assert floors([OFFICE], at + 600) == (Floor(4, reason),)


@pytest.mark.parametrize(
    ("day", "begins"),
    [
        pytest.param((2026, 3, 29), datetime(2026, 3, 29, 1, 0, tzinfo=UTC), id="an hour that the clocks skip"),
        pytest.param((2026, 10, 25), datetime(2026, 10, 25, 0, 30, tzinfo=UTC), id="an hour that they repeat"),
    ],
)
def test_a_change_of_the_clocks_neither_loses_nor_doubles_a_floor(day: tuple[int, int, int], begins: datetime) -> None:
    midnight = datetime(*day, tzinfo=UTC).timestamp()
    minutes = [minute for minute in range(-120, 360) if floors([NIGHT], midnight + 60 * minute)]
    first = int((begins.timestamp() - midnight) / 60)
    assert minutes == list(range(first, first + 60))


def test_floors_overlap_and_repeat() -> None:
    always = Schedule(cron="*/5 * * * *", duration_seconds=600, min_workers=2)
    at = datetime(2026, 11, 25, 9, tzinfo=BERLIN).timestamp()
    assert [floor.count for floor in floors([OFFICE, always], at)] == [4, 2]
    assert all(floors([always], at + step) for step in range(0, 3600, 7))


def test_without_a_time_no_floor_holds() -> None:
    assert floors([Schedule(cron="* * * * *", duration_seconds=600, min_workers=2)], 0.0) == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"cron": "0 0 30 2 *"}, ["'0 0 30 2 *'", "never fires"], id="30 February"),
        pytest.param({"cron": "0 0 31 4,6 *"}, ["'0 0 31 4,6 *'", "never fires"], id="31 April and June"),
        pytest.param({"cron": "0 0 */31 * 1#5"}, ["never fires", "fifty years"], id="the fifth Monday on a first"),
        pytest.param({"cron": "0 25 * * *"}, ["Bad hour", "as '0 8 * * 1-5'"], id="25 o'clock"),
        pytest.param({"cron": "often"}, ["'often'", "five fields"], id="a word"),
        pytest.param({"cron": "* * * * * *"}, ["five fields"], id="with seconds"),
        pytest.param({"timezone": "Mars/Base"}, ["timezone 'Mars/Base'", "'Europe/Berlin'"], id="no such zone"),
        pytest.param({"timezone": "../../etc/passwd"}, ["timezone", "IANA"], id="a path"),
        pytest.param({"duration_seconds": 0}, ["duration_seconds", "60"], id="no duration"),
        pytest.param({"min_workers": 0}, ["min_workers", "1"], id="no floor"),
        pytest.param({"every": "day"}, ["every", "not permitted"], id="an unknown name"),
    ],
)
def test_a_schedule_that_could_not_mean_anything_is_refused(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        Schedule.model_validate({"cron": "0 8 * * *", "duration_seconds": 3600, "min_workers": 1, **fields})
    said = str(refused.value)
    assert [word for word in words if word not in said] == [], said


def test_a_leap_day_fires() -> None:
    leap = Schedule(cron="0 0 29 2 *", duration_seconds=86_400, min_workers=1)
    assert held(leap, datetime(2028, 2, 29, 12, tzinfo=UTC))
    assert not held(leap, datetime(2027, 3, 1, 12, tzinfo=UTC))
