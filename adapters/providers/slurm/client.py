"""The one place that talks to Slurm: submit, list, end, and read what jobs printed.

Source: sbatch(1), squeue(1), scancel(1), scontrol(1); contract of what their answers mean in `answers`.
"""

import os
import re
from collections.abc import Sequence

from ebbflow.adapters.commands import CommandAnswer, Commands, Run, run_process
from ebbflow.adapters.launch_output import START_TAG
from ebbflow.adapters.providers.command_words import filled, with_arguments
from ebbflow.adapters.providers.given_environment import whole_environment
from ebbflow.adapters.providers.slurm.answers import ending_error, is_gone, submission_error, submitted_id
from ebbflow.adapters.providers.slurm.jobs import FORMAT, Job, comment_of, job_name, parse_jobs
from ebbflow.adapters.providers.slurm.script import batch_script
from ebbflow.adapters.providers.slurm.settings import SlurmSettings
from ebbflow.core.errors import ProviderUnavailable
from ebbflow.core.instance import LaunchRequest
from ebbflow.core.text import counted

NEVER = "now+8760hours"
EXCLUDE = re.compile(r"--exclude?=")
"""The option that names machines to be left out, and its one abbreviation."""
MAX_PATHS = 400
"""Of one grep: behind ssh they are one word, which the kernel limits to 128 KiB."""


def submit_words(settings: SlurmSettings, request: LaunchRequest) -> list[str]:
    """The `sbatch` of one worker; its script comes on stdin."""
    start_by = settings.time_minutes * 60 + settings.start_within_seconds
    output = f"{settings.output_folder}/%x-%j.out" if settings.output_folder else "/dev/null"
    # Of two the last one counts.
    excluded = [word for word in settings.extra_arguments if EXCLUDE.match(word)]
    gres = settings.gres or (f"gpu:{settings.gpus}" if settings.gpus else None)
    asked = {
        # Not --gpus, which may spread them over several nodes.
        "gres": gres,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "reservation": settings.reservation,
        "cpus-per-task": settings.cpus,
        "mem": settings.memory,
        "exclude": ",".join([*request.avoid, *(word.partition("=")[2] for word in excluded)]) or None,
    }
    return [
        "sbatch",
        *_cluster(settings),
        "--parsable",
        f"--job-name={job_name(request.fleet, request.worker_id)}",
        f"--comment={comment_of(request.worker_id, request.home)}",
        "--nodes=1",
        "--ntasks=1",
        f"--time={settings.time_minutes}",
        # Slurm ends a job that could not run for all of its time by then: it starts soon, or never.
        f"--deadline=now+{start_by}",
        "--dependency=singleton",
        "--no-requeue",
        # Our own environment stays here.
        f"--export={'NONE' if settings.login_environment else 'NIL'}",
        f"--output={output}",
        # What an earlier run of the job printed is no news of this one.
        "--open-mode=truncate",
        f"--chdir={settings.work_folder}",
        *(f"--{name}={value}" for name, value in asked.items() if value is not None),
        *(["--exclusive"] if settings.exclusive else []),
        *(word for word in settings.extra_arguments if word not in excluded),
    ]


def command_of(settings: SlurmSettings, request: LaunchRequest) -> list[str]:
    """The words that one worker is started with."""
    words = with_arguments if settings.pass_arguments else filled
    return words(settings.command, request)


def _cluster(settings: SlurmSettings) -> list[str]:
    return [f"--clusters={settings.cluster}"] if settings.cluster else []


