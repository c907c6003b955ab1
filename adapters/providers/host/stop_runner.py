"""Runs a stop script within its time and leaves behind what came of it. A program: `python -I -S stop_runner.py ...`.

A stop script may take longer than the call that started it, and may outlive the flow run. Only a parent learns an exit
code, so this is its parent. Standard library only, nothing of ours: it starts in a few milliseconds.

Arguments: seconds, file of the result, the script and its arguments.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence


def run(seconds: float, command: Sequence[str]) -> tuple[int, str]:
    """Run a command in a group of its own; its exit code and what else is to be said."""
    try:
        # Descriptors are handed on: the lock among them says that the script runs, should this program be killed.
        child = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, process_group=0, close_fds=False)
    except OSError as error:
        return 127, f"could not be started: {error.strerror}"
    try:
        return child.wait(seconds), ""
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.wait(), f"took longer than {seconds:g} s and was killed"


def main() -> None:
    """Run, then put the result in place whole."""
    seconds, result, *command = sys.argv[1:]
    code, problem = run(float(seconds), command)
    aside = f"{result}.{os.getpid()}"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump({"code": code, "problem": problem}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, result)


if __name__ == "__main__":
    main()
