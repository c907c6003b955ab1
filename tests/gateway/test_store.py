"""The gateway's database, SQLite and a real PostgreSQL: one contract, and what happens while it is away or full."""

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ebbflow.gateway.kinds.kind import Wanted
from ebbflow.gateway.plain import PlainServer
from ebbflow.gateway.reports import WorkerView
from ebbflow.gateway.store import SCHEMA, EndpointRow, KeyRow, Store, StoreError, WorkerRow
from ebbflow.gateway.wire import token_of
from ebbflow.standins.process import free_port
from tests.gateway.postgres import Postgres, postgres
from tests.gateway.processes import SECRET, SECRETS, GatewayProcess, command, gateway_process, until

pytestmark = pytest.mark.anyio
VIEW = WorkerView("demo-0abc-1-0", instance_id="38250", url="http://10.0.0.1:3000", is_loaded=True, max_perf=188.7)
WORKER = WorkerRow("demo-0abc-1-0", "llama", "h0me1", "http://10.0.0.1:3000", 1e9, False, VIEW)
SAID = {"id": 38250, "version": "1.1.0", "loadtime": 3.0, "max_perf": 100.0, "cur_load": 0.0, "url": WORKER.url}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite'}"
    return str(request.getfixturevalue("server").url)


@pytest.fixture
async def store(anyio_backend: str, url: str) -> AsyncIterator[Store]:
    made = Store(url)
    await made.prepare()
    yield made
    await made.aclose()


async def test_what_is_kept_is_there_for_the_next_process(store: Store, url: str) -> None:
    endpoint = EndpointRow("llama", 1, 30.0, 20_000, 10_000.0)
    secret = await store.secret("private key", b"first")
    await store.keep_endpoint(endpoint)
    await store.keep_key(KeyRow("d" * 64, "llama"))
    await store.keep_worker(WORKER)
    other = Store(url)
    await other.prepare()
    assert await other.secret("private key", b"second") == secret == b"first"
    assert (list(await other.endpoints()), list(await other.workers())) == ([endpoint], [WORKER])
    assert [row.endpoint for row in await other.keys()] == ["llama"]
    await other.keep_key(KeyRow("d" * 64, "llama", ends_at=1e9))
    assert [row.ends_at for row in await store.keys()] == [1e9]
    await other.drop_key("d" * 64)
    await other.drop_worker(WORKER.worker_id)
    assert (list(await store.keys()), list(await store.workers())) == ([], [])
    await other.aclose()


async def test_a_plain_server_is_kept_without_its_key_and_forgotten_with_its_worker(store: Store, url: str) -> None:
    server = PlainServer("vllm", Wanted("tide-7b"), key="sk-model", metrics_port=8002)
    await store.keep_worker(WORKER)
    await store.keep_server(WORKER.worker_id, server, "sealed")
    other = Store(url)
    await other.prepare()
    assert await other.servers() == {WORKER.worker_id: (replace(server, key=""), "sealed")}
    await other.drop_worker(WORKER.worker_id)
    assert await store.servers() == {}
    await other.aclose()


@pytest.mark.parametrize("database_url", ["one on a file", "two on a PostgreSQL"], indirect=True)
def test_an_older_gateway_leaves_the_tables_of_a_newer_one_alone_and_says_what_to_install(database_url: str) -> None:
    async def use_it_newer() -> None:
        made = Store(database_url)
        await made.prepare()
        await made.reserve("schema", 1)
        await made.aclose()

    asyncio.run(use_it_newer())
    words = command("gateway", "--port", str(free_port()), "--database", database_url)
    done = subprocess.run(words, env={**os.environ, **SECRETS}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    said = " ".join((done.stdout + done.stderr).split())
    assert f"tables of version {SCHEMA + 1}, and this gateway knows {SCHEMA}" in said
    assert "install that one here" in said


async def test_no_number_is_given_twice_whoever_asks_at_once(store: Store, url: str) -> None:
    await store.reserve("asked", 1)
    others = [Store(url) for _ in range(3)]
    found: list[int] = []

    async def take(one: Store) -> None:
        for _ in range(5):
            found.append(await one.reserve("asked", 10))

    async with anyio.create_task_group() as group:
        for each in others:
            group.start_soon(take, each)
    assert len(found) == len(set(found)) == 15
    assert sorted(found) == list(range(2, 152, 10))
    for each in others:
        await each.aclose()


async def test_regression_a_process_that_was_ended_while_it_wrote_never_ended(store: Store) -> None:
    before = asyncio.all_tasks()
    for milliseconds in range(20):
        with anyio.move_on_after(milliseconds / 1000):
            await store.reserve("asked", 1)
    await store.aclose()
    assert asyncio.all_tasks() - before == set(), "the loop would wait for them when it is closed"


async def test_a_database_that_is_none_or_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader, " * 100)
    for url in ("postgresql+asyncpg://ebbflow@127.0.0.1:1/none", f"sqlite+aiosqlite:///{tmp_path / 'letter.txt'}"):
        store = Store(url)
        with pytest.raises(StoreError, match="the gateway's database"):
            await store.prepare()
        await store.aclose()


def report(gateway: GatewayProcess, worker_id: str = WORKER.worker_id) -> int:
    return gateway.http.post("/worker_status/", json=SAID | {"mtoken": token_of(worker_id, SECRET)}).status_code


def registered(gateway: GatewayProcess) -> str:
    """An endpoint with one worker; its client key."""
    key = gateway.endpoint()
    assert report(gateway) == 200
    gateway.operator("PUT", f"endpoints/llama/workers/{WORKER.worker_id}", url=WORKER.url, lease_seconds=3600)
    return key


def routed(gateway: GatewayProcess, key: str) -> int:
    """The number of a request that was sent to the worker."""
    answer = gateway.http.post(
        "/route/", json={"endpoint": "llama", "cost": 1}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.json()["url"] == WORKER.url, answer.text
    return int(answer.json()["reqnum"])


@pytest.mark.soak
def test_while_a_real_database_is_away_routes_go_on_and_then_all_is_kept(tmp_path: Path) -> None:
    with postgres() as server, gateway_process(tmp_path, server.url) as gateway:
        key = registered(gateway)
        first = routed(gateway, key)
        server.stop()
        until(lambda: gateway.http.get("/readyz").status_code == 503, "it notices")
        report(gateway)
        assert routed(gateway, key) > first
        assert gateway.http.put("/operator/endpoints/more", json={}).status_code == 503
        server.start()
        until(lambda: gateway.http.get("/readyz").status_code == 200, "it notices that, too")
        last = routed(gateway, key)
        gateway.kill()
        gateway.start()
        assert routed(gateway, key) > last, "no number is given twice"


@pytest.mark.soak
def test_on_a_full_disk_routes_go_on_and_nothing_is_taken_that_cannot_be_kept(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway:
        key = registered(gateway)
        # Files of this process may not grow: to its database that is a disk without room.
        limits = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
        size = os.stat(tmp_path / "gateway.sqlite").st_size
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (size // 2, limits[1]))
        answer = gateway.http.put("/operator/endpoints/more", json={})
        assert (answer.status_code, "database" in answer.json()["error"]) == (503, True)
        first = routed(gateway, key)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, limits)
        until(lambda: gateway.http.put("/operator/endpoints/more", json={}).status_code == 200, "there is room again")
        gateway.kill()
        gateway.start()
        assert routed(gateway, key) > first
    with sqlite3.connect(tmp_path / "gateway.sqlite") as kept:
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
