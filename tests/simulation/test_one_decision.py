"""The simulator decides as production does: each turn of a virtual fleet is decided again from what production sees.

Listings, members and the last record's memory are made of the virtual world, `evaluate` decides on them as it does in
a turn, and launches, victims, reasons and what is remembered must be the driver's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import IdleSource, MasterCaps, Member, MemberList, MemberState
from ebbflow.core.memory import Memory, Override, OverrideKind
from ebbflow.core.observation import Inputs, MasterLook, Observation, ProviderLook, TurnFacts
from ebbflow.core.plan import Decision, Outcome, Result, Verb, Want
from ebbflow.core.worker import Worker
from ebbflow.decision.decide import Decided
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import PlacementRules, ProviderEntry
from ebbflow.decision.rules import Readiness
from ebbflow.decision.schedule import Schedule
from ebbflow.fleet.model import Fleet
from ebbflow.policies.capability import CapabilityPolicy
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.environment import BootTimes, Environment, VirtualProvider
from ebbflow.simulation.policy_driver import EPOCH_SECONDS, PolicyDriver
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.virtual_worker import Phase, VirtualWorker, name
from ebbflow.simulation.world import World

DECISION = ("policy.", "schedule.", "override.", "limits.", "placement.")
"""Rules that decide; production has others besides, of its records and listings."""

BOOT = BootTimes(35.0, 0.0, 35.0, 35.0)
WARM = BootTimes(8.0, 0.0, 8.0, 8.0)
NEAR = VirtualProvider("x/near", BOOT, usd_per_hour=2.0)
FAR = VirtualProvider("x/far", BOOT, usd_per_hour=0.5)
LISTED = (ProviderEntry(block="x/near", max_workers=4), ProviderEntry(block="x/far", max_workers=4))
LOOSE = Limits(max_workers=6, min_idle_seconds=0, min_seconds_between_stops=0, min_seconds_after_failure=60)
TWO = Environment("two", (NEAR, FAR))
QUIET = Trace("quiet", (0.0, 400.0), (1.0, 1.0))
STEADY = Trace("steady", tuple(7.0 * place for place in range(60)), (20.0,) * 60)


@dataclass(frozen=True)
class Scripted:
    """Answers what a situation says, by the seconds that have passed."""

    answer: Callable[[float], Any]
    kind: str = "scripted"

    def decide(self, observation: Observation) -> Decision:
        said = self.answer(observation.at_seconds - EPOCH_SECONDS)
        if isinstance(said, Decision):
            return said
        return Decision((Want(count=said),), "scripted", remembers={"elapsed": (observation.elapsed_seconds,)})


@dataclass(frozen=True)
class Situation:
    """A fleet in a world, and what must be heard of it lest it show nothing."""

    policy: Any
    said: str
    environment: Environment = TWO
    trace: Trace = STEADY
    entries: tuple[ProviderEntry, ...] = LISTED
    sections: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[tuple[float, Override], ...] = ()
    """Seconds after which a person asks for something."""
    later: tuple[tuple[float, dict[str, Any]], ...] = ()
    """Seconds after which the fleet is deployed anew, and with what."""

    @property
    def fleet(self) -> Fleet:
        given = {"limits": LOOSE, "providers": self.entries, "interval_seconds": 10.0}
        fleet = Fleet(name="sim", master="swarmui-master/main", **{**given, **self.sections})
        return fleet.model_copy(update={"policy": self.policy})


def by(kind: OverrideKind, count: int = 0, *ids: str, force: bool = False, seconds: float = 150.0) -> Override:
    return Override(f"run-{kind.value}", kind, count, "ada", "demo day", seconds, ids, force)


def raising(at: float) -> int:
    raise RuntimeError(f"out of ideas at {at:g}")


def typed(*wants: tuple[str, int]) -> Decision:
    return Decision(tuple(Want((word,), count) for word, count in wants), "typed")


def up_then_down(most: int, until: float = 150.0) -> Scripted:
    return Scripted(lambda at: most if at < until else 0)


def reserving(at: float) -> Decision:
    """Three workers, none, then two again; and a smaller reserve at the end."""
    count = 3 if at < 100 else 0 if at < 200 else 2 if at < 300 else 0
    return Decision((Want(count=count),), "reserving", reserve=2 if at < 400 else 1)


SMALL = replace(NEAR, capabilities=("gpu=1",))
LARGE = replace(FAR, capabilities=("gpu=4", "a100"))
SHAPES = Trace("shapes", STEADY.at_seconds, STEADY.service_seconds, (("gpu=1",), ("gpu=4",), ()) * 20)
WARM_ONES = Environment("warm", (replace(NEAR, warm_boots=WARM, storage_price=0.1), FAR))
KEEPING = (ProviderEntry(block="x/near", max_workers=4, warm_workers=2), LISTED[1])
FAILING = Environment("failing", (replace(NEAR, failing_share=1.0), replace(FAR, failing_share=1.0)))
FAILING_HALF = Environment("half", (replace(NEAR, failing_share=0.5), FAR))
EMPTY_AT_FIRST = Environment("empty at first", (NEAR, replace(FAR, out_of_stock=((0.0, 100.0),))))
OTHER_ORDER = (LISTED[1], LISTED[0])
OFFICE = Schedule(cron="2 0 * * *", duration_seconds=120, min_workers=5)

SITUATIONS = {
    "a policy that raises": Situation(
        Scripted(raising),
        "RuntimeError: out of ideas at 70; that is no opinion",
        sections={"limits": Limits(min_workers=2)},
    ),
    "a policy that answers nonsense": Situation(
        Scripted(lambda at: 2 if at < 100 else -1),
        "count -1, which is negative; that is no opinion, not zero: 2 workers",
    ),
    "a reserve that is kept warm": Situation(
        Scripted(reserving), "x/near is warm: started again", WARM_ONES, QUIET, entries=KEEPING
    ),
    "a pause while too many are kept warm": Situation(
        Scripted(reserving),
        "pause by ada",
        WARM_ONES,
        QUIET,
        entries=KEEPING,
        overrides=((380.0, by(OverrideKind.PAUSE, seconds=60.0)),),
    ),
    "more than a provider may hold now": Situation(
        up_then_down(3, 1000.0),
        "x/near may hold 1 now",
        later=((120.0, {"providers": (ProviderEntry(block="x/near", max_workers=1), LISTED[1])}),),
    ),
    "a provider that was removed in effect": Situation(
        up_then_down(3, 1000.0),
        "x/near may hold 0 now",
        later=((120.0, {"providers": (ProviderEntry(block="x/near", max_workers=0), LISTED[1])}),),
    ),
    "a cheaper provider that has room again": Situation(
        up_then_down(2, 1000.0),
        "a cheaper provider has room",
        EMPTY_AT_FIRST,
        QUIET,
        entries=OTHER_ORDER,
        sections={"placement": PlacementRules(return_below_ratio=0.5)},
    ),
    "what no provider can give": Situation(
        Scripted(lambda at: typed(("gpu=1", 2), ("gpu=8", 3))),
        "3 x gpu=8: no provider can give it",
        Environment("able", (SMALL, LARGE)),
        SHAPES,
    ),
    "failures in a row": Situation(up_then_down(1, 1000.0), "after a failure, 2 in a row", FAILING),
    "refusals": Situation(
        up_then_down(1, 1000.0),
        "rests for another 60 s after a failure: a launch was refused",
        EMPTY_AT_FIRST,
        entries=OTHER_ORDER,
    ),
    "a floor": Situation(up_then_down(1), "floor 4 by ada for another", overrides=((50.0, by(OverrideKind.FLOOR, 4)),)),
    "a ceiling": Situation(
        up_then_down(4, 400.0), "ceiling 1 by ada", overrides=((100.0, by(OverrideKind.CEILING, 1)),)
    ),
    "a ceiling for named ones": Situation(
        up_then_down(4, 400.0),
        "named by a person",
        overrides=((100.0, by(OverrideKind.CEILING, 2, name(0), name(3))),),
    ),
    "a ceiling by force": Situation(
        up_then_down(4, 400.0),
        "by force",
        trace=Trace("long", (0.0,) * 4, (250.0,) * 4),
        overrides=((100.0, by(OverrideKind.CEILING, 3, name(1), force=True)),),
    ),
    "a pin": Situation(
        up_then_down(3, 100.0),
        "1 of 3 stops found no worker",
        trace=QUIET,
        overrides=((20.0, by(OverrideKind.PIN, 0, name(0))),),
    ),
    "a pause": Situation(up_then_down(4), "pause by ada", overrides=((20.0, by(OverrideKind.PAUSE)),)),
    "work by what it requires": Situation(
        CapabilityPolicy(), "gpu=4 is asked for", Environment("able", (SMALL, LARGE)), SHAPES
    ),
    "wants by capability of a master that does not tell": Situation(
        Scripted(lambda at: typed(("gpu=1", 1), ("gpu=4", 2))),
        "x/near is next in order",
        Environment("able", (SMALL, LARGE)),
    ),
    "the cheapest first": Situation(
        up_then_down(5), "x/far is next in order", sections={"placement": PlacementRules(order="price")}
    ),
    "a base": Situation(
        up_then_down(4, 100.0),
        "x/far has 0 of its 2 base workers",
        entries=(LISTED[0], ProviderEntry(block="x/far", max_workers=4, base_workers=2)),
    ),
    "tier by tier": Situation(
        up_then_down(6, 100.0),
        "not needed any more, idle",
        sections={"placement": PlacementRules(drain="tier_by_tier")},
    ),
    "spaced starts": Situation(
        up_then_down(4),
        "starts: one per 30 s",
        sections={"limits": LOOSE.model_copy(update={"min_seconds_between_starts": 30.0})},
    ),
    "spaced stops": Situation(
        up_then_down(4, 100.0),
        "stops: one per 35 s",
        sections={"limits": LOOSE.model_copy(update={"min_seconds_between_stops": 35.0, "min_idle_seconds": 15.0})},
    ),
    "price caps": Situation(
        up_then_down(6, 1000.0),
        "max_usd_per_hour is 5",
        sections={"limits": LOOSE.model_copy(update={"max_usd_per_hour": 5.0})},
    ),
    "a launch timeout": Situation(
        up_then_down(2, 1000.0),
        "not ready",
        sections={"readiness": Readiness(launch_timeout_seconds=25.0)},
    ),
    "hours": Situation(up_then_down(1), "asks for 5 until", sections={"schedules": (OFFICE,)}),
    "what is learned of boots": Situation(MarginalPolicy(), "x/near is next in order", FAILING_HALF),
    "vanilla": Situation(VanillaPolicy(upper_task_ratio=2), "tasks > 2 per worker x 4 workers: 5 wanted"),
}


class InStep(PolicyDriver):
    """Decides each turn twice."""

    def __init__(self, situation: Situation) -> None:
        super().__init__(situation.fleet, situation.environment)
        self.heard: list[str] = []
        self.decided: list[Decided] = []
        self.fleet = situation.fleet
        self._asked = list(situation.overrides)
        self._later = list(situation.later)
        self._turns_before: dict[str, Worker] = {}
        self._turn = 1

    def tick(self, world: World) -> None:
        while self._asked and self._asked[0][0] <= world.now:
            _, override = self._asked.pop(0)
            self.memory = replace(self.memory, overrides=(*self.memory.overrides, override))
        while self._later and self._later[0][0] <= world.now:
            _, sections = self._later.pop(0)
            self.fleet = self.fleet.model_copy(update=sections)
            anew = PolicyDriver(self.fleet, world.environment)
            self._fleet, self._sites = anew._fleet, anew._sites
        before, refused = self.memory, self.refused
        decided = self.decide(world)
        inputs = self._inputs(world, before, refused, decided)
        evaluation = evaluate(inputs, self.fleet)
        check(evaluation, decided, self.memory)
        stopped = set(world.stopped)
        self.act(world, decided)
        self._check_kept(world, evaluation, stopped)
        self.decided.append(decided)
        self.heard += [reason.text for reason in evaluation.plan.reasons]
        self.heard += [action.reason for action in evaluation.plan.actions]
        self.heard += [victim.reason for victim in decided.placed.victims]
        self._turns_before = {worker.worker_id: worker for worker in evaluation.memory.workers}
        self._turn += 1

    def _check_kept(self, world: World, evaluation: Evaluation, stopped: set[int]) -> None:
        """The spares that are ended now, and who is stopped by the turn that ends today's victims."""
        ended = {action.instance_id for action in evaluation.plan.of(Verb.TERMINATE) if action.instance_id} | {
            action.instance_id for action in evaluation.plan.of(Verb.LAUNCH) if action.instance_id
        }
        assert {name(number) for number in stopped - set(world.stopped)} == ended
        inputs = evaluation.inputs
        facts = replace(inputs.turn, outcomes=(), elapsed_seconds=10.0)
        # What a launch of this turn starts is listed as a worker's by then.
        looks = tuple(
            replace(
                look, listing=InstanceList(tuple(row for row in look.listing.instances if row.instance_id not in ended))
            )
            for look in inputs.providers
        )
        following = evaluate(
            replace(inputs, number=inputs.number + 1, memory=evaluation.memory, turn=facts, providers=looks), self.fleet
        )
        kept = {worker.worker_id for worker in following.memory.workers if worker.stops}
        assert {name(number) for number in set(world.stopped) - stopped} == kept

    def _inputs(self, world: World, before: Memory, refused: list[tuple[str, str]], decided: Decided) -> Inputs:
        there = [*world.alive.values(), *world.failed_since_tick]
        rows: dict[str, list[Instance]] = {share.provider: [] for share in decided.shares}
        for worker in there:
            rows[worker.provider.block].append(listed(worker))
        for kept in world.stopped.values():
            usd = kept.provider.storage_usd_per_hour
            rows[kept.provider.block].append(
                Instance(
                    *(name(kept.number),) * 2, InstanceState.STOPPED, "sim", "h0me0", usd_per_hour=usd, is_warm=True
                )
            )
        caps = {share.provider: share.caps for share in decided.shares}
        outcomes = tuple(
            Outcome(Verb.LAUNCH, "sim-0000-0-0", provider, Result.CAPACITY, detail) for provider, detail in refused
        )
        return Inputs(
            "sim", "h0me0", "0000", self._turn,
            TurnFacts(
                decided.observation.elapsed_seconds,
                self.fleet.budget_seconds,
                at_seconds=decided.observation.at_seconds,
                outcomes=outcomes,
            ),
            decided.observation.demand,
            MemberList(tuple(member for worker in there if (member := member_of(worker, world.now)) is not None)),
            MasterLook(MasterCaps(per_shape_demand=bool(world.trace.requires), idle_source=IdleSource.MASTER)),
            tuple(
                ProviderLook(entry.block, caps[entry.block], InstanceList(tuple(rows[entry.block])))
                for entry in self.fleet.providers
            ),
            replace(before, chain_age_seconds=1e6, workers=tuple(self._remembered(worker) for worker in there)),
        )  # fmt: skip

    def _remembered(self, worker: VirtualWorker) -> Worker:
        """As the last record had it: a wish where it was launched by that turn."""
        known = self._turns_before.get(worker.worker_id)
        block, able = worker.provider.block, worker.provider.capabilities
        return known or Worker(
            worker.worker_id,
            block,
            WorkerState.WISHED,
            able,
            usd_per_hour=worker.provider.usd_per_hour,
            launch_number=1,
        )


