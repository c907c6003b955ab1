"""Launches one worker in a process of its own, for tests that kill it: settings as JSON, the id, and where to die."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.local import LocalProgram
from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.adapters.providers.host.processes import start_detached
from ebbflow.core.instance import LaunchRequest

(settings, worker_id, dies) = sys.argv[1:]


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path, kept_fd: int) -> int:
    if dies == "before-start":
        os.kill(os.getpid(), signal.SIGKILL)
    if dies == "between-fork-and-exec":
        # The child has what it inherited, and neither its program nor its environment.
        if pid := os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
            return pid
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        time.sleep(60)
        os._exit(1)
    pid = start_detached(command, environment, folder, kept_fd)
    if dies == "after-start":
        os.kill(os.getpid(), signal.SIGKILL)
    return pid


provider = HostAdapter(LocalProgram(LocalSettings.model_validate_json(settings)), start=start)
request = LaunchRequest(worker_id, worker_id.split("-")[0], "homea")
print(asyncio.run(provider.launch(request)).state.value)
