"""What squeue's records and Slurm's words for a job mean to us: pure, so by tables."""

import pytest

from ebbflow.adapters.commands import CommandAnswer
from ebbflow.adapters.launch_output import Said, Url
from ebbflow.adapters.providers.slurm import jobs as slurm_jobs
from ebbflow.adapters.providers.slurm.answers import ending_error, submission_error, submitted_id
from ebbflow.adapters.providers.slurm.jobs import (
    FAILED_SHOWN_SECONDS,
    Job,
    comment_of,
    job_name,
    jobs_of,
    judge,
    parse_jobs,
    read_note,
    said_by,
)
from ebbflow.adapters.providers.slurm.settings import SlurmSettings
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    FleetError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Failure, InstanceState

ID, NAME = "sdxl-3f9c-1a-0", "ebbflow.sdxl.sdxl-3f9c-1a-0"
MARK = f"wid={ID};home=homea"
URL = "http://n1:7801"
START, END = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"
NOW = 1_000_000.0

PENDING, STARTING, RUNNING = InstanceState.PENDING, InstanceState.STARTING, InstanceState.RUNNING
STOPPED, TERMINATING, GONE = InstanceState.STOPPED, InstanceState.TERMINATING, InstanceState.GONE
FAILED, UNKNOWN = InstanceState.FAILED, InstanceState.UNKNOWN


def row(
    job_id: str = "17",
    state: str = "RUNNING",
    reason: str = "None",
    *,
    submitted: str = "999000",
    starts: str = "N/A",
    ended: str = "N/A",
    restarts: str = "0",
    name: str = NAME,
    comment: str = MARK,
) -> str:
    fields = (job_id, state, reason, "n1", submitted, starts, ended, restarts, name, comment)
    return "\x1f".join(fields) + "\x1e\n"


def one(*rows: str) -> Job:
    (job,) = parse_jobs("".join(rows).encode("utf-8", "surrogateescape"))
    return job


@pytest.mark.parametrize(
    "comment",
    [
        f"{MARK};r=0;said=a\nb",
        f"{MARK};said=with \x1f, | and \t, 'quotes\" and ünïcode",
        f"{MARK};said=an end \x1e and more",
        f"{MARK};said=\udcff\udcfe",
        "",
        "(null)",
    ],
)
def test_a_comment_may_hold_anything_and_the_other_rows_stay_whole(comment: str) -> None:
    rows = row("1") + row("2", comment=comment) + row("3")
    jobs = parse_jobs(rows.encode("utf-8", "surrogateescape"))
    assert [job.job_id for job in jobs] == ["1", "2", "3"]
    assert jobs[1].comment == ("" if comment == "(null)" else comment)
    assert jobs[2].comment == MARK


@pytest.mark.parametrize(
    "output",
    [
        b"garbage",
        b"17\x1fRUNNING\x1e\n",
        b"slurm_load_jobs error: Unable to contact slurm controller\n",
        row().encode() + row("18")[:-10].encode(),
        b"JOBID\x1f" + row().encode(),
    ],
    ids=["text", "too few fields", "an error on stdout", "a row that breaks off", "a header"],
)
def test_an_answer_that_is_no_list_is_no_list(output: bytes) -> None:
    with pytest.raises(ProviderUnavailable, match="no job record"):
        parse_jobs(output)


def test_no_jobs_are_an_empty_list() -> None:
    assert parse_jobs(b"") == parse_jobs(b"\n") == ()


def test_the_line_that_names_a_cluster_is_no_record() -> None:
    assert one("CLUSTER: west\n", row()).job_id == "17"


@pytest.mark.parametrize(
    ("word", "state"),
    [("RUNNING", "RUNNING"), ("cancelled by 1000", "CANCELLED"), ("CANCELLED+", "CANCELLED"), ("", "")],
)
def test_a_state_is_compared_up_to_its_first_word(word: str, state: str) -> None:
    assert one(row(state=word)).state == state


def test_the_format_asks_for_every_field_with_its_own_end_and_the_comment_last() -> None:
    assert slurm_jobs.FORMAT.startswith("JobID:\x1f,State:\x1f,")
    assert slurm_jobs.FORMAT.endswith(",Name:\x1f,Comment:\x1e")


