"""How long the command takes to be there, against Prefect's own: side by side, the best of several starts each."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.world import tell

ROOT = Path(__file__).parents[2]
STARTS = 7
COMMANDS = {
    "ebbflow --help": ("ebbflow", "--help"),
    "ebbflow check --offline": ("ebbflow", "check", "--offline", "prefect.yaml"),
}


def measure(starts: int = STARTS) -> None:
    """Print each command's start as a share of `prefect --help`; the goal is 0.3 at most."""
    prefect = _best_seconds(("prefect", "--help"), starts)
    for name, command in COMMANDS.items():
        tell(f"{name}: {_best_seconds(command, starts) / prefect:.2f}x of prefect --help (goal 0.3x)")


def _best_seconds(command: Sequence[str], starts: int) -> float:
    program = Path(sys.executable).with_name(command[0])
    seconds = []
    for _ in range(starts):
        began = time.monotonic()
        subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, check=True, timeout=120)
        seconds.append(time.monotonic() - began)
    return min(seconds)
