"""Model servers that report nothing, at the gateway: looked at, tested by a prompt, believed through their clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import MetaData, select
from sqlalchemy.ext.asyncio import create_async_engine

from ebbflow.adapters.masters.gateway.adapter import GatewayAdapter
from ebbflow.adapters.masters.gateway.settings import GatewaySettings
from ebbflow.contracts.master import worker_at
from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import Health, MemberState, Registration
from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.kinds.kind import Judgement, Reading, Standing, Verdict, Wanted
from ebbflow.gateway.outgoing import MOST_BYTES, Outgoing
from ebbflow.gateway.plain import PlainServer, PlainState, failed_a_client, judged, looked, view_of
from ebbflow.gateway.sealing import Sealing
from ebbflow.gateway.store import Store
from ebbflow.gateway.terms import Clocks
from tests.gateway.street import Street
from tests.gateway.test_app import ID, SECRET, URL

pytestmark = pytest.mark.anyio
OPERATOR = "o" * 40

SERVER = PlainServer("vllm", Wanted(), loading_seconds=300.0)
LOADING, READY, ASLEEP = (Reading(standing) for standing in (Standing.LOADING, Standing.READY, Standing.ASLEEP))
HOT = Judgement(Verdict.HOT)
FRESH = PlainState(0.0, 0.0)


def after(*steps: tuple[float, Reading | Judgement], is_testable: bool = True) -> PlainState:
    """One server after looks and tests at these times."""
    state = FRESH
    for now, what in steps:
        if isinstance(what, Judgement):
            state = judged(state, SERVER, what, now)
        else:
            state = looked(state, SERVER, what, now, is_testable=is_testable)
    return state


@pytest.mark.parametrize(
    ("steps", "is_hot", "error"),
    [
        ([], False, ""),
        ([(290.0, LOADING)], False, ""),
        ([(310.0, LOADING)], False, "not ready for 310 s: no answer"),
        # Ready by its own word is not enough.
        ([(10.0, READY)], False, ""),
        ([(10.0, READY), (11.0, HOT)], True, ""),
        ([(10.0, READY), (11.0, Judgement(Verdict.NOT_YET, "busy"))], False, ""),
        (
            [(10.0, READY), (311.0, Judgement(Verdict.NOT_YET, "busy"))],
            False,
            "its test prompt was not answered for 311 s: busy",
        ),
        ([(10.0, READY), (11.0, Judgement(Verdict.WRONG, "another model"))], False, "another model"),
        # Silent after it was hot: it may have been started anew where it is, and has its whole time again.
        ([(10.0, READY), (11.0, HOT), (500.0, READY), (502.0, LOADING)], False, ""),
        (
            [(10.0, READY), (11.0, HOT), (500.0, READY), (502.0, LOADING), (900.0, LOADING)],
            False,
            "not ready for 398 s: no answer",
        ),
        # Its health says ready again, and may mean something else since its start: it is tested first.
        ([(10.0, READY), (11.0, HOT), (20.0, LOADING), (30.0, READY)], False, ""),
        ([(10.0, READY), (11.0, HOT), (20.0, LOADING), (30.0, READY), (31.0, HOT)], True, ""),
        # A model that was put to sleep may sleep as long as it likes.
        ([(10.0, READY), (11.0, HOT), (20.0, ASLEEP), (9000.0, ASLEEP)], False, ""),
    ],
)
def test_hot_is_who_answered_a_prompt_and_refused_silent_or_unready_is_loading(
    steps: list[tuple[float, Reading | Judgement]], is_hot: bool, error: str
) -> None:
    state = after(*steps)
    assert (state.is_hot, state.error) == (is_hot, error)


def test_regression_a_counter_that_falls_is_a_server_that_was_started_between_two_looks() -> None:
    """Triton's health says ready for what was never loaded, once it has been loaded at all."""
    served = [Reading(Standing.READY, served=count) for count in (5.0, 9.0, 1.0)]
    state = after((1.0, served[0]), (2.0, HOT), (4.0, served[1]))
    assert state.is_hot
    state = looked(state, SERVER, served[2], 6.0, is_testable=True)
    assert (state.is_hot, state.restarts) == (False, 1)


def test_where_nobody_knows_a_prompt_ready_is_all_that_can_be_known() -> None:
    assert after((10.0, READY), is_testable=False).is_hot


def test_one_that_failed_a_client_is_tested_before_the_next() -> None:
    state = failed_a_client(after((10.0, READY), (11.0, HOT)))
    assert (state.is_hot, state.is_to_be_tested) == (False, True)


