"""The state folder is ours alone: what a neighbour could have put there is refused, and signals nobody."""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.launch_script import LaunchScriptProgram
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.local import LocalProgram
from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.adapters.providers.host.logs import KEPT_BYTES, MAX_LOG_BYTES
from ebbflow.adapters.providers.host.private_files import check_private, make_private
from ebbflow.core.canonical import canonical
from ebbflow.core.errors import ConfigError, FleetError, ProviderUnavailable, TerminationRefused
from ebbflow.core.instance import Instance, InstanceState, LaunchRequest

ID = f"sdxl-{secrets.token_hex(2)}-1a-0"
"""Of this process alone: what carries it is ended after a test."""
TAG = "[SwarmAutoScaleBackend]NewURL: http://127.0.0.1:7801[/SwarmAutoScaleBackend]"
PATIENCE_SECONDS = 30.0

pytestmark = pytest.mark.anyio


class State:
    """A state folder, and the provider that keeps its workers there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def provider(self, script: str = f"echo '{TAG}'; exec sleep 600", *, kind: str = "local") -> HostAdapter:
        """One of the host's two providers, whose worker is a shell script."""
        if kind == "local":
            words = {"command": ["/bin/sh", "-c", script], "stop_grace_seconds": 1}
            return HostAdapter(LocalProgram(LocalSettings.model_validate({**words, "state_folder": self.folder})))
        path = self.folder.parent / "launch.sh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        times = {"shutdown_wait_seconds": 0, "kill_grace_seconds": 1}
        settings = LaunchScriptSettings.model_validate({"script": path, "state_folder": self.folder, **times})
        return HostAdapter(LaunchScriptProgram(settings))

    @property
    def worker(self) -> Path:
        """The worker's own folder."""
        return self.folder / "sdxl" / ID


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    """A state folder that is not there yet; what carries the worker's id is ended after the test."""
    made = State(tmp_path / "way" / "state")
    yield made
    processes.send(signal.SIGKILL, [each.process for each in processes.carriers(ID)], ())


REQUEST = LaunchRequest(ID, "sdxl", "homea")


