"""Workers that a script starts: launched once, read by the protocol, followed over flow runs, ended in steps."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest
from pydantic import ValidationError

from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.launch_script import LaunchScriptProgram
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.contracts.provider import BreakBackend, MakeProvider, ProviderContract
from ebbflow.core.errors import LaunchRejected, TerminationRefused
from ebbflow.core.instance import Failure, Instance, InstanceState, JoinSpec, LaunchRequest

HERE = Path(__file__).parent
ID, OTHER_ID = "sdxl-3f9c-1a-0", "sdxl-3f9c-1a-1"
URL = "http://127.0.0.1:7801"
START, END = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"
DEADLINE_SECONDS = 60.0
ANNOUNCE = f'echo "{START}NewURL: {URL}/$EBBFLOW_WORKER_ID{END}"'
STAY = "exec sleep 600"

RUNNING, FAILED, GONE = InstanceState.RUNNING, InstanceState.FAILED, InstanceState.GONE
STARTING, TERMINATING = InstanceState.STARTING, InstanceState.TERMINATING

pytestmark = pytest.mark.anyio


class Host:
    """A folder for scripts and one for state, with paths that are hard to write down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "it's \u00fc; echo"
        self.folder.mkdir()
        self.state_folder = folder / "a'; echo foo $HOME \u4e2d"

    def script(self, *lines: str, name: str = "launch.sh", first: str = "#!/bin/bash") -> Path:
        path = self.folder / name
        path.write_text("\n".join((first, *lines, "")), encoding="utf-8")
        path.chmod(0o755)
        return path

    def settings(self, *lines: str, **more: object) -> LaunchScriptSettings:
        if lines:
            self.script(*lines)
        plain = {"script": self.folder / "launch.sh", "state_folder": self.state_folder, "shutdown_wait_seconds": 0}
        return LaunchScriptSettings.model_validate({**plain, **more})

    def provider(self, *lines: str, **more: object) -> HostAdapter:
        return HostAdapter(LaunchScriptProgram(self.settings(*lines, **more)))

    def worker(self, worker_id: str = ID) -> Path:
        return self.state_folder / "sdxl" / worker_id

    def left(self) -> list[psutil.Process]:
        """Live processes that name or use our folders."""
        marks = (str(self.folder), str(self.state_folder))
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                told = "\0".join([*process.cmdline(), process.cwd(), *_outputs(process.pid)])
                if any(mark in told for mark in marks):
                    found.append(process)
        return found

    def runs(self, program: str) -> list[psutil.Process]:
        """Those of `left` that have a program in their command line; who ends while it is looked at runs nothing."""
        found = []
        for process in self.left():
            with suppress(psutil.NoSuchProcess):
                if program in " ".join(process.cmdline()):
                    found.append(process)
        return found


def _outputs(pid: int) -> list[str]:
    paths = []
    for number in (1, 2):
        with suppress(OSError):
            paths.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return paths


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host's folders; fails the test that leaves a process behind."""
    host = Host(tmp_path)
    yield host
    left = [(process, process.cmdline()) for process in host.left()]
    for process, _ in left:
        process.kill()
    assert left == [], "the test left processes behind"


@pytest.fixture
async def cleaned(host: Host) -> AsyncIterator[Host]:
    """A host whose workers are ended after the test, by the provider itself."""
    yield host
    launchers = host.runs("launch_script_launcher.py")
    for process in launchers:
        process.kill()
    # One that still dies still holds its lock.
    _, alive = await anyio.to_thread.run_sync(partial(psutil.wait_procs, launchers, timeout=DEADLINE_SECONDS))
    assert alive == []
    provider = host.provider(kill_grace_seconds=0, stop_script=None)
    for instance in (await provider.list_instances("sdxl")).instances:
        await ended(provider, instance)


def request(worker_id: str = ID, *, fleet: str = "sdxl", join: JoinSpec | None = None) -> LaunchRequest:
    return LaunchRequest(worker_id, fleet, "homea", join or JoinSpec())


