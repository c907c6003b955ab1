"""Who exists: the last memory, brought up to date with what providers and master show now. Pure.

The provider's listing is the truth. A source that failed or answered partly changes nothing; absence once is unknown;
what is ours and not remembered is adopted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.lifecycle import JOINING, SUPPLY, WorkerState, move
from ebbflow.core.member import IdleSource, Member, MemberState, PushMemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, Spare, is_ours
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.rows import (
    ENDED,
    IN_TROUBLE,
    absent,
    has_joined,
    instances_of_ours,
    is_contradicted,
    loses_more_than_half,
    seen_by_provider,
)
from ebbflow.decision.warm import find_spares

LOST_SECONDS = 10.0
"""Not answering in two looks at least this far apart, a worker is lost. SwarmUI asks its workers every five seconds, so
two looks that are closer may show one and the same failed question. Source: `src/Backends/SwarmSwarmBackend.cs`."""
SAYS_IT_ENDS = (*IN_TROUBLE, InstanceState.GONE)


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody, as this turn knows them."""

    workers: tuple[Worker, ...]
    suspects: frozenset[str]
    """Providers whose listing lost more than half of what they had: unknown until a second look agrees."""
    spares: tuple[Spare, ...] = ()
    """Instances of ours that no worker has."""
    reasons: tuple[Reason, ...] = ()


def reconcile(inputs: Inputs, memory: Memory, *, drain_deadline_seconds: float) -> Roster:
    """Bring the remembered workers up to date.

    Args:
        inputs: what was seen.
        memory: the last memory, aged to now, with what outcomes told already settled.
        drain_deadline_seconds: given to a worker that the master shows draining and the record does not.
    """
    looks = {look.provider: look for look in inputs.providers}
    shown = {look.provider: instances_of_ours(look, inputs) for look in inputs.providers}
    # Of two members with one id the one that works or may work is believed.
    by_certainty = sorted(inputs.members.members, key=lambda member: member.busy is not False)
    members = {member.worker_id: member for member in by_certainty}
    if _is_cut_off(members.values()):
        # Nobody at all answers: it is we who hear nothing, and the master is believed.
        members = {name: _as_its_master_says(member) for name, member in members.items()}
    strays = {name: _stray(name) for name in _strays(inputs)}
    suspects = frozenset(
        look.provider for look in inputs.providers if loses_more_than_half(look, shown[look.provider], memory)
    )
    everywhere_complete = all(look.listing.complete for look in inputs.providers) and not suspects
    places = {worker_id: provider for provider, instances in shown.items() for worker_id in instances}
    workers = []
    for remembered in memory.workers:
        # What only the master knew may have an instance all the same: a listing that failed or lagged shows it later.
        worker = replace(remembered, provider=remembered.provider or places.get(remembered.worker_id, ""))
        member = members.get(worker.worker_id)
        if not worker.provider:
            found = absent(worker, confirm_looks=2) if everywhere_complete else replace(worker, instance=None)
            member = member and _without_instance(member)
        else:
            found = seen_by_provider(
                worker,
                shown.get(worker.provider, {}).get(worker.worker_id),
                looks.get(worker.provider),
                member,
                inputs,
                memory,
                is_suspect=worker.provider in suspects,
                drain_deadline_seconds=drain_deadline_seconds,
            )
        if found.state is WorkerState.GONE and is_contradicted(worker, member):
            # One that was thought gone while nobody could be asked comes back as one that is lost and found.
            found = replace(found, state=WorkerState.LOST if worker.state is WorkerState.GONE else worker.state)
        if found.state is WorkerState.GONE and member is None:
            # What the master kept of it gives out work that nobody does: it is deregistered once more.
            member = strays.get(worker.worker_id)
        workers.append(_seen_by_master(found, member, inputs, drain_deadline_seconds, before=worker.state))
    looks_without = int(everywhere_complete)
    # One that serves has lost its entry, and is registered anew; of another nobody knows but by what it left behind.
    listed = strays | members
    workers.extend(_adopted(shown, listed, workers, inputs, drain_deadline_seconds, looks_without=looks_without))
    spares = tuple(
        spare for look in inputs.providers for spare in find_spares(look, inputs, shown[look.provider], workers)
    )
    return Roster(tuple(workers), suspects, spares, tuple(_remarks(inputs, workers, suspects, spares)))


