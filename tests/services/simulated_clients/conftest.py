from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.simulated_clients.world import World, world_of


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as made:
        yield made
