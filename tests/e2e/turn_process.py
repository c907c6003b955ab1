"""One run of a flow as a plain process that can kill itself with SIGKILL at a chosen outside call.

Nothing of ours is replaced: only `httpx.AsyncClient.send` and `subprocess.Popen` are watched, and the process dies
right after (or before) the call that fits. `python turn_process.py '{"flow": "autoscale", "parameters": {...}, ...}'`,
or, where there are many, forked by a process that has imported the flows: the import takes longer than the run.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from prefect.context import root_settings_context

from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.scale_down import scale_down
from ebbflow.flows.scale_up import scale_up


def die() -> None:
    """End as `kill -9` does: no line runs after this one."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_request(pattern: str, *, before: bool, count: int, after_popen: bool) -> None:
    """Die at the count-th request whose `METHOD path body` fits."""
    wanted, seen, original = re.compile(pattern), 0, httpx.AsyncClient.send

    async def send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        nonlocal seen
        body = request.read().decode("utf-8", "replace") if hasattr(request, "_content") else ""
        fits = wanted.search(f"{request.method} {request.url.path} {body}") and (STARTED or not after_popen)
        seen += bool(fits)
        is_the_one = bool(fits) and seen == count
        if is_the_one and before:
            die()
        response = await original(self, request, **options)
        if is_the_one:
            die()
        return response

    httpx.AsyncClient.send = send  # type: ignore[method-assign]


STARTED: list[int] = []


def watch_starts(die_at: int) -> None:
    """Die right after the die_at-th worker or submission was forked, before anything is written down; 0: only watch."""
    original = subprocess.Popen.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        words = arguments[0] if arguments else options.get("args")
        submits = isinstance(words, (list, tuple)) and words[0] == "sbatch"
        if submits or "EBBFLOW_WORKER_ID" in (options.get("env") or {}):
            STARTED.append(self.pid)
            if len(STARTED) == die_at:
                die()

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]


def run(plain: str) -> None:
    """Run the flow, with the crash armed."""
    options = json.loads(plain)
    flows: dict[str, Any] = {"autoscale": autoscale, "scale_up": scale_up, "scale_down": scale_down}
    watch_starts(options.get("die_at_start", 0))
    if pattern := options.get("die_at"):
        die_at_request(
            pattern,
            before=options.get("before", False),
            count=options.get("count", 1),
            after_popen=options.get("after_popen", False),
        )
    state = asyncio.run(flows[options["flow"]](**options["parameters"], return_state=True))
    print(f"ended: {state.name}: {state.message}", flush=True)


def run_forked(plain: str, environment: Mapping[str, str], log: Path) -> None:
    """The same in a process that was forked after the import: with an environment, and into a file."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    # The settings were read when Prefect was imported, from another environment.
    with root_settings_context():
        run(plain)


if __name__ == "__main__":
    run(sys.argv[1])
