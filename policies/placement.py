"""Which provider gets which launch, and which worker goes. Pure; providers are asked in the order of the fleet.

Victims: never busy, the last holder of a model last, lower tiers first, longest idle first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import SUPPLY, WorkerState
from ebbflow.core.observation import Observation, Spare
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.limits import Bounded, Limits


@dataclass(frozen=True, slots=True)
class Pool:
    """One provider as placement sees it: its place in the order, its caps, and how it did lately."""

    provider: str
    max_workers: int
    caps: ProviderCaps
    complete: bool = True
    """Its listing was whole and lost no more than half of the fleet at once."""
    detail: str = ""
    """Why not."""
    max_usd_per_hour: float | None = None
    warm_workers: int = 0
    """How many stopped instances it keeps for a quick start."""
    seconds_since_failure: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch, placed."""

    provider: str
    reason: str
    usd_per_hour: float | None = None
    """What it costs; where the provider takes a cap, the most that it may."""
    instance_id: str = ""
    """The warm instance that it starts; empty: a new one."""


@dataclass(frozen=True, slots=True)
class Victim:
    """One worker that goes, and why this one."""

    worker_id: str
    reason: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Where launches go and who leaves."""

    launches: tuple[Launch, ...] = ()
    victims: tuple[Victim, ...] = ()
    reasons: tuple[Reason, ...] = ()


def place(
    bounded: Bounded,
    observation: Observation,
    pools: Sequence[Pool],
    limits: Limits,
    *,
    chain_age_seconds: float = float("inf"),
    budget_seconds: float = 0.0,
    predecessors_act: bool = False,
    members_complete: bool = True,
) -> Placed:
    """Turn numbers into providers and worker ids.

    Args:
        bounded: launches and stops after the limits.
        observation: who exists.
        pools: in order of preference.
        limits: for the failure cooldown, idle time and the fleet's price cap.
        chain_age_seconds: how long this chain of records exists; a new one waits until its providers have settled.
        budget_seconds: how late a turn's run may still launch, and so how many launches fit a provider's rate.
        predecessors_act: whether such a run may still be launching now.
        members_complete: whether the master answered wholly; without that nobody goes.
    """
    settle = max((pool.caps.settle_seconds for pool in pools), default=0.0)
    quiet = settle + budget_seconds if settle else 0.0
    launches, reasons = _place_launches(bounded.launches, observation, pools, limits, budget_seconds)
    if bounded.launches and (predecessors_act or chain_age_seconds < quiet):
        launches, reasons = (), (_not_settled(chain_age_seconds, quiet, predecessors_act),)
    if bounded.stops and not members_complete:
        return Placed(
            launches, (), (*reasons, Reason("placement.unknown", "members are unknown, so nobody is stopped"))
        )
    victims, kept = _choose_victims(bounded, observation, pools, limits)
    retired = _choose_retired(bounded, observation, pools, limits) if members_complete else ()
    return Placed(launches, (*victims, *retired), (*reasons, *kept))


def retire(workers: Sequence[Worker], pools: Sequence[Pool]) -> list[Worker]:
    """Name the workers above what their provider may hold: a removed provider, or a `max_workers` that was lowered.

    They are no supply any more, so that others are launched elsewhere before they go.
    """
    retiring: set[str] = set()
    for pool in pools:
        held = [worker for worker in workers if worker.provider == pool.provider and _serves_or_starts(worker)]
        # Who is idle longest goes first, who works or starts last.
        held.sort(key=lambda worker: (worker.busy is not False, -(worker.idle_seconds or 0.0), worker.worker_id))
        retiring |= {worker.worker_id for worker in held[: max(0, len(held) - pool.max_workers)]}
    return [replace(worker, is_retiring=worker.worker_id in retiring) for worker in workers]


def _serves_or_starts(worker: Worker) -> bool:
    return worker.mark is None and worker.state in SUPPLY


def _choose_retired(
    bounded: Bounded, observation: Observation, pools: Sequence[Pool], limits: Limits
) -> tuple[Victim, ...]:
    """Retiring workers go once the others serve all that is wanted, which nobody knows while demand is unknown."""
    if not observation.demand.complete:
        return ()
    calm = replace(bounded, hurried=0, forced=0)
    serving = sum(worker.is_supply and worker.state is WorkerState.READY for worker in observation.workers)
    by_provider = {pool.provider: pool for pool in pools}
    retired = tuple(
        Victim(
            worker.worker_id,
            f"{worker.provider} may hold {by_provider[worker.provider].max_workers} now, idle {_idle(worker)}",
        )
        for worker in observation.workers
        if worker.is_retiring and _may_go(worker, by_provider[worker.provider], calm, limits)
    )
    if serving >= bounded.target:
        return retired
    # In a full fleet nobody can be launched beside them: one makes room, then the next once that one's place is filled.
    makes_room = observation.existing >= limits.max_workers and serving == observation.supply
    return retired[:1] if makes_room else ()


def _not_settled(age: float, quiet: float, predecessors_act: bool) -> Reason:
    if predecessors_act:
        return Reason("placement.settle", "a run whose record is lost may still be launching; nothing is until it ends")
    return Reason(
        "placement.settle", f"this chain of records is {age:.0f} s old; nothing is launched before {quiet:g} s"
    )


def _place_launches(
    count: int, observation: Observation, pools: Sequence[Pool], limits: Limits, budget_seconds: float
) -> tuple[tuple[Launch, ...], tuple[Reason, ...]]:
    if count == 0:
        return (), ()
    launches: list[Launch] = []
    reasons: list[Reason] = []
    usd = observation.usd_per_hour
    left = max(0, limits.max_workers - observation.existing)
    for pool in pools:
        missing = count - len(launches)
        if missing == 0:
            break
        offer = _offer(pool, observation, limits, usd, budget_seconds)
        warm = offer.warm[: min(missing, offer.launches)]
        new = min(missing - len(warm), offer.new, left, offer.launches - len(warm))
        if len(warm) + new < missing:
            full = Reason("limits.max_workers", f"{observation.existing} exist, what is kept warm with them")
            reasons.append(full if offer.new > new == left else offer.why)
        for spare in warm:
            why = f"{spare.instance_id} of {pool.provider} is warm: started again"
            launches.append(Launch(pool.provider, why, offer.usd_per_hour, spare.instance_id))
        why = f"{pool.provider} is next in order and has room"
        launches.extend(Launch(pool.provider, why, offer.usd_per_hour) for _ in range(new))
        usd += (len(warm) + new) * (offer.usd_per_hour or 0.0)
        left -= new
    if len(launches) < count:
        text = f"{count - len(launches)} of {count} launches found no provider with room"
        reasons.append(Reason("placement.full", text))
    return tuple(launches), tuple(reasons)


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a provider can take now, and what binds."""

    why: Reason
    launches: int = 0
    """New and warm together."""
    new: int = 0
    warm: tuple[Spare, ...] = ()
    usd_per_hour: float | None = None


