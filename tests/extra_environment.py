"""Virtual environments for packages that do not fit beside ours: one for each list in `tests/environments/`."""

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TextIO

import pytest

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "environments"
MADE = ROOT / "build" / "environments"
# For each of pip's requests, so that without a network it ends soon. Whoever sets their own gets them.
BOUNDS = {"PIP_DEFAULT_TIMEOUT": "20", "PIP_RETRIES": "2"}
LAST_LINES = 4


class CannotBeMadeError(Exception):
    """Pip refused; the last lines of what it said."""


def environment(name: str, *, lists: Path = LISTS, made: Path = MADE) -> Path:
    """Where the programs of a list are: the `bin` of its environment, which the first one who asks makes.

    It is made once for this clone, interpreter and list. Others who ask meanwhile wait. One that was interrupted, also
    by a kill, is made again.

    Args:
        name: of the list, without its ending.
        lists: the folder that holds it.
        made: where environments are kept.

    Raises:
        pytest.skip.Exception: it cannot be made, for instance without a network. In CI a skipped test fails the run.
    """
    wanted = lists / f"{name}.txt"
    place = made / name
    place.mkdir(parents=True, exist_ok=True)
    folder = place / _key(wanted, place)
    with (place / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "finished").exists():
            try:
                _make(folder, wanted, lock)
            except CannotBeMadeError as error:
                pytest.skip(f"{wanted} could not be installed: {error}")
    return folder / "bin"


def _key(wanted: Path, place: Path) -> str:
    """A name that changes with whatever an environment is made from; its programs hold the path that they lie at."""
    made_from = (wanted.read_text(encoding="utf-8"), sys.version, sys.base_prefix, str(place.resolve()))
    digest = hashlib.sha256("\n".join(made_from).encode()).hexdigest()
    return f"{sys.version_info[0]}.{sys.version_info[1]}-{digest[:16]}"


def _make(folder: Path, wanted: Path, lock: TextIO) -> None:
    # What an interrupted one left is cleared first. The mark is the last thing, so it stands only where all is there.
    venv.create(folder, clear=True, with_pip=False)
    # The list is the whole truth: what it forgets must not come in unpinned, and is named by the check.
    _pip(folder, lock, "install", "--quiet", "--no-deps", "--requirement", str(wanted))
    _pip(folder, lock, "check")
    (folder / "finished").touch()


def _pip(folder: Path, lock: TextIO, *words: str) -> None:
    """Run our own pip for that environment; making another one there takes seconds."""
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-input", *words],
        env={**BOUNDS, **os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        # A pip that outlives this process keeps the lock, so that nobody clears the folder while it still writes.
        pass_fds=[lock.fileno()],
    )
    if done.returncode:
        raise CannotBeMadeError(" | ".join(done.stdout.strip().splitlines()[-LAST_LINES:]))
