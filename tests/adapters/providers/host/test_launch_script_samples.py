"""The launch scripts that we ship, and the one of SwarmUI's documentation, with stand-ins for what this host lacks."""

import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.launch_script import LaunchScriptProgram
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.core.errors import RegistrationRejected, TerminationRefused
from ebbflow.core.instance import Failure, Instance, InstanceState, LaunchRequest
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.worker import Worker
from ebbflow.standins.process import free_port, swarmui_master

SAMPLES = Path(__file__).parents[4] / "deployments" / "launch-scripts"
ID = "sdxl-3f9c-1a-0"
DEADLINE_SECONDS = 120.0
ENDING_SECONDS = 10.0
"""That what was told to end may take on a loaded machine."""
START, END = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"

pytestmark = pytest.mark.anyio

# What a SwarmUI install has: takes SwarmUI's own options, and is the stand-in worker.
LAUNCH_LINUX = f"""#!/bin/bash
words=()
while (($#)); do
    case $1 in --launch_mode | --host) ;; *) words+=("$1" "$2") ;; esac
    shift 2
done
[[ " ${{words[*]}} " == *" --no_persist true --lock_settings true --require_control_within "* ]] || exit 9
[[ -e $(dirname "$0")/broken ]] && {{ echo "CUDA not found" >&2; exit 1; }}
exec {shlex.quote(sys.executable)} -m ebbflow.standins.swarmui.server worker --never_announce "${{words[@]}}"
"""

# As with the real ones, a job or container is known as soon as its command has returned.
UNTIL_KNOWN = "until kill -0 -- -$! 2>/dev/null || ! kill -0 $! 2>/dev/null; do sleep .01; done"

# A job, container or login elsewhere: none of our environment, group, or files.
ELSEWHERE = 'setsid env -i PATH="$PATH" HOME="$HOME" ADVERTISE_HOST=127.0.0.1 SLURMD_NODENAME=127.0.0.1'

SLURM = """#!/bin/bash
name= output=/dev/null
while [[ ${1:-} == -* ]]; do
    case $1 in --job-name) name=$2; shift ;; --output) output=$2; shift ;; esac
    [[ $1 == --partition=gone ]] && { echo "srun: error: invalid partition specified: gone" >&2; exit 1; }
    shift
done
job=$FAKE/jobs/${name:-unnamed}
mkdir -p "$FAKE/jobs"
"""

FREE_PORT = "import socket; one = socket.socket(); one.bind(('127.0.0.1', 0)); print(one.getsockname()[1])"