async def row(provider: HostAdapter, state: InstanceState) -> Instance:
    """The worker's row, once it is in a state."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            listing = await provider.list_instances("sdxl")
            if found := [each for each in listing.instances if each.state is state]:
                return found[0]
            await anyio.sleep(0.02)


def modes(folder: Path) -> dict[str, str]:
    """The modes of a folder and of all below it."""
    return {str(each): f"{each.stat().st_mode & 0o7777:o}" for each in (folder, *folder.rglob("*")) if each.is_dir()}


@pytest.mark.parametrize("kind", ["local", "launch-script"])
async def test_regression_folders_of_workers_could_be_read_by_everybody(state: State, kind: str) -> None:
    provider = state.provider(kind=kind)
    old = os.umask(0)
    try:
        await provider.launch(REQUEST)
        await row(provider, InstanceState.RUNNING)
    finally:
        os.umask(old)
    assert set(modes(state.folder).values()) == {"700"}
    assert len(modes(state.folder)) >= 3


def test_a_folder_of_an_earlier_release_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state" / "sdxl").mkdir(parents=True, mode=0o755)
    make_private(tmp_path / "state", tmp_path / "state" / "sdxl" / ID)
    assert set(modes(tmp_path / "state").values()) == {"700"}


async def refused(provider: HostAdapter, *words: str) -> None:
    """Every call ends with what to do, and nothing is started."""
    row = Instance(ID, "1:1", InstanceState.RUNNING, "sdxl", "homea")
    for call in (provider.launch(REQUEST), provider.list_instances("sdxl")):
        with pytest.raises(ConfigError) as caught:
            await call
        assert [word for word in words if word not in str(caught.value)] == []
    assert processes.carriers(row.worker_id) == []


async def test_regression_a_state_folder_that_others_can_write_was_used(state: State) -> None:
    state.folder.mkdir(parents=True)
    state.folder.chmod(0o777)
    await refused(state.provider(), "can be written by others (mode 777)", f"chmod 700 {state.folder}")
    state.folder.chmod(0o775)
    os.chown(state.folder, -1, os.getegid())
    (state.folder / "sdxl").mkdir()
    (state.folder / "sdxl").chmod(0o707)
    state.folder.chmod(0o700)
    await refused(state.provider(), "can be written by others (mode 707)", "sdxl")


async def test_regression_a_state_folder_that_is_a_link_was_followed(state: State) -> None:
    elsewhere = state.folder.parent / "elsewhere"
    elsewhere.mkdir(parents=True)
    state.folder.symlink_to(elsewhere)
    await refused(state.provider(), "is a link", "name the folder that it leads to")
    assert list(elsewhere.iterdir()) == []


async def test_a_state_folder_on_a_way_that_everybody_can_change_is_refused(state: State) -> None:
    state.folder.mkdir(parents=True)
    state.folder.parent.chmod(0o777)
    await refused(state.provider(), f"folder {state.folder.parent}, on the way to", "written by everybody")
    state.folder.parent.chmod(0o1777)
    assert (await state.provider().list_instances("sdxl")).complete, "as in /tmp, where nobody can rename it"


async def test_regression_a_look_closed_a_folder_that_was_there_before(state: State) -> None:
    (state.folder / "public_html").mkdir(parents=True)
    (state.folder / "notes.txt").touch()
    state.folder.chmod(0o755)
    await state.provider().list_instances("sdxl")
    assert modes(state.folder)[str(state.folder)] == "755"
    await state.provider().launch(REQUEST)
    assert modes(state.folder)[str(state.folder)] == "755", "others' things are in it, and ours are closed below it"
    assert modes(state.folder)[str(state.worker)] == "700"


async def test_a_link_on_an_open_way_is_refused(state: State) -> None:
    real, opened = state.folder.parent / "real", state.folder.parent / "open"
    real.mkdir(parents=True)
    opened.mkdir()
    opened.chmod(0o777)
    (opened / "link").symlink_to(real)
    provider = State(opened / "link" / "state").provider()
    with pytest.raises(ConfigError, match="can be written by everybody"):
        await provider.launch(REQUEST)


@pytest.mark.parametrize("how", ["renamed", "truncated"])
async def test_regression_a_rotated_log_made_a_worker_forget_its_address(state: State, how: str) -> None:
    provider = state.provider()
    await provider.launch(REQUEST)
    await row(provider, InstanceState.RUNNING)
    log = state.worker / "stdout.log"
    if how == "renamed":
        log.rename(log.with_suffix(".1"))
    else:
        os.truncate(log, 0)
    shown = await row(state.provider(), InstanceState.RUNNING)
    assert shown.url == "http://127.0.0.1:7801"


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 4711, -1)
        theirs = tmp_path
    else:
        theirs = Path("/")
    with pytest.raises(ConfigError, match="belongs to user"):
        check_private(theirs)


async def test_a_workers_folder_that_is_a_link_is_no_workers(state: State) -> None:
    provider = state.provider()
    elsewhere = state.folder.parent / "elsewhere"
    elsewhere.mkdir(parents=True)
    (elsewhere / "stdout.log").write_text(f"{TAG}\n")
    make_private(state.folder, state.folder / "sdxl")
    state.worker.symlink_to(elsewhere)
    assert (await provider.list_instances("sdxl")).instances == ()
    with pytest.raises(ConfigError, match="is a link"):
        await provider.launch(REQUEST)
    assert {path.name for path in elsewhere.iterdir()} == {"stdout.log"}


@pytest.mark.parametrize("name", ["stdout.log", "stderr.log", "lock"])
async def test_regression_a_link_in_a_files_place_was_written_through(state: State, name: str) -> None:
    target = state.folder.parent / "theirs"
    make_private(state.folder, state.worker)
    target.write_text("precious\n")
    (state.worker / name).symlink_to(target)
    with suppress(FleetError):
        await state.provider().launch(REQUEST)
    assert target.read_text() == "precious\n"
    assert processes.carriers(ID) == []


async def test_a_log_that_is_a_link_is_not_shown(state: State) -> None:
    provider = state.provider("exit 3")
    await provider.launch(REQUEST)
    gone = await row(provider, InstanceState.FAILED)
    (state.worker / "stderr.log").unlink()
    (state.worker / "stderr.log").symlink_to("/etc/hostname")
    with pytest.raises(ProviderUnavailable, match="levels of symbolic"):
        await provider.logs(gone)
    (found,) = (await provider.list_instances("sdxl")).instances
    assert "last line" not in found.detail


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of ours that is nobody's worker."""
    process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


