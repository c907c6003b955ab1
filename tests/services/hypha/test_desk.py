"""What people are told: their own jobs and nobody else's, limits in words, a trace of each call."""

import json
from pathlib import Path

import anyio
import pytest

from ebbflow.services.hypha.asked import BadInput, Denied, Full, Refused, Unknown
from tests.services.hypha.desks import context, desk_world
from tests.services.hypha.played_head import PlayedHead

pytestmark = pytest.mark.anyio


async def test_a_caller_without_rights_gets_a_clear_error_and_leaves_a_trace(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        with pytest.raises(Denied, match=r"eve \(eve@example.org\) may not call submit: .* tell them user:eve"):
            await world.submit("eve")
        with pytest.raises(Denied, match="for people with an account"):
            await world.desk.call("cluster", context("eve", is_anonymous=True), (), {})
        lines = [json.loads(line) for line in world.audited().splitlines()]
        assert [(line["caller"], line["function"], line["outcome"]) for line in lines] == [
            ("eve (eve@example.org)", "submit", "refused"),
            ("eve (eve@example.org)", "cluster", "refused"),
        ]
        assert lines[0]["why"].startswith("eve (eve@example.org) may not call submit")
        assert world.head.asked == []


async def test_every_call_has_a_line_with_its_job(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit()
        await world.call("ada", "status", job)
        with pytest.raises(BadInput, match="its result is there once it has ended"):
            await world.call("ada", "result", job)
        lines = [json.loads(line) for line in world.audited().splitlines()]
        assert [(line["function"], line["outcome"], line["job"]) for line in lines] == [
            ("submit", "done", job),
            ("status", "done", job),
            ("result", "refused", job),
        ]


async def test_others_jobs_are_as_if_there_were_none_but_for_an_admin(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit("ada")
        for function in ("status", "result", "cancel", "why"):
            with pytest.raises(Unknown, match=f"there is no job {job} of yours"):
                await world.call("bob", function, job)
        with pytest.raises(Unknown, match="there is no job made-up of yours"):
            await world.call("bob", "status", "made-up")
        assert (await world.call("bob", "status"))["jobs"] == []
        with pytest.raises(Denied, match="everybody is for admins"):
            await world.call("bob", "status", everybody=True)
        (seen,) = (await world.call("grace", "status", everybody=True))["jobs"]
        assert (seen["job_id"], seen["user"]) == (job, "ada")
        assert (await world.call("grace", "cancel", job))["is_cancelled"]
        assert (await world.call("ada", "status", job))["note"] == "grace (grace@example.org) asked for its end"


async def test_what_is_finished_cannot_be_cancelled_and_that_is_said(tmp_path: Path) -> None:
    async with desk_world(tmp_path, PlayedHead(ends_at_once=True)) as world:
        job = await world.submit()
        await world.rounds.one()
        await world.rounds.one()
        answer = await world.call("ada", "cancel", job)
        assert (answer["is_cancelled"], answer["note"]) == (False, "it had ended before: succeeded")
        assert (await world.call("ada", "result", job))["state"] == "succeeded"


async def test_a_job_is_cancelled_wherever_it_is(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_running": 1}) as world:
        running, waiting = await world.submit(), await world.submit()
        await world.rounds.one()
        assert (await world.call("ada", "cancel", waiting))["state"] == "cancelled"
        answer = await world.call("ada", "cancel", running)
        assert (answer["state"], answer["is_cancelled"]) == ("running", True)
        await world.rounds.one()
        await world.rounds.one()
        assert await world.state(running) == "cancelled"
        assert ("POST", f"/api/jobs/{waiting}/stop") not in world.head.asked


async def test_several_users_are_served_in_turn_and_told_how_many_are_ahead(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_running": 2}) as world:
        many = [await world.submit("ada") for _ in range(6)]
        (one,) = [await world.submit("bob")]
        await world.rounds.one()
        assert world.head.begun == [many[0], one]
        told = [await world.call("ada", "status", job) for job in many]
        assert [each.get("ahead") for each in told] == [None, 0, 1, 2, 3, 4]
        late = await world.submit("bob")
        assert (await world.call("bob", "status", late))["ahead"] == 1
        why = (await world.call("bob", "why", late))["why"]
        assert why[0] == f"{late} waits here: 1 submission before it"
        assert why[1] == "2 jobs of all users are at Ray, and 2 are allowed"
        queue = (await world.call("bob", "cluster"))["queue"]
        assert (queue["waiting"], queue["at_ray"], queue["yours_waiting"], queue["users"]) == (6, 2, 1, 2)
        assert "by_user" not in queue
        assert (await world.call("grace", "cluster"))["queue"]["by_user"] == {"ada": 6, "bob": 2}


async def test_a_user_who_has_as_many_at_ray_as_allowed_waits_beside_free_room(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_running": 5, "most_running_per_user": 1}) as world:
        jobs = [await world.submit() for _ in range(2)]
        await world.rounds.one()
        assert world.head.begun == jobs[:1]
        assert "you have 1 job at Ray, and 1 are allowed" in (await world.call("ada", "why", jobs[1]))["why"]


async def test_regression_of_many_jobs_a_hundred_were_seen(tmp_path: Path) -> None:
    """The older system listed its tasks, and got a hundred of them. Here each of many at once is answered."""
    async with desk_world(tmp_path, limits={"most_waiting_per_user": 250}) as world:
        jobs: list[str] = []
        full: list[str] = []

        async def submit(number: int) -> None:
            try:
                jobs.append(await world.submit(entrypoint=f"echo {number}"))
            except Full as error:
                full.append(str(error))

        async with anyio.create_task_group() as group:
            for number in range(300):
                group.start_soon(submit, number)
        assert (len(set(jobs)), len(full)) == (250, 50)
        assert set(full) == {"you have 250 jobs waiting, and 250 are allowed: wait, or cancel some"}
        assert len(world.board.waiting) == 250
        assert (await world.call("ada", "cluster"))["queue"]["waiting"] == 250
        other = await world.submit("bob")
        assert (await world.call("bob", "status", other))["ahead"] <= 1, "nobody waits behind all of somebody else's"


async def test_all_users_together_have_a_limit_too(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_waiting": 2}) as world:
        await world.submit("ada")
        await world.submit("bob")
        with pytest.raises(Full, match="2 jobs of all users wait, and no more are taken"):
            await world.submit("grace")


async def test_the_same_word_again_is_the_same_job_also_when_there_is_no_more_room(tmp_path: Path) -> None:
    async with desk_world(tmp_path, PlayedHead(ends_at_once=True), limits={"most_waiting_per_user": 1}) as world:
        job = await world.submit(key="tuesday")
        assert await world.submit(key="tuesday") == job
        assert await world.submit("bob", key="tuesday") != job
        for _ in range(2):
            await world.rounds.one()
        assert (await world.call("ada", "submit", "other words", key="tuesday"))["state"] == "succeeded"


async def test_a_result_that_is_too_large_is_refused_and_its_end_can_be_had(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_result_bytes": 10}) as world:
        job = await world.submit()
        await world.rounds.one()
        world.head.end(job, printed="1\u20ac234567890")
        await world.rounds.one()
        with pytest.raises(BadInput, match=r"printed more than 10 bytes.*to a place of yours and print where that is"):
            await world.call("ada", "result", job)
        found = await world.call("ada", "result", job, cut=True)
        assert (found["output"], found["is_cut"]) == ("234567890", True)


async def test_a_hundred_megabytes_are_not_read_to_their_end(tmp_path: Path) -> None:
    async with desk_world(tmp_path) as world:
        job = await world.submit()
        await world.rounds.one()
        world.head.end(job, printed=f"{'x' * 99}\n" * 1_000_000)
        await world.rounds.one()
        with pytest.raises(BadInput, match="printed more than 1000000 bytes"):
            await world.call("ada", "result", job)
        assert (await world.call("ada", "result", job, cut=True))["output"] == f"{'x' * 99}\n" * 1000


async def test_who_calls_without_end_is_told_to_wait_and_fills_no_disk(tmp_path: Path) -> None:
    async with desk_world(tmp_path, limits={"most_calls_per_minute": 30}) as world:
        for _ in range(30):
            await world.call("ada", "status")
        for _ in range(500):
            with pytest.raises(Full, match="30 calls a minute are allowed"):
                await world.call("ada", "status")
        await world.call("bob", "status")
        assert len(world.audited().splitlines()) == 30 + 100 + 1
        world.now += 60
        await world.call("ada", "status")
        with pytest.raises(Refused):
            await world.call("ada", "status", "made-up")
        assert json.loads(world.audited().splitlines()[-1])["asked"] == 401, "how many were left out is told"


@pytest.mark.parametrize(
    ("function", "words", "given"),
    [
        ("submit", ("a", "b"), {}),
        ("submit", ("a",), {"entrypoint": "a"}),
        ("cluster", ("a",), {}),
        ("cluster", (), {"all": True}),
        ("result", (), {}),
        ("result", ("x",), {"cut": "yes"}),
    ],
)
async def test_arguments_that_a_function_does_not_take_are_named(
    function: str, words: tuple[object, ...], given: dict[str, object], tmp_path: Path
) -> None:
    async with desk_world(tmp_path) as world:
        with pytest.raises(BadInput):
            await world.call("ada", function, *words, **given)
