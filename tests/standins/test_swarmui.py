"""The stand-in SwarmUI, held to what was read in SwarmUI's source."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any  # JSON of the stand-in's answers

import httpx
import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.sessions import Access
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
SETTINGS: Json = {
    "AllowIdle": True,
    "AllowForwarding": True,
    "AllowWebsocket": True,
    "AuthorizationHeader": "",
    "OtherHeaders": "",
    "ConnectionAttemptTimeoutSeconds": 30,
}


class Client:
    """A caller with one session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(base_url=url, timeout=3, trust_env=False, verify=False)
        self.session_id = ""

    async def open(self) -> Json:
        answer: Json = (await self.http.post("/API/GetNewSession", json={})).json()
        self.session_id = answer.get("session_id", "")
        return answer

    async def post(self, route: str, **body: object) -> httpx.Response:
        return await self.http.post(f"/API/{route}", json={"session_id": self.session_id, **body})

    async def call(self, route: str, **body: object) -> Json:
        answer: Json = (await self.post(route, **body)).json()
        return answer

    async def control(self, name: str, **body: object) -> Json:
        answer: Json = (await self.http.post(f"/Control/{name}", json=body)).json()
        return answer

    async def backends(self) -> Json:
        return await self.call("ListBackends", nonreal=True, full_data=True)

    async def load(self) -> Json:
        load: Json = (await self.call("GetGlobalStatus"))["status"]
        return load

    async def register(self, worker_url: str, title: str = "ebbflow/sdxl/h/w1", **settings: object) -> int:
        backend_id: int = (await self.call("AddNewBackend", type_id="swarmswarmbackend"))["id"]
        whole = {**SETTINGS, "Address": worker_url, **settings}
        await self.call("EditBackend", backend_id=backend_id, title=title, settings=whole)
        return backend_id


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = Client(url)
    async with client.http:
        await client.open()
        yield client


async def until(holds: Callable[[], bool], seen: Callable[[], object] = lambda: "") -> None:
    """Wait for the effect of real loopback traffic, which a manual clock does not move."""
    deadline = time.monotonic() + 3
    while not holds():
        assert time.monotonic() < deadline, f"never held; last seen: {seen()}"
        await asyncio.sleep(0.002)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def master(tmp_path: Path, clock: ManualClock) -> PlayedMaster:
    return PlayedMaster(MasterSettings(tmp_path / "master"), clock=clock)


@pytest.fixture
def worker(clock: ManualClock) -> PlayedWorker:
    return PlayedWorker(WorkerSettings(seconds_per_step=1), clock=clock)


@pytest.fixture
async def client(master: PlayedMaster) -> AsyncIterator[Client]:
    async with serve(master.app) as url, connected(url) as client:
        yield client


def states(master: PlayedMaster) -> dict[int, str]:
    return {entry.id: str(entry.state) for entry in master.backends}


async def reach(master: PlayedMaster, wanted: dict[int, str], clock: ManualClock | None = None) -> None:
    """Wait for the states; with a clock, let time pass until they are there."""
    for _ in range(120):
        if clock is None or states(master) == wanted:
            break
        await pass_time(clock, 1)
    await until(lambda: states(master) == wanted, lambda: states(master))


async def pass_time(clock: ManualClock, seconds: float, step: float = 1.0) -> None:
    """Move in steps, with room for the traffic of each."""
    for _ in range(round(seconds / step)):
        await clock.advance(step)
        await asyncio.sleep(0.002)


async def outcome(clock: ManualClock, work: "asyncio.Future[Json]") -> Json:
    """Let time pass until a request is answered."""
    for _ in range(300):
        if work.done():
            break
        await pass_time(clock, 1)
    assert work.done(), "never answered"
    return work.result()


