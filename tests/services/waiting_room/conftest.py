"""A waiting room as people run it, and fleets in a house without Prefect."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.plain_house import PlainHouse
from tests.e2e.world import Worlds
from tests.services.waiting_room.places import RunningRoom, running_room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[RunningRoom]:
    with running_room(tmp_path) as running:
        yield running


@pytest.fixture
async def worlds(tmp_path: Path) -> AsyncIterator[Worlds[Any]]:
    async with AsyncExitStack() as stack:
        yield Worlds(tmp_path, PlainHouse(), stack)
