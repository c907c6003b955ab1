"""One decision, from inputs to plan: settle, reconcile, decide, limit, place, keep up. Pure: equal inputs, equal bytes.

Flows call `evaluate` with what they observed; a stored record is replayed through the very same function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.errors import ConfigError, OverrideRefused
from ebbflow.core.ids import worker_id
from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.lifecycle import WorkerState, move
from ebbflow.core.member import PushMemberList
from ebbflow.core.memory import Memory, OverrideKind, ProviderMemory
from ebbflow.core.observation import Inputs, Observation, Spare
from ebbflow.core.plan import Action, Plan, Reason, Verb
from ebbflow.core.text import counted
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.decide import Circumstances, Decided, decide, is_wound_down
from ebbflow.decision.giving_up import give_up
from ebbflow.decision.last_one import last_one
from ebbflow.decision.outcomes import settle
from ebbflow.decision.placement.shares import Launch, ProviderEntry, ProviderShare, share_of
from ebbflow.decision.provider_memory import providers_after
from ebbflow.decision.roster import Roster, reconcile
from ebbflow.decision.rows import CONFIRM_SECONDS, instances_of_ours, is_same_address
from ebbflow.decision.rules import Rules
from ebbflow.decision.spending import usd_spent
from ebbflow.decision.upkeep import keep_up, sweep, without_given_up
from ebbflow.decision.waiting_room import features_after, keep_room, missing_models_after
from ebbflow.decision.warm import end_spares, keep_warm, leaving

DAY_SECONDS = 86_400.0
MOST_HELD_SECONDS = 1.0
"""A floor of a fleet whose master owns the workers holds for the turn that it is asked in."""

STUCK_SECONDS = 600.0
"""Work that waits for so long while everybody is idle does not wait for a worker."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A decision with everything that led to it and follows from it: all that acting on it needs to know."""

    inputs: Inputs
    observation: Observation
    plan: Plan
    memory: Memory
    """As the record of this turn carries it."""
    instances: Mapping[str, Instance]
    """By worker id, of our fleet and home, as this turn's listings showed them."""

    def worker(self, identity: str) -> Worker:
        """One worker of the plan, as remembered after it."""
        return next(worker for worker in self.memory.workers if worker.worker_id == identity)

    def spare(self, provider: str, instance_id: str) -> Instance:
        """One instance that no worker has, as its listing showed it."""
        return next(
            instance
            for look in self.inputs.providers
            for instance in look.listing.instances
            if (look.provider, instance.instance_id) == (provider, instance_id)
        )

    def avoided(self, provider: str) -> tuple[str, ...]:
        """Machines of a provider on which workers failed lately."""
        known = self.memory.provider(provider)
        return tuple(avoided.machine for avoided in known.avoided) if known else ()