@pytest.mark.parametrize(
    ("reading", "shown", "least"),
    [
        (Reading(Standing.READY), None, 0),
        (Reading(Standing.READY, running=2), 2, 2),
        (Reading(Standing.READY, running=2, queued=3), 5, 5),
        # A queue alone says nothing of what runs, so that nobody is done because it is short.
        (Reading(Standing.READY, queued=0), None, 0),
        (Reading(Standing.READY, queued=4), None, 4),
        (Reading(Standing.LOADING, running=3, queued=0), None, 0),
    ],
)
def test_what_a_server_does_not_tell_is_unknown_and_never_nothing(
    reading: Reading, shown: int | None, least: int
) -> None:
    state = after((10.0, READY), (11.0, HOT), (12.0, reading))
    view = view_of(ID, URL, SERVER, state, others_load=0.0)
    assert (view.shown_requests, view.least_requests) == (shown, least)
    assert (view.is_busy, view.is_silent) == (least > 0, reading.standing is Standing.LOADING)


def test_a_key_is_sealed_under_the_gateways_secret_and_opened_under_the_one_before_it() -> None:
    sealed = Sealing(("old" * 12,)).seal("sk-model")
    assert "sk-model" not in sealed
    assert Sealing(("new" * 12, "old" * 12)).open(sealed) == "sk-model"
    assert Sealing(("new" * 12,)).open(sealed) == ""
    assert (Sealing(("new" * 12,)).seal(""), Sealing(("new" * 12,)).open("")) == ("", "")


class Model:
    """A server of vLLM's shape, which a test switches."""

    def __init__(self) -> None:
        self.state, self.running, self.waiting, self.model = "refused", 0, 0, "tide-7b"
        self.asked: list[httpx.Request] = []
        self.flood = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if self.state == "refused":
            raise httpx.ConnectError("refused", request=request)
        if path == "/health":
            return httpx.Response(503 if self.state == "loading" else 200)
        if path == "/metrics":
            if self.state == "asleep":
                return httpx.Response(200, text='vllm:engine_sleep_state{sleep_state="weights_offloaded"} 1\n')
            text = f"vllm:num_requests_running {self.running}\nvllm:num_requests_waiting {self.waiting}\n"
            return httpx.Response(200, text="# a comment\n" * 500_000 if self.flood else text)
        if request.headers.get("Authorization") != "Bearer sk-model":
            return httpx.Response(401, json={"error": "Unauthorized"})
        if path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": self.model}]})
        self.state = "ready"
        return httpx.Response(200, json={"model": self.model, "choices": [{"text": "rises"}]})


