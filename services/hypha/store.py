"""What the service must not forget, in one SQLite file: submissions, their owners, what they printed, its own token.

Each call is one transaction, on disk when it returns: what a caller was told is there after a `kill -9` too.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from ebbflow.core.errors import ConfigError, FleetError
from ebbflow.services.hypha.jobs import ENDED, Job, JobState

T = TypeVar("T")
FILE, LOCK = "jobs.sqlite", "lock"
SCHEMA = 1
BUSY_SECONDS = 10.0
COLUMNS = tuple(each.name for each in fields(Job))
_TABLES = f"""
CREATE TABLE IF NOT EXISTS jobs (
  {", ".join(f"{name}{' INTEGER PRIMARY KEY AUTOINCREMENT' if name == 'number' else ''}" for name in COLUMNS)}
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_id ON jobs (job_id);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (user, key) WHERE key != '';
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE TABLE IF NOT EXISTS results (job_id TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS starts (user TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class StoreError(FleetError):
    """The file could not be written or read; says what was tried. What was asked for was not done."""


class Store:
    """The file.

    Args:
        folder: of this user alone; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._one_at_a_time = anyio.Lock()

    async def open(self) -> None:
        """Make what is missing.

        Raises:
            ConfigError: the folder is not this user's alone, another service uses it, or a newer release has.
            StoreError: it cannot be used.
        """
        self._lock = await to_thread.run_sync(_locked, self._path.parent)
        await self._done("open it", lambda connection: None)

    async def add(self, job: Job) -> Job:
        """Keep a submission, with the number that it gets; one of its key that is there already is given instead."""

        def added(connection: sqlite3.Connection) -> Job:
            known = _one(connection, "user = ? AND key = ? AND key != ''", job.user, job.key)
            if known is not None:
                return known
            row = {**_row(job), "number": None}
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(row.values()))
            made = _one(connection, "job_id = ?", job.job_id)
            assert made is not None, "it was written just now"
            return made

        return await self._done("keep a submission", added)

    async def put(self, job: Job, result: str | None = None) -> None:
        """Keep how it is now, with what it printed where that is given."""
        row = _row(job)

        def written(connection: sqlite3.Connection) -> None:
            pairs = ", ".join(f"{name} = ?" for name in row)
            connection.execute(f"UPDATE jobs SET {pairs} WHERE job_id = ?", (*row.values(), job.job_id))
            if result is not None:
                connection.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (job.job_id, result))

        await self._done("keep a job", written)

    async def begin(self, job: Job) -> None:
        """Keep that it is about to be handed over, and that it was its user's turn."""

        def begun(connection: sqlite3.Connection) -> None:
            row = _row(job)
            pairs = ", ".join(f"{name} = ?" for name in row)
            connection.execute(f"UPDATE jobs SET {pairs} WHERE job_id = ?", (*row.values(), job.job_id))
            (count,) = connection.execute("SELECT COALESCE(MAX(count), 0) + 1 FROM starts").fetchone()
            connection.execute("INSERT OR REPLACE INTO starts VALUES (?, ?)", (job.user, count))

        await self._done("begin a job", begun)

    async def job(self, job_id: str) -> Job | None:
        """One of them."""
        return await self._done("read a job", lambda connection: _one(connection, "job_id = ?", job_id))

    async def with_key(self, user: str, key: str) -> Job | None:
        """The one that a user has submitted under a word of their own."""
        return await self._done("read a job", lambda connection: _one(connection, "user = ? AND key = ?", user, key))

    async def in_states(self, *states: JobState) -> Sequence[Job]:
        """All that are in one of these, oldest first."""
        marks = ", ".join("?" * len(states))
        values = tuple(state.value for state in states)
        return await self._done("read jobs", lambda found: _some(found, f"state IN ({marks}) ORDER BY number", *values))

    async def last_of(self, user: str | None, count: int) -> Sequence[Job]:
        """The newest of a user, or of all, newest first."""
        where, values = ("user = ?", (user,)) if user is not None else ("1", ())
        return await self._done(
            "read jobs", lambda found: _some(found, f"{where} ORDER BY number DESC LIMIT ?", *values, count)
        )

    async def result(self, job_id: str) -> str | None:
        """What it printed; None: nothing is kept."""

        def read(connection: sqlite3.Connection) -> str | None:
            found = connection.execute("SELECT text FROM results WHERE job_id = ?", (job_id,)).fetchone()
            return None if found is None else str(found[0])

        return await self._done("read a result", read)

    async def starts(self) -> dict[str, int]:
        """By user: the count of starts at which they were last started."""
        return await self._done("read starts", lambda found: dict(found.execute("SELECT user, count FROM starts")))

    async def drop(self, *, results_before: float, jobs_before: float) -> int:
        """Forget results, and later whole submissions, of jobs that ended before; how many results went."""
        ended = ", ".join(f"'{state.value}'" for state in ENDED)

        def dropped(connection: sqlite3.Connection) -> int:
            old = f"SELECT job_id FROM jobs WHERE state IN ({ended}) AND ended_at < ?"
            gone = connection.execute(f"DELETE FROM results WHERE job_id IN ({old})", (results_before,)).rowcount
            connection.execute(f"DELETE FROM jobs WHERE state IN ({ended}) AND ended_at < ?", (jobs_before,))
            return int(gone)

        return await self._done("forget old results", dropped)

    async def kept(self, name: str) -> str | None:
        """A word of the service's own."""

        def read(connection: sqlite3.Connection) -> str | None:
            found = connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
            return None if found is None else str(found[0])

        return await self._done("read what it keeps", read)

    async def keep(self, name: str, value: str) -> None:
        """Keep it."""
        await self._done(
            "keep a word", lambda found: found.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))
        )

    async def aclose(self) -> None:
        """Close it."""
        async with self._one_at_a_time:
            if self._connection is not None:
                await to_thread.run_sync(self._connection.close)
                self._connection = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _done(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._one_at_a_time:
            # Whoever waits may go; the transaction is finished all the same.
            with anyio.CancelScope(shield=True):
                found = await to_thread.run_sync(self._in_transaction, what, work)
            return found

    def _in_transaction(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _opened(self._path)
            with self._connection:
                return work(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path} did not {what}: {error}") from error


def _locked(folder: Path) -> int:
    """The right to use a folder; it ends with this process, however that ends. Two services would start jobs twice."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.getuid():
            raise ConfigError(
                f"state_folder {folder} belongs to user {found.st_uid}, and this service runs as user {os.getuid()}: "
                "run it as that one, or chown the folder and what is in it"
            )
        if found.st_mode & 0o077:
            raise ConfigError(f"state_folder {folder} is open to others: chmod 700 it, it holds results and a token")
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"state_folder {folder} cannot be used: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise ConfigError(
            f"another `ebbflow hypha` uses {folder}: end that one, or give this one a state_folder"
        ) from error
    return lock


def _opened(path: Path) -> sqlite3.Connection:
    with closing(os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))):
        pass
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        connection.close()
        raise ConfigError(f"{path} was used by a newer ebbflow: install that one here")
    connection.executescript(_TABLES)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    return connection


def _row(job: Job) -> dict[str, Any]:
    """Any: what SQLite takes."""
    return {**asdict(job), "state": job.state.value, "is_cut": int(job.is_cut)}


def _some(connection: sqlite3.Connection, where: str, *values: object) -> list[Job]:
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM jobs WHERE {where}", values)
    return [_job(dict(zip(COLUMNS, row, strict=True))) for row in rows]


def _one(connection: sqlite3.Connection, where: str, *values: object) -> Job | None:
    return next(iter(_some(connection, where, *values)), None)


def _job(row: dict[str, Any]) -> Job:
    return Job(**{**row, "state": JobState(row["state"]), "is_cut": bool(row["is_cut"])})
