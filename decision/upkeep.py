"""What each worker needs next, whatever the policy wants: launched again, registered, torn down, forgotten. Pure.

A worker is ended in steps that belong to different claims: the mark in one, and only after that claim's budget is over
the looks and the end in a later one. A run that was killed at any line is continued by the next that observes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.instance import InstanceState
from ebbflow.core.lifecycle import WorkerState, move
from ebbflow.core.member import MemberState, PushMemberList
from ebbflow.core.memory import Memory, UnfinishedEntry
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Action, Reason, Verb
from ebbflow.core.worker import Worker
from ebbflow.decision.placement.shares import ProviderShare
from ebbflow.decision.roster import LOST_SECONDS

LOOKS_APART_SECONDS = 5.0
"""Between the two looks before a worker is stopped."""

UNFINISHED_SECONDS = 600.0
"""An entry of the master without a mark is removed after this long unchanged: a person adding one looks the same."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """One worker after its upkeep: kept or forgotten, with what is to be done for it."""

    worker: Worker | None
    action: Action | None = None
    reason: Reason | None = None


def keep_up(
    worker: Worker,
    inputs: Inputs,
    memory: Memory,
    share: ProviderShare | None,
    *,
    launch_timeout_seconds: float,
    predecessors_act: bool = False,
    has_room: bool = True,
    stays_in_service: bool = False,
) -> Upkeep:
    """Decide the next step of one worker.

    Args:
        worker: reconciled, and marked where it has to go.
        inputs: what was seen; `number` is the claim that this turn goes for.
        memory: aged, to know which earlier claims may still be acting.
        share: its provider; None where only the master knows the worker, or the provider could not be loaded.
        launch_timeout_seconds: after this long a wish that was never listed is given up.
        predecessors_act: whether a run whose record is lost may still be ending workers that it had marked.
        has_room: whether all that may exist, wishes with them, is no more than the fleet may have.
        stays_in_service: whether it is left as it is, though it is marked: work would fail without it.
    """
    if worker.state is WorkerState.GONE:
        return _forget(worker, inputs)
    if worker.state is WorkerState.WISHED:
        return _launch_again(worker, inputs, memory, share, launch_timeout_seconds if has_room else 0.0)
    if worker.instance is None or share is None or not share.complete:
        return Upkeep(worker)
    if worker.state is WorkerState.TERMINATING:
        return _act(worker, Verb.TERMINATE, worker.detail or "not gone yet; asked again until it is")
    if worker.instance is InstanceState.FAILED and worker.state is WorkerState.FAILED and not worker.registered:
        return _act(worker, Verb.TERMINATE, worker.detail or "failed")
    if stays_in_service:
        return Upkeep(worker)
    if worker.mark is not None:
        return _take_out(worker, inputs, memory)
    if _is_to_be_mended(worker, inputs) and not predecessors_act:
        return _act(worker, Verb.MEND, worker.disorder)
    if worker.instance is InstanceState.STOPPED and worker.state is WorkerState.PENDING:
        return _launch_again(worker, inputs, memory, share, launch_timeout_seconds if has_room else 0.0)
    if worker.state in (WorkerState.PENDING, WorkerState.STARTING):
        # A lost record may have held its mark, and who ends it must not find it serving.
        return Upkeep(worker) if predecessors_act else _join(worker, inputs, share)
    return Upkeep(worker)


def _act(worker: Worker, verb: Verb, reason: str) -> Upkeep:
    stops = worker.stops and verb in (Verb.TEAR_DOWN, Verb.TERMINATE)
    return Upkeep(worker, Action(verb, worker.worker_id, worker.provider, reason, stops=stops))


def _forget(worker: Worker, inputs: Inputs) -> Upkeep:
    if not inputs.members.complete:
        return Upkeep(worker)
    if worker.member is None:
        return Upkeep(None, reason=Reason("upkeep.gone", f"{worker.worker_id} is gone: {worker.detail or 'ended'}"))
    if worker.busy:
        return Upkeep(worker, reason=Reason("upkeep.busy", f"{worker.worker_id} has no instance and is busy: kept"))
    if not inputs.master.takes_urls:
        # What joined by itself is forgotten by itself.
        return Upkeep(worker)
    # The master has not noticed: what it gives to one that is gone fails.
    is_fed = worker.member is MemberState.READY or worker.is_fed
    reason = worker.detail or "gone"
    return Upkeep(worker, Action(Verb.DEREGISTER, worker.worker_id, worker.provider, reason, urgent=is_fed))


def _launch_again(
    worker: Worker, inputs: Inputs, memory: Memory, share: ProviderShare | None, launch_timeout_seconds: float
) -> Upkeep:
    """A wish that a complete listing lacks: sent again under the same id where that is safe, given up in the end."""
    if share is None or not share.complete or not memory.is_over(worker.launch_number):
        return Upkeep(worker)
    if worker.instance is InstanceState.UNKNOWN:
        # It is listed, whatever it does: it was launched, and is waited for.
        return Upkeep(worker)
    if _is_in_vain(worker, inputs, share, launch_timeout_seconds):
        return Upkeep(None, reason=_given_up(worker))
    if not _may_repeat(worker, share, launch_timeout_seconds):
        return Upkeep(worker)
    # What earlier lists lacked says nothing of this launch.
    again = replace(worker, launch_number=inputs.number, state_seconds=0.0, absent_looks=0, absent_seconds=0.0)
    reason = "its wish was never listed: launched again under the same id"
    if worker.warm_instance_id:
        reason = f"{worker.warm_instance_id} was not seen to start: started again"
    action = Action(
        Verb.LAUNCH,
        worker.worker_id,
        worker.provider,
        reason,
        worker.usd_per_hour,
        instance_id=worker.warm_instance_id,
    )
    return Upkeep(again, action)


def without_given_up(
    workers: Sequence[Worker],
    inputs: Inputs,
    memory: Memory,
    shares: Mapping[str, ProviderShare],
    *,
    launch_timeout_seconds: float,
    has_room: bool,
) -> tuple[list[Worker], list[Reason]]:
    """Drop wishes that nobody waits for any longer, before anything is decided: their places are free at once.

    Args:
        workers: reconciled.
        inputs: what was seen.
        memory: aged.
        shares: by provider.
        launch_timeout_seconds: after this long a wish is not sent again.
        has_room: whether all that may exist, wishes with them, is no more than the fleet may have: otherwise more came
            back than anybody expected, and no wish is sent again.
    """
    patience_seconds = launch_timeout_seconds if has_room else 0.0
    kept, reasons = [], []
    for worker in workers:
        share = shares.get(worker.provider)
        is_over = (
            worker.state is WorkerState.WISHED and worker.instance is None and memory.is_over(worker.launch_number)
        )
        if is_over and share is not None and share.complete and _is_in_vain(worker, inputs, share, patience_seconds):
            reasons.append(_given_up(worker))
        else:
            kept.append(worker)
    return kept, reasons


def _may_repeat(worker: Worker, share: ProviderShare, launch_timeout_seconds: float) -> bool:
    is_safe = share.caps.idempotent_launch or bool(worker.warm_instance_id)
    return is_safe and share.max_workers > 0 and worker.joining_seconds < launch_timeout_seconds


def _is_in_vain(worker: Worker, inputs: Inputs, share: ProviderShare, launch_timeout_seconds: float) -> bool:
    # A launch may be sent as late as its claim's budget, and be listed as late as the settle time after that.
    # Durations are as good as the ledger's clock, which may have leapt: one list alone does not decide.
    settled = worker.state_seconds >= inputs.turn.budget_seconds + share.caps.settle_seconds
    return settled and worker.absent_looks > 1 and not _may_repeat(worker, share, launch_timeout_seconds)


def _given_up(worker: Worker) -> Reason:
    text = f"{worker.worker_id}: wish given up, never listed in {worker.joining_seconds:.0f} s"
    return Reason("upkeep.given_up", text)


def _is_to_be_mended(worker: Worker, inputs: Inputs) -> bool:
    """Whether the master holds it wrongly for longer than its own polls take to mend that, and no work is on it."""
    is_due = worker.disorder and (worker.disorder_seconds or 0.0) >= LOST_SECONDS
    return bool(is_due) and worker.busy is False and inputs.master.takes_urls


def _take_out(worker: Worker, inputs: Inputs, memory: Memory) -> Upkeep:
    mark = worker.mark
    assert mark is not None
    if not inputs.members.complete:
        return Upkeep(worker)
    if mark.number < inputs.number and memory.is_over(mark.number):
        return _act(worker, Verb.TEAR_DOWN, mark.reason)
    # A worker that never joined has nothing to drain: its mark alone keeps it from being registered.
    if worker.member is None and not worker.registered:
        return Upkeep(worker)
    return Upkeep(worker, Action(Verb.DRAIN, worker.worker_id, worker.provider, mark.reason, urgent=mark.urgent))


def _join(worker: Worker, inputs: Inputs, share: ProviderShare) -> Upkeep:
    if not inputs.members.complete or worker.member in (MemberState.JOINING, MemberState.DRAINING):
        return Upkeep(worker)
    if worker.url is not None:
        return _act(replace(worker, register_turns=worker.register_turns + 1), Verb.REGISTER, f"announced {worker.url}")
    if share.caps.relist_seconds is None or not inputs.master.takes_urls:
        return Upkeep(worker)
    return _act(worker, Verb.REGISTER, "waits for its URL")


def sweep(inputs: Inputs, known: Sequence[UnfinishedEntry]) -> Iterator[tuple[UnfinishedEntry, Action | None]]:
    """Follow entries that a registration left half-made, and remove those unchanged for ten minutes.

    Source: SwarmUI's AddNewBackend and EditBackend are two calls; a crash between them leaves an empty entry.
    """
    ages = {entry.master_ref: entry.age_seconds for entry in known}
    if not inputs.members.complete:
        yield from ((entry, None) for entry in known)
        return
    for ref in inputs.members.unfinished if isinstance(inputs.members, PushMemberList) else ():
        entry = UnfinishedEntry(ref, ages.get(ref, 0.0))
        if entry.age_seconds < UNFINISHED_SECONDS:
            yield entry, None
        else:
            reason = f"entry {ref} was left unfinished for {entry.age_seconds:.0f} s"
            yield entry, Action(Verb.DEREGISTER, "", "", reason, member_ref=ref)


def ending(worker: Worker) -> Worker:
    """The worker after its provider accepted its termination."""
    return replace(worker, state=move(worker.state, WorkerState.TERMINATING), state_seconds=0.0)
