"""`ebbflow advise`: what a person and a program read of a fleet's past, and the change of its own file."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
import yaml
from prefect.client.orchestration import get_client
from typer.testing import CliRunner

from ebbflow.cli import advise as command
from ebbflow.cli.main import app
from ebbflow.core.errors import NotRecorded
from ebbflow.fleet.changing import Change
from ebbflow.fleet.deployed import check_file
from ebbflow.fleet.file_change import FleetFile
from ebbflow.flows import advising
from ebbflow.flows.advising import Asked, advise_on
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.simulation import two_fleets
from ebbflow.turn.moments import age_of
from ebbflow.turn.results import Acted, Held
from ebbflow.turn.turn import take_turn
from tests.making import changed
from tests.turn.outside import Outside
from tests.turn.test_turn import FLEET


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--past", "1y"], "'1y' is no age: 45s, 30m, 8h or 2d would be right"),
        (["--past", "0h"], "'0h' is no past: more than nothing and at most a year"),
        (["--waiting-worth", "1", "--wait-p95-seconds", "10"], "exclude each other: each says what is wanted"),
        (["--waiting-worth", "-1"], "--waiting-worth"),
        (["--waiting-worth", "nan"], "--waiting-worth"),
        (["--wait-p95-seconds", "0"], "--wait-p95-seconds"),
        (["--wait-p95-seconds", "inf"], "--wait-p95-seconds"),
        (["--plays", "0"], "--plays"),
        (["--settings", "101"], "--settings"),
        (["--limit-seconds", "-1"], "--limit-seconds"),
        (["--service-seconds", "0"], "--service-seconds"),
        (["sdxl", "--fleet", "sdxl"], "--fleet says which fleet of a file: name the file too"),
        (["/no/such/folder/prefect.yaml"], "is not there: name the fleet's file"),
    ],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["advise", *arguments], terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_the_command_has_the_defaults_of_the_flow() -> None:
    assert age_of(command.PAST) == advising.PAST_SECONDS
    assert command.SERVICE_SECONDS == two_fleets.SERVICE_SECONDS
    assert (command.PLAYS, command.SETTINGS, command.LIMIT_SECONDS) == (
        advising.PLAYS,
        advising.SETTINGS,
        advising.LIMIT_SECONDS,
    )


@pytest.mark.parametrize(
    ("before", "after", "arguments", "code", "words"),
    [
        (
            "min_workers: 2",
            "min_workers: -2",
            [],
            4,
            "limits.min_workers is -2: Input should be",
        ),
        ("sdxl", "sdxl", ["--fleet", "x"], 2, "there is no fleet 'x'; there are: sdxl"),
        (
            "autoscale.autoscale",
            "scale.none",
            [],
            4,
            "no deployment of autoscale in this file has",
        ),
    ],
)
def test_a_file_that_is_wrong_for_any_server_is_told_without_one(
    tmp_path: Path, before: str, after: str, arguments: list[str], code: int, words: str
) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE.format(name="sdxl").replace(before, after), encoding="utf-8")
    result = CliRunner().invoke(app, ["advise", str(tmp_path), *arguments], terminal_width=200)
    assert (result.exit_code, words in result.output) == (code, True), result.output


PAGE = Path(__file__).parents[2] / "docs" / "advise.md"

FILE = """\
definitions:
  fleet: &fleet
    name: &name {name}  # ours
    interval_seconds: 30
    master: swarmui-master/a
    providers: [{{block: local/a, max_workers: 4}}]
    limits: {{min_workers: 2, max_workers: 4, min_idle_seconds: 60, min_seconds_between_stops: 0}}  # since spring
deployments:
  - {{name: *name, entrypoint: ebbflow.flows.autoscale.autoscale, parameters: {{fleet: *fleet}}}}
  - {{name: *name, entrypoint: ebbflow.flows.advise.advise, parameters: {{fleet: *name}}}}
