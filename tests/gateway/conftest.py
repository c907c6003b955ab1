"""Databases for gateways: a file, and a PostgreSQL on which two gateways share the work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.postgres import Postgres, postgres


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
    return server.empty_database()
