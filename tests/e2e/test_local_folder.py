"""A folder of `ebbflow init local` whose commands are interrupted and whose server is killed can always be ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.endurance

COMMAND = [sys.executable, "-m", "ebbflow.cli"]


class Folder:
    """One, used as a person does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *words: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.path,
            env={**kept, "HOME": str(self.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ebbflow(self, *words: str, code: int = 0) -> str:
        with self.start(*words) as process:
            said, _ = process.communicate(timeout=300)
        assert process.returncode == code, said
        return said

    def interrupted(self, *words: str, after: str) -> str:
        """Ctrl-C as soon as it has said so much."""
        with self.start(*words) as process:
            assert process.stdout is not None
            said = ""
            while after not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=180)
        assert (process.returncode, "interrupted" in rest, "Traceback" in rest) == (1, True, False), said + rest
        return said + rest

    def states(self) -> list[str]:
        (fleet,) = json.loads(self.ebbflow("status", "--json"))
        return [worker["state"] for worker in fleet["workers"]]

    def until(self, states: list[str]) -> None:
        deadline = time.monotonic() + 300
        while (found := self.states()) != states:
            assert time.monotonic() < deadline, found
            time.sleep(1)

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def running(self, word: str) -> psutil.Process:
        return next(each for each in self.processes() if word in each.cmdline())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    path = tmp_path / "fleet1"
    here = Folder(path)
    done = subprocess.run([*COMMAND, "init", "local", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield here
    finally:
        for process in here.processes():
            process.kill()


def test_whatever_is_interrupted_or_killed_goes_on_when_it_is_called_again(folder: Folder) -> None:
    assert "nothing of this folder runs" in folder.ebbflow("down")
    folder.interrupted("up", "--start", after="SwarmUI master at")
    said = folder.ebbflow("up", "--start", "--alerts")
    assert "the schedule of autoscale/fleet1 is on" in said
    assert said.count("\nalert ") == 3
    folder.until(["ready"])
    folder.running("ebbflow.cli.prefect_server").kill()
    assert "`ebbflow up` starts what this folder needs" in folder.ebbflow("status", code=3)
    assert "to make Prefect server at http://127.0.0.1:" in folder.ebbflow("check")
    folder.interrupted("down", after="fleet 'fleet1' ends")
    assert folder.processes(), "what is needed to end the fleet stays"
    said = folder.ebbflow("down")
    assert "fleet1: nothing is left\n" in said
    assert said.count("\nalert ") == 3
    assert said.splitlines()[-1].startswith("prefect-server is ended")
    assert folder.processes() == []
    assert "nothing of this folder runs" in folder.ebbflow("down")
