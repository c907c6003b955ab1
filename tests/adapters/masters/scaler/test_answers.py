"""What a scheduler's account says, with tables; what it cannot say is unknown and never nothing."""

from typing import Any

import pytest

from ebbflow.adapters.masters.scaler.answers import Account, parse_account
from ebbflow.adapters.masters.scaler.names import manager_id
from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.plan import Want

OURS = manager_id("sdxl", "h0me1")
NAME = "Worker|sdxl-0abc-1-0|5aa2|4d13"


def row(name: str = NAME, **changes: Any) -> dict[str, Any]:
    return {"name": name, "sent": 0, "queued": 0, "working": 0, "last_seen_seconds": 1, **changes}


def account(**changes: object) -> dict[str, Any]:
    plain = {"version": "2.9.0", "is_heard": True, "wanted": None, "tasks": {}, "workers": [], "managers": {}}
    return {**plain, **changes}


def read(answer: dict[str, Any], *capabilities: str, per_group: int = 1) -> Account:
    return parse_account(answer, own_id=OURS, capabilities=capabilities, home="h0me1", per_group=per_group)


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
    assert read(account(tasks=tasks)).unfinished == unfinished


@pytest.mark.parametrize(
    ("tasks", "counted"),
    [
        ({}, (None, None)),
        ({"running": 2}, (None, None)),
        ({"running": 2, "success": 0}, (2, 0)),
        ({"inactive": 1, "running": 2, "success": 900, "failed": 3, "failedWorkerDied": 1, "canceled": 5}, (912, 904)),
    ],
)
def test_what_came_and_what_is_done_is_counted_where_the_scheduler_sums_it(
    tasks: dict[str, int], counted: tuple[int | None, int | None]
) -> None:
    seen = read(account(tasks=tasks))
    assert (seen.arrived, seen.served) == counted


def test_a_task_that_is_on_no_processor_waits_whatever_the_scheduler_calls_it() -> None:
    seen = read(account(tasks={"running": 23, "inactive": 1}, workers=[row(sent=23, queued=22, working=1)]))
    assert (seen.unfinished, seen.working) == (24, 1)


@pytest.mark.parametrize(
    ("name", "worker_id"),
    [
        (NAME, "sdxl-0abc-1-0"),
        ("Worker|FIX|5aa2|4d13", ""),
        ("Worker|sdxl-0abc-1-0", ""),
        ("Worker|sdxl-0abc-1-0+h0me1+gpu|5aa2", "sdxl-0abc-1-0"),
        ("Client|sdxl-0abc-1-0|5aa2|4d13", ""),
        ("", ""),
    ],
)
def test_a_worker_is_known_by_what_its_name_begins_with(name: str, worker_id: str) -> None:
    (seen,) = read(account(workers=[row(name)], managers={OURS: [name]})).workers
    assert (seen.worker_id, seen.manager) == (worker_id, OURS)


@pytest.mark.parametrize(
    ("changes", "busy"), [({}, False), ({"sent": 1}, True), ({"queued": 1}, True), ({"working": 1}, True)]
)
def test_a_worker_that_has_a_task_is_busy_also_before_it_began(changes: dict[str, Any], busy: bool) -> None:
    (seen,) = read(account(workers=[row(**changes)])).workers
    assert seen.is_busy is busy


GPU, BOTH = ("gpu",), ("cpu=4", "gpu=2")


@pytest.mark.parametrize(
    ("wanted", "capabilities", "desired", "beyond"),
    [
        ([{"capabilities": {}, "count": 3}], (), (Want((), 3),), ()),
        # Each kind by itself: a plain task must not bring a worker with a GPU where a plain one can be had.
        (
            [{"capabilities": {"gpu": 1}, "count": 2}, {"capabilities": {}, "count": 3}],
            GPU,
            (Want(GPU, 2), Want((), 3)),
            (),
        ),
        ([{"capabilities": {"gpu": 1}, "count": 2}], BOTH, (Want(GPU, 2),), ()),
        # A name without an amount is -1 on the wire.
        ([{"capabilities": {"gpu": -1}, "count": 2}], GPU, (Want(GPU, 2),), ()),
        ([{"capabilities": {"gpu": 2}, "count": 2}], GPU, (Want((), 0),), (("gpu=2",),)),
        ([{"capabilities": {"gpu": 1}, "count": 2}], (), (Want((), 0),), (GPU,)),
        ([{"capabilities": {"gpu": 1}, "count": 0}], (), (Want((), 0),), ()),
        # Names are what users of the queue write.
        ([{"capabilities": {"a b": 1}, "count": 2}], GPU, (Want((), 0),), (("a name that is none",),)),
        ([], (), (Want((), 0),), ()),
        (None, (), None, ()),
    ],
)
def test_what_a_scheduler_of_2_9_wants_is_what_this_fleet_can_do_of_it(
    wanted: object, capabilities: tuple[str, ...], desired: object, beyond: object
) -> None:
    seen = read(account(wanted=wanted), *capabilities)
    assert (seen.desired, seen.beyond) == (desired, beyond)


