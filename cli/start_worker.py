"""`ebbflow start-worker`: the start script of SwarmUI's own auto-scaling backend, which launches through a fleet.

Source: SwarmUI docs/Features/AutoScalingBackend.md; what it does around a script is measured on 0.9.8.2.
"""

import asyncio
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import anyio
import typer

from ebbflow.cli.overrides import seconds_of
from ebbflow.cli.speaking import Ended
from ebbflow.core.errors import FleetError
from ebbflow.core.text import one_line

RETRIES = 1
"""Attempts of the master's after its first: others of its entries begin one after another, and wait for these."""
LONGEST_REASON = 300
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOGS = Path("~/.ebbflow/start-worker")
"""Where everything goes that is no message: the master reads no error output before an address, and stands still."""


def start_worker(
    fleet: Annotated[
        str | None, typer.Option("--fleet", "-f", help="Its name; may be left out where there is one.")
    ] = None,
    wait: Annotated[str, typer.Option(metavar="TIME", help="For the worker to serve: 90s, 15m.")] = "15m",
) -> None:
    """Launch one worker of a fleet for SwarmUI's own auto-scaling backend, and print its address once it serves.

    To be called by a file of its own per fleet (`ebbflow init swarmui-start-script`), which that backend runs; whatever
    it passes besides is ignored. It prints that protocol and nothing else, and exits with 0, also when it is ended.
    """
    told, seconds = _Told(_set_apart(fleet or "only")), 0.0
    try:
        seconds = seconds_of(wait, "--wait")
        for number in ENDS:
            signal.signal(number, signal.default_int_handler)
        told.url(asyncio.run(_started(fleet, seconds)))
    except (FleetError, TimeoutError, asyncio.CancelledError, KeyboardInterrupt) as error:
        told.failed(_words(error, seconds))
    except Ended as error:
        told.failed(error.text)
    except Exception as error:
        told.failed(f"a mistake of ebbflow's: {type(error).__name__}: {error}")
        traceback.print_exc()


async def _started(fleet: str | None, seconds: float) -> str:
    from ebbflow.cli.serving import connected
    from ebbflow.flows.handing_over import start_one

    task = asyncio.current_task()
    assert task is not None, "asyncio runs it"
    for number in ENDS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with anyio.fail_after(seconds):
        async with connected() as client:
            return await start_one(client, fleet, reason="the auto-scaling backend asked for one")


def _words(error: BaseException, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no worker served within {seconds:g} s; who still comes is ended by the fleet"
    if isinstance(error, FleetError):
        return str(error)
    return "it was told to end; who still comes is ended by the fleet"


def _set_apart(name: str) -> int:
    """Keep standard output for the protocol, and let all that anybody else prints go into a file."""
    messages = os.dup(1)
    log = LOGS.expanduser() / f"{re.sub('[^a-z0-9-]', '', name) or 'fleet'}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    return messages


class _Told:
    """What the master reads, each message whole, once, and at once."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._is_over = False

    def url(self, url: str) -> None:
        """The worker serves at an address."""
        self._say(f"DoRetries: {RETRIES}")
        self._say(f"NewURL: {url}")
        self._is_over = True

    def failed(self, why: str) -> None:
        """There is none, and why: one line, in which nothing looks like a message."""
        if not self._is_over:
            self._say(f"DeclareFailed: {one_line(why, LONGEST_REASON).replace('[', '(').replace(']', ')')}")

    def _say(self, message: str) -> None:
        line = f"[SwarmAutoScaleBackend]{message}[/SwarmAutoScaleBackend]\n".encode()
        try:
            os.write(self._messages, line)
        except OSError:
            # Nobody reads it any more, and the worker is the fleet's to end.
            self._is_over = True
