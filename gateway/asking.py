"""What is asked of the gateway, read without trust; and who asks."""

import asyncio
import math
from collections.abc import Generator, Mapping
from functools import partial
from hmac import compare_digest
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.types import Message

from ebbflow.gateway.terms import Refused
from ebbflow.gateway.wire import ENDPOINT

MOST_BYTES = 256 * 1024
BODY_SECONDS = 10.0
"""A body that has not come by then is not waited for."""
MOST_COST = 1e12
MOST_PRIORITY = 100
MOST_LEASE_SECONDS = 86_400.0
KEEP_SECONDS = 5.0, 60.0, 600.0
"""How long a request may be left unasked for: at least, where nothing is said, at most."""


class Problem(Exception):
    """What was asked for is not possible; its words go to whoever asked."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


async def body(request: Request) -> Mapping[str, Any]:
    """The JSON object that came. Any: it is somebody else's.

    Raises:
        Problem: it is none, is too long, or does not come.
    """
    raw = b""
    ends_at = asyncio.get_running_loop().time() + BODY_SECONDS
    while True:
        message = await _received(request, ends_at)
        if message["type"] != "http.request":
            raise Problem(400, "whoever asked has left")
        raw = raw + message["body"] if raw else message["body"]
        if len(raw) > MOST_BYTES:
            raise Problem(413, f"at most {MOST_BYTES} bytes are read")
        if not message.get("more_body"):
            break
    try:
        data = orjson.loads(raw or b"{}")
    except ValueError as error:
        raise Problem(400, "the body is no JSON") from error
    if not isinstance(data, dict):
        raise Problem(400, "the body is no JSON object")
    return data


async def _received(request: Request, ends_at: float) -> Message:
    """The next part of a body.

    Most bodies come with their head, and a timer would cost a quarter of a whole route: it is set only for those that
    have to be waited for.

    Raises:
        Problem: it does not come.
    """
    coming = request.receive().__await__()
    try:
        waits_for = next(coming)
    except StopIteration as there:
        return cast(Message, there.value)
    try:
        async with asyncio.timeout_at(ends_at):
            return await _Rest(waits_for, coming)
    except TimeoutError as error:
        raise Problem(408, f"the body did not come within {BODY_SECONDS:g} s") from error


class _Rest:
    """What is left of something that was awaited once.

    Args:
        waits_for: what it waits for.
        steps: what comes after.
    """

    def __init__(self, waits_for: object, steps: Generator[Any, None, Message]) -> None:
        self._waits_for, self._steps = waits_for, steps

    def __await__(self) -> Generator[Any, None, Message]:
        waits_for = self._waits_for
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:
                step = partial(self._steps.throw, error)
            else:
                step = partial(self._steps.send, sent)
            try:
                waits_for = step()
            except StopIteration as there:
                return cast(Message, there.value)


def bearer(request: Request) -> str:
    """The key of the header; empty: none."""
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.decode("latin-1").partition(" ")
            return str(key.strip()) if kind.lower() == "bearer" else ""
    return ""


def check_operator(request: Request, keys: tuple[str, ...]) -> None:
    """Let operators in.

    Raises:
        Refused: it is nobody's key.
    """
    given = bearer(request).encode()
    # Each is compared, so that the time tells nothing.
    if not any([compare_digest(given, key.encode()) for key in keys]):
        raise Refused


def client_key(request: Request, data: Mapping[str, object]) -> str:
    """The key, wherever the client says it; where it says two, they must be one.

    Raises:
        Refused: it says none, or two.
        Problem: what it says is no text.
    """
    written = text(data, "api_key", usual="")
    asked = request.query_params.get("api_key") if request.scope["query_string"] else None
    said = {key for key in (bearer(request), asked, written) if key}
    if len(said) != 1:
        raise Refused
    return said.pop()


def text(data: Mapping[str, object], name: str, most_letters: int = 300, usual: str | None = None) -> str:
    """A text of the body.

    Raises:
        Problem: it is none, or too long.
    """
    value = data.get(name, usual)
    if not isinstance(value, str) or len(value) > most_letters:
        raise Problem(400, f"{name}: a text of at most {most_letters} letters is expected")
    return value


def number(data: Mapping[str, object], name: str, *, least: float, most: float, usual: float | None = None) -> float:
    """A number of the body, as it was said.

    Raises:
        Problem: it is none, or out of bounds.
    """
    value = data.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Problem(400, f"{name}: a number from {least:g} to {most:g} is expected")
    return value


def whole(data: Mapping[str, object], name: str, *, least: int, most: int, usual: int) -> int:
    """A whole number of the body.

    Raises:
        Problem: it is none, or out of bounds.
    """
    value = data.get(name, usual)
    # To JSON, 7.0 is as whole as 7, and some clients write so.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise Problem(400, f"{name}: a whole number from {least} to {most} is expected")
    return value


def endpoint_name(request: Request) -> str:
    """The endpoint of the path.

    Raises:
        Problem: it is no name of one.
    """
    name = str(request.path_params["name"])
    if not ENDPOINT.fullmatch(name):
        raise Problem(400, "endpoint: 1 to 40 of [A-Za-z0-9_.-] are expected, for instance llama-70b")
    return name


def lease_seconds(data: Mapping[str, object]) -> float:
    """How long clients may be sent to a worker. Raises as `number`."""
    return float(number(data, "lease_seconds", least=1, most=MOST_LEASE_SECONDS, usual=600.0))


def keep_seconds(data: Mapping[str, object]) -> float:
    """How long a request may be left unasked for; what is no number is none, as clients leave it out."""
    said = data.get("replay_timeout")
    least, usual, most = KEEP_SECONDS
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        return usual
    return float(min(max(said, least), most))
