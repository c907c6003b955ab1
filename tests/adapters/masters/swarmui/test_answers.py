"""What SwarmUI's answers mean: pure functions, as tables."""

import json

import pytest

from ebbflow.adapters.masters.swarmui.answers import (
    Activity,
    demand_of,
    own_backends,
    parse_activity,
    parse_listing,
    sum_activity,
)
from ebbflow.adapters.masters.swarmui.api import SessionExpired, Unauthorized, UnknownRoute, parse_session, read_answer
from ebbflow.adapters.masters.swarmui.membership import Word, members_of
from ebbflow.adapters.masters.swarmui.ownership import Ownership, parse_title
from ebbflow.core.errors import ConfigError, MasterRejected, MasterUnavailable
from ebbflow.core.member import MemberState, PushMemberList, Shape

FLEET, HOME = "sdxl", "h0me1"
ADDRESS = "http://w0:7801"
TITLE = f"ebbflow/{FLEET}/{HOME}/sdxl-0abc-1-0"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"error": "Invalid backend ID 7"}, MasterRejected),
        (200, {"error": "Settings are locked."}, ConfigError),
        (200, {"error": "Invalid or unauthorized."}, Unauthorized),
        (200, {"error_id": "internal_error"}, MasterUnavailable),
        (400, {"error_id": "internal_error", "error": "An internal error occurred"}, MasterUnavailable),
        (400, {"error_id": "bad_permissions", "error": "You lack permissions for this route."}, ConfigError),
        (400, {"error_id": "bad_route", "error": "Unknown API route"}, UnknownRoute),
        (400, {"error_id": "basic_api", "error": "missing session id"}, MasterRejected),
        (400, {"error_id": "no_result", "error": "API call did not return any output"}, MasterRejected),
        (401, {"error_id": "invalid_session_id", "error": "Invalid session ID."}, SessionExpired),
        (500, {"error": "anything"}, MasterUnavailable),
        (502, None, MasterUnavailable),
        (429, None, MasterUnavailable),
        (302, None, ConfigError),
        (401, None, ConfigError),
        (403, None, ConfigError),
        (404, None, MasterRejected),
        (400, {}, MasterRejected),
        (200, None, MasterRejected),
        (200, [], MasterRejected),
    ],
)
def test_the_body_counts_before_the_status(status: int, body: object, error: type[Exception]) -> None:
    content = b"<html>" if body is None else json.dumps(body).encode()
    with pytest.raises(error) as caught:
        read_answer("SwarmUI master http://m: Route", status, content)
    assert type(caught.value) is error
    assert "http://m: Route" in str(caught.value)


def test_secrets_that_a_server_repeats_are_taken_out() -> None:
    with pytest.raises(MasterRejected, match=r"got \*\*\* and \*\*\*"):
        read_answer("x", 200, b'{"error": "got abc and abcdef"}', secrets=["abc", "", "abcdef"])


@pytest.mark.parametrize("content", [b"", b"null", b"\xff", b"[" * 100_000, b'{"a": 1'])
def test_what_is_no_json_object_is_no_answer(content: bytes) -> None:
    with pytest.raises(MasterRejected):
        read_answer("x", 200, content)


@pytest.mark.parametrize("text", [None, "", "abc", "[]", "{}", '{"session_id": "a", "permissions": null}', '{"x": 1}'])
def test_a_stored_session_that_is_none_is_made_anew(text: str | None) -> None:
    assert parse_session(text) is None


@pytest.mark.parametrize(
    ("waiting", "live", "queued", "running"),
    [(0, 0, 0, 0), (3, 1, 2, 1), (1, 1, 0, 1), (0, 1, 0, 1), (7, 0, 7, 0)],
)
def test_queued_work_is_what_waits_without_what_runs(waiting: int, live: int, queued: int, running: int) -> None:
    demand = demand_of(Activity(waiting, live, 0))
    assert (demand.queued, demand.running) == (queued, running)
    assert demand.shapes == ((Shape(count=queued),) if queued else ())


