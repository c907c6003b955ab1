"""docs/command.md: every command that there is, every exit code, and the very names that `--json` prints."""

import dataclasses
import re
from pathlib import Path

import pytest
from typer.main import get_command

from ebbflow.cli import speaking
from ebbflow.cli.main import app
from ebbflow.flows import past_check
from ebbflow.simulation import advice_told, two_fleets
from ebbflow.turn import costs, differences, lives, replaying, standing, telling

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text(encoding="utf-8")
SHAPES = {
    "a fleet": standing.Standing,
    "its `turns`": standing.TurnsStanding,
    "its `demand`": standing.DemandStanding,
    "its `decision`": standing.DecisionStanding,
    "one of its `workers`": standing.WorkerStanding,
    "one of its `overrides`": standing.OverrideStanding,
    "one of its `providers`": standing.ProviderStanding,
    "its `room`": standing.RoomStanding,
    "a turn": telling.TurnTold,
    "one of its `rules` and `bound`": telling.RuleTold,
    "one of its `actions`": telling.ActionTold,
    "a life": lives.LifeTold,
    "one of its `events`": lives.LifeEvent,
    "a replay": replaying.ReplayedTold,
    "one of its `replayed`": replaying.ReplayTold,
    "one of its `differences` and `remembers`": differences.Difference,
    "its `stored` and `again`": replaying.DecisionTold,
    "one of its `pasts`": past_check.PastTold,
    "their `recorded`, `deployed` and `written`": two_fleets.FleetFigures,
    "an advice": advice_told.AdviceTold,
    "one of its `settings`": advice_told.SettingTold,
    "the costs": costs.Costs,
    "one of their `rows`, and their `sum`": costs.Cost,
    "one of their `gaps`": costs.Gap,
}


@pytest.mark.parametrize("row", SHAPES)
def test_the_names_of_each_object_are_those_that_are_printed(row: str) -> None:
    (line,) = re.findall(rf"^\| {re.escape(row)} \| (.*) \|$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", line) == [field.name for field in dataclasses.fields(SHAPES[row])]


def test_every_command_is_on_the_page() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group has them
    assert [name for name in commands if not re.search(rf"`{name}\b", PAGE)] == []


def test_every_exit_code_is_on_the_page_in_the_words_of_the_help() -> None:
    codes = dict(re.findall(r"^\| (\d) \| (.*) \|$", PAGE, re.MULTILINE))
    assert codes == dict(re.findall(r"^  (\d)  (.*)$", speaking.EXIT_CODES, re.MULTILINE))
    assert sorted(codes) == ["0", "1", "2", "3", "4"]
