"""Who exists: the last memory, brought up to date with what providers and master show now. Pure.

The provider's listing is the truth. A source that failed or answered partly changes nothing; absence once is unknown;
what is ours and not remembered is adopted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.instance import Failure, Instance, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import JOINING, SUPPLY, WorkerState, move
from ebbflow.core.member import IdleSource, Member, MemberState
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, ProviderLook, Spare, is_ours
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.warm import find_spares, has_become_warm, is_half_started

CONFIRM_SECONDS = 30.0
"""Two complete listings at least this far apart without a worker say that it is gone."""
LOST_SECONDS = 10.0
"""Not answering in two looks at least this far apart, a worker is lost. SwarmUI asks its workers every five seconds, so
two looks that are closer may show one and the same failed question. Source: `src/Backends/SwarmSwarmBackend.cs`."""
ENDED = (WorkerState.GONE, WorkerState.TERMINATING, WorkerState.FAILED)
IN_TROUBLE = (InstanceState.FAILED, InstanceState.TERMINATING)
"""What a provider says of one that ends, or of one that goes on."""
SAYS_IT_ENDS = (*IN_TROUBLE, InstanceState.GONE)
MAY_RUN = (InstanceState.RUNNING, InstanceState.STARTING, InstanceState.PENDING, InstanceState.UNKNOWN)
SILENT_SECONDS = 60.0
"""Unanswered in the looks of two claims this far apart, a worker counts as empty."""


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
    suspects = frozenset(
        look.provider for look in inputs.providers if _loses_more_than_half(look, shown[look.provider], memory)
    )
    everywhere_complete = all(look.listing.complete for look in inputs.providers) and not suspects
    places = {worker_id: provider for provider, instances in shown.items() for worker_id in instances}
    workers = []
    for remembered in memory.workers:
        # What only the master knew may have an instance all the same: a listing that failed or lagged shows it later.
        worker = replace(remembered, provider=remembered.provider or places.get(remembered.worker_id, ""))
        member = members.get(worker.worker_id)
        if not worker.provider:
            found = _absent(worker, confirm_looks=2) if everywhere_complete else replace(worker, instance=None)
            member = member and _without_instance(member)
        else:
            look = looks.get(worker.provider)
            instance = _without_its_word(shown.get(worker.provider, {}).get(worker.worker_id), worker, member)
            may_work = _may_work(worker, member, inputs)
            suspected = worker.provider in suspects
            is_due = (
                look is not None and bool(worker.launch_trouble) and _is_listed_by_now(worker, look, inputs, memory)
            )
            found = _seen_by_provider(worker, look, instance, suspected=suspected, may_work=may_work, is_due=is_due)
            if found.state is WorkerState.GONE and _is_contradicted(worker, member):
                # One that was thought gone while nobody could be asked comes back as one that is lost and found.
                state = WorkerState.LOST if worker.state is WorkerState.GONE else worker.state
                found = replace(found, state=state)
            found = _ends_soon(found, instance, inputs.number, drain_deadline_seconds)
        workers.append(_seen_by_master(found, member, inputs, drain_deadline_seconds, before=worker.state))
    looks_without = int(everywhere_complete)
    workers.extend(_adopted(shown, members, workers, inputs, drain_deadline_seconds, looks_without=looks_without))
    spares = tuple(
        spare for look in inputs.providers for spare in find_spares(look, inputs, shown[look.provider], workers)
    )
    return Roster(tuple(workers), suspects, spares, tuple(_remarks(inputs, workers, suspects, spares)))


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


def _loses_more_than_half(look: ProviderLook, shown: dict[str, Instance], memory: Memory) -> bool:
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
    return worker.registered or member is not None or not inputs.members.complete


def _without_its_word(instance: Instance | None, worker: Worker, member: Member | None) -> Instance | None:
    """The instance without a failure that texts declare, where the worker has announced itself before.

    What is printed later may quote who sends it work, and what a status says may be older than the worker.
    """
    if instance is None or not instance.is_declared:
        return instance
    is_known = worker.instance_id == instance.instance_id and worker.url is not None
    if not (is_known or worker.registered or member is not None):
        return instance
    return replace(instance, state=InstanceState.STARTING, failure=None, detail="", is_declared=False)


def _ends_soon(worker: Worker, instance: Instance | None, number: int, drain_deadline_seconds: float) -> Worker:
    """Marked where its provider means to end it: drained and looked at as any other, should it come to that or not."""
    if (
        instance is None
        or not instance.ends_soon
        or worker.mark is not None
        or worker.state in (*ENDED, WorkerState.WISHED)
    ):
        return worker
    return replace(
        worker, mark=Mark(number, f"its provider means to end it: {instance.ends_soon}", drain_deadline_seconds)
    )


def _is_contradicted(worker: Worker, member: Member | None) -> bool:
    """Whether somebody answers for one that its provider has no more, and that nobody has ended."""
    was_ended = worker.state in (WorkerState.TERMINATING, WorkerState.FAILED)
    return member is not None and member.busy is not None and not was_ended


def _seen_by_provider(
    worker: Worker,
    look: ProviderLook | None,
    instance: Instance | None,
    *,
    suspected: bool,
    may_work: bool,
    is_due: bool = False,
) -> Worker:
    if instance is not None and has_become_warm(worker, instance):
        return replace(worker, instance=None, state=WorkerState.GONE, detail="stopped; its instance is kept warm")
    if instance is not None and instance.state is not InstanceState.GONE and worker.state is WorkerState.GONE:
        # Listed again, it is the same worker again.
        worker = replace(worker, state=WorkerState.LOST, state_seconds=0.0, joining_seconds=0.0)
    if instance is not None:
        is_same = worker.instance_id == instance.instance_id and worker.url is not None
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
            state=_state_of(
                worker,
                InstanceState.PENDING if is_half_started(worker, instance) else instance.state,
                may_work=may_work,
            ),
        )
    if look is None or not look.listing.complete or worker.state is WorkerState.GONE:
        return replace(worker, instance=None)
    if worker.state is WorkerState.WISHED:
        return _wish_absent(worker, look.caps) if is_due and not suspected else replace(worker, instance=None)
    return _absent(worker, confirm_looks=1 if look.caps.absence_is_gone and not suspected else 2, at_once=not suspected)


def _is_listed_by_now(worker: Worker, look: ProviderLook, inputs: Inputs, memory: Memory) -> bool:
    """Whether a complete list shows the wish, if its launch was carried out at all."""
    settled = worker.state_seconds >= inputs.turn.budget_seconds + look.caps.settle_seconds
    return settled and memory.is_over(worker.launch_number)


def _wish_absent(worker: Worker, caps: ProviderCaps) -> Worker:
    """A launch without a clear answer has failed where complete lists lack it: its provider rests.

    Where it may be sent again under the same id, it is so once before a second list decides.
    """
    looks = 2 if caps.idempotent_launch else 1
    found = _absent(worker, confirm_looks=looks, at_once=True)
    if found.state is not WorkerState.GONE:
        return found
    return replace(found, detail=f"its launch had no clear answer, and no list shows it: {worker.launch_trouble}")


def _absent(worker: Worker, *, confirm_looks: int, at_once: bool = False) -> Worker:
    looks = worker.absent_looks + 1
    confirmed = looks >= confirm_looks and (
        worker.absent_seconds >= CONFIRM_SECONDS or (confirm_looks == 1 and at_once)
    )
    missing = replace(worker, instance=None, absent_looks=looks)
    if not confirmed:
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


def _seen_by_master(
    worker: Worker, member: Member | None, inputs: Inputs, drain_deadline_seconds: float, *, before: WorkerState
) -> Worker:
    complete = inputs.members.complete
    state, mark = worker.state, worker.mark
    joined = worker.registered or member is not None
    if member is not None and member.state is MemberState.DRAINING and mark is None:
        # A disabled entry with our title is the durable mark, whoever set it and whatever the record lost.
        mark = Mark(inputs.number, "the master shows it draining", drain_deadline_seconds)
    elif member is not None and _is_back_in_service(member, mark):
        mark = None
    elif mark is None and complete and joined and worker.instance in SAYS_IT_ENDS and state not in ENDED:
        mark = Mark(inputs.number, _trouble(worker), drain_deadline_seconds)
    if state not in ENDED:
        state = _serving_state(worker, member, mark, complete=complete, before=before)
    busy = member.busy if member else None
    silent = complete and busy is None and _is_silent(member, mark, registered=joined)
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
        busy=busy,
        last_busy=worker.heard_busy if busy is None else None,
        idle_seconds=_idle(worker, member, inputs.master.caps.idle_source),
        model=member.model if member else None,
        units_per_second=member.units_per_second if member else worker.units_per_second,
        mark=mark,
        unanswered_seconds=_unanswered(worker, silent, complete),
    )


def _address(worker: Worker, member: Member | None) -> str | None:
    """What answers under the master's entry is proven; what was announced is a claim."""
    if member is None:
        return worker.url
    return (member.url if member.busy is not None else None) or worker.url or member.url


