"""Packing: waiting work into free workers first, then into as few new ones as it takes."""

import pytest

from ebbflow.core.member import Shape
from ebbflow.policies.formulas.needs import MOST
from ebbflow.policies.formulas.packing import pack

GPU, TWO, FOUR, PART = ("gpu",), ("gpu=2",), ("gpu=4",), ("gpu=0.25",)
A100 = ("a100", "gpu")


@pytest.mark.parametrize(
    ("shapes", "free", "offers", "new"),
    [
        pytest.param([(GPU, 3)], [], (), [GPU] * 3, id="a worker for each"),
        pytest.param([(GPU, 3)], [GPU, GPU], (), [GPU], id="beyond the free ones"),
        pytest.param([(TWO, 1)], [GPU], (), [TWO], id="a free GPU is no two"),
        pytest.param([(GPU, 3)], [FOUR], (), [], id="four share a worker"),
        pytest.param([(GPU, 9)], [], FOUR, [FOUR] * 3, id="four share a new worker"),
        pytest.param([(TWO, 3), (GPU, 3)], [], FOUR, [FOUR] * 3, id="the rest of a worker is used"),
        pytest.param([(GPU, 1), (FOUR, 1)], [FOUR], (), [GPU], id="the largest first"),
        pytest.param([(PART, 9)], [], GPU, [GPU] * 3, id="quarters add up"),
        pytest.param([(A100, 5)], [("a100", "gpu=4")], A100, [A100], id="a model is compared and not used up"),
        pytest.param([(A100, 1)], [GPU], A100, [A100], id="another model"),
        pytest.param([((), 3)], [(), GPU], (), [()], id="what requires nothing has a worker for itself"),
        pytest.param([((), 1), (GPU, 1)], [GPU], (), [()], id="what any worker can do goes last"),
        pytest.param([], [GPU], (), [], id="no work"),
    ],
)
def test_work_fills_what_is_free_and_then_new_workers(
    shapes: list[tuple[tuple[str, ...], int]],
    free: list[tuple[str, ...]],
    offers: tuple[str, ...],
    new: list[tuple[str, ...]],
) -> None:
    packed = pack([Shape(words, count) for words, count in shapes], free, offers=offers, used_up=("gpu",))
    assert list(packed.new) == new
    assert packed.unplaced == ()


def test_a_gang_has_a_worker_for_each_of_its_members() -> None:
    together = [Shape(GPU, count=4, gang=2, kind="group")]
    assert len(pack(together, [], offers=FOUR, used_up=("gpu",)).new) == 2
    assert len(pack([Shape(GPU, count=4)], [], offers=FOUR, used_up=("gpu",)).new) == 1


def test_work_that_no_new_worker_can_do_launches_nothing_and_is_named() -> None:
    packed = pack([Shape(("cpu",), 7), Shape(GPU, 1)], [], offers=GPU, used_up=("gpu",))
    assert (packed.new, packed.unplaced) == ((GPU,), (Shape(("cpu",), 7),))
    too_large = pack([Shape(FOUR, 2)], [FOUR], offers=GPU, used_up=("gpu",))
    assert (too_large.new, too_large.unplaced) == ((), (Shape(FOUR, 1),))


def test_who_is_left_free_is_told() -> None:
    assert pack([Shape(GPU, 1)], [GPU, TWO], used_up=("gpu",)).unused == (False, True)


def test_no_decision_asks_for_more_than_a_fleet_may_hold() -> None:
    assert len(pack([Shape((), 10**9)], []).new) == MOST
