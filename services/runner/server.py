"""The turn server: imports everything once, and forks for each run. It never runs a flow itself, and has one thread.

`python -m ebbflow.services.runner.server SOCKET`. It ends when it is older than the code that is installed, and whoever
started it starts another one.
"""

import atexit
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import certifi

from ebbflow.services.runner.line import POLLER, Broken, Unsafe, check_peer, check_place, receive, send

FLOWS = (
    "ebbflow.flows.autoscale",
    "ebbflow.flows.scale_up",
    "ebbflow.flows.scale_down",
    "ebbflow.flows.override",
)
IMPORTED = ("prefect", "prefect.main", "prefect.flow_engine", "ebbflow.blocks", POLLER, *FLOWS)
ASK_SECONDS = 5.0
"""For what a client says first."""
AUTHORITIES = "PREFECT_API_SSL_CERT_FILE"
OLD = 75
"""Exit code (EX_TEMPFAIL) of a server that is older than what is installed: start another one."""


class TurnServer:
    """One server.

    Args:
        path: of its socket, in a folder of this user alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._few_authorities = path.with_name("authority.pem")
        self._files = _source_files()
        self._clients: dict[int, socket.socket] = {}
        """By child."""

    def serve(self) -> int:
        """Answer until SIGTERM, or until the code is another one; the exit code.

        Raises:
            Unsafe: somebody else could have made the socket.
        """
        check_place(self._path)
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        ends: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: ends.append(number))
        signal.signal(signal.SIGINT, lambda number, frame: ends.append(number))
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        with closing(_listening(self._path)) as listening, selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            # What was imported stays where it is: a child that counts references to it copies none of its pages.
            self._few_authorities.write_text(_first_authority())
            gc.collect()
            gc.freeze()
            print(f"turn server {os.getpid()} answers at {self._path}", flush=True)
            while not ends:
                for key, _ in selector.select():
                    if key.fileobj is woken:
                        with suppress(BlockingIOError):
                            woken.recv(4096)
                        self._reap()
                    elif not self._accept(listening, (listening, wake, woken)):
                        return self._end(OLD)
        return self._end(0)

    def _accept(self, listening: socket.socket, not_for_children: Iterable[socket.socket]) -> bool:
        """One client; False: it is of newer code than we are."""
        connection, _ = listening.accept()
        connection.settimeout(ASK_SECONDS)
        files: list[int] = []
        try:
            check_peer(connection)
            said, files = receive(connection, files=3)
            refusal = self._refusal(said, files)
            if refusal:
                send(connection, {"refused": refusal})
                connection.close()
                return not self._is_old()
            self._fork(connection, said, files, not_for_children)
        except (Broken, Unsafe):
            connection.close()
        finally:
            for file in files:
                os.close(file)
        return True

    def _refusal(self, said: Mapping[str, object], files: list[int]) -> str:
        """Why a run is better done by a Python of its own; nothing: it is done here."""
        entrypoint, environment, folder = (said.get(key) for key in ("entrypoint", "environment", "folder"))
        if not (isinstance(entrypoint, str) and isinstance(environment, dict) and isinstance(folder, str)):
            return "it was not asked as a client of this version asks"
        if len(files) != 3:
            return "the client's standard files did not come"
        if self._is_old():
            return "the installed code is newer than this server, which ends"
        threads = threading.active_count(), len(os.listdir("/proc/self/task"))
        if threads != (1, 1):
            return f"it has {max(threads)} threads, and a process with several cannot be copied"
        return ""

    def _fork(
        self,
        connection: socket.socket,
        said: Mapping[str, object],
        files: list[int],
        not_for_children: Iterable[socket.socket],
    ) -> None:
        # A signal between the fork and the child's own handlers would be handled as the server's.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
        child = os.fork()
        if child == 0:
            for each in (*not_for_children, *self._clients.values()):
                each.close()
            _live(connection, said, files, blocked, self._few_authorities)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._clients[child] = connection

    def _reap(self) -> None:
        """Tell clients how their children have ended."""
        while self._clients:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            connection = self._clients.pop(child, None)
            if connection is None:
                continue
            is_signal = os.WIFSIGNALED(status)
            said = {"signal": os.WTERMSIG(status)} if is_signal else {"code": os.WEXITSTATUS(status)}
            with suppress(Broken), closing(connection):
                send(connection, said)

    def _is_old(self) -> bool:
        return _source_files() != self._files

    def _end(self, code: int) -> int:
        """Children live on, and tell their clients themselves."""
        self._reap()
        with suppress(FileNotFoundError):
            self._path.unlink()
        return code


def _live(
    connection: socket.socket,
    said: Mapping[str, object],
    files: list[int],
    blocked: Iterable[int],
    few_authorities: Path,
) -> NoReturn:
    """What a child does: wait for the client's word, become as a process of its own, and run."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        send(connection, {"child": os.getpid()})
        receive(connection)
        for standard, file in enumerate(files):
            os.dup2(file, standard)
            os.close(file)
        threading.Thread(target=_end_with_client, args=(connection,), daemon=True).start()
        code = _run(said, few_authorities)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Broken:
        # The client has gone before it said so: it runs it otherwise.
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _finish()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        with suppress(Broken):
            send(connection, {"code": code})
        os._exit(code)