def _trouble(worker: Worker) -> str:
    words = {InstanceState.FAILED: "failed", InstanceState.GONE: "is gone, while somebody answers for it"}
    said = words.get(worker.instance or InstanceState.UNKNOWN, "is being ended")
    return f"its provider says that it {said}{f': {worker.detail}' if worker.detail else ''}"


def _is_back_in_service(member: Member, mark: Mark | None) -> bool:
    """The drain deadline passed while it worked, and the master serves it again; a lost note must not undo that."""
    return mark is not None and not mark.forced and not mark.remaining_seconds and member.state is MemberState.READY


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
    if member.state is MemberState.LOST:
        # One look at which it did not answer is a question that failed, and no reason to launch another worker.
        confirmed = before is WorkerState.LOST or (worker.unanswered_seconds or 0.0) >= LOST_SECONDS
        return state if state in SUPPLY and not confirmed else WorkerState.LOST
    if member.state is MemberState.READY:
        return WorkerState.READY
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


def _idle(worker: Worker, member: Member | None, source: IdleSource) -> float | None:
    """How long it has been idle: the figure that somebody times, else the time since we first saw it so."""
    if member is None or member.busy is not False:
        return None
    if member.idle_seconds is not None and source is not IdleSource.OBSERVED:
        return round(member.idle_seconds, 3)
    return worker.idle_seconds if worker.idle_seconds is not None else 0.0


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
            may_work = _may_work(blank, member, inputs)
            believed = _without_its_word(instance, blank, member)
            found = _seen_by_provider(blank, None, believed, suspected=False, may_work=may_work)
            found = _ends_soon(found, instance, inputs.number, drain_deadline_seconds)
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