class SlurmClient:
    """Slurm's commands for one user of one cluster.

    Args:
        settings: where they run, and what a job asks for.
        run: runs a process.
    """

    def __init__(self, settings: SlurmSettings, *, run: Run = run_process) -> None:
        self._settings = settings
        variables = {"LC_ALL": "C", "TZ": "UTC", "SLURM_TIME_FORMAT": "%s"}
        if settings.slurm_conf is not None:
            variables["SLURM_CONF"] = settings.slurm_conf
        self._commands = Commands(settings.prefix, variables, run=run)

    async def queue(self, *, seconds: float, name: str | None = None) -> tuple[Job, ...]:
        """Every job of this user that Slurm remembers, in one call; or those of one name.

        Raises:
            ProviderUnavailable: no answer, or not a whole one. That says nothing about any job.
        """
        self._check_conf()
        words = ["squeue", *_cluster(self._settings), "--me", "-h", "-r", "-t", "all", "-O", FORMAT]
        if name is not None:
            words.append(f"--name={name}")
        answer = await self._commands(words, seconds=seconds)
        if answer.code != 0:
            advice = "" if answer.was_started else "; correct `prefix`, or install Slurm's commands there"
            raise ProviderUnavailable(f"{answer}{advice}")
        return parse_jobs(answer.stdout)

    async def submit(self, request: LaunchRequest, *, seconds: float) -> str:
        """Submit one worker's job, once; its job id.

        Raises:
            LaunchRejected: refused for good, and there is no job.
            CapacityUnavailable: refused for now, and there is no job.
            LaunchOutcomeUnknown: no clear answer; there may be a job.
            ConfigError: there is no `sbatch`.
            ProviderUnavailable: not sent.
        """
        self._check_conf()
        script = batch_script(
            request,
            command_of(self._settings, request),
            whole_environment(self._settings),
            through_comment=self._settings.url_channel == "comment",
            commands_folder=self._settings.commands_folder,
        )
        answer = await self._commands(submit_words(self._settings, request), stdin=script.encode(), seconds=seconds)
        job_id = submitted_id(answer)
        if job_id is None:
            raise submission_error(answer, request.worker_id, self._settings)
        return job_id

    async def cancel(self, job_id: str, name: str, *, seconds: float) -> None:
        """End one job, whatever it does. Ended before is success.

        Raises:
            TerminationRefused: it belongs to somebody else.
            ProviderUnavailable: no answer.
        """
        # By id and name together: an id may have been given to another job since it was read.
        words = ["scancel", *_cluster(self._settings), "--me", f"--name={name}", job_id]
        self._raise_from(await self._commands(words, seconds=seconds), job_id)

    async def cancel_pending(self, job_id: str, name: str, *, seconds: float) -> None:
        """End one job that has not started; one that has is left alone.

        Raises:
            TerminationRefused: it has started, or belongs to somebody else.
            ProviderUnavailable: no answer.
        """
        # Refused once it runs, and after it the job cannot start any more. `scontrol hold` and `scancel
        # --state=PENDING` both leave a moment in which it can.
        words = ["scontrol", *_cluster(self._settings), "update", f"JobId={job_id}", f"StartTime={NEVER}"]
        answer = await self._commands(words, seconds=seconds)
        self._raise_from(answer, job_id)
        if not is_gone(answer):
            await self.cancel(job_id, name, seconds=seconds)

    async def outputs(self, jobs: Sequence[Job], *, seconds: float) -> dict[str, bytes]:
        """The lines of the launch-script protocol that jobs printed, by job id, from their output files.

        Raises:
            ProviderUnavailable: they cannot be searched.
        """
        paths = {self._output(job.name, job.job_id): job.job_id for job in jobs}
        found: dict[str, bytes] = {}
        names = list(paths)
        for start in range(0, len(names), MAX_PATHS):
            some = names[start : start + MAX_PATHS]
            # -Z ends a name with NUL. /dev/null: two files at least, as grep names no single one by itself.
            words = ["grep", "-aHZsF", "-m", "256", "-e", START_TAG, "--", "/dev/null", *some]
            answer = await self._commands(words, seconds=seconds)
            # 1: nothing found. 2: some file cannot be read, as that of a job that only starts.
            if answer.code not in (0, 1, 2):
                raise ProviderUnavailable(f"reading the output of {counted(len(some), 'job')}: {answer}")
            for line in answer.stdout.split(b"\n"):
                path, _, text = line.partition(b"\0")
                if job_id := paths.get(os.fsdecode(path)):
                    found[job_id] = found.get(job_id, b"") + text + b"\n"
        return found

    async def output(self, job_id: str, name: str, max_bytes: int, *, seconds: float) -> str:
        """The end of what one job printed; empty where there is nothing to be read.

        Raises:
            ProviderUnavailable: no answer.
        """
        answer = await self._commands(["tail", "-c", str(max_bytes), "--", self._output(name, job_id)], seconds=seconds)
        if answer.code is None or answer.code > 1:
            raise ProviderUnavailable(f"reading the output of job {job_id}: {answer}")
        return answer.stdout.decode("utf-8", "replace")

    def _output(self, name: str, job_id: str) -> str:
        return f"{self._settings.output_folder}/{name}-{job_id}.out"

    def _check_conf(self) -> None:
        """Without it every command retries for a minute before it gives up."""
        conf = self._settings.slurm_conf
        if conf is not None and not self._settings.prefix and not os.access(conf, os.R_OK):
            raise ProviderUnavailable(f"slurm_conf {conf!r} cannot be read here")

    def _raise_from(self, answer: CommandAnswer, job_id: str) -> None:
        error = ending_error(answer, job_id)
        if error is not None:
            raise error