def _run(said: Mapping[str, object], few_authorities: Path) -> int:
    """As `python -m prefect.flow_engine ENTRYPOINT` does, or `python -m` the poller."""
    from prefect import flow_engine
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    environment, folder = said["environment"], said["folder"]
    assert isinstance(environment, dict), "as was looked before"
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(folder))
    sys.argv = ["prefect.flow_engine", str(said["entrypoint"])]
    with _few_authorities(few_authorities):
        refresh_global_settings_context()
    setup_logging()
    if said["entrypoint"] == POLLER:
        from ebbflow.services.runner import poller

        return poller.main()
    return flow_engine._main()


@contextmanager
def _few_authorities(file: Path) -> Iterator[None]:
    """Let settings that are read now name only these authorities, where the Prefect server is asked over plain HTTP.

    Prefect reads certificates for each of its clients, and all of the usual ones take as long as ten requests. For
    plain HTTP they are never looked at.
    """
    is_plain = os.environ.get("PREFECT_API_URL", "").startswith("http://")
    if not is_plain or AUTHORITIES in os.environ or not file.exists():
        yield
        return
    os.environ[AUTHORITIES] = str(file)
    try:
        yield
    finally:
        # Not for what the run starts.
        del os.environ[AUTHORITIES]


def _first_authority() -> str:
    """One certificate: a file with none is refused."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    return first + end


def _finish() -> None:
    """What the interpreter does at its end, which a copy of a process must not reach: the last log lines are sent."""
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    with suppress(Exception):
        atexit._run_exitfuncs()


def _end_with_client(connection: socket.socket) -> None:
    """A client that is killed takes its run along, as if it were the run."""
    with suppress(Broken):
        connection.settimeout(None)
        receive(connection)
    os.kill(os.getpid(), signal.SIGKILL)


def _source_files() -> dict[str, int]:
    """When each file of ours and of Prefect's that was imported was written."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name.partition(".")[0] in ("ebbflow", "prefect"):
            try:
                found[file] = os.stat(file).st_mtime_ns
            except OSError:
                found[file] = 0
    return found


def _listening(path: Path) -> socket.socket:
    """At a socket of this user alone; one that nobody listens at any more is taken over."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            if _answers(path):
                raise Unsafe(f"another turn server answers at {path}")
            path.unlink()
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(128)
    return made


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(ASK_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def main(words: list[str]) -> int:
    """Import, and serve."""
    for name in IMPORTED:
        importlib.import_module(name)
    try:
        return TurnServer(Path(words[0])).serve()
    except Unsafe as error:
        print(f"no turn server: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
