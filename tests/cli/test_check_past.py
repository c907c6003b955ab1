"""`ebbflow check --past`: what a person and a pipeline read of a fleet that is played on its past, and how it ends."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
import yaml
from prefect.client.orchestration import get_client
from rich.console import Console
from typer.testing import CliRunner

from ebbflow.cli.check_past import past_seconds, past_shown, past_verdict
from ebbflow.cli.main import app
from ebbflow.core.errors import NotRecorded
from ebbflow.fleet.model import Fleet
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.past_check import PastTold, check_past
from ebbflow.simulation.two_fleets import FleetFigures
from ebbflow.turn.results import Acted, Held
from ebbflow.turn.turn import take_turn
from tests.making import changed
from tests.turn.outside import Outside
from tests.turn.test_turn import FLEET

PLAYED = FleetFigures(12.0, 10.0, 30.5, 15.25, 0.0, 40.0)
TOLD = PastTold(
    fleet="sdxl",
    since_at=1_790_000_000.0,
    until_at=1_790_086_400.0,
    records=1440,
    recorded=replace(PLAYED, worker_hours=31.0, waited_p95_seconds=None),
    deployed=PLAYED,
    written=replace(PLAYED, launches=9.333333, worker_hours=22.875, usd=11.44, waited_p95_seconds=95.0),
    worker_hours_percent=-25.0,
    fail_above_percent=20.0,
    is_within=False,
    notes=("x/a: boots of 60 s",),
    missing=(),
)


def lines_of(told: PastTold) -> list[str]:
    out = Console(file=io.StringIO(), width=200)
    for each in past_shown(told):
        out.print(each)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]  # type: ignore[attr-defined]  # it is the StringIO


def test_a_person_reads_what_was_and_what_would_be_and_the_difference() -> None:
    _, head, names, *rows, verdict, note = lines_of(TOLD)
    assert head.startswith("sdxl from 2026-09-")
    assert head.endswith(" (24.00 h, 1440 records)")
    assert names.split() == ["recorded", "deployed,", "played", "this", "file,", "played", "difference"]
    assert [row.split() for row in rows] == [
        ["launches", "12.0", "12.0", "9.3", "-2.7"],
        ["stops", "10.0", "10.0", "10.0", "+0.0"],
        ["worker-hours", "31.00", "30.50", "22.88", "-7.62", "(-25.0", "%)"],
        ["USD", "15.25", "15.25", "11.44", "-3.81"],
        ["waited,", "p95,", "s", "-", "40", "95", "+55"],
    ]
    assert verdict.strip() == "worker-hours: 25.0 % fewer than those of the deployed fleet, and 20 % may be"
    assert note.strip() == "- x/a: boots of 60 s"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            replace(TOLD, worker_hours_percent=12.34, is_within=True),
            "12.3 % more than those of the deployed fleet, within",
        ),
        (
            replace(TOLD, worker_hours_percent=0.0, is_within=True),
            "as many as those of the deployed fleet, within the 20 %",
        ),
        (replace(TOLD, worker_hours_percent=None), "22.88, where the deployed fleet has none: more than 20 %"),
    ],
)
def test_which_way_it_differs_is_said(told: PastTold, words: str) -> None:
    assert words in past_verdict(told)


def test_money_that_is_known_in_part_is_the_least_and_what_nobody_knows_is_a_dash() -> None:
    part = replace(
        TOLD, written=replace(PLAYED, unpriced_hours=2.0), deployed=replace(PLAYED, usd=None, unpriced_hours=9)
    )
    (row,) = [line.split() for line in lines_of(part) if line.strip().startswith("USD")]
    assert row == ["USD", "15.25", "-", "15.25+", "-"]
    missing = replace(TOLD, missing=("after record 3: record 4 was deleted",))
    assert any(line.strip() == "missing after record 3: record 4 was deleted" for line in lines_of(missing))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--past", "1y"], "'1y' is no age: 45s, 30m, 8h or 2d would be right"),
        (["--past", "0h"], "'0h' is no past: more than nothing and at most a year"),
        (["--past", "9999d"], "at most a year"),
        (["--past", "24h", "--offline"], "--past needs a Prefect server"),
        (["--fail-above", "5"], "--past AGE belongs to it"),
        (["--past", "24h", "--fail-above", "-1"], "--fail-above"),
        (["--past", "24h", "--fail-above", "nan"], "--fail-above"),
    ],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["check", *arguments], terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_an_age_is_seconds() -> None:
    assert (past_seconds("24h"), past_seconds("90s")) == (86_400.0, 90.0)


def file_of(fleet: Fleet) -> str:
    entry = {
        "name": fleet.name,
        "entrypoint": "ebbflow.flows.autoscale.autoscale",
        "parameters": {"fleet": fleet.model_dump(mode="json")},
        "schedules": [{"interval": fleet.interval_seconds}],
        "work_pool": {"name": "gpu"},
    }
    return yaml.safe_dump({"deployments": [entry]})


@pytest.mark.oldest_prefect
@pytest.mark.anyio
async def test_on_a_real_server_a_changed_minimum_is_played_and_does_not_pass(
    prefect_server: str, prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    # Not at the top: pytest is to rewrite it first, which `tests/e2e/harness.py` asks for.
    from tests.e2e.prefect_house import pass_time

    deployed = changed(FLEET, name=f"past-{uuid4().hex[:6]}")
    written = changed(deployed, limits=changed(FLEET.limits, min_workers=1))
    file = tmp_path / "prefect.yaml"

    async with get_client() as client:
        with pytest.raises(NotRecorded, match="is neither deployed nor recorded here: there is nothing to compare"):
            await check_past(client, written, seconds=3600.0, fail_above_percent=20.0)
        outside = Outside()
        for _ in range(4):
            pass_time(prefect_environment, deployed.name, 34.0)
            result = await take_turn(deployed, outside.surroundings(run=str(uuid4()), ledger=PrefectLedger(client)))
            assert isinstance(result, Acted | Held)
            await anyio.sleep(1.1)
        last = await check_past(client, written, seconds=3600.0, fail_above_percent=60.0)
        assert last.notes[0] == "no turn of it is deployed: taken for it is the fleet of record 4"
        flow_id = await client.create_flow_from_name("autoscale")
        await client.create_deployment(
            flow_id,
            deployed.name,
            entrypoint="ebbflow.flows.autoscale.autoscale",
            parameters={"fleet": deployed.model_dump(mode="json")},
        )
        assert (await check_past(client, deployed, seconds=3600.0, fail_above_percent=0.0)).is_right
    file = tmp_path / "prefect.yaml"
    file.write_text(file_of(written), encoding="utf-8")
    command = [sys.executable, "-m", "ebbflow.cli", "check", str(file), "--past", "1h", "--json"]
    done = await anyio.run_process(command, env=prefect_environment, check=False)
    # Any: what JSON holds.
    said: dict[str, Any] = json.loads(done.stdout)
    (told,) = said["pasts"]
    assert (told["fleet"], told["records"], told["missing"]) == (deployed.name, 4, []), said
    assert told["worker_hours_percent"] == pytest.approx(-50.0, abs=1)
    (row,) = (each for each in said["findings"] if each["what"] == f"past of {deployed.name!r}")
    assert (done.returncode, row["level"]) == (1, "wrong")
    assert "% fewer than those of the deployed fleet, and 20 % may be" in row["text"]
