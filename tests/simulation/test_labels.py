"""Labels in a picture: whatever its points, no label lies on another or outside, and each point is named or counted."""

import math
import random
import re
from collections.abc import Sequence
from itertools import combinations
from xml.etree import ElementTree

import pytest

from ebbflow.simulation.labels import BOLD_CHARACTER, CHARACTER, NEAR, Box, Label, Spot, labels_of
from ebbflow.simulation.plots import FRAME, Point, scatter

SVG = "{http://www.w3.org/2000/svg}"
LONG = "fixed_elastic (upper_task_ratio=4.0, base_workers=2), as deployed"


def at(places: Sequence[tuple[float, float]], *, name: str = "", marked: int = 1) -> list[Spot]:
    return [Spot(x, y, f"{name}{place}", place <= marked) for place, (x, y) in enumerate(places, 1)]


def ring(count: int, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = [2 * math.pi * place / count for place in range(count)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def spread(count: int, seed: int = 1) -> list[tuple[float, float]]:
    drawn = random.Random(seed)
    return [(drawn.uniform(FRAME.left, FRAME.right), drawn.uniform(FRAME.top, FRAME.bottom)) for _ in range(count)]


CORNERS = [(x, y) for x in (FRAME.left, FRAME.right) for y in (FRAME.top, FRAME.bottom)]

CASES = {
    "none": [],
    "one": at([(300, 150)]),
    "all equal": at([(300, 150)] * 24),
    "all equal at the right edge": at([(FRAME.right, 150)] * 24),
    "two clusters": at([*ring(12, 120, 80, 5), *ring(12, 560, 250, 5)]),
    "two clusters at hand": at([*ring(12, 300, 150, 5), *ring(12, 315, 160, 5)]),
    "a dense ring": at(ring(24, 320, 160, 40)),
    "a line down": at([(200, 40 + 11 * place) for place in range(22)]),
    "a line across": at([(80 + 13 * place, 150) for place in range(24)]),
    "twenty spread": at(spread(20)),
    "a hundred spread": at(spread(100)),
    "one far out": at([(620, 40), *ring(19, 75, 285, 4)]),
    "in the corners": at(CORNERS),
    "long names": at([*spread(10), *CORNERS], name=LONG),
    "long names at one place": at([(600, 150)] * 12, name=LONG),
    "names that no picture holds": at([(600, 150), *CORNERS], name=LONG * 4),
}


def widest(label: Label) -> float:
    return (BOLD_CHARACTER if label.is_marked else CHARACTER) * len(label.text)


@pytest.mark.parametrize("spots", CASES.values(), ids=CASES)
def test_no_label_lies_on_another_or_leaves_the_picture(spots: list[Spot]) -> None:
    labels = labels_of(spots, FRAME)
    assert [pair for pair in combinations(labels, 2) if pair[0].box.meets(pair[1].box)] == []
    assert [label for label in labels if not FRAME.holds(label.box)] == []
    assert [label for label in labels if widest(label) > label.box.right - label.box.left + 1e-6] == []


@pytest.mark.parametrize("case", [case for case in CASES if case != "a hundred spread"])
def test_each_point_has_one_label_that_names_or_counts_it(case: str) -> None:
    labels = labels_of(CASES[case], FRAME)
    assert sorted(spot.label for label in labels for spot in label.spots) == sorted(spot.label for spot in CASES[case])
    for label in labels:
        counted = re.search(r", (\d+) more$", label.text)
        named = len(label.spots) - (int(counted.group(1)) if counted else 0)
        names = ", ".join(spot.label for spot in label.spots[:named])
        assert names.startswith(label.text.removesuffix(counted.group(0) if counted else "").rstrip("\u2026"))


def test_points_that_are_no_further_apart_than_a_line_of_text_share_a_label_and_others_do_not() -> None:
    near = labels_of(at([(300, 150), (311, 139), (300, 163)]), FRAME)
    assert [label.text for label in near] == ["1, 2", "3"]


def test_of_very_many_at_one_place_the_marked_ones_are_named_first_and_the_rest_is_counted() -> None:
    spots = [Spot(300, 150, f"setting {place}", place in (7, 20)) for place in range(24)]
    (label,) = labels_of(spots, FRAME)
    assert label.text == "setting 7, setting 20, 22 more"
    assert label.is_marked


def test_a_name_that_is_too_long_is_cut() -> None:
    (label,) = labels_of([Spot(300, 150, LONG)], FRAME)
    assert label.text == f"{LONG[:39]}\u2026"


def test_a_label_stands_beside_its_point_and_not_on_another_where_there_is_room() -> None:
    for label in labels_of(CASES["two clusters"], FRAME):
        assert label.leads is None
    one, two = labels_of(at([(300, 150), (320, 150)], name="setting "), FRAME)
    for label, other in ((one, two), (two, one)):
        assert not label.box.meets(Box(other.at.x - 4, other.at.y - 4, other.at.x + 4, other.at.y + 4))


def test_a_line_leads_to_a_label_that_stands_far_from_its_point() -> None:
    near = labels_of(CASES["two clusters"], FRAME)
    assert [label for label in near if label.leads is not None] == []
    far = [label for label in labels_of(at(ring(24, 600, 160, 40), name="policy of another"), FRAME) if label.leads]
    assert far
    for label in far:
        x, y = label.leads or (0.0, 0.0)
        assert label.box.left <= x <= label.box.right
        assert label.box.top <= y <= label.box.bottom
        assert max(abs(x - label.at.x), abs(y - label.at.y)) > NEAR


def test_a_picture_shows_each_point_and_its_label() -> None:
    points = [Point("now", 4.0, 20.0, is_marked=True), Point("a < b", 4.0, 20.0), Point("far", 90.0, 1.0)]
    drawn = ElementTree.fromstring(scatter("t", points, x_label="x", y_label="y"))
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"now, a < b", "far"} <= set(texts)
    assert [title.text for title in drawn.iter(f"{SVG}title")] == ["t", "a < b", "far", "now"]
