"""Carrying out a plan through the ports: each call within the turn's budget, retried only for temporary errors.

Every function here may be repeated by a later turn, and may be cut off at any line.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import anyio

from ebbflow.core.errors import (
    BudgetOver,
    CapacityUnavailable,
    ConfigError,
    FleetError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    MasterUnavailable,
    ProviderUnavailable,
    RegistrationRejected,
)
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest
from ebbflow.core.member import DrainAnswer, Member, MemberState, Registration
from ebbflow.core.plan import Action, Outcome, Result, Verb
from ebbflow.core.ports import Master, Provider
from ebbflow.core.worker import Worker
from ebbflow.turn.budget import Budget

T = TypeVar("T")

RETRY_WAITS_SECONDS = (0.5, 1.5)
"""Between the tries of one call that fails with a temporary error."""

LOGS_SECONDS = 3.0
"""For reading what a worker printed, before it is ended."""

CALLS_AT_ONCE = 16
"""Outside calls of one turn in flight."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What acting needs: who to talk to, who it is about, and how long."""

    fleet: str
    home: str
    master: Master
    providers: Mapping[str, Provider]
    workers: Mapping[str, Worker]
    """By worker id, as the record of this turn remembers them."""
    instances: Mapping[str, Instance]
    """By worker id, as this turn's listings showed them."""
    budget: Budget
    pace_seconds: float
    """Between two looks at a worker that is not ready."""
    connect_timeout_seconds: float
    """For one attempt to reach a worker."""
    retries: int
    """Failed attempts to reach a worker after the first, where its own start asked for no other number."""
    retry_wait_seconds: float
    """Between two attempts to reach a worker."""
    looks_apart_seconds: float
    silent_seconds: float
    """Unanswered for this long, in the looks of two claims, a worker counts as empty."""
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(CALLS_AT_ONCE))
    listings: "dict[str, Relisting]" = field(default_factory=dict)
    spares: Mapping[tuple[str, str], Instance] = field(default_factory=dict)
    """By provider and instance id, what no worker has."""
    avoided: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By provider, machines on which workers failed lately."""
    paces: "dict[tuple[str, str], Pace]" = field(default_factory=dict)
    """By provider and kind of call, where the provider limits their rate."""
    logs: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """By worker id, what those printed that were ended in this turn, where their provider keeps it."""


@dataclass(slots=True)
class Relisting:
    """A provider's listing, shared by everybody who waits for it in this turn."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    taken_at: float | None = None
    listing: InstanceList | None = None


