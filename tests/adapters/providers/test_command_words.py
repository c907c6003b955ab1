"""What a master needs its workers to be started with reaches them, or it is said that it does not."""

import subprocess
from collections.abc import Sequence

import pytest

from ebbflow.adapters.providers.command_words import filled, loss_in_script, loss_of_arguments, with_arguments
from ebbflow.core.instance import JoinSpec, LaunchRequest
from ebbflow.core.worker_environment import given

ARGUMENTS = ("--require_control_within", "10")
REQUEST = LaunchRequest("sdxl-3f9c-1a-0", "sdxl", "homea", JoinSpec(arguments=ARGUMENTS))

EATEN = [
    ["bash", "-c", "exec worker"],
    ["/bin/sh", "-c", "exec worker --port 7801"],
    ["/usr/bin/env", "bash", "-lc", "exec worker"],
    ["srun", "bash", "-euxo", "pipefail", "-c", "exec worker"],
    ["bash", "-o", "pipefail", "-ec", "exec worker"],
    ["tini", "--", "/bin/bash", "-c", "exec worker"],
    ["-c", "exec worker"],
    ["bash", "-c", 'exec worker "$@"'],
    ["bash", "-c", 'exec worker "$@"', "{arguments}"],
    ["bash", "-c", "exec worker", "{arguments}"],
    ["bash", "-c", "--", "exec worker"],
    ["bash", "-ceuo", "pipefail", "exec worker"],
]
PASSED = [
    ["worker"],
    ["/opt/bash-worker.sh", "-c", "settings.yaml"],
    ["bash", "start.sh"],
    ["bash", "-x", "start.sh", "-c", "7"],
    ["bash", "-c", 'exec worker "$@"', "worker"],
    ["bash", "-c", "exec worker ${@}", "worker"],
    ["bash", "-c", "exec worker $EBBFLOW_ARGUMENTS"],
    ["bash", "-c", "exec worker {arguments}"],
    ["bash", "-c", "-e", 'exec worker "$1" "$2"', "worker"],
    ["bash", "-c", "exec worker --require_control_within 5"],
    ["bash", "-c", "exec $0 $1", "worker", "{arguments}"],
    ["bash"],
    [],
]


@pytest.mark.parametrize("command", EATEN, ids=" ".join)
def test_regression_a_shell_ate_the_dead_mans_switch_without_a_word(command: Sequence[str]) -> None:
    said = loss_of_arguments(command, ARGUMENTS)
    assert said.startswith("--require_control_within 10 does not reach the worker")
    assert ("$EBBFLOW_ARGUMENTS" in said) is not ("becomes $0" in said)


@pytest.mark.parametrize("command", PASSED, ids=" ".join)
def test_a_command_that_passes_them_on_is_not_blamed(command: Sequence[str]) -> None:
    assert loss_of_arguments(command, ARGUMENTS) == ""


def test_a_master_that_needs_none_loses_none() -> None:
    assert [loss_of_arguments(command, ()) for command in EATEN] == [""] * len(EATEN)
    assert loss_in_script("exec worker", (), "onstart") == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["worker", "--x"], ["worker", "--x", *ARGUMENTS]),
        (["worker", "{arguments}", "--x"], ["worker", *ARGUMENTS, "--x"]),
        (["sh", "-c", "worker {arguments}; true"], ["sh", "-c", "worker --require_control_within 10; true"]),
        (["worker", "{worker_id}", "{fleet}", "{home}"], ["worker", REQUEST.worker_id, "sdxl", "{home}", *ARGUMENTS]),
    ],
)
def test_arguments_are_appended_or_stand_where_the_command_wants_them(command: list[str], words: list[str]) -> None:
    assert with_arguments(command, REQUEST) == words


def test_a_place_for_arguments_is_filled_where_none_are_appended() -> None:
    assert filled(["worker", "{arguments}"], REQUEST) == ["worker", *ARGUMENTS]
    assert filled(["worker"], REQUEST) == ["worker"]


SHOWS = 'printf "%s|" '


@pytest.mark.parametrize(
    "command",
    [
        ["bash", "-c", f"{SHOWS} $EBBFLOW_ARGUMENTS"],
        ["bash", "-c", f"{SHOWS} {{arguments}}"],
        ["bash", "-c", f'{SHOWS} "$@"', "worker"],
        ["bash", "-c", f'{SHOWS} "$@"', "worker", "{arguments}"],
    ],
)
def test_every_way_that_is_offered_gives_a_real_shell_the_same_words(command: list[str]) -> None:
    done = subprocess.run(
        with_arguments(command, REQUEST), env=given(REQUEST), capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "--require_control_within|10|"
