"""Workers as processes of this host: started once, found again, ended without hitting another."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest
from pydantic import ValidationError

from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.local import LocalProgram
from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.contracts.provider import BreakBackend, MakeProvider, ProviderContract
from ebbflow.core.canonical import canonical
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, JoinSpec, LaunchRequest

HERE = Path(__file__).parent
ANNOUNCE = ("--announce", "http://127.0.0.1:7801")
ID = "sdxl-3f9c-1a-0"
DEADLINE_SECONDS = 60.0

pytestmark = pytest.mark.anyio


class Host:
    """A state folder whose path is hard to write down, and a worker program of its own that can be told apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "worker.py"
        shutil.copy(HERE / "local_worker.py", self.program)
        self.state_folder = folder / "a'; echo foo $HOME \u00fc\u4e2d"

    def settings(self, *words: str, **more: object) -> LocalSettings:
        # -S -E -I: a bare interpreter starts in a few milliseconds.
        command = [sys.executable, "-I", "-S", str(self.program), *words]
        plain = {"command": command, "state_folder": self.state_folder, "stop_grace_seconds": 5.0, **more}
        return LocalSettings.model_validate(plain)

    def provider(self, *words: str, clock: Callable[[], float] = time.time, **more: object) -> HostAdapter:
        return HostAdapter(LocalProgram(self.settings(*words, **more)), clock=clock)

    def worker(self, worker_id: str = ID) -> Path:
        return self.state_folder / "sdxl" / worker_id

    def workers(self) -> list[int]:
        """Live processes that run our worker program."""
        return running(str(self.program))


def running(word: str) -> list[int]:
    """Live processes that were started with this word."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if word in process.cmdline():
                found.append(process.pid)
    return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host's folder; fails the test that leaves a process behind."""
    host = Host(tmp_path)
    yield host
    left = host.workers()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == [], "the test left processes behind"


@pytest.fixture
async def cleaned(host: Host) -> AsyncIterator[Host]:
    """A host whose workers are ended after the test, by the provider itself."""
    yield host
    provider = host.provider(stop_grace_seconds=0)
    for instance in (await provider.list_instances("sdxl")).instances:
        await provider.terminate(instance)


def request(worker_id: str = ID, *, home: str = "homea", join: JoinSpec | None = None) -> LaunchRequest:
    return LaunchRequest(worker_id, "sdxl", home, join or JoinSpec())


async def listed(provider: HostAdapter, is_so: Callable[[Instance], bool] = bool, worker_id: str = ID) -> Instance:
    """The worker's row once it is so."""
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while True:
        listing = await provider.list_instances("sdxl")
        for instance in listing.instances:
            if instance.worker_id == worker_id and is_so(instance):
                return instance
        assert anyio.current_time() < deadline, listing
        await anyio.sleep(0.01)


def is_in(*states: InstanceState) -> Callable[[Instance], bool]:
    return lambda instance: instance.state in states


async def until(is_so: Callable[[], bool]) -> None:
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while not is_so():
        assert anyio.current_time() < deadline
        await anyio.sleep(0.01)


def run_launcher(host: Host, dies: str = "", *words: str) -> "subprocess.Popen[str]":
    """Launch from a process of its own, which may be killed on the way."""
    settings = host.settings(*(words or ANNOUNCE)).model_dump_json()
    return subprocess.Popen(
        [sys.executable, str(HERE / "local_launcher.py"), settings, ID, dies], stdout=subprocess.PIPE, text=True
    )


class TestLocalProvider(ProviderContract):
    @pytest.fixture
    def make_provider(self, host: Host) -> MakeProvider:
        return lambda: host.provider(*ANNOUNCE)

    @pytest.fixture
    def break_backend(self, host: Host) -> BreakBackend:
        def put_a_file_in_place_of_the_folder() -> None:
            host.state_folder.rmdir() if host.state_folder.exists() else None
            host.state_folder.touch()

        return put_a_file_in_place_of_the_folder


async def test_a_launcher_killed_before_the_start_leaves_a_wish_that_is_launched_again(cleaned: Host) -> None:
    assert run_launcher(cleaned, "before-start").communicate()[0] == ""
    assert (cleaned.worker() / "intent.json").exists()
    provider = cleaned.provider(*ANNOUNCE)
    listing = await provider.list_instances("sdxl")
    assert (listing.instances, listing.complete) == ((), True)
    await provider.launch(request())
    await listed(provider, is_in(InstanceState.RUNNING))
    assert len(cleaned.workers()) == 1


