"""Sends the calls of the table to a master and a worker, in real time or on a clock that is moved by hand."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import httpx

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.swarmui.master import PlayedMaster
from tests.standins.swarmui.calls import CHILD, Call, Framing, Json, Server
from tests.standins.swarmui.talk import QUIET_SECONDS, calm

T = TypeVar("T")

CALL_SECONDS = 0.05
"""What the measured client needed for a call that was answered at once."""
ANSWER_LOOKS = 100
"""As often, at short intervals of real time, a call is looked at before it counts as one that waits for the clock."""
TAIL_LENGTH = 160
"""How much of an answer was kept where the whole request was written by hand."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one call; status 0 is no answer at all."""

    status: int
    body: object
    seconds: float
    media_type: str | None = None
    location: str | None = None


class Time(Protocol):
    """Whose time the calls take."""

    def now(self) -> float:
        """Return seconds."""

    async def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""

    async def end(self, work: "asyncio.Future[T]") -> T:
        """Let as much time pass as a piece of work needs, and return what it gives."""


class RealTime:
    """For a real SwarmUI."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def end(self, work: "asyncio.Future[T]") -> T:
        # What a later list shows depends on how long ago the calls before it were made.
        done, _ = await asyncio.gather(work, asyncio.sleep(CALL_SECONDS))
        return done


class PlayedTime:
    """For a stand-in: time passes while a call waits for something other than loopback traffic."""

    def __init__(self, clock: ManualClock, master: PlayedMaster) -> None:
        self._clock = clock
        self._master = master

    def now(self) -> float:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        for _ in range(round(seconds / CALL_SECONDS)):
            await self._clock.advance(CALL_SECONDS)
            await calm(self._master)

    async def end(self, work: "asyncio.Future[T]") -> T:
        for _ in range(ANSWER_LOOKS):
            if work.done():
                break
            await asyncio.sleep(QUIET_SECONDS)
        await self.sleep(CALL_SECONDS)
        for _ in range(round(60 / CALL_SECONDS)):
            if work.done():
                break
            await self.sleep(CALL_SECONDS)
        return await work


class Talker:
    """A client of a master and its worker, which remembers what later calls need.

    Args:
        addresses: base URLs, without a trailing slash.
    """

    def __init__(self, addresses: Mapping[Server, str], http: httpx.AsyncClient, time: Time) -> None:
        self.addresses = addresses
        self._http = http
        self._time = time
        self._sessions: dict[Server, str] = {}
        self._child = -1

    async def ask(self, call: Call) -> Answer:
        """Make one call."""
        await self._time.sleep(call.after_seconds)
        asked_at = self._time.now()
        sending = self._send_raw(call) if call.framing is Framing.RAW else self._send(call)
        status, body, headers = await self._time.end(asyncio.ensure_future(sending))
        self._remember(call, body)
        seconds = self._time.now() - asked_at
        return Answer(status, body, seconds, headers.get("content-type"), headers.get("location"))

    def _remember(self, call: Call, body: object) -> None:
        if not isinstance(body, dict):
            return
        if call.name.startswith("GetNewSession") and call.to not in self._sessions:
            self._sessions[call.to] = str(body.get("session_id"))
        if call.route == "ListBackends" and call.to is Server.MASTER and "error" not in body:
            self._child = min((int(key) for key in body), default=-1)

    async def _send(self, call: Call) -> tuple[int, object, Mapping[str, str]]:
        path = self._filled(call.path or f"/API/{call.route}")
        try:
            response = await self._http.request(
                call.method,
                f"{self.addresses[call.to]}{path}",
                content=self._content(call),
                headers={name: self._filled(value) for name, value in self._headers(call).items()},
            )
        except httpx.TransportError as error:
            return 0, {"exc": type(error).__name__}, {}
        try:
            body = response.json()
        except ValueError:
            body = {"_text": response.text}
        return response.status_code, body, response.headers

    def _headers(self, call: Call) -> Mapping[str, str]:
        return call.headers if call.body is None else {"Content-Type": "application/json", **call.headers}

    def _content(self, call: Call) -> "bytes | AsyncIterator[bytes] | None":
        if call.body is not None:
            own = {"session_id": self._sessions.get(call.to)} if call.has_session else {}
            return self._filled(json.dumps({**self._with_child(call.body), **own})).encode()
        content = None if call.content is None else self._filled_bytes(call.content)
        return _chunks(content) if content is not None and call.framing is Framing.CHUNKED else content

    def _with_child(self, body: Json) -> Json:
        return {key: self._child if value == CHILD else value for key, value in body.items()}

    def _filled(self, text: str) -> str:
        for server in Server:
            text = text.replace(f"<{server.value}>", self._sessions.get(server, ""))
            text = text.replace(f"http://{server.name}", self.addresses[server])
        return text

    def _filled_bytes(self, content: bytes) -> bytes:
        return content if not content.isascii() else self._filled(content.decode()).encode()

    async def _send_raw(self, call: Call) -> tuple[int, object, Mapping[str, str]]:
        address = urlsplit(self.addresses[call.to])
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(call.content or b"")
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.partition(":")[2]) for line in head.splitlines() if line.lower().startswith("content-length:")
            )
            body = (await reader.readexactly(length)).decode()
        finally:
            writer.close()
        return int(head.split()[1]), {"_raw": body[-TAIL_LENGTH:]}, {}


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content
