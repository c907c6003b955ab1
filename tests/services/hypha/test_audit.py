"""A line for each call: in the file, and as events of the fleet."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from ebbflow.services.hypha.audit import MOST_HELD, Audit, History, Line

pytestmark = pytest.mark.anyio


class PlayedPrefect:
    """What a Prefect server's API answers here."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers = True
        self.claims: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.answers:
            raise httpx.ConnectError("nobody listens")
        if request.url.path == "/api/events":
            self.events += json.loads(request.content)
            return httpx.Response(204)
        if request.url.path == "/api/variables/filter":
            return httpx.Response(200, json=self.claims)
        return httpx.Response(
            200, json={"created": "2026-11-30T19:00:00.123Z", "description": "Held\x1b\\[31m: 0 \\< 1"}
        )


def history(server: PlayedPrefect, now: list[float]) -> History:
    return History("http://p.example/api", "sdxl", now=lambda: now[0], transport=httpx.MockTransport(server))


def line(function: str = "submit", outcome: str = "done", **more: Any) -> Line:
    return Line(1_800_000_000.5, "ada", function, outcome, **more)


async def test_what_changes_something_and_who_is_refused_is_an_event_of_the_fleet() -> None:
    server = PlayedPrefect()
    kept = history(server, [0.0])
    for each in (line(job="job-1"), line("cancel", job="job-1"), line("status", "refused", why="may not")):
        kept.note(each)
    await kept.send()
    assert [event["event"] for event in server.events] == [
        "ebbflow.hypha.submit",
        "ebbflow.hypha.cancel",
        "ebbflow.hypha.refused",
    ]
    first = server.events[0]
    assert first["resource"] == {"prefect.resource.id": "ebbflow.fleet.sdxl"}
    assert first["related"] == [{"prefect.resource.id": "ebbflow.job.job-1", "prefect.resource.role": "job"}]
    assert first["occurred"] == "2027-01-15T08:00:00.500+00:00"
    assert first["payload"]["caller"] == "ada"
    assert server.events[2]["payload"]["why"] == "may not"
    await kept.aclose()


async def test_what_changes_nothing_is_told_once_a_minute_with_how_often() -> None:
    server, now = PlayedPrefect(), [0.0]
    kept = history(server, now)
    for _ in range(50):
        kept.note(line("status", job="job-1"))
    await kept.send()
    assert server.events == []
    now[0] = 60
    await kept.send()
    assert [event["payload"]["asked"] for event in server.events] == [50]
    await kept.aclose()


async def test_a_server_that_is_away_gets_what_happened_meanwhile_and_how_much_it_missed() -> None:
    server = PlayedPrefect()
    kept = history(server, [0.0])
    server.answers = False
    for number in range(MOST_HELD + 3):
        kept.note(line(job=f"job-{number}"))
        if number == 0:
            await kept.send()
    assert "nobody listens" in kept.trouble
    server.answers = True
    await kept.send()
    assert (len(server.events), kept.trouble) == (MOST_HELD, "")
    assert server.events[0]["payload"]["events_lost_before"] == 3
    assert "events_lost_before" not in server.events[-1]["payload"]
    await kept.aclose()


async def test_the_fleets_last_decision_is_told_in_a_line() -> None:
    server = PlayedPrefect()
    kept = history(server, [0.0])
    assert await kept.decided() == "fleet sdxl has no record there"
    server.claims = [{"value": {"artifact": "0e8a5f3c-92ff-4d73-9d5b-6d9d7e4a1c11"}}]
    assert await kept.decided() == "2026-11-30T19:00:00Z: Held\ufffd[31m: 0 < 1"
    server.claims = [{"value": {"artifact": "../flows"}}]
    assert await kept.decided() == "fleet sdxl has no record there"
    server.answers = False
    assert "does not answer" in await kept.decided()
    await kept.aclose()


def test_a_file_that_has_grown_large_is_put_aside(tmp_path: Path) -> None:
    kept = Audit(tmp_path, None, most_bytes=100)
    for _ in range(3):
        kept.note(line())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.1800000000.jsonl", "audit.jsonl"]
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_what_callers_write_is_one_line_of_the_file(tmp_path: Path) -> None:
    kept = Audit(tmp_path, None)
    kept.note(line("status", "refused", why="a\nb\x1b[31m" * 1000))
    (written,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert len(written) < 1000
    assert json.loads(written)["why"].isprintable()
