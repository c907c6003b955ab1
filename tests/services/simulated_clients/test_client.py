"""One client against the real gateway and tiny workers: what it asks, what it counts, and what it never does."""

import asyncio
import json
from collections.abc import Awaitable
from itertools import pairwise
from random import Random

import pytest
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from ebbflow.services.simulated_clients.balancer import TICKET
from ebbflow.services.simulated_clients.life import Life, Lost
from tests.services.simulated_clients.world import ENDPOINT, ScriptedGateway, TinyWorker, World

pytestmark = pytest.mark.anyio

TICKET_OF = {"url": "http://10.0.0.1:3000", "cost": 5, "endpoint": ENDPOINT, "reqnum": 1, "request_idx": 7}
SIGNED = TICKET_OF | {"signature": "c2ln"}
PLAIN = TICKET_OF | {"kind": "vllm", "model": "llama-3"}
HOSTILE = {
    "for ever": (Lost.WORKER_TOO_LONG, "more than 100000 bytes"),
    "one line": (Lost.WORKER_TOO_LONG, "a line of more than 1048576 bytes"),
    "page": (Lost.WORKER_NONSENSE, "a stream without an event"),
    "empty": (Lost.WORKER_NONSENSE, "a stream without an event"),
    "an error": (Lost.WORKER_NONSENSE, "an event says: CUDA"),
    "elsewhere": (Lost.WORKER_REFUSED, "HTTP 307"),
    "401": (Lost.WORKER_REFUSED, 'HTTP 401: {"error":"no"}'),
    "500": (Lost.WORKER_REFUSED, "HTTP 500"),
}


async def test_a_request_is_served_token_by_token(world: World) -> None:
    worker = await world.worker()
    life = await world.lived(tokens=5)
    assert (life.is_served, life.tokens, life.worker_url) == (True, 5, worker.url)
    assert life.first_token_at == pytest.approx(life.due_at + 0.1)
    assert life.ended_at == pytest.approx(life.due_at + 0.5)
    assert (life.queue_seconds, life.reroutes, life.failed_at) == (0.0, 0, [])


async def test_the_worker_gets_the_six_keys_of_the_ticket_and_never_the_clients_key(world: World) -> None:
    worker = await world.worker()
    await world.lived(tokens=3)
    ((headers, url, body),) = worker.seen
    assert url == f"{worker.url}/generate"
    assert sorted(body["auth_data"]) == sorted(TICKET)
    assert body["session_id"] is None
    assert body["payload"] == {"prompt": "tell me of the tide", "max_tokens": 3, "stream": True}
    assert "authorization" not in headers
    assert world.key not in f"{headers.raw} {url} {json.dumps(body)}"


async def test_without_a_stream_the_tokens_of_the_answer_count_and_the_first_is_there_with_the_last(
    world: World,
) -> None:
    await world.worker()
    life = await world.lived(tokens=4, streams=False)
    assert (life.tokens, life.first_token_at) == (4, life.ended_at)


async def test_a_client_polls_under_one_number_until_a_worker_is_there(world: World) -> None:
    worker = await world.worker(is_loaded=False)
    loading = asyncio.create_task(loaded_after(world, worker, 7.0))
    life = await world.lived()
    await loading
    account = await world.account()
    assert (account["arrived"], account["served"], account["queued_requests"]) == (1, 1, 0)
    assert life.is_served
    assert 7.0 <= life.queue_seconds <= 12.0, "at most five seconds pass between two polls"


async def loaded_after(world: World, worker: TinyWorker, seconds: float) -> None:
    await world.time.sleep(seconds)
    worker.is_loaded = True
    await worker.report()


async def test_the_first_poll_comes_after_a_second_and_the_others_at_random(world: World) -> None:
    at: list[float] = []
    gateway = ScriptedGateway(world.street, JSONResponse({"request_idx": 7}), told=lambda: at.append(world.time.now))
    life = await world.lived(client=world.client(gateway=gateway.url, patience_seconds=60))
    pauses = [after - before for before, after in pairwise(at)]
    assert pauses[0] == 1.0
    assert all(0.1 <= pause <= 5.0 for pause in pauses[1:])
    assert len(set(pauses)) == len(pauses)
    assert [body["request_idx"] for _, body in gateway.asked] == [0, *(7 for _ in pauses)]
    assert (life.lost, life.words) == (Lost.OUT_OF_PATIENCE, "no worker was free in time")


@pytest.mark.parametrize("meets", ["429", "503", "504", "break off"])
async def test_a_worker_that_fails_a_request_sends_it_to_another_under_its_number(world: World, meets: str) -> None:
    workers = [await world.worker(meets), await world.worker(meets)]
    first = await world.lived(tokens=5)
    assert (first.is_served, first.tokens, first.reroutes) == (True, 5, 2)
    assert sorted(first.failed_at) == [worker.url for worker in workers]
    numbers = {body["auth_data"]["request_idx"] for worker in workers for _, _, body in worker.seen}
    assert len(numbers) == 1
    assert first.wasted_tokens == (4 if meets == "break off" else 0)
    assert first.first_token_at is not None
    assert first.ended_at is not None
    assert first.ended_at - first.first_token_at == pytest.approx(0.4), "of the answer that it got"


