"""Databases for gateways: a file, and a PostgreSQL on which two gateways share the work."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.gateway.postgres import Postgres, postgres

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with postgres() as made:
        yield made


@pytest.fixture(params=["one on a file", pytest.param("two on a PostgreSQL", marks=pytest.mark.soak)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "one on a file":
        return f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres_server")
    return fresh(server)


def fresh(server: Postgres) -> str:
    """The URL of an empty database."""
    name = f"gateway_{next(_NUMBERS)}"

    async def make() -> None:
        engine = create_async_engine(server.url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        await engine.dispose()

    asyncio.run(make())
    return server.url.rpartition("/")[0] + f"/{name}"
