"""The command at servers that are not ours to choose: older ones, Prefect Cloud's shape, and terminals of all kinds."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ebbflow.cli.deploying import deploy
from ebbflow.core.errors import FleetError
from tests.cli.test_check import FILE

COMMAND = [sys.executable, "-m", "ebbflow.cli"]


@contextmanager
def server_that_says(
    version: str | None, *, base: str = "/api", otherwise: int = 404, asked: list[str] | None = None
) -> Iterator[str]:
    """A server with nothing in it, which tells its version or, as Prefect Cloud does, none; gives its API's address.

    Args:
        otherwise: the status of all that it does not know.
        asked: gets the paths of that.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answers: dict[str, Any] = {
                "/health": True,
                "/variables/filter": [],
                "/work_pools/filter": [],
                "/block_documents/filter": [],
                **({"/admin/version": version} if version else {}),
            }
            path = self.path.removeprefix(base).split("?")[0].rstrip("/")
            body = json.dumps(answers.get(path, {"detail": "Not Found"})).encode()
            if asked is not None and path not in answers:
                asked.append(path)
            self.send_response(200 if path in answers else otherwise)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{base}"
    finally:
        server.shutdown()
        server.server_close()


def yaml_files(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.suffix == ".yaml"]


def check(url: str, folder: Path) -> tuple[int, str]:
    (folder / "prefect.yaml").write_text(FILE, encoding="utf-8")
    environment = {**os.environ, "PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "home")}
    done = subprocess.run(
        [*COMMAND, "check", str(folder)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_server_that_is_too_old_is_named_with_what_to_do(tmp_path: Path) -> None:
    with server_that_says("3.4.25") as url:
        code, said = check(url, tmp_path)
    assert (code, "server 3.4.25, here" in said, "older than 3.8; upgrade it first, then its workers" in said) == (
        1,
        True,
        True,
    ), said


def test_a_server_of_prefect_clouds_shape_is_asked_all_the_same(tmp_path: Path) -> None:
    base = "/api/accounts/8d4ff3f4-6a3a-4d2a-9fd4-0a5b6d1c2e3f/workspaces/1c2e3f8d-4ff3-4f6a-83a4-d2a9fd40a5b6"
    with server_that_says(None, base=base) as url:
        code, said = check(url, tmp_path)
    assert "ok      Prefect: server of unknown version, here" in said, said
    assert "to make work pool 'gpu': is not there yet: `ebbflow up` makes it" in said
    assert "Traceback" not in said
    assert code == 1, "the fleet's blocks are not there"


@pytest.mark.anyio
async def test_a_deploy_that_a_busy_server_refuses_six_times_is_tried_again_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE, encoding="utf-8")
    asked: list[str] = []
    with server_that_says("3.8.8", otherwise=503, asked=asked) as url:
        # The client's own tries take a minute.
        settings = {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_CLIENT_MAX_RETRIES": "0"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(FleetError, match=r"(?s)`prefect deploy` ended with code 1: .*503 Service Unavailable"):
            await deploy(file, file.read_text(encoding="utf-8"), [0])
    assert len(asked) == 3
    assert capsys.readouterr().out.count("too busy (503): `prefect deploy` runs again") == 2
    assert yaml_files(tmp_path) == ["prefect.yaml"]


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "1"}, {"COLUMNS": "0"}, {"COLUMNS": "wide"}, {"TERM": ""}],
    ids=str,
)
def test_a_terminal_without_colour_or_width_shows_all_that_there_is(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "prefect.yaml").write_text(FILE, encoding="utf-8")
    ours, theirs = pty.openpty()
    command = [*COMMAND, "check", "--offline", str(tmp_path)]
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert process.wait(30) == 0, said
    plain = said.decode()
    if "COLUMNS" not in environment:
        assert "\x1b" not in plain
    assert "autoscale/sdxl" in plain.replace("\r\n", "")


def test_a_pipe_that_its_reader_closes_is_no_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text(FILE, encoding="utf-8")
    line = f"{' '.join(COMMAND)} check --offline {tmp_path} | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == "o"
