"""`ebbflow why`: what it shows of a stored ledger, how it ends, and what it refuses before it asks anybody."""

import json
import sys
from dataclasses import asdict
from uuid import uuid4

import anyio
import pytest
from prefect.client.orchestration import get_client
from rich.console import Console
from typer.testing import CliRunner

from ebbflow.cli.main import app
from ebbflow.cli.recalling import check_options, reading
from ebbflow.cli.speaking import Ended
from ebbflow.cli.why import shown, told
from ebbflow.core.errors import RecordError
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.moments import moment
from ebbflow.turn.results import Acted
from ebbflow.turn.turn import take_turn
from tests.making import changed
from tests.turn.lived import Lived, lived
from tests.turn.outside import Outside
from tests.turn.test_turn import FLEET, REQUEST

pytestmark = pytest.mark.anyio
DAY_SECONDS = 86_400.0
NOWHERE = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}


async def said(life: Lived, capsys: pytest.CaptureFixture[str], **asked: str) -> str:
    """What a person reads."""
    found = await told(life.outside.ledger, FLEET.name, **asked, most_seconds=DAY_SECONDS)
    capsys.readouterr()
    Console(width=400, highlight=False).print(shown(found))
    return capsys.readouterr().out


async def test_a_turn_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    lines = (await said(life, capsys, run_id="run-04")).splitlines()
    third, fourth = (each.removeprefix("i-") for each in life.outside.host.launched[2:])
    done = "at local/a: local/a is next in order and has room -> done, register done"
    assert lines == [
        f"demo, record 4 of {moment(life.stored(4).stored_at)}, by autoscale, run run-04",
        "  saw        turn before: record 3, 30 s ago",
        "             demand: 40 queued, 0 running",
        "             master: has 1 ready and busy, 1 ready and idle",
        "             local/a: 2 running",
        "  decided    queue 40 > 20: the policy asked for 4; 2 served or started, 2 existed",
        "  rules      40 tasks > 10 per worker x 2 workers: 4 wanted (policy.vanilla)",
        f"  did        launch {third} {done} (i-{third} running; http://10.0.0.3:7801)",
        f"             launch {fourth} {done} (i-{fourth} running; http://10.0.0.4:7801)",
    ]


async def test_without_an_option_the_newest_turn_is_told_and_with_a_time_the_one_of_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    life = await lived()
    assert "demo, record 11 of " in await said(life, capsys)
    assert "demo, record 10 of " in await said(life, capsys, at="29s")


async def test_a_life_is_a_table_of_what_happened_why_and_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    first, _, *rows = (await said(life, capsys, worker=life.second)).splitlines()
    assert first == f"{life.second} at local/a: ended"
    launched = f"1 launch local/a is next in order and has room done: i-{life.second} running"
    assert " ".join(rows[1].split()) == f"{moment(life.stored(1).stored_at)} {launched}"
    assert [row.split()[2] for row in rows] == [*"1112222556677"]


async def test_what_workers_and_providers_wrote_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    life = Lived()
    life.outside.host.caps = changed(life.outside.host.caps, fingerprint="here")
    await life.turn(changed(FLEET, providers=(changed(FLEET.providers[0], block="local/[red]a"),)))
    assert "at local/[red]a: local/[red]a is next in order" in await said(life, capsys)


async def test_json_is_what_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    life = await lived()
    for asked in ({}, {"worker": life.first}):
        found = await told(life.outside.ledger, FLEET.name, **asked, most_seconds=DAY_SECONDS)
        assert json.loads(json.dumps(asdict(found)))["fleet"] == "demo"


@pytest.mark.parametrize(
    ("error", "code"), [(RecordError("record 4 was edited"), 1), (ValueError("begins several ids"), 2)]
)
def test_what_cannot_be_read_ends_with_1_and_what_cannot_be_meant_with_2(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Ended) as ended, reading("records"):
        raise error
    assert (ended.value.exit_code, str(error) in capsys.readouterr().err) == (code, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--at", "soon"], "--at: 'soon' is no time: 14:03"),
        (["--at", "2h", "--worker", "x"], "--at and --worker exclude each other"),
        (["--run", "x", "--worker", "x"], "--worker and --run exclude each other"),
        (["--worker", "x", "--since", "ever"], "--since: 'ever' is no age: 45s, 30m, 8h or 2d would be right"),
    ],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["why", "demo", *arguments], terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_a_time_of_the_evening_is_not_refused_before_the_servers_clock_is_asked() -> None:
    assert check_options("23:59", "7d") == 7 * DAY_SECONDS


@pytest.mark.oldest_prefect
async def test_on_a_real_server_a_turn_a_life_and_what_is_not_there_are_told(
    prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    fleet = changed(FLEET, name=f"why-{uuid4().hex[:6]}")
    outside = Outside()
    async with get_client() as client:
        for asked in (None, REQUEST):
            around = outside.surroundings(run=str(uuid4()), ledger=PrefectLedger(client))
            assert isinstance(await take_turn(fleet, around, request=asked), Acted)

    async def ebbflow(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "ebbflow.cli", *words]
        done = await anyio.run_process(command, env=prefect_environment, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    code, out, err = await ebbflow("why", fleet.name)
    assert code == 0, err
    assert "asked      floor +1 by ada, for 3600 s: demo day" in out
    code, out, err = await ebbflow("why", fleet.name, "--worker", outside.host.launched[0], "--json")
    assert code == 0, err
    assert [each["what"] for each in json.loads(out)["events"]][:3] == ["wished", "launch", "register"]
    code, out, err = await ebbflow("replay", fleet.name, "--last", "5")
    assert (code, out.splitlines()[0]) == (0, f"{fleet.name}: 2 of 2 turns are the same to the byte (record 1 to 2)"), (
        err
    )
    code, out, err = await ebbflow("why", fleet.name, "--worker", "nobody")
    assert (code, "its newest record knows" in err) == (4, True), err
    code, out, err = await ebbflow("why", "no-such-fleet")
    assert (code, "there is no fleet 'no-such-fleet'" in err) == (2, True), err
