"""What the gateway must not forget: its key, the numbers it has given, endpoints, client keys, and who serves where.

SQLite where nothing is said, PostgreSQL by its URL. Nothing is written for a request: numbers are reserved in blocks,
and what was not used of one is skipped after a restart.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import anyio
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ebbflow.gateway.reports import WorkerView

_METADATA = MetaData()
_SECRETS = Table(
    "gateway_secrets", _METADATA, Column("name", String(40), primary_key=True), Column("value", LargeBinary)
)
_NUMBERS = Table(
    "gateway_numbers",
    _METADATA,
    Column("name", String(40), primary_key=True),
    Column("next", BigInteger, nullable=False),
)
_ENDPOINTS = Table(
    "gateway_endpoints",
    _METADATA,
    Column("name", String(40), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("max_queue_seconds", Float, nullable=False),
    Column("most_waiting", Integer, nullable=False),
    Column("routes_per_second", Float, nullable=False),
)
_KEYS = Table(
    "gateway_client_keys",
    _METADATA,
    Column("digest", String(64), primary_key=True),
    Column("endpoint", String(40), nullable=False),
    Column("ends_at", Float),
)
_WORKERS = Table(
    "gateway_workers",
    _METADATA,
    Column("worker_id", String(60), primary_key=True),
    Column("endpoint", String(40), nullable=False),
    Column("home", String(20), nullable=False),
    Column("url", String(300), nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("is_draining", Boolean, nullable=False),
    Column("view", Text, nullable=False),
)
BUSY_SECONDS = 5.0
CALL_SECONDS = 10.0
"""For one thing that is asked of the database."""


class StoreError(Exception):
    """The database did not do it; says what was tried."""


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One endpoint; clients name it, the vendor's client by its number."""

    name: str
    number: int
    max_queue_seconds: float
    """A worker with more than this before it is given nothing."""
    most_waiting: int
    """Requests; more are refused."""
    routes_per_second: float
    """How often its clients may ask, together; twice as often for a moment."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One client key, of which the hash alone is kept; `ends_at` in seconds since 1970, None: not known yet."""

    digest: str
    endpoint: str
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker that was registered; times in seconds since 1970."""

    worker_id: str
    endpoint: str
    home: str
    """Of the installation that registered it."""
    url: str
    lease_until: float
    is_draining: bool
    view: WorkerView


class Store:
    """The database.

    Args:
        url: of SQLAlchemy, with an asynchronous driver: `sqlite+aiosqlite:///FILE`, `postgresql+asyncpg://...`.
        busy_seconds: how long SQLite waits while somebody else writes.
    """

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        more: dict[str, Any] = {"connect_args": {"timeout": busy_seconds}} if url.startswith("sqlite") else {}
        self._engine: AsyncEngine = create_async_engine(url, pool_pre_ping=True, **more)

    async def prepare(self) -> None:
        """Make what is missing of its tables.

        Raises:
            StoreError: the database cannot be used.
        """
        async with self._writing("prepare its tables") as connection:
            await connection.run_sync(_METADATA.create_all)

    async def check(self) -> None:
        """Ask it something.

        Raises:
            StoreError: it does not answer.
        """
        try:
            with anyio.fail_after(CALL_SECONDS):
                async with self._engine.connect() as connection:
                    await connection.execute(select(1))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise StoreError(f"the gateway's database does not answer: {error}") from error

    async def secret(self, name: str, made: bytes) -> bytes:
        """What is kept under that name; if nothing is, this."""
        async with self._writing(f"keep {name}") as connection:
            found = await connection.scalar(select(_SECRETS.c.value).where(_SECRETS.c.name == name))
            if found is None:
                await connection.execute(insert(_SECRETS).values(name=name, value=made))
        return made if found is None else bytes(found)

    async def reserve(self, name: str, count: int) -> int:
        """The first of so many numbers that nobody else gets."""
        async with self._writing(f"reserve {name}") as connection:
            taken = update(_NUMBERS).where(_NUMBERS.c.name == name).values(next=_NUMBERS.c.next + count)
            found = await connection.scalar(taken.returning(_NUMBERS.c.next))
            if found is None:
                await connection.execute(insert(_NUMBERS).values(name=name, next=1 + count))
                found = 1 + count
        return int(found) - count

    async def endpoints(self) -> Sequence[EndpointRow]:
        """All of them."""
        return [EndpointRow(**row) for row in await self._all(_ENDPOINTS)]

    async def keep_endpoint(self, row: EndpointRow) -> None:
        """Make it, or change it."""
        await self._kept(_ENDPOINTS, "name", asdict(row))

    async def keys(self) -> Sequence[KeyRow]:
        """All client keys."""
        return [KeyRow(**row) for row in await self._all(_KEYS)]

    async def keep_key(self, row: KeyRow) -> None:
        """Make it, or change when it ends."""
        await self._kept(_KEYS, "digest", asdict(row))

    async def drop_key(self, digest: str) -> None:
        """Forget one that is over."""
        async with self._writing("drop a key") as connection:
            await connection.execute(delete(_KEYS).where(_KEYS.c.digest == digest))

    async def workers(self) -> Sequence[WorkerRow]:
        """All that are registered."""
        return [WorkerRow(**{**row, "view": _view(row["view"])}) for row in await self._all(_WORKERS)]

    async def keep_worker(self, row: WorkerRow) -> None:
        """Make it, or change it."""
        await self._kept(_WORKERS, "worker_id", {**asdict(row), "view": _text(row.view)})

    async def drop_worker(self, worker_id: str) -> None:
        """Forget it."""
        async with self._writing("drop a worker") as connection:
            await connection.execute(delete(_WORKERS).where(_WORKERS.c.worker_id == worker_id))

    async def aclose(self) -> None:
        """Close its connections."""
        await self._engine.dispose()

    async def _all(self, table: Table) -> Sequence[Mapping[str, Any]]:
        try:
            with anyio.fail_after(CALL_SECONDS):
                async with self._engine.connect() as connection:
                    return [dict(row) for row in (await connection.execute(select(table))).mappings()]
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise StoreError(f"the gateway's database cannot be read ({table.name}): {error}") from error

    async def _kept(self, table: Table, key: str, values: Mapping[str, Any]) -> None:
        changed = update(table).where(table.c[key] == values[key]).values(**values)
        try:
            async with self._writing(f"write {table.name}") as connection:
                if (await connection.execute(changed)).rowcount == 0:
                    await connection.execute(insert(table).values(**values))
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # Another process has made it meanwhile.
            async with self._writing(f"write {table.name}") as connection:
                await connection.execute(changed)

    @asynccontextmanager
    async def _writing(self, what: str) -> AsyncIterator[AsyncConnection]:
        try:
            with anyio.fail_after(CALL_SECONDS):
                async with self._engine.begin() as connection:
                    yield connection
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise StoreError(f"the gateway's database did not {what}: {error}") from error


def _text(view: WorkerView) -> str:
    """A view without what is over by the next start: loads, rates, times."""
    kept = (
        "worker_id",
        "generation",
        "instance_id",
        "url",
        "is_loaded",
        "load_seconds",
        "max_perf",
        "error",
        "received",
    )
    return json.dumps({name: getattr(view, name) for name in kept})


def _view(text: str) -> WorkerView:
    return WorkerView(**json.loads(text))
