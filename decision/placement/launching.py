"""Which provider gets which launch. Pure.

Providers are asked in order: first those that have fewer than their base, then each as far as it has room, rate and
price for it, and only for workers that it can give. Source: opengris-scaler 2.9.0, `waterfall_v1`, for the pouring over
providers in order; 1.15.0, `fixed_elastic`, for a base that is started first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ebbflow.core.capabilities import fits
from ebbflow.core.observation import CanLaunch, Observation, Offer, Spare
from ebbflow.core.plan import Reason, Want
from ebbflow.core.text import counted
from ebbflow.core.worker import Worker
from ebbflow.decision.coverage import total
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import Launch, PlacementRules, ProviderShare


@dataclass(frozen=True, slots=True)
class _World:
    """What every provider is measured against."""

    observation: Observation
    limits: Limits
    rules: PlacementRules
    budget_seconds: float


def place_launches(
    wants: Sequence[Want],
    observation: Observation,
    shares: Sequence[ProviderShare],
    limits: Limits,
    rules: PlacementRules,
    *,
    budget_seconds: float,
) -> tuple[tuple[Launch, ...], tuple[Reason, ...]]:
    """Give each wanted launch a provider, or say what binds.

    Args:
        wants: launches by what they must be able to do, after the limits.
        observation: who exists.
        shares: in order of preference.
        limits: for the failure cooldown and the fleet's caps.
        rules: of the fleet's placement.
        budget_seconds: how late a turn's run may still launch, and so how many launches fit a provider's rate.
    """
    if not total(wants):
        return (), ()
    world = _World(observation, limits, rules, budget_seconds)
    launches: list[Launch] = []
    reasons: dict[Reason, None] = {}
    for want in wants:
        placed_before = len(launches)
        for share, most, why in _steps(shares, observation, launches):
            count = want.count - (len(launches) - placed_before)
            if count == 0:
                break
            if not fits(share.caps.capabilities, want.capabilities):
                reasons[_unable(share, want)] = None
                continue
            found, binds = _launches_at(share, count if most is None else min(count, most), world, launches, why)
            launches.extend(found)
            if binds is not None and most is None:
                reasons[binds] = None
    if len(launches) < total(wants):
        text = f"{total(wants) - len(launches)} of {counted(total(wants), 'launch')} found no provider with room"
        reasons[Reason("placement.full", text, "full")] = None
    return tuple(launches), tuple(reasons)


def can_launch(
    observation: Observation, shares: Sequence[ProviderShare], limits: Limits, rules: PlacementRules
) -> CanLaunch:
    """What could come now, by provider and in all: what a gang, which is launched for wholly or not, is measured by.

    Rates are left out: what does not fit into one turn is the next turn's.
    """
    existing = observation.existing - observation.warm
    offers = [
        Offer(share.caps.capabilities, _most_at(share, observation, limits, rules))
        for share in shares
        # What a removed provider could give is nothing that this fleet can do.
        if share.max_workers
    ]
    return CanLaunch(tuple(offers), max(0, limits.max_workers - existing))


def _most_at(share: ProviderShare, observation: Observation, limits: Limits, rules: PlacementRules) -> int:
    if not share.complete or share.rests(limits, rules):
        return 0
    existing = observation.crew.counts.at.get(share.provider, 0)
    existing += sum([spare.provider == share.provider and not spare.is_warm for spare in observation.spares])
    room = max(0, share.max_workers - existing)
    if not _is_capped(share, limits):
        return room
    affordable, price = _affordable(share, observation, limits, observation.usd_per_hour)
    return room if price is None else min(room, affordable)


def _steps(
    shares: Sequence[ProviderShare], observation: Observation, launches: Sequence[Launch]
) -> Iterator[tuple[ProviderShare, int | None, str]]:
    """Which provider is asked for how many next: a base first, then whatever there is room for."""
    for share in shares:
        if not share.base_workers:
            continue
        serve = sum(worker.is_supply and worker.provider == share.provider for worker in observation.workers)
        serve += sum(launch.provider == share.provider for launch in launches)
        if serve < share.base_workers:
            yield (
                share,
                share.base_workers - serve,
                f"{share.provider} has {serve} of its {share.base_workers} base workers",
            )
    for share in shares:
        yield share, None, f"{share.provider} is next in order and has room"


def _launches_at(
    share: ProviderShare, count: int, world: _World, launches: Sequence[Launch], why: str
) -> tuple[list[Launch], Reason | None]:
    """As many as it can take, warm ones first, and what binds where those are fewer."""
    offer = _offer(share, world, launches)
    existing = world.observation.existing + sum(not launch.instance_id for launch in launches)
    left = max(0, world.limits.max_workers - existing)
    warm = offer.warm[: min(count, offer.launches)]
    new = min(count - len(warm), offer.new, left, offer.launches - len(warm))
    price, able = offer.usd_per_hour, share.caps.capabilities
    found = [
        Launch(
            share.provider,
            f"{spare.instance_id} of {share.provider} is warm: started again",
            price,
            spare.instance_id,
            able,
        )
        for spare in warm
    ]
    found.extend(Launch(share.provider, why, price, capabilities=able) for _ in range(new))
    if len(found) == count:
        return found, None
    if offer.new > new == left:
        return found, Reason("limits.max_workers", f"{existing} exist, what is kept warm with them", "max_workers")
    return found, offer.why()


def _unable(share: ProviderShare, want: Want) -> Reason:
    offers = ", ".join(share.caps.capabilities) or "nothing in particular"
    return Reason(
        "placement.capability",
        f"{share.provider} gives {offers}; {', '.join(want.capabilities)} is asked for",
        "capability",
    )


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a provider can take now, and what binds."""

    why: Callable[[], Reason]
    """Told where it does bind."""
    launches: int = 0
    """New and warm together."""
    new: int = 0
    warm: tuple[Spare, ...] = ()
    usd_per_hour: float | None = None


