"""A client of the Prefect server: the one that is open already, or another one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.client.orchestration import PrefectClient
from prefect.client.utilities import get_or_create_client


@asynccontextmanager
async def open_client() -> AsyncIterator[PrefectClient]:
    """The engine's own, which stays open; outside of a run another one, until the block ends."""
    client, is_the_engines = get_or_create_client()
    if is_the_engines:
        yield client
        return
    async with client:
        yield client
