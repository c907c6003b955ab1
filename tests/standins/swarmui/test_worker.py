"""The stand-in SwarmUI worker by itself, and as a process."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings
from tests.standins.swarmui.talk import (
    Json,
    connected,
    pass_time,
    working,
)

pytestmark = pytest.mark.anyio


class TestWorker:
    async def test_it_lists_a_loading_backend_then_a_running_one(
        self, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.begin_loading(60)
        async with serve(worker.app) as url, connected(url) as client:
            assert (await client.backends())["0"]["status"] == "loading"
            assert await client.generate() == {"error": "No backends available!"}
            await clock.advance(60)
            assert (await client.backends())["0"]["status"] == "running"
            assert (await client.call("ListModels"))["files"][0]["name"] == "sdxl.safetensors"

    async def test_nobody_in_control_ends_it_at_the_first_check_after_the_limit(self, clock: ManualClock) -> None:
        worker = PlayedWorker(WorkerSettings(require_control_within_minutes=3, load_seconds=900), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            await clock.advance(100)
            assert await client.call("AdminTakeControl") == {"success": True}
            assert worker.control_times == [100]
            await clock.advance(199)  # 299 s: the check at 240 s was in time
            assert not worker.app.ended.is_set()
            await clock.advance(2)  # the check at 300 s is 200 s after the last control
            assert worker.app.ended.is_set()
            with pytest.raises(httpx.TransportError):
                await client.open()

    async def test_a_shutdown_answers_first_then_closes_and_an_empty_process_soon_ends(
        self, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url, connected(url) as client:
            assert await client.call("ShutdownServer") == {"success": True}
            await clock.advance(0.4)
            assert (await client.backends())["0"]["status"] == "running"
            await clock.advance(0.15)
            with pytest.raises(httpx.TransportError):
                await client.backends()
            assert not worker.app.ended.is_set()
            await clock.advance(0.1)
            assert worker.app.ended.is_set()

    @pytest.mark.parametrize("end", ["ShutdownServer", "nobody in control"])
    @pytest.mark.parametrize(("generation_seconds", "earliest", "latest"), [(10, 3, 7), (60, 26, 32)])
    async def test_an_end_lets_websocket_generations_fail_at_once_and_takes_half_of_their_time(
        self, clock: ManualClock, end: str, generation_seconds: int, earliest: float, latest: float
    ) -> None:
        worker = PlayedWorker(WorkerSettings(seconds_per_step=1, require_control_within_minutes=0.5), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            await clock.advance(59)
            image = client.generate(steps=generation_seconds, stand_in_websocket=True)
            await working(worker)
            if end == "ShutdownServer":
                await client.call("ShutdownServer")
            else:
                await clock.advance(1)
            await pass_time(worker, 0.4, 0.1)
            assert not image.done()
            await pass_time(worker, 0.2, 0.1)
            with pytest.raises(httpx.TransportError):
                await image
            assert worker.lost == 1
            await pass_time(worker, earliest - 0.7, 0.1)
            assert not worker.app.ended.is_set()
            await pass_time(worker, latest - earliest, 0.1)
            assert worker.app.ended.is_set()

    @pytest.mark.parametrize(("generation_seconds", "is_made"), [(25, True), (60, False)])
    async def test_a_shutdown_gives_a_generation_over_http_thirty_seconds(
        self, worker: PlayedWorker, clock: ManualClock, generation_seconds: int, is_made: bool
    ) -> None:
        async with serve(worker.app) as url, connected(url) as client:
            image = client.generate(steps=generation_seconds)
            await working(worker)
            await client.call("ShutdownServer")
            await pass_time(worker, 24)
            assert not worker.app.ended.is_set()
            await pass_time(worker, 7)
            assert worker.app.ended.is_set()
            assert (worker.served, worker.lost) == ((1, 0) if is_made else (0, 1))
            if is_made:
                assert "images" in await image
            else:
                with pytest.raises(httpx.TransportError):
                    await image

    @pytest.mark.parametrize(("state", "listed"), [(None, {}), (BackendState.ERRORED, {"0": "errored"})])
    async def test_it_may_have_no_backend_or_only_errored_ones(
        self, clock: ManualClock, state: BackendState | None, listed: Json
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backend_state=state), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            assert {key: backend["status"] for key, backend in (await client.backends()).items()} == listed
            summary = (await client.call("GetGlobalStatus"))["backend_status"]["status"]
            assert summary == ("errored" if listed else "empty")
            assert await client.generate() == {"error": "No backends available!"}

    async def test_a_test_may_put_its_backends_in_a_state_for_a_while(
        self, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url, connected(url) as client:
            assert await client.control("Backends", status="waiting", seconds=20) == {"result": "Success."}
            await clock.advance(19)
            assert (await client.backends())["0"]["status"] == "waiting"
            await clock.advance(1)
            assert (await client.backends())["0"]["status"] == "running"
            await client.control("Backends", status=None)
            assert await client.backends() == {}
            assert "not a valid BackendState" in (await client.control("Backends", status="odd"))["error"]

    @pytest.mark.parametrize(("keeps", "status"), [(True, 200), (False, 401)])
    async def test_session_ids_outlive_a_restart_only_with_a_data_folder(
        self, tmp_path: Path, clock: ManualClock, keeps: bool, status: int
    ) -> None:
        worker = PlayedWorker(WorkerSettings(data_dir=tmp_path if keeps else None), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            worker.restart()
            assert (await client.post("ListBackends")).status_code == status

    async def test_loading_a_model_is_counted(self, clock: ManualClock) -> None:
        worker = PlayedWorker(WorkerSettings(model_load_seconds=30, seconds_per_step=0), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            image = client.generate(model="flux.safetensors")
            await working(worker)
            load = await client.load()
            assert load == {"waiting_gens": 1, "loading_models": 1, "waiting_backends": 0, "live_gens": 1}
            await clock.advance(31)
            assert "images" in await image
            assert (await client.backends())["0"]["current_model"] == "flux.safetensors"


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "ebbflow.standins.swarmui.server", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert running.stdout is not None
    try:
        yield running, running.stdout.readline().strip()
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


class TestProcess:
    def test_a_worker_prints_one_line_once_it_listens_and_ends_on_sigterm(self) -> None:
        with process("worker") as (running, line):
            assert line.startswith("[SwarmAutoScaleBackend]NewURL: http://127.0.0.1:"), line
            url = line.removeprefix("[SwarmAutoScaleBackend]NewURL: ").removesuffix("[/SwarmAutoScaleBackend]")
            answer = httpx.post(f"{url}/API/GetNewSession", json={}, trust_env=False).json()
            assert answer["permissions"][0] == "*"
            running.send_signal(signal.SIGTERM)
            assert running.wait(2) == 0

    def test_a_crash_really_ends_the_process(self, tmp_path: Path) -> None:
        with process("master", "--data_dir", str(tmp_path)) as (running, line):
            url = line.removeprefix("listening on ")
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(f"{url}/Control/Crash", json={}, trust_env=False)
            assert running.wait(2) == 137

    def test_nobody_in_control_really_ends_the_process(self) -> None:
        switch = ("--require_control_within", "0.001", "--control_check_seconds", "0.1")
        with process("worker", "--announce_url", "http://h:1", "--start_seconds", "0.02", *switch) as (running, line):
            assert line == "[SwarmAutoScaleBackend]NewURL: http://h:1[/SwarmAutoScaleBackend]"
            assert running.wait(2) == 0

    @pytest.mark.parametrize(("end", "is_kept"), [("SIGTERM", True), ("ShutdownServer", False)])
    def test_a_master_keeps_what_was_just_edited_if_a_signal_ends_it_and_not_if_shutdown_does(
        self, tmp_path: Path, end: str, is_kept: bool
    ) -> None:
        with process("master", "--data_dir", str(tmp_path)) as (running, line):
            url = line.removeprefix("listening on ")
            session = httpx.post(f"{url}/API/GetNewSession", json={}, trust_env=False).json()["session_id"]
            body = {"session_id": session, "type_id": "swarmswarmbackend"}
            httpx.post(f"{url}/API/AddNewBackend", json=body, trust_env=False)
            if end == "SIGTERM":
                running.send_signal(signal.SIGTERM)
            else:
                httpx.post(f"{url}/API/{end}", json=body, trust_env=False)
            assert running.wait(5) == 0
        assert (tmp_path / "backends.json").exists() is is_kept

    def test_an_unknown_argument_is_an_error(self) -> None:
        command = [sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker", "--nonsense", "1"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert "unrecognized arguments: --nonsense 1" in ended.stderr