def listed(worker: VirtualWorker) -> Instance:
    is_up = worker.became_ready_at is not None
    row = Instance(
        *(worker.worker_id,) * 2,
        InstanceState.RUNNING if is_up else InstanceState.STARTING,
        "sim",
        "h0me0",
        url=f"http://{worker.worker_id}" if is_up else None,
        usd_per_hour=worker.provider.usd_per_hour,
        capabilities=worker.provider.capabilities,
    )
    return replace(row, state=InstanceState.FAILED, failure=Failure.OUTPUT) if worker.failed else row


def member_of(worker: VirtualWorker, now: float) -> Member | None:
    if worker.became_ready_at is None:
        return None
    state = MemberState.DRAINING if worker.phase is Phase.DRAINING else MemberState.READY
    busy = worker.request >= 0
    idle = None if busy else now - worker.idle_since
    return Member(worker.worker_id, worker.worker_id, state, f"http://{worker.worker_id}", busy, idle)


def check(evaluation: Evaluation, decided: Decided, memory: Memory) -> None:
    """The one decision against the other."""
    plan, number = evaluation.plan, evaluation.inputs.number
    assert [seen(worker) for worker in evaluation.observation.workers] == [
        seen(worker) for worker in decided.observation.workers
    ]
    assert evaluation.observation.spares == decided.observation.spares
    assert [
        (action.provider, action.reason, action.usd_per_hour, action.instance_id) for action in plan.of(Verb.LAUNCH)
    ] == [
        (launch.provider, launch.reason, launch.usd_per_hour, launch.instance_id) for launch in decided.placed.launches
    ]
    marked = [
        (worker.worker_id, worker.mark.reason, worker.mark.forced)
        for worker in evaluation.memory.workers
        if worker.mark is not None and worker.mark.number == number and worker.state is WorkerState.DRAINING
    ]
    assert marked == sorted((victim.worker_id, victim.reason, victim.forced) for victim in decided.placed.victims)
    assert tuple(reason for reason in plan.reasons if reason.rule.startswith(DECISION)) == decided.reasons
    assert evaluation.memory.providers == memory.providers
    assert evaluation.memory.overrides == memory.overrides
    assert (evaluation.memory.seconds_since_start, evaluation.memory.seconds_since_stop) == (
        memory.seconds_since_start,
        memory.seconds_since_stop,
    )
    assert evaluation.memory.remembered == memory.remembered


def seen(worker: Worker) -> tuple[object, ...]:
    """What decisions are made by."""
    idle = None if worker.idle_seconds is None else round(worker.idle_seconds, 3)
    serves = round(worker.state_seconds, 3) if worker.state is WorkerState.READY else None
    return (
        worker.worker_id, worker.provider, worker.state, worker.capabilities, worker.usd_per_hour, worker.busy, idle,
        serves, worker.registered, worker.is_retiring, worker.is_supply, worker.failure, worker.instance, worker.member,
    )  # fmt: skip


def play(situation: Situation) -> InStep:
    driver = InStep(situation)
    World(situation.trace, situation.environment, 3, after_seconds=120.0).run(driver)
    return driver


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=list(SITUATIONS))
def test_production_and_simulator_decide_alike(situation: Situation) -> None:
    driver = play(situation)
    assert len(driver.decided) >= 12
    assert any(situation.said in text for text in driver.heard), sorted(set(driver.heard))
