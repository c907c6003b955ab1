"""One master that was started before, one worker, and a client of the master, on a clock that tests move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings
from tests.standins.swarmui.talk import Client, connected


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def master(tmp_path: Path, clock: ManualClock) -> PlayedMaster:
    return PlayedMaster(MasterSettings(tmp_path / "master", is_new=False, websocket_seconds=0), clock=clock)


@pytest.fixture
def worker(clock: ManualClock) -> PlayedWorker:
    return PlayedWorker(WorkerSettings(seconds_per_step=1), clock=clock)


@pytest.fixture
async def client(master: PlayedMaster) -> AsyncIterator[Client]:
    async with serve(master.app) as url, connected(url) as client:
        yield client
