"""All jobs that are not over, in memory as on disk: one change of a job at a time, on disk first."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio

from ebbflow.core.text import counted
from ebbflow.services.hypha.asked import Asked, Full
from ebbflow.services.hypha.jobs import AT_RAY, Job, JobState, Shares, places
from ebbflow.services.hypha.settings import Limits
from ebbflow.services.hypha.store import Store

PREFIX = "ebbflow-job-"
REMEMBERED_HOURS = 24 * 30
"""How long it is told that there was a job, after what it printed has gone."""


class Board:
    """What waits and what is at Ray.

    Args:
        store: the file.
        limits: how much there may be.
        now: seconds since 1970.
    """

    def __init__(self, store: Store, limits: Limits, now: Callable[[], float] = time.time) -> None:
        self.store, self.limits, self.now = store, limits, now
        self._live: dict[str, Job] = {}
        self._starts: dict[str, int] = {}
        self._places: dict[str, int] | None = None
        """Of those that wait; None: something has changed since they were counted."""
        self._changing = anyio.Lock()
        self._changed = anyio.Event()

    async def open(self) -> None:
        """Read what a service before this one left."""
        found = await self.store.in_states(JobState.WAITING, JobState.STARTING, JobState.RUNNING)
        self._live = {job.job_id: job for job in found}
        self._starts = await self.store.starts()

    @property
    def waiting(self) -> Sequence[Job]:
        """In our own queue."""
        return [job for job in self._live.values() if job.state is JobState.WAITING]

    @property
    def at_ray(self) -> Sequence[Job]:
        """Handed over, or about to be."""
        return [job for job in self._live.values() if job.state in AT_RAY]

    @property
    def shares(self) -> Shares:
        """How much is started at once, and who was when."""
        return Shares(self.limits.most_running, self.limits.most_running_per_user, self._starts)

    def ahead(self, job: Job) -> int:
        """How many that wait now are started before it."""
        if self._places is None:
            self._places = places(self.waiting, self.at_ray, self.shares)
        return self._places.get(job.job_id, 0)

    async def job(self, job_id: str) -> Job | None:
        """One, also one that is over."""
        return self._live.get(job_id) or await self.store.job(job_id)

    async def submit(self, user: str, asked: Asked) -> Job:
        """Queue it; with a key that the user has used, it is the job from then.

        Raises:
            Full: they, or all together, have as many waiting as there may be.
        """
        async with self._changing:
            if asked.key and (known := await self.store.with_key(user, asked.key)) is not None:
                return self._live.get(known.job_id, known)
            waiting = self.waiting
            most, mine = self.limits.most_waiting_per_user, sum(job.user == user for job in waiting)
            if mine >= most:
                raise Full(f"you have {counted(mine, 'job')} waiting, and {most} are allowed: wait, or cancel some")
            if len(waiting) >= self.limits.most_waiting:
                raise Full(f"{counted(len(waiting), 'job')} of all users wait, and no more are taken: try again later")
            made = await self.store.add(
                Job(
                    job_id=PREFIX + secrets.token_hex(8),
                    number=0,
                    user=user,
                    entrypoint=asked.entrypoint,
                    runtime_env=asked.runtime_env,
                    most_seconds=asked.most_seconds,
                    submitted_at=self.now(),
                    key=asked.key,
                )
            )
            self._keep(made)
        self.wake()
        return made

    async def begin(self, job_id: str, session: str) -> Job | None:
        """Note that it is about to be handed to that head; None: it no longer waits."""
        async with self._changing:
            job = self._live.get(job_id)
            if job is None or job.state is not JobState.WAITING:
                return None
            begun = replace(job, state=JobState.STARTING, session=session)
            await self.store.begin(begun)
            self._starts = await self.store.starts()
            self._keep(begun)
            return begun

    async def change(self, job_id: str, change: Callable[[Job], Job], result: str | None = None) -> Job | None:
        """Change what it is by then; None: it is over, and stays as it is."""
        async with self._changing:
            job = self._live.get(job_id)
            if job is None:
                return None
            changed = change(job)
            if changed == job and result is None:
                return job
            if changed.is_over and changed.ended_at is None:
                changed = replace(changed, ended_at=self.now())
            await self.store.put(changed, result)
            self._keep(changed)
            return changed

    def _keep(self, job: Job) -> None:
        """In memory, as it is on disk."""
        self._places = None
        if job.is_over:
            self._live.pop(job.job_id, None)
        else:
            self._live[job.job_id] = job

    async def forget(self) -> int:
        """Drop results that were kept long enough; how many."""
        kept, known = 3600 * self.limits.keep_hours, 3600 * max(REMEMBERED_HOURS, self.limits.keep_hours)
        return await self.store.drop(results_before=self.now() - kept, jobs_before=self.now() - known)

    def wake(self) -> None:
        """Something is to be done."""
        self._changed.set()

    async def woken(self, most_seconds: float) -> None:
        """Wait until something is to be done, or so long."""
        with anyio.move_on_after(most_seconds):
            await self._changed.wait()
        self._changed = anyio.Event()
