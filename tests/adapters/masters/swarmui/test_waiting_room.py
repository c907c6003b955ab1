"""How a waiting room is looked at: who answers at its address, what its entry is, and what would be in its way."""

from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from starlette.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp

from ebbflow.adapters.http import HttpClient
from ebbflow.adapters.masters.swarmui.answers import Entry, Listing, parse_listing
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
from ebbflow.adapters.masters.swarmui.backends import SwarmUIBackends
from ebbflow.adapters.masters.swarmui.ownership import Ownership, RoomTitle, Title, parse_title
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.adapters.masters.swarmui.waiting_room import SLOW_LINK_SECONDS, SwarmUIRoom, serves, with_risk
from ebbflow.adapters.masters.swarmui.workers import Readiness
from ebbflow.core.member import Registration, Room, RoomState
from ebbflow.services.waiting_room import room as answers
from ebbflow.services.waiting_room.server import WaitingRoom

pytestmark = pytest.mark.anyio

ADDRESS = "http://room:7860/fleets/h0me1/sdxl"
ENTRY = Entry(3, str(RoomTitle("sdxl", "h0me1")), ADDRESS, "loading", True, None, None)
WORKER = Entry(4, str(Title("sdxl", "h0me1", "sdxl-0abc-1-0")), "http://w1:7801", "running", True, None, None)
CHILD = Entry(-1, f"[Remote from 4: {WORKER.title}] gpu", "http://w1:7801", "running", True, None, None)
OFF = replace(WORKER, enabled=False)


