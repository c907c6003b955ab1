"""What the Prefect server is that our settings name."""

import anyio
from prefect import __version__
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from ebbflow.flows.preflight import Finding, Level

SECONDS = 5.0
OLDEST = (3, 8)
"""Servers that this release is tested with are of this version or newer."""


async def server_version() -> str | None:
    """The server's version; None where none is named, or it does not answer."""
    if not get_current_settings().api.url:
        return None
    with anyio.move_on_after(SECONDS):
        async with get_client() as client:
            return await version_of(client) if await client.api_healthcheck() is None else None
    return None


async def version_of(client: PrefectClient) -> str:
    """What a server that answers says of its version; empty where it does not say, as Prefect Cloud does not."""
    try:
        return str((await client.request("GET", "/admin/version")).json())
    except (PrefectHTTPStatusError, ValueError):
        return ""


async def version_finding(client: PrefectClient) -> Finding:
    """Whether the server's version goes with ours."""
    server = await version_of(client)
    what, pair = "Prefect", f"server {server or 'of unknown version'}, here {__version__}"
    numbers = tuple(int(part) for part in server.split(".")[:2] if part.isdecimal())
    if server and numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Finding(
            Level.WRONG, what, f"{pair}: the server is older than {oldest}; upgrade it first, then its workers"
        )
    here = tuple(int(part) for part in __version__.split(".")[:2] if part.isdecimal())
    if server and numbers < here:
        return Finding(Level.FINE, what, f"{pair}: a server is to be as new as its clients; upgrade it")
    return Finding(Level.FINE, what, pair)
