"""What a provider's row, or its absence from a list, makes of a worker. Pure.

The provider's listing is the truth about what exists; that nobody works there is the master's and the worker's word.
"""

from dataclasses import replace

from ebbflow.core.instance import Instance, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import JOINING, WorkerState
from ebbflow.core.member import Member
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, ProviderLook, is_ours
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.warm import has_become_warm, is_half_started

CONFIRM_SECONDS = 30.0
"""Two complete listings at least this far apart without a worker say that it is gone."""
ENDED = (WorkerState.GONE, WorkerState.TERMINATING, WorkerState.FAILED)
IN_TROUBLE = (InstanceState.FAILED, InstanceState.TERMINATING)
"""What a provider says of one that ends, or of one that goes on."""
MAY_RUN = (InstanceState.RUNNING, InstanceState.STARTING, InstanceState.PENDING, InstanceState.UNKNOWN)


def instances_of_ours(look: ProviderLook, inputs: Inputs) -> dict[str, Instance]:
    """Instances of our fleet and home by worker id.

    Of two with one id the one that serves is the worker, whatever state its row is in; then one that may run, then the
    one known before. Where the known one answers and is not listed, another one is not it.
    """
    members = {member.worker_id: member for member in inputs.members.members if member.url is not None}
    known = {worker.worker_id: worker.instance_id for worker in inputs.memory.workers}
    found: dict[str, tuple[tuple[bool, ...], Instance]] = {}
    for instance in look.listing.instances:
        if not is_ours(instance, inputs, known):
            continue
        identity = instance.worker_id
        member, known_as = members.get(identity), known.get(identity)
        is_elsewhere = member is not None and not is_same_address(member.url, instance.url)
        answers_elsewhere = is_elsewhere and member is not None and member.busy is not None
        if answers_elsewhere and known_as != instance.instance_id and (known_as or instance.url):
            continue
        rank = (
            answers_elsewhere,
            instance.state not in MAY_RUN,
            is_elsewhere,
            known_as not in (None, instance.instance_id),
        )
        if identity not in found or rank < found[identity][0]:
            found[identity] = (rank, instance)
    return {identity: instance for identity, (_, instance) in found.items()}


def is_same_address(one: str | None, other: str | None) -> bool:
    """Whether two texts name one address: masters drop the slash that a worker put at its end."""
    return (one or "").rstrip("/").lower() == (other or "").rstrip("/").lower()


def loses_more_than_half(look: ProviderLook, shown: dict[str, Instance], memory: Memory) -> bool:
    """Whether a list lacks so many at once that it is no list; `shown` are those of ours that it has, by worker id."""
    # A worker that we are ending, or that was missing before, is expected to be missing.
    expected = [
        worker
        for worker in memory.workers
        if worker.provider == look.provider
        and worker.state not in (WorkerState.WISHED, WorkerState.TERMINATING, WorkerState.GONE)
        and worker.absent_looks == 0
    ]
    missing = sum(worker.worker_id not in shown for worker in expected)
    return look.listing.complete and missing * 2 > len(expected)


def _may_work(worker: Worker, member: Member | None, inputs: Inputs) -> bool:
    """Whether work may be on it: only the master and itself can say then that there is none."""
    return has_joined(worker, member) or not inputs.members.complete


def has_joined(worker: Worker, member: Member | None) -> bool:
    """Whether it has served, as far as anybody knows: of one from before this chain of records nobody does."""
    return worker.registered or member is not None or not worker.launch_number


def _without_its_word(instance: Instance, worker: Worker, member: Member | None) -> Instance:
    """The instance without a failure that texts declare, where the worker has announced itself before.

    What is printed later may quote who sends it work, and what a status says may be older than the worker.
    """
    if not instance.is_declared:
        return instance
    is_known = worker.instance_id == instance.instance_id and worker.url is not None
    if not (is_known or worker.registered or member is not None):
        return instance
    return replace(instance, state=InstanceState.STARTING, failure=None, detail="", is_declared=False)


def _ends_soon(worker: Worker, instance: Instance, number: int, drain_deadline_seconds: float) -> Worker:
    """Marked where its provider means to end it: drained and looked at as any other, should it come to that or not."""
    leaves = worker.mark is not None or worker.state in (*ENDED, WorkerState.WISHED)
    if leaves or not instance.ends_soon:
        return worker
    why = f"its provider means to end it: {instance.ends_soon}"
    return replace(worker, mark=Mark(number, why, drain_deadline_seconds, urgent=True, has_notice=True))


def is_contradicted(worker: Worker, member: Member | None) -> bool:
    """Whether somebody answers for one that its provider has no more, and that nobody has ended."""
    was_ended = worker.state in (WorkerState.TERMINATING, WorkerState.FAILED)
    return member is not None and member.busy is not None and not was_ended


def seen_by_provider(
    worker: Worker,
    instance: Instance | None,
    look: ProviderLook | None,
    member: Member | None,
    inputs: Inputs,
    memory: Memory,
    *,
    is_suspect: bool,
    drain_deadline_seconds: float,
) -> Worker:
    """The worker after this turn's look at its provider.

    Args:
        worker: as remembered.
        instance: its row, of those of its id the one that is it; None: there is none.
        look: at its provider; None: none, as of one that is adopted by its row.
        member: as its master shows it.
        inputs: what was seen besides.
        memory: aged, to know which earlier claims may still be acting.
        is_suspect: whether the list lost more than half of what its provider had.
        drain_deadline_seconds: given to one that its provider means to end.
    """
    if instance is None:
        return _missing(worker, look, inputs, memory, is_suspect=is_suspect)
    believed = _without_its_word(instance, worker, member)
    found = _listed(worker, believed, may_work=_may_work(worker, member, inputs))
    return _ends_soon(found, believed, inputs.number, drain_deadline_seconds)


