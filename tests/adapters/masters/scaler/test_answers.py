"""What a scheduler's account says, with tables; what it cannot say is unknown and never nothing."""

from typing import Any

import pytest

from ebbflow.adapters.masters.scaler.answers import manager_id, parse_account
from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.plan import Want

OURS = manager_id("sdxl", "h0me1")
NAME = "Worker|sdxl-0abc-1-0|5aa2|4d13"


def row(name: str = NAME, **changes: Any) -> dict[str, Any]:
    return {"name": name, "sent": 0, "queued": 0, "working": 0, "last_seen_seconds": 1, **changes}


def account(**changes: object) -> dict[str, Any]:
    plain = {"version": "2.9.0", "is_heard": True, "wanted": None, "tasks": {}, "workers": [], "managers": {}}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("tasks", "unfinished"),
    [
        ({}, 0),
        ({"inactive": 3}, 3),
        ({"inactive": 1, "running": 23}, 24),
        ({"canceling": 1, "balanceCanceling": 2}, 3),
        # These are sums over its life.
        ({"running": 1, "success": 900, "failed": 3, "canceled": 1}, 1),
    ],
)
def test_tasks_that_are_not_done_are_counted(tasks: dict[str, int], unfinished: int) -> None:
    assert parse_account(account(tasks=tasks), capabilities=()).unfinished == unfinished


def test_a_task_that_is_on_no_processor_waits_whatever_the_scheduler_calls_it() -> None:
    seen = parse_account(
        account(tasks={"running": 23, "inactive": 1}, workers=[row(sent=23, queued=22, working=1)]), capabilities=()
    )
    assert (seen.unfinished, seen.working) == (24, 1)


@pytest.mark.parametrize(
    ("name", "worker_id"),
    [
        (NAME, "sdxl-0abc-1-0"),
        ("Worker|FIX|5aa2|4d13", ""),
        ("Worker|sdxl-0abc-1-0", ""),
        ("Client|sdxl-0abc-1-0|5aa2|4d13", ""),
        ("", ""),
    ],
)
def test_a_worker_is_known_by_the_type_in_its_name(name: str, worker_id: str) -> None:
    (seen,) = parse_account(account(workers=[row(name)], managers={OURS: [name]}), capabilities=()).workers
    assert (seen.worker_id, seen.manager) == (worker_id, OURS)


@pytest.mark.parametrize(
    ("changes", "busy"), [({}, False), ({"sent": 1}, True), ({"queued": 1}, True), ({"working": 1}, True)]
)
def test_a_worker_that_has_a_task_is_busy_also_before_it_began(changes: dict[str, Any], busy: bool) -> None:
    (seen,) = parse_account(account(workers=[row(**changes)]), capabilities=()).workers
    assert seen.is_busy is busy


@pytest.mark.parametrize(
    ("wanted", "capabilities", "count"),
    [
        ([{"capabilities": {}, "count": 3}], (), 3),
        # What they can do with its value, and what anybody can do.
        ([{"capabilities": {"gpu": 1}, "count": 2}, {"capabilities": {}, "count": 3}], ("gpu",), 5),
        ([{"capabilities": {"gpu": 2}, "count": 2}], ("gpu",), 0),
        ([{"capabilities": {"gpu": 1}, "count": 2}], (), 0),
        ([], (), 0),
        (None, (), None),
    ],
)
def test_what_the_scheduler_wants_is_the_sum_of_what_this_fleet_can_do(
    wanted: object, capabilities: tuple[str, ...], count: int | None
) -> None:
    desired = parse_account(account(wanted=wanted), capabilities=capabilities).desired
    assert desired == (None if count is None else (Want(capabilities, count),))


@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": None},
        {"tasks": {"inactive": -1}},
        {"tasks": {"running": "many"}},
        {"tasks": {"running": True}},
        {"tasks": {"running": 10**400}},
        {"workers": None},
        {"workers": ["Worker"]},
        {"workers": [{"name": NAME}]},
        {"workers": [row(sent=1.5)]},
        {"wanted": ["three"]},
        {"wanted": [{"capabilities": {}, "count": -1}]},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_an_account_with_a_hole_is_unknown_as_a_whole(changes: dict[str, object]) -> None:
    with pytest.raises(MasterUnavailable, match="the scheduler"):
        parse_account(account(**changes), capabilities=())
