"""`ebbflow check --offline`: every fault of a file with its line, and nothing that would need a server."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbflow.cli.main import app
from ebbflow.fleet.deployed import check_file

FILE = """\
definitions:
  fleet: &fleet
    name: sdxl
    interval_seconds: &interval 60
    master: swarmui-master/main
    providers:
      - {block: local-provider/here, max_workers: 3}
    limits: {min_workers: 1, max_workers: 3}
deployments:
  - name: sdxl
    entrypoint: ebbflow.flows.autoscale.autoscale
    parameters: {fleet: *fleet}
    schedules: [{interval: *interval}]
    work_pool: {name: gpu}
  - name: sdxl
    entrypoint: ebbflow.flows.scale_up.scale_up
    parameters: {fleet: *fleet}
    work_pool: {name: gpu}
"""


def checked(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", str(path), "--offline", *options], terminal_width=200)
    return result.exit_code, result.output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prefect.yaml"


def test_a_file_that_is_right_is_named_with_its_fleets_and_their_deployments(path: Path) -> None:
    path.write_text(FILE, encoding="utf-8")
    code, said = checked(path)
    assert code == 0
    assert f"ok      {path}: fleet 'sdxl' is written as it should be (autoscale/sdxl, scale-up/sdxl)" in said
    assert checked(path.parent)[0] == 0, "a folder stands for the prefect.yaml in it"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("max_workers: 3}\n    limits", "max_workers: few}\n    limits"), 7, "max_workers is 'few': Input should be"),
        (("min_workers: 1", "min_workers: 9"), 8, "min_workers 9 is above max_workers 3"),
        (("    master:", "\tmaster:"), 5, "a tab; YAML is indented with spaces"),
        (("*fleet}\n    schedules", "*flot}\n    schedules"), 12, "an anchor stands above its aliases"),
        (("    name: sdxl\n", "    name: sdxl\n    name: flux\n"), 4, "'name' stands twice (first in line 3)"),
        (
            ("interval: *interval", "interval: 30"),
            13,
            "schedules[0].interval is 30, and the fleet's interval_seconds is 60",
        ),
        (("local-provider/here", '"{{ $EBBFLOW_NO_SUCH_NAME }}"'), 7, "EBBFLOW_NO_SUCH_NAME is not set here"),
        (("local-provider/here", "{{ $NAME }}"), 7, "a placeholder stands in quotes"),
        (
            ("    parameters: {fleet: *fleet}\n    schedules", "    parameters: {}\n    schedules"),
            12,
            "parameters has no 'fleet'",
        ),
        (("    limits:", "    limit:"), 8, "fleet.limit"),
        (("schedules: [{interval: *interval}]", "schedules: [daily]"), 13, "schedules is no list of them"),
        (("schedules: [{interval: *interval}]", "schedules: {interval: 60}"), 13, "schedules is no list of them"),
        (
            ("  - name: sdxl\n    entrypoint: ebbflow.flows.auto", "  - entrypoint: ebbflow.flows.auto"),
            10,
            "it has no name",
        ),
        (("    limits:", "    records_folder: 2024-13-45\n    limits:"), None, "a text stands in quotes"),
        (("deployments:", "deploy:"), None, "expected a list of them"),
        (("ebbflow.flows.", "mine."), None, "it deploys no flow of ebbflow"),
        (("definitions:", "--- \na: 1\n--- \ndefinitions:"), None, "several YAML documents"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_would_be_right(
    path: Path, change: tuple[str, str], line: int | None, words: str
) -> None:
    path.write_text(FILE.replace(*change), encoding="utf-8")
    code, said = checked(path, "--json")
    found = json.loads(said)
    assert (code, found["is_right"]) == (1, False)
    wrong = [each for each in found["findings"] if each["level"] == "wrong"]
    assert [(each["line"], words in each["text"]) for each in wrong] == [(line, True)], wrong


def test_regression_a_secret_that_was_put_into_a_fleet_by_mistake_was_shown(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_TOKEN", "s3cret")
    for field in ("token", "interval_seconds", "master"):
        path.write_text(
            FILE.replace("    limits:", f'    {field}: "{{{{ $SWARM_TOKEN }}}}"\n    limits:'), encoding="utf-8"
        )
        code, said = checked(path)
        assert (code, "s3cret" in said) == (1, False), said


def test_names_and_pools_are_what_the_environment_makes_of_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE", "north")
    text = FILE.replace("  - name: sdxl", '  - name: "sdxl-{{ $SITE }}"').replace(
        "name: gpu", 'name: "gpu-{{ $SITE }}"'
    )
    found = check_file(text, environment={"SITE": "north"}, variables={})
    assert [(each.deployment, each.work_pool) for each in found.fleets] == [
        ("autoscale/sdxl-north", "gpu-north"),
        ("scale-up/sdxl-north", "gpu-north"),
    ]
    assert [each.schedules for each in found.fleets] == [("interval 60",), ()]


def test_all_faults_of_a_fleet_are_told_at_once_and_once_for_all_its_deployments(path: Path) -> None:
    path.write_text(
        FILE.replace("max_workers: 3}", "max_workers: -1}").replace("name: sdxl\n    int", "name: S\n    int")
    )
    found = json.loads(checked(path, "--json")[1])["findings"]
    assert sorted(each["line"] for each in found) == [3, 7, 8]


def test_several_fleets_in_one_file_are_each_checked(path: Path) -> None:
    second = (
        FILE.replace("fleet: &fleet", "second: &second")
        .replace("name: sdxl", "name: flux")
        .replace("*fleet", "*second")
    )
    first, _, rest = FILE.partition("deployments:\n")
    other, _, more = second.partition("deployments:\n")
    both = first + other.removeprefix("definitions:\n").replace("&interval 60", "60") + "deployments:\n" + rest + more
    path.write_text(both, encoding="utf-8")
    code, said = checked(path)
    assert (code, said.count("is written as it should be")) == (0, 2), said


def test_a_prefect_variable_is_taken_for_right_where_no_server_can_be_asked(path: Path) -> None:
    path.write_text(
        FILE.replace("max_workers: 3}\n    limits", 'max_workers: "{{ prefect.variables.most }}"}\n    limits')
    )
    code, said = checked(path)
    assert code == 0
    assert "autoscale/sdxl holds Prefect variables, which the server has" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "is not there"), (b"\xff\xfe", "cannot be read as text"), (b"x" * (4 * 1024**2 + 1), "larger than 4 MB")],
)
def test_what_is_no_file_of_fleets_is_a_mistake_in_the_command(path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        path.write_bytes(content)
    code, said = checked(path)
    assert (code, words in said) == (2, True), said


def test_a_dry_turn_without_a_server_is_refused(path: Path) -> None:
    path.write_text(FILE, encoding="utf-8")
    assert checked(path, "--turn")[0] == 2