def test_a_jobs_name_and_comment_fit_what_slurm_takes() -> None:
    assert len(job_name("f" * 20, "w" * 40)) <= 70
    assert comment_of(ID, "homea") == MARK
    assert read_note(comment_of(ID, "homea")).home == "homea"


def announced(*messages: str) -> str:
    return "".join(f"{START}{message}{END}\n" for message in messages)


@pytest.mark.parametrize(
    ("state", "reason", "fields", "said", "expected"),
    [
        ("PENDING", "None", {}, "", (PENDING, None, "")),
        ("PENDING", "Resources", {}, "", (PENDING, None, "waits: Resources")),
        ("PENDING", "Priority", {}, "", (PENDING, None, "waits: Priority")),
        ("PENDING", "JobHeldUser", {}, "", (FAILED, Failure.CAPACITY, "held: JobHeldUser")),
        ("PENDING", "JobHeldAdmin", {}, "", (FAILED, Failure.CAPACITY, "held: JobHeldAdmin")),
        ("PENDING", "launch failed requeued held", {}, "", (FAILED, Failure.CAPACITY, "held: launch failed")),
        ("PENDING", "user_env_retrieval_failed_requeued_held", {}, "", (FAILED, Failure.CAPACITY, "held: user_env")),
        ("PENDING", "BeginTime", {}, "", (PENDING, None, "waits: BeginTime")),
        ("PENDING", "BeginTime", {"restarts": "1"}, "", (FAILED, Failure.CAPACITY, "requeued by Slurm (1 time)")),
        ("PENDING", "BeginTime", {"starts": "31000000"}, "", (TERMINATING, None, "before it starts")),
        ("PENDING", "None", {"starts": "31000000", "restarts": "1"}, "", (TERMINATING, None, "before it starts")),
        ("PENDING", "Resources", {"starts": "1200000"}, "", (PENDING, None, "waits: Resources")),
        ("PENDING", "PartitionNodeLimit", {}, "", (PENDING, Failure.CAPACITY, "PartitionNodeLimit")),
        ("PENDING", "ReqNodeNotAvail, UnavailableNodes:n1", {}, "", (PENDING, Failure.CAPACITY, "UnavailableNodes:n1")),
        ("PENDING", "QOSMaxJobsPerUserLimit", {}, "", (PENDING, Failure.CAPACITY, "QOSMax")),
        ("PENDING", "AssocGrpGRES", {}, "", (PENDING, Failure.CAPACITY, "AssocGrp")),
        (
            "PENDING",
            "Nodes required for job are DOWN, DRAINED",
            {},
            "",
            (PENDING, Failure.CAPACITY, "cannot start: Nod"),
        ),
        ("PENDING", "Nodes_required_for_job_are_DOWN", {}, "", (PENDING, Failure.CAPACITY, "cannot start: Nodes_")),
        ("PENDING", "PartitionInactive", {}, "", (PENDING, Failure.CAPACITY, "PartitionInactive")),
        ("PENDING", "PartitionConfig", {}, "", (PENDING, Failure.CAPACITY, "PartitionConfig")),
        ("PENDING", "Licenses", {}, "", (PENDING, Failure.CAPACITY, "Licenses")),
        ("PENDING", "MaxGRESPerAccount", {}, "", (PENDING, Failure.CAPACITY, "MaxGRESPerAccount")),
        ("PENDING", "MoonPhase", {"submitted": str(int(NOW - 60))}, "", (PENDING, None, "waits: MoonPhase")),
        (
            "PENDING",
            "MoonPhase",
            {"submitted": str(int(NOW - 400))},
            "",
            (PENDING, Failure.CAPACITY, "cannot start: M"),
        ),
        ("CONFIGURING", "None", {}, "", (PENDING, None, "")),
        ("EXPEDITING", "None", {}, "", (PENDING, None, "")),
        ("EXPEDITING", "None", {"restarts": "1"}, "", (FAILED, Failure.CAPACITY, "requeued by Slurm (1 time)")),
        ("REQUEUE_HOLD", "None", {"restarts": "2"}, "", (FAILED, Failure.CAPACITY, "requeued by Slurm (2 times)")),
        ("SPECIAL_EXIT", "None", {}, "", (PENDING, None, "")),
        ("RUNNING", "None", {}, "", (STARTING, None, "")),
        ("RUNNING", "None", {}, announced(f"NewURL: {URL}"), (RUNNING, None, "")),
        ("RUNNING", "None", {"restarts": "1"}, announced(f"NewURL: {URL}"), (STARTING, None, "")),
        ("RUNNING", "None", {}, announced("NewURL: n1:7801"), (FAILED, Failure.OUTPUT, "bad_url")),
        ("RUNNING", "None", {}, announced("DoRetries: three"), (FAILED, Failure.OUTPUT, "bad_retries")),
        ("RUNNING", "None", {}, announced("DeclareFailed: no GPU"), (FAILED, Failure.CAPACITY, "no GPU")),
        ("RESIZING", "None", {}, announced(f"NewURL: {URL}"), (RUNNING, None, "")),
        ("SIGNALING", "None", {}, "", (STARTING, None, "")),
        ("STAGE_OUT", "None", {}, "", (STARTING, None, "")),
        ("SUSPENDED", "None", {}, announced(f"NewURL: {URL}"), (STOPPED, None, "SUSPENDED")),
        ("STOPPED", "None", {}, "", (STOPPED, None, "STOPPED")),
        ("COMPLETING", "None", {}, announced(f"NewURL: {URL}"), (TERMINATING, None, "being ended")),
        ("COMPLETED", "None", {}, announced(f"NewURL: {URL}"), (GONE, None, "the worker ended")),
        ("COMPLETED", "None", {}, "", (FAILED, Failure.OUTPUT, "without announcing")),
        ("COMPLETED", "None", {}, announced("DeclareFailed: full"), (FAILED, Failure.CAPACITY, "full")),
        ("CANCELLED", "None", {}, "", (GONE, None, "cancelled")),
        ("REVOKED", "None", {}, "", (GONE, None, "revoked")),
        ("TIMEOUT", "TimeLimit", {}, announced(f"NewURL: {URL}"), (GONE, None, "time limit")),
        ("NODE_FAIL", "NodeDown", {}, announced(f"NewURL: {URL}"), (GONE, None, "node failed")),
        ("PREEMPTED", "None", {}, announced(f"NewURL: {URL}"), (GONE, None, "preempted")),
        ("DEADLINE", "DeadLine", {}, "", (FAILED, Failure.CAPACITY, "start window")),
        ("FAILED", "BadConstraints", {}, "", (FAILED, Failure.REJECTED, "BadConstraints")),
        ("FAILED", "NonZeroExitCode", {}, "", (FAILED, Failure.OUTPUT, "NonZeroExitCode")),
        ("FAILED", "JobLaunchFailure", {}, announced(f"NewURL: {URL}"), (FAILED, Failure.OUTPUT, "JobLaunchFailure")),
        ("FAILED", "NonZeroExitCode", {}, announced("DeclareFailed: x"), (FAILED, Failure.CAPACITY, "x")),
        ("BOOT_FAIL", "None", {}, "", (FAILED, Failure.OUTPUT, "BOOT_FAIL")),
        ("OUT_OF_MEMORY", "OutOfMemory", {}, "", (FAILED, Failure.OUTPUT, "OUT_OF_MEMORY")),
        ("FAILED", "NonZeroExitCode", {"ended": str(int(NOW - 30))}, "", (FAILED, Failure.OUTPUT, "NonZero")),
        ("FAILED", "NonZeroExitCode", {"ended": str(int(NOW - 90))}, "", (GONE, Failure.OUTPUT, "NonZero")),
        ("DEADLINE", "DeadLine", {"ended": str(int(NOW - 90))}, "", (GONE, Failure.CAPACITY, "start window")),
        ("LEVITATING", "None", {}, "", (UNKNOWN, None, "LEVITATING")),
        ("", "None", {}, "", (UNKNOWN, None, "no state")),
    ],
)
def test_what_a_job_is_to_us(
    state: str,
    reason: str,
    fields: dict[str, str],
    said: str,
    expected: tuple[InstanceState, Failure | None, str],
) -> None:
    job = one(row(state=state, reason=reason, comment=f"{MARK};r=0;said={said}", **fields))
    verdict = judge(job, said_by(job, read_note(job.comment)), announces=True, now=NOW)
    assert (verdict.state, verdict.failure) == expected[:2]
    assert expected[2] in verdict.detail
    assert verdict.url == (URL if verdict.state is RUNNING else None)


