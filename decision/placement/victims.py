"""Who leaves. Pure.

Never who is busy; the last holder of a model or a capability last, later providers first, then who does least for its
price where workers are measured, then who is idle longest. A base stays, and so does whoever alone can do what is
wanted; only a person's word goes before that.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from operator import is_

from ebbflow.core.crew import Alike, Crew, alike
from ebbflow.core.lifecycle import SUPPLY, WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Reason, Want
from ebbflow.core.worker import Worker
from ebbflow.decision.coverage import is_typed, missing_of, total
from ebbflow.decision.limits import Bounded, Limits
from ebbflow.decision.placement.shares import PlacementRules, ProviderShare, Victim

WORTH_STEP = 1.1


def retire(
    crew: Crew,
    shares: Sequence[ProviderShare],
    limits: Limits | None = None,
    rules: PlacementRules | None = None,
) -> Crew:
    """Name the workers that shall be elsewhere: above what their provider may hold, or much dearer than need be.

    They are no supply any more, so that others are launched elsewhere before they go. Where nobody begins or ceases to
    retire, the crew itself comes back.
    """
    returns = rules is not None and rules.return_below_ratio is not None
    if not returns and not crew.retiring and all([crew.existing <= share.max_workers for share in shares]):
        return crew
    retiring = _beyond(crew, shares)
    if rules is not None and rules.return_below_ratio is not None:
        retiring |= _returning(crew, shares, limits or Limits(), rules, rules.return_below_ratio)
    if not retiring and not crew.retiring:
        return crew
    workers = [
        worker
        if worker.is_retiring is (worker.worker_id in retiring)
        else replace(worker, is_retiring=worker.worker_id in retiring)
        for worker in crew
    ]
    return crew if all(map(is_, workers, crew)) else Crew(workers)


def _beyond(crew: Crew, shares: Sequence[ProviderShare]) -> frozenset[str]:
    """Who is above what its provider may hold."""
    retiring: set[str] = set()
    counts = crew.counts.held
    for share in shares:
        if counts.get(share.provider, 0) <= share.max_workers:
            continue
        held = [worker for worker in crew if worker.provider == share.provider and _serves_or_starts(worker)]
        # Who is idle longest goes first, who works or starts last.
        held.sort(key=lambda worker: (worker.busy is not False, -(worker.idle_seconds or 0.0), worker.worker_id))
        retiring |= {worker.worker_id for worker in held[: len(held) - share.max_workers]}
    return frozenset(retiring)


def _returning(
    workers: Sequence[Worker], shares: Sequence[ProviderShare], limits: Limits, rules: PlacementRules, ratio: float
) -> frozenset[str]:
    """The idle worker that costs most, where a provider with room is so much cheaper that a move is worth it."""
    held = Counter(worker.provider for worker in workers if worker.may_exist)
    open_prices = [
        share.price
        for share in shares
        if share.price is not None
        and share.complete
        and not share.rests(limits, rules)
        and held[share.provider] < share.max_workers
    ]
    idle = [
        worker
        for worker in workers
        if _serves_or_starts(worker)
        and worker.state is WorkerState.READY
        and worker.busy is False
        and (worker.idle_seconds or 0.0) >= limits.min_idle_seconds
        and worker.usd_per_hour
    ]
    if not open_prices or not idle:
        return frozenset()
    dearest = max(idle, key=lambda worker: (worker.usd_per_hour or 0.0, worker.worker_id))
    is_worth_it = min(open_prices) <= ratio * (dearest.usd_per_hour or 0.0)
    return frozenset({dearest.worker_id}) if is_worth_it else frozenset()


def _serves_or_starts(worker: Worker) -> bool:
    return worker.mark is None and worker.state in SUPPLY


def choose_retired(
    bounded: Bounded, observation: Observation, shares: Sequence[ProviderShare], limits: Limits
) -> tuple[Victim, ...]:
    """Retiring workers go once the others serve all that is wanted, which nobody knows while demand is unknown."""
    if not observation.demand.complete or not observation.crew.retiring:
        return ()
    calm = replace(bounded, hurried=0, forced=0)
    serving = observation.serving
    by_provider = {share.provider: share for share in shares}
    retired = tuple(
        Victim(worker.worker_id, _why_retired(worker, by_provider[worker.provider], observation))
        for worker in observation.workers
        if worker.is_retiring and _may_go(worker, by_provider[worker.provider], calm, limits)
    )
    if serving >= bounded.target:
        return retired
    # In a full fleet nobody can be launched beside them: one makes room, then the next once that one's place is filled.
    makes_room = observation.existing >= limits.max_workers and serving == observation.supply
    return retired[:1] if makes_room else ()


def _why_retired(worker: Worker, share: ProviderShare, observation: Observation) -> str:
    held = sum(each.provider == share.provider and _serves_or_starts(each) for each in observation.workers)
    if held > share.max_workers:
        return f"{worker.provider} may hold {share.max_workers} now, idle {_idle(worker)}"
    return f"a cheaper provider has room, idle {_idle(worker)}"


def choose_victims(
    bounded: Bounded, observation: Observation, shares: Sequence[ProviderShare], limits: Limits, rules: PlacementRules
) -> tuple[tuple[Victim, ...], tuple[Reason, ...]]:
    """First those that a person wants gone, only the named where there are names; then what the policy wants."""
    if bounded.stops == 0:
        return (), ()
    if observation.crew.is_alike and not bounded.is_choosy:
        victims = _longest_idle(bounded.stops, observation.crew, shares, limits)
    else:
        victims = _chosen(bounded, observation, shares, limits, rules)
    if len(victims) == bounded.stops:
        return victims, ()
    text = (
        f"{bounded.stops - len(victims)} of {bounded.stops} stops found no worker that may go: only idle ones do, "
        f"for {limits.min_idle_seconds:g} s{', or however short where a person asked' if bounded.hurried else ''}"
    )
    return victims, (Reason("placement.no_victim", text, "nobody else may go yet"),)


def _longest_idle(count: int, crew: Crew, shares: Sequence[ProviderShare], limits: Limits) -> tuple[Victim, ...]:
    """Of workers that nothing but their rest tells apart, so many that have rested for longest."""
    share = next((share for share in shares if share.provider in crew.counts.held), None)
    if share is None or not share.complete:
        return ()
    leaving = crew.longest_idle(min(count, crew.supply - share.base_workers), limits.min_idle_seconds)
    return tuple([Victim(worker_id, _not_needed(idle_seconds)) for worker_id, idle_seconds in leaving])


def _chosen(
    bounded: Bounded, observation: Observation, shares: Sequence[ProviderShare], limits: Limits, rules: PlacementRules
) -> tuple[Victim, ...]:
    by_provider = {share.provider: (place, share) for place, share in enumerate(shares)}
    victims = _hurried(bounded, observation, by_provider, limits)
    gone = {victim.worker_id for victim in victims}
    providers = _last_provider(observation, by_provider) if rules.drain == "tier_by_tier" else by_provider.keys()
    free = [each for each in observation.crew.free if each.provider in providers and each.worker_id not in gone]
    if free:
        kinds = Counter({kind: count for kind, count in observation.crew.alike.items() if kind.provider in providers})
        if gone:
            kinds -= alike(worker for worker in observation.workers if worker.worker_id in gone)
        calm = replace(bounded, hurried=0, forced=0) if bounded.hurried or bounded.forced else bounded
        victims += tuple(_Left(free, kinds, by_provider).taken(bounded.stops - bounded.hurried, calm, limits))
    return victims


def _last_provider(observation: Observation, by_provider: Mapping[str, tuple[int, ProviderShare]]) -> list[str]:
    """The last provider that still has anybody, on the way out or not.

    Source: opengris-scaler 2.9.0, `waterfall_v1`: a manager keeps its own while one of lower priority has workers.
    """
    held = [provider for provider in observation.crew.counts.at if provider in by_provider]
    return [max(held, key=lambda provider: by_provider[provider][0])] if held else []


def _hurried(
    bounded: Bounded,
    observation: Observation,
    by_provider: Mapping[str, tuple[int, ProviderShare]],
    limits: Limits,
) -> tuple[Victim, ...]:
    """Those that a person wants gone: of the named ones only, where there are names."""
    count = bounded.hurried
    if count <= 0:
        return ()
    stoppable = [worker for worker in observation.workers if worker.is_supply and worker.provider in by_provider]
    named = [worker for worker in stoppable if worker.worker_id in bounded.preferred]
    left = _Left(named or stoppable, alike(named or stoppable), by_provider)
    # What a person forced is used up first; nobody who works goes for the rest.
    victims = left.taken(min(count, bounded.forced), bounded, limits)
    victims += left.taken(count - len(victims), replace(bounded, forced=0), limits)
    return tuple(victims)


class _Left:
    """Those who are left while one after the other goes.

    Each who goes may change the place of others: who has become the last one of its model, or the last who can do
    something. So places are looked at anew when they come up, and not all of them each time.

    Args:
        workers: those that may be among them.
        kinds: all that there are, by kind.
        by_provider: place and share of each provider.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        kinds: Mapping[Alike, int],
        by_provider: Mapping[str, tuple[int, ProviderShare]],
    ) -> None:
        self._workers = {worker.worker_id: worker for worker in workers}
        self._by_provider = by_provider
        self._models: dict[str | None, int] = defaultdict(int)
        self._holders: dict[str, int] = defaultdict(int)
        self._here: dict[str, int] = defaultdict(int)
        self._kinds: dict[tuple[str, ...], int] = defaultdict(int)
        self._unmeasured = self._unpriced = 0
        for kind, count in kinds.items():
            self._models[kind.model] += count
            self._here[kind.provider] += count
            self._kinds[kind.capabilities] += count
            for word in kind.capabilities:
                self._holders[word] += count
            self._unmeasured += 0 if kind.is_measured else count
            self._unpriced += 0 if kind.is_priced else count

    def taken(self, count: int, asked: Bounded, limits: Limits) -> list[Victim]:
        """So many that may go, the first ones first; fewer where nobody else may."""
        if count <= 0:
            return []
        spares = not asked.hurried and not asked.forced
        surplus = _Surplus(asked.wanted, self._kinds) if spares and is_typed(asked.wanted) else None
        able = [
            worker
            for worker in self._workers.values()
            if _may_go(worker, self._by_provider[worker.provider][1], asked, limits)
        ]
        line, victims = self._line(able, asked), list[Victim]()
        aside: dict[tuple[str, ...], list[Worker]] = {}
        while line and len(victims) < count:
            place, worker_id = heappop(line)
            worker = self._workers[worker_id]
            if (now := self._place(worker, asked)) != place:
                heappush(line, (now, worker_id))
                continue
            if spares and self._here[worker.provider] <= self._by_provider[worker.provider][1].base_workers:
                continue
            if surplus is not None and not surplus.has(worker.capabilities):
                aside.setdefault(worker.capabilities, []).append(worker)
                continue
            victims.append(Victim(worker_id, _why(worker, asked), forced=_is_forced(worker, asked)))
            is_measured_alike = self._remove(worker)
            if surplus is not None:
                surplus.remove(worker.capabilities)
                for kind in [kind for kind in aside if surplus.has(kind)]:
                    for back in aside.pop(kind):
                        heappush(line, (self._place(back, asked), back.worker_id))
            if not is_measured_alike:
                line = self._line([self._workers[each] for _, each in line], asked)
        return victims

    def _line(self, workers: Sequence[Worker], asked: Bounded) -> list[tuple[tuple[object, ...], str]]:
        made = [(self._place(worker, asked), worker.worker_id) for worker in workers]
        heapify(made)
        return made

    def _place(self, worker: Worker, asked: Bounded) -> tuple[object, ...]:
        worth = 0.0 if self._unmeasured else _worth(worker, has_prices=not self._unpriced)
        return _order(worker, asked, self._by_provider, self._models, self._holders, worth)

    def _remove(self, worker: Worker) -> bool:
        """It goes; False: what others are worth is counted otherwise now."""
        before = (self._unmeasured > 0, self._unpriced > 0)
        del self._workers[worker.worker_id]
        self._models[worker.model] -= 1
        self._here[worker.provider] -= 1
        self._kinds[worker.capabilities] -= 1
        for word in worker.capabilities:
            self._holders[word] -= 1
        self._unmeasured -= not worker.units_per_second
        self._unpriced -= not worker.usd_per_hour
        return before == (self._unmeasured > 0, self._unpriced > 0)


