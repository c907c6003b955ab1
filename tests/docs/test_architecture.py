"""The page about the house is drawn from the laws that the code obeys, and each rule names who keeps and shows it."""

import ast
import re
import runpy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))

LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`")


def tables(page: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The head and the rows of each table."""
    lines = page.splitlines()
    for place, (head, rule) in enumerate(pairwise(lines)):
        if re.fullmatch(r"\|(?:-+\|)+", rule):
            body = lines[place + 2 :]
            end = next((number for number, line in enumerate(body) if not line.startswith("|")), len(body))
            yield cells(head), [cells(line) for line in body[:end]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows_of(first: str) -> list[list[str]]:
    """The rows of the one table whose first column is called so."""
    (rows,) = [rows for head, rows in tables(PAGE) if head[0] == first]
    return rows


RULES = rows_of("rule")


def test_the_drawing_is_what_the_laws_say() -> None:
    if SCRIPT["draw"](PAGE) != PAGE:
        pytest.fail("docs/architecture.md is stale; renew it with `python docs/draw_architecture.py`", pytrace=False)


def test_following_the_arrows_leads_to_every_room_that_may_be_imported_and_to_no_other() -> None:
    reached = set(SCRIPT["least_arrows"]())
    while more := {(who, to) for who, by in reached for start, to in reached if by == start} - reached:
        reached |= more
    said = {
        (row[0].strip("`/"), other.split(" (")[0])
        for row in rows_of("room")
        for other in row[2].split(", ")
        if other != "nothing"
    }
    assert reached == said


def test_what_rooms_import_is_what_the_table_allows() -> None:
    for room, _, allowed, others in rows_of("room"):
        ours, theirs = SCRIPT["imported"](ROOT / room.strip("`"))
        assert ours <= {name.split(" (")[0] for name in allowed.split(", ")}, room
        assert sorted(theirs) == [name for name in others.split(", ") if name != "nothing"], room


def test_laws_leave_what_they_do_not_forbid() -> None:
    laws = [
        {"type": "layers", "layers": ["ebbflow.top | ebbflow.side", "ebbflow.middle", "ebbflow.low"]},
        {"type": "forbidden", "source_modules": ["ebbflow.top"], "forbidden_modules": ["ebbflow.low"]},
        {"type": "forbidden", "source_modules": ["ebbflow.low", "ebbflow.side"], "forbidden_modules": ["outside"]},
    ]
    rooms = ["top", "side", "middle", "low", "apart"]
    others = {room: frozenset({"outside"} if room == "apart" else ()) for room in rooms}
    allowed = SCRIPT["may_import"](rooms, laws, others)
    assert {pair for pair in allowed if "apart" not in pair} == {
        ("top", "middle"),
        ("side", "middle"),
        ("side", "low"),
        ("middle", "low"),
    }
    assert {who for who, whom in allowed if whom == "apart"} == {"top", "middle"}, "by a detour it is forbidden as well"


def test_a_law_may_leave_a_part_of_a_room() -> None:
    law = {
        "source_modules": ["ebbflow.top"],
        "forbidden_modules": ["ebbflow.low.*"],
        "ignore_imports": ["ebbflow.top.** -> ebbflow.low.part.*"],
    }
    assert SCRIPT["narrowed_by"]([law]) == {("top", "low"): "part"}


def test_every_rule_is_one_sentence_with_a_name_of_its_own() -> None:
    names = [row[0] for row in RULES]
    assert len(set(names)) == len(names) > 30
    for name, sentence, *_ in RULES:
        assert sentence.endswith("."), name
        assert ". " not in sentence, name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0])
def test_who_keeps_a_rule_and_what_shows_it_exist(rule: list[str]) -> None:
    _, _, kept, shown = rule
    files = LINK.findall(kept)
    assert files
    assert [file for file in files if not (ROOT / "docs" / file).is_file()] == []
    assert TEST.sub("", shown).strip(", ") == "", "only tests are named here"
    tests = TEST.findall(shown)
    assert tests
    assert [f"{file}::{name}" for file, name, case in tests if not is_there(file, name, case)] == []


SEARCHES = {
    "tests/turn/test_fault_search.py": "test_the_design_without_this_rule_has_a_counterexample",
    "tests/turn/test_lying_world.py": "test_without_this_rule_liars_do_harm",
}


@pytest.mark.parametrize("rule", [row for row in RULES if row[0].endswith("◆")], ids=lambda rule: rule[0])
def test_a_rule_with_a_mark_has_its_counterexample_or_is_part_of_one(rule: list[str]) -> None:
    assert any(f"{name}[" in rule[3] for name in SEARCHES.values())


def test_every_counterexample_belongs_to_a_rule() -> None:
    shown = {(file, case) for row in RULES for file, _, case in TEST.findall(row[3]) if case}
    assert shown == {(file, lesson.rule) for file in SEARCHES for lesson in runpy.run_path(str(ROOT / file))["LESSONS"]}


def is_there(file: str, name: str, case: str) -> bool:
    """Whether a file holds a test of that name, and the case is written somewhere in it."""
    path = ROOT / file
    if not path.is_file() or not name.startswith("test_"):
        return False
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name for node in nodes)
    return named and (not case or any(isinstance(node, ast.Constant) and node.value == case for node in nodes))