GOOD = {"waiting_gens": 3, "loading_models": 0, "waiting_backends": 2, "live_gens": 1}


@pytest.mark.parametrize(
    "status",
    [
        None,
        [],
        {},
        GOOD | {"waiting_gens": -1},
        GOOD | {"live_gens": None},
        GOOD | {"live_gens": "1"},
        GOOD | {"live_gens": True},
        GOOD | {"waiting_gens": 1.5},
        {key: value for key, value in GOOD.items() if key != "loading_models"},
    ],
)
def test_implausible_counts_are_no_counts(status: object) -> None:
    with pytest.raises(MasterUnavailable):
        parse_activity({"status": status})
    with pytest.raises(MasterUnavailable):
        sum_activity({"users": [GOOD, status]})


def test_users_are_added_up() -> None:
    assert parse_activity({"status": GOOD}) == Activity(3, 1, 0, 2)
    assert sum_activity({"users": [GOOD, GOOD]}) == Activity(6, 2, 0, 4)
    assert sum_activity({"users": []}) == Activity(0, 0, 0)
    with pytest.raises(MasterUnavailable):
        sum_activity({})


@pytest.mark.parametrize(
    ("title", "known"),
    [
        (TITLE, True),
        (f"{TITLE}/x", False),
        (f"[Remote from 0: {TITLE}] GPU 0", False),
        ("ebbflow/sdxl/h0me1/", False),
        ("ebbflow/sdxl/h0me1/Upper", False),
        (f"ebbflow/sdxl/h0me1/{'a' * 41}", False),
        ("", False),
    ],
)
def test_titles_are_compared_whole(title: str, known: bool) -> None:
    assert (parse_title(title) is not None) is known


@pytest.mark.parametrize(
    ("status", "enabled", "children", "state"),
    [
        ("waiting", True, 0, MemberState.JOINING),
        ("loading", True, 0, MemberState.JOINING),
        ("loading", True, 1, MemberState.READY),  # another backend of its worker loads, or its gate
        ("running", True, 0, MemberState.JOINING),
        ("running", True, 1, MemberState.READY),
        ("idle", True, 1, MemberState.LOST),
        ("errored", True, 0, MemberState.LOST),
        ("disabled", True, 0, MemberState.LOST),
        ("disabled", False, 0, MemberState.DRAINING),
        ("errored", False, 0, MemberState.DRAINING),
        ("running", False, 1, MemberState.DRAINING),
    ],
)
def test_status_and_enabled_become_one_state(status: str, enabled: bool, children: int, state: MemberState) -> None:
    rows = [row(0, TITLE, ADDRESS, status=status, enabled=enabled)]
    rows += [row(-1 - index, "[Remote from 0: t] child", ADDRESS) for index in range(children)]
    (member,) = listed(rows).members
    assert (member.worker_id, member.master_ref, member.url, member.state) == (
        "sdxl-0abc-1-0",
        "0",
        ADDRESS,
        state,
    )


@pytest.mark.parametrize(
    ("used", "busy", "idle_seconds"),
    [
        ([30, 20], False, 20.0),
        ([30, None], False, 30.0),  # never used: since it is registered, which is longer
        ([None], False, None),
        ([30], True, None),
        ([30], None, None),
        ([], False, None),
    ],
)
def test_idle_is_the_shortest_of_the_children_and_only_when_the_worker_says_so(
    used: list[int | None], busy: bool | None, idle_seconds: float | None
) -> None:
    rows = [row(0, TITLE, ADDRESS)] + [
        row(-1 - n, "[Remote from 0: t] child", ADDRESS, used=seconds) for n, seconds in enumerate(used)
    ]
    (member,) = listed(rows, {ADDRESS: busy}).members
    assert (member.busy, member.idle_seconds) == (busy, idle_seconds)