async def test_where_nobody_listens_another_worker_is_asked(world: World) -> None:
    gone = await world.worker(is_there=False)
    life = await world.lived()
    assert (life.lost, set(life.failed_at)) == (Lost.OUT_OF_PATIENCE, {gone.url})
    assert life.words == "the last worker: ConnectError: nobody listens"
    there = await world.worker()
    life = await world.lived()
    assert (life.is_served, life.worker_url) == (True, there.url)


async def test_a_worker_that_refuses_for_ever_is_asked_no_more_often_than_a_client_polls(world: World) -> None:
    worker = await world.worker(*(["429"] * 1000))
    life = await world.lived(patience_seconds=60)
    assert life.lost is Lost.OUT_OF_PATIENCE
    assert 10 < len(worker.seen) < 60
    assert len(life.failed_at) == len(worker.seen) == life.reroutes + 1


async def test_who_is_not_served_gives_up_when_its_patience_is_over(world: World) -> None:
    life = await world.lived(patience_seconds=20)
    assert (life.lost, life.words) == (Lost.OUT_OF_PATIENCE, "no worker was free in time")
    assert life.ended_at == pytest.approx(life.began_at + 20)
    assert life.queue_seconds == pytest.approx(20)


async def test_a_key_that_the_gateway_does_not_know_is_not_tried_again_and_not_shown(world: World) -> None:
    life = await world.lived(client=world.client(key="k" * 40))
    assert (life.lost, life.words) == (Lost.GATEWAY_REFUSED, "HTTP 401: Authentication failed")
    assert len([url for url in world.street.asked if url.path == "/route/"]) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_gateway_that_has_no_time_is_asked_again_when_it_says(world: World, status: int) -> None:
    worker = await world.worker()
    busy = JSONResponse({"error": "later"}, status, headers={"Retry-After": "9"})
    gateway = ScriptedGateway(world.street, busy, busy, JSONResponse(SIGNED))
    life = await world.lived(client=world.client(gateway=gateway.url))
    assert (life.is_served, life.worker_url, life.queue_seconds) == (True, worker.url, 18.0)


async def test_a_gateway_that_says_at_once_is_not_asked_without_end(world: World) -> None:
    gateway = ScriptedGateway(world.street, JSONResponse({}, 429, headers={"Retry-After": "0"}))
    life = await world.lived(client=world.client(gateway=gateway.url, patience_seconds=5))
    assert life.lost is Lost.OUT_OF_PATIENCE
    assert len(gateway.asked) <= 50


async def test_without_patience_for_what_the_gateway_says_a_client_gives_up_in_time(world: World) -> None:
    gateway = ScriptedGateway(world.street, JSONResponse({}, 503, headers={"Retry-After": "900"}))
    life = await world.lived(client=world.client(gateway=gateway.url, patience_seconds=30))
    assert (life.lost, life.queue_seconds) == (Lost.OUT_OF_PATIENCE, 30.0)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (HTMLResponse("<html>a proxy</html>"), Lost.GATEWAY_NONSENSE),
        (JSONResponse([1]), Lost.GATEWAY_NONSENSE),
        (Response(b"[" * 100_000), Lost.GATEWAY_NONSENSE),
        (Response(b"x" * 5_000_000), Lost.GATEWAY_NONSENSE),
        (HTMLResponse("<html>an error</html>", 502), Lost.GATEWAY_REFUSED),
        (RedirectResponse("http://10.66.6.6:80/take", 307), Lost.GATEWAY_REFUSED),
        (JSONResponse(TICKET_OF), Lost.GATEWAY_NONSENSE),
        (JSONResponse(SIGNED | {"url": None}), Lost.GATEWAY_NONSENSE),
        (JSONResponse(SIGNED | {"url": "file:///etc/passwd"}), Lost.GATEWAY_NONSENSE),
        (JSONResponse(SIGNED | {"url": "http://user:word@10.0.0.1:3000"}), Lost.GATEWAY_NONSENSE),
        (JSONResponse(SIGNED | {"url": "http://[::1"}), Lost.GATEWAY_NONSENSE),
        (JSONResponse(SIGNED | {"request_idx": "7"}), Lost.GATEWAY_NONSENSE),
        (JSONResponse(SIGNED | {"kind": 7}), Lost.GATEWAY_NONSENSE),
    ],
)
async def test_what_is_no_answer_of_a_gateway_loses_the_request_and_leads_nowhere(
    world: World, answer: Response, lost: Lost
) -> None:
    gateway = ScriptedGateway(world.street, answer)
    life = await world.lived(client=world.client(gateway=gateway.url))
    assert life.lost is lost
    assert life.words
    assert len(gateway.asked) == 1
    assert {url.host for url in world.street.asked} <= {"gateway", "scripted"}


