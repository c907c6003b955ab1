"""`ebbflow replay`: what it shows of a stored ledger, how it ends, and what it refuses before it asks anybody."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ebbflow.cli.main import app
from ebbflow.cli.replay import change_of, replayed, shown
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.moments import moment
from ebbflow.turn.replaying import Change, ReplayedTold
from tests.test_upgrade import NAME, ledger_up_to
from tests.turn.lived import artifact, lived
from tests.turn.test_turn import FLEET

pytestmark = pytest.mark.anyio
SWARMUI = Change({"policy": {"kind": "swarmui"}})


async def said(
    ledger: MemoryLedger,
    capsys: pytest.CaptureFixture[str],
    change: Change | None = None,
    *,
    fleet: str = FLEET.name,
    last: int | None = None,
    at: str | None = None,
    run_id: str | None = None,
) -> tuple[ReplayedTold, list[str]]:
    """What was decided again, and the lines that a person reads."""
    told = await replayed(ledger, fleet, change or Change(), at=at, run_id=run_id, last=last, most_seconds=86_400.0)
    capsys.readouterr()
    out = Console(width=400, highlight=False)
    for line in shown(told):
        out.print(line)
    return told, capsys.readouterr().out.splitlines()


async def test_the_newest_turn_is_the_same_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    told, lines = await said(life.outside.ledger, capsys)
    when = moment(life.stored(11).stored_at)
    assert lines == [f"demo, record 11 of {when}: the same plan to the byte: queue 0 < 1"]
    assert told.is_right


async def test_a_past_is_one_line_with_how_many_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    told, lines = await said(life.outside.ledger, capsys, last=500)
    assert lines == ["demo: 11 of 11 turns are the same to the byte (record 1 to 11)", "  there are only 11"]
    assert told.is_right


async def test_a_plan_that_is_not_what_comes_out_is_shown_with_its_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    life = await lived()
    life.forge('"wanted":0', '"wanted":7')
    told, lines = await said(life.outside.ledger, capsys)
    assert lines[0].endswith(": another plan")
    assert lines[1:] == ["  wanted: 7 became 0"]
    assert not told.is_right
    told, lines = await said(life.outside.ledger, capsys, last=3)
    assert lines[0] == "demo: 2 of 3 turns are the same to the byte (record 9 to 11)"
    assert lines[1].endswith(": another plan: wanted")
    assert not told.is_right


async def test_an_edited_record_is_named_and_what_leans_on_it_is_not_replayed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    life = await lived()
    life.edit(4)
    told, lines = await said(life.outside.ledger, capsys, last=500)
    assert lines[0] == "demo: 6 of 7 turns are the same to the byte (record 5 to 11)"
    assert lines[1].endswith(f"record 5 of demo follows artifact {artifact(4)}, which was edited since")
    assert lines[-1].startswith("  before record 5 nothing can be read: record 4 was edited")
    assert not told.is_right


async def test_records_of_an_earlier_release_that_do_the_same_in_other_words_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told, lines = await said(ledger_up_to(7), capsys, fleet=NAME, last=7)
    assert lines == [
        f"{NAME}: 0 of 7 turns are the same to the byte (record 1 to 7)",
        "  in their words alone, as another release says them: record 1, 2, 3, 4, 5, 6, 7",
    ]
    assert not told.is_right
    _, lines = await said(ledger_up_to(7), capsys, fleet=NAME)
    assert lines[0].endswith("another plan, in its words alone, as another release says them")


async def test_a_what_if_shows_both_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    told, lines = await said(life.outside.ledger, capsys, SWARMUI, run_id="run-04")
    third, fourth = life.outside.host.launched[2:]
    assert lines == [
        f"demo, record 4 of {moment(life.stored(4).stored_at)}: something else would be done",
        "  decided   queue 40 > 20: the policy asks for 4; 2 served or started, 2 existed",
        "            - 40 tasks > 10 per worker x 2 workers: 4 wanted (policy.vanilla)",
        f"            > launch {third} at local/a: local/a is next in order and has room",
        f"            > launch {fourth} at local/a: local/a is next in order and has room",
        "  what if   queue 40 >= 10: the policy asks for 3; 2 served or started, 2 existed",
        "            - 40 wait and 0 run, at least 10: one more than 2 (policy.swarmui)",
        f"            > launch {third} at local/a: local/a is next in order and has room",
    ]
    assert told.is_right


async def test_a_what_if_over_a_past_names_each_turn_that_would_do_something_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    life = await lived()
    told, lines = await said(life.outside.ledger, capsys, SWARMUI, last=11)
    assert lines[0] == f"demo: {told.same_actions} of 11 turns would have done the same (record 1 to 11)"
    assert len(lines) == 1 + told.turns - told.same_actions
    decided = "queue 40 > 20: the policy asks for 4, 2 actions"
    what_if = "queue 40 >= 10: the policy asks for 3, 1 action"
    assert f"  record 4 of {moment(life.stored(4).stored_at)}: {decided}; what if: {what_if}" in lines
    assert told.is_right


async def test_json_is_what_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    told, _ = await said(life.outside.ledger, capsys, SWARMUI, last=11)
    assert json.loads(json.dumps(asdict(told)))["turns"] == 11


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("kind: vanilla\nupper_task_ratio: 3\n", {"kind": "vanilla", "upper_task_ratio": 3}),
        ('{"kind": "swarmui"}', {"kind": "swarmui"}),
        ("policy:\n  kind: swarmui\n", {"kind": "swarmui"}),
    ],
)
def test_a_section_is_read_from_yaml_and_json(tmp_path: Path, text: str, section: dict[str, object]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    assert change_of(file, None).sections == {"policy": section}
    assert change_of(None, file).sections.keys() == {"limits"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "is no section of a fleet"),
        ("{", "neither YAML nor JSON"),
        (None, "is not there: name a file with the section 'policy' of a fleet"),
    ],
)
def test_a_file_that_is_no_section_is_refused_before_anything_is_asked(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "policy.yaml"
    if text is not None:
        file.write_text(text)
    result = CliRunner().invoke(app, ["replay", "demo", "--policy", str(file)], terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--last", "5", "--at", "2h"], "--at and --last exclude each other"),
        (["--last", "5", "--run", "x"], "--run and --last exclude each other"),
        (["--last", "0"], "greater than or equal to 1"),
        (["--at", "noon"], "--at: 'noon' is no time"),
    ],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["replay", "demo", *arguments], terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output
