"""What a folder needs in the background: read from its file, started once, found again, ended whole."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from ebbflow.adapters.providers.host.processes import find
from ebbflow.adapters.providers.host.workers import wait_for_end
from ebbflow.cli import services
from ebbflow.cli.background import Background, NotStartedError
from ebbflow.cli.services import Service, Services, declared
from ebbflow.core.errors import ConfigError
from ebbflow.standins.process import free_port

pytestmark = pytest.mark.anyio


def free_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def page_at(url: str, *, name: str = "page") -> Service:
    """A small server that answers every GET."""
    port = url.rpartition(":")[2]
    command = (sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    return Service(name, f"a page at {url}", command, url)


@pytest.fixture
async def background(tmp_path: Path) -> AsyncIterator[Background]:
    here = Background(tmp_path, {"GREETING": "hello"})
    yield here
    await here.end(["page", "sleeper", "broken"], lambda _: None)


# services.yaml


def test_a_folder_without_the_file_asks_for_nothing(tmp_path: Path) -> None:
    assert declared(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prefect_server: http://0.0.0.0:4200", "prefect_server: expected http://127.0.0.1:PORT"),
        ("prefect_server: https://127.0.0.1:4200", "prefect_server: expected http://127.0.0.1:PORT"),
        ("swarmui_master: http://127.0.0.1", "swarmui_master: expected http://127.0.0.1:PORT"),
        ("swarmui_master: http://127.0.0.1:70000", "swarmui_master: "),
        ("prefect_worker: a pool", "prefect_worker: String should match pattern"),
        ("prefect_workers: pool", "prefect_workers: Extra inputs are not permitted"),
        ("- prefect_worker", "Input should be a valid dictionary"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "services.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        declared(tmp_path)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("api_url", "names"),
    [
        ("http://127.0.0.1:4200/api", [services.SERVER, services.MASTER]),
        ("https://prefect.lab/api", [services.MASTER]),
        (None, [services.MASTER]),
    ],
)
def test_another_prefect_server_than_the_files_own_needs_none_of_ours(
    tmp_path: Path, api_url: str | None, names: list[str]
) -> None:
    asked = Services(prefect_server="http://127.0.0.1:4200", swarmui_master="http://127.0.0.1:7801")
    assert [each.name for each in services.servers(asked, tmp_path, api_url=api_url)] == names


# processes


async def test_one_that_does_not_answer_is_started_and_the_next_time_found(background: Background) -> None:
    service = page_at(free_url())
    first, second = [await background.make_sure(service) for _ in range(2)]
    assert first.pid == second.pid
    assert first.log is not None
    assert f"is started in the background: pid {first.pid}" in str(first)
    assert f"runs already: pid {first.pid}" in str(second)
    assert psutil.Process(int(first.pid)).environ()["GREETING"] == "hello"


async def test_two_commands_at_once_start_it_once(tmp_path: Path, background: Background) -> None:
    service = page_at(free_url())
    others = [Background(tmp_path, {"GREETING": "hello"}) for _ in range(3)]
    started = await asyncio.gather(*(each.make_sure(service) for each in (background, *others)))
    assert len({each.pid for each in started}) == 1


async def test_one_that_nobody_can_start_since_its_port_is_taken_is_named(background: Background) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen(50)
        service = page_at(f"http://127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(NotStartedError, match="something else listens there"):
            await background.make_sure(service)
    assert not background.was_used


async def test_one_that_another_command_has_started_since_we_looked_is_waited_for(
    tmp_path: Path, background: Background
) -> None:
    service = page_at(free_url())
    other, looks = Background(tmp_path, {}), 0

    async def answers() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            await other.make_sure(service)
            return False
        return await background.answers(service)

    found = await background.make_sure(service, answers)
    assert found.pid == (await other.make_sure(service)).pid


async def test_one_that_somebody_else_runs_is_left_alone(tmp_path: Path, background: Background) -> None:
    service = page_at(free_url())
    elsewhere = Background(tmp_path / "elsewhere", {})
    (tmp_path / "elsewhere").mkdir()
    theirs = await elsewhere.make_sure(service)
    found = await background.make_sure(service)
    assert found.pid == ""
    assert str(found) == f"{service.what} answers; it was not started here, and `ebbflow down` leaves it"
    await background.end(["page"], lambda _: None)
    assert find(int(theirs.pid)) is not None
    await elsewhere.end(["page"], lambda _: None)
    assert find(int(theirs.pid)) is None


async def test_one_that_was_killed_is_started_again_under_another_id(background: Background) -> None:
    service = page_at(free_url())
    first = await background.make_sure(service)
    killed = find(int(first.pid))
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)
    await wait_for_end([killed], 10)
    second = await background.make_sure(service)
    assert (first.log != second.log, first.pid != second.pid) == (True, True)


async def test_one_that_ends_by_itself_is_told_with_the_end_of_its_log(background: Background) -> None:
    command = (sys.executable, "-c", "import sys, time; time.sleep(0.5); sys.exit('the port is taken')")
    with pytest.raises(NotStartedError, match=r"ended by itself(.|\n)*the port is taken"):
        await background.make_sure(Service("broken", "a broken one", command, free_url()))


async def test_the_end_says_who_is_ended_and_done_again_says_nothing(background: Background) -> None:
    service = page_at(free_url())
    started = await background.make_sure(service)
    said: list[str] = []
    for _ in range(2):
        await background.end(["page"], said.append)
    assert said == [f"page is ended (pid {started.pid})"]
    assert find(int(started.pid)) is None
    assert not background.was_used, "there is nothing to end here"
    await background.make_sure(service)
    assert background.was_used


async def test_what_a_service_has_started_ends_with_it(background: Background) -> None:
    url = free_url()
    child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, *{list(page_at(url).command[1:])}]))"
    await background.make_sure(Service("page", "a page with a parent", (sys.executable, "-c", child), url))
    await background.end(["page"], lambda _: None)
    assert not await background.answers(page_at(url))
