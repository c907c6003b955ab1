"""One decision, from inputs to plan: settle, reconcile, decide, limit, place, keep up. Pure: equal inputs, equal bytes.

Flows call `evaluate` with what they observed; a stored record is replayed through the very same function.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ebbflow.core.capabilities import fits
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import worker_id
from ebbflow.core.lifecycle import WorkerState, move
from ebbflow.core.memory import Memory, OverrideKind, ProviderMemory
from ebbflow.core.observation import Inputs, Observation, ProviderLook
from ebbflow.core.plan import Action, Decision, Plan, Reason, Verb
from ebbflow.core.ports import Policy
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.guard import ask
from ebbflow.decision.limits import Limits, apply
from ebbflow.decision.outcomes import settle
from ebbflow.decision.overrides import overrides_after
from ebbflow.decision.placement.place import Launch, Placed, PlacementRules, Pool, place, retire
from ebbflow.decision.provider_memory import providers_after
from ebbflow.decision.roster import Roster, give_up, reconcile
from ebbflow.decision.schedule import Schedule, floors
from ebbflow.decision.upkeep import keep_up, sweep
from ebbflow.decision.warm import end_spares, keep_warm
from ebbflow.policies.formulas.pouring import pour


@dataclass(frozen=True, slots=True)
class PoolRule:
    """One line of a fleet's `providers`."""

    provider: str
    max_workers: int
    max_usd_per_hour: float | None = None
    warm_workers: int = 0
    base_workers: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a fleet says about how to decide."""

    policy: Policy
    limits: Limits
    pools: tuple[PoolRule, ...]
    interval_seconds: float
    launch_timeout_seconds: float
    retries: int
    drain_deadline_seconds: float
    drain_force: bool = False
    schedules: tuple[Schedule, ...] = ()
    placement: PlacementRules = field(default_factory=PlacementRules)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A decision with everything that led to it and follows from it."""

    observation: Observation
    plan: Plan
    memory: Memory
    """As the record of this turn carries it."""

    def worker(self, identity: str) -> Worker:
        """One worker of the plan, as remembered after it."""
        return next(worker for worker in self.memory.workers if worker.worker_id == identity)


def evaluate(inputs: Inputs, rules: Rules) -> Evaluation:
    """Decide one turn.

    Raises:
        ConfigError: the fleet contradicts its own record (another deployment, another account behind a block).
        OverrideRefused: the request of a scale-up or scale-down goes beyond the limits.
    """
    before = settle(_aged(inputs), inputs)
    _check_manager(before, inputs, rules)
    _check_fingerprints(before, inputs)
    roster = reconcile(inputs, before, drain_deadline_seconds=rules.drain_deadline_seconds)
    workers = give_up(
        roster.workers,
        inputs.number,
        launch_timeout_seconds=rules.launch_timeout_seconds,
        retries=rules.retries,
        warm_start_seconds={look.provider: look.caps.warm_start_seconds for look in inputs.providers},
    )
    providers = providers_after(before, inputs, workers, spares=roster.spares)
    pools = _pools(inputs, rules, roster, providers)
    workers = retire(workers, pools, rules.limits, rules.placement)
    observation = _observation(inputs, rules, before, roster, workers)
    overrides = overrides_after(before, inputs.request, observation, rules.limits)
    decision = ask(rules.policy, observation)
    if inputs.master_caps.per_shape_demand:
        decision = _satisfiable(decision, observation, pools)
    pools = _keeping(pools, decision.reserve)
    bounded = apply(
        decision,
        observation,
        rules.limits,
        overrides=overrides,
        floors=floors(rules.schedules, inputs.at_seconds),
        by_capability=inputs.master_caps.per_shape_demand,
        listings_complete=all(pool.complete for pool in pools),
    )
    predecessors_act = _predecessors_act(before, inputs)
    placed = place(
        bounded,
        observation,
        pools,
        rules.limits,
        rules=rules.placement,
        chain_age_seconds=before.chain_age_seconds,
        budget_seconds=inputs.budget_seconds,
        predecessors_act=predecessors_act,
        members_complete=inputs.members.complete,
    )
    workers = _marked(workers, placed, inputs.number, rules)
    workers = keep_warm(workers, observation.spares, pools, inputs, before)
    kept, actions, notes = _kept_up(workers, inputs, before, pools, rules, predecessors_act=predecessors_act)
    wishes, launches = _wishes(placed.launches, inputs, kept)
    started = {launch.instance_id for launch in placed.launches}
    spares = tuple(spare for spare in observation.spares if spare.instance_id not in started)
    is_paused = any(held.kind is OverrideKind.PAUSE for held in overrides)
    ended = () if is_paused else end_spares(spares, pools, inputs)
    after = replace(observation, workers=(*kept, *wishes), spares=spares)
    swept = list(sweep(inputs, before.unfinished))
    plan = Plan(
        headline=decision.headline,
        wanted=decision.total,
        supply=observation.supply,
        existing=observation.existing,
        usd_per_hour=round(after.usd_per_hour, 4),
        storage_usd_per_hour=round(sum(spare.usd_per_hour or 0.0 for spare in spares if spare.is_warm), 4),
        actions=(*launches, *actions, *ended, *(action for _, action in swept if action is not None)),
        reasons=(
            *_chain_reasons(inputs),
            *roster.reasons,
            *decision.reasons,
            *bounded.reasons,
            *placed.reasons,
            *notes,
        ),
    )
    memory = replace(
        before,
        workers=(*kept, *wishes),
        providers=providers,
        overrides=overrides,
        unfinished=tuple(entry for entry, _ in swept),
        seconds_since_start=0.0 if launches else observation.seconds_since_start,
        seconds_since_stop=0.0 if placed.victims else before.seconds_since_stop,
        policy=rules.policy.kind,
        remembered=decision.remembers,
        manager=inputs.manager or before.manager,
        manager_age_seconds=0.0 if inputs.manager else before.manager_age_seconds,
    )
    return Evaluation(observation, plan, memory)