async def listed(provider: HostAdapter, *states: InstanceState, worker_id: str = ID, fleet: str = "sdxl") -> Instance:
    """The worker's row once it is in one of these states."""
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while True:
        listing = await provider.list_instances(fleet)
        for instance in listing.instances:
            if instance.worker_id == worker_id and (not states or instance.state in states):
                return instance
        assert anyio.current_time() < deadline, listing
        await anyio.sleep(0.01)


async def until(is_so: Callable[[], bool]) -> None:
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while not is_so():
        assert anyio.current_time() < deadline
        await anyio.sleep(0.01)


async def ended(provider: HostAdapter, instance: Instance) -> Instance:
    """Terminate as turns do, again and again, until it is gone."""
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while True:
        await provider.terminate(instance)
        rows = (await provider.list_instances(instance.fleet)).instances
        found = next(row for row in rows if row.worker_id == instance.worker_id)
        if found.state is GONE:
            return found
        assert found.state is TERMINATING, found
        assert anyio.current_time() < deadline, found


async def launched(provider: HostAdapter, *states: InstanceState) -> Instance:
    await provider.launch(request())
    return await listed(provider, *states)


class TestLaunchScriptProvider(ProviderContract):
    @pytest.fixture
    def make_provider(self, host: Host) -> MakeProvider:
        return lambda: host.provider(ANNOUNCE, STAY)

    @pytest.fixture
    def break_backend(self, host: Host) -> BreakBackend:
        def put_a_file_in_place_of_the_folder() -> None:
            shutil.rmtree(host.state_folder, ignore_errors=True)
            host.state_folder.touch()

        return put_a_file_in_place_of_the_folder


class TestWorkersThatLiveAsLongAsTheirScript(TestLaunchScriptProvider):
    @pytest.fixture
    def make_provider(self, host: Host) -> MakeProvider:
        stop = host.script("exit 0", name="stop.sh")
        return lambda: host.provider(ANNOUNCE, STAY, lives_while="script", stop_script=stop)


# What is done by a script of one or two lines, and what becomes of it: state, failure, words.
SAYINGS: list[tuple[str, tuple[str, ...], InstanceState, Failure | None, str]] = [
    ("announces and stays", (ANNOUNCE, STAY), RUNNING, None, ""),
    ("announces and exits", (ANNOUNCE, "exit 1"), RUNNING, None, ""),
    ("announces twice", (f'echo "{START}NewURL: {URL}{END}"', ANNOUNCE, STAY), RUNNING, None, ""),
    ("asks for retries", (f"echo '{START}DoRetries: 5{END}'", ANNOUNCE, STAY), RUNNING, None, "asks for 5 retries"),
    ("declares failure", (f"echo '{START}DeclareFailed: no GPU left{END}'",), FAILED, Failure.CAPACITY, "no GPU left"),
    ("declares failure and stays", (f"echo '{START}DeclareFailed:{END}'", STAY), FAILED, Failure.CAPACITY, "no reason"),
    ("prints nothing", ("true",), FAILED, Failure.OUTPUT, "ended: the output ended without NewURL"),
    ("prints garbage", ("head -c 3000 /dev/urandom",), FAILED, Failure.OUTPUT, "ended: the output ended"),
    ("announces nothing", (f"echo '{START}NewURL: {END}'",), FAILED, Failure.OUTPUT, "ended: the output ended"),
    ("announces no URL", (f"echo '{START}NewURL: node7:7801{END}'", STAY), FAILED, Failure.OUTPUT, "bad_url: NewURL"),
    ("asks for no number", (f"echo '{START}DoRetries: three{END}'", STAY), FAILED, Failure.OUTPUT, "bad_retries: "),
    ("fails", ("echo no such partition >&2", "exit 3"), FAILED, Failure.OUTPUT, "stderr: no such partition"),
    ("never ends", (STAY,), FAILED, Failure.TIMEOUT, "timeout: no NewURL within 1 s"),
    ("announces without a line end", (f'printf "{START}NewURL: {URL}{END}"',), RUNNING, None, ""),
    ("announces after a carriage return", (f'printf "50%%\\r{START}NewURL: {URL}{END}\\r"', STAY), RUNNING, None, ""),
    (
        "announces in pieces",
        (f'printf "{START}New"; sleep .1; printf "URL: {URL}{END}"; echo', STAY),
        RUNNING,
        None,
        "",
    ),
    ("announces on stderr", (f"{ANNOUNCE} >&2",), FAILED, Failure.OUTPUT, "ended: "),
]