def evaluate(inputs: Inputs, rules: Rules) -> Evaluation:
    """Decide one turn.

    Raises:
        ConfigError: the fleet contradicts its own record (another deployment, another account behind a block).
        OverrideRefused: the request of a scale-up or scale-down goes beyond the limits.
    """
    before = settle(_aged(inputs), inputs, drain_deadline_seconds=rules.drain.deadline_seconds)
    _check_manager(inputs, rules)
    _check_request(inputs, before)
    _check_fingerprints(before, inputs)
    roster = reconcile(inputs, before, drain_deadline_seconds=rules.drain.deadline_seconds)
    workers = give_up(
        roster.workers,
        inputs.number,
        launch_timeout_seconds=rules.readiness.launch_timeout_seconds,
        retries=rules.readiness.retries,
        drain_deadline_seconds=rules.drain.deadline_seconds,
        warm_start_seconds={look.provider: look.caps.warm_start_seconds for look in inputs.providers},
    )
    providers = providers_after(before, inputs, workers, spares=roster.spares)
    shares = _shares(inputs, rules, roster, providers)
    found = _observation(inputs, rules, before, roster, workers)
    # A wish that was not fulfilled yet is not sent again where nobody is to come.
    has_room = found.existing <= rules.limits.max_workers and not is_wound_down(before.overrides)
    awaited, given_up = without_given_up(
        found.workers,
        inputs,
        before,
        {share.provider: share for share in shares},
        launch_timeout_seconds=rules.readiness.launch_timeout_seconds,
        has_room=has_room,
    )
    circumstances = _circumstances(inputs, before, found)
    decided = decide(replace(found, workers=tuple(awaited)), shares, rules, circumstances)
    observation, placed = decided.observation, decided.placed
    marked = _marked(observation.workers, decided, inputs.number, rules)
    leaves = leaving(marked, inputs.number, before)
    workers = keep_warm(marked, observation.spares, decided.shares, leaving=leaves)
    kept, actions, notes = _kept_up(workers, inputs, before, decided, rules, circumstances)
    wishes, launches = _wishes(placed.launches, inputs, kept)
    started = {launch.instance_id for launch in placed.launches}
    spares = tuple(spare for spare in observation.spares if spare.instance_id not in started)
    by_id = {worker.worker_id: worker for worker in kept}
    idle = frozenset(spare.instance_id for spare in spares if _works_for_nobody(spare, by_id, inputs))
    ended = () if decided.is_paused else end_spares(spares, decided.shares, idle)
    after = replace(observation, workers=(*kept, *wishes), spares=spares)
    swept = list(sweep(inputs, before.unfinished))
    room, room_notes = keep_room(kept, inputs, decided.overrides)
    in_vain_seconds, spent_usd = _in_vain_seconds(inputs, observation, before), _spent_usd(inputs, observation)
    plan = Plan(
        headline=decided.decision.headline,
        wanted=decided.decision.total,
        supply=observation.supply,
        existing=observation.existing,
        usd_per_hour=round(after.usd_per_hour, 4),
        storage_usd_per_hour=round(sum(spare.usd_per_hour or 0.0 for spare in spares if spare.is_warm), 4),
        actions=(*launches, *room, *actions, *ended, *(action for _, action in swept if action is not None)),
        reasons=(
            *_chain_reasons(inputs),
            *_stuck(inputs, in_vain_seconds),
            *roster.reasons,
            *given_up,
            *decided.reasons,
            *notes,
            *room_notes,
        ),
    )
    is_young = before.chain_age_seconds < circumstances.quiet_seconds
    memory = replace(
        before,
        awaits_first_look=is_young and not (_is_listed(inputs) and inputs.members.complete),
        workers=(*kept, *wishes),
        providers=providers,
        overrides=decided.overrides,
        unfinished=tuple(entry for entry, _ in swept),
        seconds_since_start=0.0 if launches else observation.seconds_since_start,
        seconds_since_stop=0.0 if placed.victims else before.seconds_since_stop,
        policy=rules.policy.kind,
        remembered=decided.decision.remembers,
        manager=inputs.turn.manager or before.manager,
        manager_age_seconds=0.0 if inputs.turn.manager else before.manager_age_seconds,
        in_vain_seconds=in_vain_seconds,
        spent_usd=spent_usd,
        spent_day=int(inputs.turn.at_seconds // DAY_SECONDS) if spent_usd else 0,
        worker_features=features_after(inputs),
        missing_models=missing_models_after(inputs),
    )
    shown = (instances_of_ours(look, inputs) for look in inputs.providers)
    instances = {identity: instance for found in shown for identity, instance in found.items()}
    return Evaluation(inputs, observation, plan, memory, instances)


def _spent_usd(inputs: Inputs, observation: Observation) -> float:
    """What this day has cost until now: since the last turn, what existed then, at the prices known then."""
    last, now = inputs.memory, inputs.turn.at_seconds
    began = DAY_SECONDS * (now // DAY_SECONDS)
    seconds = max(0.0, min(inputs.turn.elapsed_seconds + inputs.turn.look_seconds, now - began))
    before = last.spent_usd if last.spent_day == int(now // DAY_SECONDS) else 0.0
    return round(before + usd_spent(seconds, last.workers, observation.spares), 6)


def _in_vain_seconds(inputs: Inputs, observation: Observation, before: Memory) -> float | None:
    """How long work waits while everybody who serves is idle; None: it does not, or nobody knows."""
    serving = [worker.busy for worker in observation.workers if worker.state is WorkerState.READY]
    waits = inputs.demand.complete and inputs.demand.queued > 0
    is_in_vain = waits and bool(serving) and all(busy is False for busy in serving)
    return (before.in_vain_seconds or 0.0) if is_in_vain else None


def _stuck(inputs: Inputs, in_vain_seconds: float | None) -> tuple[Reason, ...]:
    """Demand that does not fall though nobody works on it. Source: SwarmUI counts requests whose client has left."""
    if in_vain_seconds is None or in_vain_seconds < STUCK_SECONDS:
        return ()
    waited = f"{counted(inputs.demand.queued, 'request', 'have')} waited for {in_vain_seconds / 60:.0f} min"
    text = f"{waited} while every worker is idle: nobody of them can do that work, or whoever asked for it has left"
    return (Reason("demand.stuck", text, "demand_stuck"),)


def _works_for_nobody(spare: Spare, workers: Mapping[str, Worker], inputs: Inputs) -> bool:
    """Whether an instance too many of a worker's id is known to have no work: nobody of it has, or another one."""
    worker = workers.get(spare.worker_id)
    if worker is None or not inputs.master.takes_urls or not inputs.members.complete:
        return False
    never_served = worker.state is WorkerState.FAILED and not worker.registered
    if worker.state is WorkerState.TERMINATING or never_served:
        return True
    runs = worker.instance is InstanceState.RUNNING and worker.busy is not None and worker.url is not None
    members = [member for member in inputs.members.members if member.worker_id == worker.worker_id]
    return runs and bool(members) and all(is_same_address(member.url, worker.url) for member in members)


def _observation(inputs: Inputs, rules: Rules, before: Memory, roster: Roster, workers: list[Worker]) -> Observation:
    return Observation(
        demand=inputs.demand,
        workers=tuple(workers),
        spares=roster.spares,
        seconds_since_start=_since_start(before, workers),
        seconds_since_stop=before.seconds_since_stop,
        at_seconds=inputs.turn.at_seconds,
        elapsed_seconds=inputs.turn.elapsed_seconds,
        # Another policy's numbers mean nothing to this one.
        remembered=before.remembered if before.policy == rules.policy.kind else {},
    )


def _circumstances(inputs: Inputs, before: Memory, found: Observation) -> Circumstances:
    return Circumstances(
        overrides=before.overrides,
        request=inputs.turn.request,
        per_shape_demand=inputs.master.caps.per_shape_demand,
        members_complete=inputs.members.complete,
        chain_age_seconds=before.chain_age_seconds,
        budget_seconds=inputs.turn.budget_seconds,
        predecessors_act=_predecessors_act(before, inputs),
        quiet_seconds=CONFIRM_SECONDS if _may_go_on(inputs, found) else 0.0,
        others=_counted_others(inputs),
    )


def _counted_others(inputs: Inputs) -> tuple[str, ...]:
    members = inputs.members
    return members.others if inputs.master.caps.counts_others and isinstance(members, PushMemberList) else ()


def _aged(inputs: Inputs) -> Memory:
    aged = inputs.memory.aged(inputs.turn.elapsed_seconds)
    claims = aged.claims if inputs.turn.head is None else (*aged.claims, inputs.turn.head)
    read = set(inputs.turn.noted)
    claims = tuple(replace(claim, noted=claim.noted or claim.number in read) for claim in claims)
    if aged.awaits_first_look:
        aged = replace(aged, chain_age_seconds=0.0)
    return replace(aged, claims=tuple(claim for claim in claims if not claim.is_over))


def _predecessors_act(memory: Memory, inputs: Inputs) -> bool:
    """Whether a claim from before this chain may still be launching, or ending workers, as its lost record meant."""
    if inputs.turn.broken:
        return bool(memory.claims)
    head = inputs.turn.head.number if inputs.turn.head else 0
    return any(claim.number != head and claim.age_seconds >= memory.chain_age_seconds for claim in memory.claims)


def _may_go_on(inputs: Inputs, found: Observation) -> bool:
    """Whether workers may be from before this chain: its first list may lack some, and a second one is to agree."""
    is_unclear = bool(inputs.turn.broken) or not inputs.members.complete or not _is_listed(inputs)
    return is_unclear or any(not worker.launch_number for worker in found.workers)


def _is_listed(inputs: Inputs) -> bool:
    return all(look.listing.complete for look in inputs.providers)


def _chain_reasons(inputs: Inputs) -> tuple[Reason, ...]:
    if inputs.turn.clock_back_seconds:
        text = f"the ledger's clock was set back by {inputs.turn.clock_back_seconds:.0f} s or more: nothing grows older"
        return (Reason("chain.clock", text),)
    if inputs.turn.broken:
        return (Reason("chain.broken", f"{inputs.turn.broken}: memory starts at zero, what is listed is adopted"),)
    if inputs.turn.head is None:
        return (
            Reason("chain.new", f"the first turn on record (chain {inputs.chain}): whoever is listed is taken over"),
        )
    return ()


def _check_manager(inputs: Inputs, rules: Rules) -> None:
    """Refuse a second deployment while the first one lives.

    By the ledger's own times: a turn that is refused claims nothing, so memory would never grow older by it.
    """
    other, ours = inputs.memory.manager, inputs.turn.manager
    since_claim_seconds = inputs.turn.head.age_seconds if inputs.turn.head is not None else 0.0
    age_seconds = inputs.memory.manager_age_seconds + since_claim_seconds
    if other and ours and other != ours and age_seconds < 3 * rules.interval_seconds:
        left_seconds = 3 * rules.interval_seconds - age_seconds
        raise ConfigError(
            f"fleet {inputs.fleet!r} is already run by another deployment ({other}, {age_seconds:.0f} s ago; this one "
            f"is {ours}): give one of the two fleets another name, or pause one deployment; where {other} is gone or "
            f"renamed, this one takes over in {left_seconds:.0f} s"
        )


def _check_request(inputs: Inputs, memory: Memory) -> None:
    """Refuse what a master that owns its workers would undo, or would not know of."""
    request = inputs.turn.request
    if request is None or not inputs.master.caps.owns_workers:
        return
    taken = {worker.worker_id for worker in memory.workers if worker.registered}
    if request.kind is OverrideKind.CEILING and request.worker_ids and not taken & set(request.worker_ids):
        # Of those the master knows nothing.
        return
    if request.kind in (OverrideKind.CEILING, OverrideKind.PIN):
        raise OverrideRefused(
            f"the workers of fleet {inputs.fleet!r} are started and ended by its master's own auto-scaling backend: "
            "change MinBackends, MaxBackends or MinIdleTime there, or end everything with `ebbflow down`"
        )
    if request.kind is OverrideKind.FLOOR and request.hold_seconds > MOST_HELD_SECONDS:
        raise OverrideRefused(
            f"hold_seconds is {request.hold_seconds:g}: a worker that the auto-scaling backend of fleet "
            f"{inputs.fleet!r} ends would be launched again; at most {MOST_HELD_SECONDS:g} s are held there"
        )


def _check_fingerprints(memory: Memory, inputs: Inputs) -> None:
    for look in inputs.providers:
        known = memory.provider(look.provider)
        alive = sum(worker.provider == look.provider and worker.may_exist for worker in memory.workers)
        if known is not None and known.fingerprint != look.caps.fingerprint and alive:
            raise ConfigError(
                f"block {look.provider} now points to {look.caps.fingerprint}, but {counted(alive, 'worker')} of fleet "
                f"{inputs.fleet!r} may live at {known.fingerprint}: point it back until they are gone, "
                "or save the new place as a block of another name"
            )


def _since_start(memory: Memory, workers: Sequence[Worker]) -> float | None:
    """Seconds since the last launch or the last announced URL.

    Source: SwarmUI src/Backends/AutoScalingBackend.cs counts MinWaitBetweenStart from both.
    """
    silent = {worker.worker_id for worker in memory.workers if worker.url is None}
    announced = any(worker.url is not None and worker.worker_id in silent for worker in workers)
    return 0.0 if announced else memory.seconds_since_start


def _shares(inputs: Inputs, rules: Rules, roster: Roster, providers: tuple[ProviderMemory, ...]) -> list[ProviderShare]:
    """Providers in the order of the fleet; one that was removed while something may live there takes nothing new."""
    named = {entry.block: entry for entry in rules.providers}
    known = {remembered.provider: remembered for remembered in providers}
    shares = []
    for look in inputs.providers:
        removed = ProviderEntry.model_construct(block=look.provider, max_workers=0)
        suspect = look.provider in roster.suspects
        shares.append(
            share_of(
                named.get(look.provider, removed),
                look.caps,
                known[look.provider],
                complete=look.listing.complete and not suspect,
                detail="more than half vanished at once" if suspect else look.listing.detail,
            )
        )
    return shares


def _marked(workers: Sequence[Worker], decided: Decided, number: int, rules: Rules) -> list[Worker]:
    victims = {victim.worker_id: victim for victim in decided.placed.victims}
    winding = [held for held in decided.overrides if held.kind is OverrideKind.WIND_DOWN]
    is_forced = bool(winding) and winding[-1].force
    marked = []
    for worker in workers:
        victim = victims.get(worker.worker_id)
        if victim is None:
            # Force that comes after the mark holds for whoever has not left yet.
            mark = worker.mark and replace(
                worker.mark, forced=worker.mark.forced or is_forced, for_good=worker.mark.for_good or bool(winding)
            )
            marked.append(worker if mark == worker.mark else replace(worker, mark=mark))
            continue
        mark = Mark(
            number,
            victim.reason,
            rules.drain.deadline_seconds,
            forced=victim.forced or rules.drain.force,
            for_good=bool(winding),
        )
        state = move(worker.state, WorkerState.DRAINING, worker_id=worker.worker_id)
        marked.append(replace(worker, state=state, state_seconds=0.0, mark=mark))
    return marked


def _kept_up(
    workers: list[Worker],
    inputs: Inputs,
    memory: Memory,
    decided: Decided,
    rules: Rules,
    circumstances: Circumstances,
) -> tuple[list[Worker], list[Action], list[Reason]]:
    by_provider = {share.provider: share for share in decided.shares}
    kept, actions, reasons = [], [], []
    last = last_one(workers, inputs, max_workers=rules.limits.max_workers, overrides=decided.overrides)
    if last is not None:
        reasons.append(Reason("upkeep.last", f"{last.worker_id}: {last.why}", "last_one"))
    for worker in workers:
        upkeep = keep_up(
            worker,
            inputs,
            memory,
            by_provider.get(worker.provider),
            launch_timeout_seconds=rules.readiness.launch_timeout_seconds,
            predecessors_act=circumstances.predecessors_act,
            has_room=decided.observation.existing <= rules.limits.max_workers and not is_wound_down(decided.overrides),
            stays_in_service=last is not None and last.stays and last.worker_id == worker.worker_id,
        )
        if upkeep.worker is not None:
            kept.append(upkeep.worker)
        if upkeep.action is not None:
            actions.append(upkeep.action)
        if upkeep.reason is not None:
            reasons.append(upkeep.reason)
    return kept, actions, reasons


def _wishes(launches: tuple[Launch, ...], inputs: Inputs, kept: list[Worker]) -> tuple[list[Worker], list[Action]]:
    """Name the launches. An id that anybody carries already is skipped: it may stem from a claim that was deleted."""
    taken = {worker.worker_id for worker in kept}
    taken |= {instance.worker_id for look in inputs.providers for instance in look.listing.instances}
    wishes: list[Worker] = []
    actions: list[Action] = []
    index = 0
    for launch in launches:
        while (
            identity := worker_id(fleet=inputs.fleet, chain=inputs.chain, number=inputs.number, index=index)
        ) in taken:
            index += 1
        index += 1
        wishes.append(
            Worker(
                identity,
                launch.provider,
                WorkerState.WISHED,
                launch.capabilities,
                usd_per_hour=launch.usd_per_hour,
                launch_number=inputs.number,
                warm_instance_id=launch.instance_id,
            )
        )
        actions.append(
            Action(
                Verb.LAUNCH,
                identity,
                launch.provider,
                launch.reason,
                launch.usd_per_hour,
                instance_id=launch.instance_id,
            )
        )
    return wishes, actions
