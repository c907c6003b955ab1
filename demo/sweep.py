"""The demo's last word: nothing that carries its mark is left, whoever started it and in whatever session it runs."""

import asyncio
import os
import time
from collections.abc import Collection
from contextlib import suppress

import psutil

from ebbflow.core import worker_environment
from ebbflow.core.instance import InstanceState
from ebbflow.core.ports import Provider
from ebbflow.demo.place import MARK

SWEEP_SECONDS = 15.0
LOOKS_APART_SECONDS = 0.2
END_TURNS = 10
ENDED = frozenset({InstanceState.GONE, InstanceState.FAILED})


async def end_gpu_workers(provider: Provider, fleet: str) -> int:
    """Terminate every GPU worker that the provider lists, and return how many there were.

    Call it when nobody is left who launches any.

    Raises:
        FleetError: one could not be ended.
    """
    listing = await provider.list_instances(fleet)
    alive = [instance for instance in listing.instances if instance.state not in ENDED]
    for _ in range(END_TURNS):
        # Accepted is not gone: an ending may take more calls than one.
        await asyncio.gather(*(provider.terminate(instance) for instance in alive))
        listing = await provider.list_instances(fleet)
        if all(instance.state in ENDED for instance in listing.instances):
            break
    return len(alive)


def sweep(word: str, *, sessions: Collection[int] = (), gpu_workers: bool = True) -> list[int]:
    """Kill what still carries the mark, until two looks in a row find nothing; return the ids of what was found.

    Two looks, because a process between `exec` and its first instruction shows no environment.

    Args:
        word: the mark's value.
        sessions: processes of these sessions are spared.
        gpu_workers: whether GPU workers go as well.
    """
    found: set[int] = set()
    deadline = time.monotonic() + SWEEP_SECONDS
    clean = 0
    while clean < 2 and time.monotonic() < deadline:
        left = [process for process in find_marked(word, gpu_workers=gpu_workers) if not _is_of(process, sessions)]
        clean = 0 if left else clean + 1
        for process in left:
            found.add(process.pid)
            # psutil compares the start time first, so that it never hits another process with the same id.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(LOOKS_APART_SECONDS)
    return sorted(found)


def find_marked(word: str, *, gpu_workers: bool = True) -> list[psutil.Process]:
    """The live processes that carry a demo's mark, but for this one."""
    return [process for process in psutil.process_iter() if _carries(process, word, gpu_workers)]


def _carries(process: psutil.Process, word: str, gpu_workers: bool) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        environment = process.environ()
        is_marked = environment.get(MARK) == word and (gpu_workers or worker_environment.WORKER_ID not in environment)
        return is_marked and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _is_of(process: psutil.Process, sessions: Collection[int]) -> bool:
    try:
        return os.getsid(process.pid) in sessions
    except ProcessLookupError:
        return True
