"""Reading what `squeue` shows: records, the comment that a job carries, and what a job's state means to us. Pure.

Lines are not records: a comment may hold anything, so records and fields are separated by control characters.
Source: squeue(1), "JOB STATE CODES" and "JOB REASON CODES"; tried with Slurm 22.05.8, 24.11.5, 25.11.7 and 26.05.3.
"""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ebbflow.adapters.launch_output import Failed, Refused, Said, Url, read_launch_output
from ebbflow.core.errors import ProviderUnavailable
from ebbflow.core.ids import FLEET_NAME
from ebbflow.core.instance import Failure, InstanceState
from ebbflow.core.text import counted

FIELD_END = "\x1f"
RECORD_END = "\x1e"
FIELDS = ("JobID", "State", "Reason", "NodeList", "SubmitTime", "StartTime", "EndTime", "RestartCnt", "Name", "Comment")
FORMAT = ",".join(f"{name}:{RECORD_END if name == 'Comment' else FIELD_END}" for name in FIELDS)
"""For `squeue -O`: without a width nothing is truncated. The comment stands last, as it may hold the separators."""

FAR_AWAY_SECONDS = 180 * 86_400.0
"""A start that is later than this after the submission is one that we moved, so that the job never runs."""
FAILED_SHOWN_SECONDS = 60.0
"""A job that failed is shown as failed for about a turn, so that its cause is read; then as gone, which it is."""

_PREFIX = "ebbflow"
_NAME = re.compile(rf"{_PREFIX}\.(?P<fleet>{FLEET_NAME.pattern})\.(?P<worker>[a-z0-9][a-z0-9-]{{0,39}})")
# A comment may hold the separators too, but not a whole head of a record by accident.
_NEXT_RECORD = re.compile(rf"{RECORD_END}\n?(?=[0-9][^{FIELD_END}{RECORD_END}\n]*{FIELD_END}|\Z)")

_CLUSTER_LINE = re.compile(r"\ACLUSTER: [^\n]*\n")

