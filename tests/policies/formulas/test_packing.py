"""Packing: waiting work into free workers first, then into as few new ones as it takes."""

import pytest

from ebbflow.core.member import Shape
from ebbflow.core.observation import CanLaunch, Offer
from ebbflow.policies.formulas.needs import MOST
from ebbflow.policies.formulas.packing import pack

Group = list[tuple[tuple[str, ...], int]]
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
        pytest.param([(("gpu=0.6",), 3)], [TWO], GPU, [GPU], id="a part comes from one GPU: of 0.6 one each"),
        pytest.param([(("gpu=0.4",), 3)], [GPU], GPU, [GPU], id="of 0.4 two"),
        pytest.param([(("gpu=0.00000001",), 5)], [GPU], GPU, [], id="next to nothing"),
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
    packed = pack([Shape(words, count) for words, count in shapes], free, can_launch=launches(offers), used_up=("gpu",))
    assert list(packed.new) == new
    assert packed.unplaced == ()


def launches(offer: tuple[str, ...], most: int = MOST) -> CanLaunch | None:
    return CanLaunch((Offer(offer, most),), most) if offer else None


@pytest.mark.parametrize(
    ("parts", "waits", "new"),
    [
        pytest.param([], [(TWO, 1)], [FOUR], id="nobody is there"),
        pytest.param([TWO], [(TWO, 1)], [], id="half of a busy worker is free"),
        pytest.param([GPU], [(TWO, 1)], [FOUR], id="too small a rest"),
        pytest.param([GPU, GPU], [(TWO, 1)], [FOUR], id="two rests are not one"),
        pytest.param([PART, ("gpu=0.5",)], [(PART, 3)], [], id="three quarters in two rests"),
        pytest.param([FOUR], [((), 1)], [()], id="what has a worker for itself does not share one"),
    ],
)
def test_what_a_busy_worker_has_left_is_filled_before_anybody_is_launched(
    parts: list[tuple[str, ...]], waits: Group, new: list[tuple[str, ...]]
) -> None:
    shapes = [Shape(words, count) for words, count in waits]
    assert list(pack(shapes, [], parts=parts, can_launch=launches(FOUR), used_up=("gpu",)).new) == new


def test_rests_of_busy_workers_go_before_free_ones_which_may_then_leave() -> None:
    packed = pack([Shape(GPU, 1)], [FOUR], parts=[GPU], used_up=("gpu",))
    assert (packed.new, packed.unused) == ((), (True,))


def test_each_kind_of_work_has_the_first_kind_of_worker_that_can_do_it() -> None:
    cluster, rented = Offer(("cpu=8", "gpu"), 2), Offer(("a100", "cpu=16", "gpu=4"), 5)
    packed = pack(
        [Shape(("cpu", "gpu"), 3), Shape(("a100", "gpu"), 1), Shape(("tpu",), 2)],
        [],
        can_launch=CanLaunch((cluster, rented), 7),
        used_up=("cpu", "gpu"),
    )
    # The cluster has two to give; the third task shares what the one for an A100 brings.
    assert packed.new == (cluster.capabilities, cluster.capabilities, rented.capabilities)
    assert packed.unplaced == (Shape(("tpu",), 2),)


def test_work_goes_to_the_next_provider_when_the_first_has_no_more_to_give() -> None:
    first, second = Offer(("gpu",), 1), Offer(("gpu", "vast"), 9)
    packed = pack([Shape(GPU, 3)], [], can_launch=CanLaunch((first, second), 10), used_up=("gpu",))
    assert packed.new == (first.capabilities, second.capabilities, second.capabilities)


def test_single_work_beyond_the_limits_is_asked_for_so_that_the_limit_can_say_that_it_binds() -> None:
    assert len(pack([Shape(GPU, 5)], [], can_launch=launches(GPU, 2), used_up=("gpu",)).new) == 5


SPREAD = Shape(GPU, count=3, gang=3, apart=True, kind="group")
PACKED = Shape(GPU, count=3, gang=3, kind="group")