class TestTransport:
    @pytest.mark.parametrize(
        ("route", "body", "status", "answer"),
        [
            ("ListBackends", {"session_id": None}, 400, {"error_id": "basic_api", "error": "missing session id"}),
            (
                "ListBackends",
                {"session_id": "f00"},
                401,
                {
                    "error": "Invalid session ID. You may need to refresh the page.",
                    "error_id": "invalid_session_id",
                },
            ),
            ("NoSuchRoute", {}, 400, {"error_id": "bad_route", "error": "Unknown API route"}),
            ("DeleteBackend", {}, 200, {"error": "Missing required parameter 'backend_id'"}),
            (
                "DeleteBackend",
                {"backend_id": "x"},
                200,
                {"error": "Invalid value 'x' for parameter 'backend_id', must be type 'Int32'"},
            ),
            (
                "DeleteBackend",
                {"backend_id": 2**31},
                200,
                {"error": "Invalid value '2147483648' for parameter 'backend_id', must be type 'Int32'"},
            ),
            (
                "ToggleBackend",
                {"backend_id": "7", "enabled": 1},
                200,
                {"error": "Invalid value '1' for parameter 'enabled', must be type 'Boolean'"},
            ),
            ("ToggleBackend", {"backend_id": "7", "enabled": "True"}, 200, {"error": "Invalid backend ID 7"}),
            ("EditBackend", {"backend_id": 7, "settings": {}}, 200, {"error": "Missing required parameter 'title'"}),
            ("EditBackend", {"backend_id": 7, "title": "t"}, 200, {"error": "Missing settings."}),
            ("EditBackend", {"backend_id": 7, "title": "t", "settings": {}}, 200, {"error": "Invalid backend ID 7"}),
            ("AddNewBackend", {"type_id": "nope"}, 200, {"error": "Invalid backend type: nope"}),
            ("DeleteBackend", {"backend_id": "7"}, 200, {"result": "Already didn't exist."}),
            ("deletebackEND", {"backend_id": 7}, 200, {"result": "Already didn't exist."}),
            (
                "GenerateText2ImageWS",
                {},
                400,
                {"error_id": "bad_request_method", "error": "API route needs websocket, request is HTTP"},
            ),
        ],
    )
    async def test_each_mistake_has_its_own_answer(
        self, client: Client, route: str, body: Json, status: int, answer: Json
    ) -> None:
        sent = {"session_id": client.session_id, **body}
        response = await client.http.post(
            f"/API/{route}", json={key: value for key, value in sent.items() if value is not None}
        )
        assert (response.status_code, response.json()) == (status, answer)

    @pytest.mark.parametrize(
        ("content_type", "content", "error_id", "error"),
        [
            ("text/plain", b"{}", "basic_api", "Wrong content type"),
            ("application/json", b"", "basic_api", "bad content length"),
            ("application/json", b"null", "basic_api", "null input"),
            ("application/json", b"{", "internal_error", "An internal error occurred"),
            ("application/json", b"[]", "internal_error", "An internal error occurred"),
        ],
    )
    async def test_a_body_that_is_no_json_object_is_refused(
        self, client: Client, content_type: str, content: bytes, error_id: str, error: str
    ) -> None:
        response = await client.http.post("/API/GetNewSession", content=content, headers={"Content-Type": content_type})
        assert (response.status_code, response.json()) == (400, {"error_id": error_id, "error": error})

    async def test_a_chunked_body_is_refused(self, client: Client) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"{}"

        response = await client.http.post(
            "/API/GetNewSession", content=chunks(), headers={"Content-Type": "application/json"}
        )
        assert (response.status_code, response.json()["error"]) == (400, "bad content length")

    async def test_get_is_redirected(self, client: Client) -> None:
        response = await client.http.get("/API/ListBackends")
        assert (response.status_code, response.headers["location"]) == (302, "/Error/NoGetAPI")

    async def test_the_session_id_may_come_in_a_header(self, client: Client) -> None:
        response = await client.http.post("/API/ListBackends", json={}, headers={"X-Session-ID": client.session_id})
        assert (response.status_code, response.json()) == (200, {})

    async def test_a_new_session_tells_user_server_and_permissions(self, client: Client, master: PlayedMaster) -> None:
        answer = await client.open()
        assert len(bytes.fromhex(answer.pop("session_id"))) == 20
        assert answer.pop("version")
        assert answer == {
            "user_id": "local",
            "output_append_user": True,
            "server_id": master.app.server_id,
            "permissions": ["*"],
        }
        assert master.app.sessions.given == 2, "each id given out is counted"

    async def test_a_missing_permission_is_refused_with_400(self, client: Client, master: PlayedMaster) -> None:
        await client.control("Permissions", permissions=["view_backends_list"])
        assert (await client.post("ListBackends")).status_code == 200
        response = await client.post("DeleteBackend", backend_id=1)
        expected = {"error_id": "bad_permissions", "error": "You lack permissions for this route."}
        assert (response.status_code, response.json()) == (400, expected)

    @pytest.mark.parametrize(
        ("route", "body"),
        [
            ("AddNewBackend", {"type_id": "swarmswarmbackend"}),
            ("EditBackend", {"backend_id": 0, "title": "t", "settings": {}}),
            ("ToggleBackend", {"backend_id": 0, "enabled": False}),
            ("DeleteBackend", {"backend_id": 0}),
        ],
    )
    async def test_locked_settings_refuse_every_change(
        self, client: Client, master: PlayedMaster, route: str, body: Json
    ) -> None:
        await client.control("LockSettings")
        response = await client.post(route, **body)
        assert (response.status_code, response.json()) == (200, {"error": "Settings are locked."})

    async def test_a_wanted_token_is_read_from_the_cookie_only(self, tmp_path: Path) -> None:
        master = PlayedMaster(MasterSettings(tmp_path, access=Access(token="s3cret")))
        async with serve(master.app) as url, connected(url) as client:
            refused = await client.http.post("/API/GetNewSession", json={}, headers={"Authorization": "Bearer s3cret"})
            assert (refused.status_code, refused.json()) == (200, {"error": "Invalid or unauthorized."})
            let_in = await client.http.post("/API/GetNewSession", json={}, headers={"Cookie": "swarm_token=s3cret"})
            assert let_in.json()["user_id"] == "local"

    async def test_a_forced_expiry_ends_every_session(self, client: Client) -> None:
        await client.control("ExpireSessions")
        assert (await client.post("ListBackends")).status_code == 401

    async def test_sessions_end_after_31_days(self, client: Client, clock: ManualClock, master: PlayedMaster) -> None:
        session = master.app.sessions.find(client.session_id)
        assert session is not None
        clock._now += 31 * 86400 + 1  # every poll of a month would only cost time
        assert master.app.sessions.find(client.session_id) is None

    async def test_requests_are_recorded_without_their_secrets(self, client: Client, master: PlayedMaster) -> None:
        await client.register("http://127.0.0.1:9", AuthorizationHeader="Bearer s3cret")
        (edit,) = master.app.requests_for("EditBackend")
        assert edit.body["title"] == "ebbflow/sdxl/h/w1"
        state = json.dumps(await client.control("State"))
        assert "s3cret" not in state
        assert client.session_id not in state


