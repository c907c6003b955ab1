"""What HTTP adapters share: one client with explicit time limits, and the one place where calls are repeated."""

import http.cookiejar
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from urllib.parse import urlsplit

import anyio
import httpx

from ebbflow.adapters.guarded import GuardedTransport, Judge

logger = logging.getLogger(__name__)

Body = Mapping[str, object] | Sequence[object]
"""JSON: an object, or a list."""
MAX_CONNECTIONS = 64
IDLE_SECONDS = 2.0
"""A connection that was not used for longer is not used again. Many servers close theirs after five seconds, and a
request that meets that moment has no answer, although it was never read."""
LIMITS = httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=IDLE_SECONDS)
PLAIN = "identity"
PAUSE_SECONDS = 0.2
"""Between a temporary failure and the next attempt of the same call."""

MAX_ANSWER_BYTES = 32 * 1024**2
"""A thousand backends of SwarmUI are two. A larger answer is none: reading it would cost our memory and our time."""

TEMPORARY_STATUSES = frozenset({429, 500, 502, 503, 504})


class NoAnswer(Exception):
    """The server gave no answer. Adapters translate this; it never leaves them.

    Attributes:
        maybe_sent: the server may have acted on the request all the same.
    """

    def __init__(self, message: str, *, maybe_sent: bool) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent


class HttpClient:
    """An HTTP client that keeps connections and nothing else: no cookies, no redirects, no time limit by accident.

    Args:
        transport: replaces the network in tests.
        judge: where addresses come from others, which may be sent to. Then no proxy of the environment is used, whose
            look-up nobody here sees.
        sleep: waits between two attempts.
        limits: how many connections are open, and kept; with a `judge`, for each host.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        judge: Judge | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        limits: httpx.Limits = LIMITS,
    ) -> None:
        self._transport = transport
        self._judge = judge
        self._sleep = sleep
        self._limits = limits
        self._opened: dict[bool, httpx.AsyncClient] = {}
        """By whether it is for TLS."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        repeats: int = 0,
    ) -> httpx.Response:
        """Make one call and return the answer, whatever its status.

        Args:
            method: such as `POST`.
            url: complete.
            timeout_seconds: for everything together: connection, answer, repetitions and pauses.
            headers: in plain text; never logged.
            body: sent as JSON with its length.
            repeats: how often a temporary failure is tried again. Only for calls that are safe to repeat.

        Raises:
            NoAnswer: the last attempt got none, or the time is over.
        """
        answer: httpx.Response | None = None
        failure: NoAnswer | None = None
        with anyio.move_on_after(timeout_seconds):
            for attempt in range(repeats + 1):
                if attempt:
                    await self._sleep(PAUSE_SECONDS)
                try:
                    answer = await self._answer(method, url, headers or {}, body)
                except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, OverflowError) as error:
                    # A hostile server may break what lies below the client too: TLS, a port, a name.
                    answer, failure = None, _no_answer(error)
                except NoAnswer as error:
                    # More of the same would come again.
                    answer, failure = None, error
                    break
                else:
                    logger.debug("%s %s -> %d", method, url, answer.status_code)
                    if answer.status_code not in TEMPORARY_STATUSES:
                        break
        if answer is not None:
            return answer
        raise failure or NoAnswer(f"no answer within {timeout_seconds:g} s", maybe_sent=True)

    async def _answer(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> httpx.Response:
        """The answer as it came over the wire, up to a limit: a small compressed one may unfold into gigabytes."""
        asked = {"Accept-Encoding": PLAIN, **headers}
        async with self._client(is_tls=not url.startswith("http://")).stream(
            method, url, headers=asked, json=body, timeout=None
        ) as answer:
            encoding = answer.headers.get("Content-Encoding", PLAIN).strip().lower()
            if encoding != PLAIN:
                raise NoAnswer(
                    f"the answer is compressed ({encoding[:20]!a}), which was not asked for", maybe_sent=True
                )
            content = await _read(answer)
            if len(content) > MAX_ANSWER_BYTES:
                raise NoAnswer(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", maybe_sent=True)
        return httpx.Response(answer.status_code, headers=answer.headers, content=content, request=answer.request)

    async def aclose(self) -> None:
        """Close every connection. The client opens new ones when it is used again."""
        opened, self._opened = self._opened, {}
        for client in opened.values():
            await client.aclose()

    def _client(self, *, is_tls: bool) -> httpx.AsyncClient:
        # Made at first use: it reads the certificates once, and constructors do no I/O.
        if is_tls not in self._opened:
            trusted = _certificates() if is_tls else _nobody()
            # A cookie is valid for all ports of a host, so a jar would hand one server's cookies to the next one.
            jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
            limits = self._limits
            transport = self._transport
            if transport is None and self._judge is not None:
                network = partial(httpx.AsyncHTTPTransport, verify=trusted, limits=limits, trust_env=False)
                transport = GuardedTransport(network, self._judge)
            self._opened[is_tls] = httpx.AsyncClient(
                transport=transport, verify=trusted, cookies=jar, follow_redirects=False, limits=limits
            )
        return self._opened[is_tls]


async def _read(answer: httpx.Response) -> bytes:
    """The content, and no more than shows that it is too long."""
    if answer.is_stream_consumed:
        # A transport in memory has read it already.
        return answer.content
    content = bytearray()
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            break
    return bytes(content)


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities to trust. Reading them takes as long as a dozen calls, so all clients of a process share them."""
    return httpx.create_ssl_context()


@cache
def _nobody() -> ssl.SSLContext:
    """For what is plain HTTP: no authorities are read, and none would be believed."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def base_url(text: str) -> str:
    """Return the address of a server, without a trailing slash, if it is one.

    Raises:
        ValueError: says what is wrong, without the text, which may hold a password.
    """
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ValueError("expected an address such as http://host:7801") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("expected an address such as http://host:7801")
    if "@" in parts.netloc:
        raise ValueError("an address must not hold a user name or password")
    if (
        "?" in address
        or "#" in address
        or any(character.isspace() or not character.isprintable() for character in address)
    ):
        raise ValueError("an address must not hold a query, a fragment or white space")
    return address


def _no_answer(error: Exception) -> NoAnswer:
    # The text of a protocol error of our own may quote a header.
    text = "" if isinstance(error, httpx.LocalProtocolError) else str(error)
    unsent = httpx.ConnectError | httpx.ConnectTimeout | httpx.LocalProtocolError | httpx.InvalidURL | ValueError
    sent = not isinstance(error, unsent)
    return NoAnswer(f"{type(error).__name__}: {text}" if text else type(error).__name__, maybe_sent=sent)
