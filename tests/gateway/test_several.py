"""Several gateways as one: who decides, what the others do meanwhile, and what holds when one is cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from ebbflow.gateway import several
from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.peers import FOR, PROOF, Peers, PeerUnreachable, client_of, is_peer, proof_of
from ebbflow.gateway.seat import Away, Holder
from ebbflow.gateway.several import UNSURE_SECONDS, Several
from ebbflow.gateway.store import Store
from ebbflow.gateway.terms import Clocks
from ebbflow.gateway.wire import token_of
from tests.gateway.test_app import ID, LOADED, OPERATOR, SECRET, URL

pytestmark = pytest.mark.anyio


class Seats:
    """The one seat, in memory; whoever is cut off from it cannot tell."""

    def __init__(self) -> None:
        self.last = Holder("", 0)
        self.holder = ""
        self.cut_off: set[str] = set()


class SeatOf:
    """What one gateway sees of it."""

    def __init__(self, seats: Seats, address: str) -> None:
        self._seats, self._address = seats, address
        self.others = 1

    async def take(self, address: str) -> Holder | None:
        self._reach()
        if self._seats.holder not in ("", address):
            return None
        before = self._seats.last
        self._seats.holder, self._seats.last = address, Holder(address, before.number + 1)
        return before

    async def holds(self) -> bool:
        return self._address not in self._seats.cut_off and self._seats.holder == self._address

    async def holder(self) -> Holder:
        self._reach()
        return self._seats.last

    async def leave(self) -> None:
        if self._address not in self._seats.cut_off and self._seats.holder == self._address:
            self._seats.holder, self._seats.last = "", Holder("", self._seats.last.number)

    def _reach(self) -> None:
        if self._address in self._seats.cut_off:
            raise Away("cut off")


class Town:
    """Two gateways, whose clock and whose lines a test holds."""

    def __init__(self, folder: Path) -> None:
        self._url = f"sqlite+aiosqlite:///{folder / 'gateway.sqlite'}"
        self.now, self.seats = 1000.0, Seats()
        self.apps: dict[str, Several] = {}
        self.unreachable: set[str] = set()
        self.key = ""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Town"]:
        async with AsyncExitStack() as stack:
            for name in ("first", "second"):
                address = f"http://{name}"
                self.apps[name] = Several(
                    SeatOf(self.seats, address),
                    self._made,
                    address=address,
                    operator_keys=(OPERATOR,),
                    peers=Peers(OPERATOR, httpx.MockTransport(self._between)),
                    monotonic=lambda: self.now,
                )
                app = self.apps[name]
                await stack.enter_async_context(app.router.lifespan_context(app.router))
            yield self

    async def ask(self, name: str, method: str, path: str, **more: Any) -> httpx.Response:
        """A client, worker or operator asks one of them."""
        transport = httpx.ASGITransport(app=self.apps[name])
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            return await http.request(method, path, **more)

    async def operator(self, name: str, method: str, path: str, **body: object) -> dict[str, Any]:
        answer = await self.ask(
            name, method, f"/operator/{path}", json=body, headers={"Authorization": f"Bearer {OPERATOR}"}
        )
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def serve(self) -> None:
        """One worker, registered and ready, and a client's key; told to whoever does not decide."""
        await self.operator("second", "PUT", "endpoints/ep")
        self.key = (await self.operator("second", "POST", "endpoints/ep/keys"))["key"]
        assert (await self.report("second")).is_success
        assert (await self.operator("first", "PUT", f"endpoints/ep/workers/{ID}", url=URL, lease_seconds=600))["ready"]

    async def report(self, name: str) -> httpx.Response:
        return await self.ask(name, "POST", "/worker_status/", json=LOADED | {"mtoken": token_of(ID, SECRET)})

    async def route(self, name: str, number: int = 0) -> httpx.Response:
        body = {"endpoint": "ep", "api_key": self.key, "cost": 1, "request_idx": number}
        return await self.ask(name, "POST", "/route/", json=body)

    def who(self) -> list[str]:
        """Those that decide."""
        return [name for name, app in self.apps.items() if app.leading is not None]

    async def look(self) -> None:
        for app in self.apps.values():
            await app.look()

    def _made(self) -> Gateway:
        clocks = Clocks(lambda: self.now, lambda: 1e9 + self.now)
        return Gateway(
            Desk(Store(self._url), worker_secrets=(SECRET,), clocks=clocks), operator_keys=(OPERATOR,), clocks=clocks
        )

    async def _between(self, request: httpx.Request) -> httpx.Response:
        if request.url.host in self.unreachable:
            raise httpx.ConnectTimeout("no answer", request=request)
        return await httpx.ASGITransport(app=self.apps[request.url.host]).handle_async_request(request)