def _observation(
    inputs: Inputs, rules: Rules, before: Memory, roster: Roster, workers: Sequence[Worker]
) -> Observation:
    return Observation(
        demand=inputs.demand,
        workers=tuple(workers),
        spares=roster.spares,
        seconds_since_start=_since_start(before, workers),
        seconds_since_stop=before.seconds_since_stop,
        at_seconds=inputs.at_seconds,
        elapsed_seconds=inputs.elapsed_seconds,
        # Another policy's numbers mean nothing to this one.
        remembered=before.remembered if before.policy == rules.policy.kind else {},
    )


def _aged(inputs: Inputs) -> Memory:
    aged = inputs.memory.aged(inputs.elapsed_seconds)
    claims = aged.claims if inputs.head is None else (*aged.claims, inputs.head)
    read = set(inputs.noted)
    claims = tuple(replace(claim, noted=claim.noted or claim.number in read) for claim in claims)
    return replace(aged, claims=tuple(claim for claim in claims if not claim.is_over))


def _predecessors_act(memory: Memory, inputs: Inputs) -> bool:
    """Whether a claim from before this chain may still be launching, or ending workers, as its lost record meant."""
    if inputs.broken:
        return bool(memory.claims)
    head = inputs.head.number if inputs.head else 0
    return any(claim.number != head and claim.age_seconds >= memory.chain_age_seconds for claim in memory.claims)


def _chain_reasons(inputs: Inputs) -> tuple[Reason, ...]:
    if inputs.broken:
        return (Reason("chain.broken", f"{inputs.broken}: memory starts at zero, what is listed is adopted"),)
    if inputs.head is None:
        return (Reason("chain.new", f"first record of chain {inputs.chain}: what is listed is adopted"),)
    return ()


def _check_manager(memory: Memory, inputs: Inputs, rules: Rules) -> None:
    other = memory.manager
    if other and inputs.manager and other != inputs.manager and memory.manager_age_seconds < 3 * rules.interval_seconds:
        raise ConfigError(
            f"fleet {inputs.fleet!r} is already run by another deployment ({other}, "
            f"{memory.manager_age_seconds:.0f} s ago; this one is {inputs.manager}): "
            "give one of the two fleets another name, or pause one deployment"
        )


