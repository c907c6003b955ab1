"""The command itself: there at once, its words, its codes, and what it says without a server."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbflow.cli.main import app
from ebbflow.cli.overrides import seconds_of
from ebbflow.cli.status import lasting, shown
from ebbflow.turn.standing import DecisionStanding, Standing, TurnsStanding, WorkerStanding

EBBFLOW = Path(sys.executable).with_name("ebbflow")
NOWHERE = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [EBBFLOW, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--offline", "prefect.yaml"]])
def test_help_and_offline_checks_bring_no_prefect(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom ebbflow.cli.main import app\n"
        "try: app(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('loaded', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    loaded = out.splitlines()[-1].split()
    assert loaded[0] == "loaded"
    assert {"prefect", "kubernetes", "httpx", "sqlalchemy"} & set(loaded) == set()


def test_every_command_has_a_sentence_and_the_exit_codes_stand_below_them() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    for name in ("check", "status", "why", "replay", "scale", "pause", "resume", "pin", "unpin", "override", "version"):
        assert f"  {name} " in said
    assert "3  the Prefect server does not answer" in said


@pytest.mark.parametrize("arguments", [["status"], ["check", "prefect.yaml"], ["pause"], ["scale", "+1"]])
def test_a_server_that_is_not_there_is_named_with_its_address(arguments: list[str]) -> None:
    said = run(*arguments, **NOWHERE)
    assert said.returncode == 3, said
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in said.stderr
    assert "Traceback" not in said.stderr


def test_versions_are_told_also_where_no_server_answers() -> None:
    said = run("version", "--json", **NOWHERE)
    found = json.loads(said.stdout)
    assert (said.returncode, found["prefect_server"], found["ebbflow"]) == (0, None, "0.0.1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scale", "many"], "+2, -1 or 5 would be right"),
        (["scale", "+2", "--for", "soon"], "45s, 30m, 8h or 2d would be right"),
        (["scale", "+2", "--for", "8d"], "a week at most"),
        (["status", "--watch", "--json"], "exclude each other"),
        (["no-such-command"], "No such command"),
    ],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments, terminal_width=200)
    assert (result.exit_code, words in result.output) == (2, True), result.output


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("30m", 1800), ("8h", 28_800), ("2d", 172_800), ("90", 90)])
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (99.9, "99s"), (100, "1m"), (5999, "99m"), (11_100, "3h05m"), (187_200, "2d04h")]
)
def test_durations_are_shown_in_a_few_characters(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_what_workers_and_persons_write_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    turns = TurnsStanding(True, "every 60 s [red]", 60.0, 1.0, 2.0, "autoscale/demo")
    worker = WorkerStanding("demo-1", "local/[b]a", "ready", 1.0, "http://w[/]", None, None, None, None, "[link=x]y")
    Console(width=200).print(shown(Standing("demo", turns, 1, workers=(worker,))))
    said = capsys.readouterr().out
    for text in ("[red]", "local/[b]a", "http://w[/]", "[link=x]y"):
        assert text in said


def test_a_demand_that_stands_in_a_record_that_is_gone_is_told_as_that_and_not_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    turns = TurnsStanding(True, "every 60 s", 60.0, 1.0, 2.0, "autoscale/demo")
    decision = DecisionStanding("queue 1", 1, 1, 1, (), (), ())
    Console(width=200).print(shown(Standing("demo", turns, 1, decision=decision)))
    assert "demand     cannot be read: the earlier record that holds it is gone" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["status", "nobody"], ["scale", "+1", "-f", "nobody"], ["resume", "-f", "nobody"]])
def test_regression_an_unknown_fleet_was_another_code_for_each_command(
    prefect_server: str, prefect_environment: dict[str, str], words: list[str]
) -> None:
    said = run(*words, **prefect_environment)
    assert (said.returncode, "there is no fleet 'nobody'; there are: " in said.stderr) == (2, True), said


WAITS = """
import sys
import anyio
from ebbflow.cli.speaking import Ended, run

async def waits():
    print("it waits", flush=True)
    await anyio.sleep_forever()

async def in_a_turn():
    from prefect import flow
    await flow(waits)()

try:
    run({"waits": waits, "in_a_turn": in_a_turn}[sys.argv[1]], interrupted="the fleet goes on ending")
except Ended as ended:
    sys.exit(ended.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["waits", "in_a_turn"])
def test_regression_sigterm_while_a_turn_was_taken_was_a_traceback_and_else_said_nothing(
    prefect_server: str, prefect_environment: dict[str, str], where: str, number: int
) -> None:
    quiet = {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    environment = {**os.environ, **prefect_environment, **quiet}
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, where], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "it waits" not in (line := process.stdout.readline()):
            assert line, process.communicate()
        process.send_signal(number)
        said = process.communicate(timeout=60)
    assert (process.returncode, *said) == (1, "", "interrupted; the fleet goes on ending\n")
