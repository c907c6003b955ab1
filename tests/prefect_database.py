"""The database of a new Prefect server, made once for this clone: that takes longer than the rest of a start."""

import fcntl
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.extra_environment import ROOT

MADE = ROOT / "build" / "prefect-databases"
NAME = "prefect.db"
UPGRADE_SECONDS = 300


def give_database(home: Path, environment: Mapping[str, str], *, made: Path = MADE) -> None:
    """Put an empty database of the installed Prefect into a server's home, as the server itself would make it.

    Others who ask while the first one makes it wait.

    Args:
        home: of a server that never ran.
        environment: of the server.
        made: where databases are kept.

    Raises:
        subprocess.CalledProcessError: Prefect could not make one.
    """
    kept = made / f"{version('prefect')}-{sqlite3.sqlite_version}.db"
    made.mkdir(parents=True, exist_ok=True)
    with (made / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with TemporaryDirectory(dir=made) as new:
                _make(Path(new), environment)
                (Path(new) / NAME).rename(kept)
    shutil.copyfile(kept, home / NAME)


def _make(home: Path, environment: Mapping[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        env={**environment, "PREFECT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=UPGRADE_SECONDS,
    )
