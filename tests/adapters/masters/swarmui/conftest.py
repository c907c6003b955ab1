"""The played SwarmUI that the tests of our adapter share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters.masters.swarmui.played_master import SwarmUIWorld, opened_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SwarmUIWorld]:
    async with opened_world(tmp_path) as world:
        yield world
