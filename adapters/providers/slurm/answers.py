"""What `sbatch` and its kin say when they refuse: whether a job may exist all the same, and who must act. Pure.

Source: the messages of src/common/slurm_errno.c, Slurm 22.05 to 26.05: those that a controller answers a
submission with. What says that a message was lost on its way is not among them.
"""

import re
from dataclasses import dataclass

from ebbflow.adapters.commands import CommandAnswer
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


@dataclass(frozen=True, slots=True)
class _Refusal:
    """One text that says for certain that there is no job."""

    text: str
    fields: tuple[str, ...] = ()
    """Of the settings: where the cause is."""
    advice: str = ""
    is_capacity: bool = False


_REFUSALS = (
    _Refusal("Invalid partition name specified", ("partition",), "`sinfo -s` shows the partitions there are"),
    _Refusal("Invalid feature specification", ("constraint",), "`sinfo -o '%N %f'` shows the features of the nodes"),
    _Refusal(
        "Invalid generic resource (gres) specification", ("gres", "gpus"), "`sinfo -o '%N %G'` shows what nodes have"
    ),
    _Refusal(
        "Requested node configuration is not available",
        ("partition", "gpus", "gres", "cpus", "memory", "constraint"),
        "no node of the partition has all of it; `sinfo -o '%P %N %c %m %G %f'` shows what they have",
    ),
    _Refusal("Invalid account", ("account", "partition"), "`sacctmgr show associations user=$USER` shows yours"),
    _Refusal("Invalid qos", ("qos",), "`sacctmgr show qos` shows what there is"),
    _Refusal("reservation is invalid", ("reservation",), "`scontrol show reservation` shows what there is"),
    _Refusal("Access denied to requested reservation", ("reservation",), "ask for access, or leave the field empty"),
    _Refusal("User's group not permitted to use this partition", ("partition", "account")),
    _Refusal("No partition specified or system default partition", ("partition",), "`sinfo -s` shows what there is"),
    _Refusal("Multiple partition job request not supported", ("partition",)),
    _Refusal(
        "Requested time limit is invalid",
        ("time_minutes", "start_within_seconds", "partition"),
        "the partition allows less, or the clocks of the controller and of where sbatch runs differ by more than "
        "start_within_seconds",
    ),
    _Refusal("Time limit specification required", ("time_minutes",), "the partition has no default"),
    _Refusal("Requested nodes not in this partition", ("partition", "extra_arguments")),
    _Refusal("Invalid node name specified", ("extra_arguments",), "`sinfo -N` shows the nodes there are"),
    _Refusal("Node count specification invalid", ("partition", "extra_arguments")),
    _Refusal("More processors requested than permitted", ("cpus", "partition")),
    _Refusal("CPU count specification invalid", ("cpus",)),
    _Refusal("Job size specification needs to be provided", ("gpus", "gres", "cpus", "memory")),
    _Refusal("Memory required by task is not available", ("memory",)),
    _Refusal("Requested more tasks than available processors", ("cpus", "extra_arguments")),
    _Refusal("Task count specification invalid", ("extra_arguments",)),
    _Refusal("Cannot request more threads per core", ("extra_arguments",)),
    _Refusal("Invalid license specification", ("extra_arguments",), "`scontrol show licenses` shows what there is"),
    _Refusal("Job --batch option is invalid", ("extra_arguments", "constraint")),
    _Refusal("Invalid Trackable RESource (TRES) specification", ("gres", "extra_arguments")),
    _Refusal("Invalid GRES specification", ("gres", "gpus"), "all of it with a type, or none of it"),
    _Refusal("Duplicate generic resource (gres) specification", ("gres", "gpus")),
    _Refusal("Requested GRES option unsupported", ("gres", "extra_arguments")),
    _Refusal("Insufficient GRES available in allocation", ("gres", "gpus")),
    _Refusal("Invalid preferred feature specification", ("extra_arguments",)),
    _Refusal("Multiple KNL NUMA and/or MCDRAM constraints", ("constraint",)),
    _Refusal("Invalid KNL configuration", ("constraint",)),
    _Refusal("Invalid time-min specification", ("extra_arguments", "time_minutes")),
    _Refusal("Invalid job array specification", ("extra_arguments",)),
    _Refusal("Invalid wckey specification", ("extra_arguments",)),
    _Refusal("Invalid accounting frequency requested", ("extra_arguments",)),
    _Refusal("Requested operation not supported on this system", ("extra_arguments",)),
    _Refusal("Requested operation is presently disabled", ("extra_arguments",)),
    _Refusal("Job dependency problem", ("extra_arguments",)),
    _Refusal("Invalid Burst Buffer request", ("extra_arguments",)),
    _Refusal("Burst Buffer permission denied", ("extra_arguments",)),
    _Refusal("Invalid cluster name", ("cluster",)),
    _Refusal("No eligible clusters for federated job", ("cluster",)),
    _Refusal("Container runtime not configured or invalid", ("extra_arguments",)),
    _Refusal("Container support is not configured", ("extra_arguments",)),
    _Refusal("does not look like a batch script"),
    _Refusal("Batch script is empty"),
    _Refusal("Pathname of a file, directory or other parameter too long"),
    _Refusal("sbatch: fatal:", ("extra_arguments", "gres", "gpus")),
    _Refusal("Job violates accounting/QOS policy", ("account", "qos"), "a limit of yours is used up", is_capacity=True),
    _Refusal("breached requested QOS usage threshold", ("account", "qos"), is_capacity=True),
    _Refusal("Job submit limit", ("account", "qos"), is_capacity=True),
    _Refusal("Requested partition configuration not available now", ("partition",), is_capacity=True),
    _Refusal("Required partition not available (inactive or drain)", ("partition",), is_capacity=True),
    _Refusal("Required node not available (down, drained or reserved)", ("extra_arguments",), is_capacity=True),
    _Refusal("Requested nodes are busy", ("partition",), is_capacity=True),
    _Refusal("Requested reservation is in use", ("reservation",), is_capacity=True),
    _Refusal("Requested reservation not usable now", ("reservation",), is_capacity=True),
    _Refusal("Job can not start due to maintenance reservation", ("partition", "time_minutes"), is_capacity=True),
    _Refusal("Immediate execution impossible", ("extra_arguments",), is_capacity=True),
    _Refusal("Burst Buffer resource limit exceeded", ("extra_arguments",), is_capacity=True),
    _Refusal("System submissions disabled", is_capacity=True),
    _Refusal("MaxJobCount limit reached", advice="the cluster holds as many jobs as it may", is_capacity=True),
    _Refusal(
        "Unable to create job record, try again", advice="the cluster holds as many jobs as it may", is_capacity=True
    ),
)