def _without_instance(member: Member) -> Member:
    """Only the master knows it: never supply; forgotten there once no provider has it either."""
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
    silent = [worker.worker_id for worker in workers if worker.is_supply and worker.member is MemberState.LOST]
    if silent:
        text = f"the master gets no answer from {', '.join(silent)}: lost if a look {LOST_SECONDS:g} s later agrees"
        yield Reason("roster.silent", text)
    twice = sorted({member.worker_id for member in inputs.members.members if member.duplicate})
    if twice:
        yield Reason("roster.duplicate", f"the master lists more than once: {', '.join(twice)}")
    if inputs.members.foreign:
        yield Reason("roster.foreign", f"the master lists another home's: {', '.join(inputs.members.foreign)}")


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
    return [
        _given_up(
            worker,
            _why_given_up(worker, launch_timeout_seconds, retries, warm.get(worker.provider, launch_timeout_seconds)),
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


def _why_given_up(worker: Worker, timeout: float, retries: int, warm_timeout: float) -> str:
    if worker.state is WorkerState.FAILED:
        return worker.detail or "failed"
    if worker.state in JOINING and worker.instance is not None:
        return _never_started(worker, warm_timeout) or _never_ready(worker, timeout, retries)
    if worker.state is WorkerState.LOST and worker.provider and _is_given_up_for_lost(worker, timeout):
        return f"lost for {worker.state_seconds:.0f} s: neither the master nor itself answers for it"
    return ""


def _never_started(worker: Worker, warm_timeout: float) -> str:
    waits = worker.warm_instance_id and worker.state is WorkerState.PENDING
    if not waits or worker.joining_seconds < warm_timeout:
        return ""
    return f"warm instance {worker.warm_instance_id} did not start within {warm_timeout:g} s: its GPU may be rented out"


def _never_ready(worker: Worker, timeout: float, retries: int) -> str:
    """Why a worker that is on its way is not waited for any longer; empty while it is."""
    allowed = retries if worker.retries is None else worker.retries
    if worker.attempts > allowed:
        return (
            f"announced {worker.url}, but nobody answered as a worker in {worker.attempts} attempts (retries {allowed})"
        )
    if worker.joining_seconds < timeout or (worker.url is not None and not worker.register_turns):
        return ""
    said = f"announced {worker.url}" if worker.url else "never announced a URL"
    return f"not ready after {worker.joining_seconds:.0f} s (launch_timeout_seconds {timeout:g}): {said}"


def _is_given_up_for_lost(worker: Worker, timeout: float) -> bool:
    silent = worker.unanswered_seconds is not None and worker.unanswered_seconds >= SILENT_SECONDS
    return silent or worker.state_seconds >= timeout