def _offer(pool: Pool, observation: Observation, limits: Limits, usd: float, budget_seconds: float) -> _Offer:
    if not pool.complete:
        return _Offer(_unknown(pool))
    since, rest = pool.seconds_since_failure, limits.min_seconds_after_failure
    if since is not None and since < rest:
        text = f"{pool.provider}: rests for another {rest - since:.0f} s after a failure: {pool.failure}"
        return _Offer(Reason("placement.cooldown", text))
    spares = [spare for spare in observation.spares if spare.provider == pool.provider]
    existing = len(spares) + sum(
        worker.may_exist and worker.provider == pool.provider for worker in observation.workers
    )
    warm = tuple(spare for spare in spares if spare.is_warm) if pool.max_workers else ()
    new = max(0, pool.max_workers - existing)
    launches, why = (
        new + len(warm),
        Reason("placement.max_workers", f"{pool.provider}: {existing} of {pool.max_workers} workers exist"),
    )
    fitting, rate = _fitting(pool, budget_seconds)
    if fitting < launches:
        launches, why = fitting, rate
    affordable, price = _affordable(pool, observation, limits, usd)
    if price is not None and affordable < launches:
        launches, why = affordable, price
    return _Offer(why, launches, new, warm, _price(pool))


def _unknown(pool: Pool) -> Reason:
    text = f"{pool.provider}: listing unknown ({pool.detail}), nothing is launched there"
    return Reason("placement.unknown", text)


def _fitting(pool: Pool, budget_seconds: float) -> tuple[int, Reason]:
    """How many launches of this turn its rate limit leaves room for."""
    spacing = pool.caps.seconds_between_launches
    fitting = 1 + max(0, int((budget_seconds - pool.caps.call_seconds) / spacing)) if spacing else 10_000
    text = f"{pool.provider}: {fitting} launches fit into a turn, {spacing:g} s apart; the rest is the next turn's"
    return fitting, Reason("placement.rate", text)


def _price(pool: Pool) -> float | None:
    """What a launch there costs; where the provider takes a cap, the lowest of the caps."""
    if not pool.caps.takes_price_cap:
        return pool.caps.usd_per_hour
    caps = [cap for cap in (pool.caps.usd_per_hour, pool.max_usd_per_hour) if cap is not None]
    return min(caps, default=None)