_JOB_ID = re.compile(r"(?P<id>[0-9]+)(;\S*)?")
_NOT_FOUND = re.compile(r"\b(sbatch|squeue|scancel|scontrol|env)\b.*(not found|No such file)")


def submitted_id(answer: CommandAnswer) -> str | None:
    """The job id of a submission that was accepted; None where the answer names none."""
    if answer.code != 0:
        return None
    # A login script may print before it.
    lines = answer.stdout.decode("utf-8", "replace").split()
    found = _JOB_ID.fullmatch(lines[-1]) if lines else None
    return found["id"] if found else None


def submission_error(answer: CommandAnswer, worker_id: str, settings: SlurmSettings) -> FleetError:
    """Why a submission gave no job id: refused for certain, or unknown.

    A text that is not known to mean "no job" means nothing: a client can report failure for a job that exists.
    """
    tried = f"sbatch of {worker_id}"
    if not answer.was_started:
        return ConfigError(f"{tried}: {answer.problem}; correct `prefix`, or install Slurm's commands there")
    said = answer.said
    for refusal in _REFUSALS:
        if answer.code and refusal.text.lower() in answer.complaint.lower():
            kind = CapacityUnavailable if refusal.is_capacity else LaunchRejected
            return kind(f"sbatch refused {worker_id}: rc={answer.code}: {said!r}{_where(refusal, settings)}")
    if answer.code == 255 and re.search(r"\bsbatch: ", answer.complaint):
        # It ends so before it calls the controller; ssh has the same code for a connection that failed.
        return LaunchRejected(f"sbatch refused {worker_id}: rc=255: {said!r}; see `extra_arguments`")
    if answer.code in (126, 127) and _NOT_FOUND.search(answer.complaint):
        return ConfigError(f"{tried}: rc={answer.code}: {said!r}; correct `prefix`, or install Slurm's commands there")
    came = f"rc={answer.code}: {said or answer.stdout[:100]!r}" if answer.code is not None else answer.problem
    return LaunchOutcomeUnknown(f"{tried}: {came}; a job may exist, the next listing decides")


def _where(refusal: _Refusal, settings: SlurmSettings) -> str:
    given = [(name, getattr(settings, name)) for name in refusal.fields]
    shown = ", ".join(f"{name}={value!r}" for name, value in given if value not in (None, ""))
    where = f"; set are {shown}" if shown else ""
    return f"{where}; {refusal.advice}" if refusal.advice else where


def is_gone(answer: CommandAnswer) -> bool:
    """Whether the answer says that there is no such live job any more."""
    said = answer.complaint
    return "Invalid job id specified" in said or "already completing or completed" in said


def ending_error(answer: CommandAnswer, job_id: str) -> FleetError | None:
    """Why a job could not be ended; None where it was accepted or nothing is left to end."""
    if answer.code == 0 or is_gone(answer):
        return None
    if "no longer pending" in answer.complaint:
        return TerminationRefused(f"job {job_id} was to be ended while pending, and has started")
    if "Access/permission denied" in answer.complaint:
        return TerminationRefused(f"job {job_id}: {answer}; it belongs to another user, see `prefix`")
    return ProviderUnavailable(f"ending job {job_id}: {answer}")
