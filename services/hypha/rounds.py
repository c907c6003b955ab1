"""What is done again and again: look how jobs at Ray do, end those that are to end, and start whose turn it is.

A round concludes nothing from silence. It may be killed at any point: a job is noted as `starting` on disk before it is
handed to Ray, under an id that Ray takes once.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from ebbflow.core.errors import FleetError
from ebbflow.core.text import counted, one_line
from ebbflow.services.hypha.board import Board
from ebbflow.services.hypha.head import Head, HeadAway, HeadRefuses, RayState, Seen
from ebbflow.services.hypha.jobs import Job, JobState, startable

MOST_TRIES = 5
"""So often a head that answers may refuse a job, or not give what it printed."""
NO_AGENT = "No available agent"
"""A head in its first seconds takes no job."""
FORGET_SECONDS = 60.0
ENDED = {
    RayState.STOPPED: JobState.CANCELLED,
    RayState.SUCCEEDED: JobState.SUCCEEDED,
    RayState.FAILED: JobState.FAILED,
}


class Rounds:
    """The rounds of one service.

    Args:
        board: the jobs.
        head: has them.
        interval_seconds: between two rounds in which nothing happens.
        monotonic: seconds of a clock that only goes on.
        say: is told when a round no longer comes to its end, and when one does again.
    """

    def __init__(
        self,
        board: Board,
        head: Head,
        *,
        interval_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._board, self._head = board, head
        self._interval_seconds, self._monotonic, self._say = interval_seconds, monotonic, say
        self._forgot_at = -FORGET_SECONDS
        self._unread: dict[str, int] = {}
        """How often what a job had printed could not be read."""
        self.trouble = ""
        """Why the last round did not come to its end; empty: it did."""

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            before = self.trouble
            await self.one()
            if self.trouble != before:
                self._say(
                    f"{self.trouble}; jobs stay as they were seen" if self.trouble else "the Ray head answers again"
                )
            await self._board.woken(self._interval_seconds)

    async def one(self) -> None:
        """One round. Where the head does not answer it ends there, and the next one goes on."""
        try:
            session = await self._head.session()
            for job in self._board.at_ray:
                await self._settle(job, session)
            for job in startable(self._board.waiting, self._board.at_ray, self._board.shares):
                if (begun := await self._board.begin(job.job_id, session)) is not None:
                    await self._hand_over(begun)
            self.trouble = ""
            if self._monotonic() - self._forgot_at >= FORGET_SECONDS:
                self._forgot_at = self._monotonic()
                await self._board.forget()
        except FleetError as error:
            # Also a disk that is full: what was not noted was not done, and the next round finds it.
            self.trouble = one_line(str(error))

    async def _settle(self, job: Job, session: str) -> None:
        seen = await self._head.look(job.job_id)
        if seen is None:
            await self._missing(job, session)
            return
        if seen.state in ENDED:
            await self._ended(job, seen)
            return
        is_running, now = seen.state is RayState.RUNNING, self._board.now()

        def going_on(found: Job) -> Job:
            since = found.started_at if found.started_at is not None else (now if is_running else None)
            is_late = since is not None and now - since > found.most_seconds
            hours = f"{found.most_seconds / 3600:g} h"
            cancels = found.cancels or (f"it went on for longer than {hours}" if is_late else "")
            note = cancels or ("" if is_running else seen.message)
            return replace(found, state=JobState.RUNNING, started_at=since, cancels=cancels, note=note)

        changed = await self._board.change(job.job_id, going_on)
        if changed is not None and changed.cancels:
            # Again in each round: one that waits at Ray for a worker is stopped once it begins.
            await self._head.stop(job.job_id)

    async def _missing(self, job: Job, session: str) -> None:
        """The head knows nothing of it: it never got it, was started anew, or somebody deleted it there."""
        if job.state is JobState.STARTING and job.session == session:
            if job.cancels:
                await self._board.change(job.job_id, lambda found: replace(found, state=JobState.CANCELLED))
            else:
                await self._hand_over(job)
            return
        anew = "the Ray head was started anew and knows nothing of it; whether it was done nobody can tell"
        note = anew if job.session != session else "the Ray head has deleted it: somebody asked it to"
        await self._board.change(job.job_id, lambda found: replace(found, state=JobState.LOST, note=note))

    async def _hand_over(self, job: Job) -> None:
        try:
            await self._head.hand_over(job)
        except HeadRefuses as error:
            if NO_AGENT in str(error):
                raise HeadAway(str(error)) from error
            why = one_line(str(error))
            await self._board.change(job.job_id, lambda found: _refused(found, why))
            return
        await self._board.change(job.job_id, lambda found: replace(found, state=JobState.RUNNING, tries=0))

    async def _ended(self, job: Job, seen: Seen) -> None:
        state, note = ENDED[seen.state], seen.message
        if state is JobState.SUCCEEDED:
            note = ""
        elif state is JobState.CANCELLED:
            note = job.cancels or "somebody stopped it at Ray"
        try:
            output = await self._head.output(job, seen.node, self._board.limits.most_result_bytes)
        except (HeadAway, HeadRefuses) as error:
            tries = self._unread[job.job_id] = self._unread.get(job.job_id, 0) + 1
            if tries < MOST_TRIES:
                return
            lost = f"what it printed could not be read: {one_line(str(error), 200)}"
            text, size, is_cut, note = None, None, False, "; ".join(filter(None, [note, lost]))
        else:
            text, size, is_cut = output.text, len(output.text.encode()), output.is_cut
        self._unread.pop(job.job_id, None)

        def over(found: Job) -> Job:
            return replace(found, state=state, note=note, result_bytes=size, is_cut=is_cut)

        await self._board.change(job.job_id, over, text)


def _refused(job: Job, why: str) -> Job:
    """Tried again by the next round, since a head in trouble refuses too; but not for ever."""
    if job.tries + 1 < MOST_TRIES:
        return replace(job, tries=job.tries + 1, note=why)
    return replace(job, state=JobState.FAILED, note=f"refused {counted(MOST_TRIES, 'time')}: {why}")