async def test_a_launcher_killed_after_the_start_leaves_one_worker_that_is_adopted(cleaned: Host) -> None:
    assert run_launcher(cleaned, "after-start").communicate()[0] == ""
    assert not (cleaned.worker() / "process.json").exists()
    provider = cleaned.provider(*ANNOUNCE)
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    assert (instance.home, instance.url) == ("homea", "http://127.0.0.1:7801")
    again = await provider.launch(request())
    assert again.instance_id == instance.instance_id
    assert cleaned.workers() == [int(instance.instance_id.split(":")[0])]


async def test_a_launcher_killed_between_fork_and_exec_is_not_launched_beside(cleaned: Host) -> None:
    launcher = run_launcher(cleaned, "between-fork-and-exec")
    assert launcher.communicate()[0] == ""
    provider = cleaned.provider(*ANNOUNCE)
    assert (await listed(provider)).state is InstanceState.PENDING
    assert (await provider.launch(request())).state is InstanceState.PENDING
    pending = (await provider.list_instances("sdxl")).instances[0]
    assert pending.instance_id == f"intent:{ID}"
    with pytest.raises(TerminationRefused, match="just starting"):
        await provider.terminate(pending)
    assert cleaned.workers() == []
    # The child that never came to its program; it still has the launcher's words.
    words = cleaned.settings(*ANNOUNCE).model_dump_json()
    (child,) = running(words)
    os.kill(child, signal.SIGKILL)
    await until(lambda: running(words) == [])
    assert (await provider.list_instances("sdxl")).instances == ()


async def test_twenty_concurrent_launches_from_several_processes_start_one_worker(cleaned: Host) -> None:
    launchers = [run_launcher(cleaned) for _ in range(4)]
    provider = cleaned.provider(*ANNOUNCE)
    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(provider.launch, request())
    answers = [launcher.communicate()[0].strip() for launcher in launchers]
    assert set(answers) <= {"pending", "starting", "running"}
    assert len(cleaned.workers()) == 1
    await listed(provider, is_in(InstanceState.RUNNING))


async def test_a_worker_that_gave_up_the_lock_and_whose_start_was_not_noted_is_adopted(cleaned: Host) -> None:
    provider = cleaned.provider("--close-lock", *ANNOUNCE)
    first = await provider.launch(request())
    await listed(provider, is_in(InstanceState.RUNNING))
    (cleaned.worker() / "process.json").unlink()
    assert (await provider.launch(request())).instance_id == first.instance_id
    assert (cleaned.worker() / "process.json").exists()
    assert len(cleaned.workers()) == 1


@pytest.fixture
def innocent() -> "Iterator[subprocess.Popen[bytes]]":
    """A process that is not ours, leads its own group, and carries the id of a worker of another provider."""
    carried = {"EBBFLOW_WORKER_ID": ID, "EBBFLOW_FLEET": "sdxl", "EBBFLOW_HOME": "homea"}
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, process_group=0, env={**os.environ, **carried}) as process:
        yield process
        process.kill()


async def test_a_recycled_pid_is_neither_listed_as_alive_nor_signalled(
    host: Host, innocent: "subprocess.Popen[bytes]"
) -> None:
    provider = host.provider("--exit", "0")
    await provider.launch(request())
    await listed(provider, is_in(InstanceState.FAILED))
    (host.worker() / "ended.json").unlink()
    now = processes.find(innocent.pid)
    assert now is not None
    recycled = replace(now, seconds_after_boot=now.seconds_after_boot - 1)
    (host.worker() / "process.json").write_text(canonical(recycled))
    instance = await listed(provider, is_in(InstanceState.FAILED))
    await provider.terminate(instance)
    await provider.terminate(replace(instance, instance_id=f"{innocent.pid}:1"))
    assert innocent.poll() is None
    assert (await listed(provider)).state is InstanceState.GONE


async def test_a_process_of_another_boot_is_dead(host: Host) -> None:
    me = processes.find(os.getpid())
    assert me is not None
    assert processes.is_alive(me)
    assert processes.is_alive(replace(me, created_at=me.created_at + 3600)), "a stepped clock makes no other process"
    assert not processes.is_alive(replace(me, boot="another"))