@pytest.mark.parametrize(("state", "expected"), [("RUNNING", RUNNING), ("COMPLETED", GONE), ("FAILED", FAILED)])
def test_a_worker_that_joins_by_itself_needs_no_address(state: str, expected: InstanceState) -> None:
    assert judge(one(row(state=state)), Said(), announces=False, now=NOW).state is expected


@pytest.mark.parametrize(
    ("ends", "seconds", "is_near"),
    [
        pytest.param(NOW + 299, 300, True, id="near"),
        pytest.param(NOW + 300, 300, False, id="not yet"),
        pytest.param(NOW - 5, 300, True, id="Slurm is late"),
        pytest.param(None, 300, False, id="without a limit"),
        pytest.param(NOW + 1, 0, False, id="not asked for"),
    ],
)
def test_regression_a_time_limit_ended_work_without_a_drain(
    ends: float | None, seconds: float, *, is_near: bool
) -> None:
    """The Ray-on-Slurm autoscaler's jobs of ten minutes ended with whatever ran on them."""
    job = one(row(state="RUNNING", ended="N/A" if ends is None else f"{ends:.0f}"))
    found = judge(job, Said(), announces=False, now=NOW, drain_before_end_seconds=seconds)
    assert found.state is InstanceState.RUNNING
    assert bool(found.ends_soon) is is_near
    assert judge(one(row(state="PENDING", ended="1")), Said(), announces=False, now=NOW,
                 drain_before_end_seconds=seconds).ends_soon == ""  # fmt: skip


