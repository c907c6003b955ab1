"""`ebbflow runner` and `ebbflow up --runner`: whose runs go through it, and what is refused."""

import signal
import subprocess
import sys
from uuid import uuid4

import pytest
import yaml
from typer.testing import CliRunner

from ebbflow.cli.deploying import _to_deploy
from ebbflow.cli.main import app
from ebbflow.cli.services import RUN_TURN, RUN_TURN_HERE, Services, worker

FILE = """
deployments:
  - name: sdxl
    entrypoint: ebbflow.flows.autoscale.autoscale
    work_pool: {name: gpu-hosts, job_variables: {env: {A: b}}}
    schedules: [{interval: 60}]
  - name: sdxl
    entrypoint: ebbflow.flows.scale_up.scale_up
    work_pool: {name: gpu-hosts, job_variables: {command: their own}}
  - name: theirs
    entrypoint: their/flows.py:flow
    work_pool: {name: gpu-hosts}
"""


def commands(*, by_runner: bool) -> list[str | None]:
    rows = yaml.safe_load(_to_deploy(FILE, {0, 1}, runs_by=RUN_TURN if by_runner else ""))["deployments"]
    return [row["work_pool"].get("job_variables", {}).get("command") for row in rows]


def test_runs_of_our_flows_go_through_the_turn_server_where_nobody_has_said_otherwise() -> None:
    assert commands(by_runner=True) == ["ebbflow run-turn ebbflow.flows.autoscale.autoscale", "their own", None]
    assert commands(by_runner=False) == [None, "their own", None]


def test_what_a_person_has_set_besides_stays() -> None:
    (row, *_) = yaml.safe_load(_to_deploy(FILE, {0, 1}, runs_by=RUN_TURN))["deployments"]
    assert row["work_pool"]["job_variables"]["env"] == {"A": "b"}
    assert row["schedules"] == [{"interval": 60, "active": False}]


def test_a_folder_that_asks_for_a_worker_gets_the_runner_and_runs_by_this_python() -> None:
    asked = Services(prefect_worker="walk")
    plain, by_runner = worker(asked), worker(asked, by_runner=True)
    assert plain is not None
    assert by_runner is not None
    assert plain.command[:3] == (sys.executable, "-m", "prefect")
    assert by_runner.command == (
        sys.executable,
        "-m",
        "ebbflow.cli",
        "runner",
        "--pool",
        "walk",
        "--name",
        "ebbflow-up",
    )
    assert RUN_TURN_HERE.startswith(sys.executable), "a plain worker that is there already finds it too"


@pytest.mark.parametrize("pool", ["", "a b", "--type=x"])
def test_a_pool_that_is_none_is_refused(pool: str) -> None:
    result = CliRunner().invoke(app, ["runner", f"--pool={pool}"])
    assert result.exit_code == 2
    assert "the name of a work pool would be right" in result.output


def test_what_is_started_for_every_turn_imports_nothing_that_takes_long() -> None:
    script = (
        "import sys; sys.argv = ['ebbflow', 'run-turn', '--what']\n"
        "from ebbflow.cli.start import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'typer', 'prefect', 'pydantic', 'anyio', 'asyncio', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_regression_a_misspelt_pool_was_made_without_a_word(
    prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    pool, words = f"misspelt-{uuid4().hex[:6]}", [sys.executable, "-m", "ebbflow.cli", "runner", "--pool"]
    for is_there in (False, True):
        with subprocess.Popen(
            [*words, pool], env=prefect_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            said = ""
            while "started" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert (f"there is no work pool '{pool}' on this server yet" in said) is not is_there, said
        assert ("`ebbflow up` makes the pool of a fleet" in said) is not is_there, said
