"""docs/simulate-clients.md: every option, every figure, and a table as it is printed."""

import dataclasses
import re
from pathlib import Path

from typer.main import get_command

from ebbflow.cli.main import app
from ebbflow.services.simulated_clients.coming import PROBABILITY, ROUNDS, SPEED, TICK_SECONDS, TOKENS
from ebbflow.services.simulated_clients.crowd import Played
from ebbflow.services.simulated_clients.life import Life, Lost
from ebbflow.services.simulated_clients.showing import as_text
from ebbflow.services.simulated_clients.summary import Spread, Summary, WorkerFigures, summary_of
from ebbflow.simulation.recorded import RECORDED

PAGE = (Path(__file__).parents[2] / "docs" / "simulate-clients.md").read_text(encoding="utf-8")


def test_every_figure_and_every_reason_is_on_the_page() -> None:
    rows = "\n".join(re.findall(r"^\| `.*\|$", PAGE.partition("| figure |")[2], re.MULTILINE))
    named = set(re.findall(r"`(\w+)`", rows))
    shapes = (Summary, Spread, WorkerFigures)
    figures = {field.name for shape in shapes for field in dataclasses.fields(shape)} | {each.value for each in Lost}
    assert figures - named == set()
    assert named - figures == {"null"}


def test_every_option_is_on_the_page() -> None:
    command = get_command(app).commands["simulate-clients"]  # type: ignore[attr-defined]  # a group has them
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("--")}
    usual = {"--manage", "--stream"}
    assert {name for name in options - usual if not re.search(rf"{name}\b", PAGE)} == set()


def test_what_is_taken_where_nothing_is_said_and_the_traces_are_those_of_the_page() -> None:
    said = f"`--probability` ({PROBABILITY:g}), `--tick` seconds ({TICK_SECONDS:g}), `--rounds` ({ROUNDS}), `--tokens` "
    assert f"{said}({TOKENS:g} on average" in PAGE
    assert f"`--speed` ({SPEED:g};" in PAGE
    assert [name for name in RECORDED if f"`{name}`" not in PAGE] == []


def test_the_table_of_the_page_has_the_rows_and_columns_that_are_printed() -> None:
    (table,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lives = tuple(Life(0.0, 0.0, 1, 1.0, 1, worker_url=f"http://10.0.0.{number}:3000") for number in (1, 2))
    printed = as_text(summary_of(Played(0.0, 1.0, 2, lives, (), ()), endpoint="llama"))
    assert [_words(line) for line in table.splitlines()] == [_words(line) for line in printed.splitlines()]


def _words(line: str) -> list[str]:
    """Its cells, without figures."""
    return [cell for cell in re.split(r"\s{2,}", line) if not re.fullmatch(r"[\d.]*|-", cell)]
