"""What every call to a stand-in SwarmUI has in common, held to the measured answers of SwarmUI."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.permissions import ALL
from ebbflow.standins.swarmui.sessions import Access
from tests.standins.swarmui.talk import (
    Client,
    Json,
    connected,
    reach,
    states,
)

pytestmark = pytest.mark.anyio


class TestTransport:
    @pytest.mark.parametrize(
        ("route", "body", "status", "answer"),
        [
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
        response = await client.post(route, **body)
        assert (response.status_code, response.json()) == (status, answer)

    @pytest.mark.parametrize(
        ("content_type", "content", "error_id", "error"),
        [
            ("text/plain", b"{}", "basic_api", "Wrong content type"),
            ("application/json", b"", "basic_api", "bad content length"),
            ("application/json", b"null", "internal_error", "An internal error occurred"),
            ("application/json", b"\xef\xbb\xbf{}", "internal_error", "An internal error occurred"),
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

    @pytest.mark.parametrize(("body", "status"), [({}, 400), ({"session_id": None}, 401), ({"session_id": ""}, 401)])
    async def test_no_session_id_is_another_mistake_than_an_empty_one(
        self, client: Client, body: Json, status: int
    ) -> None:
        response = await client.http.post("/API/ListBackends", json=body)
        assert (response.status_code, response.json()["error_id"]) == (
            status,
            "basic_api" if status == 400 else "invalid_session_id",
        )

    async def test_a_session_id_in_the_body_wins_over_a_good_one_in_the_header(self, client: Client) -> None:
        headers = {"X-Session-ID": client.session_id}
        response = await client.http.post("/API/ListBackends", json={"session_id": "f00"}, headers=headers)
        assert response.status_code == 401

    @pytest.mark.parametrize("content", [b"{/*c*/}", b"{'a':1,}", b'{"a":NaN}'])
    async def test_json_is_read_generously(self, client: Client, content: bytes) -> None:
        headers = {"Content-Type": "application/vnd.x+json; charset=utf-8"}
        response = await client.http.post("/API/GetNewSession", content=content, headers=headers)
        assert (response.status_code, response.json()["user_id"]) == (200, "local")

    async def test_content_session_route_permission_parameters_and_the_lock_are_checked_in_that_order(
        self, client: Client
    ) -> None:
        await client.control("LockSettings")
        await client.control("Permissions", permissions=["view_backends_list"])
        answers = [
            await client.http.post("/API/NoSuchRoute", content=b"{}", headers={"Content-Type": "text/plain"}),
            await client.http.post("/API/NoSuchRoute", json={"session_id": "f00"}),
            await client.post("NoSuchRoute"),
            await client.post("ToggleBackend"),
        ]
        await client.control("Permissions")
        for body in ({"enabled": "y"}, {"backend_id": "x", "enabled": "y"}, {"backend_id": 9}):
            answers.append(await client.post("ToggleBackend", **body))
        answers.append(await client.post("ToggleBackend", backend_id=9, enabled=False))
        assert [answer.json()["error"] for answer in answers] == [
            "Wrong content type",
            "Invalid session ID. You may need to refresh the page.",
            "Unknown API route",
            "You lack permissions for this route.",
            "Missing required parameter 'backend_id'",
            "Invalid value 'x' for parameter 'backend_id', must be type 'Int32'",
            "Missing required parameter 'enabled'",
            "Settings are locked.",
        ]

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
            "permissions": list(ALL),
        }
        assert (ALL[0], len(ALL)) == ("*", 66)
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