def _seen_by_master(
    worker: Worker, member: Member | None, inputs: Inputs, drain_deadline_seconds: float, *, before: WorkerState
) -> Worker:
    complete = inputs.members.complete
    worker = replace(worker, disorder_seconds=_disorder_seconds(worker, member, complete=complete))
    is_put_back = _is_put_back(worker, member)
    state, mark = worker.state, _mark(worker, member, inputs, drain_deadline_seconds, is_put_back=is_put_back)
    joined = worker.registered or member is not None
    if state not in ENDED:
        state = _serving_state(worker, member, mark, complete=complete, before=before)
    busy = member.busy if member else None
    put_back_seconds = 0.0 if is_put_back else worker.put_back_seconds
    is_missed = member is None and worker.registered and inputs.master.caps.owns_workers
    silent = complete and busy is None and (is_missed or _is_silent(member, mark, registered=joined))
    return replace(
        worker,
        state=move(before, state, worker_id=worker.worker_id),
        state_seconds=worker.state_seconds if state is before else 0.0,
        joining_seconds=0.0 if state in (WorkerState.READY, WorkerState.DRAINING) else worker.joining_seconds,
        register_turns=0 if state is WorkerState.READY else worker.register_turns,
        attempts=0 if state is WorkerState.READY else worker.attempts,
        member=member.state if member else None,
        registered=joined,
        url=_address(worker, member),
        is_fed=member.is_fed if member else False,
        disorder=member.disorder if member else "",
        broken=member.broken if member else worker.broken,
        put_back_seconds=put_back_seconds,
        busy=busy,
        last_busy=_last_busy(worker) if busy is None else None,
        may_have_work=_may_have_work(worker, member),
        idle_seconds=_idle(
            worker, member, inputs.master.caps.idle_source, put_back_seconds, inputs.turn.elapsed_seconds
        ),
        free=member.free if member else None,
        model=member.model if member else None,
        units_per_second=member.units_per_second if member else worker.units_per_second,
        mark=mark,
        unanswered_seconds=_unanswered(worker, silent, complete),
    )


def _mark(
    worker: Worker, member: Member | None, inputs: Inputs, drain_deadline_seconds: float, *, is_put_back: bool
) -> Mark | None:
    """The mark that it carries after this look."""
    mark = worker.mark
    if mark is None and member is not None and member.state is MemberState.DRAINING is worker.member:
        # A disabled entry with our title is the durable mark, whoever set it and whatever the record lost; at the
        # second look, because a person may have switched it off by mistake.
        return Mark(inputs.number, "the master shows it draining", drain_deadline_seconds)
    if member is not None and (is_put_back or _is_back_in_service(worker, member)):
        return None
    if mark is None and _is_let_go(worker, member, inputs):
        return Mark(inputs.number, "its master, whose it was, has let go of it", drain_deadline_seconds)
    if mark is None and member is not None and member.broken and worker.state not in ENDED:
        # What it had begun will not come: once its deadline is over, it is ended with it.
        why = f"it says that it is broken: {member.broken}"
        return Mark(inputs.number, why, drain_deadline_seconds, forced=True, urgent=True)
    is_ending = inputs.members.complete and has_joined(worker, member) and _says_it_ends(worker)
    if mark is None and is_ending and worker.state not in ENDED:
        return Mark(inputs.number, _trouble(worker), drain_deadline_seconds, urgent=True)
    return mark


