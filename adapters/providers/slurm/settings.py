"""What an operator says about a Slurm cluster and about the jobs that are GPU workers there."""

import re
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ebbflow.adapters.providers.given_environment import GivenEnvironment, SecretEnvironment
from ebbflow.adapters.providers.settings import Capabilities, UsdPerHour

Text = TypeVar("Text", str, SecretStr)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"--(?P<name>[a-z][a-z0-9-]*)(=.*)?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# What each is for us; an abbreviation of one is the same to sbatch.
_OURS = {
    "job-name": "it carries the worker id",
    "comment": "it carries the worker id, the home and the worker's address",
    "dependency": "singleton keeps one worker id from running twice",
    "parsable": "the answer is read by us",
    "test-only": "nothing would be submitted",
    "wait": "a launch returns at once",
    "external": "the job would run without a worker",
    "wrap": "the script is ours",
    "array": "one job is one worker",
    "hold": "the job would never start",
    "begin": "set start_within_seconds",
    "deadline": "set start_within_seconds",
    "time": "set time_minutes",
    "time-min": "set time_minutes",
    "nodes": "one worker has one node",
    "ntasks": "one worker is one task",
    "ntasks-per-node": "one worker is one task",
    "tasks-per-node": "one worker is one task",
    "requeue": "a worker that comes back later is waste",
    "no-requeue": "it is set already",
    "export": "set environment",
    "export-file": "set environment",
    "output": "set output_folder",
    "open-mode": "an address of an earlier run would be read again",
    "chdir": "set work_folder",
    "partition": "set partition",
    "account": "set account",
    "qos": "set qos",
    "constraint": "set constraint",
    "reservation": "set reservation",
    "gres": "set gpus or gres",
    "exclusive": "set exclusive",
    "cpus-per-task": "set cpus",
    "mem": "set memory",
    "clusters": "set cluster",
}

# With the field that asks for the same: of the two Slurm takes one without a word, or refuses both.
_CONTRADICTIONS = {
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "gpus-per-socket": "gpus",
    "tres-per-node": "gpus",
    "tres-per-task": "gpus",
    "tres-per-job": "gpus",
    "cpus-per-gpu": "cpus",
    "mem-per-cpu": "memory",
    "mem-per-gpu": "memory",
}

_SiteWord = Annotated[str, Field(min_length=1, max_length=200)]


