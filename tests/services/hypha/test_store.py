"""The file of the service: what it holds after a start, and whose it is."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from ebbflow.core.errors import ConfigError
from ebbflow.services.hypha.jobs import Job, JobState
from ebbflow.services.hypha.store import FILE, Store, StoreError

pytestmark = pytest.mark.anyio


def job(name: str, user: str = "ada", **more: object) -> Job:
    made = Job(name, 0, user, "true", "{}", 3600.0, 1.0)
    return replace(made, **more)  # type: ignore[arg-type]


async def test_what_was_kept_is_there_after_a_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    await store.open()
    first, second = await store.add(job("a", key="k")), await store.add(job("b", "bob"))
    ended = replace(second, state=JobState.SUCCEEDED, ended_at=9.0, result_bytes=2, is_cut=True, note="n")
    await store.put(ended, "hi")
    await store.begin(replace(first, state=JobState.STARTING, session="s"))
    await store.keep("token", "x")
    await store.aclose()
    again = Store(tmp_path / "state")
    await again.open()
    assert await again.job("b") == ended
    assert await again.result("b") == "hi"
    assert [each.job_id for each in await again.in_states(JobState.STARTING)] == ["a"]
    assert await again.starts() == {"ada": 1}
    assert await again.kept("token") == "x"
    assert await again.job("c") is None
    assert [each.job_id for each in await again.last_of(None, 5)] == ["b", "a"]
    assert [each.job_id for each in await again.last_of("ada", 5)] == ["a"]
    await again.aclose()


async def test_one_word_of_a_user_is_one_submission_and_another_users_is_another(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    await store.open()
    first = await store.add(job("a", key="k"))
    assert await store.add(job("b", key="k")) == first
    assert (await store.add(job("c", "bob", key="k"))).job_id == "c"
    assert {(await store.add(job(name))).job_id for name in "de"} == {"d", "e"}, "without a word each is one"
    await store.aclose()


async def test_results_go_before_what_is_known_of_their_jobs(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    await store.open()
    for name, at in (("old", 10.0), ("older", 5.0), ("new", 20.0)):
        made = await store.add(job(name))
        await store.put(replace(made, state=JobState.FAILED, ended_at=at), name)
    await store.add(job("waits"))
    assert await store.drop(results_before=15, jobs_before=7) == 2
    assert await store.result("old") is None
    assert await store.result("new") == "new"
    assert await store.job("old") is not None
    assert await store.job("older") is None
    assert await store.job("waits") is not None
    await store.aclose()


async def test_a_second_service_on_one_folder_is_refused(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "s"), Store(tmp_path / "s")
    await first.open()
    with pytest.raises(ConfigError, match="another `ebbflow hypha` uses"):
        await second.open()
    await first.aclose()
    await second.open()
    await second.aclose()


async def test_a_folder_that_others_can_read_is_refused_and_one_that_is_made_is_this_users(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        await Store(open_to_all).open()
    if os.getuid() == 0:
        of_another = tmp_path / "another"
        of_another.mkdir(mode=0o700)
        os.chown(of_another, 1000, -1)
        with pytest.raises(ConfigError, match="belongs to user 1000, and this service runs as user 0: run it as that"):
            await Store(of_another).open()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        await Store(tmp_path / "file" / "s").open()
    store = Store(tmp_path / "a" / "b")
    await store.open()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / FILE).stat().st_mode & 0o077 == 0
    await store.aclose()


async def test_a_file_of_a_newer_release_is_not_touched_and_one_that_is_none_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    await store.open()
    await store.aclose()
    with sqlite3.connect(tmp_path / "s" / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    newer = Store(tmp_path / "s")
    with pytest.raises(ConfigError, match="used by a newer ebbflow"):
        await newer.open()
    await newer.aclose()
    (tmp_path / "t").mkdir(mode=0o700)
    (tmp_path / "t" / FILE).write_bytes(b"no database at all, but a text" * 50)
    broken = Store(tmp_path / "t")
    with pytest.raises(StoreError, match="did not open it"):
        await broken.open()
    await broken.aclose()
