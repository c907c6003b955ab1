"""Our adapter, at one gateway and at two that share a database, passes the suite of masters that take addresses."""

from collections.abc import AsyncIterator

import pytest

from ebbflow.contracts import PushMasterContract
from tests.adapters.masters.gateway.gateway_world import GatewayWorld, gateway_world
from tests.gateway.conftest import database_url, postgres_server

__all__ = ["TestGatewayAdapter", "database_url", "postgres_server"]


class TestGatewayAdapter(PushMasterContract):
    @pytest.fixture
    async def world(self, anyio_backend: str, database_url: str) -> AsyncIterator[GatewayWorld]:
        async with gateway_world(database_url) as world:
            yield world
