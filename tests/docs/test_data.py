"""What the page about the data names, is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([^|]+) \| ((?:`\w+`(?:, )?)+) \| \[([^\]]+)\]\(\.\./([^)]+)\) \| ([^|]+) \|$", re.MULTILINE)
STATIONS = ROW.findall(PAGE)

# Of pydantic, and no type of ours.
OTHERS = {"SecretStr"}


def defined(path: Path) -> dict[str, ast.AST]:
    """What a module defines at its top level, by name."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, kinds)}


def classes() -> dict[str, set[str]]:
    """The methods of every class of ours, by its name."""
    rooms = [init.parent for init in ROOT.glob("*/__init__.py")]
    found: dict[str, set[str]] = {}
    for path in (path for room in rooms for path in room.rglob("*.py")):
        for name, node in defined(path).items():
            if isinstance(node, ast.ClassDef):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
                found.setdefault(name, set()).update(methods)
    return found


def test_every_row_of_the_table_is_a_station() -> None:
    section = PAGE.partition("## Station by station")[2].partition("\n## ")[0]
    assert len(STATIONS) == section.count("\n| ") - 1, "a row has another form than the others"


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station[0])
def test_what_a_station_names_lives_where_it_says(station: tuple[str, ...]) -> None:
    _, names, shown, path, _ = station
    assert shown == path
    assert set(re.findall(r"\w+", names)) - set(defined(ROOT / path)) == set()


def test_every_type_on_the_page_is_one_of_ours() -> None:
    ours = classes()
    named = set(re.findall(r"`([A-Z]\w*[a-z]\w*)`", PAGE)) - OTHERS
    assert len(named) > 30
    assert named - set(ours) == set()
    for name, method in re.findall(r"`([A-Z]\w+)\.(\w+)`", PAGE):
        assert method in ours[name]


def test_every_type_in_the_picture_is_one_of_ours() -> None:
    picture = (ROOT / "docs" / "images" / "data.svg").read_text(encoding="utf-8")
    named = set(re.findall(r"\b[A-Z][a-z]\w*", " ".join(re.findall(r">([^<>]+)</text>", picture)))) - {"Prefect"}
    assert named
    assert named - set(classes()) == set()


def test_the_sections_of_a_record_are_those_that_are_made() -> None:
    source = (ROOT / "core" / "record.py").read_text(encoding="utf-8")
    (made,) = re.findall(r"values = \{(.*?)\n    \}", source, re.DOTALL)
    (said,) = re.findall(r"cut into sections: (.*?), and one", PAGE, re.DOTALL)
    assert re.findall(r'"(\w+)":', made) == re.findall(r"`(\w+)`", said)