class _Surplus:
    """Whether everything that is wanted can be done as well without one of a kind.

    Args:
        wanted: by the policy.
        kinds: how many of each capability set are left.
    """

    def __init__(self, wanted: Sequence[Want], kinds: Mapping[tuple[str, ...], int]) -> None:
        self._wanted, self._kinds = wanted, dict(kinds)
        self._short = total(missing_of(wanted, self._kinds))
        self._without: dict[tuple[str, ...], int] = {}
        """What is missing without one of a kind, by kind."""

    def has(self, kind: tuple[str, ...]) -> bool:
        """Whether one of this kind is not needed."""
        if kind not in self._without:
            fewer = {**self._kinds, kind: self._kinds[kind] - 1}
            self._without[kind] = total(missing_of(self._wanted, fewer))
        return self._without[kind] <= self._short

    def remove(self, kind: tuple[str, ...]) -> None:
        """One of this kind, of which there is one too many, goes."""
        self._short = self._without[kind]
        self._kinds[kind] -= 1
        self._without.clear()


def _order(
    worker: Worker,
    bounded: Bounded,
    by_provider: Mapping[str, tuple[int, ProviderShare]],
    models: Mapping[str | None, int],
    holders: Mapping[str, int],
    worth: float,
) -> tuple[object, ...]:
    """Who goes first has the smallest."""
    return (
        worker.worker_id not in bounded.preferred,
        worker.state is WorkerState.READY,
        worker.state is WorkerState.READY and worker.busy is not False,
        worker.model is not None and models[worker.model] == 1,
        any(holders[word] == 1 for word in worker.capabilities),
        -by_provider[worker.provider][0],
        worth,
        -(worker.idle_seconds or 0.0),
        worker.worker_id,
    )


