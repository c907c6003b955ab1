"""Whose turn it is where several people wait."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbflow.services.hypha.jobs import Job, JobState, Shares, in_turn, places, startable


def job(number: int, user: str, state: JobState = JobState.WAITING) -> Job:
    return Job(f"job-{number}", number, user, "true", "{}", 3600, 0.0, state=state)


def jobs(users: str, state: JobState = JobState.WAITING, first: int = 0) -> list[Job]:
    """One for each letter, in that order."""
    return [job(first + place, user, state) for place, user in enumerate(users)]


@pytest.mark.parametrize(
    ("waiting", "running", "last", "order"),
    [
        ("aaabbc", "", {}, "abcaba"),
        ("abc", "", {}, "abc"),
        ("aab", "a", {}, "baa"),
        ("aabb", "ab", {"a": 2, "b": 1}, "baba"),
        ("ab", "", {"a": 7}, "ba"),
        ("aaaa", "", {}, "aaaa"),
        ("", "ab", {}, ""),
    ],
    ids=["round by round", "as they came", "who has one waits", "longest ago", "never first", "alone", "nobody"],
)
def test_who_has_fewest_at_ray_is_next_and_then_who_was_started_longest_ago(
    waiting: str, running: str, last: dict[str, int], order: str
) -> None:
    found = in_turn(jobs(waiting), jobs(running, JobState.RUNNING, first=100), Shares(9, None, last))
    assert "".join(each.user for each in found) == order


@pytest.mark.parametrize(
    ("waiting", "running", "shares", "started"),
    [
        ("aaabbc", "", Shares(4), "abca"),
        ("aaab", "", Shares(4, 1), "ab"),
        ("aaab", "a", Shares(2, 2), "b"),
        ("ab", "cd", Shares(2), ""),
        ("ab", "cde", Shares(2), ""),
    ],
    ids=["as many as there is room", "no more of one than allowed", "the room that is left", "full", "too full"],
)
def test_as_many_are_started_as_there_is_room_for(waiting: str, running: str, shares: Shares, started: str) -> None:
    found = startable(jobs(waiting), jobs(running, JobState.RUNNING, first=100), shares)
    assert "".join(each.user for each in found) == started


def test_how_many_are_ahead_is_told_by_turn_and_not_by_time() -> None:
    waiting = jobs("aaaaab")
    told = places(waiting, [], Shares(1))
    assert (told["job-5"], told["job-4"]) == (1, 5)


@given(users=st.text("abcd", max_size=40), running=st.text("abcd", max_size=8))
def test_every_job_comes_once_and_who_has_less_is_never_behind_who_has_more(users: str, running: str) -> None:
    waiting, at_ray = jobs(users), jobs(running, JobState.RUNNING, first=1000)
    order = list(in_turn(waiting, at_ray, Shares(3)))
    assert sorted(each.number for each in order) == [each.number for each in waiting]
    has, left = Counter(running), Counter(users)
    for each in order:
        assert has[each.user] == min(has[user] for user in left if left[user])
        has[each.user] += 1
        left[each.user] -= 1