def listing_models(*files: dict[str, Any]) -> httpx.MockTransport:
    """A master that is asked for nothing but its models."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = {"session_id": "s"} if request.url.path.endswith("GetNewSession") else {"files": [*files]}
        return httpx.Response(200, json=body)

    return httpx.MockTransport(answer)


def room_at(app: ASGIApp | httpx.AsyncBaseTransport, master: httpx.AsyncBaseTransport | None = None) -> SwarmUIRoom:
    transport = app if isinstance(app, httpx.AsyncBaseTransport) else httpx.ASGITransport(app)
    settings = SwarmUISettings(address="http://master:7801")
    server = SwarmUIServer(
        HttpClient(transport=master or listing_models()),
        settings.address,
        role="master",
        headers={},
        secrets=(),
        sessions=InMemorySessionStore(),
        timeout_seconds=1,
    )
    backends = SwarmUIBackends(settings, server, sleep=anyio.sleep)
    http = HttpClient(transport=transport)
    return SwarmUIRoom("http://room:7860", "sdxl", "h0me1", backends=backends, http=http, sleep=anyio.sleep)


async def look(*entries: Entry, **more: Any) -> Room:
    return await room_at(WaitingRoom(answers.Room())).look(Listing(entries, **more))


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ((), RoomState.ABSENT),
        ((WORKER, CHILD), RoomState.ABSENT),
        ((ENTRY,), RoomState.HOLDING),
        ((replace(ENTRY, status="waiting"),), RoomState.HOLDING),
        ((replace(ENTRY, enabled=False),), RoomState.OFF),
        ((replace(ENTRY, status="errored"),), RoomState.BROKEN),
        ((replace(ENTRY, status="running"),), RoomState.BROKEN),
        ((replace(ENTRY, status="idle"),), RoomState.BROKEN),
        ((replace(ENTRY, title="somebody renamed it"),), RoomState.HOLDING),
        ((replace(ENTRY, title=str(RoomTitle("flux", "h0me1")), address="http://room:7860/x"),), RoomState.ABSENT),
        ((replace(ENTRY, title=str(RoomTitle("sdxl", "h0me2")), address="http://room:7860/x"),), RoomState.ABSENT),
    ],
)
async def test_its_entry_is_known_by_title_or_address_and_holds_while_it_loads(
    entries: tuple[Entry, ...], state: RoomState
) -> None:
    assert (await look(*entries)).state is state


@pytest.mark.parametrize(
    ("entries", "local", "without", "someone"),
    [
        ((), (), (), False),
        ((ENTRY,), (), (), False),
        ((WORKER,), (), (), False),  # a control entry alone takes no work
        ((WORKER, CHILD), (), (), True),
        ((WORKER, replace(CHILD, status="loading")), (), (), False),
        ((OFF, CHILD), (), (), False),  # it works on what it has, and then is gone
        ((OFF, replace(WORKER, ref=9), CHILD), (), (), True),
        ((WORKER, CHILD), (), ("http://w1:7801",), False),
        ((WORKER, CHILD), ("ComfyUI (backend 0)",), ("http://w1:7801",), True),
    ],
)
def test_who_takes_work_is_who_has_a_running_child_and_stays(
    entries: tuple[Entry, ...], local: tuple[str, ...], without: tuple[str, ...], *, someone: bool
) -> None:
    assert serves(Listing(entries, local), without=without) is someone


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (
            JSONResponse({"service": "ebbflow-waiting-room", "version": 0}),
            "older than this release (version 0): upgrade",
        ),
        (JSONResponse({"service": "ebbflow-waiting-room"}), "older than this release (version None)"),
        (JSONResponse({"service": "ebbflow-waiting-room", "version": "9" * 99}), "older than this release"),
        (JSONResponse({"error": "You are not logged in."}), "something else than a waiting room answers"),
        (JSONResponse([1, 2]), "something else than a waiting room answers"),
        (HTMLResponse("<html>SwarmUI</html>"), "something else than a waiting room answers"),
        (JSONResponse({}, 503), "something else than a waiting room answers"),
        (httpx.MockTransport(lambda _: (_ for _ in ()).throw(httpx.ConnectError("refused"))), "does not answer"),
    ],
    ids=["older", "without version", "odd version", "SwarmUI", "a list", "a page", "a proxy", "nobody"],
)
async def test_whoever_else_answers_at_its_address_is_named(app: Any, said: str) -> None:
    found = await room_at(app).look(Listing((ENTRY,)))
    assert (said in found.detail, found.answers, found.can_hold) == (True, False, False), found.detail
    assert ADDRESS in found.detail


@pytest.mark.parametrize(
    ("entries", "scaling", "said"),
    [
        ((ENTRY,), (), ""),
        ((ENTRY, replace(WORKER, status="loading")), (), ""),
        (
            (ENTRY, WORKER),
            (),
            "(backend 4) runs without a child, and while it does nothing waits: its fleet puts it right",
        ),
        ((ENTRY, replace(WORKER, title="Bob's GPU")), (), "Bob's GPU (backend 4) runs without a child"),
        ((ENTRY, replace(WORKER, title="Bob's GPU", enabled=False)), (), ""),
        ((ENTRY,), ("Auto Scaling Backend (backend 2)",), "(backend 2) is switched on in the master, and while it is"),
        ((WORKER, CHILD), ("Auto Scaling Backend (backend 2)",), "switch it off, since this fleet launches by itself"),
    ],
)
async def test_what_would_make_requests_fail_all_the_same_is_named(
    entries: tuple[Entry, ...], scaling: tuple[str, ...], said: str
) -> None:
    found = await look(*entries, scaling=scaling)
    assert said in found.detail
    assert found.can_hold is (said == "")


def test_swarmuis_own_auto_scaler_takes_no_work() -> None:
    rows = {
        "2": {"id": 2, "type": "autoscalingbackend", "title": "Auto", "status": "running", "enabled": True},
        "5": {"id": 5, "type": "comfyui_selfstart", "title": "GPU", "status": "running", "enabled": True},
    }
    listing = parse_listing(rows)
    assert (listing.local, listing.scaling) == (("GPU (backend 5)",), ("Auto (backend 2)",))


@pytest.mark.parametrize(
    ("status", "enabled", "has_scaler", "fills_up"),
    [
        ("running", True, True, False),
        ("loading", True, True, True),  # it pings nobody before it has its minimum
        ("waiting", True, True, True),
        ("errored", True, False, False),
        ("disabled", False, False, False),
        ("running", False, False, False),
    ],
)
def test_an_auto_scaler_that_is_on_holds_its_workers_and_pings_them_once_it_runs(
    status: str, *, enabled: bool, has_scaler: bool, fills_up: bool
) -> None:
    row = {"id": 2, "type": "autoscalingbackend", "title": "Auto", "status": status, "enabled": enabled}
    listing = parse_listing({"2": row})
    assert (listing.has_scaler, listing.fills_up) == (has_scaler, fills_up)


@pytest.mark.parametrize(
    ("title", "worker_id"),
    [
        ("ebbflow/sdxl/h0me1/sdxl-0abc-1-0", "sdxl-0abc-1-0"),  # as an earlier release wrote it
        ("ebbflow/sdxl/h0me1/sdxl-0abc-1-0 - added and removed by ebbflow", "sdxl-0abc-1-0"),
        ("ebbflow/sdxl/h0me1/sdxl-0abc-1-0 - do not touch!", "sdxl-0abc-1-0"),
        (str(RoomTitle("sdxl", "h0me1")), None),
        ("ebbflow/sdxl/h0me1/waiting-room", None),
    ],
)
def test_what_a_title_says_to_people_is_not_compared(title: str, worker_id: str | None) -> None:
    found = parse_title(title)
    assert (found.worker_id if found else None) == worker_id


def test_its_entry_is_nobodys_of_another_home() -> None:
    ownership = Ownership("sdxl", "h0me1")
    assert not ownership.is_of_another_home(ENTRY)
    assert ownership.is_of_another_home(replace(ENTRY, title=str(RoomTitle("sdxl", "h0me2"))))


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ((), ()),
        (({"name": "sdxl.safetensors", "local": True},), ()),
        (({"name": "b", "local": False}, {"name": "a", "local": False}, {"name": "c", "local": True}), ("a", "b")),
        (({"name": 7, "local": False}, {"name": "", "local": False}, {"name": "a"}, "a"), ()),  # nothing that says it
    ],
)
async def test_models_that_only_workers_have_are_known_while_one_serves(files: Any, missing: tuple[str, ...]) -> None:
    room = room_at(WaitingRoom(answers.Room()), listing_models(*files))
    assert (await room.look(Listing((ENTRY, WORKER, CHILD)))).missing_models == missing
    assert (await room.look(Listing((ENTRY,)))).missing_models == ()


async def test_a_master_that_lists_no_models_is_no_mistake() -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(400, json={"error_id": "bad_permissions", "error": "no"}))
    found = await room_at(WaitingRoom(answers.Room()), refusing).look(Listing((ENTRY, WORKER, CHILD)))
    assert (found.missing_models, found.can_hold) == ((), True)


async def test_what_workers_can_do_is_seen_and_told_but_for_what_the_page_cannot_show() -> None:
    told = answers.Room()
    room = room_at(WaitingRoom(told))
    child = replace(CHILD, features=("variation_seed", "comfyui", "sdxl"))
    assert (await room.look(Listing((WORKER, child)))).features == ("sdxl", "variation_seed")
    told.tell("h0me1/sdxl", ["sdxl"])
    assert (await room.look(Listing((ENTRY,)))).told == ("sdxl",)


async def test_the_gates_of_this_fleet_that_wait_are_seen_and_opened_by_the_workers_id() -> None:
    told = answers.Room()
    room = room_at(WaitingRoom(told))
    assert room.gate_of("sdxl-0abc-1-0") == "http://room:7860/gates/h0me1/sdxl/sdxl-0abc-1-0"
    told.gate("h0me1/sdxl", "sdxl-0abc-1-0", "GetNewSession", {})
    assert (await room.look(Listing((ENTRY,)))).gates == ("sdxl-0abc-1-0",)
    await room.open_gate("sdxl-0abc-1-0")
    assert (await room.look(Listing((ENTRY,)))).gates == ()


@pytest.mark.parametrize(
    ("seconds", "has_gate", "said", "warns"),
    [
        (0.01, False, "", False),
        (2 * SLOW_LINK_SECONDS, False, "", True),
        (2 * SLOW_LINK_SECONDS, True, "", False),
        (0.01, False, "this SwarmUI master takes 3 s to begin with an entry", True),
        (0.01, True, "this SwarmUI master takes 3 s to begin with an entry", False),
    ],
)
def test_a_join_without_a_gate_at_a_slow_or_new_master_says_what_may_be_lost(
    seconds: float, said: str, *, has_gate: bool, warns: bool
) -> None:
    answer = with_risk(
        Registration(True, warning=said), Readiness(Registration(True), has_gate=has_gate, seconds=seconds)
    )
    assert answer.warning.startswith(said)
    assert ("requests that wait may be lost at this join" in answer.warning) is warns


async def test_what_a_room_names_and_is_no_workers_id_is_no_gate() -> None:
    names = ["sdxl-0abc-1-0", "../../API/ShutdownServer", "", "x", 7, "sdxl-0abc-1-0?x"]
    said = JSONResponse({"service": "ebbflow-waiting-room", "version": 1, "gates": names, "features": "none"})
    found = await room_at(said).look(Listing((ENTRY,)))
    assert (found.gates, found.told) == (("sdxl-0abc-1-0",), ())
