"""What the gateway must not forget: its key, the numbers it has given, endpoints, client keys, and who serves where.

SQLite where nothing is said, PostgreSQL by its URL. Nothing is written for a request: numbers are reserved in blocks,
and what was not used of one is skipped after a restart.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

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

from ebbflow.gateway.kinds.kind import Wanted
from ebbflow.gateway.plain import PlainServer
from ebbflow.gateway.reports import WorkerView

T = TypeVar("T")
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
_SERVERS = Table(
    "gateway_servers",
    _METADATA,
    Column("worker_id", String(60), primary_key=True),
    Column("server", Text, nullable=False),
    Column("sealed_key", Text, nullable=False),
)
SCHEMA = 1
"""Of the tables; a gateway that is older than what it finds does not touch it."""
BUSY_SECONDS = 5.0
CALL_SECONDS = 10.0
"""For one thing that is asked of the database."""


class StoreError(Exception):
    """The database did not do it; says what was tried."""


class NewerTables(Exception):
    """A newer gateway has used the database; says what to do."""


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
        self._begun: set[asyncio.Future[Any]] = set()

    async def prepare(self) -> None:
        """Make what is missing of its tables.

        Raises:
            StoreError: the database cannot be used.
            NewerTables: a newer gateway has used it.
        """
        await self._done("prepare its tables", lambda connection: connection.run_sync(_METADATA.create_all))

        async def version(connection: AsyncConnection) -> int:
            found = await connection.scalar(select(_NUMBERS.c.next).where(_NUMBERS.c.name == "schema"))
            if found is None:
                await connection.execute(insert(_NUMBERS).values(name="schema", next=SCHEMA))
            return SCHEMA if found is None else int(found)

        made_for = await self._repeated("read the version of its tables", version)
        if made_for > SCHEMA:
            raise NewerTables(
                f"the gateway's database has tables of version {made_for}, and this gateway knows {SCHEMA}: it was "
                "used by a newer ebbflow, so install that one here"
            )

    async def check(self) -> None:
        """Ask it something.

        Raises:
            StoreError: it does not answer.
        """
        await self._done("answer", lambda connection: connection.execute(select(1)))

    async def secret(self, name: str, made: bytes) -> bytes:
        """What is kept under that name; if nothing is, this."""

        async def kept(connection: AsyncConnection) -> bytes:
            found = await connection.scalar(select(_SECRETS.c.value).where(_SECRETS.c.name == name))
            if found is None:
                await connection.execute(insert(_SECRETS).values(name=name, value=made))
            return made if found is None else bytes(found)

        return await self._repeated(f"keep {name}", kept)

    async def reserve(self, name: str, count: int) -> int:
        """The first of so many numbers that nobody else gets."""

        async def reserved(connection: AsyncConnection) -> int:
            taken = update(_NUMBERS).where(_NUMBERS.c.name == name).values(next=_NUMBERS.c.next + count)
            found = await connection.scalar(taken.returning(_NUMBERS.c.next))
            if found is None:
                await connection.execute(insert(_NUMBERS).values(name=name, next=1 + count))
                found = 1 + count
            return int(found) - count

        return await self._repeated(f"reserve {name}", reserved)

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
        dropped = delete(_KEYS).where(_KEYS.c.digest == digest)
        await self._done("drop a key", lambda connection: connection.execute(dropped))

    async def workers(self) -> Sequence[WorkerRow]:
        """All that are registered."""
        return [WorkerRow(**{**row, "view": _view(row["view"])}) for row in await self._all(_WORKERS)]

    async def keep_worker(self, row: WorkerRow) -> None:
        """Make it, or change it."""
        await self._kept(_WORKERS, "worker_id", {**asdict(row), "view": _text(row.view)})

    async def drop_worker(self, worker_id: str) -> None:
        """Forget it."""

        async def dropped(connection: AsyncConnection) -> None:
            await connection.execute(delete(_WORKERS).where(_WORKERS.c.worker_id == worker_id))
            await connection.execute(delete(_SERVERS).where(_SERVERS.c.worker_id == worker_id))

        await self._done("drop a worker", dropped)

    async def servers(self) -> Mapping[str, tuple[PlainServer, str]]:
        """By worker id: what was registered of servers that report nothing, and their sealed keys."""
        return {row["worker_id"]: (_server(row["server"]), row["sealed_key"]) for row in await self._all(_SERVERS)}

    async def keep_server(self, worker_id: str, server: PlainServer, sealed_key: str) -> None:
        """Make it, or change it; its key is kept as it was sealed."""
        values = {"worker_id": worker_id, "server": _server_text(server), "sealed_key": sealed_key}
        await self._kept(_SERVERS, "worker_id", values)

    async def aclose(self) -> None:
        """Let what was begun end, and close its connections."""
        if self._begun:
            await asyncio.wait(self._begun, timeout=CALL_SECONDS)
        await self._engine.dispose()

    async def _all(self, table: Table) -> Sequence[Mapping[str, Any]]:
        async def read(connection: AsyncConnection) -> Sequence[Mapping[str, Any]]:
            return [dict(row) for row in (await connection.execute(select(table))).mappings()]

        return await self._done(f"read {table.name}", read)

    async def _kept(self, table: Table, key: str, values: Mapping[str, Any]) -> None:
        changed = update(table).where(table.c[key] == values[key]).values(**values)

        async def write(connection: AsyncConnection) -> None:
            if (await connection.execute(changed)).rowcount == 0:
                await connection.execute(insert(table).values(**values))

        await self._repeated(f"write {table.name}", write)

    async def _repeated(self, what: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """The same, once more where another process has made the row meanwhile."""
        try:
            return await self._done(what, work)
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            return await self._done(what, work)

    async def _done(self, what: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do something in a transaction, in a task of its own.

        Whoever waits for it may be cancelled, or wait no longer; the work itself never is. With SQLAlchemy 2.0.58 and
        aiosqlite 0.22 a connection that is cancelled within a call never closes, and its process never ends.
        """
        task = asyncio.ensure_future(self._in_transaction(work))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        done, _ = await asyncio.wait({task}, timeout=CALL_SECONDS)
        if not done:
            # Nobody asks for what it comes to.
            task.add_done_callback(lambda over: over.exception())
            raise StoreError(f"the gateway's database did not {what} within {CALL_SECONDS:g} s")
        try:
            return task.result()
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(f"the gateway's database did not {what}: {error}") from error

    async def _in_transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._engine.begin() as connection:
            return await work(connection)


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
        "restarts",
        "received",
    )
    return json.dumps({name: getattr(view, name) for name in kept})


def _view(text: str) -> WorkerView:
    return WorkerView(**json.loads(text))


def _server_text(server: PlainServer) -> str:
    """Without its key."""
    return json.dumps({name: value for name, value in asdict(server).items() if name != "key"})


def _server(text: str) -> PlainServer:
    said = json.loads(text)
    return PlainServer(**{**said, "wanted": Wanted(**said["wanted"])})
