"""`ebbflow run-turn ENTRYPOINT`: what a pool's worker starts for each run. Standard library alone, so that it is small.

The turn server forks a child for it, which has everything imported. Where there is no server, or it says no, or it is
not to be trusted, this process becomes the plain command: no turn is lost for the server's sake.
"""

import os
import signal
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ebbflow.services.runner.line import POLLER, SOCKET, Broken, Unsafe, check_peer, check_place, receive, send

OURS = "ebbflow.flows."
ANSWER_SECONDS = 5.0
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
USAGE = 2


def main(words: list[str]) -> int:
    """Run one turn; the exit code is the run's."""
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: ebbflow run-turn ENTRYPOINT, such as ebbflow.flows.autoscale.autoscale", file=sys.stderr)
        return USAGE
    (entrypoint,) = words
    path = os.environ.get(SOCKET, "")
    if path and (entrypoint.startswith(OURS) or entrypoint == POLLER):
        try:
            return _served(Path(path), entrypoint)
        except (_NotServed, Broken, Unsafe, OSError) as error:
            print(f"not by the turn server: {error}", file=sys.stderr)
    _become_plain(entrypoint)


class _NotServed(Exception):
    """The server says no, before anything has run."""


def _served(path: Path, entrypoint: str) -> int:
    """By the turn server.

    Raises:
        _NotServed, Broken, Unsafe, OSError: nothing has run.
    """
    check_place(path)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(path))
        check_peer(connection)
        said = {"entrypoint": entrypoint, "environment": dict(os.environ), "folder": os.getcwd()}
        send(connection, said, files=(0, 1, 2))
        answer, _ = receive(connection)
        child = answer.get("child")
        if not isinstance(child, int) or child <= 1:
            raise _NotServed(str(answer.get("refused") or "it gave no child")[:300])
        _pass_on(child)
        send(connection, {"go": True})
        connection.settimeout(None)
        return _ended(connection)


def _pass_on(child: int) -> None:
    """Let a signal that ends us end the child, which says how."""

    def handle(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, handle)


def _ended(connection: socket.socket) -> int:
    """Wait for the child's end, and end alike."""
    try:
        said, _ = receive(connection)
    except Broken:
        # Nobody is left who knows; whether the run is over, the server of Prefect knows.
        return 1
    number = said.get("signal")
    if isinstance(number, int) and number in signal.valid_signals():
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    code = said.get("code")
    return code if isinstance(code, int) else 1


def _become_plain(entrypoint: str) -> NoReturn:
    words = [POLLER] if entrypoint == POLLER else ["prefect.flow_engine", entrypoint]
    os.execv(sys.executable, [sys.executable, "-m", *words])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
