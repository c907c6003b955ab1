"""The service at a real Hypha server: who calls is who the server says, and both may end and come back."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.services.hypha.played_head import PlayedHead, served
from tests.services.hypha.running import RunningService
from tests.services.hypha.server import HyphaServer, hypha_server, token

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

ADDRESS = "ws-user-operator/ebbflow"
REGISTERED = "registered as ws-user-operator/ebbflow:ebbflow"


@pytest.fixture(scope="module")
def hypha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HyphaServer]:
    with hypha_server(tmp_path_factory.mktemp("hypha")) as server:
        yield server


@pytest.fixture
def head() -> PlayedHead:
    return PlayedHead(ends_at_once=True)


@pytest.fixture
def stopped(hypha: HyphaServer, head: PlayedHead, tmp_path: Path) -> Iterator[RunningService]:
    """A service that is yet to be started."""
    with served(head) as ray:
        people = {"allow": ["email:ada@example.org", "user:bob"], "admins": ["user:grace"]}
        limits = {"most_waiting_per_user": 950, "most_calls_per_minute": 100_000}
        written = {"hypha": hypha.url, "ray": ray, "state_folder": "state", "limits": limits, **people}
        made = RunningService(tmp_path / "service", written)
        try:
            yield made
        finally:
            made.kill()


@pytest.fixture
async def service(stopped: RunningService) -> RunningService:
    stopped.start(EBBFLOW_HYPHA_TOKEN=token("operator"))
    await stopped.says(REGISTERED)
    return stopped


async def finished(offered: Any, job_id: str) -> dict[str, Any]:
    """The result of a job, once it is there."""
    deadline = time.monotonic() + 60
    while (await offered.status(job_id))["state"] in ("waiting", "starting", "running"):
        assert time.monotonic() < deadline, await offered.why(job_id)
        await asyncio.sleep(0.1)
    return dict(await offered.result(job_id))


async def test_work_is_submitted_by_a_remote_call_and_its_result_comes_back(
    hypha: HyphaServer, service: RunningService
) -> None:
    async with hypha.client(token("ada")) as server:
        offered = await server.get_service(ADDRESS)
        job = await offered.submit("echo 42", runtime_env={"env_vars": {"A": "1"}}, hours=1)
        found = await finished(offered, job["job_id"])
        assert (found["state"], found["output"]) == ("succeeded", "echo 42\n")
        assert (await offered.cluster())["queue"]["waiting"] == 0
        assert [each["job_id"] for each in (await offered.status())["jobs"]] == [job["job_id"]]


async def test_the_same_over_http(hypha: HyphaServer, service: RunningService) -> None:
    path, ada = "ws-user-operator/services/ebbflow", token("ada")
    status, job = await asyncio.to_thread(hypha.post, f"{path}/submit", ada, entrypoint="echo 42")
    assert (status, job["state"]) == (200, "waiting")
    deadline = time.monotonic() + 60
    while (await asyncio.to_thread(hypha.post, f"{path}/status", ada, job_id=job["job_id"]))[1]["state"] != "succeeded":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    status, found = await asyncio.to_thread(hypha.post, f"{path}/result", ada, job_id=job["job_id"])
    assert (status, found["output"]) == (200, "echo 42\n")
    status, refused = await asyncio.to_thread(hypha.post, f"{path}/submit", None, entrypoint="echo 42")
    assert status == 403
    assert "connect with a token of the Hypha server" in str(refused)


async def test_a_refused_caller_is_told_in_words_without_our_files_and_leaves_a_trace(
    hypha: HyphaServer, service: RunningService, head: PlayedHead
) -> None:
    async with hypha.client(token("eve")) as eve, hypha.client(None) as nobody:
        for server in (eve, nobody):
            offered = await server.get_service(ADDRESS)
            with pytest.raises(Exception, match="PermissionError: ") as refused:
                await offered.submit("echo 42")
            assert 'File "' not in str(refused.value), "no traceback of ours goes out"
    assert head.begun == []
    lines = [json.loads(line) for line in service.audited().splitlines()]
    assert [(line["caller"].partition("-")[0], line["outcome"]) for line in lines] == [
        ("eve (eve@example.org)", "refused"),
        ("anonymouz", "refused"),
    ]


async def test_everybody_sees_their_own_and_an_admin_all(hypha: HyphaServer, service: RunningService) -> None:
    async with (
        hypha.client(token("ada")) as ada,
        hypha.client(token("bob", email=False)) as bob,
        hypha.client(token("grace")) as grace,
    ):
        of_ada, of_bob, of_grace = [await each.get_service(ADDRESS) for each in (ada, bob, grace)]
        job = (await of_ada.submit("echo 42"))["job_id"]
        with pytest.raises(Exception, match=f"LookupError: there is no job {job} of yours"):
            await of_bob.status(job)
        assert (await of_grace.status(job))["user"] == "ada"
        # A program of ada's, with a token that she made for it.
        async with hypha.client(await ada.generate_token({"expires_in": 300})) as program:
            assert (await (await program.get_service(ADDRESS)).status(job))["job_id"] == job


async def test_a_thousand_submissions_at_once_are_all_answered(
    hypha: HyphaServer, service: RunningService, head: PlayedHead
) -> None:
    head.ends_at_once = False
    async with hypha.client(token("ada"), method_timeout=120) as ada, hypha.client(token("bob")) as bob:
        offered = await ada.get_service(ADDRESS)
        answers = await asyncio.gather(*(offered.submit(f"echo {n}") for n in range(1000)), return_exceptions=True)
        kinds = Counter("full" if isinstance(each, Exception) else "taken" for each in answers)
        at_ray = kinds["taken"] - 950
        assert kinds["taken"] + kinds["full"] == 1000
        assert 0 <= at_ray <= 8
        refused = {str(each).strip().rpartition("\n")[2] for each in answers if isinstance(each, Exception)}
        assert refused == {"ValueError: you have 950 jobs waiting, and 950 are allowed: wait, or cancel some"}
        job = await (await bob.get_service(ADDRESS)).submit("echo 42")
        assert job["ahead"] <= 1, "nobody waits behind all of somebody else's"


@pytest.mark.parametrize("piece_bytes", [256_000, 8_000_000], ids=["in pieces", "in one"])
async def test_a_call_that_is_too_large_is_refused_in_words(
    hypha: HyphaServer, service: RunningService, piece_bytes: int
) -> None:
    async with hypha.client(token("ada"), long_message_chunk_size=piece_bytes) as server:
        offered = await server.get_service(ADDRESS)
        with pytest.raises(Exception, match="the arguments of a call may have 250000 bytes"):
            await offered.submit("x" * 3_000_000)
        assert (await offered.status())["jobs"] == []
    assert service.said().count(REGISTERED) == 1, "the connection is the same"


async def test_a_server_that_is_away_at_the_start_is_waited_for_and_after_its_restart_found_again(
    hypha: HyphaServer, stopped: RunningService, head: PlayedHead
) -> None:
    hypha.stop()
    stopped.start(EBBFLOW_HYPHA_TOKEN=token("operator"))
    await stopped.says("jobs go on, and it is tried again")
    hypha.start()
    await stopped.says(REGISTERED)
    head.ends_at_once = False
    async with hypha.client(token("ada")) as server:
        job = (await (await server.get_service(ADDRESS)).submit("echo 42"))["job_id"]
    await until(lambda: head.running == [job], "Ray has it")
    hypha.stop()
    await stopped.says("jobs go on, and it is tried again", times=2)
    head.end(job, printed="42\n")
    hypha.start()
    await stopped.says(REGISTERED, times=2)
    async with hypha.client(token("ada")) as server:
        found = await finished(await server.get_service(ADDRESS), job)
    assert found["output"] == "42\n"
    assert head.begun == [job]


async def test_a_token_is_renewed_before_it_ends_and_what_was_got_is_used_after_a_restart(
    hypha: HyphaServer, stopped: RunningService
) -> None:
    given = token("operator", seconds=15)
    began = time.monotonic()
    stopped.start(EBBFLOW_HYPHA_TOKEN=given)
    await stopped.says("a new token of the Hypha server is used from now on")
    await stopped.says(REGISTERED, times=2)
    await asyncio.sleep(max(0.0, began + 16 - time.monotonic()))
    async with hypha.client(token("ada")) as server:
        assert (await (await server.get_service(ADDRESS)).status())["jobs"] == []
    stopped.kill()
    stopped.start(EBBFLOW_HYPHA_TOKEN=given)
    await stopped.says(REGISTERED, times=3)


async def test_a_token_that_ends_without_another_is_told_and_one_in_its_place_is_used(
    hypha: HyphaServer, stopped: RunningService, head: PlayedHead
) -> None:
    """Of somebody who may register there, and not make tokens: the operator's file is the way."""
    file = stopped.folder / "token"
    written = (stopped.folder / "hypha.yaml").read_text() + "token_file: token\nworkspace: ws-user-operator\n"
    (stopped.folder / "hypha.yaml").write_text(written)
    scope = "ws:ws-user-operator#rw wid:ws-user-operator"
    file.write_text(token("helper", seconds=15, scope=scope))
    # The server makes a workspace for its owner alone, and forgets it at its end.
    async with hypha.client(token("operator")):
        stopped.start()
        await stopped.says(REGISTERED)
    head.ends_at_once = False
    async with hypha.client(token("ada")) as server:
        offered = await server.get_service(ADDRESS)
        job = (await offered.submit("echo 42"))["job_id"]
        await stopped.says("no new token from the Hypha server")
        await asyncio.sleep(8)
        assert (await offered.status(job))["state"] == "running", "a call goes on, also where the token has ended"
    hypha.stop()
    hypha.start()
    await stopped.says("has ended: put a new one there")
    async with hypha.client(token("operator")):
        file.write_text(token("helper", scope=scope))
        await stopped.says(REGISTERED, times=2)
    head.end(job)
    async with hypha.client(token("ada")) as server:
        assert (await finished(await server.get_service(ADDRESS), job))["state"] == "succeeded"


