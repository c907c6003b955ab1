"""Workers as jobs of a real Slurm: submitted once, listed by one squeue, ended by id and name."""

import os
import random
import secrets
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import anyio
import psutil
import pytest
from pydantic import ValidationError

from ebbflow.adapters.commands import command_line, run_process
from ebbflow.adapters.providers.slurm.adapter import SlurmAdapter
from ebbflow.adapters.providers.slurm.client import submit_words
from ebbflow.adapters.providers.slurm.script import batch_script
from ebbflow.adapters.providers.slurm.settings import SlurmSettings
from ebbflow.contracts.provider import BreakBackend, MakeProvider, ProviderContract
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    FleetError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, JoinSpec, LaunchRequest
from ebbflow.core.ports import Provider
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session

__all__ = ["slurm", "slurm_session"]

START, END = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"
ID = "sdxl-3f9c-1a-0"
NAME = f"ebbflow.sdxl.{ID}"
DEADLINE_SECONDS = 120.0
URL = "http://n1:7801"

PENDING, RUNNING, STARTING = InstanceState.PENDING, InstanceState.RUNNING, InstanceState.STARTING
FAILED, GONE, TERMINATING = InstanceState.FAILED, InstanceState.GONE, InstanceState.TERMINATING

pytestmark = pytest.mark.anyio


def announcing(*messages: str, then: str = "exec sleep 600") -> list[str]:
    """The words of a worker that says something and goes on."""
    said = "; ".join(f"echo {shlex.quote(f'{START}{message}{END}')}" for message in messages)
    return ["/bin/bash", "-c", f"{said or ':'}; {then}"]


def settings(slurm: Cluster, **more: object) -> SlurmSettings:
    plain = {"command": announcing(f"NewURL: {URL}"), "slurm_conf": str(slurm.conf), "time_minutes": 30, **more}
    return SlurmSettings.model_validate(plain)


def request(worker_id: str = ID, *, home: str = "homea", join: JoinSpec | None = None) -> LaunchRequest:
    return LaunchRequest(worker_id, "sdxl", home, join or JoinSpec())


async def listed(
    provider: SlurmAdapter,
    *states: InstanceState,
    worker_id: str = ID,
    seconds: float = DEADLINE_SECONDS,
    words: str = "",
) -> Instance:
    """The worker's row once it is in one of the states, and says something."""
    deadline = anyio.current_time() + seconds
    while True:
        listing = await provider.list_instances("sdxl")
        for instance in listing.instances:
            if instance.worker_id == worker_id and instance.state in states and words in instance.detail:
                return instance
        assert anyio.current_time() < deadline, listing
        await anyio.sleep(0.1)


class Counting:
    """Runs commands and remembers which; may cut them off."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.cut_off_seconds = float("inf")

    async def __call__(
        self, words: Sequence[str], stdin: bytes | None, environment: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes, bytes]:
        self.names.append(words[0])
        return await run_process(words, stdin, environment, min(seconds, self.cut_off_seconds))


class TestSlurmProvider(ProviderContract):
    deadline_seconds = DEADLINE_SECONDS

    @pytest.fixture(autouse=True)
    def _fleet_of_its_own(self) -> None:
        """The cluster remembers the jobs of the tests before."""
        self.fleet = f"c{secrets.token_hex(4)}"
        self.other_fleet = f"{self.fleet}-2"

    @pytest.fixture
    def conf(self, slurm: Cluster, tmp_path: Path) -> Path:
        """A name of the cluster's configuration that a test may take away."""
        link = tmp_path / "slurm.conf"
        link.symlink_to(slurm.conf)
        return link

    @pytest.fixture
    def make_provider(self, slurm: Cluster, conf: Path, tmp_path: Path) -> MakeProvider:
        return lambda: SlurmAdapter(settings(slurm, slurm_conf=str(conf), output_folder=str(tmp_path)))

    @pytest.fixture
    def break_backend(self, conf: Path) -> BreakBackend:
        return conf.unlink

    @pytest.fixture
    async def provider(self, make_provider: MakeProvider) -> AsyncIterator[Provider]:
        """What a test leaves is ended by the cluster's own fixture: a job may start while it is being looked at."""
        provider = make_provider()
        yield provider
        await provider.aclose()

    async def launched(self, provider: Provider, request: LaunchRequest) -> Instance:
        """Only what runs can be ended for certain: a pending job may start in the meantime, and is then refused."""
        await provider.launch(request)

        def runs(seen: InstanceList) -> bool:
            return any(each.worker_id == request.worker_id and each.state is RUNNING for each in seen.instances)

        listing = await self.until(provider, runs, "running", fleet=request.fleet)
        (instance,) = [each for each in listing.instances if each.worker_id == request.worker_id]
        return instance