class TestFaults:
    @pytest.mark.parametrize(
        ("control", "body", "status", "start"),
        [
            ("Fail", {}, 500, "<html>"),
            ("Garbage", {}, 200, "<html>"),
            ("Error", {"text": "odd"}, 200, '{"error":"odd"}'),
            ("NoResult", {}, 400, '{"error_id":"no_result"'),
            ("BadRoute", {"route": "getglobalstatus"}, 400, '{"error_id":"bad_route"'),
        ],
    )
    async def test_a_fault_strikes_once_when_told_so(
        self, client: Client, control: str, body: Json, status: int, start: str
    ) -> None:
        await client.control(control, times=1, **body)
        response = await client.post("GetGlobalStatus")
        assert response.status_code == status
        assert response.text.startswith(start), response.text
        assert (await client.post("GetGlobalStatus")).status_code == 200

    async def test_a_fault_of_one_route_leaves_others_alone_until_healed(self, client: Client) -> None:
        await client.control("Fail", route="GetGlobalStatus")
        assert (await client.post("ListConnectedUsers")).status_code == 200
        assert (await client.post("GetGlobalStatus")).status_code == 500
        await client.control("Heal")
        assert (await client.post("GetGlobalStatus")).status_code == 200

    async def test_a_hanging_request_is_never_answered_and_not_done(self, client: Client, master: PlayedMaster) -> None:
        await client.control("Hang", route="AddNewBackend")
        with pytest.raises(httpx.ReadTimeout):
            await client.http.post(
                "/API/AddNewBackend",
                json={"session_id": client.session_id, "type_id": "swarmswarmbackend"},
                timeout=0.05,
            )
        assert states(master) == {}

    async def test_a_lost_answer_leaves_its_work_done(self, client: Client, master: PlayedMaster) -> None:
        master.app.faults.add(Fault(FaultKind.LOSE_ANSWER, "AddNewBackend"))
        with pytest.raises(httpx.ReadTimeout):
            await client.http.post(
                "/API/AddNewBackend",
                json={"session_id": client.session_id, "type_id": "swarmswarmbackend"},
                timeout=0.05,
            )
        await reach(master, {0: "disabled"})

    async def test_a_slow_request_is_answered_later(self, client: Client, clock: ManualClock) -> None:
        await client.control("Slow", seconds=7)
        asked = asyncio.ensure_future(client.post("GetGlobalStatus"))
        await asyncio.sleep(0.02)
        await clock.advance(6.9)
        assert not asked.done()
        await clock.advance(0.2)
        assert (await asked).status_code == 200

    async def test_a_crash_resets_the_connection_and_frees_the_port(self, client: Client) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.control("Crash")
        with pytest.raises(httpx.ConnectError):
            await client.open()

    async def test_an_unknown_control_or_a_wrong_key_says_so(self, client: Client) -> None:
        assert "no control 'Nope'" in (await client.control("Nope"))["error"]
        assert "unexpected keyword" in (await client.control("Fail", rout="x"))["error"]


