"""The turn server and its client: what is run there, what is not, and that nothing is lost or run twice for it.

A run without a number ends at once with words of Prefect's engine, so that no Prefect server is needed here.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ebbflow.flows import autoscale
from ebbflow.services.runner.line import MOST_PATH_BYTES, SOCKET, Broken, Unsafe, check_place, receive, send

AUTOSCALE = "ebbflow.flows.autoscale.autoscale"
ENGINE_SAID = "Expected PREFECT__FLOW_RUN_ID to contain a UUID"
CLIENT = [sys.executable, "-m", "ebbflow.cli", "run-turn"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the socket, in a folder of this user alone."""
    folder = tmp_path_factory.mktemp("t")
    folder.chmod(0o700)
    return folder / "s"


@contextmanager
def served(place: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "ebbflow.services.runner.server", str(place)]
    with subprocess.Popen(command, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert "answers at" in server.stdout.readline()
            yield server
        finally:
            server.terminate()
            server.wait(timeout=20)


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[subprocess.Popen[str]]:
    with served(place) as made:
        yield made


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLIENT, *words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def asked(place: Path, environment: Mapping[str, str] | None = None, files: int = 3) -> socket.socket:
    """A client by hand."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(place))
    said = {"entrypoint": AUTOSCALE, "environment": dict(environment or os.environ), "folder": "/"}
    send(connection, said, files=(0, 1, 2)[:files])
    return connection


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_run_goes_to_the_server_with_its_files_environment_and_exit_code(
    place: Path, server: subprocess.Popen[str]
) -> None:
    done = run(AUTOSCALE, **{SOCKET: str(place)})
    assert done.returncode == 1
    assert ENGINE_SAID in done.stderr
    assert "not by the turn server" not in done.stderr


@pytest.mark.parametrize("words", [[], ["--what"], ["a.b", "c.d"]])
def test_a_client_that_is_asked_for_nothing_says_what_it_takes(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "run-turn" in done.stdout + done.stderr


def test_a_flow_of_somebody_else_is_a_python_of_its_own(place: Path, server: subprocess.Popen[str]) -> None:
    done = run("their.flows.flow", **{SOCKET: str(place)})
    assert ENGINE_SAID in done.stderr
    assert psutil.Process(server.pid).children() == []


@pytest.mark.parametrize("what", ["nobody listens", "nothing is there", "a folder of others", "too long a path", ""])
def test_where_there_is_no_server_to_be_trusted_the_plain_command_runs(tmp_path: Path, what: str) -> None:
    folder = tmp_path / ("x" * 120 if what == "too long a path" else "f")
    folder.mkdir(mode=0o777 if what == "a folder of others" else 0o700)
    folder.chmod(0o777 if what == "a folder of others" else 0o700)
    path = folder / "s"
    if what == "nobody listens":
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stale:
            stale.bind(str(path))
    done = run(AUTOSCALE, **{SOCKET: str(path) if what else ""})
    assert (done.returncode, ENGINE_SAID in done.stderr) == (1, True)
    assert ("not by the turn server" in done.stderr) == bool(what)


def test_a_client_that_goes_before_its_word_leaves_nothing_behind(place: Path, server: subprocess.Popen[str]) -> None:
    connection = asked(place)
    said, _ = receive(connection)
    assert psutil.pid_exists(said["child"])
    connection.close()
    until(lambda: not psutil.pid_exists(said["child"]), "the child ends without having run")


@pytest.mark.parametrize("said", [b"no JSON\n", b'{"entrypoint": 7}\n', b"[]\n", b"x"])
def test_nonsense_and_half_a_line_are_refused_and_the_next_one_is_served(
    place: Path, server: subprocess.Popen[str], said: bytes
) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.connect(str(place))
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        assert b"child" not in connection.recv(4096)
    assert ENGINE_SAID in run(AUTOSCALE, **{SOCKET: str(place)}).stderr


def test_a_client_without_its_files_is_refused(place: Path, server: subprocess.Popen[str]) -> None:
    with closing(asked(place, files=2)) as connection:
        said, _ = receive(connection)
    assert said == {"refused": "the client's standard files did not come"}


def test_fifty_at_once_are_served(place: Path, server: subprocess.Popen[str]) -> None:
    connections = [asked(place) for _ in range(50)]
    children = [receive(connection)[0]["child"] for connection in connections]
    assert len(set(children)) == 50
    for connection in connections:
        send(connection, {"go": True})
    assert [receive(connection)[0] for connection in connections] == [{"code": 1}] * 50
    for connection in connections:
        connection.close()


def test_a_child_that_is_killed_ends_its_client_by_the_same_signal(place: Path, server: subprocess.Popen[str]) -> None:
    with closing(asked(place)) as connection:
        child = receive(connection)[0]["child"]
        os.kill(child, signal.SIGKILL)
        assert receive(connection)[0] == {"signal": signal.SIGKILL}


def test_a_server_of_older_code_refuses_and_ends_so_that_another_one_starts(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    place = tmp_path / "s"
    with served(place) as server:
        files = Path(autoscale.__file__ or "")
        before = files.stat()
        os.utime(files, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        try:
            done = run(AUTOSCALE, **{SOCKET: str(place)})
            assert "the installed code is newer than this server" in done.stderr
            assert ENGINE_SAID in done.stderr
            assert server.wait(timeout=20) == 75
        finally:
            os.utime(files, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_two_servers_do_not_share_a_socket_and_one_of_the_dead_is_taken_over(
    place: Path, server: subprocess.Popen[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "ebbflow.services.runner.server", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"another turn server answers at {place}" in done.stderr
    tmp_path.chmod(0o700)
    stale = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as dead:
        dead.bind(str(stale))
    with served(stale):
        assert ENGINE_SAID in run(AUTOSCALE, **{SOCKET: str(stale)}).stderr


def test_a_place_that_others_could_have_made_is_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(Unsafe, match="must be a folder of this user, closed to others"):
        check_place(tmp_path / "s")
    with pytest.raises(Unsafe, match=f"longer than the {MOST_PATH_BYTES} bytes"):
        check_place(tmp_path / ("s" * 120))


class Gone(socket.socket):
    """The other side has read all and gone before the sender comes back."""

    def sendmsg(self, *given: Any) -> int:
        (buffers, *_) = given
        return sum(len(each) for each in buffers)

    def send(self, *given: Any) -> int:
        raise BrokenPipeError


def test_regression_a_line_failed_whose_answer_came_before_its_sender_was_back() -> None:
    with closing(Gone(socket.AF_UNIX, socket.SOCK_STREAM)) as gone:
        send(gone, {"a": 1})


def test_a_line_that_does_not_end_is_not_read_for_ever() -> None:
    here, there = socket.socketpair()
    with closing(here), closing(there):
        there.sendall(json.dumps({"a": "x" * 1000}).encode())
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(Broken):
            receive(here)
