"""The Prefect server that a command talks to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ebbflow.cli.services import declared
from ebbflow.cli.speaking import NO_SERVER, end
from ebbflow.core.errors import ConfigError
from ebbflow.core.text import without_user

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

HELLO_SECONDS = 10.0


@asynccontextmanager
async def connected() -> AsyncIterator["PrefectClient"]:
    """A client of the server that Prefect's own settings name; ends the command where it does not answer.

    Prefect would start a server of its own where none is named, and lose it with the command: that is no server here.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        end(
            NO_SERVER,
            "no Prefect server is named: `prefect config set PREFECT_API_URL=http://HOST:4200/api`, and "
            "`prefect server start` where there is none yet",
        )
    async with get_client() as client:
        said = f" within {HELLO_SECONDS:g} s"
        with anyio.move_on_after(HELLO_SECONDS):
            problem = await client.api_healthcheck()
            said = "" if problem is None else f": {type(problem).__name__}: {problem}".rstrip(": ")
        if said:
            end(NO_SERVER, f"the Prefect server at {without_user(url)} does not answer{said}{_hint(url)}")
        yield client


def _hint(url: str) -> str:
    """What a person in a folder with services of its own can do."""
    try:
        asked = declared(Path.cwd())
    except ConfigError:
        return ""
    if asked is None or asked.prefect_server is None:
        return ""
    if url.rstrip("/") == f"{asked.prefect_server}/api":
        return "; `ebbflow up` starts what this folder needs"
    return (
        f"; this folder's own is {asked.prefect_server}, and PREFECT_API_URL or a profile names another one: unset "
        "that to use it"
    )