def _check_fingerprints(memory: Memory, inputs: Inputs) -> None:
    for look in inputs.providers:
        known = memory.provider(look.provider)
        alive = sum(worker.provider == look.provider and worker.may_exist for worker in memory.workers)
        if known is not None and known.fingerprint != look.caps.fingerprint and alive:
            raise ConfigError(
                f"block {look.provider} now points to {look.caps.fingerprint}, but {alive} workers of fleet "
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


def _pools(inputs: Inputs, rules: Rules, roster: Roster, providers: tuple[ProviderMemory, ...]) -> tuple[Pool, ...]:
    """Providers in the order of the fleet; one that was removed while something may live there takes nothing new."""
    named = {rule.provider: rule for rule in rules.pools}
    known = {remembered.provider: remembered for remembered in providers}
    pools = [
        _pool(look, named.get(look.provider, PoolRule(look.provider, 0)), known[look.provider], roster)
        for look in inputs.providers
    ]
    if rules.placement.order == "price":
        pools.sort(key=lambda pool: (pool.price is None, pool.price or 0.0))
    return tuple(pools)


def _satisfiable(decision: Decision, observation: Observation, pools: Sequence[Pool]) -> Decision:
    """The decision without what neither a worker nor a provider of this fleet can do: it must not take others' room.

    Source: Ray counts, and launches for, only those shapes that some node type satisfies completely.
    """
    offered = [pool.caps.capabilities for pool in pools if pool.max_workers]
    offered += [worker.capabilities for worker in observation.workers if worker.is_supply]
    vain = [
        want
        for want in decision.wanted or ()
        if want.count and want.capabilities and not any(fits(able, want.capabilities) for able in offered)
    ]
    if not vain:
        return decision
    reasons = tuple(
        Reason("placement.unsatisfiable", f"{want.count} x {', '.join(want.capabilities)}: no provider can give it")
        for want in vain
    )
    wanted = tuple(want for want in decision.wanted or () if want not in vain)
    return replace(decision, wanted=wanted, reasons=(*decision.reasons, *reasons))


def _keeping(pools: Sequence[Pool], reserve: int | None) -> tuple[Pool, ...]:
    """The providers, where a policy's own reserve goes to the first ones, within what each may keep."""
    if reserve is None:
        return tuple(pools)
    kept = pour(reserve, [pool.warm_workers for pool in pools])
    return tuple(replace(pool, warm_workers=count) for pool, count in zip(pools, kept, strict=True))


def _pool(look: ProviderLook, rule: PoolRule, known: ProviderMemory, roster: Roster) -> Pool:
    suspect = look.provider in roster.suspects
    return Pool(
        provider=look.provider,
        max_workers=rule.max_workers,
        caps=look.caps,
        complete=look.listing.complete and not suspect,
        detail="more than half vanished at once" if suspect else look.listing.detail,
        max_usd_per_hour=rule.max_usd_per_hour,
        warm_workers=rule.warm_workers,
        base_workers=rule.base_workers,
        failures=known.failures,
        seconds_since_failure=known.seconds_since_failure,
        failure=known.detail,
    )


def _marked(workers: list[Worker], placed: Placed, number: int, rules: Rules) -> list[Worker]:
    victims = {victim.worker_id: victim for victim in placed.victims}
    marked = []
    for worker in workers:
        victim = victims.get(worker.worker_id)
        if victim is None:
            marked.append(worker)
            continue
        mark = Mark(number, victim.reason, rules.drain_deadline_seconds, forced=victim.forced or rules.drain_force)
        state = move(worker.state, WorkerState.DRAINING, worker_id=worker.worker_id)
        marked.append(replace(worker, state=state, state_seconds=0.0, mark=mark))
    return marked


def _kept_up(
    workers: list[Worker],
    inputs: Inputs,
    memory: Memory,
    pools: tuple[Pool, ...],
    rules: Rules,
    *,
    predecessors_act: bool,
) -> tuple[list[Worker], list[Action], list[Reason]]:
    by_provider = {pool.provider: pool for pool in pools}
    kept, actions, reasons = [], [], []
    for worker in workers:
        upkeep = keep_up(
            worker,
            inputs,
            memory,
            by_provider.get(worker.provider),
            launch_timeout_seconds=rules.launch_timeout_seconds,
            predecessors_act=predecessors_act,
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
