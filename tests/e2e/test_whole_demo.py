"""A whole demo ends well, and leaves what it was asked to leave."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ebbflow.demo.blocks import PROVIDER_KINDS, ProviderKind
from tests.e2e.demo_process import demo, processes_in

pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Ended:
    """A demo that went to its end."""

    folder: Path
    exit_code: int
    said: str


def ended(process: subprocess.Popen[str], folder: Path) -> Ended:
    said, _ = process.communicate(timeout=600)
    return Ended(folder, process.returncode, said)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """One with a launch script, and with a server that is to be kept: it takes minutes, so two tests look at it."""
    folder = tmp_path_factory.mktemp("kept")
    with demo(folder, "--seconds", "40", "--provider", "launch-script", KEEP="1") as process:
        yield ended(process, folder)


@pytest.mark.parametrize("provider", PROVIDER_KINDS)
def test_a_whole_demo_goes_up_and_down_and_loses_nothing(
    tmp_path: Path, provider: ProviderKind, request: pytest.FixtureRequest
) -> None:
    if provider == "launch-script":
        went_well(request.getfixturevalue("kept"))
        return
    with demo(tmp_path, "--seconds", "40", "--provider", provider) as process:
        went_well(ended(process, tmp_path))
    assert list(tmp_path.glob("ebbflow-demo-*")) == []


def went_well(demo: Ended) -> None:
    assert demo.exit_code == 0, demo.said
    assert "0 lost" in demo.said
    assert "still alive  0" in demo.said


def test_a_kept_server_is_all_that_is_left(kept: Ended) -> None:
    assert kept.exit_code == 0, kept.said
    (server,) = processes_in(kept.folder)
    assert f"To end it: kill {server.pid}; rm -r {kept.folder}" in kept.said
    server.terminate()
    server.wait(20)
