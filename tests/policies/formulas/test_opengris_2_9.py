"""The rules of opengris-scaler 2.9.0: every worked example as the library answers, and where we answer otherwise."""

import pytest

from ebbflow.core.plan import Want
from ebbflow.policies.formulas.corrections import CORRECTED, LIBRARY, Corrections
from ebbflow.policies.formulas.needs import Need
from ebbflow.policies.formulas.opengris_2_9 import capability, concurrency, vanilla

PLAIN, GPU, GPU2 = (), ("gpu",), ("gpu=2",)
LARGE = 100_000

VANILLA = [
    # tasks, workers, own, cap, library, corrected
    (0, 0, 4, 10, 4, 4),
    (25, 0, 3, 10, 4, 4),
    (11, 1, 3, 2, 2, 2),
    (1000, 1, 1, LARGE, 2, 2),
    (30, 3, 3, LARGE, 3, 3),
    (31, 3, 3, LARGE, 4, 4),
    (10, 10, 10, LARGE, 10, 10),
    (9, 10, 10, LARGE, 1, 9),
    (15, 20, 10, LARGE, 2, 9),
    (0, 3, 3, LARGE, 0, 2),
    (0, 1, 1, LARGE, 0, 0),
]


@pytest.mark.parametrize(("tasks", "workers", "own", "most", "library", "corrected"), VANILLA)
def test_vanilla_says_how_many_a_manager_should_have(
    tasks: int, workers: int, own: int, most: int, library: int, corrected: int
) -> None:
    assert vanilla(tasks, workers, own, most, corrections=LIBRARY) == library
    assert vanilla(tasks, workers, own, most) == corrected


def test_two_managers_share_the_target_instead_of_each_keeping_all_of_it() -> None:
    def settled(corrections: Corrections) -> tuple[int, int]:
        first = second = 10
        for _ in range(30):
            total = first + second
            first = vanilla(15, total, first, LARGE, corrections=corrections) or 0
            second = vanilla(15, total, second, LARGE, corrections=corrections) or 0
        return first, second

    assert settled(LIBRARY) == (2, 2)
    # Both go down step by step until 15 tasks are no longer fewer than the workers.
    assert settled(CORRECTED) == (7, 7)


def test_launches_in_flight_count_unless_they_are_the_librarys() -> None:
    assert vanilla(5, 0, 0, 9, starting=1, corrections=LIBRARY) == 1
    assert vanilla(5, 0, 0, 9, starting=1) == 1
    assert vanilla(25, 1, 1, 9, starting=2, corrections=LIBRARY) == 2
    assert vanilla(25, 1, 1, 9, starting=2) == 3


def test_unknown_is_no_opinion_and_to_the_library_no_work() -> None:
    assert vanilla(None, 3, 3, 9, corrections=LIBRARY) == 0
    assert vanilla(None, 3, 3, 9) is None
    assert capability(None, 9, corrections=LIBRARY) == ()
    assert capability(None, 9) is None


CAPABILITY = [
    # tasks, cap, manager, library requests and their sum, corrected ones
    pytest.param([(PLAIN, 11)], 10, PLAIN, ([(PLAIN, 3)], 3), None, id="11"),
    pytest.param([(GPU, 5)], 10, GPU, ([(GPU, 1)], 1), None, id="5"),
    pytest.param([(GPU, 6)], 10, GPU, ([(GPU, 2)], 2), None, id="6"),
    pytest.param(
        [(PLAIN, 12), (GPU, 23)],
        4,
        GPU,
        ([(PLAIN, 3), (GPU, 4)], 7),
        ([(PLAIN, 3), (GPU, 1)], 4),
        id="the cap holds in sum",
    ),
    pytest.param([(PLAIN, 12), (GPU, 23)], 50, PLAIN, ([(PLAIN, 3), (GPU, 5)], 3), None, id="not its capability"),
    pytest.param(
        [(GPU2, 1), (GPU, 1)], 10, GPU, ([(GPU2, 1)], 0), ([(GPU2, 1), (GPU, 1)], 1), id="amounts are compared"
    ),
    pytest.param([], 10, GPU, ([], 0), None, id="no task"),
]


@pytest.mark.parametrize(("tasks", "most", "manager", "library", "corrected"), CAPABILITY)
def test_capability_asks_for_a_share_of_the_tasks_of_each_kind(
    tasks: list[tuple[tuple[str, ...], int]],
    most: int,
    manager: tuple[str, ...],
    library: tuple[list[tuple[tuple[str, ...], int]], int],
    corrected: tuple[list[tuple[tuple[str, ...], int]], int] | None,
) -> None:
    needs = [Need(words, count) for words, count in tasks]
    for corrections, (requests, total) in ((LIBRARY, library), (CORRECTED, corrected or library)):
        asked = capability(needs, most, offers=manager, corrections=corrections)
        assert asked == tuple(Want(words, count) for words, count in requests)
        assert concurrency(asked, manager, corrections=corrections) == total


def test_minus_one_is_unlimited_and_other_negative_numbers_are_none() -> None:
    assert capability([Need(PLAIN, 11)], -1) == (Want(PLAIN, 3),)
    assert vanilla(25, 1, 1, -1) == 2
    # Neither does the library here; another negative number holds everything there.
    assert capability([Need(PLAIN, 11)], -1, corrections=LIBRARY) == (Want(PLAIN, 3),)
    assert vanilla(25, 1, 1, -1, corrections=LIBRARY) == 2
    assert vanilla(25, 1, 1, -2, corrections=LIBRARY) == 0
    with pytest.raises(ValueError, match="a cap of -2: expected -1 for unlimited, 0 or more"):
        vanilla(25, 1, 1, -2)
