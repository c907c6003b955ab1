"""The rules of opengris-scaler 1.15.0: every worked example as the library answers, and where we answer otherwise."""

import pytest

from ebbflow.policies.formulas.corrections import CORRECTED, LIBRARY, Corrections
from ebbflow.policies.formulas.needs import Need
from ebbflow.policies.formulas.opengris_1_15 import Command, Group, Start, Stop, capability, fixed_elastic, vanilla

both = pytest.mark.parametrize("corrections", [LIBRARY, CORRECTED], ids=["library", "corrected"])
GPU, PLAIN = ("gpu",), ()


def groups(*queued: int) -> tuple[Group, ...]:
    return tuple(Group("abcdef"[place], queued=count) for place, count in enumerate(queued))


VANILLA = [
    # tasks, workers, queued per group, cap, commands
    (1, 0, (), 5, (Start(),)),
    (25, 0, (), 5, (Start(),)),
    (25, 0, (), 0, ()),
    (10, 1, (0,), 5, ()),
    (20, 2, (0, 0), 5, ()),
    (1, 1, (0,), 5, ()),
    (11, 1, (0,), 5, (Start(),)),
    (21, 2, (0, 0), 5, (Start(),)),
    (31, 3, (0, 0, 0), 3, ()),
    (31, 3, (0, 0, 0), 4, (Start(),)),
    (2, 3, (1, 0, 0), 5, (Stop("b"),)),
    (3, 3, (1, 1, 1), 5, ()),
    (3, 4, (), 5, ()),
    (0, 1, (0,), 5, (Stop("a"),)),
    (0, 0, (), 5, ()),
]


@both
@pytest.mark.parametrize(("tasks", "workers", "queued", "most", "commands"), VANILLA)
def test_vanilla_gives_at_most_one_command(
    tasks: int,
    workers: int,
    queued: tuple[int, ...],
    most: int,
    commands: tuple[Command, ...],
    corrections: Corrections,
) -> None:
    assert vanilla(tasks, workers, groups(*queued), most, corrections=corrections) == commands


def test_vanilla_repeats_a_start_until_it_is_confirmed_unless_corrected() -> None:
    asked = {"tasks": 5, "workers": 0, "groups": (), "most": 5, "starting": 1}
    assert vanilla(**asked, corrections=LIBRARY) == (Start(),)  # type: ignore[arg-type]
    assert vanilla(**asked) == ()  # type: ignore[arg-type]


def test_a_confirmed_group_that_has_not_joined_is_a_worker_to_us_and_not_to_the_library() -> None:
    joining = (Group("a", connected=0),)
    assert vanilla(5, 0, joining, 5, corrections=LIBRARY) == (Start(),)
    assert vanilla(5, 0, joining, 5) == ()


def test_vanilla_stops_a_busy_group_unless_corrected() -> None:
    busy = (Group("a", queued=0, is_idle=False), Group("b", queued=1))
    assert vanilla(1, 2, busy, 5, corrections=LIBRARY) == (Stop("a"),)
    assert vanilla(1, 2, busy, 5) == ()


def test_a_stop_is_repeated_every_heartbeat_unless_corrected() -> None:
    leaving = (Group("a", is_stopping=True), Group("b"))
    assert vanilla(1, 2, leaving, 5, corrections=LIBRARY) == (Stop("a"),)
    assert vanilla(1, 2, leaving, 5) == ()


def test_unknown_is_zero_to_the_library_alone() -> None:
    assert vanilla(None, 1, groups(0), 5, corrections=LIBRARY) == (Stop("a"),)
    assert vanilla(None, 1, groups(0), 5) == ()
    assert fixed_elastic(None, 0, (), 1) == ()
    one = (Group("a", GPU),)
    assert capability(None, [GPU], one, 5, corrections=LIBRARY) == (Stop("a"),)
    assert capability(None, [GPU], one, 5) == ()


CAPABILITY = [
    pytest.param(([({}, 100), ("gpu", 50)], [], [], 5), (Start(PLAIN), Start(GPU)), None, id="two kinds, no worker"),
    pytest.param(
        ([({}, 100), ("gpu", 50)], [], [], 1), (Start(PLAIN), Start(GPU)), (Start(PLAIN),), id="beyond the cap"
    ),
    pytest.param(([({}, 5)], [GPU], [], 5), (), None, id="5 on one"),
    pytest.param(([({}, 6)], [GPU], [], 5), (Start(PLAIN),), None, id="6 on one"),
    pytest.param(([("gpu", 1)], [PLAIN] * 9, [], 5), (Start(GPU),), None, id="nobody is able"),
    pytest.param(([("gpu=4", 1)], [GPU], [], 5), (), (Start(("gpu=4",)),), id="an amount that is too small"),
    pytest.param(
        ([("gpu", 60)], [], [Group("g", GPU, connected=0)], 5), (), (Start(GPU),), id="tracked, not connected, 60"
    ),
    pytest.param(([("gpu", 5)], [], [Group("g", GPU, connected=0)], 5), (), None, id="tracked, not connected, 5"),
    pytest.param(
        ([], [GPU, GPU, ("cpu",)], [Group("g1", GPU, 2), Group("g2", GPU), Group("c1", ("cpu",))], 5),
        (Stop("g2"), Stop("c1")),
        None,
        id="no task",
    ),
    pytest.param(
        ([("gpu", 8)], [GPU] * 21, [Group("g", GPU, worker_ids=20, connected=20)], 5), (), None, id="8 on the one left"
    ),
    pytest.param(
        ([("gpu", 5)], [GPU] * 21, [Group("g", GPU, worker_ids=20, connected=20)], 5),
        (Stop("g"),),
        None,
        id="5 on the one left",
    ),
    pytest.param(
        ([("gpu", 1)], [GPU] * 3, [Group("g", GPU, worker_ids=3, connected=3)], 5), (), None, id="the last group"
    ),
    pytest.param(
        ([("gpu", 1)], [GPU] * 3, [Group("g", GPU, worker_ids=0, connected=3)], 5),
        (Stop("g"),),
        (),
        id="the last group, without ids",
    ),
]