class TestWhatAJobIsStartedWith:
    def test_the_submission_carries_id_home_and_limits(self) -> None:
        plain = SlurmSettings.model_validate(
            {"command": ["/opt/w.sh"], "time_minutes": 90, "start_within_seconds": 120}
        )
        assert submit_words(plain, request()) == [
            "sbatch",
            "--parsable",
            f"--job-name={NAME}",
            f"--comment=wid={ID};home=homea",
            "--nodes=1",
            "--ntasks=1",
            "--time=90",
            "--deadline=now+5520",
            "--dependency=singleton",
            "--no-requeue",
            "--export=NONE",
            "--output=/dev/null",
            "--open-mode=truncate",
            "--chdir=/",
            "--gres=gpu:1",
        ]

    def test_a_sites_own_arguments_are_passed_through(self) -> None:
        site = {
            "command": ["/opt/w.sh"],
            "partition": "a100,h100",
            "account": "lab",
            "qos": "short",
            "constraint": "a100&nvlink",
            "reservation": "course",
            "gres": "gpu:a100:2",
            "cpus": 8,
            "memory": "64G",
            "exclusive": True,
            "extra_arguments": ["--signal=B:TERM@120", "--nice=10"],
            "output_folder": "/shared/my logs",
            "work_folder": "/scratch",
            "cluster": "west",
        }
        words = submit_words(SlurmSettings.model_validate(site), request())
        assert words[1] == "--clusters=west"
        assert words[-10:] == [
            "--partition=a100,h100", "--account=lab", "--qos=short", "--constraint=a100&nvlink",
            "--reservation=course", "--cpus-per-task=8", "--mem=64G", "--exclusive", "--signal=B:TERM@120", "--nice=10",
        ]  # fmt: skip
        assert {"--gres=gpu:a100:2", "--output=/shared/my logs/%x-%j.out", "--chdir=/scratch"} <= set(words)

    def test_nodes_that_failed_before_are_left_out(self) -> None:
        avoiding = LaunchRequest(ID, "sdxl", "homea", avoid=("n1", "n7"))
        assert submit_words(SlurmSettings(command=["w"]), avoiding)[-1] == "--exclude=n1,n7"

    @pytest.mark.parametrize("spelt", ["--exclude=n3,n4", "--exclud=n3,n4"])
    def test_regression_a_persons_exclude_put_the_job_on_the_machine_to_be_avoided(self, spelt: str) -> None:
        avoiding = LaunchRequest(ID, "sdxl", "homea", avoid=("n1",))
        words = submit_words(SlurmSettings(command=["w"], extra_arguments=[spelt, "--nice=10"]), avoiding)
        assert [word for word in words if word.startswith("--exclu")] == ["--exclude=n1,n3,n4"]
        assert words[-1] == "--nice=10"

    def test_an_account_that_cannot_log_in_gets_nothing_of_a_login(self) -> None:
        assert "--export=NONE" in submit_words(SlurmSettings(command=["w"]), request())
        assert "--export=NIL" in submit_words(SlurmSettings(command=["w"], login_environment=False), request())

    @pytest.mark.parametrize("said", ["64G", "64GB", "64 GB", "64GiB"])
    def test_memory_is_written_as_people_write_it(self, said: str) -> None:
        assert SlurmSettings(command=["w"], memory=said).memory == "64G"

    def test_options_in_other_words_are_free_where_the_field_asks_for_nothing(self) -> None:
        more = ["--gpus-per-node=a100:2", "--mem-per-gpu=8G", "--cpus-per-gpu=8"]
        words = submit_words(SlurmSettings(command=["w"], gpus=0, extra_arguments=more), request())
        assert words[-3:] == more
        assert not any(word.startswith("--gres") for word in words)

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"command": []}, ["command", "at least 1 item"]),
            ({"command": ["bin/worker"]}, ["command", "bin/worker", "absolute path"]),
            ({"partition": "gpu\n"}, ["partition", "control character"]),
            ({"time_minutes": 0}, ["time_minutes", "greater than or equal to 1"]),
            ({"time_minutes": "infinite"}, ["time_minutes", "integer"]),
            ({"start_within_seconds": 5}, ["start_within_seconds", "greater than or equal to 60"]),
            ({"command_timeout_seconds": 3}, ["command_timeout_seconds", "greater than or equal to 20"]),
            ({"memory": "64 apples"}, ["memory", "pattern"]),
            ({"extra_arguments": ["gpu"]}, ["extra_arguments", "'gpu'", "--option=value"]),
            ({"extra_arguments": ["-p", "gpu"]}, ["extra_arguments", "'-p'"]),
            ({"extra_arguments": ["--requeue"]}, ["--requeue", "comes back later"]),
            ({"extra_arguments": ["--job-n=x"]}, ["--job-n=x", "--job-name"]),
            ({"extra_arguments": ["--partition=x"]}, ["set partition"]),
            ({"extra_arguments": ["--external"]}, ["--external", "without a worker"]),
            ({"extra_arguments": ["--ntasks-per-node=2"]}, ["--ntasks-per-node=2", "one worker is one task"]),
            *(
                ({"extra_arguments": [f"--{option}=2"]}, [f"--{option}=2", "contradicts gpus", "gpus: 0 and no gres"])
                for option in (
                    "gpus-per-node",
                    "gpus-per-n",
                    "gpus",
                    "gpus-per-task",
                    "gpus-per-socket",
                    "tres-per-node",
                )
            ),
            (
                {"gpus": 0, "gres": "gpu:a100:2", "extra_arguments": ["--gpus-per-node=2"]},
                ["--gpus-per-node=2", "contradicts gpus"],
            ),
            ({"memory": "64G", "extra_arguments": ["--mem-per-gpu=8G"]}, ["--mem-per-gpu=8G", "contradicts memory"]),
            ({"cpus": 4, "extra_arguments": ["--cpus-per-gpu=8"]}, ["--cpus-per-gpu=8", "contradicts cpus"]),
            ({"slurm_conf": "slurm.conf"}, ["slurm_conf", "absolute"]),
            ({"output_folder": "/logs/%j"}, ["output_folder", "pattern"]),
            ({"url_channel": "file"}, ["url_channel", "output_folder"]),
            ({"environment": {"A B": "hush"}}, ["environment", "A B"]),
            ({"gpus": -1}, ["gpus"]),
            ({"partion": "gpu"}, ["partion", "not permitted"]),
        ],
    )
    def test_bad_settings_are_refused_with_the_field_and_what_would_be_right(
        self, values: dict[str, object], words: list[str]
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            SlurmSettings.model_validate({"command": ["/opt/w.sh"], **values})
        said = str(refused.value)
        assert [word for word in words if word not in said] == [], said
        assert "hush" not in said

    def test_a_script_can_be_read_by_a_person_and_by_bash(self, tmp_path: Path) -> None:
        asked = request(join=JoinSpec(environment={"MASTER": "it's $here"}, arguments=("--x",)))
        script = batch_script(asked, ["/opt/w.sh", "a b", "--x"], {"EBBFLOW_WORKER_ID": "x"}, through_comment=True)
        lines = script.splitlines()
        assert lines[0] == "#!/bin/bash"
        assert lines[lines.index("command=(/opt/w.sh 'a b' --x)") - 1] == "export EBBFLOW_HOME=homea"
        assert "export MASTER='it'\"'\"'s $here'" in lines
        assert f"export EBBFLOW_WORKER_ID={ID}" in lines, "our own names cannot be overruled"

    def test_behind_ssh_words_are_quoted_and_the_environment_is_clean(self) -> None:
        line = command_line(["ssh", "login1"], {"TZ": "UTC"}, ["sbatch", "--comment=a;b c", "it's"])
        assert line[:2] == ["ssh", "login1"]
        assert line[2:] == [
            'env -i PATH="$PATH" HOME="$HOME" USER="$USER" LOGNAME="$LOGNAME" '
            "TZ=UTC sbatch '--comment=a;b c' 'it'\"'\"'s'"
        ]

    def test_behind_sudo_words_stay_words(self) -> None:
        line = command_line(["sudo", "-u", "svc"], {"TZ": "UTC"}, ["sbatch", "a b"])
        assert line == ["sudo", "-u", "svc", "env", "TZ=UTC", "sbatch", "a b"]
        assert command_line([], {"TZ": "UTC"}, ["sbatch"]) == ["sbatch"]

    def test_the_fingerprint_names_the_cluster_and_not_the_partition(self) -> None:
        def of(**values: object) -> str:
            return SlurmAdapter(SlurmSettings.model_validate({"command": ["w"], **values})).caps.fingerprint

        assert of() == of(partition="gpu", time_minutes=5)
        assert len({of(), of(prefix=["ssh", "l1"]), of(cluster="west"), of(slurm_conf="/etc/slurm.conf")}) == 4


SAID: dict[str, tuple[list[str], str, InstanceState, Failure | None, str]] = {
    "an address": (["DoRetries: 7", f"NewURL: {URL}"], "exec sleep 600", RUNNING, None, ""),
    "refused and ended": (["DeclareFailed: no GPU left"], "exit 0", FAILED, Failure.CAPACITY, "no GPU left"),
    "refused": (["DeclareFailed:"], "exec sleep 600", FAILED, Failure.CAPACITY, "no reason given"),
    "a bad address": (["NewURL: h:7801"], "exec sleep 600", FAILED, Failure.OUTPUT, "bad_url"),
    "nothing": ([], "exit 0", FAILED, Failure.OUTPUT, "without announcing"),
    "crashed": (["Status: up"], "exit 3", FAILED, Failure.OUTPUT, "NonZeroExitCode"),
}


PRINTED: dict[str, tuple[str, str, InstanceState, str]] = {
    "a progress bar": (rf"10%\r20%\r{START}NewURL: {URL}{END}\r30%\r", "exec sleep 600", RUNNING, ""),
    "line ends of Windows": (rf"loading\r\n{START}NewURL: {URL}{END}\r\n", "exec sleep 600", RUNNING, ""),
    "two hundred other messages": (
        rf"{START}Status: {'x' * 60}{END}\n" * 200 + rf"{START}NewURL: {URL}{END}\n",
        "exec sleep 600",
        RUNNING,
        "",
    ),
    "a long refusal": (rf"{START}DeclareFailed: {'no ' * 300}{END}\n", "exit 0", FAILED, "declared failed: no no"),
    "a label": (rf"0: {START}NewURL: {URL}{END}\n", "exit 0", FAILED, f"was ignored: '0: {START}NewURL"),
    "a label while it runs": (rf"0: {START}NewURL: {URL}{END}\n", "exec sleep 600", STARTING, "was ignored: '0: "),
    "a long prefix": (rf"{'x' * 3000}{START}NewURL: {URL}{END}\n", "exit 0", FAILED, f"xxx{START}NewURL"),
    "a label, then it alone": (
        rf"0: {START}NewURL: {URL}{END}\n{START}NewURL: {URL}{END}\n",
        "exec sleep 600",
        RUNNING,
        "",
    ),
}


async def test_regression_a_wrapper_lost_the_dead_mans_switch_of_a_job_without_a_word(slurm: Cluster) -> None:
    join = JoinSpec(arguments=("--require_control_within", "10"))
    for command, is_warned in (
        (["bash", "-c", "exec sleep 600"], True),
        (["bash", "-c", "exec sleep 600 # {arguments}"], False),
        (["/opt/worker.sh"], False),
    ):
        asked = request(f"sdxl-{secrets.token_hex(2)}-1a-0", join=join)
        launched = await SlurmAdapter(settings(slurm, command=command)).launch(asked)
        assert ("--require_control_within 10 does not reach the worker" in launched.warning) is is_warned
    quiet = settings(slurm, command=["bash", "-c", "exec sleep 600"], pass_arguments=False)
    launched = await SlurmAdapter(quiet).launch(request(f"sdxl-{secrets.token_hex(2)}-1a-0", join=join))
    assert launched.warning == "", "whoever switches them off has said so"
    assert "export EBBFLOW_ARGUMENTS='--require_control_within 10'" in batch_script(
        request(join=join), ["w"], {}, through_comment=False
    )


async def test_a_secret_reaches_the_job_and_stands_in_no_comment_and_no_process_list(
    slurm: Cluster, tmp_path: Path
) -> None:
    word, worker_id = "c4nary-of-a-job-7f3e91", f"sdxl-{secrets.token_hex(2)}-1a-0"
    command = ["/bin/bash", "-c", f'echo "$SITE_WORD"; echo "{START}NewURL: {URL}{END}"; exec sleep 600']
    plain = settings(slurm, command=command, output_folder=str(tmp_path), secret_environment={"SITE_WORD": word})
    provider = SlurmAdapter(plain)
    job = await provider.launch(request(worker_id))
    await listed(provider, RUNNING, worker_id=worker_id)
    shown = slurm.run("scontrol", "show", "job", job.instance_id) + slurm.run("squeue", "-a", "-O", "Comment:500")
    processes = "".join(" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    assert worker_id in shown
    assert word not in shown + processes
    printed = "".join([await path.read_text() async for path in anyio.Path(tmp_path).iterdir()])
    assert word in printed, "the worker got it"


class TestWhatAWorkerSays:
    @pytest.mark.parametrize("channel", ["comment", "file"])
    async def test_regression_progress_bars_long_prefixes_and_labels_lost_the_worker(
        self, slurm: Cluster, tmp_path: Path, channel: str
    ) -> None:
        chain = secrets.token_hex(2)
        ids = {name: f"sdxl-{chain}-1a-{index}" for index, name in enumerate(PRINTED)}
        for name, (text, then, *_) in PRINTED.items():
            command = ["/bin/bash", "-c", f"printf {shlex.quote(text.replace('%', '%%'))}; {then}"]
            plain = settings(slurm, command=command, output_folder=str(tmp_path), url_channel=channel)
            await SlurmAdapter(plain).launch(request(ids[name]))
        provider = SlurmAdapter(settings(slurm, output_folder=str(tmp_path), url_channel=channel))
        for name, (_, _, state, words) in PRINTED.items():
            shown = await listed(provider, state, worker_id=ids[name], words=words)
            assert (shown.url, words in shown.detail) == (URL if state is RUNNING else None, True), (name, shown)

    @pytest.mark.parametrize("channel", ["comment", "file"])
    async def test_the_launch_script_protocol_in_a_jobs_output_is_understood(
        self, slurm: Cluster, tmp_path: Path, channel: str
    ) -> None:
        # All at once: a job takes a second to start.
        chain = secrets.token_hex(2)
        ids = {name: f"sdxl-{chain}-1a-{index}" for index, name in enumerate(SAID)}
        for name, (messages, then, *_) in SAID.items():
            command = announcing(*messages, then=then)
            plain = settings(slurm, command=command, output_folder=str(tmp_path), url_channel=channel)
            await SlurmAdapter(plain).launch(request(ids[name]))
        provider = SlurmAdapter(settings(slurm, output_folder=str(tmp_path), url_channel=channel))
        for name, (_, _, state, failure, words) in SAID.items():
            shown = await listed(provider, state, worker_id=ids[name])
            assert (shown.failure, shown.url) == (failure, URL if state is RUNNING else None), name
            assert words in shown.detail, name
            assert shown.retries == (7 if state is RUNNING else None), name

    @pytest.mark.parametrize("channel", ["comment", "file"])
    async def test_regression_a_signal_to_the_batch_shell_ended_the_worker(
        self, slurm: Cluster, tmp_path: Path, channel: str
    ) -> None:
        worker_id, told = f"sdxl-{secrets.token_hex(2)}-1a-0", tmp_path / "told"
        announces = f"echo {shlex.quote(f'{START}NewURL: {URL}{END}')}"
        worker = f'trap "echo usr1 >{told}" USR1; {announces}; while :; do sleep 0.1; done'
        given = settings(slurm, command=["/bin/bash", "-c", worker], output_folder=str(tmp_path), url_channel=channel)
        provider = SlurmAdapter(given)
        await provider.launch(request(worker_id))
        running = await listed(provider, RUNNING, worker_id=worker_id)
        slurm.run("scancel", "--batch", "--signal=USR1", running.instance_id)
        with anyio.fail_after(DEADLINE_SECONDS):
            while not told.exists():  # noqa: ASYNC110 - another process has no event to set
                await anyio.sleep(0.1)
        assert (await listed(provider, RUNNING, worker_id=worker_id)).url == URL, "it goes on"

    @pytest.mark.parametrize(
        ("scontrol", "words"),
        [
            ("", "No such file or directory"),
            ("echo 'slurm_update error: Unexpected message received for job 7' >&2; exit 1", "Unexpected message"),
        ],
        ids=["not there", "of another release"],
    )
    async def test_regression_a_scontrol_that_does_not_work_left_the_worker_starting(
        self, slurm: Cluster, tmp_path: Path, scontrol: str, words: str
    ) -> None:
        folder, started = tmp_path / "bin", tmp_path / "started"
        folder.mkdir()
        if scontrol:
            (folder / "scontrol").write_text(f"#!/bin/bash\n{scontrol}\n")
            (folder / "scontrol").chmod(0o755)
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        command = ["/bin/bash", "-c", f"touch {started}; exec sleep 600"]
        given = settings(slurm, command=command, output_folder=str(tmp_path), commands_folder=str(folder))
        provider = SlurmAdapter(given)
        await provider.launch(request(worker_id))
        failed = await listed(provider, FAILED, worker_id=worker_id)
        assert failed.failure is Failure.OUTPUT
        printed = (await provider.logs(failed))["output"]
        assert words in printed
        assert "set the folder of Slurm's commands there in the block, or its url_channel to file" in printed
        assert not started.exists(), "it costs nothing"

    async def test_sbatch_lines_of_a_command_are_named_as_ignored(self, slurm: Cluster, tmp_path: Path) -> None:
        worker_id, program = f"sdxl-{secrets.token_hex(2)}-1a-0", tmp_path / "run.sh"
        program.write_text("#!/bin/bash\n#SBATCH --mem=64G\nexec sleep 600\n")
        program.chmod(0o755)
        given = settings(slurm, command=[str(program)], output_folder=str(tmp_path))
        provider = SlurmAdapter(given)
        await provider.launch(request(worker_id))
        shown = await listed(provider, STARTING, worker_id=worker_id)
        line = f"Ebbflow ignores, in {program}: #SBATCH --mem=64G (set it in the block)"
        with anyio.fail_after(DEADLINE_SECONDS):
            while line not in (await provider.logs(shown)).get("output", ""):  # noqa: ASYNC110 - as above
                await anyio.sleep(0.1)

    async def test_words_and_variables_reach_the_worker_unharmed_and_ours_stay_here(
        self, slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OUR_API_KEY", "hush")
        monkeypatch.setenv("SQUEUE_FORMAT", "%i")
        monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
        told = tmp_path / "told"
        words = ["a b", "it's", "$HOME; echo", "{worker_id}", "{fleet}", "\u00fc\u4e2d", ""]
        program = tmp_path / "worker"
        program.write_text('#!/bin/bash\nprintf "%s\\0" "$@" >"$TOLD.words"\nenv -0 >"$TOLD"\nexec sleep 600\n')
        program.chmod(0o755)
        provider = SlurmAdapter(
            settings(slurm, command=[str(program), *words], environment={"TOLD": str(told), "ODD": "a'b\n$c"})
        )
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        await provider.launch(request(worker_id, join=JoinSpec({"MASTER": "x y"}, ("--require_control_within", "10"))))
        deadline = anyio.current_time() + DEADLINE_SECONDS
        while not told.exists() or not told.stat().st_size:
            assert anyio.current_time() < deadline
            await anyio.sleep(0.05)
        got = (tmp_path / "told.words").read_text().split("\0")[:-1]
        assert got == [
            "a b",
            "it's",
            "$HOME; echo",
            worker_id,
            "sdxl",
            "\u00fc\u4e2d",
            "",
            "--require_control_within",
            "10",
        ]
        environment = dict(pair.partition("=")[::2] for pair in told.read_text().split("\0") if pair)
        assert "OUR_API_KEY" not in environment
        assert environment["ODD"] == "a'b\n$c"
        assert environment["MASTER"] == "x y"
        assert [environment[f"EBBFLOW_{name}"] for name in ("WORKER_ID", "FLEET", "HOME")] == [
            worker_id,
            "sdxl",
            "homea",
        ]
        assert environment["CUDA_VISIBLE_DEVICES"]
        assert "SLURM_EXPORT_ENV" not in environment

    async def test_the_sample_of_swarmuis_documentation_runs_as_a_job_as_it_stands(
        self, slurm: Cluster, tmp_path: Path
    ) -> None:
        # Source: SwarmUI docs/Features/AutoScalingBackend.md: "you will probably do something like `srun ...
        # mywork.sh`", and the `export URL=...; echo "..."` line, with the node for the address.
        work = tmp_path / "mywork.sh"
        work.write_text(
            '#!/bin/bash\nexport URL="http://$SLURMD_NODENAME:7801/"; '
            f'echo "{START}NewURL: $URL{END}"\nexec sleep 600\n'
        )
        script = tmp_path / "launch.sh"
        script.write_text(f"#!/bin/bash\nsrun --nodes=1 --gpus=8 --exclusive --partition=gpu {work}\n")
        for path in (work, script):
            path.chmod(0o755)
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        provider = SlurmAdapter(
            settings(slurm, command=[str(script)], pass_arguments=False, gpus=8, exclusive=True, partition="gpu")
        )
        await provider.launch(request(worker_id))
        shown = await listed(provider, RUNNING, FAILED, worker_id=worker_id)
        assert shown.url is not None, shown
        assert shown.url.startswith("http://n")
        await provider.terminate(shown)
        await listed(provider, GONE, worker_id=worker_id)

    async def test_ending_a_job_lets_its_worker_end_by_itself(self, slurm: Cluster, tmp_path: Path) -> None:
        said = tmp_path / "said"
        worker = f'trap "echo ended >{said}; exit 0" TERM; while :; do sleep 0.1; done'
        provider = SlurmAdapter(settings(slurm, command=announcing(f"NewURL: {URL}", then=worker)))
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        await provider.launch(request(worker_id))
        await provider.terminate(await listed(provider, RUNNING, worker_id=worker_id))
        await listed(provider, GONE, worker_id=worker_id)
        assert said.read_text() == "ended\n"

    async def test_what_it_printed_is_shown_without_secrets_and_its_end_only(
        self, slurm: Cluster, tmp_path: Path
    ) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        command = announcing(f"NewURL: {URL}", then='echo "key $API_KEY"; seq 20000; echo "the end"; exec sleep 600')
        provider = SlurmAdapter(
            settings(slurm, command=command, output_folder=str(tmp_path), environment={"API_KEY": "hush-4711"})
        )
        await provider.launch(request(worker_id))
        shown = await listed(provider, RUNNING, worker_id=worker_id)
        deadline = anyio.current_time() + DEADLINE_SECONDS
        while not (printed := (await provider.logs(shown)).get("output", "")).endswith("the end\n"):
            assert anyio.current_time() < deadline
            await anyio.sleep(0.1)
        assert len(printed) == 65536
        assert "hush-4711" not in printed
        assert await SlurmAdapter(settings(slurm)).logs(shown) == {}


class TestOnceAndNotTwice:
    async def test_a_turns_launches_rest_on_the_turns_one_listing(self, slurm: Cluster) -> None:
        counting = Counting()
        provider = SlurmAdapter(settings(slurm), run=counting)
        fleet = f"c{secrets.token_hex(4)}"
        await provider.list_instances(fleet)
        for index in range(3):
            await provider.launch(LaunchRequest(f"{fleet}-3f9c-1-{index}", fleet, "homea"))
        assert counting.names == ["squeue", "sbatch", "sbatch", "sbatch"]
        again = await provider.launch(LaunchRequest(f"{fleet}-3f9c-1-0", fleet, "homea"))
        assert counting.names[4:] == ["squeue"], "what was submitted since is looked for by name"
        assert len(slurm.names(f"ebbflow.{fleet}.")) == 3
        assert again.state in (PENDING, STARTING, RUNNING)

    @pytest.mark.parametrize(
        ("worker_id", "home", "kind"),
        [
            ("a;home=other", "homea", LaunchRejected),
            ("A b", "homea", LaunchRejected),
            ("", "homea", LaunchRejected),
            (ID, "a;b", ConfigError),
        ],
    )
    async def test_an_id_or_a_home_that_could_not_be_read_back_is_not_submitted(
        self, worker_id: str, home: str, kind: type[FleetError]
    ) -> None:
        counting = Counting()
        provider = SlurmAdapter(SlurmSettings(command=["w"]), run=counting)
        with pytest.raises(kind):
            await provider.launch(request(worker_id, home=home))
        assert counting.names == []

    async def test_many_launches_do_not_come_all_at_once(self) -> None:
        running, most = 0, 0

        async def run(
            words: Sequence[str], stdin: bytes | None, environment: Mapping[str, str], seconds: float
        ) -> tuple[int, bytes, bytes]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await anyio.sleep(0.01)
            running -= 1
            return 0, b"17\n" if words[0] == "sbatch" else b"", b""

        provider = SlurmAdapter(SlurmSettings(command=["w"]), run=run)
        await provider.list_instances("sdxl")
        async with anyio.create_task_group() as group:
            for index in range(40):
                group.start_soon(provider.launch, request(f"sdxl-3f9c-1-{index}"))
        assert most == 8

    async def test_a_client_that_was_killed_while_it_submitted_leaves_one_job_that_is_found(
        self, slurm: Cluster
    ) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        runner = Counting()
        provider = SlurmAdapter(settings(slurm), run=runner)
        await provider.list_instances("sdxl")
        slurm.freeze()
        runner.cut_off_seconds = 3.0
        with pytest.raises(LaunchOutcomeUnknown, match=worker_id):
            await provider.launch(request(worker_id))
        assert not (await provider.list_instances("sdxl")).complete
        slurm.thaw()
        found = await listed(SlurmAdapter(settings(slurm)), PENDING, STARTING, RUNNING, worker_id=worker_id)
        adopted = await SlurmAdapter(settings(slurm)).launch(request(worker_id))
        assert adopted.instance_id == found.instance_id
        assert len(slurm.names(f"ebbflow.sdxl.{worker_id}")) == 1

    async def test_clients_that_are_killed_at_any_moment_leave_one_job_each(self, slurm: Cluster) -> None:
        moments = random.Random(7)

        async def killed(
            words: Sequence[str], stdin: bytes | None, environment: Mapping[str, str], seconds: float
        ) -> tuple[int, bytes, bytes]:
            cut_off_seconds = moments.uniform(0, 0.04) if words[0] == "sbatch" else seconds
            return await run_process(words, stdin, environment, cut_off_seconds)

        fleet = f"c{secrets.token_hex(4)}"
        requests = [LaunchRequest(f"{fleet}-3f9c-1-{index}", fleet, "homea") for index in range(40)]
        dying = SlurmAdapter(settings(slurm, gpus=0), run=killed)
        await dying.list_instances(fleet)
        answers = [await _outcome(dying, asked) for asked in requests]
        assert {LaunchOutcomeUnknown} <= set(answers)
        later = SlurmAdapter(settings(slurm, gpus=0))
        assert (await later.list_instances(fleet)).complete
        assert {await _outcome(later, asked) for asked in requests} == {Instance}
        names = [name for name, _ in slurm.names(f"ebbflow.{fleet}.").values()]
        assert sorted(names) == sorted({f"ebbflow.{fleet}.{asked.worker_id}" for asked in requests})

    async def test_a_second_job_of_one_id_never_starts_and_is_taken_back(self, slurm: Cluster) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        provider = SlurmAdapter(settings(slurm))
        await provider.launch(request(worker_id))
        own = await listed(provider, RUNNING, worker_id=worker_id)
        second = slurm.submit(
            f"ebbflow.sdxl.{worker_id}", "--dependency=singleton", comment=f"wid={worker_id};home=homea"
        )
        shown = await listed(provider, TERMINATING, worker_id=f"{worker_id}.{second}")
        assert (await listed(provider, RUNNING, worker_id=worker_id)).instance_id == own.instance_id
        await provider.terminate(shown)
        assert slurm.jobs(name=f"ebbflow.sdxl.{worker_id}") == {own.instance_id: "RUNNING"}

    async def test_the_shortest_time_for_a_command_is_enough_for_a_launch(self, slurm: Cluster) -> None:
        provider = SlurmAdapter(settings(slurm, command_timeout_seconds=20))
        for known in (False, True):
            if known:
                await provider.list_instances("sdxl")
            worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
            assert (await provider.launch(request(worker_id))).state is PENDING

    async def test_another_installations_job_of_the_same_name_is_neither_adopted_nor_doubled(
        self, slurm: Cluster
    ) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        theirs = slurm.submit(f"ebbflow.sdxl.{worker_id}", comment=f"wid={worker_id};home=homeb")
        provider = SlurmAdapter(settings(slurm))
        with pytest.raises(LaunchRejected, match="home 'homeb', not 'homea'"):
            await provider.launch(request(worker_id))
        assert set(slurm.names(f"ebbflow.sdxl.{worker_id}")) == {theirs}


async def _outcome(provider: SlurmAdapter, asked: LaunchRequest) -> type:
    try:
        return type(await provider.launch(asked))
    except FleetError as error:
        return type(error)


class TestEnding:
    async def test_a_pending_job_is_ended_and_never_starts(self, slurm: Cluster) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        provider = SlurmAdapter(settings(slurm, gpus=8, exclusive=True, partition="n4only"))
        blocker = slurm.occupy("blocker", "--partition=n4only", "--exclusive")
        await provider.launch(request(worker_id))
        pending = await listed(provider, PENDING, worker_id=worker_id)
        await provider.terminate(pending)
        await listed(provider, GONE, worker_id=worker_id)
        assert slurm.jobs(name="blocker") == {blocker: "RUNNING"}

    async def test_a_job_that_has_started_is_not_ended_as_a_pending_one(self, slurm: Cluster) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        provider = SlurmAdapter(settings(slurm))
        as_launched = await provider.launch(request(worker_id))
        await listed(SlurmAdapter(settings(slurm)), RUNNING, worker_id=worker_id)
        with pytest.raises(TerminationRefused, match="has started"):
            await provider.terminate(as_launched)
        assert set(slurm.jobs(name=f"ebbflow.sdxl.{worker_id}").values()) == {"RUNNING"}

    async def test_a_job_id_that_is_another_jobs_by_now_is_left_alone(self, slurm: Cluster) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        foreign = slurm.occupy("somebody-elses")
        stale = Instance(worker_id, foreign, RUNNING, "sdxl", "homea")
        await SlurmAdapter(settings(slurm)).terminate(stale)
        assert slurm.jobs(name="somebody-elses") == {foreign: "RUNNING"}

    @pytest.mark.parametrize("job_id", ["", "17,18", "--all", "17_1", "\u0661"])
    async def test_what_is_no_job_id_is_refused(self, slurm: Cluster, job_id: str) -> None:
        with pytest.raises(TerminationRefused, match="no job id"):
            await SlurmAdapter(settings(slurm)).terminate(Instance(ID, job_id, RUNNING, "sdxl", "homea"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"partition": "nowhere"}, ["partition='nowhere'", "sinfo -s", "Invalid partition name"]),
            ({"gpus": 64}, ["gpus=64", "Requested node configuration is not available"]),
            ({"gres": "levitation:1"}, ["gres='levitation:1'", "Invalid generic resource"]),
            ({"constraint": "warm"}, ["constraint='warm'", "Invalid feature specification"]),
            ({"extra_arguments": ["--levitate"]}, ["--levitate", "extra_arguments"]),
            ({"extra_arguments": ["--licenses=levitation"]}, ["Invalid license specification"]),
            ({"extra_arguments": ["--nodelist=n99"]}, ["Invalid node name specified"]),
            ({"extra_arguments": ["--batch=warm"]}, ["--batch option is invalid"]),
        ],
    )
    async def test_what_the_cluster_refuses_names_the_field_and_leaves_no_worker(
        self, slurm: Cluster, more: dict[str, object], words: list[str]
    ) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        provider = SlurmAdapter(settings(slurm, **more))
        with pytest.raises(LaunchRejected) as refused:
            await provider.launch(request(worker_id))
        assert [word for word in [worker_id, *words] if word not in str(refused.value)] == [], refused.value
        listing = await provider.list_instances("sdxl")
        assert listing.complete
        assert worker_id not in {each.worker_id for each in listing.instances}

    @pytest.mark.parametrize("state", ["DRAIN", "INACTIVE"])
    async def test_regression_a_partition_that_was_closed_is_capacity_and_no_unknown_outcome(
        self, slurm: Cluster, state: str
    ) -> None:
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        slurm.run("scontrol", "create", f"PartitionName=closed{state.lower()}", "Nodes=n1", f"State={state}")
        with pytest.raises(CapacityUnavailable, match="inactive or drain"):
            await SlurmAdapter(settings(slurm, partition=f"closed{state.lower()}")).launch(request(worker_id))
        assert slurm.jobs(name=f"ebbflow.sdxl.{worker_id}") == {}


FAKES = {
    "rc 1": "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
    "garbage": "echo garbage",
    "an error on stdout": "echo 'slurm_load_jobs error: something'",
    "an end in the middle": r"printf '17\037RUNNING\037None\037n1\0371'",
    "a signal": "kill -9 $$",
}


class TestNoAnswer:
    @pytest.mark.parametrize("fake", FAKES)
    async def test_whatever_is_no_list_is_unknown_and_never_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: str
    ) -> None:
        squeue = tmp_path / "squeue"
        squeue.write_text(f"#!/bin/bash\n{FAKES[fake]}\n")
        squeue.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        listing = await SlurmAdapter(SlurmSettings(command=["w"])).list_instances("sdxl")
        assert not listing.complete
        assert "squeue" in listing.detail
        assert listing.instances == ()

    async def test_a_missing_command_is_unknown_and_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        provider = SlurmAdapter(SlurmSettings(command=["w"]))
        listing = await provider.list_instances("sdxl")
        assert not listing.complete
        assert "'squeue' could not be started" in listing.detail
        assert "correct `prefix`" in listing.detail

    async def test_a_slow_command_is_ended_with_its_time(self, tmp_path: Path) -> None:
        async def slow(
            words: Sequence[str], stdin: bytes | None, environment: Mapping[str, str], seconds: float
        ) -> tuple[int, bytes, bytes]:
            assert seconds <= 25.0
            return await run_process(["sleep", "600"], stdin, environment, 0.2)

        listing = await SlurmAdapter(SlurmSettings(command=["w"]), run=slow).list_instances("sdxl")
        assert not listing.complete
        assert "no answer within" in listing.detail


