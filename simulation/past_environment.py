"""Where a fleet that is played on its own past launches: providers that boot, cost and let go as recorded. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median, pstdev

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.member import MasterCaps
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.simulation.environment import COUNTING, K8S, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.past import Boots

WARM_BOOTS = BootTimes(30.0, 0.4, 10.0, 300.0)
"""A guess at starting a stopped instance whose GPU is still free. No measurement."""

STORAGE_SHARE = 0.03
"""A guess at what a stopped instance costs, of what it costs in use. No measurement."""


def past_environment(
    providers: Sequence[ProviderEntry],
    boots: Mapping[str, Boots],
    *,
    max_workers: int,
    master: MasterCaps = COUNTING,
    caps: Mapping[str, ProviderCaps] | None = None,
    requests_at_once: int = 1,
    usual_leave_seconds: float = 0.0,
) -> tuple[Environment, tuple[str, ...]]:
    """Where the candidates launch: providers as the fleet lists them, booting, failing and costing as recorded.

    Args:
        providers: of the fleet, in order of preference; who keeps `warm_workers` can keep stopped instances.
        boots: what was recorded of them; whom nothing is known of boots like all others, or as the `k8s` guess.
        max_workers: of the whole fleet.
        master: what it tells (`told_by`).
        caps: what providers were able to do, by block: their rates, and whether they take a cap on the price.
        requests_at_once: how many a worker serves at the same time.
        usual_leave_seconds: from the mark of an idle worker until it is gone, where none was recorded that left.

    Returns:
        The environment, and sentences on where the numbers of each provider come from.
    """
    everyone = tuple(second for known in boots.values() for second in known.seconds)
    cheapest = min((known.usd_per_hour for known in boots.values() if known.usd_per_hour), default=None)
    made, notes = [], []
    for entry in providers:
        known = boots.get(entry.block, Boots((), 0))
        seen = known.seconds or everyone
        times = boot_times(seen) if seen else K8S.providers[0].boots
        total = len(known.seconds) + len(known.warm_seconds) + known.failed
        price = known.usd_per_hour / cheapest if known.usd_per_hour and cheapest else 1.0
        source = f"{len(known.seconds)} recorded boots" if known.seconds else "those of the other providers"
        if not seen:
            source = "a guess, since no boot is recorded"
        notes.append(
            f"{entry.block}: boots of {times.median_seconds:.0f} s in the median ({source}), {known.failed} of {total} "
            f"launches failed, an hour counts as {price:.2f} GPU-hours"
        )
        provider = VirtualProvider(
            entry.block,
            times,
            failing_share=known.failed / total if total else 0.0,
            price=price,
            max_workers=entry.max_workers,
            usd_per_hour=known.usd_per_hour,
            requests_at_once=requests_at_once,
            leave_seconds=fmean(known.leave_seconds) if known.leave_seconds else usual_leave_seconds,
        )
        if (able := (caps or {}).get(entry.block)) is not None:
            provider, said = _as_able(provider, able, known)
            notes.extend(said)
        if entry.warm_workers:
            provider, note = _keeping_stopped(provider, known)
            notes.append(note)
        made.append(provider)
    return Environment("recorded", tuple(made), max_workers=max_workers, master=master), tuple(notes)


def _as_able(provider: VirtualProvider, able: ProviderCaps, known: Boots) -> tuple[VirtualProvider, list[str]]:
    """A provider with its rate, and with the prices among which a cap chooses."""
    paced = replace(provider, seconds_between_launches=able.seconds_between_launches, call_seconds=able.call_seconds)
    if not able.takes_price_cap or not known.prices:
        return paced, []
    prices = sorted(known.prices)
    note = (
        f"{provider.name}: each launch costs what one of {len(prices)} recorded workers did, {prices[0]:g} to "
        f"{prices[-1]:g} USD per hour, and is refused above its cap; what was offered above the cap of that time is "
        "not recorded"
    )
    capped = replace(paced, prices=known.prices, takes_price_cap=True, most_usd_per_hour=able.usd_per_hour)
    return capped, [note]


def _keeping_stopped(provider: VirtualProvider, known: Boots) -> tuple[VirtualProvider, str]:
    times = boot_times(known.warm_seconds) if known.warm_seconds else WARM_BOOTS
    source = f"{len(known.warm_seconds)} recorded starts" if known.warm_seconds else "a guess, since none is recorded"
    share, of = STORAGE_SHARE, "a guess"
    if known.storage_usd_per_hour is not None and known.usd_per_hour:
        share, of = known.storage_usd_per_hour / known.usd_per_hour, "as recorded"
    note = (
        f"{provider.name}: stopped instances start in {times.median_seconds:.0f} s in the median ({source}), an hour "
        f"of storage counts as {share:.3g} of an hour in use ({of})"
    )
    return replace(provider, warm_boots=times, storage_price=share * provider.price), note


def boot_times(seconds: Iterable[float]) -> BootTimes:
    """The distribution that fits what was seen: lognormal, cut to the range that was seen."""
    seen = sorted(seconds)
    middle = median(seen)
    return BootTimes(middle, pstdev([math.log(second) for second in seen]), seen[0], seen[-1])
