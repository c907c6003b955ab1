"""Lets one of our policies decide in the virtual world, through the very same function as the flows.

`decision.decide.decide` is given a real fleet and a real `Observation`: no more than production knows. What it led to
is remembered as a record would remember it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ebbflow.core.instance import Failure, ProviderCaps
from ebbflow.core.lifecycle import WorkerState, move
from ebbflow.core.memory import (
    Memory,
    Override,
    ProviderMemory,
    aged_overrides,
    aged_providers,
    later_or_none,
    passed,
)
from ebbflow.core.observation import Observation, Spare
from ebbflow.core.plan import PolicyMemory
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.decide import Circumstances, Decided, decide
from ebbflow.decision.giving_up import give_up
from ebbflow.decision.guard import FailedDecision
from ebbflow.decision.outcomes import note_failures
from ebbflow.decision.placement.shares import Launch, ProviderEntry, ProviderShare, Victim, share_of
from ebbflow.decision.provider_memory import note_ready
from ebbflow.decision.sooner import HOLDING, has_room
from ebbflow.decision.warm import end_spares, keep_warm
from ebbflow.fleet.model import Fleet
from ebbflow.simulation import seen
from ebbflow.simulation.environment import Environment
from ebbflow.simulation.policy_faults import PolicyFaults
from ebbflow.simulation.polling import Polls
from ebbflow.simulation.seen_crew import SeenCrew
from ebbflow.simulation.virtual_worker import Phase, VirtualWorker
from ebbflow.simulation.world import Soon, World

EPOCH_SECONDS = 1_767_571_200.0
"""When a trace begins, for policies that read the hour: 2026-01-05 00:00 UTC, a Monday."""


@dataclass(frozen=True, slots=True)
class _Site:
    """One provider of the fleet in the virtual world."""

    entry: ProviderEntry
    place: int
    """In the environment."""
    caps: ProviderCaps


class PolicyDriver:
    """One fleet at its interval, and what it remembers."""

    def __init__(
        self,
        fleet: Fleet,
        environment: Environment,
        *,
        interval_seconds: float | None = None,
        overrides: Sequence[Override] = (),
        begins_at: float = EPOCH_SECONDS,
        is_brief: bool = False,
    ) -> None:
        """Let a fleet run in an environment.

        Args:
            fleet: its policy decides, under its limits, schedules and placement, at its providers.
            environment: has a provider for each block that the fleet names.
            interval_seconds: between two turns, where not the fleet's own; may be below what a deployed fleet may set.
            overrides: in force at the beginning.
            begins_at: when time begins, as epoch seconds UTC.
            is_brief: what nobody reads is left out: the texts of reasons, and workers that no rule looks at. Decisions
                are the same, and made faster; what a turn showed cannot be read after it.

        Raises:
            ValueError: the interval is none, or a provider of the fleet is missing in the environment.
        """
        interval = fleet.interval_seconds if interval_seconds is None else interval_seconds
        if not (math.isfinite(interval) and interval > 0):
            raise ValueError(f"interval_seconds is {interval}, it must be positive")
        self.interval_seconds = interval
        self._is_brief = is_brief
        self._providers = tuple(ProviderMemory(entry.block, "simulated") for entry in fleet.providers)
        self._overrides = tuple(overrides)
        self._unaged_seconds = 0.0
        """By which what is remembered of providers has yet to grow older: where none rests, it need not each turn."""
        self._calm_under: Fleet | None = None
        """The fleet by whose limits no provider rests after a failure; None: one does, or nobody has looked."""
        self._seconds_since_start: float | None = None
        self._seconds_since_stop: float | None = None
        self._policy_memory: PolicyMemory = {}
        self.refused: list[tuple[str, str]] = []
        """Provider and reason of each launch of the last turn that was refused."""
        self._fleet = fleet
        self._begins_at = begins_at
        self._decided_at: float | None = None
        self._elapsed, self._passed = 0.0, 0.0
        """Between the last two turns, and what that is in whole milliseconds."""
        self._turns = 0
        self._failed_turns: list[tuple[float, str]] = []
        self._sites = tuple(_site(entry, environment) for entry in fleet.providers)
        self._places = {site.entry.block: site.place for site in self._sites}
        self._blocks = tuple(provider.block for provider in environment.providers)
        self._shares: dict[str, tuple[_Site, ProviderMemory, ProviderShare]] = {}
        """Of the last turn, and what they were made of."""
        self._shared_then: tuple[object, object, tuple[ProviderShare, ...]] = (None, None, ())
        """All of them in order, behind the sites and the memory that they were made of."""
        self._bound_by: tuple[Fleet, Circumstances] | None = None
        """While no person asks for anything."""
        self._marks: dict[int, tuple[Mark, float]] = {}
        """Of workers that drain, and when they were marked."""
        self._spares: dict[int, Spare] = {}

    @property
    def faults(self) -> PolicyFaults:
        """Turns in which the policy gave no answer, so far."""
        at_seconds, first = self._failed_turns[0] if self._failed_turns else (0.0, "")
        return PolicyFaults(len(self._failed_turns), self._turns, first, at_seconds)

    @property
    def memory(self) -> Memory:
        """What the last turn left, as its record would carry it; who exists is the world's to say."""
        self._hand_back()
        return Memory(
            providers=aged_providers(self._providers, self._unaged_seconds),
            overrides=self._overrides,
            seconds_since_start=self._seconds_since_start,
            seconds_since_stop=self._seconds_since_stop,
            policy=self._fleet.policy.kind,
            remembered=self._policy_memory,
        )

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._hand_back()
        self._providers, self._overrides, self._policy_memory = memory.providers, memory.overrides, memory.remembered
        self._unaged_seconds, self._calm_under = 0.0, None
        self._seconds_since_start, self._seconds_since_stop = memory.seconds_since_start, memory.seconds_since_stop

    def tick(self, world: World) -> Soon | None:
        """Observe, decide and act."""
        decided = self.decide(world)
        self.act(world, decided)
        self._look_away(decided)
        return self._soon(world)

    def _soon(self, world: World) -> Soon | None:
        """Whether this turn asks for another one, as it does in `turn.turn`, and whether polls may."""
        soon_seconds, poll_seconds = self._fleet.waiting_interval_seconds, self._fleet.poll_interval_seconds
        if soon_seconds is None:
            return None
        is_held = any(held.kind in HOLDING for held in self._overrides)
        can_change = not is_held and (world.ready < len(world.alive) or has_room(self._fleet, world.ready))
        return Soon(
            soon_seconds if can_change and world.queue else None,
            self._fleet.least_apart_seconds,
            None if poll_seconds is None else Polls(poll_seconds, soon_seconds, can_change),
        )

    def decide(self, world: World) -> Decided:
        """Decide one turn and remember what it led to, as `decision.evaluate.evaluate` does."""
        seconds = self._time_passed(world)
        overrides = aged_overrides(self._overrides, seconds) if self._overrides else ()
        self._see_ready(world)
        self._age(world, seconds)
        observation = self._observation(world)
        shares = self._shared(self._providers_after(world, seconds, observation.workers))
        decided = decide(observation, shares, self._fleet, self._circumstances(world, overrides))
        self._note(world, decided)
        return decided

    @staticmethod
    def _see_ready(world: World) -> None:
        for worker in world.ready_since_tick:
            worker.seen_ready_at = world.now

    def _note(self, world: World, decided: Decided) -> None:
        """Remember what a turn led to."""
        if isinstance(decided.decision, FailedDecision):
            self._failed_turns.append((world.now, decided.decision.failure))
        self._overrides = decided.overrides
        if decided.placed.launches:
            self._seconds_since_start = 0.0
        if decided.placed.victims:
            self._seconds_since_stop = 0.0
        self._policy_memory = decided.decision.remembers

    def act(self, world: World, decided: Decided) -> None:
        """Carry out what was decided."""
        if not isinstance(decided.observation.workers, SeenCrew):
            for worker in decided.observation.workers:
                if worker.failure is Failure.TIMEOUT:
                    world.stop(world.alive[_number(worker.worker_id)])
        if decided.placed.victims:
            kept = _kept(decided)
            for victim in decided.placed.victims:
                self._take_out(world, victim, keeps=victim.worker_id in kept)
        if self._marks:
            self._end_overdue(world)
        self.refused = []
        started = set()
        for number, launch in enumerate(decided.placed.launches):
            if launch.instance_id:
                started.add(launch.instance_id)
                launched = world.start(world.stopped[_number(launch.instance_id)])
            else:
                launched = self._launch(world, launch, decided.placed.launches[:number])
            if launched is None:
                self.refused.append((launch.provider, "a launch was refused"))
        if decided.observation.spares and not decided.is_paused:
            left = [spare for spare in decided.observation.spares if spare.instance_id not in started]
            for action in end_spares(left, decided.shares, idle=()):
                world.end_stopped(world.stopped[_number(action.instance_id)])

    def _launch(self, world: World, launch: Launch, earlier: Sequence[Launch]) -> VirtualWorker | None:
        place = self._places[launch.provider]
        provider = world.environment.providers[place]
        before = 0
        if provider.seconds_between_launches:
            before = sum(each.provider == launch.provider for each in earlier)
        return world.launch(place, most_usd=launch.usd_per_hour if provider.takes_price_cap else None, before=before)

    def _shared(self, providers: tuple[ProviderMemory, ...]) -> tuple[ProviderShare, ...]:
        """The providers as placement sees them; made anew only where something is remembered otherwise."""
        sites, known, then = self._shared_then
        if sites is self._sites and known is providers:
            return then
        shares = []
        for site, known in zip(self._sites, providers, strict=True):
            block = site.entry.block
            made = self._shares.get(block)
            if made is None or made[0] is not site or made[1] is not known:
                made = self._shares[block] = site, known, share_of(site.entry, site.caps, known)
            shares.append(made[2])
        self._shared_then = self._sites, providers, tuple(shares)
        return self._shared_then[2]

    def _circumstances(self, world: World, overrides: tuple[Override, ...]) -> Circumstances:
        fleet = self._fleet
        if not overrides and self._bound_by is not None and self._bound_by[0] is fleet:
            return self._bound_by[1]
        master = world.environment.master
        bound = Circumstances(
            overrides=overrides,
            per_shape_demand=master.per_shape_demand and bool(world.trace.requires),
            budget_seconds=fleet.budget_seconds,
        )
        if not overrides:
            self._bound_by = fleet, bound
        return bound

    def _hand_back(self) -> None:
        """Where what the policy remembers is kept elsewhere between turns, it is put here."""

    @staticmethod
    def _look_away(decided: Decided) -> None:
        """The world moves on from what was shown."""
        crew = decided.observation.workers
        if isinstance(crew, SeenCrew):
            crew.is_over = True

    def _time_passed(self, world: World) -> float:
        """Begin a turn, and say by how much what is remembered has grown older."""
        self._turns += 1
        elapsed = 0.0 if self._decided_at is None else world.now - self._decided_at
        self._decided_at = world.now
        if elapsed != self._elapsed:
            self._elapsed, self._passed = elapsed, passed(elapsed)
        return self._passed

    def _age(self, world: World, seconds: float) -> None:
        """Note how long ago the last start and the last stop are now."""
        if world.ready_since_tick and any(worker.phase is not Phase.ENDED for worker in world.ready_since_tick):
            # Whoever serves now has announced its URL since the last turn.
            self._seconds_since_start = 0.0
        else:
            self._seconds_since_start = later_or_none(self._seconds_since_start, seconds)
        self._seconds_since_stop = later_or_none(self._seconds_since_stop, seconds)

    def _observation(self, world: World) -> Observation:
        return Observation(
            seen.demand(world),
            self._workers(world),
            self._seen_spares(world) if world.stopped else (),
            self._seconds_since_start,
            self._seconds_since_stop,
            self._begins_at + world.now,
            self._elapsed,
            None,
            self._policy_memory,
            not self._is_brief,
        )

    def _workers(self, world: World) -> Sequence[Worker]:
        now, blocks = world.now, self._blocks
        timeout_seconds = self._fleet.readiness.launch_timeout_seconds
        if self._is_brief and SeenCrew.suits(world, timeout_seconds):
            return SeenCrew(world, blocks)
        workers = [
            seen.serving(worker, blocks[worker.place], now)
            if worker.phase is Phase.READY
            else seen.joining(worker, blocks[worker.place], now)
            if worker.phase is Phase.BOOTING
            else self._draining(worker, now)
            for worker in world.alive.values()
        ]
        workers.extend(seen.failed(worker, blocks[worker.place], now) for worker in world.failed_since_tick)
        if world.booting and any(worker.joining_seconds >= timeout_seconds for worker in workers):
            workers = give_up(
                workers,
                seen.CLAIM,
                launch_timeout_seconds=timeout_seconds,
                retries=self._fleet.readiness.retries,
                drain_deadline_seconds=self._fleet.drain.deadline_seconds,
            )
        return workers

    def _draining(self, worker: VirtualWorker, now: float) -> Worker:
        mark, marked_at = self._marks[worker.number]
        return seen.draining(worker, self._blocks[worker.place], now, replace(mark, age_seconds=now - marked_at))

    def _providers_after(self, world: World, seconds: float, workers: Sequence[Worker]) -> tuple[ProviderMemory, ...]:
        """What is remembered of each provider: refusals of the last turn, then who became ready, then who failed."""
        self._unaged_seconds += seconds
        failed: Sequence[Worker]
        if isinstance(workers, SeenCrew):
            failed = workers.failed
        else:
            failed = [worker for worker in workers if worker.state is WorkerState.FAILED]
        if self._calm_under is self._fleet and not failed and not self.refused and not world.ready_since_tick:
            return self._providers
        providers = aged_providers(self._providers, self._unaged_seconds)
        self._unaged_seconds = 0.0
        if self.refused:
            providers = note_failures(providers, self.refused)
        if world.ready_since_tick:
            serve = (worker for worker in world.ready_since_tick if worker.phase is Phase.READY)
            providers = note_ready(providers, {self._blocks[worker.place] for worker in serve})
        if failed:
            providers = note_failures(
                providers, [(worker.provider, f"{worker.worker_id}: {worker.detail or 'failed'}") for worker in failed]
            )
        self._providers = providers
        limits, placement = self._fleet.limits, self._fleet.placement
        rests = any(share.rests(limits, placement) for share in self._shared(providers))
        self._calm_under = None if rests else self._fleet
        return providers

    def _seen_spares(self, world: World) -> tuple[Spare, ...]:
        for number, kept in world.stopped.items():
            if number not in self._spares:
                self._spares[number] = seen.spare(kept)
        return tuple(self._spares[number] for number in world.stopped)

    def _take_out(self, world: World, victim: Victim, *, keeps: bool) -> None:
        number = _number(victim.worker_id)
        drain = self._fleet.drain
        mark = Mark(seen.CLAIM, victim.reason, drain.deadline_seconds, forced=victim.forced or drain.force)
        world.stop(world.alive[number], keeps=keeps)
        if number in world.alive:
            self._marks[number] = mark, world.now

    def _end_overdue(self, world: World) -> None:
        """End by force who still works at its drain deadline; only who was forced out is marked while it works."""
        for number, (mark, marked_at) in list(self._marks.items()):
            worker = world.alive.get(number)
            # Who has no work any more is on its way, and no deadline hurries it.
            if worker is not None and (worker.request < 0 or world.now - marked_at < mark.deadline_seconds):
                continue
            if worker is not None:
                world.stop(worker, kills=True, keeps=worker.stops)
            del self._marks[number]


