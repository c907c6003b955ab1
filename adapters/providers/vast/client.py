"""The one place that talks to Vast: one request after another at the rate that each endpoint allows.

A create is sent once. Everything else may be repeated where the answer says that it came too often.
Source: vast-ai/docs, rate-limits-and-errors.mdx and the `x-rate-limit` of each YAML file; for the login that is wrong,
search_offers.yaml, which tells it with a 404.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx

from ebbflow.adapters.http import HttpClient, NoAnswer
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.core.errors import ConfigError

# What the service sends is checked where it is used.
Json = dict[str, Any]

LONGEST_WAIT_SECONDS = 60.0
"""A `Retry-After` above this is not waited for."""


@unique
class Endpoint(Enum):
    """What is asked, and the least seconds between two such requests."""

    SEARCH = 1.0
    """Ten a minute; a turn makes at most two."""
    CREATE = 5.0
    LIST = 1.1
    SHOW = 2.1
    UPDATE = 1.2
    DESTROY = 3.5
    LOGS = 0.5


class VastVerdict(Enum):
    """What an answer means."""

    DONE = "done"
    GONE = "gone"
    """The instance does not exist. No other 404 says so."""
    TAKEN = "taken"
    """The offer is not there any more."""
    LOGIN = "login"
    """The key is wrong, or has no right to do this."""
    REFUSED = "refused"
    """For good."""
    TOO_OFTEN = "too_often"
    NO_CREDIT = "no_credit"
    QUOTA = "quota"
    """No more searches today."""
    UNCLEAR = "unclear"
    """5xx, or nothing that can be read: whether it was done is not known."""


@dataclass(frozen=True, slots=True)
class VastAnswer:
    """One answer, read as far as it can be."""

    status: int
    body: Json = field(default_factory=dict)
    """Empty where it was no JSON object."""
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """What the service says, for people."""
        said = (self.body.get(name) for name in ("msg", "message", "detail", "error"))
        text = next((each for each in said if isinstance(each, str) and each), self.text)
        return f"HTTP {self.status}: {text[:200]!r}" if text else f"HTTP {self.status}"

    @property
    def error(self) -> str:
        """The service's own word for it."""
        error = self.body.get("error")
        return error if isinstance(error, str) else ""

    @property
    def verdict(self) -> VastVerdict:
        """What it means; a 200 that says `success: false` is a refusal."""
        if 200 <= self.status < 300:
            if not self.body:
                return VastVerdict.UNCLEAR
            return VastVerdict.REFUSED if self.body.get("success") is False else VastVerdict.DONE
        said = f"{self.error} {self.body.get('msg', '')}"
        is_login = self.error == "auth_error" or "Session expired" in said or "Invalid user key" in said
        if self.status == 401 or (self.status in (403, 404) and is_login):
            return VastVerdict.LOGIN
        if self.status in (404, 410) and "no_such_ask" in said:
            return VastVerdict.TAKEN
        if self.status == 404:
            return VastVerdict.GONE if self.error in ("no_such_instance", "not_found") else VastVerdict.UNCLEAR
        if self.status == 429:
            return VastVerdict.QUOTA if self.error == "search_quota_exceeded" else VastVerdict.TOO_OFTEN
        if self.error == "missing_billing":
            return VastVerdict.NO_CREDIT
        return VastVerdict.REFUSED if 400 <= self.status < 500 else VastVerdict.UNCLEAR


class VastClient:
    """Requests of one account.

    Args:
        settings: where it is, and its key.
        transport: for tests.
        clock: a monotonic clock, in seconds.
        sleep: waits for it.
    """

    def __init__(
        self,
        settings: VastSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._settings = settings
        self._http = HttpClient(transport=transport, sleep=sleep)
        self._clock, self._sleep = clock, sleep
        self._turns: dict[Endpoint, anyio.Lock] = {}
        self._next_at: dict[Endpoint, float] = {}

    def deadline(self) -> float:
        """The end of a call that begins now."""
        return self._clock() + self._settings.call_timeout_seconds

    async def ask(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        deadline: float,
        body: Json | None = None,
        query: Mapping[str, object] | None = None,
    ) -> VastAnswer:
        """Make one request when its turn has come; again after a pause where it came too often and is no create.

        Args:
            endpoint: whose rate counts.
            method: such as `PUT`.
            path: from the root on.
            deadline: by the client's clock; nothing begins that could not end before it.
            body: every PUT, POST and DELETE has one.
            query: values that are no text are sent as JSON.

        Raises:
            NoAnswer: none in time.
            ConfigError: the key is refused.
        """
        url = f"{self._settings.address}{path}{_query(query)}"
        while True:
            await self._turn(endpoint, deadline)
            answer = await self._send(method, url, body, deadline)
            if answer.verdict is VastVerdict.LOGIN:
                raise ConfigError(
                    f"Vast refused the API key for {method} {path}: {answer.message}: renew `api_key` in the block, or "
                    "give the key the right to do this"
                )
            pause = _pause(answer, endpoint)
            is_repeated = answer.verdict is VastVerdict.TOO_OFTEN and endpoint is not Endpoint.CREATE
            if not is_repeated or pause is None or self._clock() + pause >= deadline:
                return answer
            await self._sleep(pause)

    async def fetch(self, url: str, *, deadline: float) -> bytes | None:
        """Read a text that the service stored for us, without our key; None while it is not there.

        Raises:
            NoAnswer: none in time.
        """
        answer = await self._http.send("GET", url, timeout_seconds=self._left(deadline))
        return answer.content if answer.status_code == 200 else None

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await self._sleep(seconds)

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    def allows(self, seconds: float, deadline: float) -> bool:
        """Whether there is that much time left."""
        return self._clock() + seconds < deadline

    async def _turn(self, endpoint: Endpoint, deadline: float) -> None:
        """Wait until the endpoint may be asked again."""
        async with self._turns.setdefault(endpoint, anyio.Lock()):
            wait = self._next_at.get(endpoint, 0.0) - self._clock()
            if wait > 0:
                if self._clock() + wait >= deadline:
                    raise NoAnswer(f"{endpoint.name.lower()} may be asked again in {wait:.1f} s only", maybe_sent=False)
                await self._sleep(wait)
            self._next_at[endpoint] = self._clock() + endpoint.value

    async def _send(self, method: str, url: str, body: Json | None, deadline: float) -> VastAnswer:
        headers = {"authorization": f"Bearer {self._settings.api_key.get_secret_value()}"}
        sent = None if method == "GET" else body or {}
        answer = await self._http.send(method, url, timeout_seconds=self._left(deadline), headers=headers, body=sent)
        return read_answer(answer)

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise NoAnswer("no time was left", maybe_sent=False)
        return left


def read_answer(answer: httpx.Response) -> VastAnswer:
    """Read an answer; what is no JSON object is text."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    whole: Json = body if isinstance(body, dict) else {}
    return VastAnswer(answer.status_code, whole, "" if whole else answer.text[:500], dict(answer.headers))


def _pause(answer: VastAnswer, endpoint: Endpoint) -> float | None:
    """How long to wait after a 429; None: too long."""
    try:
        asked = float(answer.headers.get("retry-after", 0))
    except ValueError:
        asked = 0.0
    return max(asked, endpoint.value) if asked <= LONGEST_WAIT_SECONDS else None


def _query(query: Mapping[str, object] | None) -> str:
    if not query:
        return ""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in query.items()
    }
    return f"?{urlencode(texts)}"