def _is_let_go(worker: Worker, member: Member | None, inputs: Inputs) -> bool:
    """Whether a master that ends its workers itself has shown in two looks that this one is its own no more."""
    owns = inputs.master.caps.owns_workers and inputs.members.complete and worker.registered
    is_confirmed = (worker.unanswered_seconds or 0.0) >= LOST_SECONDS
    return owns and member is None and is_confirmed and worker.state not in ENDED


def _address(worker: Worker, member: Member | None) -> str | None:
    """What answers under the master's entry is proven; what was announced is a claim."""
    if member is None:
        return worker.url
    return (member.url if member.busy is not None else None) or worker.url or member.url


def _says_it_ends(worker: Worker) -> bool:
    return worker.instance in SAYS_IT_ENDS


def _trouble(worker: Worker) -> str:
    words = {InstanceState.FAILED: "failed", InstanceState.GONE: "is gone, while somebody answers for it"}
    said = words.get(worker.instance or InstanceState.UNKNOWN, "is being ended")
    return f"its provider says that it {said}{f': {worker.detail}' if worker.detail else ''}"


def _is_put_back(worker: Worker, member: Member | None) -> bool:
    """Whether it was seen out of service, and is in again: our own veto, or somebody else's switch."""
    if member is None or member.duplicate or worker.member is not MemberState.DRAINING:
        return False
    return member.state in (MemberState.READY, MemberState.JOINING)


def _disorder_seconds(worker: Worker, member: Member | None, *, complete: bool) -> float | None:
    """How long the master has held it wrongly."""
    if not complete:
        return worker.disorder_seconds
    if member is None or not member.disorder:
        return None
    return worker.disorder_seconds if worker.disorder_seconds is not None else 0.0


def _is_back_in_service(worker: Worker, member: Member) -> bool:
    """The drain deadline passed while it worked, and the master serves it again; a lost note must not undo that.

    Whoever was in service at the look before as well, was never taken out: the last one that serves, for instance.
    """
    mark = worker.mark
    is_over = mark is not None and not mark.forced and not mark.remaining_seconds
    return is_over and member.state is MemberState.READY and worker.member is not MemberState.READY


def _serving_state(
    worker: Worker, member: Member | None, mark: Mark | None, *, complete: bool, before: WorkerState
) -> WorkerState:
    state = worker.state
    if mark is not None:
        return WorkerState.DRAINING
    if member is None:
        # The master has forgotten it, after a restart for instance: register it again.
        forgotten = state is WorkerState.DRAINING or (worker.registered and state is WorkerState.READY)
        return WorkerState.STARTING if complete and forgotten else state
    if member.state is MemberState.READY:
        return WorkerState.READY
    if (worker.disorder_seconds or 0.0) >= LOST_SECONDS:
        # Its master is connected to it, or not, and has no way to let it serve: longer than two of the master's polls.
        return WorkerState.LOST
    if member.state is MemberState.LOST:
        # One look at which it did not answer is a question that failed, and no reason to launch another worker.
        confirmed = before is WorkerState.LOST or (worker.unanswered_seconds or 0.0) >= LOST_SECONDS
        return state if state in SUPPLY and not confirmed else WorkerState.LOST
    return WorkerState.STARTING if state in (*JOINING, WorkerState.READY, WorkerState.DRAINING) else state


def _is_silent(member: Member | None, mark: Mark | None, *, registered: bool) -> bool:
    if member is None:
        return mark is not None and registered
    return member.state in (MemberState.LOST, MemberState.DRAINING)


def _unanswered(worker: Worker, silent: bool, complete: bool) -> float | None:
    if not complete:
        return worker.unanswered_seconds
    if not silent:
        return None
    return worker.unanswered_seconds if worker.unanswered_seconds is not None else 0.0


