"""What the database of a Prefect server holds, by table, and how often each event is in it; SQLite and PostgreSQL."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.benchmarks.world import World, tell
from tests.gateway.postgres import postgres

EVENTS = "SELECT event, COUNT(*) FROM events GROUP BY event"
BY_TABLE = (
    "SELECT master.tbl_name, SUM(found.pgsize) FROM dbstat AS found "
    "JOIN sqlite_master AS master USING (name) GROUP BY master.tbl_name"
)
BY_RELATION = (
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
QUIET_SECONDS = 7.0
"""Prefect's server writes events every five seconds."""
MOST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Content:
    """A moment of a database."""

    total_bytes: int
    by_table: Counter[str]
    """Bytes, indexes included; empty where this SQLite does not tell."""
    events: Counter[str]
    """By name."""

    def since(self, before: "Content") -> "Content":
        """What came since then."""
        return Content(
            self.total_bytes - before.total_bytes, self.by_table - before.by_table, self.events - before.events
        )


@contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL that runs; nothing where it is not installed, which is said."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres()).url
        except pytest.skip.Exception as missing:
            tell(f"PostgreSQL: NOT measured: {missing}")
            url = ""
        yield url


async def settled_content(running: World) -> Content:
    """What is in it, once the server has written the events that it was told."""
    deadline = time.monotonic() + MOST_SECONDS
    content = await _content(running)
    while time.monotonic() < deadline:
        await asyncio.sleep(QUIET_SECONDS)
        before, content = content, await _content(running)
        if content.events == before.events:
            break
    return content


async def _content(running: World) -> Content:
    if running.database_url:
        return await _of_postgres(running.database_url)
    return _of_sqlite(Path(running.environment["PREFECT_HOME"]) / "prefect.db")


def _of_sqlite(database: Path) -> Content:
    """Pages in use, the write-ahead log included."""
    with sqlite3.connect(database, timeout=10) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        events = Counter[str](dict(connection.execute(EVENTS).fetchall()))
        try:
            tables = Counter[str](dict(connection.execute(BY_TABLE).fetchall()))
        except sqlite3.OperationalError:
            # Not every SQLite is built with the table that tells it.
            tables = Counter[str]()
    connection.close()
    return Content((pages - free) * size, tables, events)


async def _of_postgres(url: str) -> Content:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            events = Counter[str]({name: count for name, count in await connection.execute(text(EVENTS))})
            tables = Counter[str]({name: size for name, size in await connection.execute(text(BY_RELATION))})
    finally:
        await engine.dispose()
    return Content(tables.total(), tables, events)