async def test_a_worker_whose_first_process_exits_is_still_alive_and_is_ended(cleaned: Host) -> None:
    provider = cleaned.provider("--fork", *ANNOUNCE)
    started = await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    assert instance.instance_id == started.instance_id
    assert (await provider.launch(request())).instance_id == started.instance_id
    await provider.terminate(instance)
    assert cleaned.workers() == []
    assert (await listed(provider)).state is InstanceState.GONE


async def test_everything_that_carries_the_id_is_ended_also_what_left_the_group(host: Host) -> None:
    provider = host.provider("--fork-away", *ANNOUNCE, stop_grace_seconds=0.2)
    await provider.launch(request())
    await until(lambda: len(host.workers()) == 2)
    await provider.terminate(await listed(provider))
    assert host.workers() == []


async def test_a_group_member_without_our_environment_is_ended_with_its_group(host: Host) -> None:
    tell = host.folder / "environment"
    words = ("--fork-scrubbed", str(tell), *ANNOUNCE)
    provider = host.provider(*words, stop_grace_seconds=0.2)
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    await until(lambda: tell.exists() and len(host.workers()) == 2)
    assert "EBBFLOW" not in tell.read_text()
    await provider.terminate(instance)
    assert host.workers() == []


async def test_a_worker_that_hides_its_environment_is_known_by_its_process(host: Host) -> None:
    tell = host.folder / "environment"
    provider = host.provider("--scrub", "--close-lock", "--tell-environment", str(tell), *ANNOUNCE)
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    assert "EBBFLOW" not in tell.read_text()
    assert (await provider.launch(request())).instance_id == instance.instance_id
    await provider.terminate(instance)
    assert host.workers() == []


async def test_a_lock_without_a_visible_process_is_unknown_not_gone(host: Host) -> None:
    provider = host.provider("--exit", "0")
    await provider.launch(request())
    descriptor = os.open(host.worker() / "lock", os.O_RDWR)
    try:
        await until(lambda: processes.find(_pid(host)) is None)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert (await listed(provider)).state is InstanceState.UNKNOWN
    finally:
        os.close(descriptor)
    assert (await listed(provider)).state is InstanceState.FAILED


def _pid(host: Host) -> int:
    return int(json.loads((host.worker() / "process.json").read_text())["pid"])


async def test_workers_are_found_after_the_state_folder_was_deleted(host: Host) -> None:
    provider = host.provider(*ANNOUNCE)
    before = await provider.launch(request(home="homeb"))
    await listed(provider, is_in(InstanceState.RUNNING))
    shutil.rmtree(host.state_folder)
    after = await listed(host.provider(*ANNOUNCE))
    assert (after.instance_id, after.home, after.state) == (before.instance_id, "homeb", InstanceState.RUNNING)
    assert after.url == "http://127.0.0.1:7801"
    assert (await provider.launch(request(home="homeb"))).instance_id == before.instance_id
    shutil.rmtree(host.state_folder)
    await provider.terminate(after)
    assert host.workers() == []
    ended = await listed(provider)
    assert (ended.state, ended.home) == (InstanceState.GONE, "homeb")
    assert (await provider.launch(request(home="homeb"))).state is InstanceState.GONE


async def test_words_reach_the_worker_as_they_are(cleaned: Host) -> None:
    tell = cleaned.folder / "words"
    odd = (
        "--say",
        "a'; echo foo",
        "--say",
        "$(id) `id` * \u00fc\u4e2d\n{home}{{fleet}}",
        "--say",
        "{fleet}/{worker_id}",
    )
    provider = cleaned.provider("--tell-words", str(tell), *odd)
    await provider.launch(request(join=JoinSpec(arguments=("--say", "{worker_id}"))))
    await until(lambda: tell.exists() and bool(tell.read_text()))
    expected = ["--tell-words", str(tell), *odd[:3], "$(id) `id` * \u00fc\u4e2d\n{home}{sdxl}", "--say", f"sdxl/{ID}"]
    assert tell.read_text().split("\0") == [*expected, "--say", "{worker_id}"]


async def test_regression_a_wrapper_lost_the_dead_mans_switch_of_a_process_without_a_word(cleaned: Host) -> None:
    join = JoinSpec(arguments=("--require_control_within", "10"))
    for index, (script, is_warned) in enumerate((("exec sleep 600", True), ("exec sleep 600 # {arguments}", False))):
        provider = cleaned.provider(command=["/bin/sh", "-c", script])
        launched = await provider.launch(request(f"sdxl-3f9c-1a-{index}", join=join))
        assert ("--require_control_within 10 does not reach the worker" in launched.warning) is is_warned