async def test_a_gateway_that_echoes_the_key_does_not_have_it_shown(world: World) -> None:
    gateway = ScriptedGateway(world.street, JSONResponse({"error": f"{world.key} is no key"}, 401))
    life = await world.lived(client=world.client(gateway=gateway.url))
    assert life.words == "HTTP 401: *** is no key"


@pytest.mark.parametrize("meets", HOSTILE)
async def test_what_is_no_answer_of_a_model_loses_the_request_and_is_not_read_for_ever(
    world: World, meets: str
) -> None:
    await world.worker(meets)
    life = await world.lived(most_answer_bytes=2_000_000 if meets == "one line" else 100_000)
    lost, words = HOSTILE[meets]
    assert (life.lost, life.tokens, len(life.failed_at)) == (lost, 0, 1)
    assert words in life.words
    assert "10.66.6.6" not in {url.host for url in world.street.asked}


@pytest.mark.parametrize("meets", ["page", "empty", "for ever"])
async def test_a_whole_answer_that_is_none_loses_the_request_too(world: World, meets: str) -> None:
    await world.worker(meets)
    life = await world.lived(streams=False, most_answer_bytes=100_000)
    assert life.lost is (Lost.WORKER_TOO_LONG if meets == "for ever" else Lost.WORKER_NONSENSE)


async def test_an_answer_has_a_limit_of_its_own(world: World) -> None:
    await world.worker("silence")
    life = await world.lived(answer_seconds=0.05)
    assert (life.lost, life.words) == (Lost.WORKER_TOO_LONG, "the answer did not end within 0.05 s")


async def test_a_plain_model_server_is_asked_as_such_and_the_gateway_is_told_of_the_end(world: World) -> None:
    server = await world.worker()
    gateway = ScriptedGateway(world.street, JSONResponse(PLAIN))
    life = await world.lived(tokens=3, client=world.client(gateway=gateway.url, model_key="m" * 20))
    ((headers, url, body),) = server.seen
    assert (life.tokens, url, headers["authorization"]) == (3, f"{server.url}/v1/completions", f"Bearer {'m' * 20}")
    assert body == {"model": "llama-3", "prompt": "tell me of the tide", "max_tokens": 3, "stream": True}
    done = {"endpoint": ENDPOINT, "api_key": world.key, "request_idx": 7, "success": True}
    assert gateway.asked[1:] == [("/done/", done)]


async def test_each_failure_of_a_plain_model_server_is_told_to_the_gateway_before_another_is_asked_for(
    world: World,
) -> None:
    await world.worker("429", "break off", "401")
    gateway = ScriptedGateway(world.street, JSONResponse(PLAIN | {"model": ""}))
    life = await world.lived(client=world.client(gateway=gateway.url))
    assert (life.lost, life.reroutes, life.wasted_tokens) == (Lost.WORKER_REFUSED, 2, 2)
    assert [path for path, _ in gateway.asked] == ["/route/", "/done/"] * 3
    assert {body["success"] for path, body in gateway.asked if path == "/done/"} == {False}


async def test_a_gateway_that_does_not_know_done_is_told_no_more(world: World) -> None:
    server = await world.worker()
    gateway = ScriptedGateway(world.street, JSONResponse(PLAIN))
    gateway.done_status = 404
    client = world.client(gateway=gateway.url)
    lives = [await world.lived(client=client) for _ in range(3)]
    assert all(life.is_served for life in lives)
    assert [path for path, _ in gateway.asked].count("/done/") == 1
    ((headers, _, _), *_) = server.seen
    assert "authorization" not in headers
    assert world.key not in str(headers.raw)


async def test_a_model_key_that_a_server_echoes_is_not_shown(world: World) -> None:
    def echo(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return JSONResponse({"error": f"{'m' * 20} is no key"}, 401)(scope, receive, send)

    gateway = ScriptedGateway(world.street, JSONResponse(PLAIN))
    world.street.servers["10.0.0.1:3000"] = echo
    life = await world.lived(client=world.client(gateway=gateway.url, model_key="m" * 20))
    assert life.words == 'HTTP 401: {"error":"*** is no key"}'


async def test_a_request_that_is_cut_off_says_so(world: World) -> None:
    life = Life(world.time.now, world.time.now, 5)
    living = asyncio.create_task(world.client().live(life, Random(1)))
    await world.time.run(world.time.sleep(3.0))
    living.cancel()
    await asyncio.wait([living])
    assert (life.lost, life.ended_at, life.is_waiting) == (Lost.CUT_OFF, life.began_at + 3.0, False)
