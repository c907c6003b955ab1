"""`ebbflow runner`: Prefect's own worker, beside it the turn server that its runs go through, and a poller.

The worker is Prefect's, unchanged: it polls, limits, cancels and reports as ever. Only the command of a run is ours.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from ebbflow.services.runner.line import MOST_PATH_BYTES, POLLER, POOL, RUNNER, SOCKET
from ebbflow.services.runner.server import OLD

END_SECONDS = 30.0
LETTERS_OF_OURS = len("/ebbflow-12345678/turns")
AGAIN_SECONDS = 5.0
"""Before a server that ended by itself is started again."""
LOOKS_FOR_SERVER = 100
LOOK_SECONDS = 0.3
"""A poller that comes before the server answers would be a Python of its own."""


async def run(pool: str, worker_words: Sequence[str]) -> int:
    """Run both until the worker ends, or until SIGTERM or SIGINT; the worker's exit code.

    Args:
        pool: that the worker asks for runs.
        worker_words: more of `prefect worker start`.
    """
    # What is ignored here stays so in what is started, and Prefect's worker could not be ended: as after `nohup ... &`.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _private_folder() as folder:
        environment = _environment(folder / "turns") | {POOL: pool, RUNNER: str(os.getpid())}
        async with anyio.create_task_group() as group:
            group.start_soon(_keep_server, folder / "turns", environment)
            words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
            code = await _worker([*words, *worker_words], environment)
            group.cancel_scope.cancel()
        return code


async def _worker(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Prefect's worker; a signal is its to end by."""
    # A session of its own, or Ctrl-C of a terminal would reach it twice, which makes it leave its runs.
    worker = await anyio.open_process(
        words, env=dict(environment), stdin=subprocess.DEVNULL, stdout=None, stderr=None, start_new_session=True
    )
    async with worker, anyio.create_task_group() as group:
        group.start_soon(_pass_on, worker)
        code = await worker.wait()
        group.cancel_scope.cancel()
    return code


async def _pass_on(worker: Process) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            with suppress(ProcessLookupError):
                worker.send_signal(number)


async def _keep_server(path: Path, environment: Mapping[str, str]) -> None:
    """One turn server after the other; without one every run is a Python of its own."""
    words = [sys.executable, "-m", "ebbflow.services.runner.server", str(path)]
    while True:
        # Of one that was killed: nobody shall take it for a server that answers.
        await anyio.Path(path).unlink(missing_ok=True)
        # As above: the worker's runs go on until it has ended.
        async with _started(words, environment) as server, anyio.create_task_group() as group:
            # It is of the same code as its server, and ends with it.
            group.start_soon(_keep_poller, path, environment)
            code = await server.wait()
            group.cancel_scope.cancel()
        if code != OLD:
            print(f"the turn server ended with code {code}: runs are Pythons of their own until it is back", flush=True)
            await anyio.sleep(AGAIN_SECONDS)


async def _keep_poller(path: Path, environment: Mapping[str, str]) -> None:
    """One poller after the other, unless one has nobody to ask; without one, turns come as they are due."""
    for _ in range(LOOKS_FOR_SERVER):
        if await anyio.Path(path).exists():
            break
        await anyio.sleep(LOOK_SECONDS)
    while True:
        words = [sys.executable, "-m", "ebbflow.services.runner.client", POLLER]
        async with _started(words, environment) as poller:
            code = await poller.wait()
        if code == 0:
            return
        print(f"the poller ended with code {code}: nobody looks between turns until it is back", flush=True)
        await anyio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def _started(words: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[Process]:
    """A process in a session of its own, which is ended with this block."""
    made = await anyio.open_process(
        words, env=dict(environment), stdin=subprocess.DEVNULL, stdout=None, stderr=None, start_new_session=True
    )
    try:
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            await _end(made)


async def _end(made: Process) -> None:
    with suppress(ProcessLookupError):
        made.terminate()
    with anyio.move_on_after(END_SECONDS):
        await made.wait()
        return
    with suppress(ProcessLookupError):
        made.kill()


def _environment(socket: Path) -> dict[str, str]:
    """A run's command is found where this Python is, however the runner was started."""
    here = str(Path(sys.executable).parent)
    return {**os.environ, SOCKET: str(socket), "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)])}


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Of this user alone, with a short name: a socket's path has few letters."""
    made = Path(tempfile.mkdtemp(prefix="ebbflow-", dir=_short_folder()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _short_folder() -> str:
    """The first of the usual ones whose name leaves room for ours."""
    named = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()]
    short = (each for each in named if each and len(os.fsencode(each)) < MOST_PATH_BYTES - LETTERS_OF_OURS)
    return next(short, "/tmp")