@pytest.mark.parametrize("text", ["no-token-at-all", token("operator", seconds=-5)])
async def test_a_token_that_lets_nobody_in_ends_it_at_once_with_words(stopped: RunningService, text: str) -> None:
    stopped.start(EBBFLOW_HYPHA_TOKEN=text)
    assert await stopped.ended() == 4
    last = stopped.said().strip().splitlines()[-1]
    assert "the Hypha server at" in last or "EBBFLOW_HYPHA_TOKEN" in last, stopped.said()
    assert text not in stopped.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_regression_one_signal_ended_it_and_another_left_everything_behind(
    hypha: HyphaServer, service: RunningService, head: PlayedHead, number: signal.Signals
) -> None:
    """The older system knew SIGINT alone. Either ends this one at once, and its jobs are found by the next."""
    head.ends_at_once = False
    async with hypha.client(token("ada")) as server:
        job = (await (await server.get_service(ADDRESS)).submit("echo 42"))["job_id"]
        await until(lambda: head.running == [job], "Ray has it")
        began = time.monotonic()
        service.send(number)
        assert await service.ended() == 0
        assert time.monotonic() - began < 15
        assert "Traceback" not in service.said()
        with pytest.raises(Exception, match=r"(?i)not found"):
            await server.get_service(ADDRESS, timeout=5)
        assert head.running == [job], "what runs goes on"
        head.end(job, printed="42\n")
        service.start(EBBFLOW_HYPHA_TOKEN=token("operator"))
        await service.says(REGISTERED, times=2)
        assert (await finished(await server.get_service(ADDRESS), job))["output"] == "42\n"


async def test_killed_while_a_hundred_are_on_their_way_it_loses_none_that_was_answered(
    hypha: HyphaServer, service: RunningService, head: PlayedHead
) -> None:
    async with hypha.client(token("ada")) as server:
        offered = await server.get_service(ADDRESS)
        answered: list[str] = []

        async def submit(number: int) -> None:
            answered.append((await offered.submit(f"echo {number}", key=f"run-{number}"))["job_id"])

        calls = [asyncio.ensure_future(submit(number)) for number in range(100)]
        await until(lambda: len(answered) >= 20, "some have been answered")
        service.kill()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        before = list(answered)
        service.start(EBBFLOW_HYPHA_TOKEN=token("operator"))
        await service.says(REGISTERED, times=2)
        offered = await server.get_service(ADDRESS)
        jobs = [(await offered.submit(f"echo {number}", key=f"run-{number}"))["job_id"] for number in range(100)]
        assert set(before) <= set(jobs)
        await until(lambda: len(set(head.begun)) == 100, "all have been begun")
        assert sorted(head.begun) == sorted(jobs), "each once"