async def test_the_environment_is_what_was_given_and_nothing_of_ours(
    cleaned: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    tell = cleaned.folder / "environment"
    given = {"A": "1", "B": "1", "EBBFLOW_HOME": "no"}
    # -I would hide nothing, but the interpreter may add a variable of its own.
    provider = cleaned.provider("--tell-environment", str(tell), environment=given)
    await provider.launch(request(join=JoinSpec(environment={"B": "2", "C": "3 \u00fc"})))
    await until(lambda: tell.exists() and bool(tell.read_text()))
    told = dict(entry.split("=", 1) for entry in tell.read_text().split("\0"))
    ours = {"EBBFLOW_WORKER_ID": ID, "EBBFLOW_FLEET": "sdxl", "EBBFLOW_HOME": "homea"}
    ours["EBBFLOW_PROVIDER"] = provider.caps.fingerprint
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LANG") if name in os.environ}
    told.pop("LC_CTYPE", None)
    assert told == {**inherited, "A": "1", "B": "2", "C": "3 \u00fc", **ours}


async def test_two_providers_of_one_fleet_do_not_list_each_others_workers(cleaned: Host) -> None:
    provider = cleaned.provider(*ANNOUNCE)
    other = cleaned.provider(*ANNOUNCE, state_folder=cleaned.folder / "other")
    assert provider.caps.fingerprint != other.caps.fingerprint
    await provider.launch(request())
    assert (await other.list_instances("sdxl")).instances == ()
    assert len((await provider.list_instances("sdxl")).instances) == 1


async def test_a_job_or_a_pod_on_this_host_was_listed_and_ended_as_a_local_worker(
    cleaned: Host, innocent: "subprocess.Popen[bytes]"
) -> None:
    # Names no provider, as every worker that is not started by a process of this host.
    carrier = processes.find(innocent.pid)
    assert carrier is not None
    assert [each.process for each in processes.carriers(ID) if each.process.is_same(carrier)], "it carries the id"
    provider = cleaned.provider(*ANNOUNCE)
    assert await provider.list_instances("sdxl") == InstanceList()
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    assert instance.instance_id != str(carrier)
    await provider.terminate(instance)
    assert cleaned.workers() == []
    assert innocent.poll() is None


async def test_another_hosts_records_on_a_shared_disk_are_left_alone(cleaned: Host) -> None:
    provider = cleaned.provider(*ANNOUNCE)
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    await provider.terminate(instance)
    intent = json.loads((cleaned.worker() / "intent.json").read_text())
    (cleaned.worker() / "intent.json").write_text(json.dumps({**intent, "provider": "local-elsewhere"}))
    assert (await provider.list_instances("sdxl")).instances == ()
    with pytest.raises(ConfigError, match="another host"):
        await provider.launch(request())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_text("#!/bin/sh\n"), "is not executable"),
        (lambda path: (path.write_text("#!/no/such/shell\n"), path.chmod(0o755)), "interpreter"),
        (lambda path: (path.write_text("no first line"), path.chmod(0o755)), "cannot be run"),
    ],
)
async def test_a_command_that_cannot_be_started_is_rejected_with_the_reason(
    host: Host, make: Callable[[Path], object] | None, words: str
) -> None:
    path = host.folder / "program"
    if make is not None:
        make(path)
    provider = host.provider(command=[str(path)])
    with pytest.raises(LaunchRejected) as caught:
        await provider.launch(request())
    assert str(caught.value).startswith(f"local provider could not start {ID}: command[0] {str(path)!r} ")
    assert words in str(caught.value)
    assert not host.worker().exists(), "a refused launch leaves nothing behind"
    assert (await provider.list_instances("sdxl")).instances == ()


async def test_a_program_that_is_not_on_the_path_is_rejected(host: Host) -> None:
    with pytest.raises(LaunchRejected, match="is not on the worker's PATH"):
        await host.provider(command=["no-such-program-at-all"]).launch(request())


