"""`ebbflow costs` as persons and programs read it, and what it says before anything is asked."""

import csv
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest
from prefect.client.orchestration import get_client
from rich.console import Console
from typer.testing import CliRunner

from ebbflow.cli.costs import csv_of, gap_text, notes_on, seconds_back, table_of
from ebbflow.cli.main import app
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.costs import Cost, Costs, Gap, Tally
from ebbflow.turn.results import Acted, Held
from ebbflow.turn.turn import take_turn
from tests.making import changed
from tests.turn.outside import Outside
from tests.turn.test_turn import FLEET

EBBFLOW = Path(sys.executable).with_name("ebbflow")
HOUR = 3600.0
KNOWN = Tally(
    known=HOUR,
    worker=2 * HOUR,
    gpu=4 * HOUR,
    ready=HOUR,
    idle=HOUR / 4,
    workers_usd=0.8,
    priced=2 * HOUR,
    warm=HOUR,
    warm_priced=HOUR,
    storage_usd=0.02,
    fixed=4 * HOUR,
    ran=2 * HOUR,
    ran_usd=0.8,
)
FREE = Tally(known=HOUR, worker=HOUR, unknown_gpu=HOUR, ready=HOUR, unknown_busy=HOUR, unpriced=HOUR, fixed=HOUR)
GAP = Gap("sdxl", 1_700_000_000.0, 1_700_000_090.0, "record 6 was deleted", 0.18, is_whole=True)


def costs_of(*rows: Cost, whole: Tally, gaps: tuple[Gap, ...] = (), by: str = "fleet") -> Costs:
    summed = whole.cost("", "", fixed_usd=whole.fixed_usd(whole.mean_usd_per_hour))
    return Costs(by, 1_700_000_000.0, 1_700_003_600.0, "CET +0100", rows, summed, gaps, is_complete=not gaps)


def printed(costs: Costs) -> list[list[str]]:
    out = Console(file=io.StringIO(), width=300)
    out.print(table_of(costs))
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def two_fleets() -> Costs:
    whole = Tally()
    whole.add(KNOWN)
    whole.add(FREE)
    return costs_of(KNOWN.cost("sdxl", "sdxl", fixed_usd=1.6), FREE.cost("home", "home"), whole=whole)


def test_fleets_have_a_row_each_and_a_sum_in_which_what_is_unknown_makes_it_the_least() -> None:
    assert printed(two_fleets()) == [
        ["fleet", "worker-h", "GPU-h", "ready h", "idle", "USD", "of it storage", "fixed fleet USD"],
        ["sdxl", "2.00", "4.00", "1.00", "25%", "0.82", "0.02", "1.60"],
        ["home", "1.00", "-", "1.00", "0%+", "-", "0.00", "-"],
        ["sum", "3.00", "4.00+", "2.00", "12%+", "0.82+", "0.02", "2.00"],
    ]


def test_what_a_person_must_know_of_the_figures_stands_below_them() -> None:
    zone, fixed, unpriced, unknown = notes_on(two_fleets())
    assert zone.endswith("CET +0100; - is unknown, + is the least")
    assert fixed.startswith("fixed fleet: 5.00 worker-hours, which is max_workers for all the time that is known")
    assert unpriced.startswith("1.00 hours of workers and warm instances had no known price")
    assert unknown.startswith("in 1.00 of the ready hours nobody said")


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (GAP, "record 6 was deleted; the fleet's own sum says 0.18 USD, which are in the sum"),
        (dataclasses.replace(GAP, is_whole=False), "at least 0.18 USD, which are in the sum"),
        (dataclasses.replace(GAP, usd=None), "what it cost is unknown, and not in the sum"),
    ],
)
def test_a_gap_is_told_with_its_times_its_reason_and_its_money(gap: Gap, words: str) -> None:
    text = gap_text(gap)
    assert re.match(r"! sdxl: gap from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: ", text)
    assert text.endswith(words)