def _idle(
    worker: Worker, member: Member | None, source: IdleSource, put_back_seconds: float | None, elapsed_seconds: float
) -> float | None:
    """How long it has been idle: the figure that somebody times, else the time since we first saw it so.

    Not longer than since it was last seen busy, which may have been by work that the figure does not count, such as the
    load of a model; and who was put back into service has been wanted since.
    """
    if member is None or member.busy is not False:
        return None
    if member.idle_seconds is not None and source is not IdleSource.OBSERVED:
        since_busy_seconds = elapsed_seconds if worker.heard_busy else worker.idle_seconds
        bounds = [round(member.idle_seconds, 3), since_busy_seconds, put_back_seconds]
    else:
        bounds = [worker.idle_seconds if worker.idle_seconds is not None else 0.0, put_back_seconds]
    return min(bound for bound in bounds if bound is not None)


def _adopted(
    shown: dict[str, dict[str, Instance]],
    members: dict[str, Member],
    known: Sequence[Worker],
    inputs: Inputs,
    drain_deadline_seconds: float,
    *,
    looks_without: int,
) -> Iterator[Worker]:
    """Ours, and not in the record: adopted, never ended for being unknown.

    `looks_without` is 1 where this look has shown that no provider has whoever is not listed, else 0.
    """
    ids = {worker.worker_id for worker in known}
    for provider, instances in shown.items():
        for worker_id, instance in instances.items():
            if worker_id in ids or instance.state is InstanceState.GONE or instance.is_warm:
                continue
            ids.add(worker_id)
            blank = Worker(worker_id, provider, WorkerState.WISHED, instance.capabilities, detail="adopted")
            member = members.get(worker_id)
            found = seen_by_provider(
                blank,
                instance,
                None,
                member,
                inputs,
                inputs.memory,
                is_suspect=False,
                drain_deadline_seconds=drain_deadline_seconds,
            )
            yield _seen_by_master(found, member, inputs, drain_deadline_seconds, before=WorkerState.WISHED)
    for worker_id, member in members.items():
        if worker_id and worker_id not in ids:
            blank = Worker(
                worker_id,
                "",
                WorkerState.LOST,
                detail="a member without an instance",
                registered=True,
                absent_looks=looks_without,
            )
            yield _seen_by_master(
                blank, _without_instance(member), inputs, drain_deadline_seconds, before=WorkerState.LOST
            )


def _is_cut_off(members: Iterable[Member]) -> bool:
    """Whether several serve by their master's word, and none of all answers us."""
    listed = list(members)
    return sum(member.is_fed for member in listed) > 1 and all(member.busy is None for member in listed)


def _last_busy(worker: Worker) -> bool | None:
    return worker.last_busy if worker.busy is None else worker.busy


def _may_have_work(worker: Worker, member: Member | None) -> bool:
    """Whether work may have come to a silent one since its last word: as long as its master has not noticed.

    Once the master gets no answer either, what it gave has failed; once it is switched off, that nobody knows any more.
    """
    if member is not None and member.is_fed:
        return True
    is_out = member is None or member.state is MemberState.DRAINING
    return worker.may_have_work and is_out and (member is None or member.busy is None)


def _as_its_master_says(member: Member) -> Member:
    return replace(member, state=MemberState.READY) if member.is_fed else member


def _strays(inputs: Inputs) -> tuple[str, ...]:
    return inputs.members.strays if isinstance(inputs.members, PushMemberList) else ()


def _stray(worker_id: str) -> Member:
    """What is left of a worker in the master: nobody's member, and given work."""
    return Member(worker_id, "", MemberState.LOST)


def _without_instance(member: Member) -> Member:
    """Only the master knows it: never supply; forgotten there once no provider has it and nobody answers for it."""
    return replace(member, state=MemberState.LOST)