COMMANDS = {
    # As the real one: runs in the foreground, forwards output and SIGTERM, ends with its step.
    "srun": SLURM
    + f"""[[ $1 == */* ]] || set -- "./$1" "${{@:2}}"
{ELSEWHERE} "$@" & pid=$!
echo $pid >"$job"
trap 'kill -TERM -- -$pid' TERM INT
until ! kill -0 $pid 2>/dev/null; do wait $pid; done
""",
    "sbatch": SLURM
    + f"""{ELSEWHERE} "$@" >"$output" 2>&1 </dev/null 3>&- & echo $! >"$job"
{UNTIL_KNOWN}
echo 4711
""",
    "squeue": """#!/bin/bash
while (($#)); do case $1 in --name) name=$2 ;; --format) format=$2 ;; esac; shift; done
pid=$(cat "$FAKE/jobs/$name" 2>/dev/null) && kill -0 -- "-$pid" 2>/dev/null || exit 0
[[ $format == %T ]] && echo RUNNING || echo 4711
""",
    "scancel": """#!/bin/bash
while (($#)); do case $1 in --name) name=$2 ;; esac; shift; done
echo "$name" >>"$FAKE/cancelled"
kill -TERM -- "-$(cat "$FAKE/jobs/$name")" 2>/dev/null || true
""",
    # As sshd does: one string for the login shell, stdin forwarded, nothing signalled when the connection goes.
    "ssh": """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -o ]] && shift; shift; done
[[ $1 == *nowhere* ]] && { echo "ssh: connect to host nowhere port 22: No route to host" >&2; exit 255; }
shift
exec setsid --wait env -i PATH="$PATH" HOME="$HOME" bash -c "$*"
""",
    "docker": f"""#!/bin/bash
running() {{ kill -0 -- "-$(cat "$FAKE/$1" 2>/dev/null)" 2>/dev/null; }}
case $1 in
image) [[ $3 == swarmui ]] ;;
run)
    shift
    while [[ $1 != swarmui ]]; do [[ $1 == --name ]] && name=$2; shift; done
    shift
    # As the real one: the system chooses a port that nobody has, whatever range it gives to outgoing connections.
    words=("${{@/7801/$({shlex.quote(sys.executable)} -ISc {shlex.quote(FREE_PORT)})}}")
    {ELSEWHERE} "$SWARMUI_FOLDER/launch-linux.sh" "${{words[@]}}" >"$FAKE/container.log" 2>&1 </dev/null &
    echo $! >"$FAKE/$name"
    {UNTIL_KNOWN}
    for ((i = 0; i < ${{#words[@]}}; i++)); do
        [[ ${{words[i]}} == --port ]] && echo "127.0.0.1:${{words[i + 1]}}" >"$FAKE/$name.port"
    done
    echo 0123456789abcdef ;;
inspect) running "$4" && echo true || {{ echo "Error: No such object: $4" >&2; exit 1; }} ;;
port) cat "$FAKE/$2.port" ;;
wait) while running "$2"; do sleep .1; done; echo 0 ;;
rm) kill -KILL -- "-$(cat "$FAKE/$4")" 2>/dev/null || {{ echo "No such container" >&2; exit 1; }} ;;
ps) name=${{5#name=^/?}}; running "${{name%$}}" && echo 0123 || true ;;
esac
""",
}


