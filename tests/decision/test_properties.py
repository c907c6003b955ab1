"""What holds for every policy, whatever the fleet looks like: four properties through the whole decision."""

import itertools
from collections import Counter
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ebbflow.core.instance import Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Member, MemberList, MemberState, Shape
from ebbflow.core.memory import Memory, Override, OverrideKind, ProviderMemory, RecentClaim
from ebbflow.core.observation import Inputs, Observation, ProviderLook
from ebbflow.core.plan import Decision, PolicyMemory, Verb
from ebbflow.core.ports import Policy
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.decision.rules import Readiness
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import ours
from ebbflow.policies.busy_ratio import BusyRatioPolicy
from ebbflow.policies.capability import CapabilityPolicy
from ebbflow.policies.fixed_elastic import FixedElasticPolicy
from ebbflow.policies.pending_tasks import PendingTasksPolicy
from ebbflow.policies.target_queue_time import TargetQueueTimePolicy
from ebbflow.policies.vanilla import VanillaPolicy
from tests.making import fleet_of, inputs_of

POLICIES: dict[str, Policy] = {
    **{kind: cast(Policy, model()) for kind, model in ours().items()},
    "vanilla of 2.9.0": VanillaPolicy(library="2.9.0"),
    "vanilla, narrow": VanillaPolicy(upper_task_ratio=2, lower_task_ratio=1),
    "capability of 2.9.0": CapabilityPolicy(library="2.9.0"),
    "capability, narrow": CapabilityPolicy(upper_task_ratio=2, lower_task_ratio=1),
    "fixed_elastic, three": FixedElasticPolicy(base_workers=3),
    "pending_tasks, shared": PendingTasksPolicy(worker_capabilities=("a100", "gpu=4")),
    "busy_ratio, five": BusyRatioPolicy(tasks_per_worker=5, actions_per_turn=100),
    "target_queue_time, never zero": TargetQueueTimePolicy(inactivity_timeout_seconds=-1, units_per_second=0.3),
    "target_queue_time, at once": TargetQueueTimePolicy(inactivity_timeout_seconds=0, half_life_seconds=0),
}
bounded = settings(
    max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
every_policy = pytest.mark.parametrize(
    "policy",
    [
        # As a fleet names it without more in every run, with other numbers in the long ones.
        pytest.param(policy, id=name, marks=() if name in ours() else pytest.mark.soak)
        for name, policy in POLICIES.items()
    ],
)

POOLS = ("local/a", "local/b")
CAPS = ProviderCaps("here", idempotent_launch=True, cancels_pending=True)
LIVING = [WorkerState.WISHED, WorkerState.PENDING, WorkerState.STARTING, WorkerState.READY, WorkerState.LOST]
SHOWN = {WorkerState.PENDING: InstanceState.PENDING, WorkerState.WISHED: None}
SHOWING = {WorkerState.READY: MemberState.READY, WorkerState.LOST: MemberState.LOST}
SETS = [(), ("gpu",), ("gpu=2",), ("gpu=4",), ("a100", "gpu"), ("cpu",)]


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    """Work, of which the master may tell what it requires, and how much came."""
    shapes = tuple(Shape(draw(st.sampled_from(SETS)), draw(st.integers(1, 30))) for _ in range(draw(st.integers(0, 3))))
    return Demand(
        queued=sum(shape.count for shape in shapes) + draw(st.integers(0, 80)),
        running=draw(st.integers(0, 5)),
        shapes=shapes,
        arrived=draw(st.sampled_from([None, 50, 1000])),
        complete=draw(st.sampled_from([True, True, False])),
    )


@st.composite
def memories(draw: st.DrawFn) -> PolicyMemory:
    """What any of the policies may have remembered."""
    series = {
        "busy": st.floats(0, 30),
        "hot": st.floats(0, 30),
        "arrived": st.integers(0, 60),
        "arrivals_per_second": st.floats(0, 3),
        "idle_seconds": st.sampled_from([0.0, 200.0, 9000.0]),
        "base_started": st.just(1.0),
        "supply": st.integers(0, 9),
        "stuck_seconds": st.sampled_from([0.0, 9000.0]),
    }
    return {name: (float(draw(numbers)),) for name, numbers in series.items() if draw(st.booleans())}


def with_more(demand: Demand, words: tuple[str, ...], more: int) -> Demand:
    """The same and more of one kind."""
    return replace(demand, queued=demand.queued + more, shapes=(*demand.shapes, Shape(words, more)))


@st.composite
def fleets(draw: st.DrawFn) -> Inputs:
    """A fleet of some age, seen wholly or partly."""
    workers, rows, members = [], {share: list[Instance]() for share in POOLS}, []
    for index in range(draw(st.integers(0, 6))):
        name, share = f"demo-3f9c-1-{index}", draw(st.sampled_from(POOLS))
        state = draw(st.sampled_from(LIVING))
        marked = state is WorkerState.READY and draw(st.booleans()) and draw(st.booleans())
        mark = Mark(draw(st.integers(1, 8)), "idle", 900.0, forced=draw(st.booleans())) if marked else None
        workers.append(
            Worker(
                name,
                share,
                WorkerState.DRAINING if mark else state,
                launch_number=1,
                registered=state in SHOWING,
                mark=mark,
                capabilities=draw(st.sampled_from(SETS)),
            )
        )
        shown = SHOWN.get(state, InstanceState.RUNNING)
        if shown is not None:
            rows[share].append(Instance(name, f"i-{index}", shown, "demo", "h0me0", f"http://{index}"))
        if state in SHOWING:
            busy = draw(st.sampled_from([True, False, None])) if state is WorkerState.READY else None
            idle = draw(st.sampled_from([0.0, 30.0, 9000.0])) if busy is False else None
            speed = draw(st.sampled_from([None, 0.2, 3.0]))
            members.append(
                Member(name, f"m-{index}", SHOWING[state], f"http://{index}", busy, idle, units_per_second=speed)
            )
    memory = Memory(
        1000.0,
        tuple(workers),
        tuple(ProviderMemory(share, "here", draw(st.sampled_from([None, 5.0]))) for share in POOLS),
        overrides=draw(overrides()),
        remembered=draw(memories()),
    )
    return inputs_of(
        fleet="demo",
        home="h0me0",
        chain="3f9c",
        number=9,
        elapsed_seconds=30.0,
        budget_seconds=24.0,
        demand=draw(demands()),
        members=MemberList(tuple(members), complete=draw(st.sampled_from([True, True, False]))),
        providers=tuple(
            ProviderLook(
                share, CAPS, InstanceList(tuple(rows[share]), complete=draw(st.sampled_from([True, True, False])))
            )
            for share in POOLS
        ),
        memory=memory,
        head=RecentClaim(8, "artifact-8", 24.0, draw(st.sampled_from([3.0, 30.0]))),
    )


@st.composite
def overrides(draw: st.DrawFn) -> tuple[Override, ...]:
    kinds = draw(st.lists(st.sampled_from([OverrideKind.FLOOR, OverrideKind.CEILING]), max_size=2))
    return tuple(
        Override(f"run-{place}", kind, draw(st.integers(0, 6)), "ada", "", 3600.0) for place, kind in enumerate(kinds)
    )


@st.composite
def bounds(draw: st.DrawFn) -> Limits:
    maximum = draw(st.integers(0, 6))
    return Limits(
        min_workers=draw(st.integers(0, maximum)),
        max_workers=maximum,
        min_idle_seconds=draw(st.sampled_from([0.0, 600.0])),
        min_seconds_between_stops=draw(st.sampled_from([0.0, 60.0])),
        min_seconds_between_starts=draw(st.sampled_from([0.0, 60.0])),
    )


def rules(policy: Policy, limits: Limits, rooms: tuple[int, int] = (3, 3)) -> Fleet:
    readiness = Readiness(launch_timeout_seconds=600.0)
    return fleet_of(*zip(POOLS, rooms, strict=True), policy=policy, limits=limits, readiness=readiness)


def launches(decided: Evaluation) -> int:
    """New workers; a wish that is sent again is none."""
    return sum(
        worker.launch_number == 9 and worker.worker_id.startswith("demo-3f9c-9-") for worker in decided.memory.workers
    )


@every_policy
@bounded
@given(fleet=fleets(), limits=bounds(), rooms=st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_a_decision_never_goes_beyond_the_limits(
    policy: Policy, fleet: Inputs, limits: Limits, rooms: tuple[int, int]
) -> None:
    decided = evaluate(fleet, rules(policy, limits, rooms))
    before = decided.observation.existing
    if launches(decided):
        assert before + launches(decided) <= limits.max_workers
        for share, room in zip(POOLS, rooms, strict=True):
            there = sum(worker.provider == share and worker.may_exist for worker in decided.memory.workers)
            started = sum(worker.provider == share for worker in decided.memory.workers if "-9-" in worker.worker_id)
            assert not started or there <= room, f"{there} workers at {share}, which holds {room}"
    retiring = {worker.worker_id for worker in decided.observation.workers if worker.is_retiring}
    fresh = [
        worker
        for worker in decided.memory.workers
        if worker.mark is not None and worker.mark.number == 9 and worker.worker_id not in retiring
    ]
    given_up = [worker for worker in decided.observation.workers if worker.mark and worker.mark.number == 9]
    left = decided.observation.supply - (len(fresh) - len(given_up))
    assert left >= min(limits.min_workers, decided.observation.supply), "fewer than the minimum are left"


@every_policy
@bounded
@given(fleet=fleets(), limits=bounds())
def test_a_worker_that_works_or_cannot_tell_is_never_marked_or_ended(
    policy: Policy, fleet: Inputs, limits: Limits
) -> None:
    decided = evaluate(fleet, rules(policy, limits))
    unsafe = {member.worker_id for member in fleet.members.members if member.busy is not False}
    if not fleet.members.complete:
        unsafe = {member.worker_id for member in fleet.members.members}
    known = {worker.worker_id: worker for worker in fleet.memory.workers}
    for worker in decided.memory.workers:
        was = known.get(worker.worker_id)
        if worker.worker_id in unsafe and was is not None and was.mark is None and was.state is WorkerState.READY:
            assert worker.mark is None, worker
            assert not [action for action in decided.plan.actions if action.verb in (Verb.DRAIN, Verb.TEAR_DOWN)
                        and action.worker_id == worker.worker_id]  # fmt: skip
    for action in decided.plan.of(Verb.TERMINATE):
        assert known[action.worker_id].state in (WorkerState.TERMINATING, WorkerState.FAILED), action


def supply_after(decided: Evaluation) -> int:
    return sum(worker.is_supply for worker in decided.memory.workers)


@every_policy
@bounded
@given(fleet=fleets(), limits=bounds(), words=st.sampled_from(SETS), more=st.integers(1, 60))
def test_more_demand_never_means_fewer_workers(
    policy: Policy, fleet: Inputs, limits: Limits, words: tuple[str, ...], more: int
) -> None:
    assume(fleet.demand.complete)
    fleet = replace(fleet, memory=replace(fleet.memory, policy=policy.kind))
    higher = replace(fleet, demand=with_more(fleet.demand, words, more))
    few = evaluate(fleet, rules(policy, limits))
    many = evaluate(higher, rules(policy, limits))
    assert supply_after(many) >= supply_after(few), f"{few.plan.reasons} against {many.plan.reasons}"


@every_policy
@bounded
@given(
    tasks=st.integers(0, 60),
    words=st.sampled_from(SETS),
    start=st.integers(0, 6),
    limits=bounds(),
)
def test_constant_demand_moves_the_fleet_in_one_direction_and_then_not_at_all(
    policy: Policy, tasks: int, words: tuple[str, ...], start: int, limits: Limits
) -> None:
    names = tuple(f"demo-zzzz-1-{index}" for index in range(start))
    memory = Memory(1000.0, tuple(Worker(name, "local/a", WorkerState.READY, registered=True) for name in names))
    sizes = [start]
    for number in range(9, 39):
        living = [worker for worker in memory.workers if worker.mark is None]
        rows = {share: tuple(_row(worker) for worker in living if worker.provider == share) for share in POOLS}
        inputs = inputs_of(
            number=number,
            elapsed_seconds=60.0,
            demand=Demand(queued=tasks, shapes=(Shape(words, tasks),)),
            members=MemberList(tuple(_idle_member(worker) for worker in living)),
            providers=tuple(
                ProviderLook(pool, ProviderCaps("here", absence_is_gone=True), InstanceList(rows[pool]))
                for pool in POOLS
            ),
            memory=replace(memory, workers=tuple(living)),
            head=RecentClaim(number - 1, "artifact", 24.0, 60.0),
        )
        memory = evaluate(inputs, rules(policy, limits, (8, 8))).memory
        sizes.append(sum(worker.is_supply for worker in memory.workers))
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert not (min(steps) < 0 < max(steps)), f"{tasks} tasks: {sizes}"
    assert not any(steps[-5:]), f"{tasks} tasks, still moving: {sizes}"


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Larger fleets than the limits above let a decision make, as a policy sees them."""
    states = st.sampled_from([WorkerState.WISHED, WorkerState.PENDING, WorkerState.STARTING, WorkerState.READY])
    workers: list[Worker] = []
    for _ in range(draw(st.integers(0, 4))):
        alike = Worker(
            "",
            "local/a",
            draw(states),
            draw(st.sampled_from(SETS)),
            busy=draw(st.sampled_from([True, False, None])),
            idle_seconds=draw(st.sampled_from([0.0, 9000.0])),
            units_per_second=draw(st.sampled_from([None, 0.2, 3.0])),
        )
        for _ in range(draw(st.integers(1, 8))):
            workers.append(replace(alike, worker_id=f"demo-3f9c-1-{len(workers)}"))
    demand = replace(draw(demands()), complete=True)
    return Observation(demand, tuple(workers), elapsed_seconds=30.0, remembered=draw(memories()))


@every_policy
@bounded
@given(seen=observations(), words=st.sampled_from(SETS), more=st.integers(1, 200))
def test_a_policy_wants_no_fewer_for_more(policy: Policy, seen: Observation, words: tuple[str, ...], more: int) -> None:
    few = policy.decide(seen)
    many = policy.decide(replace(seen, demand=with_more(seen.demand, words, more)))
    assert (many.total is None) == (few.total is None)
    assert (many.total or 0) >= (few.total or 0), f"{few.reasons} against {many.reasons}"


# `swarmui` grows while anybody waits, until the limits hold it.
@pytest.mark.parametrize("policy", [policy for policy in POLICIES.values() if policy.kind != "swarmui"])
@bounded
@given(seen=observations())
def test_what_a_policy_wants_is_what_it_wants_again_once_it_is_there(policy: Policy, seen: Observation) -> None:
    seen = replace(seen, workers=tuple(_joined(worker) for worker in seen.workers), remembered={})
    fleet = [_sets(seen)]
    while len(fleet) < 200 and (len(fleet) < 7 or any(fleet[-6] != later for later in fleet[-5:])):
        decision = policy.decide(seen)
        seen = replace(seen, workers=_as_wanted(seen, decision), remembered=decision.remembers)
        fleet.append(_sets(seen))
    assert fleet[-1] == fleet[-2], f"still moving: {fleet}"
    # One kind may come while another goes; none comes and goes.
    for words in set().union(*fleet):
        steps = [after[words] - before[words] for before, after in itertools.pairwise(fleet)]
        assert not (min(steps) < 0 < max(steps)), f"{words}: {fleet}"


def _sets(seen: Observation) -> Counter[tuple[str, ...]]:
    return Counter(worker.capabilities for worker in seen.workers)


@every_policy
@bounded
@given(seen=observations(), detail=st.sampled_from(["", "timeout"]))
def test_unknown_demand_changes_nothing_and_forgets_nothing(policy: Policy, seen: Observation, detail: str) -> None:
    known = policy.decide(seen).remembers
    decision = policy.decide(replace(seen, demand=Demand(complete=False, detail=detail), remembered=known))
    assert decision.wanted is None
    assert {**decision.remembers, **known} == decision.remembers


def _joined(worker: Worker) -> Worker:
    return replace(worker, state=WorkerState.READY, busy=False, idle_seconds=9000.0)


def _as_wanted(seen: Observation, decision: Decision) -> tuple[Worker, ...]:
    """The fleet that a decision asks for: the oldest of each capability set stay, the missing have come."""
    if decision.wanted is None:
        return tuple(seen.workers)
    workers: list[Worker] = []
    for want in decision.wanted:
        alike = [worker for worker in seen.workers if worker.capabilities == want.capabilities]
        if len(decision.wanted) == 1 and not want.capabilities:
            alike = list(seen.workers)
        names = {worker.worker_id for worker in workers}
        kept = [worker for worker in alike if worker.worker_id not in names][: want.count]
        fresh = (
            Worker(f"n-{len(workers)}-{place}", "local/a", WorkerState.READY, want.capabilities)
            for place in range(want.count - len(kept))
        )
        workers += [*kept, *(_joined(worker) for worker in fresh)]
    return tuple(workers)


def _row(worker: Worker) -> Instance:
    return Instance(worker.worker_id, f"i-{worker.worker_id}", InstanceState.RUNNING, "demo", "h0me0", "http://w")


def _idle_member(worker: Worker) -> Member:
    return Member(worker.worker_id, worker.worker_id, MemberState.READY, "http://w", False, 9000.0)
