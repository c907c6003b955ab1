"""Jobs on their way: handed over once, looked at, ended, kept for a while; on a clock that the test moves."""

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from ebbflow.services.hypha.asked import Unknown
from ebbflow.services.hypha.jobs import JobState
from tests.e2e.processes import until
from tests.services.hypha.desks import DeskWorld, desk_world, settings
from tests.services.hypha.played_head import PlayedHead

pytestmark = pytest.mark.anyio


async def test_what_a_job_printed_comes_back_without_rays_own_lines(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit(runtime_env={"env_vars": {"A": "1"}}, hours=2)
        assert await world.state(job) == "waiting"
        await world.rounds.one()
        assert await world.state(job) == "running"
        handed = world.head.jobs[job]
        assert handed["runtime_env"] == {"env_vars": {"A": "1"}}
        assert (handed["entrypoint_num_cpus"], handed["metadata"]) == (1, {"ebbflow_user": "ada"})
        world.head.end(job, printed="42\n")
        await world.rounds.one()
        found = await world.call("ada", "result", job)
        assert (found["state"], found["output"], found["is_cut"]) == ("succeeded", "42\n", False)
        assert found["result_until"] == world.now + 72 * 3600


@pytest.mark.parametrize(
    ("status", "message", "state", "note"),
    [
        ("FAILED", "Job entrypoint command failed with exit code 3", "failed", "exit code 3"),
        ("STOPPED", "Job was intentionally stopped.", "cancelled", "somebody stopped it at Ray"),
        ("FAILED", "Job supervisor actor failed to start within 900 s\x1b[31m\n", "failed", "failed to start within"),
    ],
)
async def test_how_a_job_ended_is_told_in_rays_words(
    status: str, message: str, state: str, note: str, tmp_path: Path
) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit()
        await world.rounds.one()
        world.head.end(job, status, "so far\n", message)
        await world.rounds.one()
        found = await world.call("ada", "result", job)
        assert (found["state"], found["output"]) == (state, "so far\n")
        assert note in found["note"]
        assert found["note"].isprintable()


async def test_regression_a_head_that_does_not_answer_was_an_empty_queue(tmp_path: Path) -> None:
    """The older system took a failed command for "no jobs", and started more."""
    async with desk_world(tmp_path) as world:
        running = await world.submit()
        await world.rounds.one()
        world.head.answers = False
        waiting = await world.submit()
        for _ in range(20):
            world.now += 3600
            await world.rounds.one()
        assert [await world.state(job) for job in (running, waiting)] == ["running", "waiting"]
        assert "nobody listens" in world.rounds.trouble
        (cluster, why) = await world.call("ada", "cluster"), await world.call("ada", "why", waiting)
        assert cluster["head"] == "away"
        assert "so nothing begins and nothing is given up" in " ".join(why["why"])
        world.head.answers = True
        await world.rounds.one()
        assert [await world.state(job) for job in (running, waiting)] == ["running", "running"]
        assert world.head.begun == [running, waiting]


@pytest.mark.parametrize("was_in_time", [True, False], ids=["known to run", "answer was lost"])
async def test_jobs_of_a_head_that_was_started_anew_are_called_lost_and_not_run_again(
    was_in_time: bool, tmp_path: Path
) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit()
        await world.rounds.one()
        if not was_in_time:
            await world.board.change(job, lambda found: replace(found, state=JobState.STARTING))
        world.head.restart()
        await world.rounds.one()
        found_state = await world.call("ada", "status", job)
        assert found_state["state"] == "lost"
        assert "the Ray head was started anew and knows nothing of it" in found_state["note"]
        assert world.head.begun == [job]
        with pytest.raises(Unknown, match="lost, and nothing that it printed is there: the Ray head was started anew"):
            await world.call("ada", "result", job)
        after = await world.submit()
        await world.rounds.one()
        assert await world.state(after) == "running"


async def test_a_job_that_somebody_deleted_at_ray_is_called_lost(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit()
        await world.rounds.one()
        del world.head.jobs[job]
        await world.rounds.one()
        assert "has deleted it" in (await world.call("ada", "status", job))["note"]


async def test_a_job_that_never_ends_is_stopped_and_told_why(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_job_hours": 2}) as world:
        job = await world.submit()
        await world.rounds.one()
        await world.rounds.one()
        world.now += 2 * 3600
        await world.rounds.one()
        assert await world.state(job) == "running"
        world.now += 1
        await world.rounds.one()
        await world.rounds.one()
        found = await world.call("ada", "result", job)
        assert (found["state"], found["note"]) == ("cancelled", "it went on for longer than 2 h")
        assert found["output"] == "begun\n"


async def test_time_that_a_job_waits_at_ray_for_a_worker_is_not_its_own(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit(hours=1)
        await world.rounds.one()
        world.head.jobs[job] |= {"status": "PENDING", "message": "It may be waiting for resources (CPUs, GPUs)."}
        for _ in range(5):
            world.now += 3600
            await world.rounds.one()
        found = await world.call("ada", "status", job)
        assert (found["state"], found["started_at"]) == ("running", None)
        assert "waiting for resources" in found["note"]


async def test_results_are_kept_a_set_time_and_then_said_to_be_gone(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"keep_hours": 1}) as world:
        job = await world.submit()
        await world.rounds.one()
        world.head.end(job)
        await world.rounds.one()
        world.now += 3600
        await world.rounds.one()
        assert (await world.call("ada", "result", job))["output"] == "done\n"
        world.now += 120
        await world.rounds.one()
        with pytest.raises(Unknown, match="succeeded, and nothing that it printed is there: results are kept for 1 h"):
            await world.call("ada", "result", job)
        assert await world.state(job) == "succeeded"
        world.now += 31 * 24 * 3600
        await world.rounds.one()
        with pytest.raises(Unknown, match="there is no job"):
            await world.call("ada", "status", job)


async def test_a_head_that_refuses_is_asked_again_but_not_for_ever(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        world.head.refuses = "runtime_env is none"
        job, other = await world.submit(), await world.submit("bob")
        for _ in range(4):
            await world.rounds.one()
        assert await world.state(job) == "starting"
        await world.rounds.one()
        found = await world.call("ada", "status", job)
        assert found["state"] == "failed"
        assert "refused 5 times" in found["note"]
        assert "runtime_env is none" in found["note"]
        world.head.refuses = ""
        late = await world.submit("bob")
        await world.rounds.one()
        assert await world.state(late, "bob") == "running"
        assert other not in world.head.begun


async def test_a_head_in_its_first_seconds_has_no_agent_and_that_is_nobodys_fault(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        world.head.refuses = "No available agent to submit job, please try again later."
        job = await world.submit()
        for _ in range(10):
            await world.rounds.one()
        world.head.refuses = ""
        await world.rounds.one()
        assert await world.state(job) == "running"


@pytest.mark.parametrize("status", [500, 404])
async def test_an_output_that_cannot_be_read_does_not_keep_a_job_for_ever(status: int, tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit()
        await world.rounds.one()
        world.head.end(job)
        world.head.logs_status = status
        for _ in range(4):
            await world.rounds.one()
            assert await world.state(job) == "running"
        await world.rounds.one()
        found = await world.call("ada", "status", job)
        assert found["state"] == "succeeded"
        assert "what it printed could not be read" in found["note"]


JUNK = [b"", b"null", b"[]", b'{"session_name": 3}', b'{"session_name": ""}', b"[" * 100_000, b"<html>"]


@pytest.mark.parametrize("content", JUNK)
async def test_regression_an_odd_answer_ended_the_loop(content: bytes, tmp_path: Path) -> None:
    """The older system cut a list at a float, and its loop died with all that it had started."""
    is_odd = False

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=content) if is_odd else head.respond(request)

    head = PlayedHead()
    async with desk_world(tmp_path, head, transport=httpx.MockTransport(handle)) as world:
        job = await world.submit()
        await world.rounds.one()
        is_odd = True
        await world.rounds.one()
        assert "Ray" in world.rounds.trouble
        assert await world.state(job) == "running"
        is_odd = False
        await world.rounds.one()
        assert world.rounds.trouble == ""


class Killed(BaseException):
    """The process is gone."""


class Killing:
    """A head at one of whose calls its caller is killed.

    Args:
        head: acts on every other call.
        at: the call, counted from 1.
        acts: on that one too, before.
    """

    def __init__(self, head: PlayedHead, *, at: int, acts: bool) -> None:
        self._head, self._at, self._acts = head, at, acts
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls != self._at:
            return self._head.respond(request)
        if self._acts:
            self._head.respond(request)
        raise Killed


async def killed(folder: Path, head: PlayedHead, killing: Killing) -> list[str]:
    """Three submissions of a service that is killed somewhere; their ids."""
    world = DeskWorld(settings(folder), head, httpx.MockTransport(killing))
    await world.open()
    jobs = [await world.submit() for _ in range(3)]
    try:
        for _ in range(4):
            await world.rounds.one()
    except Killed:
        pass
    finally:
        await world.aclose()
    return jobs


@pytest.mark.parametrize("acts", [True, False], ids=["answer lost", "never sent"])
async def test_killed_at_any_call_no_submission_is_lost_and_none_is_begun_twice(acts: bool, tmp_path: Path) -> None:
    for at in range(1, 100):
        head = PlayedHead(ends_at_once=True)
        killing = Killing(head, at=at, acts=acts)
        jobs = await killed(tmp_path / str(at), head, killing)
        async with desk_world(tmp_path / str(at), head) as after:
            for _ in range(4):
                await after.rounds.one()
            assert [(await after.call("ada", "result", job))["output"] for job in jobs] == ["python train.py\n"] * 3
        assert sorted(head.begun) == sorted(jobs), f"killed at call {at}"
        if killing.calls < at:
            break
    assert 10 < at < 99, "each call was one of these"


async def test_a_head_that_goes_away_and_comes_back_is_told_once_each_in_the_log(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        world.head.answers = False
        async with anyio.create_task_group() as group:
            group.start_soon(world.rounds.run)
            job = await world.submit()
            await until(lambda: len(world.said) == 1, "its silence is told")
            world.head.answers = True
            await until(lambda: world.head.begun == [job], "what waited is started")
            await until(lambda: len(world.said) == 2, "that it answers is told")
            group.cancel_scope.cancel()
        assert "nobody listens; jobs stay as they were seen" in world.said[0]
        assert world.said[1:] == ["the Ray head answers again"]


async def test_a_submission_that_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    world = DeskWorld(settings(tmp_path), PlayedHead())
    await world.open()
    jobs = [await world.submit(user) for user in ("ada", "bob", "ada")]
    await world.aclose()
    async with desk_world(tmp_path, world.head) as after:
        assert [job.job_id for job in after.board.waiting] == jobs
