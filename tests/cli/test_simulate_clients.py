"""`ebbflow simulate-clients`: what it refuses before anybody is asked, and whole runs against a real gateway."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from ebbflow.cli.main import app
from ebbflow.cli.simulate_clients import _Progress
from ebbflow.gateway.wire import token_of
from ebbflow.services.simulated_clients.crowd import Moment
from ebbflow.services.simulated_clients.summary import Summary
from tests.gateway.processes import ENDPOINT, SECRET, GatewayProcess, command, gateway_process, until, vendor_workers

RATE = ["--rate", "20", "--seconds", "1"]
OPTIONS = {
    *("--gateway", "--users", "--probability", "--tick", "--rounds", "--rate", "--trace", "--speed", "--seconds"),
    *("--tokens", "--seed", "--patience", "--path", "--stream", "--no-stream", "--most-open", "--usd-per-worker-hour"),
    *("--fleet", "--manage", "--no-manage", "--json", "--plot"),
}


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Whatever somebody sends can be seen here."""
    with closing(socket.socket()) as listens:
        listens.bind(("127.0.0.1", 0))
        listens.listen(5)
        listens.setblocking(False)
        yield listens


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "one of --users, --rate and --trace would be right"),
        ([*RATE, "--users", "3"], 2, "--users and --rate says who comes"),
        (["--rate", "20"], 2, "--rate needs --seconds"),
        ([*RATE, "--speed", "2"], 2, "--speed goes with --trace"),
        ([*RATE, "--rate", "-1"], 2, "--rate is -1.0: requests per second, above 0 would be right"),
        ([*RATE, "--tokens", "0"], 2, "--tokens is 0.0: a number from 1 to 100000 would be right"),
        (["--users", "3", "--probability", "2"], 2, "--probability is 2.0"),
        (["--trace", "nowhere.csv"], 4, "--trace: nowhere.csv is no file and no recorded trace: there are servegen"),
        ([*RATE, "--patience", "nan"], 2, "--patience is nan: seconds above 0 would be right"),
        ([*RATE, "--usd-per-worker-hour", "-1"], 2, "--usd-per-worker-hour is -1: dollars from 0 on would be right"),
        ([*RATE, "--usd-per-worker-hour", "1", "--fleet", "a"], 2, "exclude each other"),
        ([*RATE, "--no-manage"], 2, "--no-manage keeps a fleet as it is: say which, with --fleet"),
        ([*RATE, "--path", "generate"], 2, "--path is 'generate': a path such as /generate would be right"),
        ([*RATE, "--most-open", "0"], 2, "--most-open"),
        ([*RATE, "--json", "/nowhere/a.json"], 4, "--json /nowhere/a.json cannot be written"),
        ([*RATE, "--plot", "/"], 4, "--plot / cannot be written"),
        ([*RATE, "--gateway", "login1:7870"], 2, "--gateway is 'login1:7870': an address such as http://login1:7870"),
        ([*RATE, "--gateway", "http://me:word@login1:7870"], 2, "without a user"),
        ([*RATE, "--endpoint-key", "k"], 2, "No such option"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(
    listening: socket.socket, options: list[str], code: int, words: str
) -> None:
    gateway = f"http://127.0.0.1:{listening.getsockname()[1]}"
    given = {"EBBFLOW_ENDPOINT_KEY": "k" * 40}
    result = CliRunner().invoke(
        app, ["simulate-clients", ENDPOINT, "--gateway", gateway, *options], env=given, terminal_width=200
    )
    assert (result.exit_code, words in result.output) == (code, True), result.output
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_a_key_is_taken_from_the_environment_alone(listening: socket.socket) -> None:
    gateway = f"http://127.0.0.1:{listening.getsockname()[1]}"
    given = {"EBBFLOW_ENDPOINT_KEY": ""}
    result = CliRunner().invoke(app, ["simulate-clients", ENDPOINT, "--gateway", gateway, *RATE], env=given)
    assert result.exit_code == 4
    assert "EBBFLOW_ENDPOINT_KEY is not set: export the key that `ebbflow endpoint llama` has printed" in result.output


def test_help_names_everything() -> None:
    said = CliRunner().invoke(app, ["simulate-clients", "--help"], terminal_width=200).output
    assert set(re.findall(r"--[a-z-]+", said)) >= OPTIONS
    assert all(name in said for name in ("EBBFLOW_ENDPOINT_KEY", "EBBFLOW_MODEL_KEY", "Ctrl-C"))


def test_a_gateway_that_is_not_there_is_named(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    given = {"EBBFLOW_ENDPOINT_KEY": "k" * 40}
    words = ["simulate-clients", ENDPOINT, "--gateway", f"http://127.0.0.1:{port}", *RATE]
    result = CliRunner().invoke(app, words, env=given)
    assert result.exit_code == 1
    assert f"the gateway at http://127.0.0.1:{port} does not answer, and nobody was simulated" in result.output


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def moment(seconds: float, open_now: int = 3) -> Moment:
    return Moment(seconds, 9, 4, open_now, 1, 1, 0, 2)


def test_on_a_terminal_one_line_is_written_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    with _Progress() as progress:
        for told in (moment(1.0, 300), moment(2.0, 3)):
            progress.tell(told)
    first, second = terminal.getvalue().removeprefix("\r").removesuffix("\n").split("\r")
    assert (first.startswith("1 s: "), second.startswith("2 s: ")) == (True, True)
    assert len(first) == len(second) == 59, "what is longer could not be written over"
    assert "\n" not in terminal.getvalue()[:-1]


def test_elsewhere_a_line_comes_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with _Progress() as progress:
        for seconds in range(25):
            progress.tell(moment(float(seconds)))
    assert re.findall(r"^(\d+) s: ", capsys.readouterr().err, re.MULTILINE) == ["0", "10", "20"]


class TinyWorker:
    """A worker of the endpoint: streams, and reports itself each half second; a plain server reports nothing."""

    def __init__(self, gateway: GatewayProcess, *, is_plain: bool = False) -> None:
        self.heard: list[tuple[str, str, str]] = []
        """Path, headers and body of each request."""
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                heard.append((self.path, str(self.headers), body))
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                asked = json.loads(body)
                for _ in range(asked.get("payload", asked)["max_tokens"]):
                    event = b'data: {"token": "tide"}\n\n'
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.write(b"0\r\n\r\n")

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._gateway, self._ends = gateway, threading.Event()
        self._more = {"server": {"kind": "litserve", "units_per_second": 1000}} if is_plain else {}
        works = [self._server.serve_forever, *([] if is_plain else [self._report])]
        self._threads = [threading.Thread(target=work) for work in works]

    def __enter__(self) -> "TinyWorker":
        for thread in self._threads:
            thread.start()
        try:
            until(self._is_ready, "it is not ready", seconds=20)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(timeout=20)
        self._server.server_close()
        self._gateway.operator("DELETE", f"endpoints/{ENDPOINT}/workers/demo-0abc-1-1")

    def _is_ready(self) -> bool:
        path = f"endpoints/{ENDPOINT}/workers/demo-0abc-1-1"
        self._gateway.operator("PUT", path, url=self.url, lease_seconds=3600, **self._more)
        return bool(self._gateway.rows().get("demo-0abc-1-1", {}).get("ready"))

    def _report(self) -> None:
        said = {"id": 1, "version": "1.1.0", "mtoken": token_of("demo-0abc-1-1", SECRET), "url": self.url}
        numbers = {"loadtime": 1.0, "max_perf": 1000.0, "cur_load": 0.0, "num_requests_working": 0}
        while True:
            body = {**said, **numbers, "working_request_idxs": [], "error_msg": ""}
            httpx.post(f"{self._gateway.address}/worker_status/", json=body, timeout=5)
            if self._ends.wait(0.5):
                return


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    return gateway.endpoint()


@contextmanager
def simulating(
    gateway: GatewayProcess, key: str, *words: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        command("simulate-clients", ENDPOINT, "--gateway", gateway.address, *words),
        env={**os.environ, **environment, "EBBFLOW_ENDPOINT_KEY": key},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def read(file: Path) -> tuple[Summary, dict[str, Any]]:
    text = file.read_text()
    return TypeAdapter(Summary).validate_json(text), json.loads(text)


def test_a_whole_run_is_served_and_told_in_three_ways(gateway: GatewayProcess, key: str, tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "run.json"), "--plot", str(tmp_path / "run.svg")]
    words = [*RATE, "--tokens", "5", "--seed", "3", "--usd-per-worker-hour", "3.6", *files]
    with TinyWorker(gateway) as worker, simulating(gateway, key, *words) as process:
        said, told = process.communicate(timeout=60)
    assert process.returncode == 0, said + told
    found, plain = read(tmp_path / "run.json")
    assert (found.successful, sum(found.lost.values())) == (found.due, 0)
    assert found.due == len(worker.heard) > 5
    assert found.tokens == sum(json.loads(body)["payload"]["max_tokens"] for _, _, body in worker.heard)
    assert [each.url for each in found.workers] == [worker.url]
    assert found.usd == pytest.approx(0.001 * found.seconds)
    assert found.latency_seconds.p95 is not None
    assert set(plain["lost"]) == {"gateway_refused", "gateway_unreachable", "gateway_nonsense", "out_of_patience"} | {
        *("worker_refused", "worker_nonsense", "worker_too_long", "cut_off")
    }
    assert ElementTree.parse(tmp_path / "run.svg").getroot().tag.endswith("svg")
    assert f"{worker.url}  " in said
    assert f"of {found.due} started" in told
    assert key not in "".join([said, told, *(str(each) for each in worker.heard)])
    assert "Traceback" not in told


def test_a_plain_model_server_is_asked_and_the_gateway_hears_of_the_end(
    gateway: GatewayProcess, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBFLOW_MODEL_KEY", "m" * 20)
    served = gateway.operator("GET", f"endpoints/{ENDPOINT}")["served"]
    words = ["--users", "4", "--probability", "1", "--tick", "0.2", "--rounds", "3", "--json", str(tmp_path / "a.json")]
    with TinyWorker(gateway, is_plain=True) as worker:
        with simulating(gateway, key, *words) as process:
            said, told = process.communicate(timeout=60)
        account = gateway.operator("GET", f"endpoints/{ENDPOINT}")
    assert process.returncode == 0, said + told
    assert read(tmp_path / "a.json")[0].successful == 12
    assert (account["served"] - served, account["in_flight_requests"]) == (12, 0), "it is told by clients alone"
    assert {path for path, _, _ in worker.heard} == {"/v1/completions"}
    assert all(f"Bearer {'m' * 20}" in headers and key not in headers + body for _, headers, body in worker.heard)
    assert "m" * 20 not in said + told


def test_a_run_that_is_interrupted_tells_what_it_came_to(gateway: GatewayProcess, key: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    with simulating(gateway, key, "--rate", "20", "--seconds", "600", "--json", str(file)) as process:
        waits = time.monotonic() + 30
        while not gateway.operator("GET", f"endpoints/{ENDPOINT}")["queued_requests"]:
            assert time.monotonic() < waits, "nobody came"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=30)
    assert process.returncode == 1, said + told
    found, _ = read(file)
    assert (found.was_interrupted, found.finished, found.successful) == (True, 0, 0)
    assert found.lost["cut_off"] == found.started > 0
    assert found.latency_seconds.avg is found.usd is None
    assert "cut off" in said
    assert "Traceback" not in told


def test_a_key_of_nobody_is_refused_before_anybody_is_simulated(gateway: GatewayProcess, key: str) -> None:
    arrived = gateway.operator("GET", f"endpoints/{ENDPOINT}")["arrived"]
    with simulating(gateway, "k" * 40, *RATE) as process:
        _, told = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "refused, and nobody was simulated: HTTP 401: Authentication failed" in told
    assert gateway.operator("GET", f"endpoints/{ENDPOINT}")["arrived"] == arrived


@pytest.mark.soak
def test_the_vendors_own_workers_serve_simulated_clients(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway:
        key = gateway.endpoint()
        with vendor_workers(gateway, {1: 200.0, 2: 200.0}) as workers:
            for way in ("--stream", "--no-stream"):
                file = tmp_path / "run.json"
                words = ["--rate", "4", "--seconds", "4", "--tokens", "40", way, "--json", str(file)]
                with simulating(gateway, key, *words) as process:
                    said, told = process.communicate(timeout=120)
                assert process.returncode == 0, said + told
                found = read(file)[0]
                assert found.successful == found.due > 5
                assert {each.url for each in found.workers} == {worker.url for worker in workers}
                first, whole = found.first_token_seconds.avg, found.latency_seconds.avg
                assert first is not None
                assert whole is not None
                assert (first < whole / 2) is (way == "--stream")
