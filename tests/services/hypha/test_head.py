"""The Ray head over HTTP: what is asked, for how long, and with what."""

import subprocess
import sys
import time
from pathlib import Path

import anyio
import httpx
import pytest
from pydantic import SecretStr

from ebbflow.services.hypha.head import Head, HeadAway, HeadRefuses, RayState
from ebbflow.services.hypha.jobs import Job
from ebbflow.standins.process import free_port
from tests.services.hypha.desks import desk_world
from tests.services.hypha.played_head import PlayedHead

pytestmark = pytest.mark.anyio

JOB = Job("ebbflow-job-1", 1, "ada", "python a.py", "{}", 3600.0, 0.0)


def head(transport: httpx.AsyncBaseTransport | None = None, address: str = "http://ray.example:8265") -> Head:
    return Head(address, token=SecretStr("sesame"), timeout_seconds=0.5, driver_cpus=0, transport=transport)


async def test_regression_a_call_had_no_time_limit() -> None:
    """The older system waited for a silent command without end, and did nothing else meanwhile."""

    async def silent(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    asked = head(httpx.MockTransport(silent))
    began = time.monotonic()
    for call in (asked.session(), asked.hand_over(JOB), asked.look("x"), asked.stop("x"), asked.cluster()):
        with pytest.raises(HeadAway, match=r"no answer within 0\.5 s"):
            await call
    assert time.monotonic() - began < 30
    await asked.aclose()


async def test_nobody_at_the_address_is_said_and_the_token_is_not() -> None:
    asked = head(address=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(HeadAway) as away:
        await asked.session()
    assert "/api/version" in str(away.value)
    assert "sesame" not in str(away.value)
    await asked.aclose()


@pytest.mark.parametrize(
    ("status", "text", "error", "said"),
    [
        (401, "Unauthorized", HeadAway, "set RAY_AUTH_TOKEN to that of the head"),
        (403, "Forbidden", HeadAway, "set the one that the head was started with"),
        (500, "Traceback:\n  File x\nValueError: no such thing", HeadRefuses, "HTTP 500: ValueError: no such thing"),
        (400, "", HeadRefuses, "HTTP 400"),
        (200, "<html>", HeadAway, "is this the address of a Ray dashboard"),
    ],
)
async def test_an_answer_that_is_none_is_told_in_a_line(
    status: int, text: str, error: type[Exception], said: str
) -> None:
    asked = head(httpx.MockTransport(lambda request: httpx.Response(status, text=text)))
    with pytest.raises(error, match=said):
        await asked.hand_over(JOB)
    await asked.aclose()


async def test_the_token_goes_along_and_a_job_as_ray_has_it_comes_back() -> None:
    seen: list[httpx.Request] = []
    played = PlayedHead()

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return played.respond(request)

    asked = head(httpx.MockTransport(handle))
    await asked.hand_over(JOB)
    assert "entrypoint_num_cpus" not in played.jobs[JOB.job_id], "0: on the head itself"
    found = await asked.look(JOB.job_id)
    assert found is not None
    assert found.state is RayState.RUNNING
    assert await asked.look("another") is None
    assert {request.headers["Authorization"] for request in seen} == {"Bearer sesame"}
    await asked.aclose()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30 20:09:54,779\tINFO job_manager.py:581 -- Set up.\nRunning entrypoint for job {id}: {line}\na\nb",
        "a\nbRunning entrypoint for job {id}: {line}\n",
        "a\nb",
    ],
    ids=["at the head", "at a worker, behind what was printed", "nothing of Ray's"],
)
async def test_what_a_job_printed_is_without_rays_own_lines_wherever_they_stand(text: str) -> None:
    said = text.format(id=JOB.job_id, line=JOB.entrypoint)
    asked = head(httpx.MockTransport(lambda request: httpx.Response(200, text=said)))
    assert (await asked.output(JOB, "node-1", 100)).text == "a\nb"
    await asked.aclose()


async def test_a_job_that_ran_nowhere_has_printed_nothing() -> None:
    asked = head(httpx.MockTransport(lambda request: httpx.Response(500)))
    assert (await asked.output(JOB, "", 100)).text == ""
    with pytest.raises(HeadRefuses):
        await asked.output(JOB, "node-1", 100)
    await asked.aclose()


async def test_regression_jobs_of_others_were_acted_on(tmp_path: Path) -> None:
    """The older system counted and ended all jobs of its user. Here a head's other jobs are not even asked after."""
    played = PlayedHead()
    played.answer("POST", "/api/jobs/", {"submission_id": "somebody-elses", "entrypoint": "sleep 1000"})
    async with desk_world(tmp_path, played) as world:
        job = await world.submit()
        await world.rounds.one()
        await world.call("ada", "cancel", job)
        for _ in range(3):
            await world.rounds.one()
        assert played.running == ["somebody-elses"]
        assert not [path for _, path in played.asked[1:] if "somebody" in path or path == "/api/jobs/"][1:]


def test_regression_it_was_a_driver_of_the_cluster() -> None:
    """The older system had to have the Python and the Ray of its cluster. This one has neither, and no Prefect."""
    script = "import sys, ebbflow.services.hypha.service; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} & {
        "ray",
        "prefect",
        "sqlalchemy",
        "kubernetes",
    } == set()
