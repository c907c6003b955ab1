"""What the waiting room answers: never an error to a master, and never without a backend that loads."""

from typing import Any

import pytest

from ebbflow.services.waiting_room.room import GATE_HOLD_SECONDS, HOLD_SECONDS, MOST_SESSIONS, Answer, Room

FLEET = "abcde/sdxl"
LOADING = {"0": {"id": 0, "status": "loading"}}

Json = dict[str, Any]


def session(room: Room) -> Json:
    return {"session_id": room.asked(FLEET, "GetNewSession", {}).body["session_id"]}


@pytest.mark.parametrize("spelling", ["GetNewSession", "getnewsession", "GETNEWSESSION"])
def test_a_session_is_given_with_the_rooms_own_server_id(spelling: str) -> None:
    room = Room()
    first, second = (room.asked(FLEET, spelling, {}).body for _ in range(2))
    assert first["server_id"] == second["server_id"] == room.server_id
    assert first["session_id"] != second["session_id"]
    assert room.server_id != Room().server_id


def test_the_first_look_of_a_session_is_answered_at_once_and_later_ones_are_held() -> None:
    room = Room()
    mine = session(room)
    looks = [room.asked(FLEET, "ListBackends", mine) for _ in range(3)]
    assert [look.hold_seconds for look in looks] == [0.0, HOLD_SECONDS, HOLD_SECONDS]
    assert all(look.body == LOADING for look in looks)


@pytest.mark.parametrize("body", [{}, {"session_id": "of before a restart"}, {"session_id": 7}, {"session_id": None}])
def test_a_look_of_nobody_known_is_held_and_loads_all_the_same(body: Json) -> None:
    assert Room().asked(FLEET, "ListBackends", body) == Answer(LOADING, hold_seconds=HOLD_SECONDS)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("ListModels", {"folders": [], "files": []}),
        ("TriggerRefresh", {"success": True}),
        ("GenerateText2Image", {"success": True}),
        ("AdminTakeControl", {"success": True}),
        ("no such route", {"success": True}),
        ("", {"success": True}),
    ],
)
def test_whatever_else_is_asked_is_answered_well_and_at_once(route: str, body: Json) -> None:
    assert Room().asked(FLEET, route, {}) == Answer(body)


def test_the_features_of_the_workers_are_told_by_a_backend_that_takes_no_work_beside_the_one_that_loads() -> None:
    room = Room()
    told = room.tell(FLEET, ["variation_seed", "sdxl", "sdxl", "", "x" * 101, 7, None])
    assert told.body["features"] == ["sdxl", "variation_seed"]
    assert room.of_fleet(FLEET) == told
    listed = room.asked(FLEET, "ListBackends", {}).body
    assert listed["0"] == LOADING["0"]
    assert (listed["1"]["features"], listed["1"]["max_usages"]) == (["sdxl", "variation_seed"], 0)
    assert room.asked("abcde/another", "ListBackends", {}).body == LOADING, "a fleet's own"


def test_a_gate_loads_until_it_has_opened_and_is_an_error_from_then_on() -> None:
    room, (mine, another) = Room(), ("sdxl-3f9c-1-0", "sdxl-3f9c-1-1")
    assert room.gate(FLEET, mine, "ListBackends", {}) == Answer(LOADING, hold_seconds=GATE_HOLD_SECONDS)
    room.open_gate(FLEET, mine)
    assert room.gate(FLEET, mine, "ListBackends", {}).status == 500
    assert room.gate(FLEET, another, "ListBackends", {}).status == 200, "another worker's"
    assert room.gate("abcde/flux", mine, "ListBackends", {}).status == 200, "another fleet's"


def test_a_fleet_is_told_whose_gates_have_been_asked_for_and_have_not_opened() -> None:
    room = Room()
    for worker in ("w-1", "w-2", "w-1"):
        room.gate(FLEET, worker, "GetNewSession", {})
    room.gate("abcde/flux", "w-9", "GetNewSession", {})
    room.open_gate(FLEET, "w-2")
    room.gate(FLEET, "w-2", "ListBackends", {})
    assert room.of_fleet(FLEET).body["gates"] == ["w-1"]


def test_masters_that_ask_for_sessions_for_ever_cost_no_memory() -> None:
    room = Room()
    first = session(room)
    for _ in range(MOST_SESSIONS):
        session(room)
    assert room.asked(FLEET, "ListBackends", first).hold_seconds == HOLD_SECONDS, "the oldest is forgotten"