def test_of_a_gap_whose_money_is_known_nothing_else_is() -> None:
    gap = Tally(gap_usd=0.18, has_gap_usd=True)
    rows = printed(costs_of(gap.cost("sdxl", "not recorded", is_part=True), whole=gap, gaps=(GAP,), by="worker"))
    assert rows[1] == ["not recorded", "-", "-", "-", "-", "0.18", "-", "-"]


def test_csv_has_every_figure_of_every_row_and_leaves_empty_what_is_unknown() -> None:
    first, second = csv.DictReader(io.StringIO(csv_of(two_fleets())))
    assert list(first) == [field.name for field in dataclasses.fields(Cost)]
    assert (first["fleet"], first["usd"], first["idle_share"]) == ("sdxl", "0.82", "0.25")
    assert (second["usd"], second["gpu_hours"], second["worker_hours"]) == ("", "", "1")


def test_a_name_that_a_table_calculator_would_take_for_a_formula_is_a_text() -> None:
    row = KNOWN.cost("sdxl", '=HYPERLINK("http://x")\n', is_part=True)
    (line,) = csv.DictReader(io.StringIO(csv_of(costs_of(row, whole=KNOWN, by="worker"))))
    assert line["name"] == '\'=HYPERLINK("http://x")'


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("36h", 129_600), ("7d", 604_800), (" 4 w ", 2_419_200)])
def test_how_far_back_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_back(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["costs", "--since", "yesterday"], "90m, 36h, 7d or 4w would be right"),
        (["costs", "--since", "0d"], "90m, 36h, 7d or 4w would be right"),
        (["costs", "--since", "-7d"], "90m, 36h, 7d or 4w would be right"),
        (["costs", "--since", "9999d"], "ten years at most"),
        (["costs", "--csv", "--json"], "exclude each other"),
        (["costs", "--by", "month"], "'day'"),
    ],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments, terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_a_server_that_is_not_there_is_named_with_its_address() -> None:
    nowhere = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}
    said = subprocess.run(
        [EBBFLOW, "costs"], env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 3, said
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in said.stderr


@pytest.mark.oldest_prefect
@pytest.mark.anyio
async def test_on_a_real_server_records_are_summed_and_one_that_is_deleted_is_named(
    prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    # Not at the top: pytest is to rewrite it first, which `tests/e2e/harness.py` asks for.
    from tests.e2e.prefect_house import pass_time

    fleet = changed(FLEET, name=f"costs-{uuid4().hex[:6]}")
    outside = Outside()

    async def ebbflow(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "ebbflow.cli", "costs", *words]
        done = await anyio.run_process(command, env=prefect_environment, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    last: Acted | Held | None = None
    async with get_client() as client:
        for _ in range(2):
            pass_time(prefect_environment, fleet.name, 34.0)
            around = outside.surroundings(run=str(uuid4()), ledger=PrefectLedger(client))
            result = await take_turn(fleet, around)
            assert isinstance(result, Acted | Held)
            last = result
        code, out, err = await ebbflow(fleet.name, "--json")
        assert code == 0, err
        (row,) = json.loads(out)["rows"]
        assert (row["fleet"], row["usd"]) == (fleet.name, None), "it has no prices"
        assert 2 * 31 / 3600 <= row["worker_hours"] + 1e-6 <= 2 * 60 / 3600 + 1e-5
        assert last is not None
        assert last.record.previous is not None
        await client.delete_artifact(UUID(last.record.previous.artifact_id))
    code, out, err = await ebbflow(fleet.name, "--csv", "--since", "1h")
    (line,) = csv.DictReader(io.StringIO(out))
    assert (code, line["usd"], line["gpu_hours"], line["fixed_worker_hours"]) == (1, "", "", ""), err
    assert f"! {fleet.name}: gap from " in err
    assert ": record 1 was deleted; what it cost is unknown, and not in the sum" in err
    code, out, err = await ebbflow("no-such-fleet")
    assert (code, "there is no fleet 'no-such-fleet'" in err) == (2, True), err