def test_what_a_worker_asks_for_is_read_with_its_address() -> None:
    job = one(row(comment=f"{MARK};r=0;said={announced('DoRetries: 7', f'NewURL: {URL}')}"))
    verdict = judge(job, said_by(job, read_note(job.comment)), announces=True, now=NOW)
    assert (verdict.url, verdict.retries) == (URL, 7)


@pytest.mark.parametrize(
    "line",
    [
        f"50%\r{START}NewURL: {URL}{END}\r",
        f"\u00a0{START}NewURL: {URL}{END}",
        f"x {START}no{END}\n{START}NewURL:{URL}{END}",
    ],
)
def test_lines_in_the_comment_are_read_by_the_protocols_own_rules(line: str) -> None:
    job = one(row(comment=f"{MARK};r=0;said={line}\n"))
    assert said_by(job, read_note(job.comment)).result == Url(URL)


@pytest.mark.parametrize(
    ("starts", "ended", "is_told"),
    [(980, 981, True), (980, 980, True), (950, 990, False), (9999, 990, False)],
    ids=["within a second", "at once", "later", "before it started"],
)
def test_regression_a_job_without_a_login_environment_was_only_said_to_be_cancelled(
    starts: int, ended: int, is_told: bool
) -> None:
    job = one(row(state="CANCELLED", starts=str(starts), ended=str(ended)))
    verdict = judge(job, Said(), announces=True, now=NOW)
    assert verdict.state is GONE
    assert ("login_environment" in verdict.detail) is is_told


def test_the_state_is_failed_for_about_a_turn_and_then_gone() -> None:
    assert 30 <= FAILED_SHOWN_SECONDS <= 120


@pytest.mark.parametrize(
    ("name", "comment", "home"),
    [
        (NAME, MARK, "homea"),
        (NAME, f"home=homeb;wid={ID};x=y", "homeb"),
        (NAME, "", ""),
        (NAME, "somebody wrote over it", ""),
        (NAME, "wid=sdxl-3f9c-1a-1;home=homea", ""),
    ],
)
def test_a_job_without_a_readable_home_is_nobodys(name: str, comment: str, home: str) -> None:
    (found,) = jobs_of([one(row(name=name, comment=comment))], "sdxl")
    assert (found.worker_id, found.note.home) == (ID, home)


