"""The gateway over HTTP, on a database file: what workers, clients and operators get, also after a restart."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Scope

from ebbflow.gateway import asking
from ebbflow.gateway.app import Gateway
from ebbflow.gateway.asking import MOST_BYTES
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.guard import REFUSALS_AT_ONCE
from ebbflow.gateway.store import Store
from ebbflow.gateway.terms import Clocks
from ebbflow.gateway.tickets import signed_text
from ebbflow.gateway.wire import token_of
from tests.gateway.street import Street
from tests.gateway.test_reports import ALL, BUSY

OPERATOR, SECRET = "operator-key", "s" * 32
ID, URL = "demo-0abc-1-0", "http://10.0.0.1:3000"
LOADED = BUSY | {"url": URL, "cur_load": 0.0, "working_request_idxs": [], "num_requests_working": 0}

pytestmark = pytest.mark.anyio


class House:
    """A gateway on a file, whose clock a test moves, and which it may end and start again.

    Args:
        url: of its database; on a PostgreSQL there are two, and requests go to one and the other in turn.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.now, self.clock_off, self.key = 1000.0, 0.0, ""
        self.street = Street()

    @property
    def desk(self) -> Desk:
        """Of the one that decides."""
        (gateway,) = self.street.gateways()
        return gateway.desk

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        clocks = Clocks(lambda: self.now, lambda: 1e9 + self.now + self.clock_off)

        def make() -> Gateway:
            desk = Desk(Store(self.url, busy_seconds=0.1), worker_secrets=(SECRET,), clocks=clocks)
            return Gateway(desk, operator_keys=(OPERATOR,), clocks=clocks)

        async with (
            self.street.opened(self.url, make, operator_keys=(OPERATOR,), clocks=clocks),
            httpx.AsyncClient(transport=self.street, base_url="http://gateway") as client,
        ):
            self.client = client
            yield client

    async def operator(self, method: str, path: str, **body: object) -> dict[str, Any]:
        given = {"Authorization": f"Bearer {OPERATOR}"}
        answer = await self.client.request(method, f"/operator/{path}", json=body, headers=given)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def open(self, **settings: float) -> None:
        await self.operator("PUT", "endpoints/ep", **settings)
        self.key = (await self.operator("POST", "endpoints/ep/keys"))["key"]

    async def report(self, worker_id: str = ID, said: dict[str, Any] = LOADED, **changes: object) -> httpx.Response:
        body = said | {"mtoken": token_of(worker_id, SECRET)} | changes
        return await self.client.post("/worker_status/", json=body)

    async def register(self, worker_id: str = ID, url: str = URL, **more: object) -> dict[str, Any]:
        return await self.operator("PUT", f"endpoints/ep/workers/{worker_id}", url=url, **more)

    async def route(self, number: int = 0, key: str | None = None, **more: object) -> httpx.Response:
        key = self.key if key is None else key
        body = {"endpoint": "ep", "api_key": key, "cost": 10, "request_idx": number, "replay_timeout": 60.0, **more}
        return await self.client.post(f"/route/?api_key={key}", json=body, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
async def house(anyio_backend: str, database_url: str) -> AsyncIterator[House]:
    house = House(database_url)
    async with house.running():
        await house.open()
        yield house


def verified(public_key: str, ticket: dict[str, Any]) -> None:
    key = serialization.load_pem_public_key(public_key.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    text = signed_text(3, url=ticket["url"], cost=ticket["cost"], endpoint="ep", reqnum=ticket["reqnum"])
    key.verify(base64.b64decode(ticket["signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_a_client_is_sent_to_a_worker_with_a_ticket_that_the_worker_can_check(house: House) -> None:
    assert (await house.report()).json() == {}
    await house.register()
    answer = await house.route()
    assert (answer.status_code, answer.json()["url"], answer.json()["cost"]) == (200, URL, 10)
    public = await house.client.get("/pubkey/")
    assert public.headers["content-type"].startswith("text/plain")
    verified(public.text, answer.json())


async def test_without_a_worker_one_is_told_to_wait_and_never_given_an_address(house: House) -> None:
    for _ in range(2):
        answer = await house.route()
        assert answer.status_code == 200
        assert "url" not in answer.json(), "to the vendor's client that key means a worker"
    assert answer.json()["position"] == 1
    assert answer.json()["status"] == "total workers: 0 ready: 0 loading: 0 error: 0; 1 before this one"


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_whoever_has_no_key_learns_nothing(house: House, key: str) -> None:
    await house.report()
    await house.register()
    answer = await house.route(key=key)
    assert (answer.status_code, answer.json()) == (401, {"error": "Authentication failed"})


async def test_a_key_that_is_said_in_two_ways_must_be_one(house: House) -> None:
    body = {"endpoint": "ep", "api_key": "another"}
    answer = await house.client.post("/route/", json=body, headers={"Authorization": f"Bearer {house.key}"})
    assert answer.status_code == 401


async def test_a_key_is_of_one_endpoint(house: House) -> None:
    await house.operator("PUT", "endpoints/other")
    other = (await house.operator("POST", "endpoints/other/keys"))["key"]
    assert (await house.route(key=other)).status_code == 401
    assert (await house.route(key=other, endpoint="other")).status_code == 200


async def test_a_new_key_takes_the_old_ones_place_after_both_held_for_a_while(house: House) -> None:
    old = house.key
    new = (await house.operator("POST", "endpoints/ep/keys", overlap_seconds=60))["key"]
    assert [(await house.route(key=key)).status_code for key in (old, new)] == [200, 200]
    house.now += 61
    assert [(await house.route(key=key)).status_code for key in (old, new)] == [401, 200]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"cost": "much"}, "cost: a number from 0 to 1e+12 is expected"),
        ({"cost": -1}, "cost:"),
        ({"cost": True}, "cost:"),
        ({"request_idx": "7"}, "request_idx: a whole number from 0"),
        ({"priority": 1000}, "priority:"),
        ({"endpoint": 7}, "endpoint: a text of at most"),
    ],
    ids=str,
)
async def test_a_request_that_is_none_is_refused_with_its_field(house: House, body: dict[str, Any], says: str) -> None:
    answer = await house.route(**body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(says)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"id":0,"mtoken":"t","version":"0","error_msg":"say "this"","url":""}', 400),
        (b"\xff", 400),
        (b"[1]", 400),
        (b"[" * 10_000, 400),
        (b"x" * (MOST_BYTES + 1), 413),
    ],
    ids=["unescaped", "no text", "a list", "deep", "long"],
)
async def test_a_body_that_is_none_is_counted_and_the_next_report_is_taken(
    house: House, content: bytes, status: int
) -> None:
    answer = await house.client.post("/worker_status/", content=content)
    assert (answer.status_code, house.desk.counts.bad_reports) == (status, 1)
    assert (await house.report()).status_code == 200


