"""What is sent to an announced address before it has answered as a worker: no credentials."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.adapters.masters.swarmui.workers import judge_of
from ebbflow.contracts.master import worker_at
from ebbflow.core.errors import MasterUnavailable, RegistrationRejected
from ebbflow.core.worker import Worker
from ebbflow.turn.plausible import plausible_members

pytestmark = pytest.mark.anyio

MASTER, PLACE = "http://master.example:7801", "http://10.1.2.3:7801"
WORKER = worker_at("sdxl-0abc-1-0", PLACE)
SECRETS = {"worker_token": "t0ken", "authorization_header": "Bearer abc", "other_headers": {"X-Key": "k3y"}}
SESSION = {"session_id": "5e55", "permissions": ["*"], "server_id": "w", "version": "0.9.8.2"}
CREDENTIALS = ("cookie", "authorization", "x-key")

Answer = Callable[[httpx.Request], httpx.Response]


class Place:
    """What is at an announced address, and which of its requests carried credentials."""

    def __init__(self, stranger: Answer, known: Answer | None = None) -> None:
        self._stranger, self._known = stranger, known or stranger
        self.routes: list[tuple[str, bool]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        has_credentials = any(name in request.headers for name in CREDENTIALS)
        self.routes.append((request.url.path.removeprefix("/API/"), has_credentials))
        return (self._known if has_credentials else self._stranger)(request)

    @property
    def got_credentials(self) -> bool:
        """Whether any request carried some."""
        return any(has_credentials for _, has_credentials in self.routes)


def as_worker(request: httpx.Request) -> httpx.Response:
    """A worker that lets us in."""
    return httpx.Response(200, json=SESSION if request.url.path.endswith("GetNewSession") else {})


def wants_a_token(request: httpx.Request) -> httpx.Response:
    """A worker whose accounts are required."""
    return httpx.Response(200, json={"error": "Invalid or unauthorized."})


def wants_authorization(request: httpx.Request) -> httpx.Response:
    """A proxy in front of a worker."""
    return httpx.Response(401, text="<html>401 Authorization Required</html>")


@asynccontextmanager
async def adapter(
    place: Place,
    sessions: InMemorySessionStore | None = None,
    *,
    entries: object = None,
    status: object = None,
    **settings: Any,
) -> AsyncIterator[SwarmUIAdapter]:
    """An adapter whose master lists these entries, and whose workers are all at one place."""
    answers = {
        "GetNewSession": {"session_id": "m", "permissions": ["*"], "server_id": "m"},
        "ListBackends": entries or {},
        "GetGlobalStatus": status or {},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(MASTER):
            return httpx.Response(200, json=answers.get(request.url.path.removeprefix("/API/"), {}))
        return place(request)

    made = SwarmUIAdapter(
        SwarmUISettings.model_validate({"address": MASTER, **SECRETS, **settings}),
        fleet="sdxl",
        home="h0me1",
        sessions=sessions or InMemorySessionStore(),
        transport=httpx.MockTransport(answer),
    )
    try:
        yield made
    finally:
        await made.aclose()


async def is_reached(place: Place, worker: Worker = WORKER, **settings: Any) -> bool:
    """Whether a worker is found there in one turn that asks for its activity."""
    async with adapter(place, **settings) as made:
        return (await made.keepalive([worker]))[worker.worker_id] or any(
            route == "AdminTakeControl" for route, _ in place.routes
        )


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="ami-id\ninstance-id\n"),
        httpx.Response(200, json={"token": "none of ours"}),
        httpx.Response(200, json={"error": "who are you?"}),
        httpx.Response(302, headers={"Location": "http://elsewhere"}),
        httpx.Response(404),
        httpx.Response(503),
        httpx.Response(401, text="unauthorized"),
        httpx.Response(401, json={"error": "unauthorized"}),
    ],
)
async def test_regression_what_is_no_worker_got_our_credentials(answer: httpx.Response) -> None:
    place = Place(lambda request: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))
    async with adapter(place) as made:
        for _ in range(3):
            assert await made.keepalive([WORKER]) == {WORKER.worker_id: False}
            await made.shut_down(WORKER)
    assert place.routes
    assert not place.got_credentials
    assert {route for route, _ in place.routes} == {"GetNewSession"}


async def test_a_worker_that_lets_anybody_in_is_asked_for_one_session_alone() -> None:
    place = Place(as_worker)
    assert await is_reached(place)
    assert place.routes == [("GetNewSession", False), ("AdminTakeControl", True)]


async def test_a_worker_that_wants_a_token_gets_it() -> None:
    place = Place(wants_a_token, as_worker)
    assert await is_reached(place)
    assert place.routes == [("GetNewSession", False), ("GetNewSession", True), ("AdminTakeControl", True)]


async def test_a_worker_whose_session_is_stored_has_answered_before() -> None:
    place, sessions = Place(wants_a_token, as_worker), InMemorySessionStore()
    await sessions.put(PLACE, json.dumps(SESSION))
    async with adapter(place, sessions) as made:
        await made.keepalive([WORKER])
    assert place.routes == [("AdminTakeControl", True)]


@pytest.mark.parametrize("url", [PLACE, "http://gpu7.example:7801"])
async def test_a_worker_behind_an_authorising_proxy_joins_from_within_the_networks(url: str) -> None:
    place, worker = Place(wants_authorization, as_worker), worker_at("sdxl-0abc-1-0", url)
    assert await is_reached(place, worker, worker_networks=["10.1.0.0/16"])
    assert [has for _, has in place.routes] == [False, True, True]


@pytest.mark.parametrize("networks", [[], ["10.2.0.0/16"]])
async def test_elsewhere_the_error_names_the_setting(networks: list[str]) -> None:
    place = Place(wants_authorization, as_worker)
    async with adapter(place, worker_networks=networks) as made:
        with pytest.raises(RegistrationRejected, match="name its network in the master's worker_networks"):
            await made.register(WORKER)
    assert not place.got_credentials


async def test_without_credentials_nothing_is_asked_twice() -> None:
    place = Place(as_worker)
    none: dict[str, Any] = {"worker_token": None, "authorization_header": None, "other_headers": {}}
    assert await is_reached(place, **none)
    assert [route for route, _ in place.routes] == ["GetNewSession", "AdminTakeControl"]


async def test_regression_a_refused_url_with_a_password_was_quoted() -> None:
    worker = worker_at("sdxl-0abc-1-0", "http://carol:s3cret@10.1.2.3:7801")
    async with adapter(Place(as_worker)) as made:
        with pytest.raises(RegistrationRejected) as caught:
            await made.register(worker)
    assert "http://***@10.1.2.3:7801" in str(caught.value)
    assert "s3cret" not in repr(caught.value)


def test_a_name_is_judged_by_what_it_stands_for() -> None:
    judge = judge_of(["10.1.0.0/16"])
    assert judge("gpu7.example", ip_address("10.1.2.3")) == ""
    assert "is outside" in judge("gpu7.example", ip_address("10.2.2.3"))
    assert "is loopback" in judge_of([])("gpu7.example", ip_address("127.0.0.1"))
    assert "metadata" in judge_of(["0.0.0.0/0"])("gpu7.example", ip_address("169.254.169.254"))
    assert judge_of([])("localhost", ip_address("127.0.0.1")) == "", "the turn has judged what it says of itself"


async def test_regression_one_worker_that_breaks_tls_kept_all_others_from_their_sign_of_life() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "10.1.2.3":
            raise ssl.SSLError("decryption failed or bad record mac")
        if request.url.host == "10.1.2.4":
            raise OverflowError("port must be 0-65535")
        body = SESSION if request.url.path.endswith("GetNewSession") else {"success": True}
        return httpx.Response(200, json=body)

    workers = [worker_at(f"sdxl-0abc-1-{index}", f"http://10.1.2.{index}:7801") for index in range(3, 8)]
    async with adapter(Place(answer)) as made:
        kept = await made.keepalive(workers)
    assert list(kept.values()) == [False, False, True, True, True]


async def test_regression_credentials_went_on_to_whatever_had_come_to_an_address() -> None:
    place, sessions = Place(wants_a_token, as_worker), InMemorySessionStore()
    async with adapter(place, sessions) as made:
        await made.keepalive([WORKER])
    stranger = Place(lambda request: httpx.Response(200, text="<html>It works!</html>"))
    for _ in range(3):
        async with adapter(stranger, sessions) as made:
            await made.keepalive([WORKER])
    assert [has for _, has in stranger.routes] == [True, False, False], "it has to prove itself anew"
    assert await sessions.get(PLACE) is None


@pytest.mark.parametrize("session_id", ["x" * 513, "", None, 7])
async def test_a_session_of_any_size_is_not_kept(session_id: object) -> None:
    sessions = InMemorySessionStore()
    place = Place(lambda request: httpx.Response(200, json={**SESSION, "session_id": session_id}))
    async with adapter(place, sessions) as made:
        await made.keepalive([WORKER])
    assert await sessions.get(PLACE) is None
    assert not place.got_credentials


@pytest.mark.parametrize(
    "address",
    [
        "http://carol:s3cret@10.1.2.3:7801",
        "http://[bad",
        "http://10.1.2.3:99999",
        "http://169.254.169.254",
        "http://h/x?y=",
    ],
)
async def test_regression_an_address_in_the_masters_own_list_was_asked_unseen(address: str) -> None:
    entry = {
        "type": "swarmswarmbackend",
        "id": 0,
        "status": "running",
        "enabled": True,
        "title": "ebbflow/sdxl/h0me1/sdxl-0abc-1-0",
        "settings": {"Address": address},
        "seconds_since_used": True,
        "time_since_used": "1 second ago",
    }
    place = Place(as_worker)
    async with adapter(place, entries={"0": entry}) as made:
        (member,) = plausible_members(await made.members()).members
    assert place.routes == []
    assert member.busy is None
    assert "s3cret" not in repr(member)


@pytest.mark.parametrize("name", ["waiting_gens", "", "error"])
async def test_regression_a_master_that_quotes_its_token_in_any_field_put_it_into_details(name: str) -> None:
    quoting = {"status": {"waiting_gens": 0, "live_gens": 0, "loading_models": 0}}
    said = "you sent swarm_token=m4ster and Bearer abc-4711-abc"
    answer = {"": {"status": said}, "error": {"error": said}}.get(name, {"status": {**quoting["status"], name: said}})
    async with adapter(
        Place(as_worker), token="m4ster", authorization_header="Bearer abc-4711-abc", status=answer, entries={"0": said}
    ) as made:
        details = [(await made.demand()).detail, (await made.members()).detail]
        with pytest.raises(MasterUnavailable) as caught:
            await made.deregister(WORKER)
    assert all(details)
    for text in (*details, str(caught.value)):
        assert "m4ster" not in text
        assert "abc-4711-abc" not in text


def test_headers_that_the_client_sets_itself_are_refused() -> None:
    for name in ("Host", "Content-Length", "Accept-Encoding", "Transfer-Encoding", "Connection"):
        with pytest.raises(ValidationError, match="is set by another field"):
            SwarmUISettings.model_validate({"address": MASTER, "other_headers": {name: "x"}})
