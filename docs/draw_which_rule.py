"""Draws which rule costs least for which demand, for `docs/policies.md`: `python docs/draw_which_rule.py` renews it.

From `docs/which-rule.csv`, which `python -m tests.benchmarks.which_rule` plays anew.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

DOCS = Path(__file__).resolve().parent
TABLE = DOCS / "which-rule.csv"
IMAGES = DOCS / "images"

KINDS = {
    "sparse_v": "7 requests an hour",
    "flat_a": "flat, 5 busy",
    "office_v": "a working day, up to 9 busy",
    "sessions_v": "users who ask and think",
    "bursts_v": "on for 15 min, off for an hour",
    "crowds_v": "80 at once, each 2 h",
    "r1_am": "half a recorded day, 13 busy",
    "mmimg_pm": "half a recorded day, bursts",
    "large_d6": "a recorded day, jumps",
    "vidur_conv": "an hour from a standing start",
}
"""What a trace is an example of, in the order of the rows."""

LEFT, RIGHT, TOP, BOTTOM, GAP = 214, 60, 108, 12, 26
WIDE, HIGH = 42, 21
NEAR, FAR = 1.02, 2.5
"""Within this of the least it is a tie; from this on all look alike."""
BEST, WORSE, WORST = (34, 132, 106), (250, 243, 214), (196, 87, 59)

Costs = dict[str, dict[str, dict[str, float]]]


def images() -> dict[str, Callable[[], str]]:
    """File name to what draws the picture."""
    return {"which-rule.svg": partial(draw, costs())}


def costs() -> Costs:
    """Worth of waiting, then trace, then rule, to what it costs over the least of that row."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found: Costs = {}
    for worth in [name.removeprefix("hours_") for name in rows[0] if name.startswith("hours_")]:
        hours = {trace: {row["rule"]: float(row[f"hours_{worth}"]) for row in rows if row["trace"] == trace}
                 for trace in KINDS}  # fmt: skip
        found[worth] = {
            trace: {rule: each / min(by_rule.values()) for rule, each in by_rule.items()}
            for trace, by_rule in hours.items()
        }
    return found


def draw(found: Costs) -> str:
    """A map for each worth of waiting, one below the other: a row for each kind of demand, a column for each rule."""
    rules = list(next(iter(next(iter(found.values())).values())))
    width = LEFT + WIDE * len(rules) + RIGHT
    each = HIGH * len(KINDS) + GAP
    height = TOP + each * len(found) + BOTTOM

    def parts() -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" font-size="11">'
        )
        yield f'<rect width="{width}" height="{height}" fill="white"/>'
        for place, rule in enumerate(rules):
            x = LEFT + WIDE * (place + 0.5)
            bold = ' font-weight="bold"' if rule == "marginal" else ""
            yield f'<text x="{x:.0f}" y="{TOP - 8}" transform="rotate(-45 {x:.0f} {TOP - 8})"{bold}>{rule}</text>'
        for number, (worth, by_trace) in enumerate(found.items()):
            yield from _map(TOP + each * number, worth, by_trace, rules)
        yield "</svg>\n"

    return "\n".join(parts())


def _map(top: float, worth: str, by_trace: dict[str, dict[str, float]], rules: Sequence[str]) -> Iterator[str]:
    yield f'<text x="8" y="{top + 13:.0f}" font-weight="bold">k = {worth}</text>'
    for row, (trace, kind) in enumerate(KINDS.items()):
        y = top + HIGH * row + GAP / 2
        yield f'<text x="{LEFT - 8}" y="{y + 14:.0f}" text-anchor="end">{kind}</text>'
        for place, rule in enumerate(rules):
            x, over = LEFT + WIDE * place, by_trace[trace][rule]
            bold = ' font-weight="bold"' if over <= NEAR else ""
            ink = "white" if over <= NEAR else "#1c2b33"
            yield f'<rect x="{x}" y="{y:.0f}" width="{WIDE - 1}" height="{HIGH - 1}" fill="{_colour(over)}"/>'
            yield (
                f'<text x="{x + WIDE / 2:.0f}" y="{y + 14:.0f}" text-anchor="middle" fill="{ink}"{bold}>'
                f"{_told(over)}</text>"
            )


def _told(over: float) -> str:
    return f"{over:.2f}" if over < 9.995 else f"{over:.0f}"


def _colour(over: float) -> str:
    if over <= NEAR:
        return _hex(BEST)
    share = min(1.0, (over - NEAR) / (FAR - NEAR))
    mixed = [round(low + (high - low) * share) for low, high in zip(WORSE, WORST, strict=True)]
    return _hex(mixed)


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


if __name__ == "__main__":
    for name, picture in images().items():
        (IMAGES / name).write_text(picture(), encoding="utf-8")