@pytest.fixture
async def town(anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    # They look when a test says so.
    monkeypatch.setattr(several, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(several, "HOLD_SECONDS", 30)
    monkeypatch.setattr(Several, "_go_on", _stand_still)
    async with Town(tmp_path).opened() as made:
        yield made


@pytest.fixture
def impatient(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that nobody answers is not held for long."""
    monkeypatch.setattr(several, "HOLD_SECONDS", 0.3)


async def _stand_still(self: Several, ends: object) -> None:
    return


async def test_one_decides_and_whatever_is_told_to_either_is_known_to_both_at_once(town: Town) -> None:
    assert town.who() == ["first"]
    await town.serve()
    numbers = [(await town.route(name)).json()["request_idx"] for name in ("first", "second", "first")]
    assert len(set(numbers)) == 3
    await town.operator("second", "PUT", f"workers/{ID}/drain")
    assert "url" not in (await town.route("first")).json()
    answer = await town.route("second")
    assert answer.json()["position"] == 1, "one queue"


async def test_when_the_one_leaves_the_other_knows_what_it_must_and_goes_on(town: Town) -> None:
    await town.serve()
    given = (await town.route("first")).json()
    await town.apps["first"]._end_term()
    await SeatOf(town.seats, "http://first").leave()
    await town.apps["second"].look()
    await town.apps["first"].look()
    assert town.who() == ["second"]
    after = (await town.route("first")).json()
    assert (after["url"], after["signature"]) == (given["url"], given["signature"])
    assert after["request_idx"] != given["request_idx"]
    drained = await town.operator("first", "PUT", f"workers/{ID}/drain")
    assert drained["busy"] is not None, "it had left, so the other is sure of what it knows"


async def test_while_nobody_decides_a_request_waits_and_is_then_answered(town: Town) -> None:
    await town.serve()
    await town.apps["first"]._end_term()
    town.seats.holder, town.seats.last = "", Holder("", 1)
    asked = asyncio.ensure_future(town.route("second"))
    await asyncio.sleep(0.05)
    assert not asked.done()
    await town.apps["second"].look()
    assert (await asked).json()["url"] == URL


@pytest.mark.usefixtures("impatient")
async def test_where_nobody_decides_for_long_one_is_told_to_ask_again(town: Town) -> None:
    await town.serve()
    await town.apps["first"]._end_term()
    answer = await town.route("second")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.usefixtures("impatient")
async def test_one_that_is_cut_off_goes_on_for_a_while_and_then_sends_nobody_anywhere(town: Town) -> None:
    await town.serve()
    town.seats.cut_off = {"http://first"}
    await town.look()
    assert (await town.route("first")).json()["url"] == URL
    town.now += UNSURE_SECONDS + 1
    assert (await town.route("first")).status_code == 503, "another may have its seat, and drain its workers"


async def test_one_that_is_alone_goes_on_however_long_its_database_is_away(town: Town) -> None:
    await town.serve()
    town.seats.cut_off = {"http://first"}
    town.apps["first"]._seat.others = 0  # type: ignore[misc]
    await town.look()
    town.now += 10 * UNSURE_SECONDS
    await town.report("first")
    await town.operator("first", "POST", "endpoints/ep/leases", worker_ids=[ID], lease_seconds=600)
    assert (await town.route("first")).json()["url"] == URL


@pytest.mark.usefixtures("impatient")
async def test_who_took_the_seat_of_one_that_may_live_says_of_no_worker_that_it_is_idle(town: Town) -> None:
    await town.serve()
    town.seats.cut_off, town.seats.holder = {"http://first"}, ""
    town.unreachable = {"first"}
    await town.apps["second"].look()
    assert town.who() == ["first", "second"], "cut off from both, it cannot know"
    await town.report("second")
    assert (await town.operator("second", "PUT", f"workers/{ID}/drain"))["busy"] is None
    (row,) = (await town.operator("second", "GET", "endpoints/ep"))["workers"]
    assert row["busy"] is None
    town.now += UNSURE_SECONDS + 1
    await town.apps["second"].look()
    await town.report("second")
    assert (await town.operator("second", "PUT", f"workers/{ID}/drain"))["busy"] is False
    assert (await town.route("first")).status_code == 503


async def test_who_lost_the_seat_stands_down_when_it_is_told_and_hands_on(town: Town) -> None:
    await town.serve()
    town.seats.cut_off, town.seats.holder = {"http://first"}, ""
    await town.apps["second"].look()
    assert town.who() == ["second"], "it was told"
    await town.report("second")
    assert (await town.operator("second", "PUT", f"workers/{ID}/drain"))["busy"] is False
    await town.operator("second", "DELETE", f"workers/{ID}/drain")
    town.seats.cut_off = set()
    await town.look()
    assert (await town.route("first")).json()["url"] == URL


async def test_one_that_had_its_seat_again_after_another_begins_anew_with_what_the_database_has(town: Town) -> None:
    await town.serve()
    town.seats.holder, town.seats.last = "", Holder("", 7)
    before = town.apps["first"].leading
    await town.apps["first"].look()
    assert town.who() == ["first"]
    assert town.apps["first"].leading is not before
    assert (await town.route("first")).json()["url"] == URL


async def test_two_that_say_one_address_are_told_apart_by_nobody_so_the_log_says_it(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    town.seats.last = Holder("http://second", 1)
    await town.apps["second"].look()
    await town.apps["second"].look()
    assert caplog.text.count("another gateway that decides is at http://second too: give each an --address") == 1


@pytest.mark.parametrize("proof", ["", "wrong"])
async def test_nobody_else_makes_one_stand_down(town: Town, proof: str) -> None:
    answer = await town.ask("first", "POST", "/peer/stand-down", json={"number": 99}, headers={PROOF: proof})
    assert answer.status_code == 404
    assert town.who() == ["first"]


async def test_a_seat_that_was_taken_before_makes_nobody_stand_down(town: Town) -> None:
    said = {PROOF: proof_of(OPERATOR)}
    answer = await town.ask("first", "POST", "/peer/stand-down", json={"number": 1}, headers=said)
    assert answer.json() == {"decides": True}
    assert town.who() == ["first"]


async def test_what_is_handed_on_twice_is_not_handed_on_for_ever(town: Town) -> None:
    answer = await town.ask("second", "GET", "/pubkey/", headers={PROOF: "whatever"})
    assert answer.status_code == 421


async def test_regression_a_path_with_odd_letters_was_held_and_said_that_nobody_decides(town: Town) -> None:
    path = "/operator/endpoints/%1B%C2%BC%F0%BC%82%93%3F?limit=%1A"
    one, other = [
        await town.ask(name, "GET", path, headers={"Authorization": f"Bearer {OPERATOR}"}) for name in town.apps
    ]
    assert one.status_code == 400
    assert (other.status_code, other.content) == (one.status_code, one.content)


@pytest.mark.parametrize("method", ["POST", "TRACE", "DELETE"])
async def test_its_health_is_asked_for_and_nothing_else(town: Town, method: str) -> None:
    for name in town.apps:
        answer = await town.ask(name, method, "/healthz")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_body_that_is_too_long_is_refused_where_it_comes(town: Town) -> None:
    answer = await town.ask("second", "POST", "/route/", content=b"x" * 300_000)
    assert answer.status_code == 413


async def test_refusals_are_counted_by_the_address_that_asked_and_not_by_the_gateway_that_handed_it_on() -> None:
    def asked(**headers: str) -> str:
        scope = {
            "type": "http",
            "client": ("10.0.0.2", 1),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        return client_of(Request(scope), (OPERATOR,))

    assert asked() == "10.0.0.2"
    assert asked(ebbflow_peer=proof_of(OPERATOR), ebbflow_for="192.0.2.7") == "192.0.2.7"
    assert asked(ebbflow_peer="forged", ebbflow_for="192.0.2.7") == "10.0.0.2", "whoever says so must prove it"
    assert FOR == "ebbflow-for"
    assert is_peer(proof_of("old"), (OPERATOR, "old"))


async def test_a_gateway_whose_machine_refuses_is_gone_and_one_that_is_silent_may_live() -> None:
    peers = Peers(OPERATOR)
    with pytest.raises(PeerUnreachable) as caught:
        await peers.ask_to_stand_down("http://127.0.0.1:9", 2)
    assert caught.value.is_gone
    silent = Peers(OPERATOR, httpx.MockTransport(_silent))
    with pytest.raises(PeerUnreachable) as caught:
        await silent.ask_to_stand_down("http://gateway", 2)
    assert not caught.value.is_gone
    await peers.aclose()
    await silent.aclose()


@pytest.mark.parametrize("answer", [b"", b"ok", b"[]", b"{}", b'{"decides": true}', b'{"decides": 0}'])
async def test_whatever_else_answers_at_its_address_has_not_stood_down(answer: bytes) -> None:
    peers = Peers(OPERATOR, httpx.MockTransport(lambda request: httpx.Response(200, content=answer)))
    assert not await peers.ask_to_stand_down("http://gateway", 2)
    await peers.aclose()


def _silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer", request=request)
