"""Fixtures for tests that run whole fleets; `tests/flows` and `tests/e2e` take them into their conftest."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.plain_house import PlainHouse
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.world import PrefectWorld, PrefectWorlds, World, Worlds, opened_worlds

PREFECT_LEAKS = ("ignore:unclosed <socket:ResourceWarning", "ignore:unclosed transport:ResourceWarning")
"""Prefect 3.8 leaves the client open with which it asks for the default result storage, once per run."""


def allow_prefects_leaks(items: Iterable[pytest.Item], folder: Path) -> None:
    """Let sockets that Prefect leaves open be collected without an error, in the tests of one folder."""
    for item in items:
        if item.path.is_relative_to(folder):
            for leak in PREFECT_LEAKS:
                item.add_marker(pytest.mark.filterwarnings(leak))


def collect_leaks() -> None:
    """Let Python say now, and to nobody, which sockets were left open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def _leaks_stay_here(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what Prefect left open before another test is blamed for it."""
    yield
    # A collection walks through all of Prefect, so tests that did not use it are spared.
    if "prefect_server" in request.fixturenames:
        collect_leaks()


@pytest.fixture
async def worlds(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Worlds]:
    """Makes worlds without Prefect, each with a master and a fleet of its own; ends them all."""
    async with opened_worlds(tmp_path, PlainHouse()) as made:
        yield made


@pytest.fixture
async def world(worlds: Worlds) -> World:
    """One world with the usual fleet, without Prefect."""
    return await worlds()


@pytest.fixture
async def prefect_worlds(
    anyio_backend: str, tmp_path: Path, prefect_server: str, prefect_environment: dict[str, str]
) -> AsyncIterator[PrefectWorlds]:
    """Makes worlds whose turns are flow runs on this session's Prefect server; ends them all."""
    async with opened_worlds(tmp_path, PrefectHouse(prefect_environment)) as made:
        yield made


@pytest.fixture
async def prefect_world(prefect_worlds: PrefectWorlds) -> PrefectWorld:
    """One world with the usual fleet, with Prefect."""
    return await prefect_worlds()