@pytest.mark.parametrize(
    "name",
    ["bash", "ebbflow", "ebbflow.sdxl", "ebbflow.sdxl-2.sdxl-2-3f9c-1a-0", f"x{NAME}", f"{NAME} x", "ebbflow.sdxl.a.b"],
)
def test_jobs_of_other_names_are_not_the_fleets(name: str) -> None:
    assert jobs_of([one(row(name=name))], "sdxl") == []


def numbered(*states: str, reason: str = "None") -> list[Job]:
    return [one(row(str(10 + index), state, reason)) for index, state in enumerate(states)]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (numbered("RUNNING", "PENDING"), {"10": False, "11": True}),
        (numbered("PENDING", "RUNNING"), {"11": False, "10": True}),
        (numbered("PENDING", "PENDING"), {"10": False, "11": True}),
        (numbered("CANCELLED", "PENDING"), {"11": False}),
        (numbered("RUNNING", "CANCELLED"), {"10": False}),
        (numbered("COMPLETED", "CANCELLED"), {"11": False}),
        ([*numbered("CANCELLED"), one(row("12", "FAILED", "BadConstraints"))], {"10": False}),
        (numbered("FAILED", reason="BadConstraints"), {"10": False}),
    ],
)
def test_of_several_jobs_of_one_name_one_is_the_worker(jobs: list[Job], expected: dict[str, bool]) -> None:
    found = jobs_of(jobs, "sdxl")
    assert {each.job.job_id: each.is_duplicate for each in found} == expected
    assert {each.worker_id for each in found if not each.is_duplicate} == {ID}
    assert all(each.worker_id == f"{ID}.{each.job.job_id}" for each in found if each.is_duplicate)


def test_one_name_under_two_homes_is_two_workers() -> None:
    theirs = one(row("18", comment=f"wid={ID};home=homeb"))
    found = jobs_of([one(row("17")), theirs], "sdxl")
    assert [(each.note.home, each.is_duplicate) for each in found] == [("homea", False), ("homeb", False)]


