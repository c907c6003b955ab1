"""How a model's answer is read: what is counted of it, and how much is read at most. Pure."""

import json
from collections.abc import AsyncIterator
from typing import Any

MOST_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one answer; a hundred thousand tokens, with all that servers write around each, are less."""
MOST_LINE_BYTES = 1024 * 1024
MOST_COUNTED = 1_000_000
"""Tokens that one answer may say that it has."""
_DATA, _DONE = b"data:", b"[DONE]"


class TooLong(Exception):
    """More than is read of one answer."""


class Nonsense(Exception):
    """No answer of a model; says what it is."""


class EventCount:
    """Counts the events of a streamed answer, a token each: `data:` lines, or lines of JSON.

    Args:
        most_bytes: of all of it.
        most_line_bytes: of one line.
    """

    def __init__(self, *, most_bytes: int = MOST_ANSWER_BYTES, most_line_bytes: int = MOST_LINE_BYTES) -> None:
        self.tokens = 0
        self._most_bytes, self._most_line_bytes = most_bytes, most_line_bytes
        self._bytes = 0
        self._rest = bytearray()

    def feed(self, part: bytes) -> None:
        """Take the next piece, wherever it was cut.

        Raises:
            TooLong: a line, or all of it, is.
            Nonsense: an event says that the server failed.
        """
        self._bytes += len(part)
        if self._bytes > self._most_bytes:
            raise TooLong(f"more than {self._most_bytes} bytes")
        first, *more = part.split(b"\n")
        self._rest += first
        for line in more:
            self._line(bytes(self._rest))
            self._rest = bytearray(line)
        self._check_rest()

    def end(self) -> int:
        """How many there were.

        Raises:
            Nonsense: none.
        """
        self._line(bytes(self._rest))
        if not self.tokens:
            raise Nonsense("a stream without an event")
        return self.tokens

    def _check_rest(self) -> None:
        if len(self._rest) > self._most_line_bytes:
            raise TooLong(f"a line of more than {self._most_line_bytes} bytes")

    def _line(self, line: bytes) -> None:
        self._check_rest()
        text = line.strip()
        is_data = text.startswith(_DATA)
        said = text[len(_DATA) :].strip() if is_data else text
        if not said or said == _DONE or not (is_data or said.startswith(b"{")):
            return
        # Only a line that may say so is parsed: a run reads millions.
        if b'"error"' in said and (error := json_object(said).get("error")):
            raise Nonsense(f"an event says: {error}")
        self.tokens += 1


def whole(raw: bytes, asked: int) -> int:
    """How many tokens an answer has that came at once: as it says, or as were asked for.

    Args:
        raw: the answer, JSON.
        asked: tokens that were asked for.

    Raises:
        Nonsense: it is no JSON object, says that the server failed, or has more tokens than can be.
    """
    said = json_object(raw)
    if not said:
        raise Nonsense("an answer that is no JSON object")
    if said.get("error"):
        raise Nonsense(f"an answer that says: {said['error']}")
    tokens, usage = said.get("tokens"), said.get("usage")
    if isinstance(tokens, list):
        tokens = len(tokens)
    elif type(tokens) is not int:
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if type(tokens) is not int:
        return asked
    if not 0 <= tokens <= MOST_COUNTED:
        raise Nonsense(f"an answer that says it has {tokens} tokens")
    return tokens


async def bounded(parts: AsyncIterator[bytes], most_bytes: int) -> bytes:
    """All of it.

    Raises:
        TooLong: it is.
    """
    raw = bytearray()
    async for part in parts:
        raw += part
        if len(raw) > most_bytes:
            raise TooLong(f"more than {most_bytes} bytes")
    return bytes(raw)


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object; empty where it is none. Any: it is somebody else's."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
