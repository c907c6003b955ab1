"""A whole demo ends well, and leaves what it was asked to leave."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.demo_process import demo


@dataclass(frozen=True)
class Ended:
    """A demo that went to its end."""

    folder: Path
    exit_code: int
    said: str


def ended(process: subprocess.Popen[str], folder: Path) -> Ended:
    said, _ = process.communicate(timeout=600)
    return Ended(folder, process.returncode, said)


@pytest.mark.soak
def test_a_whole_demo_goes_up_and_down_and_loses_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "40") as process:
        went_well(ended(process, tmp_path))
    assert list(tmp_path.glob("ebbflow-demo-*")) == []


def went_well(demo: Ended) -> None:
    assert demo.exit_code == 0, demo.said
    assert "0 lost" in demo.said
    assert "s left)" in demo.said
    assert "GPU-hours of 5 that always run" in demo.said


@pytest.mark.endurance
def test_a_demo_that_is_kept_leaves_a_living_fleet_with_a_little_load_until_it_is_ended(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "40", "--provider", "launch-script", KEEP="1") as process:
        kept = ended(process, tmp_path)
        went_well(kept)
        folder = re.search(r"--end (\S+)$", kept.said, re.MULTILINE)
        look = re.search(r"PREFECT_API_URL=(\S+) \S+ -m ebbflow.cli status", kept.said)
        assert folder is not None
        assert look is not None
        environment = {**os.environ, "PREFECT_API_URL": look[1], "PREFECT_HOME": str(tmp_path / "looks")}

        def served() -> int:
            command = [sys.executable, "-m", "ebbflow.cli", "status", "--json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
            (fleet,) = json.loads(done.stdout)
            assert fleet["turns"]["come"], fleet["turns"]
            return sum(worker["busy"] is True for worker in fleet["workers"])

        deadline = time.monotonic() + 600
        while served() < 2:
            assert time.monotonic() < deadline, "its load never needed two workers"
            time.sleep(2)
        command = [sys.executable, "-m", "ebbflow.demo", "--end", folder[1]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not Path(folder[1]).exists()
