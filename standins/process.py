"""Servers as child processes: started in a group of their own, awaited by a question, ended by id whatever happens."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil

END_GRACE_SECONDS = 10.0
LOG_TAIL_CHARACTERS = 3000

PREFECT_WITHOUT_PAUSES = "import gc, runpy; gc.disable(); runpy.run_module('prefect', run_name='__main__')"
"""`python -c` of this is `prefect`, for a server that lives for minutes and keeps all in SQLite.

Measured with Prefect 3.8.8, aiosqlite 0.22 and Python 3.11: the server's garbage collector resets a cursor of its
database from the thread of the event loop. Where that cursor's connection waits just then for another one's
transaction, the loop stands still, so the transaction cannot be finished, and nobody is answered until SQLite's
waiting time of a minute is over. Nine requests at once are enough. With PostgreSQL there is no such wait.
"""


PORTS = range(20_000, 30_000)
"""Below what Linux (from 32,768 on) and macOS (from 49,152 on) give to connections, and a node of Kubernetes to
services (from 30,000 on); above what a Ray head gives to its workers (up to 19,999), and will have nobody take."""


class NotReadyError(RuntimeError):
    """A server ended, or did not answer in time; the message ends with what it logged."""


def free_port(*, neighbours: int = 0) -> int:
    """A loopback port that nobody listens on now, nor on the next ones after it.

    It lies below those from which a system takes the near end of a connection: between this answer and whoever listens
    there, a connection of somebody else would take it, and whoever asks a port again and again would reach itself.

    Raises:
        OSError: all are taken.
    """
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with ExitStack() as probes, suppress(OSError):
            for place in range(neighbours + 1):
                probes.enter_context(closing(socket.socket())).bind(("127.0.0.1", port + place))
            return port
    raise OSError(f"no loopback port from {PORTS[0]} to {PORTS[-1]} is free")


def answers(url: str) -> bool:
    """Whether a GET of the address answers 200."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@contextmanager
def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    is_ready: Callable[[], bool] | None = None,
    timeout_seconds: float = 120.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends.

    Args:
        command: program and arguments.
        environment: all that it gets.
        log: a file for both of its outputs.
        is_ready: asked until it says yes; None: ready at once.
        timeout_seconds: for getting ready.

    Raises:
        NotReadyError: it ended, or never became ready.
    """
    with log.open("wb") as output:
        server = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        if is_ready is not None:
            _wait(server, command, log, is_ready, timeout_seconds)
        yield server
    finally:
        end_group(server)


def _wait(
    server: subprocess.Popen[bytes],
    command: Sequence[str],
    log: Path,
    is_ready: Callable[[], bool],
    timeout_seconds: float,
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and server.poll() is None:
        if is_ready():
            return
        time.sleep(0.1)
    ended = "did not get ready" if server.poll() is None else f"ended with {server.returncode}"
    tail = log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
    raise NotReadyError(f"{' '.join(command[:6])} {ended}; its log ends with:\n{tail}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that share its group: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_group(process, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_GRACE_SECONDS)
            break
    # Children of a leader that ended by itself may be left in its group.
    signal_group(process, signal.SIGKILL)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the group that a process of ours leads, and to nobody else.

    No process gets the number of a group that still has members. So where the leader has been waited for and its number
    is a process again, the group is gone and the number is a stranger's.
    """
    if process.returncode is not None and psutil.pid_exists(process.pid):
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def prefect_environment(home: Path, api_url: str) -> dict[str, str]:
    """What a process needs to talk to one Prefect server, with nothing of the caller's own Prefect in it."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **theirs,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def prefect_server(home: Path, *, port: int, environment: Mapping[str, str]) -> Iterator[str]:
    """A real Prefect server on loopback with a database of its own; gives its API URL."""
    serve = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-c", PREFECT_WITHOUT_PAUSES, *serve]
    url = f"http://127.0.0.1:{port}/api"
    with running(command, environment=environment, log=home / "server.log", is_ready=lambda: answers(f"{url}/health")):
        yield url


@contextmanager
def swarmui_master(folder: Path, *, environment: Mapping[str, str]) -> Iterator[str]:
    """The stand-in SwarmUI master as a process; gives its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = folder / "master.log"
    module = "ebbflow.standins.swarmui.server"
    words = ["--port", str(port), "--data_dir", str(folder), "--is_new", "false", "--websocket_seconds", "0"]
    command = [sys.executable, "-m", module, "master", *words]
    with running(command, environment=environment, log=log, is_ready=lambda: address in log.read_text()):
        yield address


@contextmanager
def vast_market(folder: Path, *, environment: Mapping[str, str], arguments: Sequence[str] = ()) -> Iterator[str]:
    """The stand-in Vast market as a process; gives its address. Its instances end with it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = folder / "vast.log"
    module = "ebbflow.standins.vast.server"
    command = [sys.executable, "-m", module, "--port", str(port), "--folder", str(folder / "instances"), *arguments]
    with running(command, environment=environment, log=log, is_ready=lambda: address in log.read_text()):
        yield address