@pytest.mark.parametrize(
    ("lines", "state", "failure", "words"), [row[1:] for row in SAYINGS], ids=[r[0] for r in SAYINGS]
)
async def test_what_a_script_says_decides_its_state(
    cleaned: Host, lines: tuple[str, ...], state: InstanceState, failure: Failure | None, words: str
) -> None:
    provider = cleaned.provider(*lines, url_timeout_seconds=1, kill_grace_seconds=0)
    instance = await launched(provider, state)
    assert instance.failure is failure
    assert words in instance.detail
    assert bool(instance.url) is (state is RUNNING)
    assert instance.retries == (5 if "retries" in words and state is RUNNING else None)
    assert (await provider.launch(request())).state is state, "an id is never used again"
    assert (await ended(provider, instance)).detail == "terminated"
    assert cleaned.left() == []


async def test_a_warning_about_what_a_script_printed_holds_no_secret_of_its_block(
    cleaned: Host, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "sk-1f0a9c37de5b48"
    provider = cleaned.provider(
        f'echo "$API_KEY {START}NewURL: {URL}{END}"', ANNOUNCE, STAY, secret_environment={"API_KEY": secret}
    )
    await launched(provider, RUNNING)
    (said,) = [each.getMessage() for each in caplog.records if each.name.endswith("launch_script_verdicts")]
    assert said.startswith(f"launch script of worker={ID}: a line holds {START}, is not one whole message")
    assert "'*** [Swarm" in said
    assert secret not in caplog.text


async def test_the_exit_code_is_told_where_the_launching_process_saw_it(cleaned: Host) -> None:
    provider = cleaned.provider("exit 3")
    assert (await launched(provider, FAILED)).detail.endswith("; exit code 3")
    later = cleaned.provider()
    assert (await listed(later)).detail.endswith("; exit code 3")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_text("#!/bin/sh\n"), "is not executable"),
        (lambda path: (path.write_text("#!/no/such/shell\n"), path.chmod(0o755)), "interpreter"),
        (lambda path: (path.write_text("echo hello"), path.chmod(0o755)), "cannot be run"),
    ],
)
async def test_a_script_that_cannot_be_started_is_rejected_with_the_reason(
    host: Host, make: Callable[[Path], object] | None, words: str
) -> None:
    path = host.folder / "launch.sh"
    if make is not None:
        make(path)
    with pytest.raises(LaunchRejected) as caught:
        await host.provider().launch(request())
    assert str(caught.value).startswith(f"launch script provider could not start {ID}: script {str(path)!r} ")
    assert words in str(caught.value)
    assert not host.worker().exists(), "a refused launch leaves nothing behind"