class Place:
    """A gateway that asks one model server; on a PostgreSQL there are two, and requests go to one and the other."""

    def __init__(self, url: str) -> None:
        self.url, self.now, self.model, self.key = url, 1000.0, Model(), ""
        self._street = Street()

    @property
    def gateway(self) -> Gateway:
        """The one that decides."""
        (gateway,) = self._street.gateways()
        return gateway

    @asynccontextmanager
    async def running(self, *, is_new: bool = True) -> AsyncIterator[None]:
        """Until the block ends; a new one has an endpoint without workers, and a client's key."""
        clocks = Clocks(lambda: self.now, lambda: 1e9 + self.now)

        def make() -> Gateway:
            return Gateway(
                Desk(Store(self.url), worker_secrets=(SECRET,), clocks=clocks),
                operator_keys=(OPERATOR,),
                clocks=clocks,
                outgoing=Outgoing(httpx.MockTransport(self.model)),
            )

        async with (
            self._street.opened(self.url, make, operator_keys=(OPERATOR,), clocks=clocks),
            httpx.AsyncClient(transport=self._street, base_url="http://gateway") as self._http,
        ):
            if is_new:
                await self.operator("PUT", "endpoints/ep")
                self.key = (await self.operator("POST", "endpoints/ep/keys")).json()["key"]
            yield

    def adapter(self, **server: object) -> GatewayAdapter:
        given = {
            "address": "http://gateway:7870",
            "endpoint": "ep",
            "operator_key": OPERATOR,
            "worker_secret": SECRET,
            "plain_servers": {"kind": "vllm", "model": "tide-7b", "api_key": "sk-model", **server},
        }
        settings = GatewaySettings.model_validate(given)
        assert "sk-model" not in repr(settings)
        return GatewayAdapter(settings, fleet="demo", home="h0me1", transport=self._street)

    async def look(self, after_seconds: float = 2.0) -> None:
        self.now += after_seconds
        await self.gateway.looking.once()

    async def operator(self, method: str, path: str, **body: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        return await self._http.request(method, f"/operator/{path}", json=body, headers=headers)

    async def register(self, **server: object) -> dict[str, Any]:
        told = {"kind": "vllm", "model": "tide-7b", "api_key": "sk-model", "request_seconds": 100, **server}
        answer = await self.operator("PUT", f"endpoints/ep/workers/{ID}", url=URL, lease_seconds=9000, server=told)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def row(self) -> dict[str, Any]:
        (row,) = (await self.operator("GET", "endpoints/ep")).json()["workers"]
        return dict(row)

    async def ask(self, path: str = "/route/", **more: object) -> dict[str, Any]:
        body = {"endpoint": "ep", "api_key": self.key, **more}
        return dict((await self._http.post(path, json=body)).json())


@pytest.fixture
async def place(anyio_backend: str, database_url: str) -> AsyncIterator[Place]:
    made = Place(database_url)
    async with made.running():
        yield made


async def test_it_is_heard_of_once_its_model_has_answered_and_clients_are_told_what_it_is(place: Place) -> None:
    assert await place.register() == {"heard": False, "ready": False, "error": ""}
    await place.look()
    assert (await place.row())["report_age_seconds"] == 0, "that it loads is known"
    place.model.state = "loading"
    await place.look()
    assert "url" not in await place.ask()
    place.model.state = "ready"
    await place.look()
    assert await place.register() == {"heard": True, "ready": True, "error": ""}
    ticket = await place.ask()
    assert (ticket["url"], ticket["kind"], ticket["model"]) == (URL, "vllm", "tide-7b")
    assert "sk-model" not in str(ticket)
    row = await place.row()
    assert (row["kind"], row["busy"], row["load_seconds"]) == ("vllm", True, 6.0)


async def test_a_client_says_that_it_is_done_and_by_its_failure_the_server_is_tested_again(place: Place) -> None:
    place.model.state = "ready"
    await place.register()
    await place.look()
    first, second = (await place.ask())["request_idx"], (await place.ask())["request_idx"]
    assert await place.ask("/done/", request_idx=first) == {"settled": True}
    assert await place.ask("/done/", request_idx=first) == {"settled": False}, "once"
    assert (await place.row())["busy"] is True
    assert await place.ask("/done/", request_idx=second, success=False) == {"settled": True}
    assert "url" not in await place.ask(request_idx=second), "it may not serve, until it has answered a prompt"
    await place.look()
    assert (await place.ask(request_idx=second))["url"] == URL


async def test_what_no_client_settles_is_over_when_the_server_shows_fewer_or_after_its_longest_time(
    place: Place,
) -> None:
    place.model.state = "ready"
    await place.register()
    await place.look()
    for _ in range(3):
        await place.ask()
    place.model.running = 1
    await place.look(10.0)
    assert (await place.operator("GET", "endpoints/ep")).json()["in_flight_requests"] == 3, "they may be on their way"
    await place.look(10.0)
    account = (await place.operator("GET", "endpoints/ep")).json()
    assert (account["in_flight_requests"], account["served"]) == (1, 2)
    await place.look(100.0)
    place.model.running = 0
    await place.look()
    assert (await place.row())["busy"] is False


async def test_whom_others_use_is_busy_and_gets_less(place: Place) -> None:
    place.model.state, place.model.running, place.model.waiting = "ready", 2, 3
    await place.register()
    await place.look()
    row = await place.row()
    assert (row["busy"], row["cur_load"]) == (True, 5.0)
    assert (await place.operator("PUT", f"workers/{ID}/drain")).json() == {"busy": True}


async def test_regression_one_that_falls_silent_is_not_idle(place: Place) -> None:
    place.model.state = "ready"
    await place.register()
    await place.look()
    place.model.state = "refused"
    await place.look()
    row = await place.row()
    assert (row["busy"], row["ready"], row["error"]) == (None, False, "")
    assert (await place.operator("PUT", f"workers/{ID}/drain")).json() == {"busy": None}


async def test_one_that_never_serves_is_broken_after_its_loading_time(place: Place) -> None:
    await place.register(loading_seconds=60)
    await place.look(61.0)
    assert (await place.row())["error"] == "not ready for 61 s: it does not answer"
    assert (await place.register(loading_seconds=60))["error"] != ""


async def test_one_that_answers_with_another_model_or_refuses_its_key_is_broken(place: Place) -> None:
    place.model.state, place.model.model = "ready", "storm-70b"
    await place.register()
    await place.look()
    assert "storm-70b" in (await place.row())["error"]


async def test_after_a_restart_of_the_gateway_it_serves_at_once_and_its_key_was_kept_sealed(database_url: str) -> None:
    place = Place(database_url)
    async with place.running():
        place.model.state = "ready"
        await place.register()
        await place.look()
        await place.gateway.desk.tend()
        kept = await _kept(database_url)
        assert "sealed_key" in kept
        assert "sk-model" not in kept
    async with place.running(is_new=False):
        assert (await place.ask())["url"] == URL
        place.model.asked.clear()
        await place.look()
        assert {request.headers.get("Authorization") for request in place.model.asked} == {"Bearer sk-model"}


async def _kept(url: str) -> str:
    """Every row of a database."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            tables = MetaData()
            await connection.run_sync(tables.reflect)
            rows = [await connection.execute(select(table)) for table in tables.sorted_tables]
            return str([dict(row) for result in rows for row in result.mappings()])
    finally:
        await engine.dispose()


async def test_what_it_is_asked_holds_nothing_of_a_clients_and_what_it_says_is_cut_off(place: Place) -> None:
    place.model.state, place.model.flood = "ready", True
    await place.register()
    await place.look()
    row = await place.row()
    assert (row["ready"], row["busy"]) == (True, False), "six megabytes of figures tell nothing"
    assert MOST_BYTES < 6_000_000
    for request in place.model.asked:
        assert place.key not in str(request.headers) + str(request.url)
        assert request.headers["accept-encoding"] == "identity"


async def test_a_sleeping_model_is_woken_only_while_clients_wait(place: Place) -> None:
    place.model.state = "asleep"
    await place.register()
    await place.look()
    assert [request.method for request in place.model.asked] == ["GET", "GET"]
    number = (await place.ask())["request_idx"]
    await place.look()
    assert place.model.asked[-1].method == "POST", "its test prompt wakes it"
    await place.look()
    assert (await place.ask(request_idx=number))["url"] == URL


async def test_the_masters_adapter_registers_it_with_its_key_and_waits_for_its_model(place: Place) -> None:
    adapter = place.adapter()
    worker = worker_at(ID, URL)
    assert await adapter.probe() == Health(reachable=True)
    assert adapter.join_spec(ID) == JoinSpec(), "a plain server is told nothing of us"
    assert await adapter.register(worker) == Registration(
        False, f"{ID} does not serve yet: it loads, or its test prompt is not answered yet"
    )
    (member,) = (await adapter.members()).members
    assert (member.state, member.busy) == (MemberState.JOINING, False)
    place.model.state = "ready"
    await place.look()
    assert await adapter.register(worker) == Registration(True)
    place.model.state = "refused"
    await place.look()
    (member,) = (await adapter.members()).members
    assert (member.state, member.busy) == (MemberState.JOINING, None), "nobody knows whether it works"


async def test_a_kind_that_the_gateway_does_not_know_ends_the_turn_before_anything_is_done(place: Place) -> None:
    with pytest.raises(ConfigError, match=r"plain_servers of the master's block: .*'vlm' is none of"):
        await place.adapter(kind="vlm").probe()


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ({"kind": "vlm"}, "server.kind: 'vlm' is none of bentoml,"),
        ({"kind": "vllm", "colour": 1}, "server.colour: only api_key,"),
        ({"kind": "vllm", "metrics_port": 99_999}, "metrics_port: a whole number from 1 to 65535 is expected"),
        ({"kind": "vllm", "units_per_second": 0}, "units_per_second: a number from"),
        ({"kind": "litserve", "prompt": "no JSON"}, "server.prompt"),
        ({"kind": "litserve", "prompt_path": "predict"}, "server.prompt_path: 'predict' is no path, such as /predict"),
        ({"kind": "vllm", "api_key": "sk\n"}, "server.api_key: printable ASCII letters are expected"),
        ("vllm", "the body is no JSON object"),
    ],
)
async def test_a_wrong_field_is_named_with_what_would_be_right_before_anything_is_done(
    place: Place, server: object, says: str
) -> None:
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    answer = await place._http.post("/operator/servers/check", json=server, headers=headers)
    assert answer.status_code in (400, 422)
    assert says in answer.json()["error"]
