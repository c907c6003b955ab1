"""A run that the turn server forked beside one that is a Python of its own: what Prefect has of both is the same."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State

from ebbflow.blocks import LocalProvider, SwarmUIMaster
from ebbflow.flows.autoscale import autoscale
from ebbflow.services.runner.line import SOCKET
from tests.services.runner.test_turn_server import AUTOSCALE, CLIENT, served

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

Process = subprocess.Popen[bytes]
PLAIN = [sys.executable, "-m", "prefect.flow_engine"]
WAIT_SECONDS = 90.0


@pytest.fixture
def server(tmp_path: Path, prefect_environment: dict[str, str]) -> Iterator[Path]:
    folder = tmp_path / "t"
    folder.mkdir(mode=0o700)
    with served(folder / "s", **prefect_environment):
        yield folder / "s"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a master that takes connections and answers nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def started(client: PrefectClient, command: list[str], environment: dict[str, str]) -> tuple[FlowRun, Process]:
    """A turn of a fleet, begun."""
    fleet = {
        "name": "forked",
        "interval_seconds": 300,
        "master": "swarmui-master/forked",
        "providers": [{"block": "local-provider/forked", "max_workers": 1}],
        "limits": {"min_workers": 1, "max_workers": 1},
    }
    run = await client.create_flow_run(autoscale, parameters={"fleet": fleet, "dry_run": True})
    given = {**os.environ, **environment, "PREFECT__FLOW_RUN_ID": str(run.id)}
    return run, Process([*command, AUTOSCALE], env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def logs_of(client: PrefectClient, run: UUID) -> list[str]:
    found = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])), limit=200)
    return [re.sub(r"[0-9a-f-]{36}|'[a-z]+-[a-z]+'", "X", line.message) for line in found]


async def test_no_line_of_its_log_is_missing(
    prefect_server: str, prefect_environment: dict[str, str], server: Path
) -> None:
    """Without blocks it fails, and says so in its last lines."""
    told = []
    async with get_client() as client:
        for command, more in ((PLAIN, {}), (CLIENT, {SOCKET: str(server)})):
            run, process = await started(client, command, {**prefect_environment, **more})
            with process:
                code = process.wait(WAIT_SECONDS)
            state = (await client.read_flow_run(run.id)).state
            told.append((code, state_of(state), await logs_of(client, run.id)))
    plain, forked = told
    assert plain[1] == ("FAILED", "Refused")
    assert any("Finished in state Refused" in line for line in plain[2])
    assert forked == plain


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_run_that_is_cancelled_or_killed_ends_as_one_of_its_own(
    prefect_server: str,
    prefect_environment: dict[str, str],
    server: Path,
    silent: str,
    number: signal.Signals,
    tmp_path: Path,
) -> None:
    ends = []
    async with get_client() as client:
        master = SwarmUIMaster(address=silent, call_timeout_seconds=20)
        await master.asave("forked", overwrite=True, client=client)
        provider = LocalProvider(command=["true"], state_folder=tmp_path)
        await provider.asave("forked", overwrite=True, client=client)
        for command, more in ((PLAIN, {}), (CLIENT, {SOCKET: str(server)})):
            run, process = await started(client, command, {**prefect_environment, **more})
            with process:
                await until_running(client, run.id)
                process.send_signal(number)
                code = process.wait(WAIT_SECONDS)
            ends.append((code, state_of((await client.read_flow_run(run.id)).state)))
    plain, forked = ends
    assert forked == plain
    # A run that is killed can say nothing more; Prefect's own worker says it for it.
    assert plain[1][0] == ("CRASHED" if number == signal.SIGTERM else "RUNNING")


def state_of(state: State | None) -> tuple[str, str]:
    assert state is not None
    return state.type.value, state.name or ""


async def until_running(client: PrefectClient, run: UUID) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while state_of((await client.read_flow_run(run)).state)[0] != "RUNNING":
        assert time.monotonic() < deadline, "it never ran"
        await anyio.sleep(0.2)
    # It looks at its master now, which takes longer than this test.
    await anyio.sleep(1.0)
