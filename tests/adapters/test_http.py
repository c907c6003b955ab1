"""What HTTP adapters share."""

import gzip
import time
from collections.abc import Callable

import anyio
import httpx
import pytest

from ebbflow.adapters.http import IDLE_SECONDS, HttpClient, NoAnswer, base_url

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("repeats", "calls"), [(0, 1), (1, 2), (2, 3)])
async def test_a_temporary_status_is_tried_again_only_as_often_as_allowed(repeats: int, calls: int) -> None:
    seen: list[float] = []
    client = client_of(lambda request: httpx.Response(503), slept=seen)
    answer = await client.send("POST", "http://h/x", timeout_seconds=5, repeats=repeats)
    await client.aclose()
    assert answer.status_code == 503
    assert len(seen) == calls - 1


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404])
async def test_any_other_status_is_the_answer(status: int) -> None:
    seen: list[float] = []
    client = client_of(lambda request: httpx.Response(status, headers={"location": "http://other/"}), slept=seen)
    answer = await client.send("POST", "http://h/x", timeout_seconds=5, repeats=3)
    await client.aclose()
    assert (answer.status_code, seen) == (status, [])


@pytest.mark.parametrize(
    ("error", "maybe_sent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ReadError("reset"), True),
        (httpx.RemoteProtocolError("closed"), True),
    ],
)
async def test_no_answer_says_whether_it_was_sent(error: Exception, maybe_sent: bool) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    client = client_of(fail, slept=[])
    with pytest.raises(NoAnswer, match=str(error)) as caught:
        await client.send("POST", "http://h/x", timeout_seconds=5, repeats=1)
    await client.aclose()
    assert caught.value.maybe_sent is maybe_sent


async def test_regression_a_small_compressed_answer_unfolded_in_our_memory() -> None:
    def compressed(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        return httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"{}"))

    slept: list[float] = []
    client = client_of(compressed, slept=slept)
    with pytest.raises(NoAnswer, match=r"compressed \('gzip'\), which was not asked for"):
        await client.send("POST", "http://h/x", timeout_seconds=5, repeats=3)
    await client.aclose()
    assert slept == [], "it is not asked for again"


async def test_an_answer_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebbflow.adapters.http.MAX_ANSWER_BYTES", 1000)
    sizes = iter([1000, 1001])
    client = client_of(lambda request: httpx.Response(200, content=b"x" * next(sizes)), slept=[])
    assert len((await client.send("GET", "http://h/x", timeout_seconds=5)).content) == 1000
    with pytest.raises(NoAnswer, match="longer than 1000 bytes"):
        await client.send("GET", "http://h/x", timeout_seconds=5)
    await client.aclose()


async def test_time_is_for_everything_together() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    client = HttpClient(transport=httpx.MockTransport(hang))
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"0\.1 s") as caught:
        await client.send("POST", "http://h/x", timeout_seconds=0.1, repeats=5)
    await client.aclose()
    assert caught.value.maybe_sent
    assert time.monotonic() - began < 1


async def test_a_cookie_of_one_server_is_not_sent_to_the_next() -> None:
    sent: list[str | None] = []

    def give(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "swarm_token=abc"})

    client = client_of(give, slept=[])
    for port in (1, 1, 2):
        await client.send("POST", f"http://h:{port}/x", timeout_seconds=5)
    await client.aclose()
    assert sent == [None, None, None]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://h:7801", "http://h:7801"),
        (" https://h/swarm// ", "https://h/swarm"),
        ("http://[::1]:7801/", "http://[::1]:7801"),
    ],
)
def test_an_address_loses_its_last_slash(text: str, address: str) -> None:
    assert base_url(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h:7801",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:0",
        "http://u:s3cret@h",
        "http://h?s3cret",
        "http://h h",
    ],
)
def test_what_is_no_address_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        base_url(text)
    assert "s3cret" not in str(caught.value)


def client_of(answer: Callable[[httpx.Request], httpx.Response], *, slept: list[float]) -> HttpClient:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return HttpClient(transport=httpx.MockTransport(answer), sleep=sleep)


async def test_regression_a_create_met_the_servers_close_of_an_idle_connection_and_had_no_answer() -> None:
    client = HttpClient()
    pool = client._client(is_tls=False)._transport._pool  # type: ignore[attr-defined]
    assert pool._keepalive_expiry == IDLE_SECONDS < 5.0, "uvicorn, and others, close idle connections after 5 s"
    await client.aclose()