"""


def file_of(text: str) -> FleetFile:
    checked = check_file(text, environment={}, variables={})
    assert checked.problems == ()
    return FleetFile("prefect.yaml", text, checked.fleets[0], {}, {})


def test_the_diff_of_a_file_changes_the_one_word_and_keeps_the_comment() -> None:
    diff = file_of(FILE.format(name="sdxl")).diff([Change(("limits", "min_workers"), 0)])
    assert diff is not None
    gone, new = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert new == gone.replace("min_workers: 2", "min_workers: 0").replace("-", "+", 1)
    assert new.endswith("# since spring")


def test_the_weekly_schedule_of_the_page_is_one_that_a_fleets_file_may_have() -> None:
    (weekly,) = re.findall(r"```yaml\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (row,) = yaml.safe_load(weekly)["deployments"]
    content = yaml.safe_load(FILE.format(name="sdxl"))
    checked = check_file(
        yaml.safe_dump({"deployments": [content["deployments"][0], row]}), environment={}, variables={}
    )
    assert checked.problems == ()
    assert (checked.fleets[1].deployment, checked.fleets[1].schedules) == ("advise/sdxl", ("cron 0 6 * * 1",))


def test_a_file_whose_fleet_would_come_out_otherwise_is_left_alone() -> None:
    # What two fleets of a file share cannot be changed for one of them alone.
    text = FILE.format(name="sdxl").replace("limits: {", "limits: &limits {").replace(
        "deployments:\n",
        "  fleet_b: &fleet_b {name: other, master: m/x, providers: [{block: l/x}], limits: *limits}\n"
        "deployments:\n"
        "  - {name: other, entrypoint: ebbflow.flows.autoscale.autoscale, parameters: {fleet: *fleet_b}}\n",
    )  # fmt: skip
    assert file_of(text).diff([Change(("limits", "min_workers"), 0)]) is None


@pytest.mark.oldest_prefect
@pytest.mark.anyio
async def test_on_a_real_server_a_fleet_is_advised_by_name_and_by_its_file_and_nothing_is_changed(
    prefect_server: str, prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    # Not at the top: pytest is to rewrite it first, which `tests/e2e/harness.py` asks for.
    from tests.e2e.prefect_house import pass_time

    fleet = changed(FLEET, name=f"advised-{uuid4().hex[:6]}")
    async with get_client() as client:
        ledger, outside = PrefectLedger(client), Outside()

        def silent(said: str) -> None:
            """Hears nothing."""

        with pytest.raises(NotRecorded, match="has no record of this time, and fewer than 8 tell nothing"):
            await advise_on(ledger, fleet, Asked(), say=silent)
        for _ in range(9):
            pass_time(prefect_environment, fleet.name, 34.0)
            result = await take_turn(fleet, outside.surroundings(run=str(uuid4()), ledger=ledger))
            assert isinstance(result, Acted | Held)
            # Looks have the server's clock, which tells whole seconds: a past without length is none.
            await anyio.sleep(1.1)
        told = await advise_on(ledger, fleet, replace(Asked(), settings=4, plays=1), say=silent)
        assert (told.fleet, told.records, told.missing) == (fleet.name, 9, ())
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE.format(name=fleet.name), encoding="utf-8")
    quick = ["--plays", "2", "--settings", "16", "--waiting-worth", "0"]
    by_name = await ebbflow(prefect_environment, tmp_path, fleet.name, *quick, "--json")
    said: dict[str, Any] = json.loads(by_name)
    assert said["notes"][0] == "no turn of it is deployed: taken for it is the fleet of record 9"
    assert said["diff"].startswith("--- a/fleet.yaml\n+++ b/fleet.yaml\n")
    by_file = await ebbflow(prefect_environment, tmp_path, "prefect.yaml", *quick, "--plot", "cost.svg")
    for words in ("What do I pay now?", "What exactly do I change?", "no turn of it is deployed", "# since spring"):
        assert words in by_file.replace("No turn", "no turn")
    assert "min_workers: 0" in by_file
    assert "--- a/prefect.yaml\n+++ b/prefect.yaml\n" in by_file
    assert (tmp_path / "cost.svg").read_text(encoding="utf-8").startswith("<svg")
    assert file.read_text(encoding="utf-8") == FILE.format(name=fleet.name), "it is a person who applies it"
    assert "there is no fleet 'nobody'" in await ebbflow(prefect_environment, tmp_path, "nobody", code=2)


async def ebbflow(environment: dict[str, str], folder: Path, *words: str, code: int = 0) -> str:
    """Run the command as a person does; what it says, or where it refuses, what it says beside."""
    command = [sys.executable, "-m", "ebbflow.cli", "advise", *words]
    done = await anyio.run_process(command, env=environment, cwd=folder, check=False)
    assert done.returncode == code, done.stderr.decode()[-2000:]
    return (done.stderr if code else done.stdout).decode()
