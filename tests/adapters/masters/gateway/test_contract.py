"""Our adapter of the gateway, at a whole gateway, passes the suite of masters into which addresses are pushed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ebbflow.contracts import PushMasterContract
from tests.adapters.masters.gateway.gateway_world import GatewayWorld, gateway_world


class TestGatewayAdapter(PushMasterContract):
    @pytest.fixture
    async def world(self, anyio_backend: str, tmp_path: Path) -> AsyncIterator[GatewayWorld]:
        async with gateway_world(tmp_path) as world:
            yield world
