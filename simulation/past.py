"""A fleet's own recorded past as a trace and an environment: what came, what it took, and how its launches went.

Records hold looks, an interval apart, not requests. Where the master counts what came and what it served, the counts
are taken. Elsewhere they follow from what was seen: work in service times time is work done, and what was done or has
gathered must have come. The work in worker-seconds is then as recorded; how it was cut into requests is a guess.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median, pstdev

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.core.worker import Worker
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.simulation.environment import COUNTING, COUNTLESS, K8S, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.trace import TraceError

MOST_REQUESTS = 1_000_000

WARM_BOOTS = BootTimes(30.0, 0.4, 10.0, 300.0)
"""A guess at starting a stopped instance whose GPU is still free. No measurement."""

STORAGE_SHARE = 0.03
"""A guess at what a stopped instance costs, of what it costs in use. No measurement."""


class NothingCameError(TraceError):
    """Demand was known, and no request came."""


@dataclass(frozen=True, slots=True)
class RecordedLook:
    """One recorded turn, as far as a backtest needs it."""

    at_seconds: float
    """Epoch seconds, UTC, by the Prefect server's clock."""
    demand: Demand
    workers: tuple[Worker, ...]
    """As the turn left them in memory."""


@dataclass(frozen=True, slots=True)
class Boots:
    """What became of the launches at one provider."""

    seconds: tuple[float, ...]
    """From the wish to the first look at which the worker served."""
    failed: int
    usd_per_hour: float | None = None
    warm_seconds: tuple[float, ...] = ()
    """The same of stopped instances that were started again."""


def past_trace(name: str, looks: Sequence[RecordedLook], *, service_seconds: float) -> Trace:
    """The requests that came between the first and the last look.

    Args:
        name: how tables call it.
        looks: oldest first.
        service_seconds: work of one request, where the master does not count what it serves.

    Raises:
        NothingCameError: nothing came in the span of time in which demand was known.
        TraceError: there is no such span, or too much came.
    """
    known = [look for look in looks if look.demand.complete and look.at_seconds > 0]
    if len(known) < 2:
        raise TraceError(f"{name}: {len(known)} recorded looks knew the demand; two are needed at least")
    service = served_seconds(known) or service_seconds
    began, at, owed = known[0].at_seconds, [0.0] * known[0].demand.total, 0.0
    for before, after in pairwise(known):
        seconds = max(0.0, after.at_seconds - before.at_seconds)
        came = _counted(before.demand.arrived, after.demand.arrived)
        if came is None:
            # What was done or has gathered must have come; fractions wait for the next look.
            owed += _worked(before, after) / service + after.demand.total - before.demand.total
            came = max(0, math.floor(owed + 1e-9))
            owed -= came
        if len(at) + came > MOST_REQUESTS:
            raise TraceError(f"{name}: more than {MOST_REQUESTS} requests; take fewer hours of the past")
        start = max(at[-1] if at else 0.0, before.at_seconds - began)
        at.extend(start + seconds * (place + 0.5) / came for place in range(came))
    if not at:
        raise NothingCameError(f"{name}: nothing came in the {known[-1].at_seconds - began:.0f} s that are recorded")
    return Trace(name, tuple(at), (service,) * len(at))


def served_seconds(looks: Sequence[RecordedLook]) -> float | None:
    """Mean work of a request by Little's law; None where the master does not count what it serves."""
    worked, served = 0.0, 0
    for before, after in pairwise(looks):
        count = _counted(before.demand.served, after.demand.served)
        if count is not None:
            worked, served = worked + _worked(before, after), served + count
    return worked / served if served and worked > 0 else None


def boots_of(looks: Sequence[RecordedLook]) -> dict[str, Boots]:
    """By provider, what became of each launch whose wish and whose end of booting were both recorded."""
    wished: dict[str, float] = {}
    settled: set[str] = set()
    seconds: dict[str, list[float]] = {}
    warm_seconds: dict[str, list[float]] = {}
    failed: dict[str, int] = {}
    prices: dict[str, float] = {}
    for look in looks:
        for worker in look.workers:
            name, provider = worker.worker_id, worker.provider
            # A wish counts at its cap; what it costs is known once it is listed.
            if worker.usd_per_hour is not None and (worker.state is not WorkerState.WISHED or provider not in prices):
                prices[provider] = worker.usd_per_hour
            if worker.state is WorkerState.WISHED:
                wished.setdefault(name, look.at_seconds)
            if name in settled or name not in wished:
                continue
            if worker.state is WorkerState.READY:
                kind = warm_seconds if worker.warm_instance_id else seconds
                kind.setdefault(provider, []).append(max(1.0, look.at_seconds - wished[name]))
                settled.add(name)
            elif worker.state is WorkerState.FAILED:
                failed[provider] = failed.get(provider, 0) + 1
                settled.add(name)
    return {
        provider: Boots(
            tuple(seconds.get(provider, ())),
            failed.get(provider, 0),
            prices.get(provider),
            tuple(warm_seconds.get(provider, ())),
        )
        for provider in {*seconds, *warm_seconds, *failed, *prices}
    }


def told_by(looks: Sequence[RecordedLook]) -> MasterCaps:
    """What the master told in these looks: whoever plays on them is shown no more of the demand than that."""
    counts = any(look.demand.arrived is not None and look.demand.served is not None for look in looks)
    return COUNTING if counts else COUNTLESS


def past_environment(
    providers: Sequence[ProviderEntry],
    boots: Mapping[str, Boots],
    *,
    max_workers: int,
    master: MasterCaps = COUNTING,
) -> tuple[Environment, tuple[str, ...]]:
    """Where the candidates launch: providers as the fleet lists them, booting, failing and costing as recorded.

    Args:
        providers: of the fleet, in order of preference; who keeps `warm_workers` can keep stopped instances.
        boots: what was recorded of them; whom nothing is known of boots like all others, or as the `k8s` guess.
        max_workers: of the whole fleet.
        master: what it tells (`told_by`).

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
        )
        if entry.warm_workers:
            provider, note = _keeping_stopped(provider, known)
            notes.append(note)
        made.append(provider)
    return Environment("recorded", tuple(made), max_workers=max_workers, master=master), tuple(notes)


def _keeping_stopped(provider: VirtualProvider, known: Boots) -> tuple[VirtualProvider, str]:
    times = boot_times(known.warm_seconds) if known.warm_seconds else WARM_BOOTS
    source = f"{len(known.warm_seconds)} recorded starts" if known.warm_seconds else "a guess, since none is recorded"
    note = (
        f"{provider.name}: stopped instances start in {times.median_seconds:.0f} s in the median ({source}), an hour "
        f"of storage counts as {STORAGE_SHARE:g} of an hour in use (a guess)"
    )
    return replace(provider, warm_boots=times, storage_price=STORAGE_SHARE * provider.price), note


def boot_times(seconds: Iterable[float]) -> BootTimes:
    """The distribution that fits what was seen: lognormal, cut to the range that was seen."""
    seen = sorted(seconds)
    middle = median(seen)
    return BootTimes(middle, pstdev([math.log(second) for second in seen]), seen[0], seen[-1])


def _worked(before: RecordedLook, after: RecordedLook) -> float:
    """Worker-seconds in service between two looks, as if they had changed evenly."""
    seconds = max(0.0, after.at_seconds - before.at_seconds)
    return seconds * (before.demand.running + after.demand.running) / 2


def _counted(before: int | None, after: int | None) -> int | None:
    if before is None or after is None:
        return None
    # A counter that went back began anew.
    return after - before if after >= before else after