SETTINGS = SlurmSettings(command=["/opt/worker.sh"], partition="gpu2", gres="gpu:h200:1")
SUBMIT = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"),
    [
        (1, f"{SUBMIT}Invalid partition name specified: gpu2", LaunchRejected, ["partition='gpu2'", "sinfo -s"]),
        (
            1,
            f"sbatch: error: invalid partition specified: gpu2\n{SUBMIT}Invalid partition name specified",
            LaunchRejected,
            [],
        ),
        (1, f"{SUBMIT}Invalid generic resource (gres) specification", LaunchRejected, ["gres='gpu:h200:1'"]),
        (1, f"{SUBMIT}Requested node configuration is not available", LaunchRejected, ["partition='gpu2'", "gpus=1"]),
        (1, f"{SUBMIT}Invalid account or account/partition combination specified", LaunchRejected, ["sacctmgr"]),
        (1, f"{SUBMIT}Invalid qos specification", LaunchRejected, ["sacctmgr show qos"]),
        (1, f"{SUBMIT}Job violates accounting/QOS policy (job submit limit)", CapacityUnavailable, []),
        (1, f"{SUBMIT}Required partition not available (inactive or drain)", CapacityUnavailable, ["partition='gpu2'"]),
        (1, f"{SUBMIT}System submissions disabled", CapacityUnavailable, []),
        (1, f"{SUBMIT}Unable to create job record, try again", CapacityUnavailable, ["as many jobs as it may"]),
        (1, f"{SUBMIT}Invalid license specification", LaunchRejected, ["scontrol show licenses"]),
        (1, f"{SUBMIT}Invalid node name specified", LaunchRejected, ["sinfo -N"]),
        (1, f"{SUBMIT}Invalid GRES specification (with and without type identification)", LaunchRejected, ["gres="]),
        (1, f"{SUBMIT}Job --batch option is invalid or not a subset of --constraints", LaunchRejected, []),
        (1, "sbatch: fatal: --gpus-per-node and --gres are mutually exclusive", LaunchRejected, ["gres='gpu:h200:1'"]),
        (1, f"{'Welcome to the cluster. ' * 40}\n{SUBMIT}Invalid qos specification", LaunchRejected, ["Invalid qos"]),
        (1, f"{SUBMIT}Requested time limit is invalid (missing or exceeds some limit)", LaunchRejected, ["clocks"]),
        (1, f"{SUBMIT}Requested operation not supported on this system", LaunchRejected, []),
        (1, f"{SUBMIT}Job dependency problem", LaunchRejected, []),
        (1, "sbatch: error: MaxJobCount limit reached", CapacityUnavailable, []),
        (255, "sbatch: unrecognized option '--levitate'", LaunchRejected, ["extra_arguments"]),
        (255, "sbatch: error: Invalid time limit specification", LaunchRejected, []),
        (255, "ssh: connect to host login1 port 22: Connection refused", LaunchOutcomeUnknown, ["a job may exist"]),
        (127, "bash: line 1: sbatch: command not found", ConfigError, ["prefix"]),
        (127, "env: 'sbatch': No such file or directory", ConfigError, ["prefix"]),
        (1, f"{SUBMIT}Unable to contact slurm controller (connect failure)", LaunchOutcomeUnknown, []),
        (1, f"{SUBMIT}Socket timed out on send/recv operation", LaunchOutcomeUnknown, ["Socket timed out"]),
        (1, f"{SUBMIT}something new", LaunchOutcomeUnknown, []),
        (-9, "", LaunchOutcomeUnknown, ["rc=-9"]),
        (0, "", LaunchOutcomeUnknown, ["rc=0"]),
    ],
)
def test_only_a_certain_refusal_says_that_there_is_no_job(
    code: int, said: str, kind: type[FleetError], words: list[str]
) -> None:
    error = submission_error(CommandAnswer(("sbatch",), code, b"", said.encode()), ID, SETTINGS)
    assert type(error) is kind, error
    assert [word for word in [ID, *words] if word not in str(error)] == [], str(error)


def test_a_submission_that_took_too_long_is_unknown_and_one_that_could_not_start_is_not() -> None:
    late = CommandAnswer(("sbatch",), None, problem="no answer within 25 s")
    assert type(submission_error(late, ID, SETTINGS)) is LaunchOutcomeUnknown
    absent = CommandAnswer(("sbatch",), None, problem="'sbatch' could not be started: No such file", was_started=False)
    assert type(submission_error(absent, ID, SETTINGS)) is ConfigError


@pytest.mark.parametrize(
    ("stdout", "code", "job_id"),
    [
        (b"17\n", 0, "17"),
        (b"17;west\n", 0, "17"),
        (b"Welcome to login1\n17\n", 0, "17"),
        (b"17\n", 1, None),
        (b"", 0, None),
        (b"Submitted batch job\n", 0, None),
        (b"-17\n", 0, None),
    ],
)
def test_a_job_id_is_digits_after_success(stdout: bytes, code: int, job_id: str | None) -> None:
    assert submitted_id(CommandAnswer(("sbatch",), code, stdout)) == job_id


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (0, "", None),
        (1, "scancel: error: Kill job error on job id 17: Invalid job id specified", None),
        (1, "slurm_update error: Job/step already completing or completed", None),
        (1, "Job is no longer pending execution for job 17", TerminationRefused),
        (210, "scancel: error: Kill job error on job id 17: Access/permission denied", TerminationRefused),
        (8, "scancel: error: Unable to contact slurm controller", ProviderUnavailable),
        (None, "", ProviderUnavailable),
    ],
)
def test_what_an_answer_to_an_ending_means(code: int | None, said: str, kind: type[FleetError] | None) -> None:
    error = ending_error(CommandAnswer(("scancel",), code, b"", said.encode(), problem="no answer"), "17")
    assert (type(error) if error else None) is kind