async def test_a_command_that_ends_without_reading_is_an_answer_like_any_other() -> None:
    for _ in range(5):
        assert (await run_process(["false"], b"x" * 1_000_000, {"PATH": os.environ["PATH"]}, 10))[0] == 1
    code, said, _ = await run_process(["cat"], b"a script", {"PATH": os.environ["PATH"]}, 10)
    assert (code, said) == (0, b"a script")


class TestBehindAPrefix:
    @pytest.fixture
    def ssh(self, tmp_path: Path) -> str:
        """As sshd does: one string for the login shell, whose profile sets what it likes."""
        path = tmp_path / "ssh"
        path.write_text('#!/bin/bash\nshift\nexport SQUEUE_FORMAT=%i SBATCH_PARTITION=nowhere\nexec bash -c "$*"\n')
        path.chmod(0o755)
        return str(path)

    @pytest.mark.parametrize("channel", ["comment", "file"])
    async def test_a_worker_lives_and_ends_behind_ssh(
        self, slurm: Cluster, tmp_path: Path, ssh: str, channel: str
    ) -> None:
        folder = tmp_path / "it s"
        folder.mkdir()
        worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
        provider = SlurmAdapter(settings(slurm, prefix=[ssh, "login1"], output_folder=str(folder), url_channel=channel))
        await provider.launch(request(worker_id))
        shown = await listed(provider, RUNNING, worker_id=worker_id)
        assert shown.url == URL
        await provider.terminate(shown)
        await listed(provider, GONE, worker_id=worker_id)

    async def test_a_prefix_that_is_no_shell_gets_words(self, slurm: Cluster) -> None:
        provider = SlurmAdapter(settings(slurm, prefix=["nice", "-n", "1"]))
        assert (await provider.list_instances("sdxl")).complete

    async def test_a_host_that_cannot_be_reached_is_unknown(self, tmp_path: Path) -> None:
        path = tmp_path / "ssh"
        path.write_text("#!/bin/bash\necho 'ssh: connect to host login1 port 22: Connection refused' >&2\nexit 255\n")
        path.chmod(0o755)
        provider = SlurmAdapter(SlurmSettings(command=["w"], prefix=[str(path), "login1"]))
        listing = await provider.list_instances("sdxl")
        assert not listing.complete
        assert "Connection refused" in listing.detail
        with pytest.raises(ProviderUnavailable, match="Connection refused"):
            await provider.launch(request())