def _listed(worker: Worker, instance: Instance, *, may_work: bool) -> Worker:
    if has_become_warm(worker, instance):
        return replace(worker, instance=None, state=WorkerState.GONE, detail="stopped; its instance is kept warm")
    if instance.state is not InstanceState.GONE and worker.state is WorkerState.GONE:
        # Listed again, it is the same worker again.
        worker = replace(worker, state=WorkerState.LOST, state_seconds=0.0, joining_seconds=0.0)
    # Slurm may start a job a second time without counting it: until it has served, its last word counts.
    is_same = worker.instance_id == instance.instance_id and worker.url is not None and worker.registered
    shown = InstanceState.PENDING if is_half_started(worker, instance) else instance.state
    return replace(
        worker,
        instance=instance.state,
        instance_id=instance.instance_id,
        machine=instance.machine or worker.machine,
        # What was announced once holds for the life of the instance.
        url=worker.url if is_same else instance.url or worker.url,
        retries=worker.retries if instance.retries is None else instance.retries,
        usd_per_hour=worker.usd_per_hour if instance.usd_per_hour is None else instance.usd_per_hour,
        failure=instance.failure or worker.failure,
        detail=instance.detail or worker.detail,
        absent_looks=0,
        absent_seconds=0.0,
        state=_state_of(worker, shown, may_work=may_work),
    )


def _missing(worker: Worker, look: ProviderLook | None, inputs: Inputs, memory: Memory, *, is_suspect: bool) -> Worker:
    if look is None or not look.listing.complete or worker.state is WorkerState.GONE:
        return replace(worker, instance=None)
    if worker.state is WorkerState.WISHED:
        if is_suspect:
            return replace(worker, instance=None)
        is_due = worker.launch_trouble and _is_listed_by_now(worker, look, inputs, memory)
        missing = replace(worker, instance=None, absent_looks=worker.absent_looks + 1)
        return _absent_wish(worker, look.caps) if is_due else missing
    # While nobody can say that it answers, one that has served is looked for twice.
    is_sure = look.caps.absence_is_gone and (inputs.members.complete or not worker.registered)
    return absent(worker, confirm_looks=1 if is_sure and not is_suspect else 2)


def _is_listed_by_now(worker: Worker, look: ProviderLook, inputs: Inputs, memory: Memory) -> bool:
    """Whether a complete list shows the wish, if its launch was carried out at all."""
    settled = worker.state_seconds >= inputs.turn.budget_seconds + look.caps.settle_seconds
    return settled and memory.is_over(worker.launch_number)


def _absent_wish(worker: Worker, caps: ProviderCaps) -> Worker:
    """A launch without a clear answer has failed where a complete list lacks it, and then its provider rests.

    Where it may be sent again under the same id, it is so once, and has to fail twice.
    """
    strikes, trouble = worker.launch_strikes + 1, worker.launch_trouble
    struck = replace(
        worker, instance=None, absent_looks=worker.absent_looks + 1, launch_strikes=strikes, launch_trouble=""
    )
    if strikes < (2 if caps.idempotent_launch else 1):
        return struck
    detail = f"its launch had no clear answer, and no list shows it: {trouble}"
    return replace(struck, state=WorkerState.GONE, detail=detail)


def absent(worker: Worker, *, confirm_looks: int) -> Worker:
    """The worker after one more complete look without it; gone once that is confirmed."""
    looks = worker.absent_looks + 1
    is_seen_apart = confirm_looks == 1 or worker.absent_seconds >= CONFIRM_SECONDS
    missing = replace(worker, instance=None, absent_looks=looks)
    if looks < confirm_looks or not is_seen_apart:
        return missing
    return replace(missing, state=WorkerState.GONE, detail=worker.detail or "no longer listed by its provider")


def _state_of(worker: Worker, shown: InstanceState, *, may_work: bool) -> WorkerState:
    """What the provider's word makes of a worker; the master's word comes after it."""
    firm = {
        InstanceState.TERMINATING: WorkerState.TERMINATING,
        InstanceState.GONE: WorkerState.GONE,
        InstanceState.FAILED: WorkerState.FAILED,
        InstanceState.STOPPED: WorkerState.LOST,
    }
    state = worker.state
    if state in ENDED:
        # What was given up, or is being ended, does not come back because its process still runs.
        ends = shown in (InstanceState.TERMINATING, InstanceState.GONE) and state is not WorkerState.GONE
        return firm[shown] if ends else state
    if shown in IN_TROUBLE and may_work:
        return WorkerState.STARTING if state is WorkerState.WISHED else state
    if shown in firm:
        return firm[shown]
    if shown is InstanceState.UNKNOWN or worker.mark is not None:
        return state
    if shown is InstanceState.PENDING and state is not WorkerState.DRAINING:
        return WorkerState.PENDING
    return WorkerState.STARTING if state in (*JOINING, WorkerState.LOST) else state
