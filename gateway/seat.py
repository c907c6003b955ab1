"""The seat of the one gateway that decides, where several share a PostgreSQL: an advisory lock of the database.

The lock is held by a connection. When its process is killed, the database lets it go at once; when its machine is lost,
within some seconds. Who took it is written beside it, with a number that grows each time.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

LOCK = 0x656262666C6F77
"""Of the database: one gateway decides in each."""
CALL_SECONDS = 3.0
SEEN_SECONDS = 3600
"""A gateway that was seen within so long may be there still."""
LOST_CONNECTION = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""By which the server learns that the holder's machine is gone."""


class Away(Exception):
    """The database does not answer."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who took the seat last."""

    address: str
    """As other gateways reach it; empty: it has left it."""
    number: int
    """How often it was taken."""


class Seat(Protocol):
    """What a gateway asks of it."""

    async def take(self, address: str) -> Holder | None:
        """Take it if it is free: who had it before, or None where somebody has it.

        Raises:
            Away: nobody knows.
        """
        ...

    async def holds(self) -> bool:
        """Whether the connection that holds it still stands. Never raises."""
        ...

    async def holder(self) -> Holder:
        """Who took it last.

        Raises:
            Away: nobody knows.
        """
        ...

    @property
    def others(self) -> int:
        """How many other gateways were seen of late, as of the last time that was known."""
        ...

    async def leave(self) -> None:
        """Let it go, where it is held, and close every connection. Never raises."""
        ...


class PostgresSeat:
    """The seat in a PostgreSQL.

    Args:
        url: of SQLAlchemy.
        address: of this gateway, as others reach it.
    """

    def __init__(self, url: str, address: str) -> None:
        self._address, self._others = address, 0
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "timeout": CALL_SECONDS,
                "command_timeout": CALL_SECONDS,
                "server_settings": LOST_CONNECTION,
            },
        )
        self._connection: AsyncConnection | None = None

    async def take(self, address: str) -> Holder | None:
        """Take it if it is free."""
        try:
            connection = await self._connected()
            await self._show_ourselves(connection)
            if not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
                return None
            before = await self._holder(connection)
            await self._write(connection, Holder(address, before.number + 1))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            await self._drop()
            raise Away(str(error)) from error
        return before

    async def holds(self) -> bool:
        """Whether the connection that holds it still stands."""
        if self._connection is None:
            return False
        try:
            await self._show_ourselves(self._connection)
        except (SQLAlchemyError, OSError, TimeoutError):
            await self._drop()
            return False
        return True

    async def holder(self) -> Holder:
        """Who took it last."""
        try:
            return await self._holder(await self._connected())
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            await self._drop()
            raise Away(str(error)) from error

    @property
    def others(self) -> int:
        """How many other gateways were seen of late."""
        return self._others

    async def leave(self) -> None:
        """Let it go, and close every connection."""
        with suppress(SQLAlchemyError, OSError, TimeoutError):
            if self._connection is not None:
                found = await self._holder(self._connection)
                if found.address == self._address:
                    await self._write(self._connection, Holder("", found.number))
                await self._connection.execute(
                    text("DELETE FROM gateway_peers WHERE address = :address"), {"address": self._address}
                )
        await self._drop()
        await self._engine.dispose()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None:
            connection = await self._engine.connect()
            try:
                for statement in _TABLES:
                    await connection.execute(text(statement))
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _show_ourselves(self, connection: AsyncConnection) -> None:
        await connection.execute(text(_SEEN), {"address": self._address})
        counted = await connection.scalar(text(_COUNT), {"address": self._address, "seconds": SEEN_SECONDS})
        self._others = int(counted or 0)

    async def _holder(self, connection: AsyncConnection) -> Holder:
        row = (await connection.execute(text("SELECT address, number FROM gateway_seat"))).first()
        return Holder("", 0) if row is None else Holder(str(row[0]), int(row[1]))

    async def _write(self, connection: AsyncConnection, holder: Holder) -> None:
        await connection.execute(text(_HELD), {"address": holder.address, "number": holder.number})

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError, TimeoutError):
                await connection.invalidate()
                await connection.close()


_TABLES = (
    "CREATE TABLE IF NOT EXISTS gateway_seat (name text PRIMARY KEY, address text NOT NULL, number bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS gateway_peers (address text PRIMARY KEY, seen_at timestamptz NOT NULL)",
)
_SEEN = (
    "INSERT INTO gateway_peers (address, seen_at) VALUES (:address, now()) "
    "ON CONFLICT (address) DO UPDATE SET seen_at = now()"
)
_COUNT = (
    "SELECT count(*) FROM gateway_peers WHERE address <> :address "
    "AND seen_at > now() - make_interval(secs => CAST(:seconds AS integer))"
)
_HELD = (
    "INSERT INTO gateway_seat (name, address, number) VALUES ('seat', :address, :number) "
    "ON CONFLICT (name) DO UPDATE SET address = excluded.address, number = excluded.number"
)