@dataclass(slots=True)
class Pace:
    """When the next call of a kind may begin, shared by all that make such calls in this turn."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    next_at: float | None = None


async def perform(hands: Hands, action: Action) -> Outcome:
    """Carry out one action.

    Raises:
        FleetError: as the ports say; `outcome_of` turns it into a note.
    """
    steps = {
        Verb.LAUNCH: launch,
        Verb.REGISTER: register,
        Verb.DRAIN: drain,
        Verb.TEAR_DOWN: tear_down,
        Verb.TERMINATE: terminate,
        Verb.DEREGISTER: deregister,
    }
    return await steps[action.verb](hands, action)


def outcome_of(action: Action, error: FleetError) -> Outcome:
    """The note on an action that failed."""
    results: tuple[tuple[type[FleetError], Result], ...] = (
        (CapacityUnavailable, Result.CAPACITY),
        (LaunchRejected, Result.REJECTED),
        (RegistrationRejected, Result.REJECTED),
        (ConfigError, Result.REJECTED),
        (LaunchOutcomeUnknown, Result.UNKNOWN),
        (BudgetOver, Result.NOT_BEGUN),
    )
    result = next((result for kind, result in results if isinstance(error, kind)), Result.FAILED)
    return Outcome(action.verb, action.worker_id, action.provider, result, str(error))


def _note(action: Action, result: Result, detail: str = "") -> Outcome:
    return Outcome(action.verb, action.worker_id, action.provider, result, detail)


async def launch(hands: Hands, action: Action) -> Outcome:
    """Ask the provider for the worker. Not retried here: what got no clear answer is settled by a listing."""
    provider = hands.providers[action.provider]
    worker = hands.workers[action.worker_id]
    request = LaunchRequest(
        worker_id=worker.worker_id,
        fleet=hands.fleet,
        home=hands.home,
        join=hands.master.join_spec(worker.worker_id),
        capabilities=worker.capabilities,
        avoid=hands.avoided.get(action.provider, ()),
        max_usd_per_hour=action.usd_per_hour if provider.caps.takes_price_cap else None,
        start_instance_id=action.instance_id,
    )
    seconds = provider.caps.call_seconds
    await _paced(hands, (action.provider, "launch"), provider.caps.seconds_between_launches, seconds)
    async with hands.limiter:
        if not hands.budget.allows(seconds):
            raise BudgetOver(f"launch of {worker.worker_id} needs {seconds:g} s, the turn has less left")
        try:
            with anyio.fail_after(seconds):
                instance = await provider.launch(request)
        except TimeoutError as error:
            raise LaunchOutcomeUnknown(
                f"launch of {worker.worker_id} at {action.provider} got no answer within {seconds:g} s"
            ) from error
    return _note(action, Result.DONE, f"{instance.instance_id} {instance.state.value}")


async def register(hands: Hands, action: Action) -> Outcome:
    """Wait until the worker has announced its URL and answers, and register it; go on for as long as the turn lasts."""
    worker = hands.workers[action.worker_id]
    detail = "has not announced its URL"
    attempts = 0
    while True:
        instance = await _relisted(hands, worker)
        if instance is not None and instance.state in (InstanceState.FAILED, InstanceState.GONE):
            return _note(action, Result.FAILED, instance.detail or instance.state.value)
        found = _as_announced(worker, instance)
        wait_seconds = hands.pace_seconds
        if found.url is not None:
            answer = await _attempt_to_register(hands, found)
            if answer.registered:
                return _note(action, Result.DONE, found.url)
            detail = answer.detail
            if not answer.reached:
                attempts += 1
                wait_seconds = hands.retry_wait_seconds
        given = 1 + (hands.retries if found.retries is None else found.retries)
        if worker.attempts + attempts >= given:
            words = f"{detail} (attempt {worker.attempts + attempts} of {given})"
            return replace(_note(action, Result.FAILED, words), attempts=attempts)
        if not hands.budget.allows(wait_seconds + _register_seconds(hands)):
            return replace(_note(action, Result.WAITING, detail), attempts=attempts)
        await hands.sleep(wait_seconds)


def _as_announced(worker: Worker, instance: Instance | None) -> Worker:
    """The worker with what its own start has told by now."""
    if instance is None:
        return worker
    retries = worker.retries if instance.retries is None else instance.retries
    return replace(worker, url=instance.url or worker.url, retries=retries)


def _register_seconds(hands: Hands) -> float:
    """The least time that an attempt to register needs."""
    return min(hands.master.caps.call_seconds, hands.connect_timeout_seconds)


async def _attempt_to_register(hands: Hands, worker: Worker) -> Registration:
    """Reach the worker for as long as the fleet allows, or as the turn does where that is shorter."""
    least_seconds = _register_seconds(hands)
    connect_seconds = min(hands.connect_timeout_seconds, hands.budget.remaining_seconds - least_seconds)
    # With less time left than that the call is not begun at all.
    connect_seconds = max(connect_seconds, least_seconds / 2)
    attempt = partial(hands.master.register, worker, connect_timeout_seconds=connect_seconds)
    return await _master_call(hands, attempt, f"register {worker.url}", connect_seconds + least_seconds / 2)


async def drain(hands: Hands, action: Action) -> Outcome:
    """Tell the master to give the worker no new work."""
    worker = hands.workers[action.worker_id]
    answer = await _drained(hands, worker)
    if answer is DrainAnswer.BUSY:
        return _note(action, Result.BUSY, "works; stays in service")
    return _note(action, Result.DONE, answer.value)


async def tear_down(hands: Hands, action: Action) -> Outcome:
    """Drain again, look twice, and if the worker is empty: ask its software to end, terminate, see it gone, deregister.

    Source: SwarmUI neither drains nor deletes with regard to running generations, so emptiness is looked for in the
    worker itself, and twice, because a request may be on its way between the master and the worker.
    """
    worker = hands.workers[action.worker_id]
    mark = worker.mark
    overdue = mark is not None and mark.forced and not mark.remaining_seconds
    for look in range(2):
        if look:
            await hands.sleep(hands.looks_apart_seconds)
        # Each look drains anew: where the master has forgotten the worker, that answer is all that is known of it.
        answer = await _drained(hands, worker)
        if answer is DrainAnswer.BUSY:
            return _note(action, Result.BUSY, "works at its drain deadline: back in service")
        result, detail = await _look(hands, worker, answer)
        if result is not Result.DONE and not overdue:
            return _note(action, result, detail)
    await _asked_to_end(hands, worker)
    return await terminate(hands, action)


async def terminate(hands: Hands, action: Action) -> Outcome:
    """End the instance; where the provider may be asked again in this turn, see it gone and deregister it."""
    provider = hands.providers[action.provider]
    if action.instance_id:
        spare = hands.spares[action.provider, action.instance_id]
        await _end(hands, provider, spare, action)
        return _note(action, Result.DONE, f"{spare.instance_id} is being ended")
    worker = hands.workers[action.worker_id]
    instance = hands.instances[action.worker_id]
    await _keep_logs(hands, provider, instance)
    await _end(hands, provider, instance, action)
    if action.stops:
        return _note(action, Result.DONE, f"{instance.instance_id} is being stopped, and kept")
    shown = await _relisted(hands, worker, fresh=True)
    if shown is None or shown.state is not InstanceState.GONE:
        return _note(action, Result.DONE, f"{instance.instance_id} is being ended")
    await _master_call(hands, lambda: hands.master.deregister(worker), f"deregister {worker.worker_id}")
    return _note(action, Result.DONE, f"{instance.instance_id} is gone, and deregistered")


async def _end(hands: Hands, provider: Provider, instance: Instance, action: Action) -> None:
    """Terminate it, or stop it where it is kept; as often as its provider may be asked."""
    seconds, spacing = provider.caps.call_seconds, provider.caps.seconds_between_ends
    await _paced(hands, (action.provider, "end"), spacing, seconds)
    end, what = (provider.stop, "stop") if action.stops else (provider.terminate, "terminate")
    await _provider_call(hands, provider, lambda: end(instance), f"{what} {instance.instance_id}")


async def _paced(hands: Hands, kind: tuple[str, str], spacing: float, seconds: float) -> None:
    """Wait for the turn of one call, where its provider limits how often it may be asked.

    Raises:
        BudgetOver: its turn would come too late.
    """
    if spacing <= 0:
        return
    pace = hands.paces.setdefault(kind, Pace())
    async with pace.lock:
        now = hands.budget.clock()
        wait = 0.0 if pace.next_at is None else max(0.0, pace.next_at - now)
        if not hands.budget.allows(wait + seconds):
            raise BudgetOver(f"{kind[1]} at {kind[0]}: {spacing:g} s apart, this one does not fit into the turn")
        pace.next_at = now + wait + spacing
    await hands.sleep(wait)


async def _keep_logs(hands: Hands, provider: Provider, instance: Instance) -> None:
    """Read what it printed before it is gone. Best effort: a worker that costs money is ended all the same."""
    if not provider.caps.keeps_logs or not hands.budget.allows(LOGS_SECONDS + provider.caps.call_seconds):
        return
    with suppress(FleetError), anyio.move_on_after(LOGS_SECONDS):
        hands.logs[instance.worker_id] = await provider.logs(instance)


async def deregister(hands: Hands, action: Action) -> Outcome:
    """Let the master forget a worker that is gone, or an entry that was left unfinished."""
    ref = action.member_ref
    if ref is not None:
        await _master_call(hands, lambda: hands.master.remove_unfinished(ref), f"remove entry {ref}")
        return _note(action, Result.DONE, f"entry {ref} removed")
    worker = hands.workers[action.worker_id]
    await _master_call(hands, lambda: hands.master.deregister(worker), f"deregister {worker.worker_id}")
    return _note(action, Result.DONE)


async def _drained(hands: Hands, worker: Worker) -> DrainAnswer:
    mark = worker.mark
    remaining, forced = (mark.remaining_seconds, mark.forced) if mark else (0.0, False)
    return await _master_call(
        hands, lambda: hands.master.drain(worker, remaining, force=forced), f"drain {worker.worker_id}"
    )


async def _look(hands: Hands, worker: Worker, drained: DrainAnswer) -> tuple[Result, str]:
    """Whether no new work can reach the worker and nothing runs on it. Unknown is neither."""
    members = await _master_call(hands, lambda: hands.master.members([worker.worker_id]), f"look at {worker.worker_id}")
    if not members.complete:
        return Result.WAITING, f"members unknown: {members.detail}"
    member = next((member for member in members.members if member.worker_id == worker.worker_id), None)
    if member is None:
        empty = drained is DrainAnswer.GONE
        return (Result.DONE, "not a member") if empty else (Result.WAITING, "not a member, and not seen empty")
    if member.state is not MemberState.DRAINING:
        return Result.WAITING, f"the master shows it {member.state.value}: work may still reach it"
    return _emptiness(worker, member, hands.silent_seconds)


def _emptiness(worker: Worker, member: Member, silent_seconds: float) -> tuple[Result, str]:
    if member.busy:
        return Result.WAITING, "still works"
    if member.busy is False:
        return Result.DONE, "empty"
    silent = worker.unanswered_seconds
    if silent is not None and silent >= silent_seconds:
        return Result.DONE, f"nobody has answered for it for {silent:.0f} s"
    return Result.SILENT, "nobody answers for it"


async def _asked_to_end(hands: Hands, worker: Worker) -> None:
    if not worker.registered:
        # What it announced was never proven to be its own address: another worker may answer there.
        return
    try:
        await _master_call(hands, lambda: hands.master.shut_down(worker), f"shut down {worker.worker_id}")
    except BudgetOver:
        raise
    except FleetError:
        # Best effort by contract: the provider ends it in any case.
        return


async def _relisted(hands: Hands, worker: Worker, *, fresh: bool = False) -> Instance | None:
    """The worker in a listing of this turn that is as new as its provider allows; None where it is not shown."""
    provider = hands.providers.get(worker.provider)
    if provider is None or provider.caps.relist_seconds is None:
        return None if fresh else hands.instances.get(worker.worker_id)
    shared = hands.listings.setdefault(worker.provider, Relisting())
    asked_at = hands.budget.clock()
    async with shared.lock:
        oldest = asked_at if fresh else asked_at - provider.caps.relist_seconds
        if shared.taken_at is None or shared.taken_at < oldest:
            shared.taken_at = hands.budget.clock()
            shared.listing = await _provider_call(
                hands, provider, lambda: provider.list_instances(hands.fleet), f"list {worker.provider}"
            )
    rows = shared.listing.instances if shared.listing else ()
    return next((row for row in rows if row.worker_id == worker.worker_id and row.home == hands.home), None)


async def _master_call(hands: Hands, make: Callable[[], Awaitable[T]], what: str, seconds: float | None = None) -> T:
    limit = hands.master.caps.call_seconds if seconds is None else seconds
    return await _call(hands, make, what, limit, MasterUnavailable)


async def _provider_call(hands: Hands, provider: Provider, make: Callable[[], Awaitable[T]], what: str) -> T:
    return await _call(hands, make, what, provider.caps.call_seconds, ProviderUnavailable)


async def _call(hands: Hands, make: Callable[[], Awaitable[T]], what: str, seconds: float, late: type[FleetError]) -> T:
    """One outside call: begun only if it can end within the budget, and made again only after a temporary error."""
    for wait in (*RETRY_WAITS_SECONDS, None):
        if not hands.budget.allows(seconds):
            raise BudgetOver(f"{what} needs {seconds:g} s, the turn has {hands.budget.remaining_seconds:.1f} s left")
        try:
            async with hands.limiter:
                with anyio.fail_after(seconds):
                    return await make()
        except TimeoutError as error:
            failure: FleetError = late(f"{what}: no answer within {seconds:g} s")
            failure.__cause__ = error
        except FleetError as error:
            failure = error
        if not failure.is_temporary or wait is None or not hands.budget.allows(wait + seconds):
            raise failure
        await hands.sleep(wait)
    raise AssertionError("the last try returns or raises")
