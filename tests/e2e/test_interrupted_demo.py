"""There is no moment at which Ctrl-C leaves anything of a demo behind."""

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.demo_process import demo, interrupt, processes_in, read_until


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "starting the Prefect server")
        said = interrupt(process)
        assert process.returncode == 130, said
    assert list(tmp_path.glob("ebbflow-demo-*")) == []


@pytest.mark.soak
def test_a_terminated_deploy_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "saving blocks")
        time.sleep(2)
        said = interrupt(process, signal.SIGTERM)
        assert process.returncode == 130, said


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(("waiting for the first turns",), marks=pytest.mark.endurance),
        pytest.param(("replaying",), marks=pytest.mark.endurance),
        pytest.param(("ready", "1 running"), marks=pytest.mark.soak),
        pytest.param(("turn: demo: +",), marks=pytest.mark.endurance),
        pytest.param(("ending the fleet",), marks=pytest.mark.soak),
    ],
    ids=lambda moment: " ".join(moment),
)
def test_an_interrupted_fleet_leaves_nothing(tmp_path: Path, moment: tuple[str, ...]) -> None:
    with demo(tmp_path, "--seconds", "10") as process:
        read_until(process, *moment)
        said = interrupt(process)
        assert process.returncode == 130, said


@pytest.mark.soak
def test_a_server_that_ends_by_itself_is_named_with_its_log(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "waiting for the first turns")
        (server,) = [each for each in processes_in(tmp_path) if "server" in each.cmdline()]
        server.kill()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "The demo failed: prefect-server ended by itself with exit code -9" in said
        assert "prefect-server.log" in said
