"""`ebbflow start-worker` where there is nothing to start with: the protocol, and nothing else, whatever goes wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_other_servers import server_that_says

MESSAGE = re.compile(r"\[SwarmAutoScaleBackend\]DeclareFailed: ([^\[\]]*)\[/SwarmAutoScaleBackend\]\n")


def start_worker(home: Path, *words: str, url: str = "") -> str:
    """What it declines with; standard error is empty, since the master does not read it before an address."""
    environment = {**os.environ, "HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "ebbflow.cli", "start-worker", *words],
        env=environment, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = MESSAGE.fullmatch(done.stdout)
    assert found is not None, done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    return found[1]


def test_without_a_server_it_declines_and_keeps_the_reason_in_a_file_of_its_own(tmp_path: Path) -> None:
    said = start_worker(tmp_path, "--fleet", "sdxl", url="http://127.0.0.1:9/api")
    assert said.startswith("the Prefect server at http://127.0.0.1:9/api does not answer: ")
    assert "does not answer" in (tmp_path / ".ebbflow/start-worker/sdxl.log").read_text()
    assert (tmp_path / ".ebbflow/start-worker/sdxl.log").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("words", [(), ("an argument", "--of", "an-extension"), ("--gpu=7",)])
def test_whatever_it_is_given_besides_is_ignored(tmp_path: Path, words: tuple[str, ...]) -> None:
    with server_that_says("3.8.8", otherwise=500) as url:
        said = start_worker(tmp_path, "--fleet", "sdxl", *words, url=url)
    assert said


def test_a_home_that_cannot_be_written_keeps_it_from_nothing(tmp_path: Path) -> None:
    (tmp_path / ".ebbflow").write_text("a file where a folder would be")
    assert "does not answer" in start_worker(tmp_path, url="http://127.0.0.1:9/api")


@pytest.mark.parametrize("wait", ["soon", "0", "", "99d"])
def test_a_time_that_is_none_is_declined_by_its_option(tmp_path: Path, wait: str) -> None:
    said = start_worker(tmp_path, "--wait", wait)
    assert said == f"--wait {wait!r}: 45s, 30m, 8h or 2d would be right; a week at most"