async def test_jobs_of_others_are_never_shown_and_never_touched(slurm: Cluster) -> None:
    foreign = slurm.run(
        "sbatch", "--parsable", "--array=1-200", "--hold", "--job-name=ebbflow", "--output=/dev/null",
        stdin="#!/bin/bash\nsleep 600\n",
    )  # fmt: skip
    fleet = f"c{secrets.token_hex(4)}"
    theirs = slurm.submit(f"ebbflow.{fleet}.{fleet}-3f9c-1-0", comment=f"wid={fleet}-3f9c-1-0;home=homeb")
    unmarked = slurm.submit(f"ebbflow.{fleet}.{fleet}-3f9c-1-1", comment="somebody wrote over it")
    counting = Counting()
    provider = SlurmAdapter(settings(slurm), run=counting)
    listing = await provider.list_instances(fleet)
    assert listing.complete
    assert {(each.instance_id, each.home) for each in listing.instances} == {(theirs, "homeb"), (unmarked, "")}
    assert counting.names == ["squeue"], "one call, whatever the size of the queue"
    await provider.launch(LaunchRequest(f"{fleet}-3f9c-1-2", fleet, "homea"))
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while not (own := [i for i in (await provider.list_instances(fleet)).instances if i.state is RUNNING]):
        assert anyio.current_time() < deadline
        await anyio.sleep(0.1)
    await provider.terminate(own[0])
    assert len(slurm.run("squeue", "-h", "-r", "-j", foreign, "-o", "%i").splitlines()) == 200
    assert {theirs, unmarked} <= set(slurm.names(f"ebbflow.{fleet}."))