def test_what_it_wants_is_counted_in_its_own_workers_of_which_several_may_be_one_of_ours() -> None:
    asked = [{"capabilities": {}, "count": 9}]
    assert read(account(wanted=asked), per_group=4).desired == (Want((), 3),)


def named(number: int, *capabilities: str, home: str = "h0me1") -> dict[str, Any]:
    return row("Worker|" + "+".join((f"sdxl-0abc-1-{number}", home, *capabilities)) + f"|5aa{number}")


START: dict[str, dict[str, int]] = {"start": {}}
START_GPU = {"start": {"gpu": 1}}


@pytest.mark.parametrize(
    ("workers", "commands", "desired"),
    [
        ([], [], None),
        ([named(0)], [], None),
        ([], [START], (Want((), 1),)),
        ([], [START, START_GPU], (Want((), 1), Want(GPU, 1))),
        ([named(0), named(1)], [START], (Want((), 3),)),
        ([named(0), named(1, "gpu")], [START_GPU], (Want((), 1), Want(GPU, 2))),
        ([named(0), named(1)], [{"stop": "sdxl-0abc-1-1+h0me1"}], (Want((), 1),)),
        ([named(0)], [{"stop": "sdxl-0abc-1-0+h0me1"}], (Want((), 0),)),
        # One of a group of two processes is the group.
        ([named(0), named(0)], [{"stop": "sdxl-0abc-1-0+h0me1"}], (Want((), 0),)),
        # Not ours, gone, another home's, and nobody's: what is there stays.
        ([named(0)], [{"stop": "ecs-8e1"}], (Want((), 1),)),
        ([named(0)], [{"stop": "sdxl-0abc-1-7+h0me1"}], (Want((), 1),)),
        ([named(0), named(1, home="h0me2")], [{"stop": "sdxl-0abc-1-1+h0me2"}], (Want((), 1),)),
        ([named(0)], [{"stop": ""}], (Want((), 1),)),
        ([named(0)], [{"stop": "sdxl-0abc-1-0+h0me2"}], (Want((), 1),)),
        # Asked for twice it goes once.
        ([named(0), named(1)], [{"stop": "sdxl-0abc-1-0+h0me1"}] * 2, (Want((), 1),)),
        # Whoever is there counts, also one that can do more than the block says, or whose name says nothing sensible.
        ([named(0, "gpu=4"), named(1, "gpu=4")], [START_GPU], (Want(("gpu=4",), 2), Want(GPU, 1))),
        ([named(0, "b d!"), named(1, "gpu", "gpu=2")], [START], (Want((), 3),)),
    ],
)
def test_what_a_scheduler_of_1_15_commands_is_added_to_what_is_connected(
    workers: list[dict[str, Any]], commands: list[object], desired: object
) -> None:
    assert read(account(workers=workers, commands=commands), "gpu").desired == desired


def test_groups_that_are_not_this_fleets_are_named() -> None:
    groups = {
        "sdxl-0abc-1-0+h0me1": [],
        "sdxl-0abc-1-9+h0me1": [],
        "sdxl-0abc-1-0+old11": [],
        "ecs-8e1": ["Worker|ECS|1|2"],
    }
    seen = read(account(workers=[named(0)], commands=[{"stop": "ecs-8e1"}], groups=groups))
    assert seen.strange_groups == ("sdxl-0abc-1-0+old11", "ecs-8e1")
    assert seen.desired == (Want((), 1),)


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
        {"wanted": [{"capabilities": {"gpu": "many"}, "count": 1}]},
        {"wanted": [{"capabilities": ["gpu"], "count": 1}]},
        {"commands": ["start"]},
        {"commands": [{"start": 3}]},
        {"commands": [{"stop": 3}]},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_an_account_with_a_hole_is_unknown_as_a_whole(changes: dict[str, object]) -> None:
    with pytest.raises(MasterUnavailable, match="the scheduler"):
        read(account(**changes))
