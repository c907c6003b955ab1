"""A test session leaves no process behind, however it ends."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.reaper import processes_of

ROOT = Path(__file__).parents[1]

SESSION = """
import os, subprocess, sys, time
from pathlib import Path
from tests.reaper import watching
folder = Path(sys.argv[1])
with watching(folder):
    with (folder / "log").open("w") as log:
        subprocess.Popen(["sleep", "600"], env={}, stdout=log, start_new_session=True)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    print("started", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ends", ["normally", "killed"])
def test_what_a_session_started_is_gone_after_it(ends: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SESSION, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"started\n"
        assert len(processes_of(str(tmp_path))) == 2
        if ends == "killed":
            session.kill()
    is_left_alone(tmp_path)


def is_left_alone(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while left := processes_of(str(folder)):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


CLUSTER = """
import sys, time
from pathlib import Path
from tests.reaper import watching
from tests.slurm.cluster import cluster
folder = Path(sys.argv[1])
with watching(folder), cluster(folder / "c") as slurm:
    slurm.submit("job", "--export=NONE", script=f"trap '' TERM; touch {folder}/runs; sleep 600 & wait")
    while not (folder / "runs").exists():
        time.sleep(0.1)
    print("started", flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("slurm_is_installed")
def test_a_cluster_with_its_jobs_is_gone_after_a_session_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLUSTER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"started\n"
        names = sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in processes_of(str(tmp_path)))
        assert {"munged", "slurmctld", "slurmd", "slurmstepd"} <= set(names), names
        session.kill()
    is_left_alone(tmp_path)