class SlurmSettings(BaseModel):
    """Where a cluster's commands run, what a worker's job asks for, and what runs in it.

    Source: sbatch(1), squeue(1); tried with Slurm 22.05.8, 24.11.5, 25.11.7 and 26.05.3.
    """

    # The environment may hold secrets, and a refused value would be quoted.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    command: Annotated[
        list[str],
        Field(
            title="Command",
            description="What runs in the job: a worker's program or a launch script, and its arguments, one word "
            "each; no shell reads them. {worker_id} and {fleet} are replaced. What the master needs is appended, or "
            "stands where {arguments} is; $EBBFLOW_ARGUMENTS has it too.",
            min_length=1,
        ),
    ]
    pass_arguments: Annotated[
        bool,
        Field(
            title="Append the master's arguments",
            description="Off for a launch script that takes none: it must then set --require_control_within itself.",
        ),
    ] = True
    prefix: Annotated[
        list[str],
        Field(
            title="Command prefix",
            description='Words in front of sbatch, squeue, scancel and scontrol: ["ssh", "login1"] or '
            '["sudo", "-u", "svc"]. Empty: they run where the flows run.',
        ),
    ] = []
    slurm_conf: Annotated[
        str | None,
        Field(title="SLURM_CONF", description="Path of slurm.conf where the commands run, if not the site's default."),
    ] = None
    cluster: Annotated[
        _SiteWord | None,
        Field(title="Cluster", description="Name of one cluster of several, as for squeue -M."),
    ] = None
    partition: Annotated[
        _SiteWord | None, Field(title="Partition", description="Where jobs are submitted to; several by comma.")
    ] = None
    account: Annotated[_SiteWord | None, Field(title="Account", description="What jobs are charged to.")] = None
    qos: Annotated[_SiteWord | None, Field(title="QOS", description="Quality of service of the jobs.")] = None
    constraint: Annotated[
        _SiteWord | None, Field(title="Constraint", description="Features of the nodes, for instance a100&nvlink.")
    ] = None
    reservation: Annotated[_SiteWord | None, Field(title="Reservation", description="Jobs run in this one.")] = None
    gpus: Annotated[
        int, Field(title="GPUs", description="Of one worker, all on one node. 0: none is asked for.", ge=0, le=64)
    ] = 1
    gres: Annotated[
        _SiteWord | None,
        Field(title="Generic resources", description="In the place of GPUs, for instance gpu:a100:2."),
    ] = None
    cpus: Annotated[
        int | None, Field(title="CPUs", description="Of one worker; the partition's default if empty.", ge=1, le=4096)
    ] = None
    memory: Annotated[
        str | None,
        Field(
            title="Memory",
            description="Of one worker on its node, for instance 64G; the partition's default if empty.",
            pattern=r"^[0-9]{1,9}[KMGT]?$",
        ),
    ] = None
    exclusive: Annotated[
        bool,
        Field(
            title="Whole node", description="No other job shares the node of a worker, which then has all of its GPUs."
        ),
    ] = False
    time_minutes: Annotated[
        int,
        Field(
            title="Time limit (minutes)",
            description="After this long Slurm ends a worker, whatever it does. The last of the dead-man's switches.",
            ge=1,
            le=43_200,
        ),
    ] = 480
    drain_before_end_seconds: Annotated[
        int,
        Field(
            title="Drain before the time limit (seconds)",
            description="A worker whose time limit is so near gets no new work, and is replaced where it is needed. At "
            "most a quarter of the time limit counts. 0: it serves until Slurm ends it.",
            ge=0,
            le=86_400,
        ),
    ] = 300
    start_within_seconds: Annotated[
        int,
        Field(
            title="Start within (seconds)",
            description="A job that has not started by then never will: Slurm ends it, and the fleet tries its next "
            "provider. The clocks of the controller and of where sbatch runs must agree.",
            ge=60,
            le=604_800,
        ),
    ] = 600
    extra_arguments: Annotated[
        list[str],
        Field(
            title="More sbatch arguments",
            description="As --option or --option=value, for instance --signal=B:TERM@120 or --licenses=sd:1.",
        ),
    ] = []
    work_folder: Annotated[
        str,
        Field(title="Working folder", description="Of the job, on its node; absolute.", pattern=r"^/[^\x00-\x1f]*$"),
    ] = "/"
    output_folder: Annotated[
        str | None,
        Field(
            title="Output folder",
            description="Where jobs write what their workers print, as <job name>-<job id>.out; absolute, and it must "
            "exist on every node, or no job starts. Empty: it is thrown away.",
            # Slurm would replace % and read a backslash.
            pattern=r"^/[A-Za-z0-9/._+@ -]*$",
        ),
    ] = None
    url_channel: Annotated[
        Literal["comment", "file", "none"],
        Field(
            title="How a worker's address is learnt",
            description="comment: the job writes it into its own comment. file: it is read from the output folder, by "
            "grep behind the same prefix. none: workers join their master by themselves.",
        ),
    ] = "comment"
    commands_folder: Annotated[
        str | None,
        Field(
            title="Slurm's commands on the nodes",
            description="Folder of scontrol there, by which a job writes its comment; empty: it is on the PATH of a "
            "login. It must be of the cluster's own release.",
            pattern=r"^/[^\x00-\x1f]*$",
        ),
    ] = None
    login_environment: Annotated[
        bool,
        Field(
            title="Login environment",
            description="Workers get what a login on the node gives (sbatch --export=NONE). Off: nothing of it, nor "
            "HOME (--export=NIL). For accounts that cannot log in: from Slurm 25.05 on their jobs end in a second.",
        ),
    ] = True
    environment: Annotated[
        GivenEnvironment,
        Field(
            title="Environment",
            description="What workers get beside what a login on the node gives and what the master needs.",
            repr=False,
        ),
    ] = {}
    secret_environment: SecretEnvironment = {}
    capabilities: Capabilities = []
    command_timeout_seconds: Annotated[
        float,
        Field(
            title="Command timeout (seconds)",
            description="For one command. A controller that is down or stuck lets each wait for about 10 s, and a "
            "submission that is cut off may still become a job: not below 20.",
            ge=20,
            le=300,
        ),
    ] = 25.0
    usd_per_hour: UsdPerHour = None

    @field_validator("memory", mode="before")
    @classmethod
    def _without_bytes(cls, memory: object) -> object:
        # 64GB is 64G to a person, and an error to Slurm.
        found = re.fullmatch(r"([0-9]+)\s*([KMGT])i?B", memory.strip()) if isinstance(memory, str) else None
        return f"{found[1]}{found[2]}" if found else memory

    @field_validator("command", "prefix")
    @classmethod
    def _check_words(cls, words: list[str]) -> list[str]:
        if any("\0" in word for word in words):
            raise ValueError("a word holds a NUL character")
        if words and not words[0]:
            raise ValueError("the first word is empty; it must name a program")
        return words

    @field_validator("command")
    @classmethod
    def _check_program(cls, command: list[str]) -> list[str]:
        if "/" in command[0] and not command[0].startswith("/"):
            raise ValueError(
                f"the first word is {command[0]!r}; it must be an absolute path on the node, or a name found on PATH"
            )
        return command

    @field_validator("partition", "account", "qos", "constraint", "reservation", "gres", "cluster", "slurm_conf")
    @classmethod
    def _check_site_word(cls, word: str | None) -> str | None:
        if word is not None and (_CONTROL.search(word) or word != word.strip()):
            raise ValueError(f"{word!a} holds a control character, or begins or ends with a blank")
        return word

    @field_validator("slurm_conf")
    @classmethod
    def _check_slurm_conf(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith("/"):
            raise ValueError(f"{path!r} must be an absolute path")
        return path

    @field_validator("extra_arguments")
    @classmethod
    def _check_extra_arguments(cls, words: list[str]) -> list[str]:
        for word in words:
            option = _OPTION.fullmatch(word)
            if option is None or _CONTROL.search(word):
                raise ValueError(f"{word!a} is not written as --option or --option=value")
            for ours, why in _OURS.items():
                if ours.startswith(option["name"]):
                    raise ValueError(f"{word!a} sets --{ours}, which is not free: {why}")
        return words

    @model_validator(mode="after")
    def _nothing_is_asked_for_twice(self) -> "SlurmSettings":
        for word in self.extra_arguments:
            option = _OPTION.fullmatch(word)
            name = option["name"] if option is not None else ""
            for theirs, field in _CONTRADICTIONS.items():
                is_set = bool(self.gres or self.gpus) if field == "gpus" else getattr(self, field) is not None
                if theirs.startswith(name) and is_set:
                    instead = "gpus: 0 and no gres" if field == "gpus" else f"no {field}"
                    raise ValueError(
                        f"extra_arguments: {word!a} contradicts {field}, which asks for the same in other words: "
                        f"set {field} alone, or {instead} beside it"
                    )
        return self

    @field_validator("environment", "secret_environment")
    @classmethod
    def _check_names(cls, environment: dict[str, Text]) -> dict[str, Text]:
        for name in environment:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"variable {name!a} is no name that a shell takes: letters, digits and _ only")
        return environment

    @model_validator(mode="after")
    def _file_needs_a_folder(self) -> "SlurmSettings":
        if self.url_channel == "file" and self.output_folder is None:
            raise ValueError("url_channel is 'file', so output_folder must name a folder that all nodes share")
        return self
