"""Requests of our own to model servers: built here from nothing that a client sent, and read with limits.

What answers is hostile: no redirect is followed, nothing is unpacked, and what is too long is cut off.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from ebbflow.gateway.kinds.kind import Ask, KeyHeader, Port, Said

MOST_BYTES = 4 * 1024 * 1024
ANSWER_BYTES = 65_536
"""A piece that is read at once."""


class Outgoing:
    """Asks servers.

    Args:
        transport: replaces the network in tests.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # No proxy of the environment: a server is asked where it is registered.
        self._http = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)

    async def ask(
        self, url: str, ask: Ask, *, key: str, header: KeyHeader, metrics_port: int | None, timeout_seconds: float
    ) -> Said | None:
        """What comes of a request; None: it would go to a port that nobody has named.

        Args:
            url: where the server is registered.
            ask: what is asked.
            key: it wants; empty: none.
            header: where its key goes.
            metrics_port: of its figures.
            timeout_seconds: for the whole answer.
        """
        if ask.port is Port.METRICS and metrics_port is None:
            return None
        where = url if ask.port is Port.MAIN else _at_port(url, metrics_port)
        headers = {"Accept-Encoding": "identity", **_proof(key, header)}
        try:
            async with self._http.stream(
                ask.method, where + ask.path, headers=headers, json=ask.body, timeout=timeout_seconds
            ) as answer:
                return Said(answer.status_code, await _text(answer))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
            return Said(None)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()


async def _text(answer: httpx.Response) -> str:
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        # Nobody asked for it, and unpacked it may be of any size.
        return ""
    read = bytearray()
    async for piece in answer.aiter_bytes(ANSWER_BYTES):
        read += piece
        if len(read) > MOST_BYTES:
            break
    return read[:MOST_BYTES].decode(errors="replace")


def _proof(key: str, header: KeyHeader) -> Mapping[str, str]:
    if not key:
        return {}
    return {header.value: f"Bearer {key}" if header is KeyHeader.BEARER else key}


def _at_port(url: str, port: int | None) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"http://{host}:{port}"