async def test_a_value_that_no_process_can_take_is_rejected_without_quoting_it(host: Host) -> None:
    with pytest.raises(LaunchRejected) as caught:
        await host.provider().launch(request(join=JoinSpec(environment={"KEY": "secret\0"})))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "kind"), [(11, CapacityUnavailable), (12, CapacityUnavailable), (24, ProviderUnavailable)]
)
async def test_a_host_without_room_is_capacity(host: Host, number: int, kind: type[Exception]) -> None:
    def start(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with pytest.raises(kind, match=os.strerror(number)):
        await HostAdapter(LocalProgram(host.settings()), start=start).launch(request())


async def test_a_state_folder_that_cannot_be_written_is_a_configuration_error(host: Host) -> None:
    host.state_folder.write_text("a file")
    with pytest.raises(ConfigError, match="state folder"):
        await host.provider().launch(request())


async def test_an_id_that_would_leave_the_state_folder_is_refused(host: Host) -> None:
    provider = host.provider()
    with pytest.raises(LaunchRejected, match="not a worker id"):
        await provider.launch(request("../../elsewhere"))
    stray = Instance("../x", "1:1", InstanceState.STARTING, "sdxl", "homea")
    with pytest.raises(TerminationRefused, match="not a worker id"):
        await provider.terminate(stray)


async def test_garbage_on_stdout_is_a_worker_that_starts(cleaned: Host) -> None:
    provider = cleaned.provider("--say", "\x1b[0m[SwarmAutoScaleBackend]NewURL: \ufffd\x07", "--complain", "loading")
    await provider.launch(request())
    await until(lambda: (cleaned.worker() / "stderr.log").stat().st_size > 0)
    assert (await listed(provider)).state is InstanceState.STARTING


async def test_regression_ten_megabytes_of_output_lost_the_address_behind_them(cleaned: Host) -> None:
    provider = cleaned.provider("--print-mb", "10", *ANNOUNCE, "--print-mb", "3")
    await provider.launch(request())
    assert (await listed(provider, is_in(InstanceState.RUNNING))).url is not None


@pytest.mark.parametrize(
    ("words", "state", "failure", "detail"),
    [
        (
            ("--say", "hello", "--complain", "no GPU: \u00fc", "--exit", "3"),
            "failed",
            "output",
            "stderr: no GPU: \u00fc",
        ),
        (("--decline", "no GPU left", "--exit", "0"), "failed", "capacity", "declared failed: no GPU left"),
        (("--decline", "no GPU left"), "failed", "capacity", "declared failed: no GPU left"),
        (("--announce", "h:7801"), "failed", "output", "bad_url"),
        (("--retries", "three"), "failed", "output", "bad_retries"),
        (("--retries", "5", *ANNOUNCE), "running", None, "asks for 5 retries"),
        ((*ANNOUNCE, "--exit", "0"), "gone", None, "the process ended"),
        (("--exit", "0"), "failed", "output", "ended without NewURL"),
    ],
)
async def test_what_a_worker_did_decides_its_state(
    cleaned: Host, words: tuple[str, ...], state: str, failure: str | None, detail: str
) -> None:
    provider = cleaned.provider(*words)
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState(state)))
    assert instance.failure is (Failure(failure) if failure else None)
    assert detail in instance.detail
    if state == "gone" or "--exit" in words:
        assert (await provider.launch(request())).state is InstanceState(state), "an id is never used again"
    await provider.terminate(instance)
    assert (await listed(provider)).state is InstanceState.GONE


async def test_a_worker_that_was_asked_to_end_is_terminating_until_it_has(host: Host) -> None:
    provider = host.provider("--ignore-term", *ANNOUNCE, stop_grace_seconds=1.0)
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    async with anyio.create_task_group() as group:
        group.start_soon(provider.terminate, instance)
        await listed(host.provider(), is_in(InstanceState.TERMINATING))
    assert (await listed(provider)).state is InstanceState.GONE