class TestBackends:
    async def test_an_entry_between_add_and_edit_is_empty_and_disabled(
        self, client: Client, master: PlayedMaster
    ) -> None:
        added = await client.call("AddNewBackend", type_id="swarmswarmbackend")
        assert (added["id"], added["status"], added["settings"]["Address"]) == (0, "waiting", "")
        await reach(master, {0: "disabled"})

    async def test_a_registered_worker_is_a_control_entry_and_a_child_with_its_address(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            backend_id = await client.register(url, AuthorizationHeader="Bearer x")
            await reach(master, {-1: "running", 0: "running"})
            listed = await client.backends()
            assert list(listed) == ["-1", "0"]
            assert listed["-1"]["settings"] == listed["0"]["settings"]
            assert listed["-1"]["settings"]["Address"] == url
            assert listed["-1"]["settings"]["AuthorizationHeader"] == "\t<secret>"
            assert listed["-1"]["title"] == f"[Remote from {backend_id}: ebbflow/sdxl/h/w1] GPU 0"
            assert set(await client.call("ListBackends")) == {"0"}
            assert "current_model" not in (await client.call("ListBackends"))["0"]

    async def test_a_hidden_secret_sent_back_keeps_the_value(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, AuthorizationHeader="Bearer x")
            await client.call(
                "EditBackend", backend_id=0, title="t", settings={**SETTINGS, "AuthorizationHeader": "\t<secret>"}
            )
            assert master.backends[-1].settings.authorization_header == "Bearer x"
            assert master.backends[-1].modcount == 2

    async def test_an_edit_to_an_id_in_use_is_refused(self, client: Client) -> None:
        for _ in range(2):
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
        answer = await client.call("EditBackend", backend_id=0, title="t", settings={}, new_id=1)
        assert answer == {"error": "Backend ID 1 is already in use."}
        await client.call("EditBackend", backend_id=0, title="t", settings={}, new_id=9)
        assert set(await client.backends()) == {"1", "9"}

    async def test_a_loading_worker_keeps_its_entry_loading(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.begin_loading(30)
        async with serve(worker.app) as url:
            await client.register(url)
            await until(lambda: len(worker.app.requests_for("ListModels")) == 1)
            await pass_time(clock, 10)
            assert states(master) == {0: "loading"}
            await reach(master, {-1: "running", 0: "running"}, clock)

    async def test_an_unreachable_entry_without_allow_idle_is_errored_after_four_attempts_and_one_per_edit(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        await client.register("http://127.0.0.1:9", AllowIdle=False)
        await reach(master, {0: "errored"}, clock)
        assert master.backends[0].init_attempts == 4
        await client.call("EditBackend", backend_id=0, title="t", settings={})
        await until(lambda: master.backends[0].init_attempts == 5)
        await reach(master, {0: "errored"}, clock)
        assert master.backends[0].init_attempts == 5

    async def test_a_master_does_not_serve_itself(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        await client.register(client.url)
        await reach(master, {0: "errored"}, clock)

    async def test_allow_idle_turns_a_dead_worker_idle_and_a_new_one_running(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            worker.crash()
            await reach(master, {-1: "idle", 0: "idle"}, clock)
            worker.restart()
            async with serve(worker.app, port=httpx.URL(url).port or 0):
                await reach(master, {-1: "running", 0: "running"}, clock)

    async def test_an_entry_that_was_idle_runs_before_its_worker_has_loaded(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            port = httpx.URL(url).port or 0
        await client.register(url)
        await until(lambda: states(master) == {0: "loading"})
        await reach(master, {0: "idle"}, clock)
        worker.begin_loading(600)
        async with serve(worker.app, port=port):
            await reach(master, {0: "running"}, clock)

    async def test_a_worker_that_hangs_counts_as_unreachable_after_the_timeout(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.app.faults.add(Fault(FaultKind.HANG))
        async with serve(worker.app) as url:
            await client.register(url, ConnectionAttemptTimeoutSeconds=30)
            await until(lambda: len(worker.app.requests) == 1)
            await reach(master, {0: "idle"}, clock)

    async def test_without_allow_idle_a_dead_worker_stays_running(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, AllowIdle=False)
            await reach(master, {-1: "running", 0: "running"})
            worker.crash()
            await pass_time(clock, 30)
            assert states(master) == {-1: "running", 0: "running"}

    async def test_the_master_renews_its_session_with_a_worker(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            worker.app.sessions.expire_all()
            await pass_time(clock, 6)
            await until(lambda: len(worker.app.requests_for("GetNewSession")) == 3)
            assert states(master) == {-1: "running", 0: "running"}

    async def test_other_headers_carry_a_token_to_a_worker_that_wants_one(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(access=Access(token="abc")), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url, OtherHeaders="Cookie: swarm_token=abc\nX-Bad: a:b")
            await reach(master, {-1: "running", 0: "running"})


class TestPersistence:
    async def test_a_restart_drops_children_and_keeps_real_entries_with_title_and_enabled(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, "one")
            await client.register("", "two")
            await reach(master, {-1: "running", 0: "running", 1: "disabled"})
            await client.call("ToggleBackend", backend_id=0, enabled=False)
            await client.control("Restart")
            await reach(master, {0: "disabled", 1: "disabled"})
            listed = await client.backends()
            assert [(entry["title"], entry["enabled"]) for entry in listed.values()] == [("one", False), ("two", True)]

    async def test_a_restart_brings_an_enabled_entrys_child_back(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            await master.restart()
            await reach(master, {-1: "running", 0: "running"})

    async def test_the_id_of_a_deleted_entry_comes_again_after_a_restart(
        self, client: Client, master: PlayedMaster
    ) -> None:
        for _ in range(3):
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
        assert (await client.call("DeleteBackend", backend_id=2)) == {"result": "Deleted."}
        assert (await client.call("AddNewBackend", type_id="swarmswarmbackend"))["id"] == 3
        await client.call("DeleteBackend", backend_id=3)
        await master.restart()
        assert (await client.call("AddNewBackend", type_id="swarmswarmbackend"))["id"] == 2

    async def test_a_crash_loses_edits_younger_than_the_last_save(
        self, master: PlayedMaster, clock: ManualClock
    ) -> None:
        async with serve(master.app) as url, connected(url) as client:
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
            await clock.advance(10)
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
            await clock.advance(5)
            master.crash()
        async with serve(master.app):
            assert list(states(master)) == [0]
            assert master.app.sessions.find(client.session_id) is not None, "session ids are persisted"


class TestDrain:
    async def test_toggle_and_delete_wait_while_a_child_is_full(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=20))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            drain = asyncio.ensure_future(client.call("ToggleBackend", backend_id=0, enabled=False))
            await until(lambda: not master.backends[-1].enabled)
            again = await client.call("ToggleBackend", backend_id=0, enabled=False)
            assert again == {"result": "No change."}
            await pass_time(clock, 15)
            assert not drain.done()
            assert (await client.load())["live_gens"] == 1
            assert "images" in await outcome(clock, image)
            assert await outcome(clock, drain) == {"result": "Success."}
            assert states(master) == {0: "disabled"}

    async def test_a_child_with_a_free_usage_goes_while_it_works(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(max_usages=2, seconds_per_step=1), clock=clock)
        async with serve(worker.app) as url, connected(url) as to_worker:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=20))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            assert await client.call("DeleteBackend", backend_id=0) == {"result": "Deleted."}
            assert states(master) == {}
            assert (await to_worker.load())["live_gens"] == 1, "the worker still works"
            assert "images" in await outcome(clock, image)

    async def test_children_are_removed_one_at_a_time(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backends=2, seconds_per_step=1), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-2: "running", -1: "running", 0: "running"})
            short = asyncio.ensure_future(client.call("GenerateText2Image", steps=1))
            await until(lambda: len(worker.app.requests_for("GenerateText2Image")) == 1)
            long = asyncio.ensure_future(client.call("GenerateText2Image", steps=60))
            await until(lambda: len(worker.app.requests_for("GenerateText2Image")) == 2)
            assert "images" in await outcome(clock, short)
            busy = next(entry.id for entry in master.backends if entry.usages)
            assert busy == -1, "the child that is removed first is the busy one"
            drain = asyncio.ensure_future(client.call("ToggleBackend", backend_id=0, enabled=False))
            await until(lambda: -1 not in states(master))
            assert states(master)[-2] == "running"
            assert "images" in await outcome(
                clock, asyncio.ensure_future(client.call("GenerateText2Image", steps=1))
            ), "the second child still takes work"
            assert not drain.done()
            assert "images" in await outcome(clock, long)
            assert await outcome(clock, drain) == {"result": "Success."}
            assert states(master) == {0: "disabled"}

    async def test_an_errored_entry_keeps_that_status_when_disabled(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        await client.register("http://127.0.0.1:9", AllowIdle=False)
        await reach(master, {0: "errored"}, clock)
        await client.call("ToggleBackend", backend_id=0, enabled=False)
        entry = (await client.backends())["0"]
        assert (entry["status"], entry["enabled"]) == ("errored", False)


class TestGenerations:
    async def test_waiting_counts_live_ones_and_a_limited_number_looks_for_a_backend(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=1, images=10))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            load = await client.load()
            assert load == {"waiting_gens": 10, "loading_models": 0, "waiting_backends": 3, "live_gens": 1}
            assert (await client.call("ListConnectedUsers"))["users"] == [{"id": "local", **load}]
            async with connected(client.url) as other:
                assert (await other.call("GetCurrentStatus"))["status"]["waiting_gens"] == 0, "own requests only"
            assert len((await outcome(clock, image))["images"]) == 10
            assert (master.tally.served, master.tally.lost) == (10, 0)
            assert max(master.tally.wait_seconds) > 0
            assert (await client.load())["waiting_gens"] == 0

    async def test_seconds_since_used_grows_during_a_generation_and_stays_never_on_the_control_entry(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=60))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            await pass_time(clock, 40, step=5)
            listed = await client.backends()
            assert listed["-1"]["seconds_since_used"] == 40
            assert (listed["0"]["seconds_since_used"], listed["0"]["time_since_used"]) == (0, "Never")
            assert "images" in await outcome(clock, image)

    async def test_a_test_may_let_the_images_that_run_be_done_without_time_passing(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=60))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            answer = await client.http.post(f"{url}/Control/Finish")
            assert answer.status_code == 200
            assert len((await image)["images"]) == 1

    async def test_a_request_prefers_the_child_that_has_its_model(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backends=2, seconds_per_step=0), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-2: "running", -1: "running", 0: "running"})
            for model in ("sdxl.safetensors", "sdxl.safetensors"):
                assert "images" in await client.call("GenerateText2Image", model=model)
            used = {request.body["exactbackendid"] for request in worker.app.requests_for("GenerateText2Image")}
            assert len(used) == 1
            refused = await client.call("GenerateText2Image", model="nobody.has.it")
            assert "Invalid model value" in refused["error"]

    async def test_a_worker_that_dies_loses_the_image_it_made(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=60))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            worker.crash()
            assert "error" in await image
            assert (master.tally.served, master.tally.lost, worker.lost) == (0, 1, 1)

    async def test_without_any_backend_a_request_fails_after_a_second(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        image = asyncio.ensure_future(client.call("GenerateText2Image", images=4))
        await until(lambda: master._loads.total().waiting_backends == 1)
        await clock.advance(0.5)
        assert not image.done()
        assert (await client.load())["waiting_gens"] == 4
        assert await outcome(clock, image) == {"error": "No backends available!"}
        assert master.tally.lost == 4

    async def test_while_a_backend_is_loading_a_request_waits(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.begin_loading(20)
        async with serve(worker.app) as url:
            await client.register(url)
            await until(lambda: worker.app.requests_for("ListModels") != [])
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=1))
            await pass_time(clock, 15)
            assert not image.done()
            worker.begin_loading(0)
            while states(master)[0] == "loading":
                await clock.advance(1)
                await asyncio.sleep(0.03)  # the child has to connect before a second of the clock is over
            await reach(master, {-1: "running", 0: "running"})
            assert "images" in await outcome(clock, image)

    async def test_a_control_entry_without_children_fails_a_request(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backends=0), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {0: "running"})
            image = asyncio.ensure_future(client.call("GenerateText2Image"))
            await until(lambda: master._loads.total().waiting_backends == 1)
            assert "No backends match the settings" in (await outcome(clock, image))["error"]

    async def test_one_errored_backend_makes_the_whole_status_errored(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "empty"
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "empty", "cached for a second"
            await clock.advance(1)
            assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "running"
            await client.register("http://127.0.0.1:9", AllowIdle=False)
            await reach(master, {-1: "running", 0: "running", 1: "errored"}, clock)
            await clock.advance(1)
            assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "errored"


class TestWorker:
    async def test_it_lists_a_loading_backend_then_a_running_one(
        self, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.begin_loading(60)
        async with serve(worker.app) as url, connected(url) as client:
            assert (await client.backends())["0"]["status"] == "loading"
            assert await client.call("GenerateText2Image") == {"error": "No backends available!"}
            await clock.advance(60)
            assert (await client.backends())["0"]["status"] == "running"
            assert (await client.call("ListModels"))["files"][0]["name"] == "sdxl.safetensors"

    async def test_nobody_in_control_ends_it_at_the_first_check_after_the_limit(self, clock: ManualClock) -> None:
        worker = PlayedWorker(WorkerSettings(require_control_within_minutes=3, load_seconds=900), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            await clock.advance(100)
            assert await client.call("AdminTakeControl") == {"success": True}
            assert worker.control_times == [100]
            await clock.advance(199)  # 299 s: the check at 240 s was in time
            assert not worker.app.ended.is_set()
            await clock.advance(2)  # the check at 300 s is 200 s after the last control
            assert worker.app.ended.is_set()
            with pytest.raises(httpx.TransportError):
                await client.open()

    async def test_a_shutdown_answers_first_and_ends_half_a_second_later(
        self, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url, connected(url) as client:
            assert await client.call("ShutdownServer") == {"success": True}
            await clock.advance(0.4)
            assert not worker.app.ended.is_set()
            await clock.advance(0.2)
            assert worker.app.ended.is_set()

    async def test_a_shutdown_gives_a_running_image_five_seconds(
        self, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url, connected(url) as client:
            image = asyncio.ensure_future(client.call("GenerateText2Image", steps=60))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            await client.call("ShutdownServer")
            await clock.advance(5)
            assert not worker.app.ended.is_set()
            await clock.advance(1)
            with pytest.raises(httpx.TransportError):
                await image
            assert worker.lost == 1

    @pytest.mark.parametrize(("keeps", "status"), [(True, 200), (False, 401)])
    async def test_session_ids_outlive_a_restart_only_with_a_data_folder(
        self, tmp_path: Path, clock: ManualClock, keeps: bool, status: int
    ) -> None:
        worker = PlayedWorker(WorkerSettings(data_dir=tmp_path if keeps else None), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            worker.restart()
            assert (await client.post("ListBackends")).status_code == status

    async def test_loading_a_model_is_counted(self, clock: ManualClock) -> None:
        worker = PlayedWorker(WorkerSettings(model_load_seconds=30, seconds_per_step=0), clock=clock)
        async with serve(worker.app) as url, connected(url) as client:
            image = asyncio.ensure_future(client.call("GenerateText2Image", model="flux.safetensors"))
            await until(lambda: worker.app.requests_for("GenerateText2Image") != [])
            load = await client.load()
            assert load == {"waiting_gens": 1, "loading_models": 1, "waiting_backends": 0, "live_gens": 1}
            await clock.advance(31)
            assert "images" in await image
            assert (await client.backends())["0"]["current_model"] == "flux.safetensors"


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "ebbflow.standins.swarmui.server", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert running.stdout is not None
    try:
        yield running, running.stdout.readline().strip()
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


class TestProcess:
    def test_a_worker_prints_one_line_once_it_listens_and_ends_on_sigterm(self) -> None:
        with process("worker") as (running, line):
            assert line.startswith("[SwarmAutoScaleBackend]NewURL: http://127.0.0.1:"), line
            url = line.removeprefix("[SwarmAutoScaleBackend]NewURL: ").removesuffix("[/SwarmAutoScaleBackend]")
            answer = httpx.post(f"{url}/API/GetNewSession", json={}, trust_env=False).json()
            assert answer["permissions"] == ["*"]
            running.send_signal(signal.SIGTERM)
            assert running.wait(2) == 0

    def test_a_crash_really_ends_the_process(self, tmp_path: Path) -> None:
        with process("master", "--data_dir", str(tmp_path)) as (running, line):
            url = line.removeprefix("listening on ")
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(f"{url}/Control/Crash", json={}, trust_env=False)
            assert running.wait(2) == 137

    def test_nobody_in_control_really_ends_the_process(self) -> None:
        switch = ("--require_control_within", "0.001", "--control_check_seconds", "0.1")
        with process("worker", "--announce_url", "http://h:1", "--start_seconds", "0.02", *switch) as (running, line):
            assert line == "[SwarmAutoScaleBackend]NewURL: http://h:1[/SwarmAutoScaleBackend]"
            assert running.wait(2) == 0

    def test_an_unknown_argument_is_an_error(self) -> None:
        command = [sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker", "--nonsense", "1"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert "unrecognized arguments: --nonsense 1" in ended.stderr