def _site(entry: ProviderEntry, environment: Environment) -> _Site:
    for place, provider in enumerate(environment.providers):
        if provider.block == entry.block:
            caps = ProviderCaps(
                "simulated",
                absence_is_gone=True,
                call_seconds=provider.call_seconds,
                usd_per_hour=provider.most_usd_per_hour if provider.takes_price_cap else provider.usd_per_hour,
                takes_price_cap=provider.takes_price_cap,
                seconds_between_launches=provider.seconds_between_launches,
                keeps_stopped=provider.warm_boots is not None,
                capabilities=provider.capabilities,
            )
            return _Site(entry, place, caps)
    known = ", ".join(provider.block for provider in environment.providers)
    raise ValueError(f"environment {environment.name} has no provider {entry.block}; there are {known}")


def _kept(decided: Decided) -> frozenset[str]:
    """Who of those that leave is stopped and kept warm."""
    leaving = {victim.worker_id for victim in decided.placed.victims}
    if not leaving or not any(share.warm_workers and share.caps.keeps_stopped for share in decided.shares):
        return frozenset()
    marked = [
        replace(worker, state=move(worker.state, WorkerState.DRAINING)) if worker.worker_id in leaving else worker
        for worker in decided.observation.workers
    ]
    kept = keep_warm(marked, decided.observation.spares, decided.shares, leaving=leaving)
    return frozenset(worker.worker_id for worker in kept if worker.stops)


def _number(identity: str) -> int:
    return int(identity.rpartition("-")[2])
