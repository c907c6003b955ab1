"""A client of the Prefect server: the one that is open already, or another one."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.utilities import get_or_create_client
from prefect.exceptions import PrefectHTTPStatusError

from ebbflow.core.text import one_line


@asynccontextmanager
async def open_client() -> AsyncIterator[PrefectClient]:
    """The engine's own, which stays open; outside of a run another one, until the block ends."""
    client, is_the_engines = get_or_create_client()
    if is_the_engines:
        yield client
        return
    async with client:
        yield client


@contextmanager
def going_on(log: logging.Logger | logging.LoggerAdapter[logging.Logger], what: str) -> Iterator[None]:
    """Where the server refuses what is done in here, or is away, say so in the log and go on without it.

    Args:
        log: takes the warning.
        what: that then is missing, in words.
    """
    try:
        yield
    except (PrefectHTTPStatusError, httpx.TransportError) as error:
        log.warning("%s: %s", what, one_line(error) or type(error).__name__)
