"""A real PostgreSQL on loopback, in a temporary folder, that a test may stop for a while. Debian's package."""

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from ebbflow.standins.process import free_port

HOW_TO_INSTALL = "PostgreSQL is not installed: apt-get install --no-install-recommends postgresql"
SECONDS = 60


class Postgres:
    """One cluster.

    Args:
        programs: the folder of its programs.
        folder: for its data; whoever runs the server must own it.
        account: who runs it, where we are root: the server refuses that.
    """

    def __init__(self, programs: Path, folder: Path, account: str | None) -> None:
        self._programs, self._folder, self._account = programs, folder, account
        self._numbers = itertools.count(1)
        self.port = free_port()
        self.url = f"postgresql+asyncpg://ebbflow@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        self._run("initdb", "--pgdata", str(self._folder), "--username", "ebbflow", "--auth", "trust", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = str(self._folder / "server.log")
        self._run("pg_ctl", "start", "--wait", "--pgdata", str(self._folder), "--options", options, "--log", log)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--pgdata", str(self._folder), "--mode", "immediate")

    def empty_database(self) -> str:
        """The URL of a new one."""
        # The number is the server's own: pytest imports a conftest under a second name, with globals of its own.
        name = f"gateway_{next(self._numbers)}"

        async def make() -> None:
            engine = create_async_engine(self.url, isolation_level="AUTOCOMMIT")
            try:
                async with engine.connect() as connection:
                    await connection.execute(text(f"CREATE DATABASE {name}"))
            finally:
                await engine.dispose()

        asyncio.run(make())
        return self.url.rpartition("/")[0] + f"/{name}"

    def is_running(self) -> bool:
        return (self._folder / "postmaster.pid").exists()

    def _run(self, program: str, *words: str) -> None:
        command: Sequence[str] = (str(self._programs / program), *words)
        done = subprocess.run(
            command,
            user=self._account,
            group=self._account,
            extra_groups=None if self._account is None else [],
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            # The server outlives `pg_ctl`, and would keep a pipe open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """One that runs.

    Raises:
        pytest.skip.Exception: it is not installed. In CI a skipped test fails the run.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip(HOW_TO_INSTALL)
    account = "postgres" if os.geteuid() == 0 else None
    # Not pytest's own folder, into which nobody else may look.
    with tempfile.TemporaryDirectory(prefix="ebbflow-postgres-") as folder:
        if account:
            shutil.chown(folder, account, account)
        made = Postgres(programs[-1].parent, Path(folder) / "data", account)
        made.make()
        made.start()
        try:
            yield made
        finally:
            if made.is_running():
                made.stop()
