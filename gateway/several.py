"""Several gateways on one PostgreSQL as one: who has the seat answers, the others hand on to it what they are asked.

So keys, tickets, numbers, the queue's places, drain marks and loads are common at once: there is one of each. When the
one is gone another takes the seat, and what it must know it reads from the database, as after a restart.

Two could decide at once only while one is cut off from the database and from the others. It may go on for a minute and
a half, and as long nobody who took its seat says of a worker that it has no work.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from ebbflow.gateway.app import Gateway
from ebbflow.gateway.asking import BODY_SECONDS, MOST_BYTES, Problem, body
from ebbflow.gateway.guard import answered, said
from ebbflow.gateway.peers import GIVEN_BACK, PROOF, STAND_DOWN, Peers, PeerUnreachable, is_peer
from ebbflow.gateway.seat import Away, Seat
from ebbflow.gateway.store import StoreError

_LOG = logging.getLogger("ebbflow.gateway")
LOOK_SECONDS = 0.5
UNSURE_SECONDS = 90.0
"""For so long one that is cut off from the database goes on, though another may have its seat."""
HOLD_SECONDS = 8.0
"""A request waits for so long until somebody has the seat: the vendor's client gives up after ten, for good."""


NOT_HERE = 421
"""One that has no seat says so to another that thinks it has."""


@dataclass(slots=True)
class _Term:
    """One time in the seat."""

    gateway: Gateway
    number: int
    held_at: float
    """When it was last known that we have it."""
    ends: anyio.Event