async def test_a_worker_that_cannot_be_ended_is_refused_termination(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = host.provider(*ANNOUNCE, stop_grace_seconds=0)
    await provider.launch(request())
    instance = await listed(provider, is_in(InstanceState.RUNNING))
    # A process in uninterruptible sleep cannot be made here: the kernel's refusal is what is played.
    with monkeypatch.context() as patched:
        patched.setattr("ebbflow.adapters.providers.host.local.KILL_WAIT_SECONDS", 0.1)
        patched.setattr(os, "killpg", _refuse)
        patched.setattr(os, "kill", _refuse)
        with pytest.raises(TerminationRefused, match="still running"):
            await provider.terminate(instance)
        assert (await listed(provider)).state is InstanceState.TERMINATING
    await provider.terminate(instance)


def _refuse(*_: object) -> None:
    raise PermissionError


async def test_a_damaged_record_makes_the_listing_incomplete_and_starts_nothing(cleaned: Host) -> None:
    provider = cleaned.provider(*ANNOUNCE)
    await provider.launch(request())
    await listed(provider, is_in(InstanceState.RUNNING))
    (cleaned.worker() / "process.json").write_text("{")
    listing = await provider.list_instances("sdxl")
    assert not listing.complete
    assert "cannot read" in listing.detail
    assert [each.worker_id for each in listing.instances] == [ID], "its environment still shows it"
    (cleaned.worker() / "lock").unlink()
    with pytest.raises(ProviderUnavailable):
        await provider.launch(request())
    assert len(cleaned.workers()) == 1
    await provider.terminate(listing.instances[0])


NO_PROCESSES = {
    "a negative pid": '{"pid":-1,"created_at":1.0,"seconds_after_boot":1.0,"boot":"b"}',
    "pid 0": '{"pid":0,"created_at":1.0,"seconds_after_boot":1.0,"boot":"b"}',
    "a huge pid": f'{{"pid":{10**30},"created_at":1.0,"seconds_after_boot":1.0,"boot":"b"}}',
    "a time without end": '{"pid":7,"created_at":1e400,"seconds_after_boot":1.0,"boot":"b"}',
    "a huge time": f'{{"pid":7,"created_at":{10**400},"seconds_after_boot":1.0,"boot":"b"}}',
    "no number": '{"pid":7,"created_at":NaN,"seconds_after_boot":1.0,"boot":"b"}',
    "deep nesting": "[" * 50_000,
    "a long file": "[" + "1," * 100_000 + "1]",
}


@pytest.mark.parametrize("what", [*NO_PROCESSES, "a pipe"])
async def test_regression_a_damaged_process_file_raised_or_hung_the_listing(cleaned: Host, what: str) -> None:
    provider = cleaned.provider(*ANNOUNCE)
    await provider.launch(request())
    await listed(provider, is_in(InstanceState.RUNNING))
    path = cleaned.worker() / "process.json"
    path.unlink()
    if what == "a pipe":
        os.mkfifo(path)
    else:
        path.write_text(NO_PROCESSES[what])
    with anyio.fail_after(10):
        listing = await provider.list_instances("sdxl")
    assert not listing.complete
    assert "cannot read" in listing.detail
    await provider.terminate(listing.instances[0])


async def test_what_ended_long_ago_is_forgotten_at_a_later_launch(cleaned: Host) -> None:
    now = time.time()
    provider = cleaned.provider("--exit", "0", clock=lambda: now)
    await provider.launch(request())
    await listed(provider, is_in(InstanceState.FAILED))
    for hours, is_kept in ((23, True), (25, False)):
        later = now + hours * 3600
        await cleaned.provider(*ANNOUNCE, clock=partial(float, later)).launch(request(f"sdxl-3f9c-1a-{hours}"))
        assert cleaned.worker().exists() is is_kept
    assert len(cleaned.workers()) == 2


async def test_a_listing_of_a_name_that_is_no_fleet_is_a_mistake_of_ours(host: Host) -> None:
    with pytest.raises(ConfigError, match="fleet name"):
        await host.provider().list_instances("../sdxl")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": []}, "at least 1 item"),
        ({"command": ["./worker.sh"]}, "absolute path"),
        ({"command": [""]}, "absolute path"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"environment": {"A=B": ""}}, "no usable name"),
        ({"stop_grace_seconds": -1}, "greater than or equal to 0"),
        ({"state_folder": "~nobody-of-this-name/x"}, "home"),
        ({"shell": True}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object], words: str) -> None:
    plain = {"command": ["worker"], "state_folder": "/tmp", **change}
    with pytest.raises(ValidationError, match=words):
        LocalSettings.model_validate(plain)


def test_settings_keep_the_environment_out_of_sight_and_their_bounds_in_the_schema() -> None:
    settings = LocalSettings(command=["worker"], state_folder=Path("~/x"), environment={"KEY": "secret"})
    assert "secret" not in repr(settings)
    assert settings.state_folder == Path.home() / "x"
    with pytest.raises(ValidationError) as caught:
        LocalSettings(command=["worker"], state_folder=Path("/tmp"), environment={"KEY": "secret\0"})
    assert "secret" not in str(caught.value)
    grace = LocalSettings.model_json_schema()["properties"]["stop_grace_seconds"]
    assert (grace["minimum"], grace["maximum"], grace["title"]) == (0, 120, "Stop grace")