@pytest.mark.parametrize(("given", "library", "corrected"), CAPABILITY)
def test_capability_starts_per_kind_and_else_stops_per_kind(
    given: tuple[list[tuple[str, int]], list[tuple[str, ...]], list[Group], int],
    library: tuple[Command, ...],
    corrected: tuple[Command, ...] | None,
) -> None:
    tasks, workers, tracked, most = given
    needs = [Need((words,) if words else (), count) for words, count in tasks]
    assert capability(needs, workers, tracked, most, corrections=LIBRARY) == library
    assert capability(needs, workers, tracked, most) == (library if corrected is None else corrected)


def test_capability_repeats_its_starts_until_they_are_confirmed_unless_corrected() -> None:
    needs = [Need(GPU, 3)]
    assert capability(needs, [], [], 5, starting=[GPU], corrections=LIBRARY) == (Start(GPU),)
    assert capability(needs, [], [], 5, starting=[GPU]) == ()


def test_a_kind_is_its_names_to_the_library_and_its_amounts_to_us() -> None:
    needs = [Need(("gpu=2",), 1), Need(GPU, 1)]
    assert capability(needs, [], [], 5, corrections=LIBRARY) == (Start(("gpu=2",)),)
    assert capability(list(reversed(needs)), [], [], 5, corrections=LIBRARY) == (Start(GPU),)
    # The larger can do the work of the smaller, so one is enough where it comes first.
    assert capability(needs, [], [], 5) == (Start(("gpu=2",)),)
    assert capability(list(reversed(needs)), [], [], 5) == (Start(GPU), Start(("gpu=2",)))


def test_no_stop_would_be_answered_by_a_start() -> None:
    needs = [Need(PLAIN, 4), Need(GPU, 2)]
    for plain in range(6):
        for able in range(6):
            tracked = [*(Group(f"p{n}") for n in range(plain)), *(Group(f"g{n}", GPU) for n in range(able))]
            stopped = {
                command.group
                for command in capability(needs, [group.capabilities for group in tracked], tracked, 99, lower=2.0)
                if isinstance(command, Stop)
            }
            left = [group for group in tracked if group.name not in stopped]
            if stopped:
                again = capability(needs, [group.capabilities for group in left], left, 99, lower=2.0)
                assert not [command for command in again if isinstance(command, Start)], (plain, able, stopped)


PRIMARY = (Group("p", is_primary=True),)


def secondary(*queued: int) -> tuple[Group, ...]:
    return (*PRIMARY, *groups(*queued))


FIXED = [
    # tasks, workers, groups, cap, asked, succeeded, library, corrected
    pytest.param(5, 0, (), 1, False, False, (Start(),), (Start(),), id="primary, 5 tasks"),
    pytest.param(0, 0, (), 1, False, False, (), (), id="primary, no task"),
    pytest.param(99, 0, (), 1, True, True, (), (), id="primary again"),
    pytest.param(99, 0, (), 1, True, False, (), (Start(),), id="primary again after TooMuch"),
    pytest.param(11, 1, PRIMARY, 3, True, True, (Start(),), (Start(),), id="secondary, 11 tasks"),
    pytest.param(21, 2, secondary(0), 3, True, True, (Start(),), (Start(),), id="secondary, 21 tasks"),
    pytest.param(31, 3, secondary(0, 0), 3, True, True, (), (), id="its cap counts the primary"),
    pytest.param(99, 2, secondary(0), 2, True, True, (), (), id="full"),
    pytest.param(0, 2, secondary(0), 1, True, True, (), (), id="the primary is never stopped"),
    pytest.param(0, 3, secondary(1, 0), 3, True, True, (), (Stop("b"),), id="secondary, no task"),
    pytest.param(2, 3, secondary(0, 0), 3, True, True, (), (Stop("a"),), id="secondary, 2 tasks"),
    pytest.param(5, 0, (), 0, False, False, (), (), id="a cap of nothing never starts"),
]


@pytest.mark.parametrize(("tasks", "workers", "tracked", "most", "asked", "succeeded", "library", "corrected"), FIXED)
def test_fixed_elastic_keeps_its_primary_and_moves_its_secondary(
    tasks: int,
    workers: int,
    tracked: tuple[Group, ...],
    most: int,
    asked: bool,
    succeeded: bool,
    library: tuple[Command, ...],
    corrected: tuple[Command, ...],
) -> None:
    def answer(corrections: Corrections) -> tuple[Command, ...]:
        return fixed_elastic(
            tasks, workers, tracked, most, was_asked=asked, has_succeeded=succeeded, corrections=corrections
        )

    assert answer(LIBRARY) == library
    assert answer(CORRECTED) == corrected


def test_a_primary_on_its_way_is_not_asked_for_again() -> None:
    assert fixed_elastic(99, 0, (), 1, was_asked=True, starting=1) == ()
