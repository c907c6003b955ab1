"""What of a server's messages may reach our functions."""

from typing import Any

import msgpack
import pytest

from ebbflow.services.hypha.guard import CONTEXT, TOO_LARGE, NotTaken, checked, sender

FIRST = {
    "type": "method",
    "from": "ws-user-ada/c",
    "to": "lab/ebbflow",
    "method": "services.ebbflow.submit",
    "user": {},
}
SECOND = {"args": ["python train.py"], "with_kwargs": False, "promise": "*", "t": 15}


def message(first: Any, *more: Any) -> bytes:
    return b"".join(msgpack.packb(each) for each in (first, *more))


@pytest.mark.parametrize("parts", [(FIRST,), (FIRST, {}), (FIRST, SECOND)])
def test_what_an_honest_client_sends_is_taken_as_it_is(parts: tuple[Any, ...]) -> None:
    assert checked(message(*parts)) == message(*parts)


def test_a_sender_who_brings_more_than_arguments_is_not_heard() -> None:
    with pytest.raises(NotTaken, match="words on who sent it"):
        checked(message(FIRST, {**SECOND, "note": {}}))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (message(FIRST | {CONTEXT: {}}, SECOND), "words on who sent it"),
        (message(FIRST, SECOND, {}), "words on who sent it"),
        (message([1]), "cannot be read"),
        (message({1: 2}), "cannot be read"),
        (message(FIRST, [1]), "cannot be read"),
        (message(FIRST)[:-3], "cannot be read"),
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (b"\x91" * 5000, "cannot be read"),
    ],
)
def test_what_is_no_message_is_not_taken(raw: bytes, said: str) -> None:
    with pytest.raises(NotTaken, match=said):
        checked(raw)
    sender(raw)


@pytest.mark.parametrize(
    "raw",
    [
        message(FIRST | {"method": "services.built-in.message_cache.create"}, SECOND),
        message(FIRST, SECOND | {"args": ["x" * 1_000_000]}),
    ],
    ids=["in pieces", "in one"],
)
def test_arguments_that_are_too_large_are_refused_in_words_that_reach_their_sender(raw: bytes) -> None:
    parts = msgpack.Unpacker()
    parts.feed(checked(raw))
    assert list(parts) == [FIRST | {"method": TOO_LARGE}, {"with_kwargs": False, "promise": "*", "t": 15}]
    assert "." not in TOO_LARGE, "a name in which there is one is looked for otherwise"