def _worth(worker: Worker, *, has_prices: bool) -> float:
    """What it does for its price, in steps of a tenth, so that noise in what is measured moves nobody.

    0 for all where some are not measured: they would be the worst or the best by a guess. Without prices, speed alone.
    Source: Vast's documentation: best price-performance first, the worst is removed first.
    """
    price = worker.usd_per_hour if has_prices else 1.0
    return round(math.log(worker.units_per_second / price, WORTH_STEP)) if worker.units_per_second and price else 0.0


def _is_forced(worker: Worker, bounded: Bounded) -> bool:
    return bounded.forced > 0 and (not bounded.forced_ids or worker.worker_id in bounded.forced_ids)


def _may_go(worker: Worker, share: ProviderShare, bounded: Bounded, limits: Limits) -> bool:
    if not _serves_or_starts(worker) or worker.worker_id in bounded.pinned or not share.complete:
        return False
    if worker.state is WorkerState.PENDING:
        return share.caps.cancels_pending
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
        return "not needed any more, and not started yet"
    if worker.worker_id in bounded.preferred:
        return f"named by a person{', by force' if _is_forced(worker, bounded) else ''}, idle {_idle(worker)}"
    return _not_needed(worker.idle_seconds)


def _not_needed(idle_seconds: float | None) -> str:
    return f"not needed any more, idle {_spelt(idle_seconds)}"


def _idle(worker: Worker) -> str:
    return _spelt(worker.idle_seconds)


def _spelt(idle_seconds: float | None) -> str:
    return "not at all" if idle_seconds is None else f"{idle_seconds:.0f} s"
