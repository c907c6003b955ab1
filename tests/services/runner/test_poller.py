"""The poller as a process, forked by the turn server or a Python of its own: it asks for turns, and can be ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import anyio
import pytest
from prefect.client.orchestration import get_client

from ebbflow.services.runner.line import POLLER, POOL, RUNNER, SOCKET
from tests.flows.test_polling import Queue, deployed
from tests.services.runner.test_turn_server import served

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

WAIT_SECONDS = 90.0
POLL_SECONDS = 2.0


@pytest.fixture(params=["forked", "plain"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path, prefect_environment: dict[str, str], kind: str) -> Iterator[str]:
    """Of a turn server's socket; empty: there is none."""
    folder = tmp_path / "t"
    folder.mkdir(mode=0o700)
    with served(folder / "s", **prefect_environment) if kind == "forked" else nullcontext():
        yield str(folder / "s") if kind == "forked" else ""


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_it_sees_work_begin_to_wait_asks_for_a_turn_and_ends_with_its_client(
    prefect_server: str, prefect_environment: dict[str, str], place: str, kind: str, number: signal.Signals
) -> None:
    queue = Queue([0])
    async with (
        get_client() as client,
        deployed(client, queue, prefect_environment, poll_interval_seconds=POLL_SECONDS) as site,
    ):
        given = {**os.environ, **prefect_environment, SOCKET: place, POOL: site.pool, RUNNER: str(os.getpid())}
        words = [sys.executable, "-m", "ebbflow.services.runner.client", POLLER]
        with started(words, given) as process:
            await until(lambda: queue.asked >= 2, "it polls")
            assert await site.runs() == []
            queue.waiting = [3]
            before = queue.asked
            await until(lambda: queue.asked >= before + 3, "it goes on polling")
            assert len(await site.runs()) == 1
            process.send_signal(number)
            assert process.wait(WAIT_SECONDS) == -number
            before = queue.asked
            await anyio.sleep(2 * POLL_SECONDS)
            # What was asked in the moment of its end may have come since.
            assert queue.asked <= before + 1, "its child has ended too"


def test_it_starts_no_server_of_its_own_where_none_is_named(tmp_path: Path) -> None:
    home = {"PREFECT_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    given = {**home, POOL: "a-pool", RUNNER: str(os.getpid())}
    words = [sys.executable, "-m", POLLER]
    done = subprocess.run(words, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "no Prefect server is named" in done.stdout) == (0, True), done.stderr


@contextmanager
def started(words: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards."""
    with subprocess.Popen(words, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()
