"""Lets one of our policies decide in the virtual world, through the very same functions as the flows.

`policy.decide`, `limits.apply` and `placement.place` see a real `Observation`: no more than production knows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ebbflow.core.capabilities import largest
from ebbflow.core.instance import Failure, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MemberState, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision
from ebbflow.core.ports import Policy
from ebbflow.core.worker import Worker
from ebbflow.decision.limits import Bounded, Limits, apply
from ebbflow.decision.placement.place import Placed, PlacementRules, ProviderShare, place
from ebbflow.decision.schedule import Schedule, floors
from ebbflow.simulation.environment import Environment
from ebbflow.simulation.virtual_worker import Phase, VirtualWorker
from ebbflow.simulation.world import World

EPOCH_SECONDS = 1_767_571_200.0
"""When a trace begins, for policies that read the hour: 2026-01-05 00:00 UTC, a Monday."""

UNSPACED = Limits(
    max_workers=120,
    min_seconds_between_stops=0.0,
    min_seconds_between_starts=0.0,
    min_seconds_after_failure=0.0,
    min_idle_seconds=0.0,
)
"""Limits that leave a policy to itself, but for the maximum."""


class PolicyError(RuntimeError):
    """A policy raised, or asked for what no fleet can do. The run is that policy's failure, and nobody else's."""


class PolicyDriver:
    """One policy at its interval, and what it remembers."""

    def __init__(
        self,
        policy: Policy,
        environment: Environment,
        *,
        interval_seconds: float = 5.0,
        limits: Limits = UNSPACED,
        schedules: Sequence[Schedule] = (),
        placement: PlacementRules | None = None,
        base_workers: Mapping[str, int] = MappingProxyType({}),
        begins_at: float = EPOCH_SECONDS,
    ) -> None:
        if not (math.isfinite(interval_seconds) and interval_seconds > 0):
            raise ValueError(f"interval_seconds is {interval_seconds}, it must be positive")
        self.interval_seconds = interval_seconds
        self._policy = policy
        self._limits = limits
        self._schedules = schedules
        self._placement = placement or PlacementRules()
        self._base_workers = base_workers
        self._begins_at = begins_at
        self._environment = environment
        self._views = Views()
        self._remembered: Mapping[str, tuple[float, ...]] = {}
        self._decided_at: float | None = None
        self._started_at: float | None = None
        self._stopped_at: float | None = None
        self._failed_at: list[float | None] = [None] * len(environment.providers)
        self._calm_pools: tuple[ProviderShare, ...] = ()
        self._caps = [
            ProviderCaps("simulated", usd_per_hour=provider.price, absence_is_gone=True)
            for provider in environment.providers
        ]

    def tick(self, world: World) -> None:
        """Observe, decide, limit, place, act.

        Raises:
            PolicyError: the policy raised, or its answer is none.
        """
        for failed in world.failed_since_tick:
            self._failed_at[failed.place] = world.now
        observation = self._observe(world)
        decision = _checked(self._policy, observation)
        bounded = apply(
            decision,
            observation,
            self._limits,
            floors=floors(self._schedules, observation.at_seconds) if self._schedules else (),
        )
        placed = self._place(bounded, observation, world.now)
        self._remembered, self._decided_at = decision.remembers, world.now
        self._act(world, placed)

    def _observe(self, world: World) -> Observation:
        now = world.now
        view = self._views.of
        workers = [view(worker, now) for worker in world.alive.values()]
        if world.failed_since_tick:
            workers.extend(view(worker, now) for worker in world.failed_since_tick)
        return Observation(
            demand=_demand(world),
            workers=tuple(workers),
            seconds_since_start=None if self._started_at is None else now - self._started_at,
            seconds_since_stop=None if self._stopped_at is None else now - self._stopped_at,
            at_seconds=self._begins_at + now,
            elapsed_seconds=0.0 if self._decided_at is None else now - self._decided_at,
            remembered=self._remembered,
        )

    def _place(self, bounded: Bounded, observation: Observation, now: float) -> Placed:
        """The one place that calls `placement.place`."""
        return place(bounded, observation, self._pools(now), self._limits, rules=self._placement)

    def _pools(self, now: float) -> tuple[ProviderShare, ...]:
        rest = self._limits.min_seconds_after_failure
        if self._calm_pools and all(failed_at is None or now - failed_at >= rest for failed_at in self._failed_at):
            return self._calm_pools
        shares = tuple(
            ProviderShare(
                provider=provider.name,
                max_workers=provider.max_workers,
                caps=caps,
                base_workers=self._base_workers.get(provider.name, 0),
                seconds_since_failure=None if failed_at is None else now - failed_at,
                failure="" if failed_at is None else "a launch failed or was refused",
            )
            for provider, caps, failed_at in zip(self._environment.providers, self._caps, self._failed_at, strict=True)
        )
        if all(failed_at is None or now - failed_at >= rest for failed_at in self._failed_at):
            self._calm_pools = shares
        return shares

    def _act(self, world: World, placed: Placed) -> None:
        for victim in placed.victims:
            number = int(victim.worker_id.rpartition("-")[2])
            world.stop(world.alive[number])
            self._views.forget(number)
            self._stopped_at = world.now
        names = [provider.name for provider in self._environment.providers]
        for launch in placed.launches:
            chosen = names.index(launch.provider)
            if world.launch(chosen) is None:
                self._failed_at[chosen] = world.now
            self._started_at = world.now


def _checked(policy: Policy, observation: Observation) -> Decision:
    try:
        decision = policy.decide(observation)
        total = decision.total
    except Exception as error:
        raise PolicyError(f"{policy.kind} raised {type(error).__name__}: {error}") from error
    # A policy of a third party may answer anything, whatever its annotations say.
    if total is not None and (not isinstance(total, int) or not 0 <= total <= 10_000):
        raise PolicyError(f"{policy.kind} wants {total} workers; that must be a whole number from 0 to 10000")
    for name, series in decision.remembers.items():
        # A sum is a number only where every part is one.
        if not math.isfinite(sum(series)):
            raise PolicyError(f"{policy.kind} remembers {name} with a number that is none: {series}")
    return decision


class Views:
    """Workers as records would hold them, made once per worker and kind, with durations that are stamped each tick.

    A policy sees them until it has answered, so that nobody can tell; a core `Worker` is otherwise never changed.
    Making them anew takes twenty times as long, and most of a run's time.
    """

    def __init__(self) -> None:
        self._made: dict[int, Worker] = {}

    def of(self, worker: VirtualWorker, now: float) -> Worker:
        """One worker now."""
        is_busy = worker.request >= 0
        if worker.became_ready_at is None:
            key = worker.number * 8 + worker.failed
            view = self._made.get(key) or self._make(key, worker)
            age = now - worker.launched_at
            _JOINING_SECONDS(view, age)
            _STATE_SECONDS(view, 0.0 if worker.failed else age)
            return view
        key = worker.number * 8 + 2 + is_busy + 2 * (worker.phase is Phase.DRAINING)
        view = self._made.get(key) or self._make(key, worker)
        _STATE_SECONDS(view, now - worker.became_ready_at)
        if not is_busy:
            _IDLE_SECONDS(view, now - worker.idle_since)
        return view

    def _make(self, key: int, worker: VirtualWorker) -> Worker:
        view = self._made[key] = _joining(worker) if worker.became_ready_at is None else _serving(worker)
        return view

    def forget(self, number: int) -> None:
        """A worker that has ended."""
        for key in range(number * 8, number * 8 + 8):
            self._made.pop(key, None)


def _slot(name: str) -> Callable[[Worker, float], None]:
    # Any: what a slot's descriptor is has no type of its own.
    setter: Callable[[Worker, float], None] = vars(Worker)[name].__set__
    return setter


_STATE_SECONDS, _JOINING_SECONDS, _IDLE_SECONDS = map(_slot, ("state_seconds", "joining_seconds", "idle_seconds"))


def _serving(worker: VirtualWorker) -> Worker:
    busy, draining = worker.request >= 0, worker.phase is Phase.DRAINING
    return Worker(
        f"sim-0000-1-{worker.number}",
        worker.provider.name,
        WorkerState.DRAINING if draining else WorkerState.READY,
        worker.provider.capabilities,
        usd_per_hour=worker.provider.price,
        registered=True,
        instance=InstanceState.RUNNING,
        member=MemberState.DRAINING if draining else MemberState.READY,
        busy=busy,
        idle_seconds=None if busy else 0.0,
    )


def _joining(worker: VirtualWorker) -> Worker:
    return Worker(
        f"sim-0000-1-{worker.number}",
        worker.provider.name,
        WorkerState.FAILED if worker.failed else WorkerState.STARTING,
        worker.provider.capabilities,
        usd_per_hour=worker.provider.price,
        instance=InstanceState.FAILED if worker.failed else InstanceState.STARTING,
        failure=Failure.OUTPUT if worker.failed else None,
    )


def _demand(world: World) -> Demand:
    queued, running = len(world.queue), world.running
    shapes: tuple[Shape, ...] = ()
    running_shapes: tuple[Shape, ...] = ()
    if world.trace.requires:
        requires = world.trace.requires
        shapes = _shapes([requires[request] for request in world.queue])
        working = (worker.request for worker in world.alive.values() if worker.request >= 0)
        running_shapes = _shapes([requires[request] for request in working])
    return Demand(
        queued=queued,
        running=running,
        waiting=queued,
        shapes=shapes,
        running_shapes=running_shapes,
        arrived=world.arrived,
        served=world.served,
        served_units=world.served_seconds,
    )


def _shapes(required: Sequence[tuple[str, ...]]) -> tuple[Shape, ...]:
    counts: dict[tuple[str, ...], int] = {}
    for words in required:
        spelled = largest((words,))
        counts[spelled] = counts.get(spelled, 0) + 1
    return tuple(Shape(words, count) for words, count in sorted(counts.items()))