@pytest.mark.parametrize(
    ("gang", "free", "most", "new", "held"),
    [
        pytest.param(SPREAD, [], 3, [FOUR] * 3, [], id="each member has a worker of its own"),
        pytest.param(SPREAD, [FOUR], 2, [FOUR] * 2, [], id="a free one counts"),
        pytest.param(SPREAD, [FOUR, FOUR, FOUR], 0, [], [], id="all are there"),
        pytest.param(SPREAD, [FOUR], 1, [], [SPREAD], id="one too few: nothing at all"),
        pytest.param(PACKED, [], 1, [FOUR], [], id="members share where they may"),
        pytest.param(PACKED, [GPU], 1, [FOUR], [], id="and go into several where they must"),
        pytest.param(PACKED, [GPU], 0, [], [PACKED], id="no room for the rest"),
        pytest.param(Shape(GPU, 9, 3, apart=True), [], 7, [FOUR] * 3, [], id="three gangs share their workers"),
        pytest.param(
            Shape(FOUR, 4, 2, apart=True), [], 3, [FOUR] * 2, [Shape(FOUR, 2, 2, apart=True)], id="one of two"
        ),
    ],
)
def test_a_gang_is_launched_for_wholly_or_not_at_all(
    gang: Shape, free: list[tuple[str, ...]], most: int, new: list[tuple[str, ...]], held: list[Shape]
) -> None:
    packed = pack([gang], free, can_launch=launches(FOUR, most), used_up=("gpu",))
    assert (list(packed.new), list(packed.held), packed.unplaced) == (new, held, ())


def test_a_gang_of_members_that_differ_is_whole_too() -> None:
    head = Shape(("cpu=4",), count=1, gang=3, gang_key="g", apart=True)
    others = Shape(("cpu", "gpu"), count=2, gang=3, gang_key="g", apart=True)
    able = ("cpu=4", "gpu")
    assert pack([head, others], [], can_launch=launches(able, 3), used_up=("cpu", "gpu")).new == (able,) * 3
    held = pack([head, others], [], can_launch=launches(able, 2), used_up=("cpu", "gpu"))
    assert (held.new, held.held) == ((), (head, others))


def test_a_gang_with_a_member_that_nobody_can_be_is_unsatisfiable_and_leaves_the_room_to_others() -> None:
    head = Shape(("tpu",), count=1, gang=2, gang_key="g")
    other = Shape(GPU, count=1, gang=2, gang_key="g")
    packed = pack([head, other, Shape(FOUR, 1)], [FOUR], can_launch=launches(FOUR), used_up=("gpu",))
    assert (packed.new, packed.unused, packed.unplaced) == ((), (False,), (other, head))


@pytest.mark.parametrize("bundles", [[GPU, FOUR], [FOUR, GPU]], ids=["the small one first", "the large one first"])
def test_regression_a_gang_was_held_because_its_smallest_member_had_taken_the_largest_room(
    bundles: list[tuple[str, ...]],
) -> None:
    gang = [Shape(words, 1, gang=2, gang_key="g") for words in bundles]
    can = CanLaunch((Offer(FOUR, 1), Offer(GPU, 4)), 5)
    packed = pack(gang, [], can_launch=can, used_up=("gpu",))
    assert (sorted(packed.new), packed.held) == ([GPU, FOUR], ())


def test_what_was_wanted_before_takes_of_what_can_be_launched() -> None:
    can = CanLaunch((Offer(GPU, 2), Offer(FOUR, 3)), 4)
    assert can.without([GPU, FOUR, FOUR]) == CanLaunch((Offer(GPU, 1), Offer(FOUR, 1)), 1)


def test_work_that_no_new_worker_can_do_launches_nothing_and_is_named() -> None:
    packed = pack([Shape(("cpu",), 7), Shape(GPU, 1)], [], can_launch=launches(GPU), used_up=("gpu",))
    assert (packed.new, packed.unplaced) == ((GPU,), (Shape(("cpu",), 7),))
    too_large = pack([Shape(FOUR, 2)], [FOUR], can_launch=launches(GPU), used_up=("gpu",))
    assert (too_large.new, too_large.unplaced) == ((), (Shape(FOUR, 1),))


def test_who_is_left_free_is_told() -> None:
    assert pack([Shape(GPU, 1)], [GPU, TWO], used_up=("gpu",)).unused == (False, True)


def test_no_decision_asks_for_more_than_a_fleet_may_hold() -> None:
    assert len(pack([Shape((), 10**9)], []).new) == MOST
