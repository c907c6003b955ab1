"""One request's life: the gateway is asked for a worker, and the worker for tokens.

Source: Vast's client (`vastai` 1.9.1), the third generation of its protocol. Otherwise than that one, this client never
sends the endpoint's key to a worker, and tries another worker only within its patience.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import httpx

from ebbflow.core.text import one_line
from ebbflow.services.simulated_clients.answers import MOST_ANSWER_BYTES, EventCount, Nonsense, TooLong, bounded, whole
from ebbflow.services.simulated_clients.balancer import MOST_WORDS, Balancer, Ticket
from ebbflow.services.simulated_clients.life import GivenUp, Life, Lost

FIRST_POLL_SECONDS = 1.0
POLL_SECONDS = 0.1, 5.0
"""Between two polls after the first: at least and at most."""
VENDOR_PATH, PLAIN_PATH = "/generate", "/v1/completions"
TRY_ANOTHER = frozenset({429, 503, 504})
PROMPT = "tell me of the tide"


@dataclass(frozen=True, slots=True)
class Asking:
    """What all requests of a run have in common."""

    path: str = ""
    """At the worker; empty: as is usual for what answers there."""
    streams: bool = True
    patience_seconds: float = 600.0
    """For waiting and for other workers; an answer that has begun has a limit of its own."""
    answer_seconds: float = 600.0
    """For one answer."""
    most_answer_bytes: int = MOST_ANSWER_BYTES
    model_key: str = field(default="", repr=False)
    """Of plain model servers; the vendor's workers have tickets."""


class _TryAnother(Exception):
    """This worker does not serve the request; another one may."""