@pytest.mark.parametrize(("own", "shown"), [(True, True), (False, True), (None, None)])
def test_a_draining_worker_with_a_child_left_is_not_empty(own: bool | None, shown: bool | None) -> None:
    rows = [row(0, TITLE, ADDRESS, enabled=False), row(-1, "[Remote from 0: t] child", ADDRESS)]
    (member,) = listed(rows, {ADDRESS: own}).members
    assert member.busy is shown


def test_other_backends_and_half_made_and_foreign_entries_are_told_apart() -> None:
    rows = [
        row(-1, "[Remote from 3: x] GPU", f"{ADDRESS}/", model="m.safetensors"),
        row(0, "", "", status="disabled"),
        row(1, TITLE, "http://w9:1") | {"type": "comfyui_selfstart", "settings": None},
        row(2, f"ebbflow/{FLEET}/other/sdxl-0abc-1-0", "http://w1:7801"),
        row(3, TITLE, f"{ADDRESS}/"),
        row(4, f"ebbflow/other/{HOME}/other-0abc-1-0", "http://w2:7801"),
        row(5, "Bob's GPU", "http://w3:7801"),
        row(6, f"ebbflow/{FLEET}/{HOME}/Not An Id", "http://w4:7801"),
    ]
    listing = listed(rows)
    assert [(member.master_ref, member.model) for member in listing.members] == [("3", "m.safetensors")]
    assert listing.unfinished == ("0",)
    assert listing.foreign == (f"ebbflow/{FLEET}/other/sdxl-0abc-1-0", f"ebbflow/{FLEET}/{HOME}/Not An Id")
    assert listing.complete


def test_one_id_twice_and_one_address_twice_are_reported() -> None:
    twice = listed([row(0, TITLE, ADDRESS), row(1, TITLE, "http://w1:7801")])
    shared = listed([row(0, TITLE, ADDRESS), row(1, f"{TITLE}0", ADDRESS)])
    for listing, told in ((twice, "registered 2 times"), (shared, "share")):
        assert [member.duplicate for member in listing.members] == [True, True]
        assert told in listing.detail


def test_an_unknown_status_makes_the_list_incomplete() -> None:
    listing = listed([row(0, TITLE, ADDRESS, status="dreaming")])
    assert not listing.complete
    assert "dreaming" in listing.detail


@pytest.mark.parametrize(
    "change",
    [{"id": None}, {"id": "0"}, {"enabled": None}, {"settings": None}, {"settings": {"Address": None}}, {"type": None}],
)
def test_a_row_with_a_hole_makes_the_whole_list_unknown(change: dict[str, object]) -> None:
    with pytest.raises(MasterUnavailable):
        parse_listing({"0": row(0, TITLE, ADDRESS) | change})
    with pytest.raises(MasterUnavailable):
        parse_listing({"0": "row"})


def test_a_workers_own_backends_are_counted_by_their_status() -> None:
    rows = {str(n): {"status": status} for n, status in enumerate(["running", "loading", "waiting", "loading"])}
    assert own_backends({**rows, "x": "no row"}) == {"running": 1, "loading": 2, "waiting": 1}


def row(
    ref: int,
    title: str,
    address: str,
    *,
    status: str = "running",
    enabled: bool = True,
    used: float | None = None,
    model: str | None = None,
) -> dict[str, object]:
    return {
        "type": "swarmswarmbackend",
        "status": status,
        "id": ref,
        "settings": {"Address": address},
        "enabled": enabled,
        "title": title,
        "seconds_since_used": used or 0,
        "time_since_used": "Never" if used is None else f"{used} seconds ago",
        "current_model": model,
    }


def listed(rows: list[dict[str, object]], busy: dict[str, bool | None] | None = None) -> PushMemberList:
    found = parse_listing({str(row["id"]): row for row in rows})
    words = {address: Word(said) for address, said in (busy or {}).items()}
    return members_of(found, Ownership(FLEET, HOME), words)
