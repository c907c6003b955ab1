"""The HTTP clients of a run: one to the gateway, one to wherever it sends."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy

import httpx

SECONDS = 10.0
"""To connect, and for each piece that is sent."""
TO_THE_GATEWAY = 100
"""Connections at most: its answers take milliseconds, and whoever has none waits for one."""


@asynccontextmanager
async def connections(gateway: str, most_open: int) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Open both: without redirects, without cookies, and with an end for each call, which the callers set.

    Args:
        gateway: its address.
        most_open: requests that are open at once.
    """
    trusted = ssl.create_default_context()
    timeout = httpx.Timeout(SECONDS, read=None, pool=None)
    # Only to the gateway by a proxy of the environment; from its `.netrc` a worker would get somebody's password.
    async with (
        httpx.AsyncClient(base_url=gateway, verify=trusted, timeout=timeout, limits=_limits(TO_THE_GATEWAY)) as http,
        httpx.AsyncClient(verify=trusted, timeout=timeout, trust_env=False, limits=_limits(most_open)) as workers,
    ):
        for client in (http, workers):
            client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield http, workers


def _limits(most: int) -> httpx.Limits:
    # Many servers close a connection after five seconds, and a request that meets that moment is lost.
    return httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=2.0)