class Client:
    """Lives requests, any number at a time.

    Args:
        balancer: the gateway.
        workers: to wherever the gateway sends; without redirects, cookies and credentials.
        asking: how.
        clock: seconds; only differences mean anything.
        sleep: waits for seconds of that clock.
    """

    def __init__(
        self,
        balancer: Balancer,
        workers: httpx.AsyncClient,
        asking: Asking,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._balancer, self._workers, self._asking = balancer, workers, asking
        self._clock, self._sleep = clock, sleep

    async def live(self, life: Life, draw: Random) -> None:
        """Go on until it is served or lost; if this is cancelled, it is cut off."""
        try:
            ticket = await self._served(life, draw)
            life.ended_at = self._clock()
            if ticket.kind:
                await self._balancer.done(ticket.number, is_served=True)
        except GivenUp as given_up:
            life.lost, life.words = given_up.lost, given_up.words
        finally:
            if life.ended_at is None:
                life.lost = life.lost or Lost.CUT_OFF
                life.ended_at = self._clock()

    async def _served(self, life: Life, draw: Random) -> Ticket:
        """Ask one worker after the other."""
        deadline, number = life.began_at + self._asking.patience_seconds, 0
        while True:
            ticket = await self._ticket(life, number, deadline, draw)
            number, life.worker_url, life.sent_at = ticket.number, ticket.url, self._clock()
            try:
                await self._answer(life, ticket)
                return ticket
            except _TryAnother as failed:
                await self._failed(life, ticket)
                # The first time at once; a worker that refuses at once would else be asked without end.
                pause = draw.uniform(*POLL_SECONDS) if len(life.failed_at) > 1 else 0.0
                if self._clock() + pause >= deadline:
                    raise GivenUp(Lost.OUT_OF_PATIENCE, f"the last worker: {failed}") from failed
                await self._sleep(pause)
                life.reroutes += 1
            except GivenUp:
                await self._failed(life, ticket)
                raise

    async def _failed(self, life: Life, ticket: Ticket) -> None:
        """What has come of the answer was for nothing; of a plain server the gateway learns it only from here."""
        life.failed_at.append(ticket.url)
        life.wasted_tokens, life.tokens, life.first_token_at = life.wasted_tokens + life.tokens, 0, None
        if ticket.kind:
            await self._balancer.done(ticket.number, is_served=False)

    async def _ticket(self, life: Life, number: int, deadline: float, draw: Random) -> Ticket:
        """Poll until the gateway names a worker."""
        began, pause = self._clock(), FIRST_POLL_SECONDS
        life.is_waiting = True
        try:
            while True:
                said = await self._balancer.route(life.tokens_asked, number)
                if isinstance(said, Ticket):
                    return said
                number = said.number
                if said.later_seconds is not None:
                    # Not without a pause, whatever it says.
                    wait = max(POLL_SECONDS[0], said.later_seconds)
                else:
                    wait, pause = pause, draw.uniform(*POLL_SECONDS)
                left = deadline - self._clock()
                await self._sleep(max(0.0, min(wait, left)))
                if wait >= left:
                    raise GivenUp(Lost.OUT_OF_PATIENCE, "no worker was free in time")
        finally:
            life.is_waiting = False
            life.queue_seconds += self._clock() - began

    async def _answer(self, life: Life, ticket: Ticket) -> None:
        """Have the request answered by the worker of a ticket.

        Raises:
            _TryAnother: it does not, and another one may.
            GivenUp: it does not.
        """
        path, body, headers = self._request(life, ticket)
        limit = self._asking.answer_seconds
        try:
            async with asyncio.timeout(limit):
                async with self._workers.stream("POST", f"{ticket.url}{path}", json=body, headers=headers) as answer:
                    await self._read(life, answer)
        except TimeoutError as error:
            raise GivenUp(Lost.WORKER_TOO_LONG, f"the answer did not end within {limit:g} s") from error
        except TooLong as error:
            raise GivenUp(Lost.WORKER_TOO_LONG, str(error)) from error
        except Nonsense as error:
            raise GivenUp(Lost.WORKER_NONSENSE, self._shown(str(error))) from error
        except httpx.TransportError as error:
            raise _TryAnother(self._shown(f"{type(error).__name__}: {error}")) from error

    def _request(self, life: Life, ticket: Ticket) -> tuple[str, Mapping[str, object], Mapping[str, str]]:
        """Path, body and headers."""
        payload: dict[str, object] = {
            "prompt": PROMPT,
            "max_tokens": life.tokens_asked,
            "stream": self._asking.streams,
        }
        # Not packed: what a little of it unpacks to has no limit.
        headers = {"Accept-Encoding": "identity"}
        if not ticket.kind:
            body = {"auth_data": ticket.proof, "session_id": None, "payload": payload}
            return self._asking.path or VENDOR_PATH, body, headers
        if ticket.model:
            payload = {"model": ticket.model, **payload}
        if self._asking.model_key:
            # Each kind of server looks at one of them.
            headers |= {"Authorization": f"Bearer {self._asking.model_key}", "X-API-Key": self._asking.model_key}
        return self._asking.path or PLAIN_PATH, payload, headers

    async def _read(self, life: Life, answer: httpx.Response) -> None:
        if answer.status_code in TRY_ANOTHER:
            raise _TryAnother(f"HTTP {answer.status_code}")
        if not answer.is_success:
            raise GivenUp(Lost.WORKER_REFUSED, f"HTTP {answer.status_code}: {await self._words(answer)}")
        if not self._asking.streams:
            life.tokens = whole(await bounded(answer.aiter_raw(), self._asking.most_answer_bytes), life.tokens_asked)
            life.first_token_at = self._clock()
            return
        count = EventCount(most_bytes=self._asking.most_answer_bytes)
        async for part in answer.aiter_raw():
            count.feed(part)
            if life.first_token_at is None and count.tokens:
                life.first_token_at = self._clock()
            life.tokens = count.tokens
        life.tokens = count.end()
        life.first_token_at = life.first_token_at or self._clock()

    async def _words(self, answer: httpx.Response) -> str:
        """The beginning of an answer."""
        said = bytearray()
        async for part in answer.aiter_raw():
            said += part
            if len(said) > MOST_WORDS:
                break
        return self._shown(said[: 4 * MOST_WORDS].decode("utf-8", "replace"))

    def _shown(self, text: str) -> str:
        """For a person; what echoes the key does not show it."""
        key = self._asking.model_key
        return one_line(text.replace(key, "***") if key else text, MOST_WORDS)
