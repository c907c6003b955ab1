"""`waterfall_v1` of opengris-scaler 2.9.0: every worked example, and pouring by itself."""

import pytest

from ebbflow.core.plan import Want
from ebbflow.policies.formulas.corrections import LIBRARY
from ebbflow.policies.formulas.needs import Need
from ebbflow.policies.formulas.opengris_waterfall import Tier, drained, waterfall
from ebbflow.policies.formulas.pouring import pour

PLAIN, GPU = (), ("gpu",)


@pytest.mark.parametrize(
    ("count", "rooms", "taken"),
    [
        (3, (2, 3, 20), (2, 1, 0)),
        (7, (2, 3, 20), (2, 3, 2)),
        (7, (2, 20), (2, 5)),
        (90, (2, 3, 20), (2, 3, 20)),
        (0, (2, 3), (0, 0)),
        (9, (None, 3), (9, 0)),
        (9, (0, None), (0, 9)),
        (5, (), ()),
        (5, (-1, 3), (0, 3)),
    ],
)
def test_each_tier_takes_what_those_before_it_could_not(
    count: int, rooms: tuple[int | None, ...], taken: tuple[int, ...]
) -> None:
    assert pour(count, rooms) == taken


def tiers(slurm: int = 0, k8s: int = 0, vast: int = 0, *, k8s_online: bool = True) -> tuple[Tier, ...]:
    """The rules `1,slurm`, `2,k8s,3` and `3,vast,20`."""
    return (
        Tier("slurm", 2, count=slurm),
        Tier("k8s", 10, 3, GPU, count=k8s, is_online=k8s_online),
        Tier("vast", 50, 20, count=vast),
    )


WATERFALL = [
    pytest.param([(PLAIN, 25)], tiers(), {"slurm": 2, "k8s": 1, "vast": 0}, None, id="25"),
    pytest.param([(PLAIN, 61)], tiers(2, 3, 0), {"slurm": 2, "k8s": 3, "vast": 2}, None, id="61"),
    pytest.param([(PLAIN, 61)], tiers(k8s_online=False), {"slurm": 2, "vast": 5}, None, id="61, k8s offline"),
    pytest.param([(PLAIN, 900)], tiers(), {"slurm": 2, "k8s": 3, "vast": 20}, None, id="900"),
    pytest.param([], tiers(2, 1, 4), {"slurm": 2, "k8s": 1, "vast": 0}, None, id="no task, three tiers"),
    pytest.param([], tiers(2, 1, 0), {"slurm": 2, "k8s": 0, "vast": 0}, None, id="no task, two tiers"),
    pytest.param([], tiers(2, 0, 0), {"slurm": 0, "k8s": 0, "vast": 0}, None, id="no task, one tier"),
    pytest.param(
        [(GPU, 15)],
        tiers(),
        {"slurm": 2, "k8s": [(PLAIN, 0), (GPU, 2)], "vast": 0},
        {"slurm": 0, "k8s": [(PLAIN, 0), (GPU, 2)], "vast": 0},
        id="15 for a GPU",
    ),
    pytest.param(
        [(GPU, 15), (PLAIN, 30)],
        tiers(),
        {"slurm": 2, "k8s": [(PLAIN, 3), (GPU, 2)], "vast": 0},
        {"slurm": 2, "k8s": [(PLAIN, 1), (GPU, 2)], "vast": 0},
        id="15 for a GPU, 30 for any",
    ),
    pytest.param(
        [(GPU, 15), (PLAIN, 50)],
        tiers(),
        {"slurm": 2, "k8s": [(PLAIN, 3), (GPU, 2)], "vast": 2},
        {"slurm": 2, "k8s": [(PLAIN, 1), (GPU, 2)], "vast": 2},
        id="what needs a GPU is placed first",
    ),
]


Asked = dict[str, int | list[tuple[tuple[str, ...], int]]]


def spelt_out(asked: Asked) -> dict[str, tuple[Want, ...]]:
    return {
        name: tuple(Want(words, count) for words, count in ([(PLAIN, sets)] if isinstance(sets, int) else sets))
        for name, sets in asked.items()
    }


@pytest.mark.parametrize(("tasks", "managers", "library", "corrected"), WATERFALL)
def test_work_is_poured_over_managers_in_order(
    tasks: list[tuple[tuple[str, ...], int]],
    managers: tuple[Tier, ...],
    library: Asked,
    corrected: Asked | None,
) -> None:
    needs = [Need(words, count) for words, count in tasks]
    assert waterfall(needs, managers, corrections=LIBRARY) == spelt_out(library)
    assert waterfall(needs, managers) == spelt_out(corrected or library)


def test_minus_one_holds_nothing_in_the_library_and_adds_one_to_the_next() -> None:
    managers = (Tier("first", -1), Tier("second", 50))
    assert waterfall([Need(PLAIN, 90)], managers, corrections=LIBRARY) == spelt_out({"first": 0, "second": 10})
    assert waterfall([Need(PLAIN, 90)], managers) == spelt_out({"first": 9, "second": 0})


def test_unknown_demand_is_no_opinion_and_to_the_library_no_work() -> None:
    assert waterfall(None, tiers(2, 1, 4)) is None
    assert waterfall(None, tiers(2, 1, 4), corrections=LIBRARY) == spelt_out({"slurm": 2, "k8s": 1, "vast": 0})


def test_tiers_of_equal_priority_are_emptied_together() -> None:
    managers = (Tier("a", 9, count=2, priority=1), Tier("b", 9, count=3, priority=1), Tier("c", 9, count=1, priority=2))
    assert drained(managers) == (2, 3, 0)
    assert drained(managers[:2]) == (0, 0)
