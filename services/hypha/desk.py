"""The functions that people call: who may, what they asked for, what they are told. Nothing of Hypha is in here."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ebbflow.core.errors import FleetError
from ebbflow.core.text import counted, one_line
from ebbflow.gateway.rates import Rate
from ebbflow.services.hypha import asked
from ebbflow.services.hypha.asked import BadInput, Denied, Full, Unknown
from ebbflow.services.hypha.audit import Audit, Line
from ebbflow.services.hypha.board import Board
from ebbflow.services.hypha.callers import Caller, Rights, caller_of
from ebbflow.services.hypha.cluster import Cluster
from ebbflow.services.hypha.jobs import Job, JobState
from ebbflow.services.hypha.settings import Settings

Answer = dict[str, Any]
"""Any: JSON is what it is."""
FIRST = {"submit": "entrypoint", **dict.fromkeys(("status", "result", "cancel", "why"), "job_id")}
"""By function: the argument that needs no name."""
MOST_LISTED = 100
LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One call of somebody who may."""

    caller: Caller
    is_admin: bool
    given: Mapping[str, object]


class Desk:
    """Answers.

    Args:
        settings: of the operator.
        board: the jobs.
        cluster: how Ray and the fleet do.
        audit: has a line for each call.
    """

    def __init__(self, settings: Settings, board: Board, cluster: Cluster, audit: Audit) -> None:
        self._settings, self._board, self._cluster, self._audit = settings, board, cluster, audit
        self._rights = Rights.of(settings.allow, settings.admins)
        often = settings.limits.most_calls_per_minute
        self._rate = Rate(often / 60, often)
        self.functions: Mapping[str, Callable[[Call], Awaitable[Answer]]] = {
            "submit": self._submit,
            "status": self._status,
            "result": self._result,
            "cancel": self._cancel,
            "cluster": self._state,
            "workers": self._workers,
            "why": self._why,
        }

    async def call(
        self, function: str, context: object, words: Sequence[object], given: Mapping[str, object]
    ) -> Answer:
        """Answer one call; a line of it is kept whatever comes of it.

        Args:
            function: its name.
            context: what the server says of the call.
            words: arguments without a name; one at most, which is the function's first.
            given: arguments by name.

        Raises:
            Refused: says why, and what would be right.
            StoreError: it could not be kept, so it was not done.
        """
        caller, now = caller_of(context), self._board.now()
        try:
            self._check(caller, function, now)
            given = _named(function, words, given)
            answer = await self.functions[function](Call(caller, self._rights.is_admin(caller), given))
        except FleetError as error:
            self._audit.note(Line(now, caller.shown, function, "refused", str(error), _job_of(given)))
            raise
        self._audit.note(Line(now, caller.shown, function, "done", job=str(answer.get("job_id") or _job_of(given))))
        return answer

    def _check(self, caller: Caller, function: str, now: float) -> None:
        if caller.is_anonymous:
            raise Denied(f"{function} is for people with an account: connect with a token of the Hypha server")
        if not self._rights.may_call(caller):
            raise Denied(
                f"{caller.shown} may not call {function}: the operator of this service allows people by name; "
                f"to be allowed, tell them user:{caller.user}"
            )
        if not self._rate.lets(caller.user, now):
            raise Full(f"{self._settings.limits.most_calls_per_minute} calls a minute are allowed: wait a moment")

    async def _submit(self, call: Call) -> Answer:
        job = await self._board.submit(call.caller.user, asked.submission(call.given, self._settings))
        return self._shown(job)

    async def _status(self, call: Call) -> Answer:
        job_id = asked.job_id(call.given, "status", "everybody", is_needed=False)
        everybody = asked.flag(call.given, "everybody")
        if everybody and not call.is_admin:
            raise Denied("everybody is for admins: leave it out to see your own jobs")
        if job_id is not None:
            return self._shown(await self._theirs(call, job_id), of=call)
        found = await self._board.store.last_of(None if everybody else call.caller.user, MOST_LISTED)
        return {"jobs": [self._shown(job, of=call) for job in found]}

    async def _result(self, call: Call) -> Answer:
        job_id = asked.job_id(call.given, "result", "cut")
        may_be_cut = asked.flag(call.given, "cut")
        job = await self._theirs(call, job_id or "")
        if not job.is_over:
            raise BadInput(f"{job.job_id} is {job.state.value}: its result is there once it has ended")
        text, most = await self._board.store.result(job.job_id), self._settings.limits.most_result_bytes
        if text is None:
            kept = f"results are kept for {self._settings.limits.keep_hours:g} h"
            raise Unknown(f"{job.job_id} {job.state.value}, and nothing that it printed is there: {job.note or kept}")
        if job.is_cut and not may_be_cut:
            raise BadInput(
                f"{job.job_id} printed more than {most} bytes, which is what is kept of one: let it write its result "
                "to a place of yours and print where that is; with cut=true you get the end of what it printed"
            )
        return {**self._shown(job, of=call), "output": text, "is_cut": job.is_cut}

    async def _cancel(self, call: Call) -> Answer:
        job = await self._theirs(call, asked.job_id(call.given, "cancel") or "")
        why = f"{call.caller.shown} asked for its end"

        def ends(found: Job) -> Job:
            if found.state is JobState.WAITING:
                return replace(found, state=JobState.CANCELLED, note=why)
            return replace(found, cancels=found.cancels or why, note=found.cancels or why)

        changed = await self._board.change(job.job_id, ends)
        self._board.wake()
        after = changed or await self._theirs(call, job.job_id)
        is_done = changed is not None
        note = after.note if is_done else f"it had ended before: {after.state.value}"
        return {**self._shown(after, of=call), "is_cancelled": is_done, "note": note}

    async def _state(self, call: Call) -> Answer:
        asked.nothing(call.given, "cluster")
        waiting, at_ray = self._board.waiting, self._board.at_ray
        mine = call.caller.user
        queue: Answer = {
            "waiting": len(waiting),
            "at_ray": len(at_ray),
            "most_at_ray": self._settings.limits.most_running,
            "users": len({job.user for job in (*waiting, *at_ray)}),
            "yours_waiting": sum(job.user == mine for job in waiting),
            "yours_at_ray": sum(job.user == mine for job in at_ray),
        }
        if call.is_admin:
            queue["by_user"] = dict(Counter(job.user for job in (*waiting, *at_ray)))
        return {"queue": queue, **await self._cluster.state()}

    async def _workers(self, call: Call) -> Answer:
        asked.nothing(call.given, "workers")
        return {"workers": await self._cluster.workers()}

    async def _why(self, call: Call) -> Answer:
        job_id = asked.job_id(call.given, "why", is_needed=False)
        job = None if job_id is None else await self._theirs(call, job_id)
        lines = [] if job is None else list(self._reasons(job))
        is_waiting = job is None or not job.is_over
        return {"why": lines + (list(await self._cluster.reasons()) if is_waiting else [])}

    def _reasons(self, job: Job) -> Sequence[str]:
        limits = self._settings.limits
        if job.is_over:
            return [f"{job.job_id} {job.state.value}{f': {job.note}' if job.note else ''}"]
        if job.state is not JobState.WAITING:
            note = f": {job.note}" if job.note else ""
            return [f"{job.job_id} is at Ray{note}"]
        at_ray = self._board.at_ray
        mine, before = sum(each.user == job.user for each in at_ray), self._board.ahead(job)
        lines = [f"{job.job_id} waits here: {counted(before, 'submission')} before it"]
        if limits.most_running_per_user is not None and mine >= limits.most_running_per_user:
            lines.append(f"you have {counted(mine, 'job')} at Ray, and {limits.most_running_per_user} are allowed")
        if len(at_ray) >= limits.most_running:
            lines.append(
                f"{counted(len(at_ray), 'job')} of all users are at Ray, and {limits.most_running} are allowed"
            )
        return lines

    async def _theirs(self, call: Call, job_id: str) -> Job:
        """A job that a caller may see."""
        job = await self._board.job(job_id)
        if job is None or (job.user != call.caller.user and not call.is_admin):
            raise Unknown(f"there is no job {one_line(job_id, 60)} of yours")
        return job

    def _shown(self, job: Job, *, of: Call | None = None) -> Answer:
        """As its submitter sees it; times in seconds since 1970."""
        said: Answer = {
            "job_id": job.job_id,
            "state": job.state.value,
            "entrypoint": one_line(job.entrypoint, LONGEST_SHOWN),
            "submitted_at": job.submitted_at,
            "started_at": job.started_at,
            "ended_at": job.ended_at,
            "note": job.note,
        }
        if job.key:
            said["key"] = job.key
        if job.state is JobState.WAITING:
            said["ahead"] = self._board.ahead(job)
        if job.is_over and job.ended_at is not None and job.result_bytes is not None:
            said["result_bytes"] = job.result_bytes
            said["result_until"] = job.ended_at + 3600 * self._settings.limits.keep_hours
        if of is not None and of.is_admin:
            said["user"] = job.user
        return said


def _named(function: str, words: Sequence[object], given: Mapping[str, object]) -> Mapping[str, object]:
    name = FIRST.get(function)
    if not words:
        return given
    if len(words) > 1 or name is None or name in given:
        raise BadInput(f"{function}: name the arguments, as in submit(entrypoint='python train.py', hours=1)")
    return {name: words[0], **given}


def _job_of(given: Mapping[str, object]) -> str:
    found = given.get("job_id")
    return one_line(found, asked.LONGEST_ID) if isinstance(found, str) else ""


def plain(answer: Answer) -> Answer:
    """The same, made of what every client of a Hypha server can read."""
    return dict(json.loads(json.dumps(answer, allow_nan=False)))
