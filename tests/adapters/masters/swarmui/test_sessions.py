"""API sessions between runs: kept by the store that an adapter was given, and by a dry run not at all."""

import asyncio
import json
from contextlib import suppress

import httpx
import pytest

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore, ReadOnlySessions
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.contracts.master import worker_at
from tests.adapters.masters.swarmui.played_master import SwarmUIWorld

pytestmark = pytest.mark.anyio

ADDRESS = "http://master:7801"


class Closing(InMemorySessionStore):
    """Says whether it was closed."""

    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


async def test_what_a_dry_run_has_to_renew_is_kept_for_that_run_alone() -> None:
    stored = Closing()
    await stored.put(ADDRESS, "old")
    reading = ReadOnlySessions(stored)
    assert await reading.get(ADDRESS) == "old"
    await reading.put(ADDRESS, "new")
    await reading.put("http://worker:7801", None)
    assert (await reading.get(ADDRESS), await reading.get("http://worker:7801")) == ("new", None)
    await reading.aclose()
    assert (await stored.get(ADDRESS), stored.is_closed) == ("old", False)


async def test_an_adapter_closes_its_store_also_when_the_network_does_not_close() -> None:
    class Broken(httpx.MockTransport):
        async def aclose(self) -> None:
            raise OSError("the network is gone")

    store = Closing()
    transport = Broken(lambda _: httpx.Response(200))
    settings = SwarmUISettings(address=ADDRESS)
    adapter = SwarmUIAdapter(settings, fleet="sdxl", home="h0me1", sessions=store, transport=transport)
    await adapter.demand()  # opens it
    with pytest.raises(OSError, match="gone"):
        await adapter.aclose()
    assert store.is_closed


async def test_of_an_owners_permissions_only_the_one_that_includes_all_is_kept() -> None:
    names = ["configure_roles", "*", *(f"permission_{number}" for number in range(64))]
    session = {"session_id": "5e55", "server_id": "m", "version": "0.9.8.2", "permissions": names}
    store = InMemorySessionStore()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=session))
    settings = SwarmUISettings(address=ADDRESS)
    adapter = SwarmUIAdapter(settings, fleet="sdxl", home="h0me1", sessions=store, transport=transport)
    assert (await adapter.probe()).reachable
    await adapter.aclose()
    assert json.loads(await store.get(ADDRESS) or "") == session | {"permissions": ["*"]}


async def test_regression_a_connection_to_each_of_a_thousand_workers_stayed_open(world: SwarmUIWorld) -> None:
    open_now = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        body = json.dumps({"session_id": "5e55", "permissions": ["*"], "success": True}).encode()
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        open_now -= 1
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        worker = worker_at("sdxl-0abc-1-0", f"http://127.0.0.1:{port}")
        assert await world.adapter().keepalive([worker]) == {worker.worker_id: True}
        await world.until(lambda: not open_now)
