"""A transport to addresses that somebody else has announced: it connects only where a rule allows it.

A name is looked up here, judged with every address that it stands for, and the address that was judged is the one
that is connected to: a name may stand for something else a moment later.
"""

import ipaddress
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
        inner: what connects.
        judge: the rule.
        look_up: how names are looked up.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, judge: Judge, look_up: LookUp = look_up) -> None:
        self._inner = inner
        self._judge = judge
        self._look_up = look_up

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, to an address that was judged.

        Raises:
            httpx.ConnectError: none may be, the name is unknown, or nobody answers; nothing was sent.
        """
        host = request.url.host
        failure: httpx.ConnectError | None = None
        for address in await self._allowed(host, request):
            there = httpx.Request(
                request.method,
                # The `Host` header stays as it is, and a certificate is asked for by the name.
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(there)
            except httpx.ConnectError as error:
                failure = error
        raise failure or httpx.ConnectError(f"{host} stands for no address", request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

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
