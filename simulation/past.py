"""A fleet's own recorded past as a trace and an environment: what came, what it took, and how its launches went.

Records hold looks, an interval apart, not requests. Where the master counts what came and what it served, the counts
are taken. Elsewhere they follow from what was seen: work in service times time is work done, and what was done or has
gathered must have come. The work in worker-seconds is then as recorded; how it was cut into requests is a guess.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.core.worker import Worker
from ebbflow.simulation.environment import COUNTING, COUNTLESS
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.trace import TraceError

LISTED = (WorkerState.STARTING, WorkerState.READY)
"""In which a worker costs what its provider says, and not what it may cost at most."""

MOST_REQUESTS = 1_000_000


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
    ready_since: float | None = None
    """When those began to serve that this look is the first to show ready; None: at the look itself."""
    is_ready_since_sure: bool = True
    """Whether that is more than a guess; guesses count where nothing else is known of a provider."""
    looked_after_seconds: float = 0.0
    """From `at_seconds`, when its turn began, until it saw what it decided on."""


@dataclass(frozen=True, slots=True)
class Boots:
    """What became of the launches at one provider."""

    seconds: tuple[float, ...]
    """From the wish to the first look at which the worker served."""
    failed: int
    usd_per_hour: float | None = None
    warm_seconds: tuple[float, ...] = ()
    """The same of stopped instances that were started again."""
    prices: tuple[float, ...] = ()
    """What an hour of each of those workers cost once it was listed, the oldest first."""
    leave_seconds: tuple[float, ...] = ()
    """From the look of the turn that took an idle worker out to the first look at which it was gone."""
    storage_usd_per_hour: float | None = None
    """What an hour of a stopped instance cost."""


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
    """By provider, what became of each launch whose wish and whose end of booting were both recorded, and of stops."""
    wished: dict[str, float] = {}
    settled: set[str] = set()
    seconds: dict[str, list[tuple[float, bool]]] = {}
    warm_seconds: dict[str, list[tuple[float, bool]]] = {}
    failed: dict[str, int] = {}
    prices: dict[str, float] = {}
    paid: dict[str, dict[str, float]] = {}
    marked: dict[str, float] = {}
    leaves: dict[str, list[float]] = {}
    for look in looks:
        for worker in look.workers:
            name, provider = worker.worker_id, worker.provider
            # A wish counts at its cap; what it costs is known once it is listed.
            if worker.usd_per_hour is not None and (worker.state is not WorkerState.WISHED or provider not in prices):
                prices[provider] = worker.usd_per_hour
            if worker.usd_per_hour is not None and worker.state in LISTED and name in wished:
                paid.setdefault(provider, {})[name] = worker.usd_per_hour
            if worker.state is WorkerState.DRAINING and worker.busy is False:
                marked.setdefault(name, look.at_seconds)
            elif worker.state is WorkerState.GONE and name in marked:
                leaves.setdefault(provider, []).append(look.at_seconds - marked.pop(name))
            if worker.state is WorkerState.WISHED:
                wished.setdefault(name, look.at_seconds + look.looked_after_seconds)
            if name in settled or name not in wished:
                continue
            if worker.state is WorkerState.READY:
                kind = warm_seconds if worker.warm_instance_id else seconds
                since = look.at_seconds if look.ready_since is None else look.ready_since
                kind.setdefault(provider, []).append((max(1.0, since - wished[name]), look.is_ready_since_sure))
                settled.add(name)
            elif worker.state is WorkerState.FAILED:
                failed[provider] = failed.get(provider, 0) + 1
                settled.add(name)
    return {
        provider: Boots(
            _surest(seconds.get(provider, ())),
            failed.get(provider, 0),
            prices.get(provider),
            _surest(warm_seconds.get(provider, ())),
            tuple(paid.get(provider, {}).values()),
            tuple(leaves.get(provider, ())),
        )
        for provider in {*seconds, *warm_seconds, *failed, *prices, *leaves}
    }


def _surest(seconds: Iterable[tuple[float, bool]]) -> tuple[float, ...]:
    """Those that are sure, where any is; else all of them."""
    told = list(seconds)
    return tuple(each for each, is_sure in told if is_sure) or tuple(each for each, _ in told)


def now_gone(before: Sequence[Worker], after: Sequence[Worker]) -> tuple[Worker, ...]:
    """Whom the later of two looks has forgotten: gone by then, though no look says so."""
    left = {worker.worker_id for worker in after}
    return tuple(
        replace(worker, state=WorkerState.GONE)
        for worker in before
        if worker.worker_id not in left and worker.state is not WorkerState.GONE
    )


def told_by(looks: Sequence[RecordedLook]) -> MasterCaps:
    """What the master told in these looks: whoever plays on them is shown no more of the demand than that."""
    counts = any(look.demand.arrived is not None and look.demand.served is not None for look in looks)
    return COUNTING if counts else COUNTLESS


def _worked(before: RecordedLook, after: RecordedLook) -> float:
    """Worker-seconds in service between two looks, as if they had changed evenly."""
    seconds = max(0.0, after.at_seconds - before.at_seconds)
    return seconds * (before.demand.running + after.demand.running) / 2


def _counted(before: int | None, after: int | None) -> int | None:
    if before is None or after is None:
        return None
    # A counter that went back began anew.
    return after - before if after >= before else after
