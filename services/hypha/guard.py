"""What may reach our functions of what a Hypha server passes on.

A message has two parts. The server writes into the first one who sent it, and leaves the rest of both as the sender
made it. Who calls is read from the server's words alone, so a message that brings such words of its own is not taken;
and arguments that come in pieces are put together outside of the server's sight, so a call has to fit into one message.

Source: hypha-rpc 0.21.47 `rpc.py`, the "two-segment msgpack protocol".
"""

import io
from collections.abc import Mapping
from typing import Any

import msgpack

OF_SENDERS = frozenset({"args", "with_kwargs", "promise", "t"})
"""What a sender's part may hold: arguments, and where the answer is to go."""
CONTEXT = "ctx"
IN_PIECES = "services.built-in.message_cache"
MOST_BYTES = 1_000_000
TOO_LARGE = "the arguments of a call may have 250000 bytes"
"""In the place of a method's name: the sender is told that there is none called this."""


class NotTaken(Exception):
    """The message is none of an honest client; says why."""


def checked(message: bytes) -> bytes:
    """The message, fit to be handled.

    Raises:
        NotTaken: it is not.
    """
    parts = msgpack.Unpacker(io.BytesIO(message), max_buffer_size=max(len(message), 1))
    try:
        first, at = _part(parts), parts.tell()
        second = _part(parts) if at < len(message) else {}
        is_whole = parts.tell() == len(message)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise NotTaken("it cannot be read") from error
    if not is_whole or CONTEXT in first or not set(second) <= OF_SENDERS:
        raise NotTaken("it brings words on who sent it")
    if len(message) <= MOST_BYTES and not str(first.get("method")).startswith(IN_PIECES):
        return message
    # Without the arguments, and with where the answer is to go.
    told = {name: value for name, value in second.items() if name != "args"}
    return bytes(msgpack.packb({**first, "method": TOO_LARGE}) + msgpack.packb(told))


def sender(message: bytes) -> Mapping[str, object]:
    """What the server says of who sent a message; as little as can be read."""
    try:
        return _part(msgpack.Unpacker(io.BytesIO(message), max_buffer_size=max(len(message), 1)))
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError):
        return {}


def _part(parts: Any) -> dict[str, object]:
    """One part. Any: the package has no types."""
    found = parts.unpack()
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ValueError("no object")
    return found
