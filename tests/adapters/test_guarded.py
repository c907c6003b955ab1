"""A transport to addresses that others have announced: what it looks up, where it connects, and where it does not."""

from collections.abc import Sequence

import anyio
import httpx
import pytest

from ebbflow.adapters.guarded import GuardedTransport
from ebbflow.core.addresses import IPAddress

pytestmark = pytest.mark.anyio

NAMES = {
    "worker.example": ["10.0.0.7"],
    "two.example": ["169.254.169.254", "10.0.0.8"],
    "down.example": ["10.0.0.9", "10.0.0.10"],
    "hostile.example": ["169.254.169.254"],
    "nothing.example": [],
}


async def look_up(host: str) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("Name or service not known")
    return NAMES[host]


def judge(host: str, address: IPAddress) -> str:
    return "never there" if address.is_link_local else ""


async def send(url: str) -> tuple[httpx.Response, list[httpx.Request]]:
    """The answer, and what was sent."""
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if request.url.host == "10.0.0.9":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text=request.url.host)

    async with httpx.AsyncClient(
        transport=GuardedTransport(lambda: httpx.MockTransport(answer), judge, look_up)
    ) as client:
        return await client.post(url, json={}), sent


async def test_it_connects_to_the_address_that_was_judged_and_asks_by_name() -> None:
    answer, (request,) = await send("https://worker.example:7801/API/x")
    assert answer.text == "10.0.0.7"
    assert (str(request.url), request.headers["Host"]) == ("https://10.0.0.7:7801/API/x", "worker.example:7801")
    assert request.extensions["sni_hostname"] == "worker.example", "its certificate is asked for by its name"


@pytest.mark.parametrize(("host", "address"), [("two.example", "10.0.0.8"), ("down.example", "10.0.0.10")])
async def test_it_takes_the_first_address_that_may_be_and_answers(host: str, address: str) -> None:
    answer, _ = await send(f"http://{host}:7801/")
    assert answer.text == address


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("hostile.example", "nothing is sent to hostile.example: never there"),
        ("169.254.0.7", "nothing is sent to 169.254.0.7: never there"),
        ("[fe80::1]", "nothing is sent to fe80::1: never there"),
        ("nothing.example", "nothing.example stands for no address"),
        ("unknown.example", "unknown.example is not known: Name or service not known"),
    ],
)
async def test_where_nothing_may_be_nothing_is_sent(host: str, why: str) -> None:
    with pytest.raises(httpx.ConnectError, match=why.replace(".", r"\.")):
        await send(f"http://{host}:7801/")


async def test_an_address_of_ipv6_stays_one() -> None:
    answer, (request,) = await send("http://[fd12::7]:7801/")
    assert answer.text == "fd12::7"
    assert request.headers["Host"] == "[fd12::7]:7801"


async def test_regression_a_connection_that_was_opened_to_one_name_was_used_for_another() -> None:
    made: list[httpx.AsyncBaseTransport] = []

    def make() -> httpx.AsyncBaseTransport:
        made.append(httpx.MockTransport(lambda request: httpx.Response(200)))
        return made[-1]

    async with httpx.AsyncClient(transport=GuardedTransport(make, judge, look_up)) as client:
        for host in ("worker.example", "worker.example", "two.example"):
            await client.post(f"https://{host}:7801/", json={})
    assert len(made) == 2, "a certificate was looked at for one name alone"


async def test_regression_an_address_that_swallows_everything_hid_the_ones_behind_it() -> None:
    limits = []

    def answer(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions.get("timeout", {}).get("connect"))
        if request.url.host == "10.0.0.9":
            raise httpx.ConnectTimeout("nothing came back")
        return httpx.Response(200, text=request.url.host)

    guarded = GuardedTransport(lambda: httpx.MockTransport(answer), judge, look_up)
    async with httpx.AsyncClient(transport=guarded, timeout=None) as client:
        with anyio.fail_after(10):
            assert (await client.post("http://down.example/", json={})).text == "10.0.0.10"
    assert limits[0] == pytest.approx(5, abs=0.5)
    assert limits[1] is None
