"""What a client asks of the gateway, read without trust.

Source: Vast's client (`vastai` 1.9.1) for `/route/` and `/get_endpoint_workers/`; `/done/` is our gateway's own.
"""

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ebbflow.core.text import one_line
from ebbflow.services.simulated_clients.answers import TooLong, bounded, json_object
from ebbflow.services.simulated_clients.life import GivenUp, Lost

CALL_SECONDS = 10.0
"""For one call; the vendor's client waits no longer either."""
MOST_BYTES = 4 * 1024 * 1024
"""Of an answer: some thousand workers."""
KEEP_SECONDS = 60.0
"""`replay_timeout`: how long the gateway shall keep a request that nobody asks for."""
TICKET = ("cost", "endpoint", "reqnum", "request_idx", "signature", "url")
"""What the vendor's worker takes as `auth_data`."""
LATER = frozenset({429, 503})
MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Ticket:
    """With which a client goes to a worker."""

    url: str
    number: int
    """Of the request: `request_idx`."""
    proof: Mapping[str, object] = field(repr=False)
    """The six keys, as they came: the worker checks them."""
    kind: str = ""
    """Of a plain model server; empty: the vendor's worker software answers there."""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody is free: the client asks again."""

    number: int
    later_seconds: float | None = None
    """The gateway has said when; None: whenever clients do."""


class Balancer:
    """The gateway, to one client key.

    Args:
        http: to its address, without redirects.
        endpoint: what clients name.
        key: theirs; it is told to nobody else.
    """

    def __init__(self, http: httpx.AsyncClient, *, endpoint: str, key: str) -> None:
        self._http, self._endpoint, self._key = http, endpoint, key
        self._settles = True

    async def route(self, tokens: int, number: int) -> Ticket | Wait:
        """Ask for a worker, or ask again.

        Args:
            tokens: the cost.
            number: of the request; 0: it is new.

        Raises:
            GivenUp: nobody will say more to this request.
        """
        status, headers, raw = await self._call(
            "/route/",
            endpoint=self._endpoint,
            api_key=self._key,
            cost=tokens,
            request_idx=number,
            replay_timeout=KEEP_SECONDS,
        )
        if status in LATER:
            return Wait(number, _retry_after(headers))
        if not 200 <= status < 300:
            raise GivenUp(Lost.GATEWAY_REFUSED, f"HTTP {status}: {self._shown(raw)}")
        said = json_object(raw)
        if not said:
            raise GivenUp(Lost.GATEWAY_NONSENSE, f"no JSON object: {self._shown(raw)}")
        given = said.get("request_idx")
        number = given if type(given) is int and given > 0 else number
        return self._ticket(said, number) if "url" in said else Wait(number)

    async def done(self, number: int, *, is_served: bool) -> None:
        """Say of a plain model server, which reports nothing, that a request is over; nothing hangs on the answer."""
        if not self._settles:
            return
        try:
            status, _, _ = await self._call(
                "/done/", endpoint=self._endpoint, api_key=self._key, request_idx=number, success=is_served
            )
        except GivenUp:
            return
        # A gateway that does not know of it is not asked for each request.
        self._settles = status != 404

    async def workers(self) -> int:
        """How many workers the endpoint has, in whatever state.

        Raises:
            GivenUp: it does not say.
        """
        status, _, raw = await self._call("/get_endpoint_workers/", api_key=self._key)
        if not 200 <= status < 300:
            raise GivenUp(Lost.GATEWAY_REFUSED, f"HTTP {status}: {self._shown(raw)}")
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, list):
            raise GivenUp(Lost.GATEWAY_NONSENSE, f"no list of workers: {self._shown(raw)}")
        return len(said)

    async def _call(self, path: str, **body: object) -> tuple[int, httpx.Headers, bytes]:
        headers = {"Authorization": f"Bearer {self._key}", "Accept-Encoding": "identity"}
        try:
            async with asyncio.timeout(CALL_SECONDS):
                async with self._http.stream("POST", path, json=body, headers=headers) as answer:
                    return answer.status_code, answer.headers, await bounded(answer.aiter_raw(), MOST_BYTES)
        except TooLong as error:
            raise GivenUp(Lost.GATEWAY_NONSENSE, str(error)) from error
        except TimeoutError as error:
            raise GivenUp(Lost.GATEWAY_UNREACHABLE, f"no answer within {CALL_SECONDS:g} s") from error
        except httpx.HTTPError as error:
            words = one_line(f"{type(error).__name__}: {error}", MOST_WORDS)
            raise GivenUp(Lost.GATEWAY_UNREACHABLE, words) from error

    def _ticket(self, said: Mapping[str, Any], number: int) -> Ticket:
        url, kind, model = said["url"], said.get("kind") or "", said.get("model") or ""
        proof = {name: said[name] for name in TICKET if name in said}
        is_whole = isinstance(kind, str) and isinstance(model, str) and (bool(kind) or len(proof) == len(TICKET))
        if not (isinstance(url, str) and is_address(url) and is_whole and number):
            raise GivenUp(Lost.GATEWAY_NONSENSE, f"no ticket: it has {one_line(sorted(said), MOST_WORDS)}")
        return Ticket(url.rstrip("/"), number, proof, kind, model)

    def _shown(self, raw: bytes) -> str:
        """For a person; what echoes the key does not show it."""
        text = raw[: 4 * MOST_WORDS].decode("utf-8", "replace")
        said = json_object(raw).get("error", text)
        return one_line(str(said).replace(self._key, "***"), MOST_WORDS)


def is_address(url: str) -> bool:
    """Whether requests can be sent there: HTTP, a host, no user, no question."""
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return False
    return read.scheme in ("http", "https") and bool(read.host) and not (read.userinfo or read.query or read.fragment)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds; None where it says none, or a date."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None
