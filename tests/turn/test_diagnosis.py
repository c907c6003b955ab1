"""What `ebbflow doctor` makes of facts: each finding, its grade, and what to do."""

from dataclasses import replace

import pytest

from ebbflow.turn.diagnosis import (
    Claims,
    Diagnosis,
    Grade,
    claims_found,
    clock_found,
    database_found,
    home_found,
    strangers_found,
    turns_found,
    types_found,
)
from ebbflow.turn.standing import Standing, TurnsStanding, WorkerStanding

OK, LOOK, WRONG = Grade.OK, Grade.LOOK, Grade.WRONG
CLAIMS = Claims("sdxl", count=6, old=0, newest_age_seconds=30.0, is_deployed=True, workers=2)
WORKER = WorkerStanding("sdxl-3f9c-1-0", "local/a", "ready", 60.0, None, False, 60.0, None, None, "")


@pytest.mark.parametrize(
    ("ahead", "grade", "words"),
    [
        (0.0, OK, "agree to a few seconds"),
        (-4.9, OK, "agree to a few seconds"),
        (12.0, LOOK, "12 s ahead of the one here"),
        (-59.0, LOOK, "59 s behind the one here"),
        (3600.0, WRONG, "3600 s ahead of the one here"),
    ],
)
def test_a_clock_that_is_off_is_told_with_which_way(ahead: float, grade: Grade, words: str) -> None:
    found = clock_found(ahead)
    assert (found.grade, words in found.text) == (grade, True), found
    assert bool(found.cure) is (grade is not OK)


@pytest.mark.parametrize(
    ("kind", "fleets", "grade", "words"),
    [
        ("sqlite", 0, OK, "more need PostgreSQL: on SQLite a Prefect server refuses requests"),
        ("sqlite", 1, OK, "for 1 fleet whose schedule is on"),
        ("sqlite", 0, OK, "SQLite, for no fleet whose schedule is on"),
        ("sqlite", 2, LOOK, "for 2 fleets whose schedule is on: on SQLite"),
        ("sqlite", 4, WRONG, "may stand still for a minute at 4"),
        ("postgresql", 9, OK, "has postgresql, for 9 fleets"),
        (None, 1, OK, "does not tell which it has"),
        (None, 2, LOOK, "does not tell which it has"),
    ],
)
def test_a_database_that_is_too_small_for_its_fleets_is_told_with_the_load(
    kind: str | None, fleets: int, grade: Grade, words: str
) -> None:
    found = database_found(kind, [f"f{place}" for place in range(fleets)])
    assert (found.grade, words in found.text) == (grade, True), found
    assert ("postgresql+asyncpg://" in found.cure) is (kind == "sqlite" and fleets > 1)


@pytest.mark.parametrize(
    ("missing", "other", "grade", "words"),
    [
        ((), (), OK, "knows all 9"),
        (("ray-master",), (), LOOK, "does not know ray-master"),
        ((), ("ray-master",), LOOK, "knows ray-master as another release describes them"),
        (("a",), ("b",), LOOK, "does not know a and knows b as another release"),
    ],
)
def test_types_that_are_not_registered_as_here_are_named(
    missing: tuple[str, ...], other: tuple[str, ...], grade: Grade, words: str
) -> None:
    found = types_found(9, missing, other)
    assert (found.grade, words in found.text) == (grade, True), found
    assert ("ebbflow up" in found.cure) is (grade is LOOK)


@pytest.mark.parametrize(
    ("claims", "grade", "words", "cure"),
    [
        (CLAIMS, OK, "6, as turns leave them", ""),
        (replace(CLAIMS, count=90, old=84), LOOK, "84 of its 90 Variables ebbflow_sdxl_N are older", "clears away ten"),
        (replace(CLAIMS, is_deployed=False), WRONG, "knows 2 workers: nobody looks after them", "`ebbflow down sdxl`"),
        (replace(CLAIMS, is_deployed=False, workers=0), OK, "as turns leave them", ""),
        (
            replace(CLAIMS, is_deployed=False, workers=0, newest_age_seconds=9 * 86_400.0),
            LOOK,
            "left of a fleet that had its last turn 9 days ago, without workers",
            "delete them",
        ),
        (
            replace(CLAIMS, is_deployed=False, workers=None, newest_age_seconds=9 * 86_400.0),
            LOOK,
            "whether it has workers cannot be read",
            "`ebbflow why sdxl`",
        ),
    ],
)
def test_claims_that_turns_have_left_are_told_with_what_to_do(
    claims: Claims, grade: Grade, words: str, cure: str
) -> None:
    found = claims_found(claims)
    assert (found.grade, words in found.text, cure in found.cure) == (grade, True, True), found


def test_a_home_that_is_not_the_records_own_is_wrong_and_one_that_is_says_nothing() -> None:
    assert home_found("sdxl", "h0me0", "h0me0") is None
    assert home_found("sdxl", "", "h0me0") is None, "it has no record yet"
    gone, other = home_found("sdxl", "h0me0", None), home_found("sdxl", "h0me0", "0ther")
    assert gone is not None
    assert other is not None
    assert "the Variable ebbflow_home is gone: each of its turns fails" in gone.text
    assert "says '0ther'" in other.text
    assert {gone.grade, other.grade} == {WRONG}
    assert "set the Variable to 'h0me0' to go on with them" in gone.cure


def test_another_homes_workers_are_to_be_looked_at() -> None:
    assert strangers_found("sdxl", ()) is None
    found = strangers_found("sdxl", ["local/a: another home's, never touched: sdxl-1"])
    assert found is not None
    assert (found.grade, "another installation has a fleet of this name" in found.text) == (LOOK, True)


def stands(
    text: str, *, come: bool = False, broken: str = "", workers: int = 0, deployment: str = "autoscale/x"
) -> Diagnosis:
    turns = TurnsStanding(come, text, 30.0, 40.0, None, deployment)
    return turns_found(Standing("sdxl", turns, broken=broken, workers=(WORKER,) * workers))


@pytest.mark.parametrize(
    ("found", "grade", "words", "cure"),
    [
        (stands("every 30 s", come=True), OK, "every 30 s", ""),
        (
            stands("x; the schedule of autoscale/x is off: `ebbflow up --start` in its folder"),
            LOOK,
            "is off",
            "--start",
        ),
        (stands("the schedule of autoscale/x is off: `ebbflow up --start`", workers=1), WRONG, "is off", "--start"),
        (
            stands("no deployment of autoscale runs this fleet: `ebbflow up`", deployment=""),
            LOOK,
            "no deployment",
            "up",
        ),
        (
            stands("no Prefect worker asks the pool 'gpu' for work: `ebbflow runner --pool gpu`"),
            WRONG,
            "asks",
            "runner",
        ),
        (stands("its newest run failed: boom"), WRONG, "do not come: its newest run failed: boom", ""),
        (stands("", broken="was edited"), WRONG, "its newest record cannot be used: was edited", ""),
    ],
)
def test_turns_that_do_not_come_are_wrong_unless_somebody_wants_it_so(
    found: Diagnosis, grade: Grade, words: str, cure: str
) -> None:
    assert (found.grade, words in found.text, cure in found.cure) == (grade, True, True), found
