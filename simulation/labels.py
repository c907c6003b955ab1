"""Where the labels of points stand in a picture, so that each can be read: none lies on another or leaves the frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEIGHT = 12.0
"""Of a line of text, in pixels. Points that are no further apart share a label."""
CHARACTER, BOLD_CHARACTER = 6.4, 7.0
"""Pixels across, of the widest of the usual fonts."""
WIDEST = 260.0
"""A shared label names as many as this holds, and counts the others."""
DOT, GAP = 5.0, 2.0
"""From the middle of a point to its rim, and from there to its label."""
NEAR = 2 * HEIGHT
"""From further away a line leads from a point to its label. So far a label moves rather than cover another point."""
STEP = 8.0
"""Between the places that are tried across, where there is none beside its point."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; down is more."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether they have more in common than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: "Box") -> bool:
        """Whether all of the other is within."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True, slots=True)
class Spot:
    """A point that asks for a label, in pixels."""

    x: float
    y: float
    label: str
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """A text and its place."""

    text: str
    box: Box
    is_marked: bool
    spots: tuple[Spot, ...]
    """All that share it; it stands at the first one."""

    @property
    def at(self) -> Spot:
        """The point that it stands at."""
        return self.spots[0]

    @property
    def leads(self) -> tuple[float, float] | None:
        """Where in its box a line from its point ends; None: it is so near that nobody takes it for another's."""
        x = min(max(self.at.x, self.box.left), self.box.right)
        y = min(max(self.at.y, self.box.top), self.box.bottom)
        return (x, y) if max(abs(x - self.at.x), abs(y - self.at.y)) > NEAR else None


def labels_of(spots: Sequence[Spot], frame: Box) -> tuple[Label, ...]:
    """A label for each point, or for some that are at one place; what is marked chooses first.

    Args:
        spots: within the frame.
        frame: that holds all labels.

    Returns:
        Where a picture is so full that there is no room for a label at all, it is left out.
    """
    placed: list[Label] = []
    for group in _groups(sorted(spots, key=lambda spot: not spot.is_marked)):
        is_marked = group[0].is_marked
        character = BOLD_CHARACTER if is_marked else CHARACTER
        text = _named(group, int(min(WIDEST, frame.right - frame.left) / character))
        dots = [_dot(spot) for spot in spots if spot not in group]
        box = _place(group, character * len(text), frame, [label.box for label in placed], dots)
        if box is not None:
            placed.append(Label(text, box, is_marked, tuple(group)))
    return tuple(placed)


def _place(group: Sequence[Spot], width: float, frame: Box, taken: Sequence[Box], dots: Sequence[Box]) -> Box | None:
    """The best place that is free: beside its points, or as near as can be, and over no other point if it can be."""

    def is_free(box: Box) -> bool:
        return frame.holds(box) and not any(box.meets(other) for other in taken)

    def covered(box: Box) -> int:
        return sum(box.meets(dot) for dot in dots)

    beside = [box for box in _beside(group, width) if is_free(box)]
    clear = next((box for box in beside if not covered(box)), None)
    if clear is not None:
        return clear
    free = [*beside, *(box for box in _everywhere(width, frame) if is_free(box))]
    return min(free, key=lambda box: _apart(group[0], box) + NEAR * covered(box), default=None)


def _groups(spots: Sequence[Spot]) -> list[list[Spot]]:
    """Points by the place of the first of them."""
    groups: list[list[Spot]] = []
    for spot in spots:
        for group in groups:
            if abs(spot.x - group[0].x) <= HEIGHT and abs(spot.y - group[0].y) <= HEIGHT:
                group.append(spot)
                break
        else:
            groups.append([spot])
    return groups


def _named(group: Sequence[Spot], most: int) -> str:
    """`1 now, 4, 7`, or of many, `1 now, 4, 12 more`; of so many characters at most."""
    names = [spot.label for spot in group]
    for count in range(len(names), 0, -1):
        rest = len(names) - count
        text = ", ".join((*names[:count], *([f"{rest} more"] if rest else [])))
        if len(text) <= most:
            return text
    more = f", {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0][: most - len(more) - 1]}\u2026{more}"


def _dot(spot: Spot) -> Box:
    return Box(spot.x - DOT, spot.y - DOT, spot.x + DOT, spot.y + DOT)


def _beside(group: Sequence[Spot], width: float) -> Iterator[Box]:
    """Where a label of this width is at its points: right and left, over and under, and between these."""
    first, dots = group[0], [_dot(spot) for spot in group]
    right, left = max(dot.right for dot in dots) + GAP, min(dot.left for dot in dots) - GAP - width
    over, under = min(dot.top for dot in dots) - GAP - HEIGHT, max(dot.bottom for dot in dots) + GAP
    middle, level = first.x - width / 2, first.y - HEIGHT / 2
    for x, y in (
        (right, level),
        (left, level),
        (middle, over),
        (middle, under),
        (right, over + HEIGHT / 2),
        (right, under - HEIGHT / 2),
        (left, over + HEIGHT / 2),
        (left, under - HEIGHT / 2),
    ):
        yield Box(x, y, x + width, y + HEIGHT)


def _everywhere(width: float, frame: Box) -> Iterator[Box]:
    """In each line of a frame full of text, where a label of this width may begin."""
    for row in range(int((frame.bottom - frame.top) / HEIGHT)):
        top = frame.top + HEIGHT * row
        for place in range(int((frame.right - frame.left - width) / STEP) + 1):
            left = frame.left + STEP * place
            yield Box(left, top, left + width, top + HEIGHT)


def _apart(spot: Spot, box: Box) -> float:
    """How far a label is from its point; sideways is nearer, since text reads that way."""
    across = max(box.left - spot.x, spot.x - box.right, 0.0)
    down = max(box.top - spot.y, spot.y - box.bottom, 0.0)
    return across + 1.5 * down
