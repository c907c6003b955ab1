"""Draws the rooms in `docs/architecture.md` from the import laws: `python docs/draw_architecture.py` renews them."""

import ast
import runpy
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PREFIX = "ebbflow."

BEGIN = "<!-- Drawn from pyproject.toml and the rooms, do not edit: `python docs/draw_architecture.py` renews it. -->\n"
END = "<!-- The drawing ends here. -->\n"

TEMPLATE = """\
{begin}
![Rooms, and arrows to what each may import](images/rooms.svg)

| room | what lives there | may import of ours | imports of others |
|---|---|---|---|
{rows}

The laws, as import-linter holds them:

{laws}

{end}"""

Law = Mapping[str, Any]
"""One contract of import-linter. Any: TOML is what it is."""
Pairs = frozenset[tuple[str, str]]
"""Who, and whom."""


def draw(page: str) -> str:
    """The page with its drawing renewed."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + drawing() + after


def drawing() -> str:
    """The table and the laws of this repository."""
    rooms, laws, others = house()
    allowed = may_import(rooms, laws, others)
    narrowed = narrowed_by(laws)
    rows = (
        f"| `{room}/` | {purpose(ROOT / room)} | {_names(room, rooms, allowed, narrowed)} "
        f"| {', '.join(sorted(others[room])) or 'nothing'} |"
        for room in rooms
    )
    return TEMPLATE.format(
        begin=BEGIN,
        rows="\n".join(rows),
        laws="\n".join(f"- {law['name']}." for law in laws),
        end=END,
    )


def least_arrows() -> list[tuple[str, str]]:
    """What the picture of the rooms shows."""
    rooms, laws, others = house()
    return arrows(rooms, may_import(rooms, laws, others))


def house() -> tuple[Sequence[str], Sequence[Law], Mapping[str, frozenset[str]]]:
    """The rooms of this repository, its laws, and what each room imports that is not ours."""
    settings: Law = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rooms = [name.removeprefix(PREFIX) for name in settings["root_packages"]]
    return rooms, settings["contracts"], {room: imported(ROOT / room)[1] for room in rooms}


def may_import(rooms: Sequence[str], laws: Sequence[Law], others: Mapping[str, frozenset[str]]) -> Pairs:
    """Which room may import which, as the laws leave it.

    Args:
        rooms: all of them.
        laws: import-linter's contracts.
        others: what each room imports that is not ours: a law that forbids such a thing also by detours forbids the
            rooms that import it.
    """
    forbidden = {pair for law in laws for pair in _forbidden(law, rooms, others)}
    return frozenset((who, whom) for who in rooms for whom in rooms if who != whom and (who, whom) not in forbidden)


def _forbidden(law: Law, rooms: Sequence[str], others: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    if law["type"] == "layers":
        layers = [[name.strip().removeprefix(PREFIX) for name in layer.split("|")] for layer in law["layers"]]
        for upper, lower in combinations(layers, 2):
            yield from ((low, high) for low in lower for high in upper)
        yield from ((one, other) for layer in layers for one in layer for other in layer if one != other)
    if law["type"] == "forbidden":
        sources = rooms if law["source_modules"] == [f"{PREFIX}*"] else _rooms(law["source_modules"], rooms)
        targets = set(law["forbidden_modules"])
        detours = not law.get("allow_indirect_imports") and "ignore_imports" not in law
        barred = {room for room in rooms if f"{PREFIX}{room}" in targets or (detours and others[room] & targets)}
        yield from ((source, room) for source in sources for room in barred if source != room)


def _rooms(modules: Sequence[str], rooms: Sequence[str]) -> list[str]:
    return [name.removeprefix(PREFIX) for name in modules if name.removeprefix(PREFIX) in rooms]


def narrowed_by(laws: Sequence[Law]) -> dict[tuple[str, str], str]:
    """Pairs of rooms where a law leaves only a part: `policies.*` forbidden, with exceptions."""
    found = {}
    for law in laws:
        parts = [name for name in law.get("forbidden_modules", ()) if name.startswith(PREFIX) and name.endswith(".*")]
        for whom in (part.removeprefix(PREFIX).removesuffix(".*") for part in parts):
            left = [line.split(" -> ")[1].split(".")[2] for line in law.get("ignore_imports", ())]
            for who in law["source_modules"]:
                found[who.removeprefix(PREFIX), whom] = ", ".join(left)
    return found


def arrows(rooms: Sequence[str], allowed: Pairs) -> list[tuple[str, str]]:
    """The least arrows that say the same: who may import whom follows them downwards."""
    return [
        (who, whom)
        for who in reversed(rooms)
        for whom in reversed(rooms)
        if (who, whom) in allowed and not any((who, by) in allowed and (by, whom) in allowed for by in rooms)
    ]


def purpose(folder: Path) -> str:
    """The first paragraph of what a room says about itself."""
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split())


def imported(folder: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The rooms and the packages of others that a room's modules import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    ours = {name.removeprefix(PREFIX).split(".")[0] for name in names if name.startswith(PREFIX)}
    tops = {name.split(".")[0] for name in names} - {"ebbflow"} - sys.stdlib_module_names
    return frozenset(ours - {folder.name}), frozenset(tops)


def _names(room: str, rooms: Sequence[str], allowed: Pairs, narrowed: Mapping[tuple[str, str], str]) -> str:
    names = (
        f"{other} ({narrowed[room, other]} alone)" if (room, other) in narrowed else other
        for other in rooms
        if (room, other) in allowed
    )
    return ", ".join(names) or "nothing"


if __name__ == "__main__":
    PAGE.write_text(draw(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    pictures = runpy.run_path(str(PAGE.with_name("draw_pictures.py")))
    (PAGE.parent / "images" / "rooms.svg").write_text(pictures["rooms"](), encoding="utf-8")