async def test_a_script_gets_no_arguments_its_own_folder_no_input_and_only_the_given_environment(
    cleaned: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    lines = ('cat > input; echo "$#" > arguments; pwd > folder; env -0 > environment; echo $$ > pid', ANNOUNCE, STAY)
    provider = cleaned.provider(*lines, environment={"A": "1", "EBBFLOW_FLEET": "no"})
    await provider.launch(request(join=JoinSpec(environment={"B": "2"}, arguments=("--require_control_within", "10"))))
    await listed(provider, RUNNING)
    read = {name: (cleaned.folder / name).read_text() for name in ("input", "arguments", "folder", "pid")}
    assert (read["input"], read["arguments"], read["folder"]) == ("", "0\n", f"{cleaned.folder}\n")
    assert os.getpgid(int(read["pid"])) == int(read["pid"])
    entries = (cleaned.folder / "environment").read_text().split("\0")
    told = {name: value for name, _, value in (entry.partition("=") for entry in entries) if name}
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LANG") if name in os.environ}
    ours = {"EBBFLOW_WORKER_ID": ID, "EBBFLOW_FLEET": "sdxl", "EBBFLOW_HOME": "homea"}
    ours |= {"EBBFLOW_PROVIDER": provider.caps.fingerprint, "EBBFLOW_ARGUMENTS": "--require_control_within 10"}
    of_bash = {name: told[name] for name in ("PWD", "SHLVL", "_", "OLDPWD") if name in told}
    assert told == inherited | {"A": "1", "B": "2"} | ours | of_bash


async def test_ten_megabytes_before_the_address_block_nothing_and_are_searched_up_to_the_limit(cleaned: Host) -> None:
    flood = "head -c 10485760 /dev/zero | tr '\\0' x; echo; head -c 200000 /dev/zero >&2; echo >&2 flooded"
    patient = cleaned.provider(flood, ANNOUNCE, "touch done", STAY, max_log_bytes=16 * 1024**2)
    instance = await launched(patient, RUNNING)
    await until((cleaned.folder / "done").exists)
    await ended(patient, instance)
    hasty = cleaned.provider(url_timeout_seconds=1, max_log_bytes=8 * 1024**2)
    await hasty.launch(request(OTHER_ID))
    failed = await listed(hasty, FAILED, worker_id=OTHER_ID)
    assert (failed.failure, failed.detail) == (
        Failure.TIMEOUT,
        "timeout: no NewURL within 1 s in the first 8388608 bytes of its output; last line of stderr: "
        + failed.detail.partition("stderr: ")[2],
    )


async def test_the_address_of_a_background_child_is_waited_for_also_when_it_left_the_group(cleaned: Host) -> None:
    for number, way in enumerate(("", "setsid", "setsid env -i EBBFLOW_WORKER_ID_=x", "env -i")):
        inner = f"sleep .4; echo '{START}NewURL: {URL}/{number}{END}'; exec sleep 600"
        provider = cleaned.provider(f"{way} bash -c {shlex.quote(inner)} &", "exit 0")
        await provider.launch(request(f"sdxl-3f9c-1a-{number}"))
        await anyio.sleep(0.1)
        row = await listed(provider, worker_id=f"sdxl-3f9c-1a-{number}")
        assert row.state is STARTING, way
        running = await listed(provider, RUNNING, worker_id=row.worker_id)
        assert running.url == f"{URL}/{number}"
        await ended(provider, running)
        assert cleaned.left() == [], way


async def test_a_child_that_left_the_group_and_never_announces_is_bounded_by_the_timeout(cleaned: Host) -> None:
    provider = cleaned.provider("setsid sleep 600 &", "exit 0", url_timeout_seconds=1)
    instance = await launched(provider, FAILED)
    assert instance.failure is Failure.TIMEOUT
    await ended(provider, instance)
    assert cleaned.left() == []


async def test_a_late_address_changes_nothing(cleaned: Host) -> None:
    provider = cleaned.provider("sleep 1.3", ANNOUNCE, STAY, url_timeout_seconds=1)
    await launched(provider, FAILED)
    await until(lambda: (cleaned.worker() / "stdout.log").stat().st_size > 0)
    assert (await listed(provider)).failure is Failure.TIMEOUT


@contextmanager
def reading(path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen(["tail", "-f", str(path)], stdout=subprocess.DEVNULL) as reader:
        yield reader
        reader.kill()


async def test_a_reader_of_the_log_is_neither_taken_for_the_worker_nor_signalled(cleaned: Host) -> None:
    provider = cleaned.provider(ANNOUNCE, STAY, lives_while="script")
    instance = await launched(provider, RUNNING)
    with reading(cleaned.worker() / "stdout.log") as reader:
        await ended(provider, instance)
        assert reader.poll() is None


@pytest.mark.parametrize("lives_while", ["url", "script"])
async def test_what_the_end_of_a_script_means_is_a_setting(cleaned: Host, lives_while: str) -> None:
    provider = cleaned.provider(ANNOUNCE, "sleep .2", lives_while=lives_while)
    await launched(provider, RUNNING)
    await until(lambda: cleaned.left() == [])
    shown = await listed(provider)
    if lives_while == "url":
        assert (shown.state, shown.url) == (RUNNING, f"{URL}/{ID}")
        assert (await listed(cleaned.provider())) == shown, "a later run sees it too"
        await ended(provider, shown)
    else:
        assert (shown.state, shown.detail) == (GONE, "the script ended")


async def test_a_worker_that_lives_elsewhere_is_not_forgotten_however_old_it_gets(cleaned: Host) -> None:
    provider = cleaned.provider(ANNOUNCE)
    await launched(provider, RUNNING)
    await until(lambda: cleaned.left() == [])
    later = HostAdapter(LaunchScriptProgram(cleaned.settings()), clock=lambda: time.time() + 30 * 86_400)
    await later.launch(request(OTHER_ID))
    assert (await listed(later)).state is RUNNING


async def test_an_address_that_another_live_worker_has_is_refused_until_that_one_has_ended(cleaned: Host) -> None:
    provider = cleaned.provider(f'echo "{START}NewURL: {URL}{END}"', STAY)
    first = await launched(provider, RUNNING)
    cleaned.script(f'echo "{START}NewURL: HTTP://127.0.0.1:7801/{END}"', STAY)
    for fleet, worker_id in (("sdxl", OTHER_ID), ("flux", "flux-3f9c-1a-0")):
        await provider.launch(request(worker_id, fleet=fleet))
        second = await listed(provider, FAILED, worker_id=worker_id, fleet=fleet)
        assert second.failure is Failure.OUTPUT
        assert second.detail == f"bad_url: NewURL HTTP://127.0.0.1:7801/: {ID} has that address"
        await ended(provider, second)
    assert (await listed(provider)).state is RUNNING
    await ended(provider, first)
    await provider.launch(request("sdxl-3f9c-1a-2"))
    await listed(provider, RUNNING, worker_id="sdxl-3f9c-1a-2")


async def test_workers_are_found_after_the_state_folder_was_deleted(host: Host) -> None:
    provider = host.provider(ANNOUNCE, STAY)
    before = await launched(provider, RUNNING)
    shutil.rmtree(host.state_folder)
    after = await listed(host.provider())
    assert (after.instance_id, after.home, after.url) == (before.instance_id, "homea", before.url)
    assert (await ended(provider, after)).home == "homea"
    assert host.left() == []


def run_launcher(host: Host, dies: str, *lines: str) -> "subprocess.Popen[str]":
    settings = host.settings(*(lines or (ANNOUNCE, STAY))).model_dump_json()
    return subprocess.Popen(
        [sys.executable, str(HERE / "launch_script_launcher.py"), settings, ID, dies], stdout=subprocess.PIPE, text=True
    )


async def test_a_launcher_killed_before_the_start_leaves_a_wish_that_is_launched_again(cleaned: Host) -> None:
    assert run_launcher(cleaned, "before-start").communicate()[0] == ""
    assert (cleaned.worker() / "intent.json").exists()
    provider = cleaned.provider()
    listing = await provider.list_instances("sdxl")
    assert (listing.instances, listing.complete) == ((), True)
    await launched(provider, RUNNING)


async def test_a_launcher_killed_after_the_start_leaves_one_worker_that_is_adopted(cleaned: Host) -> None:
    assert run_launcher(cleaned, "after-start").communicate()[0] == ""
    assert not (cleaned.worker() / "process.json").exists()
    provider = cleaned.provider()
    instance = await listed(provider, RUNNING)
    assert (await provider.launch(request())).instance_id == instance.instance_id
    assert len(cleaned.left()) == 1


async def test_a_launcher_killed_after_the_start_of_a_script_that_has_exited_launches_no_second(cleaned: Host) -> None:
    assert run_launcher(cleaned, "after-start", ANNOUNCE, "echo started >> starts").communicate()[0] == ""
    await until(lambda: cleaned.left() == [])
    provider = cleaned.provider()
    assert (await listed(provider)).state is RUNNING
    assert (await provider.launch(request())).state is RUNNING
    assert (cleaned.folder / "starts").read_text() == "started\n"


async def test_a_launcher_killed_between_fork_and_exec_is_not_launched_beside(cleaned: Host) -> None:
    assert run_launcher(cleaned, "between-fork-and-exec").communicate()[0] == ""
    provider = cleaned.provider()
    assert (await listed(provider)).state is InstanceState.PENDING
    assert (await provider.launch(request())).state is InstanceState.PENDING
    with pytest.raises(TerminationRefused, match="just starting"):
        await provider.terminate(await listed(provider))


async def test_concurrent_launches_from_several_processes_run_the_script_once(cleaned: Host) -> None:
    launchers = [run_launcher(cleaned, "", "echo started >> starts", ANNOUNCE, STAY) for _ in range(3)]
    provider = cleaned.provider()
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(provider.launch, request())
    answers = {launcher.communicate()[0].strip() for launcher in launchers}
    assert answers <= {"pending", "starting", "running"}
    await listed(provider, RUNNING)
    assert (cleaned.folder / "starts").read_text() == "started\n"


async def test_a_worker_that_was_asked_to_shut_down_gets_time_to_end_by_itself(host: Host) -> None:
    lines = ("trap 'echo term > term; exit' TERM", ANNOUNCE, "until [ -e down ]; do sleep .05; done")
    provider = host.provider(*lines, shutdown_wait_seconds=60)
    instance = await launched(provider, RUNNING)
    async with anyio.create_task_group() as group:
        group.start_soon(provider.terminate, instance)
        assert (await listed(host.provider(), TERMINATING)).url == instance.url
        (host.folder / "down").touch()
    assert (await listed(provider)).state is GONE
    assert not (host.folder / "term").exists(), "it was not signalled"


ELSEWHERE = (
    'server=\'import socket, time; s = socket.create_server(("127.0.0.1", 0)); '
    "print(s.getsockname()[1], flush=True); time.sleep(600)'",
    'env -i setsid python3 -c "$server" > port 2> /dev/null < /dev/null & echo $! > pid',
    "until [ -s port ]; do sleep .02; done",
    f'echo "{START}NewURL: http://127.0.0.1:$(cat port){END}"',
)
"""A launcher that ends at once, and whose worker shows nothing of it, as on another machine."""


async def lives_elsewhere(host: Host, **more: object) -> tuple[HostAdapter, Instance, psutil.Process]:
    """A worker whose launcher has ended, and its process."""
    provider = host.provider(*ELSEWHERE, **more)
    instance = await launched(provider, RUNNING)
    worker = psutil.Process(int((host.folder / "pid").read_text()))
    await until(lambda: not processes.carriers(ID))
    return provider, instance, worker


async def test_regression_a_worker_whose_launcher_had_ended_got_no_time_to_end(
    cleaned: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbflow.adapters.providers.host.launch_script.TERMINATE_WAIT_SECONDS", 0.1)
    stop = cleaned.script('kill "$(cat pid)"; touch stopped', name="stop.sh")
    provider, instance, worker = await lives_elsewhere(cleaned, stop_script=stop, shutdown_wait_seconds=1)
    began = anyio.current_time()
    while not (cleaned.folder / "stopped").exists():
        await provider.terminate(instance)
        assert worker.is_running() or anyio.current_time() - began >= 1
    assert anyio.current_time() - began >= 1, "it was asked to end, and had its time"
    await ended(provider, instance)


async def test_regression_a_worker_whose_launcher_had_ended_was_called_gone_while_it_answered(cleaned: Host) -> None:
    provider, instance, worker = await lives_elsewhere(cleaned)
    for _ in range(2):
        with pytest.raises(TerminationRefused, match=r"still answers; end it where it runs, and give .* `stop_script`"):
            await provider.terminate(instance)
        assert (await listed(provider)).state is TERMINATING
    worker.kill()
    await until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert (await ended(provider, instance)).state is GONE


async def test_the_word_of_a_stop_script_is_taken_after_the_grace_though_the_address_still_answers(
    cleaned: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbflow.adapters.providers.host.launch_script.TERMINATE_WAIT_SECONDS", 0.1)
    stop = cleaned.script("touch stopped", name="stop.sh")
    provider, instance, worker = await lives_elsewhere(cleaned, stop_script=stop, kill_grace_seconds=1)
    began = anyio.current_time()
    await ended(provider, instance)
    assert anyio.current_time() - began >= 1, "what the script has signalled may take so long to end"
    assert (cleaned.folder / "stopped").exists()
    assert worker.is_running(), "so that it was the script's word, and not the address"
    worker.kill()


async def test_waits_that_are_longer_than_a_call_are_gone_on_with_by_the_next(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbflow.adapters.providers.host.launch_script.TERMINATE_WAIT_SECONDS", 0.1)
    stop = host.script("sleep .3; echo stopped >> stopped", name="stop.sh")
    lines = ("trap '' TERM", ANNOUNCE, "while true; do sleep .1; done")
    more = {"shutdown_wait_seconds": 0.4, "kill_grace_seconds": 0.4, "stop_script": stop}
    instance = await launched(host.provider(*lines, **more), RUNNING)
    calls, began = 0, anyio.current_time()
    while (await listed(host.provider(**more))).state is not GONE:
        call_began = anyio.current_time()
        await host.provider(**more).terminate(instance)  # each call by another flow run
        assert anyio.current_time() - call_began < 2
        calls += 1
    assert calls > 3
    assert anyio.current_time() - began > 1.1
    assert (host.folder / "stopped").read_text() == "stopped\n"


async def test_the_stop_script_gets_the_worker_id_and_the_url_before_the_group_is_ended(cleaned: Host) -> None:
    lines = ("trap 'echo term >> order; exit' TERM", ANNOUNCE, "while true; do sleep .05; done")
    stop = cleaned.script(
        'printf "%s|" "$@" > arguments; env -0 > environment; echo noise; sleep .2; echo stop >> order', name="stop.sh"
    )
    provider = cleaned.provider(*lines, stop_script=stop, environment={"A": "1"})
    await ended(provider, await launched(provider, RUNNING))
    assert (cleaned.folder / "arguments").read_text() == f"{ID}|{URL}/{ID}|"
    assert (cleaned.folder / "order").read_text() == "stop\nterm\n"
    told = (cleaned.folder / "environment").read_text().split("\0")
    assert {"A=1", f"EBBFLOW_WORKER_ID={ID}", "EBBFLOW_FLEET=sdxl"} <= set(told)
    assert (cleaned.worker() / "stop.log").read_text() == "noise\n"


async def test_a_launch_that_failed_is_stopped_too_without_a_url_that_is_another_workers(cleaned: Host) -> None:
    stop = cleaned.script('printf "%s|" "$@" >> arguments', name="stop.sh")
    provider = cleaned.provider(f"echo '{START}NewURL: {URL}{END}'", stop_script=stop)
    await launched(provider, RUNNING)
    await provider.launch(request(OTHER_ID))
    await ended(provider, await listed(provider, FAILED, worker_id=OTHER_ID))
    assert (cleaned.folder / "arguments").read_text() == f"{OTHER_ID}||"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("echo 'no route to node7'", "exit 4"), "ended with 4; it said last: no route to node7"),
        (("sleep 600",), "took longer than 0.3 s and was killed"),
        (None, "could not be started: No such file or directory"),
    ],
)
async def test_a_worker_whose_stop_script_failed_is_not_gone_and_is_stopped_again(
    cleaned: Host, lines: tuple[str, ...] | None, words: str
) -> None:
    stop = cleaned.script(*lines, name="stop.sh") if lines else cleaned.folder / "stop.sh"
    provider = cleaned.provider(ANNOUNCE, STAY, stop_script=stop, stop_timeout_seconds=0.3)
    instance = await launched(provider, RUNNING)
    for _ in range(2):
        with pytest.raises(TerminationRefused) as refused:
            await provider.terminate(instance)
        assert words in str(refused.value)
        assert (await listed(provider)).state is TERMINATING
    cleaned.script("exit 0", name="stop.sh")
    await ended(provider, instance)


async def test_a_stop_script_whose_caller_and_runner_were_killed_is_waited_for_and_not_run_beside(
    cleaned: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbflow.adapters.providers.host.launch_script.TERMINATE_WAIT_SECONDS", 0.05)
    stop = cleaned.script("echo started >> starts; until [ -e go ]; do sleep .02; done", name="stop.sh")
    provider = cleaned.provider(ANNOUNCE, stop_script=stop)
    instance = await launched(provider, RUNNING)
    await provider.terminate(instance)
    await until((cleaned.folder / "starts").exists)
    (runner,) = cleaned.runs("stop_runner.py")
    runner.kill()
    for _ in range(3):
        await provider.terminate(instance)
    assert (cleaned.folder / "starts").read_text() == "started\n"
    (cleaned.folder / "go").touch()
    await ended(provider, instance)
    assert (cleaned.folder / "starts").read_text() == "started\nstarted\n", "nobody saw how the first one ended"


async def test_a_script_that_ends_by_itself_is_stopped_elsewhere_before_it_is_gone(cleaned: Host) -> None:
    stop = cleaned.script("touch stopped", name="stop.sh")
    provider = cleaned.provider(ANNOUNCE, stop_script=stop, lives_while="script")
    instance = await launched(provider, TERMINATING)
    assert instance.detail == "the script ended; its stop script is still to run"
    await ended(provider, instance)
    assert (cleaned.folder / "stopped").exists()


async def test_a_script_that_declared_failure_is_left_alone_for_the_grace(host: Host) -> None:
    lines = ("trap 'touch term' TERM", f"echo '{START}DeclareFailed: full{END}'", "sleep .4; touch undone")
    provider = host.provider(*lines, kill_grace_seconds=30)
    await ended(provider, await launched(provider, FAILED))
    assert (host.folder / "undone").exists()
    assert not (host.folder / "term").exists()


async def test_what_ignores_sigterm_is_killed_after_the_grace(host: Host) -> None:
    provider = host.provider(
        "trap '' TERM", "sleep 600 & wait; sleep 600", url_timeout_seconds=1, kill_grace_seconds=0.2
    )
    await ended(provider, await launched(provider, FAILED))
    assert host.left() == []


async def test_a_worker_of_another_boot_is_judged_by_where_it_lives(cleaned: Host) -> None:
    provider = cleaned.provider(ANNOUNCE, STAY)
    first = await launched(provider, RUNNING)
    record = cleaned.worker() / "process.json"
    written = record.read_text()
    (pid,) = [process.pid for process in cleaned.left()]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: cleaned.left() == [])
    record.write_text(json.dumps({**json.loads(written), "boot": "another"}))
    assert (await listed(provider)).state is RUNNING
    assert (await listed(cleaned.provider(lives_while="script"))).state is GONE
    assert (await listed(provider)).state is GONE, "an end is not taken back"
    await provider.terminate(first)


async def test_damaged_records_make_the_listing_incomplete(cleaned: Host) -> None:
    provider = cleaned.provider(ANNOUNCE, STAY)
    instance = await launched(provider, RUNNING)
    for name in ("verdict.json", "process.json"):
        kept = (cleaned.worker() / name).read_text()
        (cleaned.worker() / name).write_text('{"outcome":"nonsense","text":""}')
        listing = await provider.list_instances("sdxl")
        assert not listing.complete
        assert "cannot read" in listing.detail
        (cleaned.worker() / name).write_text(kept)
    assert (await listed(provider)) == instance


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"script": "launch.sh"}, "absolute path"),
        ({"stop_script": "./stop.sh"}, "absolute path"),
        ({"environment": {"A=B": ""}}, "no usable name"),
        ({"url_timeout_seconds": 0}, "greater than or equal to 1"),
        ({"lives_while": "job"}, "'url' or 'script'"),
        ({"shell": True}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object], words: str) -> None:
    plain = {"script": "/opt/launch.sh", "state_folder": "/tmp", **change}
    with pytest.raises(ValidationError, match=words):
        LaunchScriptSettings.model_validate(plain)


def test_settings_keep_their_bounds_in_the_schema_and_the_environment_out_of_sight() -> None:
    settings = LaunchScriptSettings(script=Path("/x"), state_folder=Path("~/x"), environment={"KEY": "secret"})
    assert "secret" not in repr(settings)
    assert settings.state_folder == Path.home() / "x"
    properties = LaunchScriptSettings.model_json_schema()["properties"]
    assert (properties["kill_grace_seconds"]["minimum"], properties["kill_grace_seconds"]["maximum"]) == (0, 600)
    assert all(each["title"] and each["description"] for each in properties.values())
