"""Who is not waited for any longer: workers that never became ready, and those that nobody answers for. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ebbflow.core.instance import Failure
from ebbflow.core.lifecycle import JOINING, WorkerState, move
from ebbflow.core.text import counted
from ebbflow.core.worker import Mark, Worker

SILENT_SECONDS = 60.0
"""Unanswered in the looks of two claims this far apart, a worker counts as empty."""


def give_up(
    workers: Sequence[Worker],
    number: int,
    *,
    launch_timeout_seconds: float,
    retries: int,
    drain_deadline_seconds: float,
    warm_start_seconds: Mapping[str, float] | None = None,
) -> list[Worker]:
    """Fail workers that never became ready in time, and mark what nobody has answered for.

    Args:
        workers: as reconciled.
        number: the claim that sets the marks.
        launch_timeout_seconds: counted from the wish, the adoption, or the last time it was ready; a worker that
            announced itself in the meantime is tried in one more turn all the same.
        retries: failed attempts to reach a worker at its URL, after the first, until it is given up; its own number
            goes before. Source: SwarmUI src/Backends/AutoScalingBackend.cs, `DoRetries`.
        drain_deadline_seconds: how long one is waited for that was last seen busy.
        warm_start_seconds: by provider, how long a warm instance that was started may be pending.
    """
    warm = warm_start_seconds or {}
    # Where most answer nothing at once, it is we who hear nothing.
    fed, heard = sum(worker.is_fed for worker in workers), sum(worker.busy is not None for worker in workers)
    return [
        _given_up(
            worker,
            _why_given_up(
                worker,
                launch_timeout_seconds,
                retries,
                warm.get(worker.provider, launch_timeout_seconds),
                are_others_heard=heard >= fed,
            ),
            number,
            drain_deadline_seconds,
        )
        for worker in workers
    ]


def _given_up(worker: Worker, why: str, number: int, drain_deadline_seconds: float) -> Worker:
    if not why or worker.mark is not None:
        return worker
    mark = Mark(number, why, patience_with(worker, drain_deadline_seconds))
    if worker.state is WorkerState.FAILED:
        return replace(worker, mark=mark)
    if worker.state is WorkerState.LOST:
        state = move(worker.state, WorkerState.DRAINING)
        return replace(worker, state=state, state_seconds=0.0, mark=mark)
    state = move(worker.state, WorkerState.FAILED)
    return replace(worker, state=state, state_seconds=0.0, failure=Failure.TIMEOUT, detail=why, mark=mark)


def patience_with(worker: Worker, drain_deadline_seconds: float) -> float:
    """The drain deadline of one that has to go: none where it never served, or where it was idle when last heard of."""
    return drain_deadline_seconds if worker.registered and worker.heard_busy is not False else 0.0


def _why_given_up(worker: Worker, timeout: float, retries: int, warm_timeout: float, *, are_others_heard: bool) -> str:
    if worker.state is WorkerState.FAILED:
        return worker.detail or "failed"
    if worker.state in JOINING and worker.instance is not None:
        return _never_started(worker, warm_timeout) or _never_ready(worker, timeout, retries)
    if worker.state is not WorkerState.LOST or not worker.provider:
        return ""
    if worker.is_fed:
        # Its master answers for it still; that no more is given to it is the first step.
        silent = f"silent for {worker.unanswered_seconds or 0.0:.0f} s, while the master gives it work"
        return silent if are_others_heard else ""
    if not _is_given_up_for_lost(worker, timeout):
        return ""
    what = worker.disorder or "neither the master nor itself answers for it"
    return f"lost for {worker.state_seconds:.0f} s: {what}"


def _never_started(worker: Worker, warm_timeout: float) -> str:
    waits = worker.warm_instance_id and worker.state is WorkerState.PENDING
    if not waits or worker.joining_seconds < warm_timeout:
        return ""
    return f"warm instance {worker.warm_instance_id} did not start within {warm_timeout:g} s: its GPU may be rented out"


def _never_ready(worker: Worker, timeout: float, retries: int) -> str:
    """Why a worker that is on its way is not waited for any longer; empty while it is."""
    allowed = retries if worker.retries is None else worker.retries
    if worker.attempts > allowed:
        tried = counted(worker.attempts, "attempt")
        return f"announced {worker.url}, but nobody answered as a worker in {tried} (retries {allowed})"
    is_tried = worker.url is None or worker.register_turns or worker.registered
    if worker.joining_seconds < timeout or not is_tried:
        return ""
    said = (
        f"announced {worker.url}" if worker.url else "; ".join(filter(None, ("never announced a URL", worker.detail)))
    )
    return f"not ready after {worker.joining_seconds:.0f} s (launch_timeout_seconds {timeout:g}): {said}"


def _is_given_up_for_lost(worker: Worker, timeout: float) -> bool:
    silent = worker.unanswered_seconds is not None and worker.unanswered_seconds >= SILENT_SECONDS
    return silent or worker.state_seconds >= timeout
