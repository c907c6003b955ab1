"""How a model's answer is counted, wherever it was cut, and how much of it is read."""

import json

import pytest

from ebbflow.services.simulated_clients.answers import (
    MOST_ANSWER_BYTES,
    MOST_LINE_BYTES,
    EventCount,
    Nonsense,
    TooLong,
    whole,
)

EVENTS = b'data: {"token": "a"}\n\ndata:{"token": "b"}\r\n\r\n: a comment\nevent: x\n{"token": "c"}\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_an_event_is_a_token_wherever_the_stream_was_cut(size: int) -> None:
    count = EventCount()
    for begin in range(0, len(EVENTS), size):
        count.feed(EVENTS[begin : begin + size])
    assert count.end() == 3


def test_a_last_event_without_a_line_end_counts() -> None:
    count = EventCount()
    count.feed(b'data: {"token": "a"}\ndata: {"token": "b"}')
    assert (count.tokens, count.end()) == (1, 2)


def test_a_token_that_speaks_of_an_error_is_one() -> None:
    count = EventCount()
    count.feed(b'data: {"token": "\\"error\\""}\ndata: {"token": "x", "error": null}\n')
    assert count.end() == 2


@pytest.mark.parametrize(
    ("piece", "times", "words"),
    [
        (b"x" * 1024, 50 * 1024, f"a line of more than {MOST_LINE_BYTES} bytes"),
        (b"x" * 50 * 1024 * 1024, 1, "more than 33554432 bytes"),
        (b"data: " + b"x" * 2 * 1024 * 1024 + b"\n", 1, f"a line of more than {MOST_LINE_BYTES} bytes"),
        (b"data: " + b"x" * 100_000 + b"\n", 1000, "more than 33554432 bytes"),
    ],
    ids=["a line of 50 MB", "at once", "with an end", "a stream without an end"],
)
def test_what_is_too_long_is_not_kept(piece: bytes, times: int, words: str) -> None:
    count, read = EventCount(), 0

    def feed() -> None:
        nonlocal read
        for _ in range(times):
            count.feed(piece)
            read += len(piece)

    with pytest.raises(TooLong, match=words):
        feed()
    assert read <= MOST_ANSWER_BYTES


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"tokens": ["a", "b"]}, 2),
        ({"tokens": []}, 0),
        ({"tokens": 5}, 5),
        ({"usage": {"completion_tokens": 4}}, 4),
        ({"usage": {"completion_tokens": True}}, 9),
        ({"usage": None, "text": "a"}, 9),
        ({"tokens": "a", "text": "a"}, 9),
        ({"error": None, "text": "a"}, 9),
    ],
)
def test_an_answer_that_came_at_once_has_the_tokens_that_it_says_or_those_that_were_asked_for(
    answer: dict[str, object], tokens: int
) -> None:
    assert whole(json.dumps(answer).encode(), 9) == tokens


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"<html>", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"error": "CUDA"}', b'{"tokens": 1e400}x'),
        *(b'{"tokens": -1}', b'{"usage": {"completion_tokens": 99999999999}}', b'{"tokens": %s}' % (b"9" * 5000)),
    ],
)
def test_what_is_no_answer_of_a_model_counts_for_nothing(raw: bytes) -> None:
    with pytest.raises(Nonsense):
        whole(raw, 9)