class Site:
    """A place to launch in: a SwarmUI install, stand-in commands on PATH, and folders for both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.swarmui = folder / "Swarm UI"
        self.bin = folder / "bin"
        for path in (self.swarmui, self.bin, folder / "fake"):
            path.mkdir()
        self.write(self.swarmui / "launch-linux.sh", LAUNCH_LINUX)
        for name, text in COMMANDS.items():
            self.write(self.bin / name, text)

    def write(self, path: Path, text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def provider(self, script: Path, stop: str = "", **more: str) -> HostAdapter:
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "FAKE": str(self.folder / "fake"),
            "SWARMUI_FOLDER": str(self.swarmui),
            "WORK_FOLDER": str(self.folder / "work folder"),
            "ADVERTISE_HOST": "127.0.0.1",
            "REMOTE_WORK_FOLDER": str(self.folder / "remote"),
            "SSH_HOST": "swarm@127.0.0.1",
            "POLL_SECONDS": "0.1",
            "START_SECONDS": "30",
        }
        settings = LaunchScriptSettings(
            script=script,
            stop_script=SAMPLES / stop if stop else None,
            state_folder=self.folder / "state",
            environment={**environment, **more},
            shutdown_wait_seconds=0,
            kill_grace_seconds=8,
        )
        return HostAdapter(LaunchScriptProgram(settings))

    def logs(self) -> str:
        """What scripts and workers have said, for a test that fails."""
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')}" for path in self.folder.rglob("*.log"))

    def left(self) -> list[psutil.Process]:
        """Live processes that name or print to our folders."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                told = "\0".join([*process.cmdline(), process.cwd(), os.readlink(f"/proc/{process.pid}/fd/1")])
                if str(self.folder) in told:
                    found.append(process)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A place; fails the test that leaves a process behind."""
    site = Site(tmp_path)
    yield site
    deadline = time.monotonic() + ENDING_SECONDS
    while (left := site.left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    told = []
    for process in left:
        with suppress(psutil.NoSuchProcess):
            told.append(process.cmdline())
            process.kill()
    assert told == [], "the test left processes behind"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        yield client


async def until(is_so: Callable[[], bool]) -> None:
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while not is_so():
        assert anyio.current_time() < deadline
        await anyio.sleep(0.05)


async def listed(provider: HostAdapter, *states: InstanceState) -> Instance:
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while True:
        (instance,) = (await provider.list_instances("sdxl")).instances
        if instance.state in states:
            return instance
        assert anyio.current_time() < deadline, instance
        await anyio.sleep(0.05)


async def launched(provider: HostAdapter, *states: InstanceState) -> Instance:
    await provider.launch(LaunchRequest(ID, "sdxl", "homea"))
    return await listed(provider, *states)


async def ended(provider: HostAdapter, instance: Instance) -> None:
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while True:
        await provider.terminate(instance)
        (row,) = (await provider.list_instances("sdxl")).instances
        if row.state is InstanceState.GONE:
            return
        assert anyio.current_time() < deadline, row


async def session_at(http: httpx.AsyncClient, url: str) -> str:
    answer = await http.post(f"{url}/API/GetNewSession", json={})
    return str(answer.json()["session_id"])


RUNS = [
    ("host.sh", ""),
    ("ssh.sh", ""),
    ("slurm-srun.sh", "slurm-stop.sh"),
    ("slurm-sbatch.sh", "slurm-stop.sh"),
    ("docker.sh", "docker-stop.sh"),
]
ONE_OUTSIDE_SOAK = [pytest.param(*run, marks=() if run[0] == "slurm-sbatch.sh" else pytest.mark.soak) for run in RUNS]


@pytest.mark.parametrize(("script", "stop"), RUNS)
async def test_a_sample_starts_a_worker_that_answers_and_terminating_leaves_nothing(
    site: Site, http: httpx.AsyncClient, script: str, stop: str
) -> None:
    provider = site.provider(SAMPLES / script, stop)
    instance = await launched(provider, InstanceState.RUNNING, InstanceState.FAILED)
    assert instance.url, f"{instance.detail}\n{site.logs()}"
    assert instance.retries == 2
    assert await session_at(http, instance.url)
    await ended(provider, instance)
    await until(lambda: site.left() == [])


@pytest.mark.parametrize(("script", "stop"), ONE_OUTSIDE_SOAK)
async def test_a_sample_ends_with_its_worker_when_the_master_shuts_that_down(
    site: Site, http: httpx.AsyncClient, script: str, stop: str
) -> None:
    provider = site.provider(SAMPLES / script, stop)
    instance = await launched(provider, InstanceState.RUNNING, InstanceState.FAILED)
    assert instance.url, f"{instance.detail}\n{site.logs()}"
    session = await session_at(http, instance.url)
    await http.post(f"{instance.url}/API/ShutdownServer", json={"session_id": session})
    await until(lambda: site.left() == [])
    await ended(provider, instance)


@pytest.mark.parametrize(
    ("script", "stop", "change", "words"),
    [
        ("host.sh", "", {"SWARMUI_FOLDER": "/no/such/folder"}, "it ended; see"),
        ("ssh.sh", "", {"SSH_HOST": "swarm@nowhere"}, "ssh to swarm@nowhere: it ended; see"),
        ("ssh.sh", "", {"SSH_HOST": ""}, "SSH_HOST is not set"),
        ("slurm-srun.sh", "slurm-stop.sh", {"SLURM_PARTITION": "gone"}, "srun: it ended; see"),
        ("slurm-sbatch.sh", "slurm-stop.sh", {"SLURM_PARTITION": "gone"}, "invalid partition specified: gone"),
        ("docker.sh", "docker-stop.sh", {"DOCKER_IMAGE": "none"}, "image none is not on this host"),
    ],
)
async def test_a_sample_that_cannot_start_declares_failure_with_its_reason(
    site: Site, script: str, stop: str, change: dict[str, str], words: str
) -> None:
    provider = site.provider(SAMPLES / script, stop, **change)
    instance = await launched(provider, InstanceState.FAILED)
    assert instance.failure is Failure.CAPACITY
    assert words in instance.detail
    await ended(provider, instance)


@pytest.mark.parametrize(("script", "stop"), ONE_OUTSIDE_SOAK)
async def test_a_sample_takes_back_what_it_started_when_the_worker_does_not_come_up(
    site: Site, script: str, stop: str
) -> None:
    site.write(site.swarmui / "launch-linux.sh", "#!/bin/bash\nexec sleep 600\n")
    provider = site.provider(SAMPLES / script, stop, START_SECONDS="3")
    instance = await launched(provider, InstanceState.FAILED)
    assert "not within 3 s" in instance.detail
    await until(lambda: site.left() == [])
    await ended(provider, instance)


@pytest.mark.parametrize(("script", "stop"), ONE_OUTSIDE_SOAK)
async def test_a_sample_whose_script_is_killed_leaves_a_worker_that_terminating_still_ends(
    site: Site, script: str, stop: str
) -> None:
    provider = site.provider(SAMPLES / script, stop)
    instance = await launched(provider, InstanceState.RUNNING, InstanceState.FAILED)
    assert instance.url, f"{instance.detail}\n{site.logs()}"
    with suppress(ProcessLookupError):
        os.kill(int(instance.instance_id.partition(":")[0]), signal.SIGKILL)
    assert (await listed(provider, InstanceState.RUNNING)).url == instance.url
    await ended(provider, instance)
    await until(lambda: site.left() == [])


async def test_the_slurm_sample_of_the_documentation_runs_as_it_stands(site: Site, http: httpx.AsyncClient) -> None:
    # Source: SwarmUI docs/Features/AutoScalingBackend.md: "you will probably do something like `srun ... mywork.sh`",
    # "srun works and sbatch is not needed", and the `export URL=...; echo "..."` line, with the node for the address.
    port = free_port()
    script = site.write(
        site.folder / "launch.sh", "#!/bin/bash\nsrun --nodes=1 --gpus=8 --exclusive --partition=wherever mywork.sh\n"
    )
    site.write(
        site.folder / "mywork.sh",
        f'#!/bin/bash\nexport URL="http://$SLURMD_NODENAME:{port}/"; echo "{START}NewURL: $URL{END}"\n'
        f"cd {shlex.quote(str(site.swarmui))}\n"
        f"./launch-linux.sh --launch_mode none --port {port} --no_persist true --lock_settings true "
        "--require_control_within 3\n",
    )
    provider = site.provider(script)
    instance = await launched(provider, InstanceState.RUNNING, InstanceState.FAILED)
    assert instance.url == f"http://127.0.0.1:{port}/"
    assert instance.retries is None
    with anyio.fail_after(DEADLINE_SECONDS):
        while True:  # it announces before it listens, as the documentation allows
            with suppress(httpx.TransportError):
                assert await session_at(http, instance.url.rstrip("/"))
                break
            await anyio.sleep(0.1)
    await ended(provider, instance)
    await until(lambda: site.left() == [])


async def test_a_script_that_announces_the_master_itself_is_listed_and_refused_at_registration(site: Site) -> None:
    folder = site.folder / "master"
    folder.mkdir()
    with swarmui_master(folder, environment=os.environ) as address:
        alias = address.replace("127.0.0.1", "localhost")
        script = site.write(site.folder / "launch.sh", f'#!/bin/bash\necho "{START}NewURL: {alias}{END}"\n')
        provider = site.provider(script)
        instance = await launched(provider, InstanceState.RUNNING)
        settings, sessions = SwarmUISettings(address=address), InMemorySessionStore()
        master = SwarmUIAdapter(settings, fleet="sdxl", home="homea", sessions=sessions)
        worker = Worker(ID, "launch-script-provider/x", WorkerState.STARTING, url=instance.url)
        with pytest.raises(RegistrationRejected, match="master's own address"):
            await master.register(worker)
        await master.aclose()
        with pytest.raises(TerminationRefused, match="still answers"):
            await ended(provider, instance)
    await ended(provider, instance)


def test_every_sample_has_a_page_and_is_executable() -> None:
    pages = {path.stem for path in SAMPLES.glob("*.md")} - {"README"}
    assert pages == {script.removesuffix(".sh") for script, _ in RUNS}
    for script, stop in RUNS:
        page = (SAMPLES / script).with_suffix(".md").read_text(encoding="utf-8")
        assert script in page
        assert stop in page
        assert all(os.access(SAMPLES / name, os.X_OK) for name in (script, stop) if name)
