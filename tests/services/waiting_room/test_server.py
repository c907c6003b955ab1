"""The waiting room over HTTP, by a client as a master has one, and by others."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ebbflow.services.waiting_room.room import Room
from ebbflow.services.waiting_room.server import WaitingRoom
from tests.services.waiting_room.places import RunningRoom

pytestmark = pytest.mark.anyio

FLEET = "/fleets/abcde/sdxl"
ROOM = {"service": "ebbflow-waiting-room", "version": 1}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(WaitingRoom(Room(hold_seconds=0.3)))
    async with httpx.AsyncClient(transport=transport, base_url="http://room") as client:
        yield client


async def test_later_looks_are_held_and_others_are_answered_meanwhile(http: httpx.AsyncClient) -> None:
    mine = (await http.post(f"{FLEET}/API/GetNewSession", json={})).json()
    await http.post(f"{FLEET}/API/ListBackends", json=mine)
    began = time.monotonic()
    held = asyncio.ensure_future(http.post(f"{FLEET}/API/ListBackends", json=mine))
    await http.post(f"{FLEET}/API/ListModels", json=mine)
    assert not held.done()
    assert (await held).json() == {"0": {"id": 0, "status": "loading"}}
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"session_id": [' + b"[" * 5000, b"[" * 70_000, b'"' + b"x" * 70_000],
    ids=["nothing", "half", "list", "null", "no text", "deep", "deep and long", "long"],
)
async def test_whatever_a_master_sends_it_is_answered_that_something_loads(
    http: httpx.AsyncClient, content: bytes
) -> None:
    answer = await http.post(f"{FLEET}/API/ListBackends", content=content)
    assert (answer.status_code, answer.json()) == (200, {"0": {"id": 0, "status": "loading"}})


@pytest.mark.parametrize("host", ["", "[", "room:port", "a b", "\u00fc"])
async def test_an_odd_host_header_is_no_error_to_a_master(http: httpx.AsyncClient, host: str) -> None:
    headers = [(b"Host", host.encode())]
    answer = await http.post(f"{FLEET}/API/ListModels", json={}, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"folders": [], "files": []})


@pytest.mark.parametrize(
    "path", ["/nowhere", "/fleets", "/fleets/abcde", "/fleets/abcde/sdxl/x", "/gates/", "/gates/w", "/API/X"]
)
async def test_a_path_that_there_is_none_of_is_said_to_be_so(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.post(path, json={})).status_code == 404


async def test_a_turn_finds_out_what_it_is_and_tells_it_what_workers_can_do(http: httpx.AsyncClient) -> None:
    assert (await http.get("/")).json()["service"] == "ebbflow-waiting-room"
    assert (await http.get(FLEET)).json() == {**ROOM, "features": [], "gates": []}
    await http.post(FLEET, json={"features": ["sdxl"]})
    assert (await http.get(FLEET)).json()["features"] == ["sdxl"]
    await http.post(FLEET, json={"features": "sdxl"})
    assert (await http.get(FLEET)).json()["features"] == []


async def test_a_gate_opens_by_a_post_and_by_no_look(http: httpx.AsyncClient) -> None:
    gate = "/gates/abcde/sdxl/sdxl-3f9c-1-0"
    await http.get(gate)
    mine: dict[str, Any] = (await http.post(f"{gate}/API/GetNewSession", json={})).json()
    assert (await http.post(f"{gate}/API/ListBackends", json=mine)).status_code == 200
    assert (await http.get(FLEET)).json()["gates"] == ["sdxl-3f9c-1-0"]
    assert (await http.post(gate, json={})).json()["opened"] == "sdxl-3f9c-1-0"
    assert (await http.get(FLEET)).json()["gates"] == []
    assert (await http.post(f"{gate}/API/ListBackends", json=mine)).status_code == 500


def test_the_command_says_where_it_listens_and_ends_at_ctrl_c_though_somebody_waits(room: RunningRoom) -> None:
    with httpx.Client(trust_env=False, timeout=1) as http, pytest.raises(httpx.ReadTimeout):
        http.post(f"{room.url}{FLEET}/API/ListBackends", json={})
    assert b"http://127.0.0.1:" in room.log.read_bytes()