def _remarks(
    inputs: Inputs, workers: Sequence[Worker], suspects: frozenset[str], spares: Sequence[Spare]
) -> Iterator[Reason]:
    known = {worker.worker_id for worker in inputs.memory.workers}
    for look in inputs.providers:
        if not look.listing.complete:
            text = f"{look.provider}: listing unknown ({look.listing.detail}): its workers keep their last state"
            yield Reason("roster.unknown", text)
        if look.provider in suspects:
            text = (
                f"{look.provider}: more than half of its workers vanished at once; believed when a second look agrees"
            )
            yield Reason("roster.suspect", text)
        foreign = sorted(
            f"{instance.worker_id} (home {instance.home})"
            for instance in look.listing.instances
            if instance.fleet == inputs.fleet and not is_ours(instance, inputs, known)
        )
        ours = (row for row in look.listing.instances if is_ours(row, inputs, known))
        unmarked = sorted({row.worker_id for row in ours if not row.home})
        if unmarked:
            text = (
                f"{look.provider}: ours, but somebody took our marks off {', '.join(unmarked)}: counted and kept; "
                "find out what rewrites labels, annotations or comments there"
            )
            yield Reason("roster.unmarked", text)
        if foreign:
            yield Reason("roster.foreign", f"{look.provider}: another home's, never touched: {', '.join(foreign)}")
    for look in inputs.providers:
        warm = [spare for spare in spares if spare.is_warm and spare.provider == look.provider]
        if warm:
            usd = sum(spare.usd_per_hour or 0.0 for spare in warm)
            yield Reason("roster.warm", f"{look.provider}: {len(warm)} stopped and kept warm, {usd:g} USD/h of storage")
    if not inputs.members.complete:
        yield Reason("roster.unknown", f"members unknown ({inputs.members.detail}): nobody is stopped or registered")
    silent = [worker for worker in workers if worker.is_supply and worker.member is MemberState.LOST]
    unfed = [worker.worker_id for worker in silent if not worker.is_fed and not worker.disorder]
    if unfed:
        text = f"the master gets no answer from {', '.join(unfed)}: lost if a look {LOST_SECONDS:g} s later agrees"
        yield Reason("roster.silent", text)
    fed = [worker.worker_id for worker in workers if worker.is_fed and worker.mark is None]
    if fed and _is_cut_off(inputs.members.members):
        text = f"{', '.join(fed)}: nobody answers, so it is we who hear nothing; their master says that they serve"
        yield Reason("roster.silent", text)
    elif fed:
        text = (
            f"{', '.join(fed)} answers nothing, which the master has not noticed: lost if a look {LOST_SECONDS:g} s "
            "later agrees, and switched off as soon as as many answer as are silent"
        )
        yield Reason("roster.silent", text)
    for worker in workers:
        if worker.disorder:
            yield Reason("roster.disorder", f"{worker.worker_id}: {worker.disorder}")
        if worker.put_back_seconds == 0.0:
            text = f"{worker.worker_id} is back in service in the master: it stays, and its idle time begins anew"
            yield Reason("roster.put_back", text)
        if worker.mark is None and worker.member is MemberState.DRAINING:
            text = f"{worker.worker_id} was switched off in the master: ended if the next look finds it so too"
            yield Reason("roster.switched_off", text)
    twice = sorted({member.worker_id for member in inputs.members.members if member.duplicate})
    if twice:
        yield Reason("roster.duplicate", f"the master lists more than once: {', '.join(twice)}")
    for member in inputs.members.members:
        if member.renamed:
            text = f"{member.worker_id} is called {member.renamed!r} in the master: ours by its address, and kept"
            yield Reason("roster.renamed", text)
    if isinstance(inputs.members, PushMemberList):
        yield from _left_and_others(inputs.members, counts_others=inputs.master.caps.counts_others)
    if inputs.members.foreign:
        yield Reason("roster.foreign", f"the master lists another home's: {', '.join(inputs.members.foreign)}")


def _left_and_others(members: PushMemberList, *, counts_others: bool) -> Iterator[Reason]:
    if members.strays:
        text = f"the master gives out work through what is left of {', '.join(members.strays)}: to be removed"
        yield Reason("roster.stray", text)
    if members.others:
        counted = "counted among the workers" if counts_others else "not counted"
        yield Reason("roster.others", f"beside ours serve {', '.join(members.others)}: {counted}")
