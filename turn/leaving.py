"""How a worker leaves: drained, looked at twice, ended, seen gone, forgotten. Each step may be the last of a run."""

from contextlib import suppress
from dataclasses import replace
from functools import partial

import anyio

from ebbflow.core.errors import BudgetOver, FleetError
from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import DrainAnswer, DrainWay, Member, MemberState
from ebbflow.core.plan import Action, Outcome, Result
from ebbflow.core.ports import Provider, PushMaster
from ebbflow.core.text import without_user
from ebbflow.core.worker import Worker
from ebbflow.decision.giving_up import SILENT_SECONDS
from ebbflow.turn.calls import Acting
from ebbflow.turn.notes import note

STAYS_OUT = {
    DrainAnswer.HELD: "works at its drain deadline, and its master cannot put it back before that work is done: "
    "it is asked again",
    DrainAnswer.FED: "an entry of the master that is none of this fleet's gives it work: it stays until that is off",
}
"""Answers after which it is neither in service nor on its way out."""
STAYS = {
    DrainAnswer.BUSY: "works; stays in service",
    DrainAnswer.REOPENED: "somebody else has put it back into service: it stays",
}
"""Answers that take the mark back."""
LOGS_SECONDS = 3.0
"""For reading what a worker printed, before it is ended."""


async def drain(acting: Acting, action: Action) -> Outcome:
    """Tell the master to give the worker no new work."""
    worker = acting.evaluation.worker(action.worker_id)
    answer = await _drained(acting, worker)
    is_out = answer is DrainAnswer.ACCEPTED and acting.opened.master.caps.drain is DrainWay.NATIVE
    done = replace(note(action, Result.DONE, answer.value), is_out=is_out)
    return _without_leaving(action, answer) or done


def _without_leaving(action: Action, answer: DrainAnswer) -> Outcome | None:
    """What an answer to a drain comes to that does not let it leave; None where it does."""
    if answer in STAYS:
        return note(action, Result.BUSY, STAYS[answer])
    return note(action, Result.WAITING, STAYS_OUT[answer]) if answer in STAYS_OUT else None


async def tear_down(acting: Acting, action: Action) -> Outcome:
    """Drain again, look twice, and if the worker is empty: ask its software to end, terminate, see it gone, deregister.

    Source: SwarmUI neither drains nor deletes with regard to running generations, so emptiness is looked for in the
    worker itself, and twice, because a request may be on its way between the master and the worker.
    """
    worker = acting.evaluation.worker(action.worker_id)
    mark = worker.mark
    overdue = mark is not None and mark.forced and not mark.remaining_seconds
    for look in range(2):
        if look:
            await acting.sleep(acting.looks_apart_seconds)
        # Each look drains anew: where the master has forgotten the worker, that answer is all that is known of it.
        answer = await _drained(acting, worker)
        stays = _without_leaving(action, answer)
        if stays is not None and not (overdue and answer is DrainAnswer.FED):
            return stays
        result, detail = await _look(acting, worker, answer)
        if result is not Result.DONE and not overdue:
            return note(action, result, detail)
    await _asked_to_end(acting, worker)
    return await _end_instance(acting, action)


async def terminate(acting: Acting, action: Action) -> Outcome:
    """End the instance of one that is being ended, or that failed before it ever served and is no member by now."""
    never_served = not action.instance_id and acting.evaluation.worker(action.worker_id).state is WorkerState.FAILED
    return await _end_instance(acting, action, unless_joined=never_served)


async def _end_instance(acting: Acting, action: Action, *, unless_joined: bool = False) -> Outcome:
    """End it; where the provider may be asked again in this turn, see it gone and deregister it."""
    provider = acting.provider(action.provider)
    if action.instance_id:
        spare = acting.evaluation.spare(action.provider, action.instance_id)
        await _paced(acting, provider, action)
        await _end(acting, provider, spare, action)
        return note(action, Result.DONE, f"{spare.instance_id} is being ended")
    worker = acting.evaluation.worker(action.worker_id)
    instance = acting.evaluation.instances[action.worker_id]
    await _keep_logs(acting, provider, instance)
    await _paced(acting, provider, action)
    if unless_joined:
        member, unknown = await _member(acting, worker)
        if unknown or member is not None:
            return note(action, Result.WAITING, unknown or "the master has it by now: not ended by its row alone")
    await _end(acting, provider, instance, action, once=unless_joined)
    if action.stops:
        return note(action, Result.DONE, f"{instance.instance_id} is being stopped, and kept")
    shown = await acting.relisted(worker, fresh=True)
    if shown is None or shown.state is not InstanceState.GONE:
        return note(action, Result.DONE, f"{instance.instance_id} is being ended")
    master = acting.opened.master
    if not isinstance(master, PushMaster):
        return note(action, Result.DONE, f"{instance.instance_id} is gone")
    await acting.ask_master(partial(master.deregister, worker), f"deregister {worker.worker_id}")
    return note(action, Result.DONE, f"{instance.instance_id} is gone, and deregistered")


async def _paced(acting: Acting, provider: Provider, action: Action) -> None:
    """Wait until the provider may be asked to end one more."""
    await acting.paced((action.provider, "end"), provider.caps.seconds_between_ends, provider.caps.call_seconds)


async def _end(acting: Acting, provider: Provider, instance: Instance, action: Action, *, once: bool = False) -> None:
    """Terminate it, or stop it where it is kept. `once`: what the last look said holds for one try only."""
    end, what = (provider.stop, "stop") if action.stops else (provider.terminate, "terminate")
    await acting.ask_provider(provider, partial(end, instance), f"{what} {instance.instance_id}", once=once)


