"""Provider `slurm`: workers are Slurm jobs, submitted once, listed by one `squeue`, ended by id and name.

Exactly once: the record asks for a worker id before anything is sent; the job's name carries it; a launch looks for
that name before it submits, in the listing of its own turn; a submission without a clear answer is not repeated in this
turn but looked for by the next; and `--dependency=singleton` keeps a second job of one name from running beside the
first until a turn has seen and ended it. A failed command says nothing about any job.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import anyio

from ebbflow.adapters.commands import Run, run_process
from ebbflow.adapters.launch_output import Said, read_launch_output
from ebbflow.adapters.providers.command_words import loss_of_arguments
from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.adapters.providers.slurm.client import SlurmClient
from ebbflow.adapters.providers.slurm.jobs import (
    FleetJob,
    Job,
    JobVerdict,
    is_job_name,
    job_name,
    jobs_of,
    judge,
    said_by,
)
from ebbflow.adapters.providers.slurm.settings import SlurmSettings
from ebbflow.core.errors import LaunchRejected, ProviderUnavailable, TerminationRefused
from ebbflow.core.ids import check_fleet_name, check_home
from ebbflow.core.instance import LOG_BYTES, Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps

log = logging.getLogger(__name__)

CALL_MARGIN_SECONDS = 2.0
AT_ONCE = 8
"""Commands that change something, in flight: sites throttle, and an sshd lets ten sessions in by default."""
MIN_SUBMIT_SECONDS = 15.0
"""A submission is not begun with less: Slurm's clients give up by themselves after about 10 s, and one that is cut off
may become a job whose id nobody read."""


class SlurmAdapter(EndsForGood):
    """Submits workers as jobs, finds them again by name, and ends them.

    Args:
        settings: which cluster, and what a job asks for.
        clock: epoch seconds; says only for how long a failed job is shown as failed.
        run: runs a process.
    """

    def __init__(
        self, settings: SlurmSettings, *, clock: Callable[[], float] = time.time, run: Run = run_process
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._client = SlurmClient(settings, run=run)
        self._listed: dict[str, tuple[Job, ...]] = {}
        """By fleet: what the last whole listing of this object showed. An object lives as long as a turn."""
        self._at_once = anyio.CapacityLimiter(AT_ONCE)
        self._sent: set[str] = set()
        """Worker ids that this object has submitted: no listing from before that tells of them."""

    @cached_property
    def caps(self) -> ProviderCaps:
        """What it can do. A job is listed as soon as `sbatch` has returned, so nothing has to settle."""
        return ProviderCaps(
            fingerprint=_fingerprint(self._settings),
            idempotent_launch=True,
            settle_seconds=0.0,
            relist_seconds=None,
            absence_is_gone=False,
            cancels_pending=True,
            call_seconds=self._settings.command_timeout_seconds + CALL_MARGIN_SECONDS,
            usd_per_hour=self._settings.usd_per_hour,
            keeps_logs=self._settings.output_folder is not None,
            tells_urls=self._settings.url_channel != "none",
            capabilities=tuple(self._settings.capabilities),
        )

    async def launch(self, request: LaunchRequest) -> Instance:
        """Submit one worker's job, or adopt the job that has its name. An id that was used up is shown as it ended.

        After a listing of its own the object submits at once, because no other run may act on the same wish. Without
        one it looks by name before and after, and takes its own job back if another has the name already.

        Raises:
            CapacityUnavailable: a limit of the account or QOS is used up.
            LaunchRejected: permanent: partition, account, resources, an option.
            LaunchOutcomeUnknown: no clear answer; the next listing decides.
            ConfigError: Slurm's commands are not there.
            ProviderUnavailable: not sent.
        """
        deadline = anyio.current_time() + self._settings.command_timeout_seconds
        name = job_name(check_fleet_name(request.fleet), request.worker_id)
        check_home(request.home)
        if not is_job_name(name):
            # Such a job would never be found again.
            raise LaunchRejected(f"slurm provider could not start {request.worker_id!a}: not a worker id")
        known = self._listed.get(request.fleet) if request.worker_id not in self._sent else None
        before = known if known is not None else await self._client.queue(seconds=self._left(deadline), name=name)
        found = self._found(request, before)
        if found is not None:
            return found
        job_id = await self._submit(request, deadline)
        log.debug("submitted worker=%s job=%s", request.worker_id, job_id)
        if known is None:
            return await self._unless_doubled(request, job_id, name)
        return self._pending(request, job_id)

    async def _submit(self, request: LaunchRequest, deadline: float) -> str:
        async with self._at_once:
            seconds = self._left(deadline)
            if seconds < MIN_SUBMIT_SECONDS:
                raise ProviderUnavailable(
                    f"sbatch of {request.worker_id} was not begun: {seconds:.0f} s left of "
                    f"{self._settings.command_timeout_seconds:g}, and one that is cut off may still become a job"
                )
            self._sent.add(request.worker_id)
            return await self._client.submit(request, seconds=seconds)

    def _left(self, deadline: float) -> float:
        return max(0.1, deadline - anyio.current_time())

    def _found(self, request: LaunchRequest, jobs: Sequence[Job]) -> Instance | None:
        """The job that has the request's name, if there is one."""
        same = [each for each in jobs_of(jobs, request.fleet) if each.worker_id == request.worker_id]
        own = next((each for each in same if each.note.home == request.home), None)
        if own is None and same:
            raise LaunchRejected(
                f"{request.worker_id}: job {same[0].job.job_id} has this name and home {same[0].note.home!r}, "
                f"not {request.home!r}: another installation's"
            )
        if own is None:
            return None
        if own.job.is_refused_submission:
            raise LaunchRejected(f"sbatch refused {request.worker_id} before: job {own.job.job_id} is BadConstraints")
        return self._instance(own, request.fleet, said_by(own.job, own.note))

    async def _unless_doubled(self, request: LaunchRequest, job_id: str, name: str) -> Instance:
        """Our job, unless another was first: then ours is taken back before it can start."""
        seconds = self._settings.command_timeout_seconds
        jobs = await self._client.queue(seconds=seconds, name=name)
        own = self._found(request, jobs)
        if own is None or own.instance_id == job_id:
            return self._pending(request, job_id)
        await self._client.cancel_pending(job_id, name, seconds=seconds)
        return own

    def _pending(self, request: LaunchRequest, job_id: str) -> Instance:
        return Instance(
            worker_id=request.worker_id,
            instance_id=job_id,
            state=InstanceState.PENDING,
            fleet=request.fleet,
            home=request.home,
            usd_per_hour=self._settings.usd_per_hour,
            capabilities=request.capabilities or tuple(self._settings.capabilities),
            warning=self._loss(request),
        )

    def _loss(self, request: LaunchRequest) -> str:
        settings = self._settings
        return loss_of_arguments(settings.command, request.join.arguments) if settings.pass_arguments else ""

    async def list_instances(self, fleet: str) -> InstanceList:
        """The fleet's jobs, whatever their home, from one `squeue`; not complete unless all of it was understood.

        A second live job of one worker id stands beside it under an id of its own, so that it is ended by itself.
        """
        check_fleet_name(fleet)
        deadline = anyio.current_time() + self._settings.command_timeout_seconds
        try:
            jobs = await self._client.queue(seconds=self._left(deadline))
            ours = [each for each in jobs_of(jobs, fleet) if not each.job.is_refused_submission]
            said = await self._said(ours, self._left(deadline))
        except ProviderUnavailable as error:
            return InstanceList((), complete=False, detail=str(error))
        self._listed[fleet] = jobs
        self._sent.clear()
        return InstanceList(tuple(self._instance(each, fleet, said.get(each.job.job_id, Said())) for each in ours))

    async def _said(self, ours: Sequence[FleetJob], seconds: float) -> dict[str, Said]:
        """What workers have announced, by job id."""
        if self._settings.url_channel == "none":
            return {}
        if self._settings.url_channel == "comment":
            return {each.job.job_id: said_by(each.job, each.note) for each in ours}
        printing = [each.job for each in ours if not each.job.is_pending]
        outputs = await self._client.outputs(printing, seconds=seconds) if printing else {}
        return {job_id: read_launch_output(text) for job_id, text in outputs.items()}

    def _instance(self, each: FleetJob, fleet: str, said: Said) -> Instance:
        job = each.job
        announces = self._settings.url_channel != "none"
        settings = self._settings
        near = min(settings.drain_before_end_seconds, settings.time_minutes * 60 / 4)
        verdict = judge(job, said, announces=announces, now=self._clock(), drain_before_end_seconds=near)
        if each.is_duplicate and job.is_pending:
            # Not "failed": nothing is wrong with the provider, so nothing has to rest.
            verdict = JobVerdict(
                InstanceState.TERMINATING, f"job {job.job_id} is a second one of its worker id: taken back"
            )
        return Instance(
            worker_id=each.worker_id,
            instance_id=job.job_id,
            state=verdict.state,
            fleet=fleet,
            home=each.note.home,
            url=verdict.url,
            retries=verdict.retries,
            failure=verdict.failure,
            ends_soon=verdict.ends_soon,
            detail=verdict.detail,
            usd_per_hour=self._settings.usd_per_hour,
            capabilities=tuple(self._settings.capabilities),
        )

    async def terminate(self, instance: Instance) -> None:
        """End one job. A pending one is ended by a call that fails once it runs. Already gone is success.

        Raises:
            TerminationRefused: it was pending and has started, or it is not ours to end.
            ProviderUnavailable: no answer; temporary.
        """
        job_id = instance.instance_id
        if not (job_id.isascii() and job_id.isdecimal()):
            raise TerminationRefused(f"{instance.worker_id}: {job_id!a} is no job id")
        job = self._known_job(instance)
        if job is not None and (job.has_ended or job.state == "COMPLETING"):
            return
        name = _name_of(instance)
        is_pending = job.is_pending if job is not None else instance.state is InstanceState.PENDING
        end = self._client.cancel_pending if is_pending else self._client.cancel
        async with self._at_once:
            await end(job_id, name, seconds=self._settings.command_timeout_seconds)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The end of a job's output file."""
        if self._settings.output_folder is None:
            return {}
        printed = await self._client.output(
            instance.instance_id,
            _name_of(instance),
            LOG_BYTES,
            seconds=self._settings.command_timeout_seconds,
        )
        return {"output": printed} if printed else {}

    def _known_job(self, instance: Instance) -> Job | None:
        jobs = self._listed.get(instance.fleet, ())
        return next((job for job in jobs if job.job_id == instance.instance_id), None)

    async def aclose(self) -> None:
        """Nothing is open."""


def _name_of(instance: Instance) -> str:
    """The name of its job; a duplicate has that of the worker whose second job it is."""
    return job_name(check_fleet_name(instance.fleet), instance.worker_id.partition(".")[0])


def _fingerprint(settings: SlurmSettings) -> str:
    """Names the cluster and whose jobs are seen there. Partition, account and the like may change."""
    user = "" if settings.prefix else str(os.geteuid())
    place = "\n".join([*settings.prefix, "", settings.slurm_conf or "", settings.cluster or "", user])
    return f"slurm-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"