def _offer(share: ProviderShare, world: _World, launches: Sequence[Launch]) -> _Offer:
    """What it can take beside the launches that were placed already."""
    if not share.complete:
        return _Offer(partial(_unknown, share))
    since, rest = share.seconds_since_failure, share.rest_seconds(world.limits, world.rules)
    if since is not None and since < rest:
        return _Offer(partial(_rests, share, rest - since))
    observation = world.observation
    here = [launch for launch in launches if launch.provider == share.provider]
    started = {launch.instance_id for launch in here if launch.instance_id}
    spares = [spare for spare in observation.spares if spare.provider == share.provider]
    existing = len(spares) + observation.crew.counts.at.get(share.provider, 0)
    existing += len(here) - len(started)
    warm = tuple(spare for spare in spares if spare.is_warm and spare.instance_id not in started)
    warm = warm if share.max_workers else ()
    new = max(0, share.max_workers - existing)
    room, why = new + len(warm), partial(_full, share, existing)
    fitting = _fitting(share, world.budget_seconds)
    if (left := max(0, fitting - len(here))) < room:
        room, why = left, partial(_rate, share, fitting)
    if _is_capped(share, world.limits):
        usd = observation.usd_per_hour + sum(launch.usd_per_hour or 0.0 for launch in launches)
        affordable, price = _affordable(share, observation, world.limits, usd)
        if price is not None and affordable < room:
            return _Offer(lambda: price, affordable, new, warm, share.price)
    return _Offer(why, room, new, warm, share.price)


def _unknown(share: ProviderShare) -> Reason:
    text = f"{share.provider}: listing unknown ({share.detail}), nothing is launched there"
    return Reason("placement.unknown", text, "unknown")


def _rests(share: ProviderShare, seconds: float) -> Reason:
    again = f", {share.failures} in a row" if share.failures > 1 else ""
    text = f"{share.provider}: rests for another {seconds:.0f} s after a failure{again}: {share.failure}"
    return Reason("placement.cooldown", text, "cooldown")


def _full(share: ProviderShare, existing: int) -> Reason:
    text = f"{share.provider}: {existing} of {counted(share.max_workers, 'worker', 'exist')}"
    return Reason("placement.max_workers", text, "max_workers")


def _fitting(share: ProviderShare, budget_seconds: float) -> int:
    """How many launches of this turn its rate limit leaves room for."""
    spacing = share.caps.seconds_between_launches
    return 1 + max(0, int((budget_seconds - share.caps.call_seconds) / spacing)) if spacing else 10_000


def _rate(share: ProviderShare, fitting: int) -> Reason:
    spacing = share.caps.seconds_between_launches
    fit = f"{counted(fitting, 'launch', 'fit')} into a turn, {spacing:g} s apart"
    text = f"{share.provider}: {fit}; the rest is the next turn's"
    return Reason("placement.rate", text, "rate")


def _is_capped(share: ProviderShare, limits: Limits) -> bool:
    return share.max_usd_per_hour is not None or limits.max_usd_per_hour is not None


def _affordable(
    share: ProviderShare, observation: Observation, limits: Limits, usd: float
) -> tuple[int, Reason | None]:
    """How many launches the price caps allow, and what binds; no reason where no price is above them all."""
    price, cap, fleet_cap = share.price, share.max_usd_per_hour, limits.max_usd_per_hour
    if price is None:
        return 0, Reason("placement.price", f"{share.provider}: its price is unknown, and a price cap is set", "price")
    if cap is not None and price > cap:
        return 0, Reason("placement.price", f"{share.provider}: {price:g} USD/h is above its cap of {cap:g}", "price")
    if fleet_cap is None:
        return 0, None
    unpriced = sorted(worker.worker_id for worker in observation.workers if _is_unpriced(worker))
    if unpriced:
        text = f"the price of {', '.join(unpriced)} is unknown, and max_usd_per_hour is {fleet_cap:g}"
        return 0, Reason("limits.max_usd_per_hour", text, "max_usd_per_hour")
    if not price:
        return 0, None
    text = f"{share.provider}: {usd:g} USD/h now, {price:g} for one more, max_usd_per_hour is {fleet_cap:g}"
    return max(0, int((fleet_cap - usd) / price + 1e-9)), Reason("limits.max_usd_per_hour", text, "max_usd_per_hour")


def _is_unpriced(worker: Worker) -> bool:
    return worker.may_exist and bool(worker.provider) and worker.usd_per_hour is None
