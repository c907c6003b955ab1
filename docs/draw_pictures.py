"""Draws the pictures of boxes and arrows in `docs/images/`: `python docs/draw_pictures.py` renews them.

The life of a worker and the rooms come from what the code obeys (`draw_lifecycle.py`, `draw_architecture.py`).
"""

import math
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"

LINE, PAD, LETTER = 15.0, 12.0, 6.9
BAR = 300.0
"""A box that is wider on each side stands for all that is above it."""
INK, EDGE, LABEL = "#1c2b33", "#5b7083", "#43545f"
FILLS = {"": "#eef3f6", "ours": "#d5ebe6", "theirs": "#f6ead6", "kept": "#e3def3", "bad": "#f7dedb", "bare": "none"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box with its middle at a point; the first of its lines of text is bold."""

    x: float
    y: float
    text: str
    kind: str = ""
    width: float = 0.0

    @property
    def lines(self) -> list[str]:
        """What stands in it."""
        return self.text.split("\n")

    @property
    def half(self) -> Point:
        """Half of its width, and half of its height."""
        width = self.width or max(LETTER * len(line) for line in self.lines) + 2 * PAD
        return width / 2, (LINE * len(self.lines) + PAD) / 2

    def edge(self, towards: Point) -> Point:
        """Where a line from its middle leaves it."""
        along, down = towards[0] - self.x, towards[1] - self.y
        wide, high = self.half
        share = min(wide / abs(along) if along else math.inf, high / abs(down) if down else math.inf)
        return self.x + along * share, self.y + down * share


@dataclass(frozen=True)
class Arrow:
    """From one box to another. A bend draws its middle aside, by half of so many points, to the left of its way."""

    start: str
    end: str
    text: str = ""
    bend: float = 0.0
    is_thin: bool = False
    is_two_way: bool = False


def images() -> dict[str, Callable[[], str]]:
    """File name to what draws the picture."""
    return {
        "life-of-a-worker.svg": life_of_a_worker,
        "rooms.svg": rooms,
        "data.svg": data,
        "turn.svg": turn,
        "where-things-run.svg": where_things_run,
    }


def life_of_a_worker() -> str:
    """Every arrow of the table: those of all states begin at a bar, those of whoever comes back end at one box."""
    drawn: Sequence[str] = runpy.run_path(str(DOCS / "draw_lifecycle.py"))["arrows"]()
    pairs = [tuple(each.split(" --> ")) for each in drawn if "[*]" not in each]
    way = ["wished", "pending", "starting", "ready", "draining"]
    ends = ["terminating", "gone", "failed", "lost"]
    boxes = {name: Box(85 + 150 * place, 160, name, "ours", 104) for place, name in enumerate(way)}
    boxes["any"] = Box(385, 275, "any of them", "bare", 700)
    boxes |= {
        name: Box(85 + 135 * place, 350, name, "bad" if name in ("failed", "lost") else "", 104)
        for place, name in enumerate(ends)
    }
    arrows = []
    back: dict[str, list[str]] = {}
    for start, end in pairs:
        if start in way and end in way:
            steps = way.index(end) - way.index(start)
            arrows.append(Arrow(start, end, bend=0 if steps == 1 else 56.0 * abs(steps), is_thin=steps != 1))
        elif start == "any":
            arrows.append(Arrow(start, end, is_thin=True))
        else:
            back.setdefault(start, []).append(end)
    (common,) = {tuple(ends) for ends in back.values()}
    boxes["back"] = Box(660, 350, "listed again:\n" + ",\n".join(", ".join(common[at : at + 2]) for at in (0, 2)))
    arrows += [Arrow(start, "back", bend=0 if start == ends[-1] else -90, is_thin=True) for start in back]
    return picture(770, 425, boxes, arrows)


def rooms() -> str:
    """Who may import whom, by the least arrows that say it."""
    pairs: Sequence[tuple[str, str]] = runpy.run_path(str(DOCS / "draw_architecture.py"))["least_arrows"]()
    below: dict[str, list[str]] = {}
    for who, whom in pairs:
        below.setdefault(who, []).append(whom)

    def height(room: str) -> int:
        return max((1 + height(each) for each in below.get(room, ())), default=0)

    columns = {"adapters": 0.0, "gateway": 0.0, "deployments": 0.5, "simulation": 2.4, "contracts": 2.4}
    columns |= {"standins": 3.4, "demo": 3.4, "cli": 1.5}
    kinds = {"adapters": "theirs", "standins": "theirs", "core": "ours", "policies": "ours", "decision": "ours"}
    names = sorted({room for pair in pairs for room in pair})
    top = max(map(height, names))
    boxes = {
        name: Box(
            75 + 130 * columns.get(name, 1.5), 30 + 56 * (top - height(name)), f"{name}/", kinds.get(name, ""), 104
        )
        for name in names
    }
    return picture(600, 60 + 56 * top, boxes, [Arrow(who, whom, is_thin=True) for who, whom in pairs])


def data() -> str:
    """From a block to the next turn."""
    boxes = {
        "block": Box(85, 40, "block\nsaved in Prefect", "kept"),
        "adapter": Box(270, 40, "adapter\nfor one turn", "theirs"),
        "before": Box(300, 120, "Memory\nof the record before", "kept"),
        "inputs": Box(660, 40, "Inputs", "", 130),
        "observation": Box(660, 120, "Observation", "ours", 130),
        "plan": Box(660, 200, "Plan and Memory", "ours", 150),
        "record": Box(420, 200, "Record", "kept", 100),
        "artifact": Box(110, 200, "artifact\non the Prefect server", "kept"),
        "act": Box(110, 300, "act\nby the adapters", "theirs"),
        "note": Box(370, 300, "note\nbeside the record", "kept"),
        "next": Box(660, 300, "Inputs\nof the next turn", "", 130),
    }
    arrows = [
        Arrow("block", "adapter"),
        Arrow("adapter", "inputs", "InstanceList, MemberList, Demand"),
        Arrow("before", "inputs"),
        Arrow("inputs", "observation", "settle, reconcile"),
        Arrow("observation", "plan", "decide"),
        Arrow("inputs", "record", bend=-20),
        Arrow("plan", "record"),
        Arrow("record", "artifact", "store"),
        Arrow("artifact", "act", "claim: one caller gets it"),
        Arrow("act", "note", "Outcome"),
        Arrow("note", "next", "ChainReader"),
        Arrow("artifact", "next"),
    ]
    return picture(750, 340, boxes, arrows)


def turn() -> str:
    """The six steps, whom each talks to, and what it is careful about."""
    steps = [
        ("keep alive", "workers", "a sign of life first,\nalso where it skips"),
        ("observe", "providers, master", "what fails is unknown,\nnever zero"),
        ("decide", "", "policy, limits,\nplacement: pure"),
        ("record, claim", "Prefect server", "one caller gets\nthe number"),
        ("act", "providers, master", "launch, register,\ndrain, tear down"),
        ("note", "Prefect server", "what came of it,\nbeside the record"),
    ]
    boxes, arrows = {}, []
    for place, (name, whom, care) in enumerate(steps):
        x = 80 + 150 * place
        boxes[name] = Box(x, 120, f"{place + 1}  {name}", "ours", 124)
        boxes[f"care {name}"] = Box(x, 170, care, "bare", 140)
        if whom:
            boxes[f"whom {name}"] = Box(x, 45, whom, "kept" if "Prefect" in whom else "theirs", 136)
            arrows.append(Arrow(name, f"whom {name}", is_thin=True, is_two_way=name == "observe"))
        if place:
            arrows.append(Arrow(steps[place - 1][0], name))
    boxes["again"] = Box(
        455, 245, "the next turn, an interval later, looks again: whatever a killed run left is seen then", "bare"
    )
    return picture(910, 275, boxes, arrows)


def where_things_run() -> str:
    """What talks to what, and which host each is on."""
    boxes = {
        "person": Box(100, 50, "you\nebbflow, the Prefect UI"),
        "server": Box(400, 50, "Prefect server\nblocks, runs, records, claims", "kept", 210),
        "runner": Box(400, 165, "ebbflow runner\na process for each turn", "ours", 190),
        "users": Box(75, 410, "users\nof the queue"),
        "master": Box(190, 290, "master\nSwarmUI, Ray, Scaler,\nor our gateway", "theirs", 160),
        "providers": Box(620, 290, "providers\nhosts, scripts, Slurm,\nKubernetes, Vast", "theirs", 170),
        "workers": Box(405, 410, "workers\none launched GPU instance each", "", 230),
    }
    arrows = [
        Arrow("person", "server", "asks, reads"),
        Arrow("runner", "server", "takes runs; keeps records", is_two_way=True),
        Arrow("runner", "master", "demand, members, register, drain"),
        Arrow("runner", "providers", "list, launch, terminate"),
        Arrow("runner", "workers", "keep alive", is_thin=True),
        Arrow("users", "master", "work"),
        Arrow("master", "workers", "work"),
        Arrow("providers", "workers", "run"),
    ]
    return picture(760, 450, boxes, arrows)


def picture(width: float, height: float, boxes: Mapping[str, Box], arrows: Sequence[Arrow]) -> str:
    """An SVG that needs no font and no script of elsewhere."""

    def parts() -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="sans-serif" font-size="12" fill="{INK}">'
        )
        yield f'<rect width="{width:g}" height="{height:g}" fill="white"/>'
        yield (
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="{EDGE}"/></marker>'
        )
        for arrow in arrows:
            yield from _arrow(boxes[arrow.start], boxes[arrow.end], arrow)
        for box in boxes.values():
            yield from _box(box)
        yield "</svg>\n"

    return "\n".join(parts())


def _arrow(start: Box, end: Box, arrow: Arrow) -> Iterator[str]:
    # From a bar the way is straight down, and not from its middle.
    from_x = end.x if start.half[0] > BAR else start.x
    along, down = end.x - from_x, end.y - start.y
    length = math.hypot(along, down) or 1.0
    over = (
        (from_x + end.x) / 2 + arrow.bend * down / length,
        (start.y + end.y) / 2 - arrow.bend * along / length,
    )
    first = (from_x, start.y + math.copysign(start.half[1], down)) if from_x != start.x else start.edge(over)
    last = end.edge(over)
    tips = 'marker-end="url(#tip)"' + (' marker-start="url(#tip)"' if arrow.is_two_way else "")
    yield (
        f'<path d="M{_at(first)} Q{_at(over)} {_at(last)}" fill="none" stroke="{EDGE}" '
        f'stroke-width="{1 if arrow.is_thin else 1.7}" {tips}/>'
    )
    if arrow.text:
        x, y = ((a + 2 * b + c) / 4 for a, b, c in zip(first, over, last, strict=True))
        wide = 5.6 * len(arrow.text) + 6
        yield f'<rect x="{x - wide / 2:.1f}" y="{y - 8:.1f}" width="{wide:.1f}" height="16" fill="white"/>'
        yield (
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11" fill="{LABEL}">'
            f"{escape(arrow.text)}</text>"
        )


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _box(box: Box) -> Iterator[str]:
    wide, high = box.half
    if box.kind != "bare" or wide > BAR:
        yield (
            f'<rect x="{box.x - wide:.1f}" y="{box.y - high:.1f}" width="{2 * wide:.1f}" height="{2 * high:.1f}" '
            f'rx="6" fill="{FILLS[box.kind]}" stroke="{EDGE}"/>'
        )
    for place, line in enumerate(box.lines):
        y = box.y - LINE * (len(box.lines) - 1) / 2 + LINE * place + 4
        weight = ' font-weight="bold"' if place == 0 and box.kind != "bare" else f' font-size="11" fill="{LABEL}"'
        yield f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle"{weight}>{escape(line)}</text>'


if __name__ == "__main__":
    for name, draw in images().items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")