async def ends(provider: HostAdapter, instance: Instance) -> None:
    """End a worker by as many calls as that takes."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while (await provider.list_instances("sdxl")).instances[0].state is not InstanceState.GONE:
            await provider.terminate(instance)


@pytest.mark.parametrize("kind", ["local", "launch-script"])
async def test_regression_a_pid_in_a_file_was_signalled_whoever_it_was(
    state: State, bystander: "subprocess.Popen[bytes]", kind: str
) -> None:
    provider = state.provider("exit 3", kind=kind)
    await provider.launch(REQUEST)
    ended = await row(provider, InstanceState.FAILED)
    for note in ("ended.json", "exited.json"):
        (state.worker / note).unlink(missing_ok=True)
    (state.worker / "process.json").write_text(canonical(processes.find(bystander.pid)))
    words = f"process {bystander.pid} of its record carries another id or none"
    with pytest.raises(TerminationRefused, match=words):
        await ends(provider, ended)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    await ends(provider, ended)


async def test_a_worker_that_wiped_its_environment_is_ended_by_the_files_that_it_was_given(state: State) -> None:
    provider = state.provider(f"echo '{TAG}'; exec env -i /bin/sleep 600")
    await provider.launch(REQUEST)
    running = await row(provider, InstanceState.RUNNING)
    await provider.terminate(running)
    await row(provider, InstanceState.GONE)


@pytest.mark.parametrize("kind", ["local", "launch-script"])
async def test_regression_a_workers_log_grew_without_an_end(state: State, kind: str) -> None:
    provider = state.provider(f"echo '{TAG}'; while :; do echo still here; sleep 0.02; done", kind=kind)
    await provider.launch(REQUEST)
    await row(provider, InstanceState.RUNNING)
    log = state.worker / "stdout.log"
    # As if it had printed so much: a hole in the file costs nothing.
    with log.open("ab") as file:
        file.truncate(MAX_LOG_BYTES + 1)
    assert (await row(provider, InstanceState.RUNNING)).url == "http://127.0.0.1:7801"
    assert log.stat().st_size <= KEPT_BYTES + 64 * 1024
    before = log.stat().st_size
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            if log.stat().st_size > before:
                break
            await anyio.sleep(0.02)
    later = await row(state.provider(kind=kind), InstanceState.RUNNING)
    assert later.url == "http://127.0.0.1:7801", "what it announced is known to later runs"
    assert "still here" in (await provider.logs(later))["stdout"]


async def test_a_worker_that_has_not_announced_itself_is_cut_too_and_heard_later(state: State) -> None:
    go = state.folder.parent / "go"
    provider = state.provider(f"while [ ! -e {go} ]; do sleep 0.02; done; echo '{TAG}'; exec sleep 600")
    await provider.launch(REQUEST)
    await row(provider, InstanceState.STARTING)
    with (state.worker / "stdout.log").open("ab") as file:
        file.truncate(MAX_LOG_BYTES + 1)
    await row(provider, InstanceState.STARTING)
    assert (state.worker / "stdout.log").stat().st_size < 2 * KEPT_BYTES
    go.touch()
    assert (await row(provider, InstanceState.RUNNING)).url == "http://127.0.0.1:7801"


async def test_a_note_of_a_verdict_that_is_damaged_makes_the_list_incomplete(state: State) -> None:
    provider = state.provider()
    await provider.launch(REQUEST)
    await row(provider, InstanceState.RUNNING)
    (state.worker / "verdict.json").write_text(json.dumps({"outcome": "lost", "text": ""}))
    listing = await provider.list_instances("sdxl")
    assert not listing.complete
    assert "verdict.json" in listing.detail
