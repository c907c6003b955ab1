"""Plots as SVG text, without a library: points on logarithmic axes, and lines over time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ebbflow.simulation.labels import Box, Label, Spot, labels_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 340, 64, 16, 34, 46
FRAME = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
ANCHORS = ("start", "middle", "end")
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a5195", "#b8860b")


@dataclass(frozen=True, slots=True)
class Point:
    """One labelled point."""

    label: str
    x: float
    y: float
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One named line."""

    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


def scatter(title: str, points: Sequence[Point], *, x_label: str, y_label: str) -> str:
    """Points on two logarithmic axes; what is not positive is drawn at the smallest tick.

    Points at one place share a label.
    """
    if not points:
        return _frame(title, x_label, y_label, "")
    xs, ys = _LogAxis([point.x for point in points]), _LogAxis([point.y for point in points])
    body = [_ticks(xs.ticks(), ys.ticks(), xs.at, ys.at)]
    spots = [Spot(_across(xs.at(point.x)), _up(ys.at(point.y)), point.label, point.is_marked) for point in points]
    # What is marked lies above.
    for spot in sorted(spots, key=lambda spot: spot.is_marked):
        colour, radius = (COLOURS[1], 5) if spot.is_marked else (COLOURS[0], 3.5)
        named = f"<title>{escape(spot.label)}</title>"
        body.append(f'<circle cx="{spot.x:.1f}" cy="{spot.y:.1f}" r="{radius}" fill="{colour}">{named}</circle>')
    body += [_labelled(label) for label in labels_of(spots, FRAME)]
    return _frame(title, x_label, y_label, "".join(body))


def _labelled(label: Label) -> str:
    weight = ' font-weight="bold"' if label.is_marked else ""
    box, at = label.box, label.at
    # Where the reader's font is narrower, the room that is left is on the side away from the point.
    width = box.right - box.left
    side = min(2, max(0, round(2 * (at.x - box.left) / max(1.0, width))))
    x, anchor = box.left + side * width / 2, ANCHORS[side]
    text = (
        f'<text x="{x:.1f}" y="{box.bottom - 3:.1f}" font-size="10"{weight} text-anchor="{anchor}">'
        f"{escape(label.text)}</text>"
    )
    if label.leads is None:
        return text
    to_x, to_y = label.leads
    return f'<path d="M{at.x:.1f} {at.y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="#999" stroke-width="0.6"/>{text}'


def lines(title: str, drawn: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """Lines over the same linear axes, from zero on."""
    most_x = max((max(line.xs, default=0.0) for line in drawn), default=0.0) or 1.0
    most_y = max((max(line.ys, default=0.0) for line in drawn), default=0.0) or 1.0
    body = [
        _ticks(_round_ticks(most_x), _round_ticks(most_y), lambda value: value / most_x, lambda value: value / most_y)
    ]
    for number, line in enumerate(drawn):
        path = "".join(
            _step(place, x / most_x, y / most_y) for place, (x, y) in enumerate(zip(line.xs, line.ys, strict=True))
        )
        colour = COLOURS[number % len(COLOURS)]
        body.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        x = LEFT + 8 + 150 * number
        body.append(f'<text x="{x}" y="{TOP + 12}" font-size="11" fill="{colour}">{escape(line.label)}</text>')
    return _frame(title, x_label, y_label, "".join(body))


def _step(place: int, x: float, y: float) -> str:
    """To the right first, then up or down: between two samples the old value holds."""
    across, up = _across(x), _up(y)
    return f"H{across:.1f}V{up:.1f}" if place else f"M{across:.1f} {up:.1f}"


class _LogAxis:
    """From the smallest to the largest positive value, a little wider."""

    def __init__(self, values: Sequence[float]) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self._low = math.log10(min(positive)) - 0.05
        self._high = max(math.log10(max(positive)) + 0.05, self._low + 0.1)

    def at(self, value: float) -> float:
        """Where on the axis, from 0 to 1."""
        place = math.log10(value) if value > 0 else self._low
        return min(1.0, max(0.0, (place - self._low) / (self._high - self._low)))

    def ticks(self) -> list[float]:
        """One, two and five times the powers of ten that fit."""
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        steps = (1,) if self._high - self._low > 3 else (1, 2, 5)
        candidates = [step * 10.0**power for power in powers for step in steps]
        return [value for value in candidates if self._low <= math.log10(value) <= self._high]


def _round_ticks(most: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(most))
    step = next(factor * step for factor in (0.1, 0.2, 0.5, 1.0) if most / (factor * step) <= 10)
    return [step * place for place in range(int(most / step) + 1)]


def _ticks(
    xs: Sequence[float], ys: Sequence[float], x_at: Callable[[float], float], y_at: Callable[[float], float]
) -> str:
    parts = []
    for value in xs:
        x = _across(x_at(value))
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" font-size="10" text-anchor="middle">{value:,g}</text>'
        )
    for value in ys:
        y = _up(y_at(value))
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 3:.1f}" font-size="10" text-anchor="end">{value:,g}</text>')
    return "".join(parts)


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, x_label: str, y_label: str, body: str) -> str:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" fill="#222"><title>{escape(title)}</title>'
        # Of its own: the page that shows it may be dark.
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(title)}</text>{body}'
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}" fill="none" '
        f'stroke="#999"/><text x="{WIDTH / 2}" y="{HEIGHT - 10}" font-size="11" text-anchor="middle">'
        f'{escape(x_label)}</text><text x="14" y="{middle}" font-size="11" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle})">{escape(y_label)}</text></svg>'
    )