class Several:
    """The application of one of them.

    Args:
        seat: that one of them has.
        make: makes the gateway that decides, with nothing in its memory.
        address: of this one, as the others reach it.
        operator_keys: as `Gateway` has them.
        peers: asks the others.
        monotonic: seconds of a clock that only goes on.
    """

    def __init__(
        self,
        seat: Seat,
        make: Callable[[], Gateway],
        *,
        address: str,
        operator_keys: tuple[str, ...],
        peers: Peers,
        monotonic: Callable[[], float],
    ) -> None:
        self._seat, self._make, self._address = seat, make, address
        self._keys, self._peers, self._monotonic = operator_keys, peers, monotonic
        self._is_away = False
        self._term: _Term | None = None
        self._terms: set[asyncio.Task[None]] = set()
        self._holder = ""
        """Address of who has the seat; empty: nobody known."""
        self.router = Router(lifespan=self._lifespan)

    @property
    def leading(self) -> Gateway | None:
        """The gateway that decides, where it is this one."""
        return None if self._term is None else self._term.gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "lifespan":
            await self.router(scope, receive, send)
            return
        request = Request(scope, receive)
        if scope["path"] == "/healthz":
            answer = self._health(request)
        elif scope["path"] == STAND_DOWN:
            answer = await self._stand_down(request)
        elif (gateway := self._deciding()) is not None:
            await gateway.app(scope, receive, send)
            return
        else:
            await self._hand_on(scope, receive, send)
            return
        await answer(scope, receive, send)

    async def look(self) -> None:
        """Take the seat if it is free, keep it where we have it, learn who has it otherwise."""
        try:
            if self._term is None:
                await self._try()
            else:
                await self._keep(self._term)
        except (Away, StoreError) as error:
            # Known workers are routed to without the database; who has no seat waits for it.
            if not self._is_away:
                _LOG.warning("the database does not answer: %s", error)
            self._is_away = True
        else:
            self._is_away = False

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        ends = anyio.Event()
        await self.look()
        async with anyio.create_task_group() as group:
            group.start_soon(self._go_on, ends)
            yield
            ends.set()
        await self._end_term()
        await self._seat.leave()
        await self._peers.aclose()

    async def _go_on(self, ends: anyio.Event) -> None:
        while not ends.is_set():
            with anyio.move_on_after(LOOK_SECONDS):
                await ends.wait()
                return
            await self.look()

    async def _try(self) -> None:
        before = await self._seat.take(self._address)
        if before is None:
            self._follow((await self._seat.holder()).address)
            return
        number = before.number + 1
        is_sure = await self._has_left(before.address, number)
        gateway = self._make()
        if not is_sure:
            gateway.desk.unsure_until = self._monotonic() + UNSURE_SECONDS
        await self._begin_term(gateway, number)

    async def _keep(self, term: _Term) -> None:
        if await self._seat.holds():
            term.held_at = self._monotonic()
            return
        before = await self._seat.take(self._address)
        if before is None:
            await self._end_term()
            self._follow((await self._seat.holder()).address)
        elif before.number == term.number:
            # Nobody had it meanwhile, so nothing has changed but its number.
            term.number, term.held_at = before.number + 1, self._monotonic()
        else:
            await self._end_term()
            await self._begin_term(self._make(), before.number + 1)

    def _follow(self, address: str) -> None:
        """Hand on to who has the seat."""
        if address == self._address and address != self._holder:
            _LOG.error("another gateway that decides is at %s too: give each an --address of its own", address)
        self._holder = address

    async def _has_left(self, address: str, number: int) -> bool:
        """Whether who had the seat before decides no more, as far as that can be known."""
        if address in ("", self._address):
            return True
        try:
            return await self._peers.ask_to_stand_down(address, number)
        except PeerUnreachable as error:
            return error.is_gone

    async def _begin_term(self, gateway: Gateway, number: int) -> None:
        """Raises StoreError where the database cannot be read: the seat is left to others."""
        term = _Term(gateway, number, self._monotonic(), anyio.Event())
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            try:
                async with gateway.app.router.lifespan_context(gateway.app):
                    ready.set_result(None)
                    await term.ends.wait()
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        task = asyncio.create_task(live())
        self._terms.add(task)
        task.add_done_callback(self._terms.discard)
        try:
            await ready
        except BaseException:
            await self._seat.leave()
            raise
        self._term, self._holder = term, self._address
        _LOG.warning("this gateway decides from now on; it is number %d to do so", number)

    async def _end_term(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            self._holder = ""
            term.ends.set()
            if self._terms:
                await asyncio.wait(self._terms)

    def _health(self, request: Request) -> Response:
        """Of this one, whoever decides."""
        if request.method in ("GET", "HEAD"):
            return answered({"ok": True, "decides": self._term is not None})
        answer = said(405, "Method Not Allowed: /docs names what can be asked")
        answer.headers["Allow"] = "GET, HEAD"
        return answer

    def _deciding(self) -> Gateway | None:
        """The gateway here, where it decides; not while another may have our seat, and trust in our silence by now."""
        term = self._term
        if term is None or (self._seat.others > 0 and self._monotonic() - term.held_at > UNSURE_SECONDS):
            return None
        return term.gateway

    async def _stand_down(self, request: Request) -> Response:
        if request.method != "POST" or not is_peer(request.headers.get(PROOF, ""), self._keys):
            return said(404, "/docs names what can be asked")
        try:
            number = (await body(request)).get("number")
        except Problem as error:
            return said(error.status, error.words)
        if self._term is not None and isinstance(number, int) and number > self._term.number:
            await self._end_term()
        return answered({"decides": self._term is not None})

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let who has the seat answer; while nobody has it, wait a while."""
        request = Request(scope, receive)
        if request.headers.get(PROOF):
            await said(NOT_HERE, "this gateway does not decide")(scope, receive, send)
            return
        try:
            raw = await _read(request)
        except Problem as error:
            await said(error.status, error.words)(scope, receive, send)
            return
        answer = said(503, "no gateway decides now: ask again", retry_after_seconds=1)
        with anyio.move_on_after(HOLD_SECONDS):
            while self._deciding() is None:
                found = await self._handed_back(request, raw)
                if found is not None:
                    answer = found
                    break
                await anyio.sleep(LOOK_SECONDS)
        if (gateway := self._deciding()) is not None:
            await gateway.app(scope, _again(raw), send)
            return
        await answer(scope, receive, send)

    async def _handed_back(self, request: Request, raw: bytes) -> Response | None:
        """What who has the seat answers; None: nobody does now."""
        if self._holder in ("", self._address):
            return None
        # As it came: put together anew, a path may hold what no address can.
        target = request.scope["raw_path"].decode("latin-1") + (f"?{request.url.query}" if request.url.query else "")
        client = request.client.host if request.client else ""
        try:
            found = await self._peers.hand_on(self._holder, request.method, target, request.headers, raw, client=client)
        except PeerUnreachable:
            return None
        if found.status_code == NOT_HERE:
            return None
        headers = {name: value for name, value in found.headers.items() if name in GIVEN_BACK}
        return Response(found.content, status_code=found.status_code, headers=headers)


def _again(raw: bytes) -> Receive:
    """A body that was read already, for whoever reads it now."""
    messages = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def _read(request: Request) -> bytes:
    """Its body, within the limits of every body.

    Raises:
        Problem: it is too long, or does not come.
    """
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                raw += piece
                if len(raw) > MOST_BYTES:
                    raise Problem(413, f"at most {MOST_BYTES} bytes are read")
    except TimeoutError as error:
        raise Problem(408, f"the body did not come within {BODY_SECONDS:g} s") from error
    except ClientDisconnect as error:
        raise Problem(400, "whoever asked has left") from error
    return bytes(raw)