def _affordable(pool: Pool, observation: Observation, limits: Limits, usd: float) -> tuple[int, Reason | None]:
    """How many launches the price caps allow, and what binds; no reason where there is no cap."""
    price, cap, fleet_cap = _price(pool), pool.max_usd_per_hour, limits.max_usd_per_hour
    if cap is None and fleet_cap is None:
        return 0, None
    if price is None:
        return 0, Reason("placement.price", f"{pool.provider}: its price is unknown, and a price cap is set")
    if cap is not None and price > cap:
        return 0, Reason("placement.price", f"{pool.provider}: {price:g} USD/h is above its cap of {cap:g}")
    if fleet_cap is None:
        return 0, None
    unpriced = sorted(worker.worker_id for worker in observation.workers if _is_unpriced(worker))
    if unpriced:
        text = f"the price of {', '.join(unpriced)} is unknown, and max_usd_per_hour is {fleet_cap:g}"
        return 0, Reason("limits.max_usd_per_hour", text)
    if not price:
        return 0, None
    text = f"{pool.provider}: {usd:g} USD/h now, {price:g} for one more, max_usd_per_hour is {fleet_cap:g}"
    return max(0, int((fleet_cap - usd) / price + 1e-9)), Reason("limits.max_usd_per_hour", text)


def _is_unpriced(worker: Worker) -> bool:
    return worker.may_exist and bool(worker.provider) and worker.usd_per_hour is None


def _choose_victims(
    bounded: Bounded, observation: Observation, pools: Sequence[Pool], limits: Limits
) -> tuple[tuple[Victim, ...], tuple[Reason, ...]]:
    """First those that a person wants gone, only the named where there are names; then what the policy wants."""
    if bounded.stops == 0:
        return (), ()
    tiers = {pool.provider: (place, pool) for place, pool in enumerate(pools)}
    stoppable = [worker for worker in observation.workers if worker.is_supply and worker.provider in tiers]
    named = [worker for worker in stoppable if worker.worker_id in bounded.preferred]
    victims = _pick(bounded.hurried, named or stoppable, (), bounded, tiers, limits)
    calm = replace(bounded, hurried=0, forced=0)
    victims += _pick(bounded.stops - bounded.hurried, stoppable, victims, calm, tiers, limits)
    if len(victims) == bounded.stops:
        return victims, ()
    text = (
        f"{bounded.stops - len(victims)} of {bounded.stops} stops found no worker that may go: only idle ones do, "
        f"for {limits.min_idle_seconds:g} s{', or however short where a person asked' if bounded.hurried else ''}"
    )
    return victims, (Reason("placement.no_victim", text),)


def _pick(
    count: int,
    workers: Sequence[Worker],
    before: Sequence[Victim],
    bounded: Bounded,
    tiers: Mapping[str, tuple[int, Pool]],
    limits: Limits,
) -> tuple[Victim, ...]:
    victims: list[Victim] = []
    gone = {victim.worker_id for victim in before}
    while len(victims) < count:
        # What a person forced is used up first; nobody who works goes for the rest.
        asked = bounded if len(victims) < bounded.forced else replace(bounded, forced=0)
        left = [worker for worker in workers if worker.worker_id not in gone]
        candidates = [worker for worker in left if _may_go(worker, tiers[worker.provider][1], asked, limits)]
        if not candidates:
            break
        models = Counter(worker.model for worker in left)
        chosen = min(candidates, key=lambda worker: _order(worker, asked, tiers, models))
        victims.append(Victim(chosen.worker_id, _why(chosen, asked), forced=_is_forced(chosen, asked)))
        gone.add(chosen.worker_id)
    return tuple(victims)


def _order(
    worker: Worker, bounded: Bounded, tiers: Mapping[str, tuple[int, Pool]], models: Mapping[str | None, int]
) -> tuple[object, ...]:
    """Who goes first has the smallest."""
    return (
        worker.worker_id not in bounded.preferred,
        worker.state is WorkerState.READY,
        worker.state is WorkerState.READY and worker.busy is not False,
        worker.model is not None and models[worker.model] == 1,
        -tiers[worker.provider][0],
        -(worker.idle_seconds or 0.0),
        worker.worker_id,
    )


def _is_forced(worker: Worker, bounded: Bounded) -> bool:
    return bounded.forced > 0 and (not bounded.forced_ids or worker.worker_id in bounded.forced_ids)


def _may_go(worker: Worker, pool: Pool, bounded: Bounded, limits: Limits) -> bool:
    if not _serves_or_starts(worker) or worker.worker_id in bounded.pinned or not pool.complete:
        return False
    if worker.state is WorkerState.PENDING:
        return pool.caps.cancels_pending
    if worker.state is not WorkerState.READY:
        return False
    if _is_forced(worker, bounded):
        return True
    # Unknown is not idle.
    if worker.busy is not False or worker.idle_seconds is None:
        return False
    return bounded.hurried > 0 or worker.idle_seconds >= limits.min_idle_seconds


def _why(worker: Worker, bounded: Bounded) -> str:
    if worker.state is WorkerState.PENDING:
        return "surplus, and not started yet"
    if worker.worker_id in bounded.preferred:
        return f"named by a person{', by force' if _is_forced(worker, bounded) else ''}, idle {_idle(worker)}"
    return f"surplus, idle {_idle(worker)}"


def _idle(worker: Worker) -> str:
    return "not at all" if worker.idle_seconds is None else f"{worker.idle_seconds:.0f} s"