async def test_a_report_without_our_token_changes_nothing(house: House) -> None:
    await house.report()
    await house.register()
    forged = token_of(ID, "x" * 32)
    answer = await house.report(mtoken=forged, error_msg="broken")
    assert (answer.status_code, house.desk.counts.forged_reports) == (401, 1)
    assert "url" in (await house.route()).json()
    settled = await house.client.post("/delete_requests/", json={"mtoken": forged, "requests": [{"request_idx": 1}]})
    assert settled.status_code == 401
    assert house.desk.endpoints.named("ep").routing.in_flight == 10


async def test_a_worker_is_used_once_it_is_registered_and_says_the_same_address(house: House) -> None:
    assert (await house.register())["heard"] is False
    assert (await house.operator("GET", "endpoints/ep"))["workers"] == [], "one that never spoke is none"
    await house.report()
    assert "url" not in (await house.route()).json(), "it is nobody's yet"
    await house.register()
    assert "url" in (await house.route(1)).json()
    await house.report(url="http://evil.example:3000")
    assert "url" not in (await house.route()).json(), "it would send clients elsewhere"
    (account,) = (await house.operator("GET", "endpoints/ep"))["workers"]
    assert (account["other_url"], account["ready"]) == ("http://evil.example:3000", True)


async def test_a_worker_of_the_first_generation_that_says_no_address_is_at_its_providers(house: House) -> None:
    said = {"id": "38250", "loadtime": 2.6e-06, "max_perf": 0.5}
    await house.report(said=said)
    assert await house.register() == {"heard": True, "ready": True, "error": ""}
    (worker,) = (await house.operator("GET", "endpoints/ep"))["workers"]
    assert (worker["ready"], worker["url"], worker["other_url"]) == (True, URL, "")
    answer = (await house.route()).json()
    assert answer["url"] == URL
    key = serialization.load_pem_public_key((await house.client.get("/pubkey/")).text.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    text = signed_text(1, url=URL, cost=10, endpoint="ep", reqnum=answer["reqnum"])
    key.verify(base64.b64decode(answer["signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_a_start_script_learns_whether_its_worker_is_wanted_and_whether_it_is_broken(house: House) -> None:
    async def told() -> dict[str, Any]:
        answer = await house.client.post("/lease/", json={"mtoken": token_of(ID, SECRET)})
        return dict(answer.json())

    assert await told() == {"leased": False, "seconds": 0.0, "broken": False}
    await house.report()
    await house.register(lease_seconds=60)
    assert await told() == {"leased": True, "seconds": 60.0, "broken": False}
    await house.report(error_msg="CUDA error")
    house.now += 61
    assert await told() == {"leased": False, "seconds": 0.0, "broken": True}
    forged = await house.client.post("/lease/", json={"mtoken": token_of(ID, "x" * 32)})
    assert forged.status_code == 401


async def test_a_lease_that_nobody_renews_ends_and_one_that_is_renewed_goes_on(house: House) -> None:
    await house.report()
    await house.register(lease_seconds=60)
    house.now += 30
    await house.report()
    assert "url" in (await house.route()).json()
    house.now += 31
    await house.report()
    assert "url" not in (await house.route()).json()
    given = {"worker_ids": [ID, "demo-0abc-1-9"], "lease_seconds": 60}
    assert await house.operator("POST", "endpoints/ep/leases", **given) == {ID: True, "demo-0abc-1-9": False}
    assert "url" in (await house.route()).json()


async def test_a_broken_worker_is_left_at_once_and_stays_so(house: House) -> None:
    await house.report()
    await house.register()
    await house.report(error_msg="CUDA error")
    await house.report()
    assert "url" not in (await house.route()).json()
    (account,) = (await house.operator("GET", "endpoints/ep"))["workers"]
    assert (account["error"], account["ready"]) == ("CUDA error", False)


async def test_work_is_settled_once_and_twice_is_no_harm(house: House) -> None:
    await house.report()
    await house.register()
    number = (await house.route()).json()["request_idx"]
    done = {"mtoken": token_of(ID, SECRET), "requests": [{"request_idx": number, "success": True}] * 2 + [7, {}]}
    for _ in range(2):
        assert (await house.client.post("/delete_requests/", json=done)).status_code == 200
        assert house.desk.endpoints.named("ep").routing.in_flight == 0
    account = await house.operator("GET", "endpoints/ep")
    assert [account[name] for name in ("arrived", "served", "served_units")] == [1, 1, 10]


async def test_one_that_drains_gets_nothing_more_and_says_whether_it_works(house: House) -> None:
    await house.report()
    await house.register()
    assert "url" in (await house.route()).json()
    assert await house.operator("PUT", f"workers/{ID}/drain") == {"busy": True}
    assert "url" not in (await house.route()).json()
    await house.operator("PUT", f"workers/{ID}/drain")
    assert await house.operator("DELETE", f"workers/{ID}/drain") == {"busy": True}
    lines = (await house.operator("GET", "endpoints/ep/log"))["lines"]
    assert [line["words"] for line in lines][-2:] == ["drains", "is routed to again"], "once, however often it is asked"
    assert "url" in (await house.route(2)).json()


async def test_an_account_tells_what_is_known_and_not_what_is_old(house: House) -> None:
    await house.report()
    await house.register()
    house.now += 10
    await house.report(said=LOADED | {"cur_load": 5.0, "new_load": 20.0, "rej_load": 10.0})
    await house.route(cost=3)
    account = await house.operator("GET", "endpoints/ep")
    (worker,) = account["workers"]
    assert (worker["cur_load"], worker["offered_per_second"], worker["busy"]) == (5.0, 3.0, True)
    assert (account["in_flight_units"], account["queued_requests"]) == (3, 0)
    house.now += 40
    (worker,) = (await house.operator("GET", "endpoints/ep"))["workers"]
    assert (worker["cur_load"], worker["offered_per_second"], worker["busy"]) == (None, None, None)
    assert worker["report_age_seconds"] == 40


async def test_the_vendors_client_gets_a_list_of_workers(house: House) -> None:
    await house.report()
    await house.register()
    answer = await house.client.post("/get_endpoint_workers/", json={"id": 1, "api_key": house.key})
    (worker,) = answer.json()
    assert (worker["id"], worker["status"], worker["perf"]) == (38250, "idle", 188.7)
    assert (await house.client.post("/get_endpoint_workers/", json={"id": 1})).status_code == 401


@pytest.mark.parametrize("path", ["endpoints/ep", "endpoints/ep/keys", f"endpoints/ep/workers/{ID}"])
async def test_only_operators_operate(house: House, path: str) -> None:
    method = "POST" if path.endswith("keys") else "PUT"
    for key in ("", house.key, token_of(ID, SECRET)):
        given = {"Authorization": f"Bearer {key}"} if key else {}
        answer = await house.client.request(method, f"/operator/{path}", json={}, headers=given)
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("endpoints/ep", {"max_queue_seconds": 0}, "max_queue_seconds: a number from 0.001"),
        (f"endpoints/ep/workers/{ID}", {"url": "10.0.0.1"}, "url: http://HOST:PORT is expected"),
        (f"endpoints/ep/workers/{ID}", {"url": URL, "lease_seconds": -1}, "lease_seconds:"),
        ("endpoints/none/workers/demo-0abc-1-0", {"url": URL}, "there is no 'none'"),
        ("endpoints/ep/workers/nobody", {"url": URL}, "there is no 'nobody'"),
    ],
)
async def test_an_operator_is_told_what_would_be_right(
    house: House, path: str, body: dict[str, Any], says: str
) -> None:
    given = {"Authorization": f"Bearer {OPERATOR}"}
    answer = await house.client.put(f"/operator/{path}", json=body, headers=given)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"].startswith(says)


async def test_a_restart_keeps_key_numbers_workers_and_places(database_url: str) -> None:
    house = House(database_url)
    async with house.running() as client:
        await house.open()
        await house.report(said=ALL | {"url": URL})
        await house.register()
        await house.report()
        public = (await client.get("/pubkey/")).text
        first = (await house.route()).json()
        await house.desk.tend()
    house.now += 5
    async with house.running() as client:
        assert (await client.get("/pubkey/")).text == public
        answer = (await house.route()).json()
        assert answer["url"] == URL, "a worker that was ready is routed to at once"
        verified(public, answer)
        assert answer["reqnum"] > first["reqnum"], "older workers refuse a number that was used"
        assert answer["request_idx"] > first["request_idx"]
        assert (await house.route(first["request_idx"])).json()["request_idx"] == first["request_idx"]
        house.now += 40
        assert "url" not in (await house.route()).json(), "it has not spoken since"


async def test_regression_leases_that_turns_had_renewed_were_over_after_a_restart(database_url: str) -> None:
    house = House(database_url)
    async with house.running():
        await house.open()
        await house.report()
        await house.register(lease_seconds=100)
        for _ in range(10):
            house.now += 20
            await house.report()
            await house.operator("POST", "endpoints/ep/leases", worker_ids=[ID], lease_seconds=100)
        await house.desk.tend()
    async with house.running():
        assert "url" in (await house.route()).json(), "its lease was renewed a moment ago"


@pytest.mark.parametrize("database_url", ["one on a file"], indirect=True)
async def test_while_the_database_is_away_routes_go_on_and_then_all_is_kept(house: House) -> None:
    await house.report()
    await house.register()
    given = {"Authorization": f"Bearer {OPERATOR}"}
    with closing(sqlite3.connect(house.url.removeprefix("sqlite+aiosqlite:///"))) as other:
        other.execute("BEGIN EXCLUSIVE")
        await house.report(error_msg="", said=LOADED | {"max_perf": 50.0})
        await house.desk.tend()
        assert house.desk.counts.unsaved == 1
        assert "url" in (await house.route()).json()
        answer = await house.client.post("/operator/endpoints/ep/keys", json={}, headers=given)
        says = "the gateway's database does not answer: ask again"
        assert (answer.status_code, answer.json()["error"]) == (503, says)
        assert answer.headers["Retry-After"] == "5"
        assert (await house.client.get("/readyz")).status_code == 503
        assert (await house.client.get("/healthz")).status_code == 200
    await house.desk.tend()
    assert (await house.client.get("/readyz")).status_code == 200
    (kept,) = await house.desk.store.workers()
    assert kept.view.max_perf == 50.0


async def test_a_clock_that_is_set_an_hour_forward_or_back_ends_no_lease(house: House) -> None:
    await house.report()
    await house.register(lease_seconds=600)
    for hours in (1, -2):
        house.clock_off += 3600 * hours
        await house.report()
        assert "url" in (await house.route()).json()
        await house.desk.tend()
        assert "url" in (await house.route()).json()
    given = {"worker_ids": [ID], "lease_seconds": 600}
    await house.operator("POST", "endpoints/ep/leases", **given)
    (kept,) = await house.desk.store.workers()
    assert kept.lease_until == 1e9 + house.now + house.clock_off + 600, "as the clock is now"


async def test_whoever_asks_too_often_or_beyond_what_may_wait_is_told_to_come_later(house: House) -> None:
    await house.operator("PUT", "endpoints/ep", most_waiting=2, routes_per_second=5)
    first, _ = [(await house.route()).json()["request_idx"] for _ in range(2)]
    answer = await house.route()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["error"] == "2 requests wait: ask again later"
    assert (await house.route(first)).status_code == 200, "one that waits may ask again"
    assert [(await house.route(first)).status_code for _ in range(8)].count(429) == 2, "ten at once, and five a second"
    house.now += 1
    assert (await house.route(first)).status_code == 200
    assert house.desk.counts.crowded == 3


async def test_a_worker_that_floods_is_told_to_stop_and_another_is_not(house: House) -> None:
    answers = {(await house.report()).status_code for _ in range(210)}
    assert answers == {200, 429}
    assert (await house.report("demo-0abc-1-1")).status_code == 200


async def test_an_address_that_is_refused_again_and_again_is_told_to_wait_and_a_key_still_opens(house: House) -> None:
    answers = [(await house.route(key="wrong")).status_code for _ in range(REFUSALS_AT_ONCE + 5)]
    assert (answers[:-5], answers[-5:]) == ([401] * REFUSALS_AT_ONCE, [429] * 5)
    assert (await house.route()).status_code == 200, "others may share the address"


async def test_ten_thousand_that_wait_keep_their_order(house: House) -> None:
    numbers = [(await house.route()).json()["request_idx"] for _ in range(10_000)]
    assert (await house.route(numbers[-1])).json()["position"] == 9_999
    await house.operator("PUT", "endpoints/ep", max_queue_seconds=0.1)
    await house.report(said=LOADED | {"max_perf": 100.0})
    await house.register()
    assert "url" not in (await house.route(numbers[2])).json()
    assert "url" in (await house.route(numbers[0])).json()


async def test_a_request_that_costs_more_than_anybody_can_do_in_time_is_served_and_others_wait(house: House) -> None:
    await house.report(said=LOADED | {"max_perf": 10.0})
    await house.register()
    assert "url" in (await house.route(cost=1e9)).json()
    assert "url" not in (await house.route(cost=1)).json(), "who has it is busy for years, by its own figures"


async def test_a_session_is_work_until_its_worker_says_that_it_ended(house: House) -> None:
    await house.report()
    await house.register()
    number = (await house.route()).json()["request_idx"]
    for _ in range(10):
        house.now += 10
        await house.report(said=LOADED | {"cur_load": 10.0, "working_request_idxs": [number]})
        (worker,) = (await house.operator("GET", "endpoints/ep"))["workers"]
        assert worker["busy"] is True, "also while its GPU rests"
    assert (await house.operator("PUT", f"workers/{ID}/drain"))["busy"] is True
    await house.client.post(
        "/delete_requests/",
        json={"mtoken": token_of(ID, SECRET), "requests": [{"request_idx": number, "success": True}]},
    )
    await house.report()
    assert (await house.operator("PUT", f"workers/{ID}/drain"))["busy"] is False


async def test_the_vendors_client_finds_its_endpoint_by_its_key_and_no_other(house: House) -> None:
    await house.operator("PUT", "endpoints/other")
    answer = (await house.client.get(f"/api/v0/endptjobs/?client_id=me&api_key={house.key}")).json()
    (row,) = answer["results"]
    assert (answer["success"], row["endpoint_name"], row["id"], row["api_key"]) == (True, "ep", 1, house.key)
    given = {"Authorization": f"Bearer {house.key}"}
    one = await house.client.get("/api/v0/endptjobs/1/", headers=given)
    assert one.json()["result"] == row
    assert (await house.client.get("/api/v0/endptjobs/2/", headers=given)).status_code == 404
    assert (await house.client.get("/api/v0/endptjobs/")).status_code == 401


async def test_what_happened_is_told_to_clients_without_addresses_and_to_operators_with_them(house: House) -> None:
    await house.report()
    await house.register()
    await house.report(url="http://evil.example:3000")
    await house.report()
    await house.report(error_msg="CUDA error")
    house.now += 700
    await house.desk.tend()
    lines = (await house.operator("GET", "endpoints/ep/log"))["lines"]
    assert [(line["worker_id"], line["words"]) for line in lines] == [
        ("", "a client key was made"),
        (ID, "registered"),
        (ID, "says another address than its provider: http://evil.example:3000"),
        (ID, "it is broken: CUDA error"),
        (ID, "its lease ended: no turn has renewed it"),
    ]
    body = {"id": 1, "api_key": house.key, "tail": 3}
    told = (await house.client.post("/get_endpoint_logs/", json=body)).json()
    assert told["info0"] == told["debug"]
    assert told["info1"].splitlines()[0].endswith(f"{ID}: says another address than its provider: (an address)")
    assert len(told["trace"].splitlines()) == 3


async def test_figures_are_for_operators_and_in_the_words_of_prometheus(house: House) -> None:
    await house.report()
    await house.register()
    await house.route()
    house.now += 2
    await house.desk.tend()
    assert (await house.client.get("/metrics")).status_code == 401
    answer = await house.client.get("/metrics", headers={"Authorization": f"Bearer {OPERATOR}"})
    found = {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["ebbflow_gateway_tickets_total[]"] == 1
    assert found["ebbflow_gateway_in_flight_units['ep']"] == 10
    assert found["ebbflow_gateway_workers['ep', 'ready']"] == 1
    assert found["ebbflow_gateway_units_per_second['ep']"] == 188.7
    assert found["ebbflow_gateway_route_seconds_count[]"] == 1
    assert URL not in answer.text


async def test_the_page_names_every_path_and_needs_no_network(house: House) -> None:
    shown = (await house.client.get("/docs")).text
    document = (await house.client.get("/openapi.json")).json()
    assert all(path in shown for path in document["paths"])
    assert "http" not in shown.replace("http://HOST:PORT", "")


async def test_two_gateways_on_one_file_give_no_number_twice(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite'}"
    first, second = House(url), House(url)
    async with first.running():
        await first.open()
        async with second.running():
            second.key = first.key
            given = [(await house.route()).json()["request_idx"] for _ in range(3) for house in (first, second)]
    assert len(set(given)) == 6


@pytest.mark.parametrize("database_url", ["one on a file"], indirect=True)
@pytest.mark.parametrize("comes", ["never", "in pieces", "at last"])
async def test_a_body_is_waited_for_and_not_for_ever(house: House, comes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BODY_SECONDS", 0.2)
    whole = json.dumps({"endpoint": "ep", "api_key": house.key}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield whole[:9]
        await asyncio.sleep(5 if comes == "never" else 0.02)
        yield whole[9:]

    async def receive() -> Message:
        if comes == "at last":
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": whole, "more_body": False}
        piece = await anext(coming)
        return {"type": "http.request", "body": piece, "more_body": not piece.endswith(whole[9:])}

    async def send(message: Message) -> None:
        sent.append(message)

    coming, sent = pieces(), list[Message]()
    await house.street.only(_post("/route/"), receive, send)
    assert sent[0]["status"] == (408 if comes == "never" else 200)


def _post(path: str) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [],
        "client": ("10.0.0.2", 1),
        "server": ("gateway", 80),
        "scheme": "http",
        "root_path": "",
    }
