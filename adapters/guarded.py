"""A transport to addresses that somebody else has announced: it connects only where a rule allows it.

A name is looked up here, judged with every address that it stands for, and the address that was judged is the one
that is connected to: a name may stand for something else a moment later.
"""

import ipaddress
import math
import socket
from collections.abc import Awaitable, Callable, Sequence

import anyio
import httpx

from ebbflow.core.addresses import IPAddress, literal

Judge = Callable[[str, IPAddress], str]
"""Given a host as it was announced and an address of it, why nothing is sent there; empty: it may be."""

LookUp = Callable[[str], Awaitable[Sequence[str]]]


async def look_up(host: str) -> Sequence[str]:
    """The addresses that a name stands for, as the system says."""
    found = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Looks a host up, judges its addresses, and connects to the first that may be and answers.

    Args:
        make: makes what connects; one for each name, since a connection that was opened to one name, and whose
            certificate was looked at for it, must not be used for another at the same address.
        judge: the rule.
        look_up: how names are looked up.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], judge: Judge, look_up: LookUp = look_up) -> None:
        self._make = make
        self._judge = judge
        self._look_up = look_up
        self._by_host: dict[str, httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, to an address that was judged.

        Raises:
            httpx.ConnectError: none may be, the name is unknown, or nobody answers; nothing was sent.
        """
        host = request.url.host
        failure: httpx.ConnectError | httpx.ConnectTimeout | None = None
        allowed = await self._allowed(host, request)
        inner = self._inner(host)
        for left, address in zip(range(len(allowed), 0, -1), allowed, strict=True):
            there = httpx.Request(
                request.method,
                # The `Host` header stays as it is, and a certificate is asked for by the name.
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host, **_share_of_time(left)},
            )
            try:
                return await inner.handle_async_request(there)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError(f"{host} stands for no address", request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        for inner in self._by_host.values():
            await inner.aclose()
        self._by_host.clear()

    def _inner(self, host: str) -> httpx.AsyncBaseTransport:
        if host not in self._by_host:
            self._by_host[host] = self._make()
        return self._by_host[host]

    async def _allowed(self, host: str, request: httpx.Request) -> Sequence[IPAddress]:
        try:
            known = literal(host)
            addresses = [known] if known else [ipaddress.ip_address(text) for text in await self._look_up(host)]
        except OSError as error:
            raise httpx.ConnectError(f"{host} is not known: {error}", request=request) from error
        problems = {address: self._judge(host, address) for address in addresses}
        allowed = [address for address, problem in problems.items() if not problem]
        if problems and not allowed:
            raise httpx.ConnectError(f"nothing is sent to {host}: {next(iter(problems.values()))}", request=request)
        return allowed


def _share_of_time(left: int) -> dict[str, dict[str, float]]:
    """A time limit for connecting to one of the addresses that are left: a silent one leaves the others some."""
    seconds = anyio.current_effective_deadline() - anyio.current_time()
    return {"timeout": {"connect": seconds / left}} if left > 1 and math.isfinite(seconds) else {}
