"""What `deployments/swarmui-from-zero/` tells people to do, done."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click import Context
from typer.main import get_command

from ebbflow.blocks import SwarmUIMaster
from ebbflow.cli.main import app
from ebbflow.fleet.model import Fleet
from ebbflow.standins.swarmui.backends_file import swarm_backends
from tests.e2e.ready_made import ROOT, ReadyMade
from tests.test_docs import snippets

FOLDER = ROOT / "swarmui-from-zero"
PAGE = FOLDER / "README.md"


def test_the_two_lines_for_an_image_write_the_gate(tmp_path: Path) -> None:
    (lines,) = [body for body in snippets(PAGE, "sh") if "printf" in body]
    (tmp_path / "Data").mkdir()
    environment = {**os.environ, "EBBFLOW_GATE": "http://room:7860/gates/h0me1/sdxl/w-1"}
    subprocess.run(["sh", "-c", lines], cwd=tmp_path, env=environment, check=True, timeout=10)
    (row,) = swarm_backends((tmp_path / "Data/Backends.fds").read_text()).values()
    assert row == {
        "title": "gate",
        "enabled": True,
        "settings": {"Address": environment["EBBFLOW_GATE"], "AllowIdle": "false"},
    }


@pytest.mark.parametrize("name", ["slurm-swarmui", "kubernetes-swarmui", "vast-swarmui"])
def test_a_ready_made_fleet_with_the_pages_two_lines_may_have_nobody(name: str) -> None:
    given, limits = (body for body in snippets(PAGE, "yaml"))
    block, fleet = SwarmUIMaster(address="http://swarm.example:7801"), ReadyMade(name).fleet
    room = SwarmUIMaster.model_validate({"address": block.address, **dict([given.strip().split(": ", 1)])})
    (least,) = re.findall(r"min_workers: (\d+)", limits)
    at_zero = Fleet.model_validate(
        {**fleet.model_dump(), "limits": {**fleet.limits.model_dump(), "min_workers": least}}
    )
    assert at_zero.limits.min_workers == 0
    assert room.get_master(fleet="sdxl", home="h0me1").caps.can_start_from_zero
    assert not block.get_master(fleet="sdxl", home="h0me1").caps.can_start_from_zero


def test_the_unit_starts_a_command_of_ours() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", (FOLDER / "waiting-room.service").read_text(), re.MULTILINE)
    words = shlex.split(line)
    assert words[0].endswith("/ebbflow")
    group = get_command(app)
    name, command, rest = group.resolve_command(Context(group), words[1:])  # type: ignore[attr-defined, arg-type]
    command.make_context(name, list(rest))


def test_the_extension_says_with_which_swarmui_it_was_tried_as_its_page_does() -> None:
    version = "0.9.8.2 (commit 062407c7)"
    assert version in (FOLDER / "WaitingRoomExtension.cs").read_text()
    assert f"SwarmUI {version}" in PAGE.read_text()


def test_the_script_that_never_answers_says_nothing_and_ends_with_its_master() -> None:
    master = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.argv[1]])", str(FOLDER / "hold.sh")],
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 10
    while not (children := psutil.Process(master.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    master.send_signal(signal.SIGKILL)
    master.wait(10)
    assert master.stdout is not None
    with master.stdout as said:
        # The pipe ends when the script does.
        assert said.read() == b""
    deadline = time.monotonic() + 10
    while [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