PENDING_WORDS = frozenset(
    {"PENDING", "CONFIGURING", "EXPEDITING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
RUNNING_WORDS = frozenset({"RUNNING", "RESIZING", "SIGNALING", "STAGE_OUT"})
STOPPED_WORDS = frozenset({"SUSPENDED", "STOPPED"})
GONE_WORDS = {
    "CANCELLED": "the job was cancelled",
    "REVOKED": "the job was revoked",
    "TIMEOUT": "the job reached its time limit",
    "NODE_FAIL": "the job's node failed",
    "PREEMPTED": "the job was preempted",
}
EARLY_SECONDS = 15.0
"""Hardly anybody cancels a job so soon after its start."""
EARLY_END = (
    "the job was cancelled {seconds:.0f} s after its start. If nobody did that: from Slurm 25.05 on a job ends so "
    "whose login environment cannot be read (slurmd's log says why); give its account a login shell and a quick "
    "profile, or switch login_environment off"
)
FAILED_WORDS = frozenset({"COMPLETED", "FAILED", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE"})
ENDED_WORDS = FAILED_WORDS | frozenset(GONE_WORDS)

WAITS = frozenset(
    {
        "",
        "None",
        "BeginTime",
        "BurstBufferOperation",
        "BurstBufferResources",
        "BurstBufferStageIn",
        "Cleaning",
        "Dependency",
        "FedJobLock",
        "JobArrayTaskLimit",
        "MpiPortsBusy",
        "Priority",
        "Prolog",
        "Reservation",
        "Resources",
        "SchedDefer",
        "WaitingForScheduling",
    }
)
"""Reasons for which a job waits its turn. Source: squeue(1), "JOB REASON CODES"."""
BLOCKED = (
    "Account",
    "Assoc",
    "BadConstraints",
    "FrontEndDown",
    "Invalid",
    "Licenses",
    "Max",
    "NodeDown",
    "Nodes required for job are DOWN",
    "PartitionConfig",
    "PartitionDown",
    "PartitionInactive",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOS",
    "ReqNodeNotAvail",
    "ReservationDeleted",
    "SystemFailure",
)
"""How the reasons begin for which a job does not start, however long it waits, until somebody changes something."""
STRANGE_SECONDS = 300.0
"""A reason that is in neither list counts as one for which a job does not start once it has waited for so long."""


@dataclass(frozen=True, slots=True)
class Job:
    """One record of `squeue`."""

    job_id: str
    state: str
    """Slurm's word, in upper case."""
    reason: str
    nodes: str
    submitted_at: float | None
    """Epoch seconds by the controller's clock, as are the next two; None where there is none or it cannot be read."""
    starts_at: float | None
    """When it started, or shall start."""
    ended_at: float | None
    """Of a running one, when its time limit is reached."""
    restarts: int
    name: str
    comment: str

    @property
    def has_ended(self) -> bool:
        """Whether it is over for good."""
        return self.state in ENDED_WORDS

    @property
    def is_pending(self) -> bool:
        """Whether it holds no node."""
        return self.state in PENDING_WORDS

    @property
    def is_refused_submission(self) -> bool:
        """What a submission leaves behind that `sbatch` refused: no worker ever."""
        return self.state == "FAILED" and self.reason == "BadConstraints"


@dataclass(frozen=True, slots=True)
class Note:
    """What a job's comment tells: whose it is, and what its worker has said."""

    worker_id: str = ""
    home: str = ""
    restarts: int = 0
    """Of which run of the job."""
    said: str = ""
    """Lines of the launch-script protocol."""


@dataclass(frozen=True, slots=True)
class JobVerdict:
    """What a job is to us."""

    state: InstanceState
    detail: str = ""
    failure: Failure | None = None
    url: str | None = None
    retries: int | None = None
    ends_soon: str = ""


@dataclass(frozen=True, slots=True)
class FleetJob:
    """A job that carries our mark."""

    job: Job
    worker_id: str
    note: Note
    is_duplicate: bool = False
    """A second live job of one worker id."""


def job_name(fleet: str, worker_id: str) -> str:
    """The name that a worker's job carries from its submission on."""
    return f"{_PREFIX}.{fleet}.{worker_id}"


def is_job_name(name: str) -> bool:
    """Whether a job of this name is one of a fleet's."""
    return _NAME.fullmatch(name) is not None


def comment_of(worker_id: str, home: str) -> str:
    """The comment that a job is submitted with. Everybody on the cluster may read it."""
    return f"wid={worker_id};home={home}"


def parse_jobs(output: bytes) -> tuple[Job, ...]:
    """The records of one `squeue -O FORMAT`.

    Raises:
        ProviderUnavailable: something in it is no record; then nothing of it is believed.
    """
    # With --clusters each cluster's part may begin with a line of its own.
    text = _CLUSTER_LINE.sub("", output.decode("utf-8", "surrogateescape"), count=1)
    *records, rest = _NEXT_RECORD.split(text)
    if rest.strip():
        raise ProviderUnavailable(f"squeue's answer breaks off in what is no job record: {_shown(rest)}")
    return tuple(_parse(record) for record in records)


def _parse(record: str) -> Job:
    fields = record.lstrip("\n").split(FIELD_END, len(FIELDS) - 1)
    if len(fields) != len(FIELDS) or not fields[0].isascii() or not fields[0][:1].isdigit():
        raise ProviderUnavailable(
            f"squeue answered with something that is no job record ({len(fields)} fields): {_shown(record)}"
        )
    job_id, state, reason, nodes, submitted, starts, ended, restarts, name, comment = fields
    return Job(
        job_id=job_id,
        state=re.split(r"[ +]", state.upper(), maxsplit=1)[0],
        reason=reason,
        nodes=nodes,
        submitted_at=_seconds(submitted),
        starts_at=_seconds(starts),
        ended_at=_seconds(ended),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        name=name,
        comment="" if comment == "(null)" else comment,
    )


def _shown(record: str) -> str:
    return ascii(record[:100].encode("utf-8", "replace"))


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() else None


def read_note(comment: str) -> Note:
    """Take a comment apart. What is not known is ignored; `said` comes last and takes the rest."""
    head, _, said = comment.partition(";said=")
    fields = dict(part.split("=", 1) for part in head.split(";") if "=" in part)
    restarts = fields.get("r", "0")
    return Note(
        worker_id=fields.get("wid", ""),
        home=fields.get("home", ""),
        restarts=int(restarts) if restarts.isascii() and restarts.isdecimal() else -1,
        said=said,
    )


def jobs_of(jobs: Iterable[Job], fleet: str) -> list[FleetJob]:
    """The jobs of one fleet, one per worker id and home, duplicates marked.

    A job without a readable home is nobody's: it is shown with an empty one, and so is never touched.
    """
    groups: dict[tuple[str, str], list[FleetJob]] = {}
    for job in jobs:
        named = _NAME.fullmatch(job.name)
        if named is None or named["fleet"] != fleet:
            continue
        note = read_note(job.comment)
        if note.worker_id != named["worker"]:
            note = Note()
        groups.setdefault((named["worker"], note.home), []).append(FleetJob(job, named["worker"], note))
    return [job for group in groups.values() for job in _told_apart(group)]


def _told_apart(group: Sequence[FleetJob]) -> Iterator[FleetJob]:
    """The worker's own job, and other live ones under ids of their own, so that each can be ended by itself.

    Source: `--dependency=singleton` lets one of them run; the others would begin as soon as it ends.
    """
    live = [each for each in group if not each.job.has_ended]
    if not live:
        ended = [each for each in group if not each.job.is_refused_submission] or group
        yield max(ended, key=_number)
        return
    own = min(live, key=lambda each: (each.job.is_pending, _number(each)))
    yield own
    for each in live:
        if each is not own:
            yield FleetJob(each.job, f"{each.worker_id}.{each.job.job_id}", each.note, is_duplicate=True)


def _number(each: FleetJob) -> int:
    digits = re.match(r"[0-9]+", each.job.job_id)
    return int(digits[0]) if digits else 0


def said_by(job: Job, note: Note) -> Said:
    """What the worker announced in this run of its job, through the comment."""
    if note.restarts != job.restarts:
        return Said()
    return read_launch_output(note.said.encode("utf-8", "surrogateescape"))


def judge(job: Job, said: Said, *, announces: bool, now: float, drain_before_end_seconds: float = 0.0) -> JobVerdict:
    """What a job is to us, by Slurm's words for its state and reason and by what its worker has announced.

    Args:
        job: as listed.
        said: what it announced, in this run of the job.
        announces: whether it is expected to announce an address.
        now: epoch seconds; says how long a failed job is still shown as such, how long a strange one has waited, and
            how near a time limit is.
        drain_before_end_seconds: a job whose time limit is nearer than this ends soon.
    """
    if job.is_pending:
        return _judge_pending(job, now)
    if job.state in RUNNING_WORDS:
        verdict = _judge_running(said, announces=announces)
        return replace(verdict, ends_soon=_time_limit(job, now, drain_before_end_seconds))
    if job.state in STOPPED_WORDS:
        return JobVerdict(InstanceState.STOPPED, f"Slurm: {job.state}; it holds its GPUs and does not serve")
    if job.state == "COMPLETING":
        return JobVerdict(InstanceState.TERMINATING, "the job is being ended")
    if job.state in GONE_WORDS:
        return _judge_gone(job)
    if job.state not in ENDED_WORDS:
        return JobVerdict(InstanceState.UNKNOWN, f"Slurm: {job.state or 'no state'} is not known to us")
    verdict = _judge_ended(job, said, announces=announces)
    if job.ended_at is not None and now - job.ended_at > FAILED_SHOWN_SECONDS:
        return JobVerdict(InstanceState.GONE, verdict.detail, verdict.failure)
    return verdict


def _time_limit(job: Job, now: float, drain_before_end_seconds: float) -> str:
    """That a running job's end is near; empty: it is not. Its end is then when its limit is reached."""
    if job.ended_at is None or job.ended_at - now >= drain_before_end_seconds:
        return ""
    return f"its job reaches its time limit at {time.strftime('%H:%M:%S', time.gmtime(job.ended_at))} UTC"


def _judge_gone(job: Job) -> JobVerdict:
    """Gone; for a worker that has not served this is a failure to its fleet, unless the fleet ended it."""
    if job.state == "CANCELLED" and job.starts_at is not None and job.ended_at is not None:
        seconds = job.ended_at - job.starts_at
        if 0 <= seconds < EARLY_SECONDS:
            return JobVerdict(InstanceState.GONE, EARLY_END.format(seconds=seconds))
    return JobVerdict(InstanceState.GONE, GONE_WORDS[job.state])


def _judge_pending(job: Job, now: float) -> JobVerdict:
    if job.starts_at is not None and job.starts_at - (job.submitted_at or 0.0) > FAR_AWAY_SECONDS:
        return JobVerdict(InstanceState.TERMINATING, "being ended before it starts")
    if job.restarts:
        detail = f"requeued by Slurm ({counted(job.restarts, 'time')}): ended, as it would come back late and elsewhere"
        return JobVerdict(InstanceState.FAILED, detail, Failure.CAPACITY)
    # Some releases write blanks, some underscores.
    reason = job.reason.replace("_", " ")
    if "held" in reason.lower():
        # Not every release ends a held job at its deadline: nobody may wait for it.
        return JobVerdict(InstanceState.FAILED, f"held: {job.reason}; ended, it would not start", Failure.CAPACITY)
    is_strange = reason not in WAITS and now - (now if job.submitted_at is None else job.submitted_at) > STRANGE_SECONDS
    if reason.startswith(BLOCKED) or is_strange:
        return JobVerdict(InstanceState.PENDING, f"cannot start: {job.reason}", Failure.CAPACITY)
    return JobVerdict(InstanceState.PENDING, f"waits: {job.reason}" if reason not in ("", "None") else "")


def _judge_running(said: Said, *, announces: bool) -> JobVerdict:
    match said.result:
        case Url(url, retries):
            return JobVerdict(InstanceState.RUNNING, url=url, retries=retries)
        case Refused() | Failed() as words:
            return _judge_words(words)
        case None:
            return JobVerdict(InstanceState.STARTING if announces else InstanceState.RUNNING, said.ignored)


def _judge_words(said: Refused | Failed) -> JobVerdict:
    if isinstance(said, Refused):
        detail = f"declared failed: {said.reason or 'no reason given'}"
        return JobVerdict(InstanceState.FAILED, detail, Failure.CAPACITY)
    return JobVerdict(InstanceState.FAILED, f"{said.kind.value}: {said.detail}", Failure.OUTPUT)


def _judge_ended(job: Job, said: Said, *, announces: bool) -> JobVerdict:
    if job.state == "DEADLINE":
        return JobVerdict(InstanceState.FAILED, "did not start within its start window", Failure.CAPACITY)
    if job.is_refused_submission:
        return JobVerdict(InstanceState.FAILED, "Slurm: FAILED (BadConstraints): refused for good", Failure.REJECTED)
    if isinstance(said.result, Refused | Failed):
        return _judge_words(said.result)
    if job.state == "COMPLETED" and (said.result is not None or not announces):
        return JobVerdict(InstanceState.GONE, "the worker ended")
    why = f"Slurm: {job.state} ({job.reason})"
    if job.state == "COMPLETED":
        why = "the worker ended without announcing an address"
    return JobVerdict(InstanceState.FAILED, "; ".join(filter(None, (why, said.ignored))), Failure.OUTPUT)
