"""What holds for every policy, whatever the fleet looks like: four properties through the whole decision."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ebbflow.core.instance import Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps, Member, MemberList, MemberState
from ebbflow.core.memory import Memory, Override, OverrideKind, ProviderMemory, RecentClaim
from ebbflow.core.observation import Inputs, ProviderLook
from ebbflow.core.plan import Verb
from ebbflow.core.ports import Policy
from ebbflow.core.worker import Mark, Worker
from ebbflow.policies.evaluate import Evaluation, PoolRule, Rules, evaluate
from ebbflow.policies.limits import Limits
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.swarmui import SwarmUIPolicy
from ebbflow.policies.vanilla import VanillaPolicy

POLICIES: dict[str, Policy] = {"no": NoPolicy(), "swarmui": SwarmUIPolicy(), "vanilla": VanillaPolicy()}
bounded = settings(
    max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))

POOLS = ("local/a", "local/b")
CAPS = ProviderCaps("here", idempotent_launch=True, cancels_pending=True)
LIVING = [WorkerState.WISHED, WorkerState.PENDING, WorkerState.STARTING, WorkerState.READY, WorkerState.LOST]
SHOWN = {WorkerState.PENDING: InstanceState.PENDING, WorkerState.WISHED: None}
SHOWING = {WorkerState.READY: MemberState.READY, WorkerState.LOST: MemberState.LOST}


@st.composite
def fleets(draw: st.DrawFn) -> Inputs:
    """A fleet of some age, seen wholly or partly."""
    workers, rows, members = [], {pool: list[Instance]() for pool in POOLS}, []
    for index in range(draw(st.integers(0, 6))):
        name, pool = f"demo-3f9c-1-{index}", draw(st.sampled_from(POOLS))
        state = draw(st.sampled_from(LIVING))
        marked = state is WorkerState.READY and draw(st.booleans()) and draw(st.booleans())
        mark = Mark(draw(st.integers(1, 8)), "idle", 900.0, forced=draw(st.booleans())) if marked else None
        workers.append(
            Worker(
                name,
                pool,
                WorkerState.DRAINING if mark else state,
                launch_number=1,
                registered=state in SHOWING,
                mark=mark,
            )
        )
        shown = SHOWN.get(state, InstanceState.RUNNING)
        if shown is not None:
            rows[pool].append(Instance(name, f"i-{index}", shown, "demo", "h0me0", f"http://{index}"))
        if state in SHOWING:
            busy = draw(st.sampled_from([True, False, None])) if state is WorkerState.READY else None
            idle = draw(st.sampled_from([0.0, 30.0, 9000.0])) if busy is False else None
            members.append(Member(name, f"m-{index}", SHOWING[state], f"http://{index}", busy, idle))
    memory = Memory(
        1000.0,
        tuple(workers),
        tuple(ProviderMemory(pool, "here", draw(st.sampled_from([None, 5.0]))) for pool in POOLS),
        overrides=draw(overrides()),
    )
    return Inputs(
        fleet="demo",
        home="h0me0",
        chain="3f9c",
        number=9,
        elapsed_seconds=30.0,
        budget_seconds=24.0,
        demand=Demand(queued=draw(st.integers(0, 80)), complete=draw(st.sampled_from([True, True, False]))),
        members=MemberList(tuple(members), complete=draw(st.sampled_from([True, True, False]))),
        master_caps=MasterCaps(),
        providers=tuple(
            ProviderLook(
                pool, CAPS, InstanceList(tuple(rows[pool]), complete=draw(st.sampled_from([True, True, False])))
            )
            for pool in POOLS
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


def rules(policy: Policy, limits: Limits, rooms: tuple[int, int] = (3, 3)) -> Rules:
    pools = tuple(PoolRule(pool, room) for pool, room in zip(POOLS, rooms, strict=True))
    return Rules(policy, limits, pools, 30.0, 600.0, 1, 900.0)


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
        for pool, room in zip(POOLS, rooms, strict=True):
            there = sum(worker.provider == pool and worker.may_exist for worker in decided.memory.workers)
            started = sum(worker.provider == pool for worker in decided.memory.workers if "-9-" in worker.worker_id)
            assert not started or there <= room, f"{there} workers at {pool}, which holds {room}"
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
@given(fleet=fleets(), limits=bounds(), more=st.integers(1, 60))
def test_more_demand_never_means_fewer_workers(policy: Policy, fleet: Inputs, limits: Limits, more: int) -> None:
    assume(fleet.demand.complete)
    higher = replace(fleet, demand=replace(fleet.demand, queued=fleet.demand.queued + more))
    few = evaluate(fleet, rules(policy, limits))
    many = evaluate(higher, rules(policy, limits))
    assert supply_after(many) >= supply_after(few), f"{few.plan.reasons} against {many.plan.reasons}"


@every_policy
@bounded
@given(
    tasks=st.integers(0, 60),
    start=st.integers(0, 6),
    limits=bounds(),
)
def test_constant_demand_moves_the_fleet_in_one_direction_and_then_not_at_all(
    policy: Policy, tasks: int, start: int, limits: Limits
) -> None:
    names = tuple(f"demo-zzzz-1-{index}" for index in range(start))
    memory = Memory(1000.0, tuple(Worker(name, "local/a", WorkerState.READY, registered=True) for name in names))
    sizes = [start]
    for number in range(9, 39):
        living = [worker for worker in memory.workers if worker.mark is None]
        rows = {pool: tuple(_row(worker) for worker in living if worker.provider == pool) for pool in POOLS}
        inputs = Inputs(
            "demo",
            "h0me0",
            "3f9c",
            number,
            60.0,
            24.0,
            Demand(queued=tasks),
            MemberList(tuple(_idle_member(worker) for worker in living)),
            MasterCaps(),
            tuple(
                ProviderLook(pool, ProviderCaps("here", absence_is_gone=True), InstanceList(rows[pool]))
                for pool in POOLS
            ),
            replace(memory, workers=tuple(living)),
            head=RecentClaim(number - 1, "artifact", 24.0, 60.0),
        )
        memory = evaluate(inputs, rules(policy, limits, (8, 8))).memory
        sizes.append(sum(worker.is_supply for worker in memory.workers))
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert not (min(steps) < 0 < max(steps)), f"{tasks} tasks: {sizes}"
    assert not any(steps[-5:]), f"{tasks} tasks, still moving: {sizes}"


def _row(worker: Worker) -> Instance:
    return Instance(worker.worker_id, f"i-{worker.worker_id}", InstanceState.RUNNING, "demo", "h0me0", "http://w")


def _idle_member(worker: Worker) -> Member:
    return Member(worker.worker_id, worker.worker_id, MemberState.READY, "http://w", False, 9000.0)