async def _keep_logs(acting: Acting, provider: Provider, instance: Instance) -> None:
    """Read what it printed before it is gone. Best effort: a worker that costs money is ended all the same."""
    if not provider.caps.keeps_logs or not acting.budget.allows(LOGS_SECONDS + provider.caps.call_seconds):
        return
    with suppress(FleetError), anyio.move_on_after(LOGS_SECONDS):
        outputs = await provider.logs(instance)
        acting.shared.logs[instance.worker_id] = {name: without_user(text) for name, text in outputs.items()}


async def deregister(acting: Acting, action: Action) -> Outcome:
    """Let the master forget a worker that is gone, or an entry that was left unfinished."""
    ref, master = action.member_ref, acting.opened.master
    assert isinstance(master, PushMaster), "what joined by itself is forgotten by itself"
    if ref is not None:
        await acting.ask_master(partial(master.remove_unfinished, ref), f"remove entry {ref}")
        return note(action, Result.DONE, f"entry {ref} removed")
    worker = acting.evaluation.worker(action.worker_id)
    member, unknown = await _member(acting, worker)
    if unknown:
        return note(action, Result.WAITING, unknown)
    # One that was marked has been drained and looked at; another one may still get work, and is kept if it lives.
    if member is not None and (member.busy or (member.busy is False and worker.mark is None)):
        return note(action, Result.WAITING, "it answers now: the master keeps it")
    await acting.ask_master(partial(master.deregister, worker), f"deregister {worker.worker_id}")
    return note(action, Result.DONE)


async def mend(acting: Acting, action: Action) -> Outcome:
    """Let the master put right how it holds a worker."""
    worker, master = acting.evaluation.worker(action.worker_id), acting.opened.master
    assert isinstance(master, PushMaster), "what joined by itself is held by itself"
    answer = await acting.ask_master(partial(master.mend, worker), f"mend the entry of {worker.worker_id}")
    return note(action, Result.DONE if answer.registered else Result.WAITING, answer.detail)


async def _drained(acting: Acting, worker: Worker) -> DrainAnswer:
    mark = worker.mark
    remaining, forced = (mark.remaining_seconds, mark.forced) if mark else (0.0, False)
    call = partial(acting.opened.master.drain, worker, remaining, force=forced)
    return await acting.ask_master(call, f"drain {worker.worker_id}")


async def _look(acting: Acting, worker: Worker, drained: DrainAnswer) -> tuple[Result, str]:
    """Whether no new work can reach the worker and nothing runs on it. Unknown is neither."""
    member, unknown = await _member(acting, worker)
    if unknown:
        return Result.WAITING, unknown
    if member is None and drained is DrainAnswer.SILENT and worker.registered:
        return _silence(worker)
    if member is None:
        empty = drained in (DrainAnswer.GONE, DrainAnswer.SILENT)
        return (Result.DONE, "not a member") if empty else (Result.WAITING, "not a member, and not seen empty")
    if not _is_out(member, drained, acting.opened.master.caps.drain):
        return Result.WAITING, f"the master shows it {member.state.value}: work may still reach it"
    return _emptiness(worker, member)


async def _member(acting: Acting, worker: Worker) -> tuple[Member | None, str]:
    """The worker as its master shows it now, and why that cannot be known."""
    look = acting.opened.look_at_members([worker], [worker.worker_id])
    members = await acting.ask_master(look, f"look at {worker.worker_id}")
    if not members.complete:
        return None, f"members unknown: {members.detail}"
    return next((member for member in members.members if member.worker_id == worker.worker_id), None), ""


def _is_out(member: Member, drained: DrainAnswer, way: DrainWay) -> bool:
    """Whether no new work is given to it, as far as its master can say so."""
    if member.state is MemberState.LOST:
        return drained in (DrainAnswer.GONE, DrainAnswer.SILENT)
    # A master that cannot refuse work shows no change; that it is idle in both looks is all that can be waited for.
    return member.state is MemberState.DRAINING or way is not DrainWay.NATIVE


def _emptiness(worker: Worker, member: Member) -> tuple[Result, str]:
    if member.busy:
        return Result.WAITING, "still works"
    if member.busy is False:
        return Result.DONE, "empty"
    return _silence(worker)


def _silence(worker: Worker) -> tuple[Result, str]:
    """Nobody answering is not "empty" yet: after a minute where it was idle before, else through its drain deadline."""
    silent_seconds, mark = worker.unanswered_seconds or 0.0, worker.mark
    if worker.heard_busy is False or mark is None:
        patience_seconds, is_over = SILENT_SECONDS, True
    else:
        patience_seconds, is_over = max(SILENT_SECONDS, mark.deadline_seconds), not mark.remaining_seconds
    if is_over and silent_seconds >= patience_seconds:
        return Result.DONE, f"nobody has answered for it for {silent_seconds:.0f} s"
    last = {True: "busy", False: "idle", None: "never heard of"}[worker.heard_busy]
    return (
        Result.SILENT,
        f"nobody answers for it, and it was {last} before: {patience_seconds:.0f} s are waited for that",
    )


async def _asked_to_end(acting: Acting, worker: Worker) -> None:
    if not worker.registered:
        # What it announced was never proven to be its own address: another worker may answer there.
        return
    try:
        await acting.ask_master(partial(acting.opened.master.shut_down, worker), f"shut down {worker.worker_id}")
    except BudgetOver:
        raise
    except FleetError:
        # Best effort by contract: the provider ends it in any case.
        return
