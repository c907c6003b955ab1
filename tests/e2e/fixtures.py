"""Fixtures for tests that run whole fleets; `tests/flows` and `tests/e2e` take them into their conftest."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World, Worlds, opened_worlds

PREFECT_LEAKS = "ignore:unclosed <socket:ResourceWarning"
"""Prefect 3.8 leaves the client open with which it asks for the default result storage, once per run."""


def allow_prefects_leaks(items: Iterable[pytest.Item], folder: Path) -> None:
    """Let sockets that Prefect leaves open be collected without an error, in the tests of one folder."""
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.filterwarnings(PREFECT_LEAKS))


@pytest.fixture(autouse=True)
def _leaks_stay_here() -> Iterator[None]:
    """Collect what Prefect left open before another test is blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def worlds(
    anyio_backend: str, tmp_path: Path, prefect_server: str, prefect_environment: dict[str, str]
) -> AsyncIterator[Worlds]:
    """Makes worlds, each with a master and a fleet of its own; ends them all."""
    async with opened_worlds(tmp_path, prefect_environment) as made:
        yield made


@pytest.fixture
async def world(worlds: Worlds) -> World:
    """One world with the usual fleet."""
    return await worlds()
