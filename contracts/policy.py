"""The contract that every policy passes, ours and those of other packages: what the engine around it relies on."""

# ruff: noqa: D102
# The names of the tests are the sentences of the contract.

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest

from ebbflow.core.canonical import canonical, decode
from ebbflow.core.capabilities import amounts
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.ports import Counting, Course, Policy
from ebbflow.core.worker import Mark, Worker

TURN_SECONDS = 30.0
SETTLE_TURNS = 200
"""So many turns a fleet may move under constant demand, in one direction."""
STILL_TURNS = 6
"""A fleet that did not move for so many turns has settled."""

QUEUES = (0, 1, 2, 3, 5, 9, 10, 11, 20, 21, 37, 100, 1000)

KINDS = ((), ("gpu",), ("gpu=4",), ("a100", "gpu"))


class PolicyContract:
    """What the scaler relies on. Subclass it in a test module and say which policy.

    ::

        class TestMyPolicy(PolicyContract):
            @pytest.fixture
            def policy(self) -> Policy:
                return MyPolicy(tasks_per_worker=3)

    Each test plays the same fleets and demands, some of them one after the other with what the policy remembers.
    """

    settles: ClassVar[bool] = True
    """False for a policy that goes on growing while work waits, until the fleet's limits hold it."""

    @pytest.fixture
    def policy(self) -> Policy:
        """The policy under test."""
        raise NotImplementedError("override the fixture policy")

    def test_it_has_a_name_that_stays(self, policy: Policy) -> None:
        kind = policy.kind
        assert isinstance(kind, str)
        assert kind.isprintable()
        assert kind.strip()
        for observation in observations():
            policy.decide(observation)
        assert policy.kind == kind

    def test_the_same_observation_gives_the_same_decision_whatever_came_between(self, policy: Policy) -> None:
        first = [(observation, policy.decide(observation)) for observation, _ in played(policy)]
        for observation, decision in reversed(first):
            assert policy.decide(observation) == decision, f"decided otherwise before, on {observation}"

    def test_an_observation_is_left_as_it_is(self, policy: Policy) -> None:
        for observation, decision in played(policy):
            seen = replace(observation, remembered=dict(decision.remembers))
            before = canonical(seen)
            policy.decide(seen)
            assert canonical(seen) == before

    def test_unknown_demand_is_no_opinion_and_forgets_nothing(self, policy: Policy) -> None:
        for observation, known in played(policy):
            unknown = Demand(complete=False, detail="timeout")
            decision = policy.decide(replace(observation, demand=unknown, remembered=known.remembers))
            assert decision.wanted is None, f"unknown is not zero: {decision}"
            assert {**decision.remembers, **known.remembers} == decision.remembers, "it forgot something"
            _check(decision)

    def test_every_answer_is_valid_and_says_why(self, policy: Policy) -> None:
        for _, decision in played(policy):
            _check(decision)

    def test_more_queued_work_never_means_fewer_workers(self, policy: Policy) -> None:
        for (observation, _), kind in itertools.product(played(policy), KINDS):
            before: int | None = None
            for queued in QUEUES:
                demand = replace(observation.demand, queued=queued, shapes=(Shape(kind, queued),) if queued else ())
                total = policy.decide(replace(observation, demand=demand)).total
                if before is not None:
                    assert total is not None, f"an opinion on less than {queued} queued, and none on {queued}"
                    assert total >= before, f"{total} for {queued} queued and {before} for fewer: {observation}"
                before = total

    def test_a_fleet_settles_under_constant_demand(self, policy: Policy) -> None:
        if not self.settles:
            return
        for observation in observations():
            sizes = _settled(policy, observation)
            assert sizes[-1] == sizes[-2], f"still moving after {SETTLE_TURNS} turns: {sizes}"
            # One kind may come while another goes; none comes and goes.
            for words in set().union(*sizes):
                steps = [after[words] - before[words] for before, after in itertools.pairwise(sizes)]
                assert not (min(steps) < 0 < max(steps)), f"{words} comes and goes: {sizes}"

    def test_what_it_remembers_is_the_same_after_it_was_stored(self, policy: Policy) -> None:
        for observation, decision in played(policy):
            stored = decode(Decision, json.loads(canonical(decision)))
            assert stored == decision
            following = [
                policy.decide(replace(observation, remembered=remembers))
                for remembers in (decision.remembers, stored.remembers)
            ]
            assert following[0] == following[1]

    def test_a_course_of_turns_answers_as_each_of_them(self, policy: Policy) -> None:
        if not isinstance(policy, Counting):
            return
        course: Course | None = None
        for observation, decision in played(policy):
            if not observation.demand.complete:
                course = None
                continue
            course = course or policy.course(observation.remembered)
            assert course.wanted(observation) == decision.total, f"on {observation}"
            assert course.remembers == decision.remembers
            assert decision.reserve is None
            assert set(decision.wanted or ()) <= {Want(count=decision.total or 0)}


def observations() -> tuple[Observation, ...]:
    """Every fleet with every demand of the tables, as a policy sees it that remembers nothing."""
    return tuple(
        Observation(demand, workers, at_seconds=1_700_000_000.0, elapsed_seconds=TURN_SECONDS)
        for workers, demand in itertools.product(_fleets(), _demands())
    )


def played(policy: Policy) -> Iterator[tuple[Observation, Decision]]:
    """The same one after the other, as turns of one fleet, each with what the turn before it remembered."""
    before: Decision | None = None
    for turn, observation in enumerate(observations()):
        seen = replace(
            observation,
            at_seconds=observation.at_seconds + turn * TURN_SECONDS,
            remembered=dict(before.remembers) if before else {},
        )
        before = policy.decide(seen)
        yield seen, before


def _worker(index: int, state: WorkerState = WorkerState.READY, *capabilities: str) -> Worker:
    return Worker(f"demo-0abc-1-{index}", "provider/a", state, capabilities, joining_seconds=45.0)


def _idle(worker: Worker) -> Worker:
    return replace(worker, state=WorkerState.READY, busy=False, idle_seconds=9000.0)


def _fleets() -> tuple[tuple[Worker, ...], ...]:
    busy = replace(_worker(0), busy=True)
    return (
        (),
        (_idle(_worker(0)),),
        (busy, _worker(1), _worker(2, WorkerState.STARTING), _worker(3, WorkerState.WISHED)),
        tuple(_idle(_worker(index)) for index in range(12)),
        (
            replace(busy, capabilities=("gpu",), units_per_second=0.2),
            replace(_idle(_worker(1, WorkerState.READY, "gpu=4")), units_per_second=3.0),
            _worker(2, WorkerState.PENDING, "a100", "gpu"),
        ),
        (
            replace(_idle(_worker(0)), state=WorkerState.DRAINING, mark=Mark(3, "idle", 900.0)),
            _worker(1, WorkerState.LOST),
            _worker(2, WorkerState.FAILED),
            _worker(3, WorkerState.GONE),
            replace(_idle(_worker(4)), is_retiring=True),
        ),
    )


def _demands() -> tuple[Demand, ...]:
    return (
        Demand(),
        Demand(queued=1),
        Demand(queued=40, running=3),
        Demand(running=2, running_shapes=(Shape(("gpu",), 2),)),
        Demand(queued=9, running=1, shapes=(Shape(("gpu",), 4), Shape(("gpu=4",), 3), Shape((), 2))),
        Demand(queued=5, waiting=2, queued_units=50.0, arrived=100, served=90, served_units=900.0),
        Demand(queued=6, arrived=130, served=124, desired=(Want(("gpu",), 2),)),
        Demand(arrived=3, served=3, source_age_seconds=12.0),
    )


def _check(decision: Decision) -> None:
    """Assert what an answer is, whatever it says."""
    assert isinstance(decision, Decision)
    assert isinstance(decision.headline, str)
    assert decision.headline.strip(), "a run is named by the headline"
    assert decision.reasons, f"no reason for {decision}: doing nothing needs one too"
    for reason in decision.reasons:
        assert isinstance(reason, Reason)
        assert reason.rule
        assert reason.text.strip(), reason
    assert decision.reserve is None or (type(decision.reserve) is int and decision.reserve >= 0), decision
    sets = []
    for want in decision.wanted or ():
        assert isinstance(want, Want)
        assert type(want.count) is int, f"{want} is no whole number of workers"
        assert want.count >= 0, want
        sets.append(frozenset(amounts(want.capabilities).items()))
    assert len(sets) == len(set(sets)), f"a capability set stands twice in {decision.wanted}"
    for name, series in decision.remembers.items():
        assert isinstance(name, str)
        assert isinstance(series, tuple), f"{name} is no tuple"
        assert all(type(number) in (int, float) and math.isfinite(number) for number in series), f"{name}: {series}"


def _settled(policy: Policy, observation: Observation) -> list[Counter[tuple[str, ...]]]:
    """The fleet's capability sets from turn to turn, where whatever is wanted has come or gone by the next one."""
    seen = replace(observation, workers=tuple(_idle(worker) for worker in observation.workers if worker.is_supply))
    fleet = [_sets(seen)]
    for _ in range(SETTLE_TURNS):
        if len(fleet) > STILL_TURNS and all(sets == fleet[-1] for sets in fleet[-STILL_TURNS:]):
            break
        decision = policy.decide(seen)
        seen = replace(seen, workers=_as_wanted(seen, decision), remembered=decision.remembers)
        fleet.append(_sets(seen))
    return fleet


def _as_wanted(seen: Observation, decision: Decision) -> tuple[Worker, ...]:
    """The fleet that a decision asks for: the oldest of each capability set stay, the missing have come."""
    if decision.wanted is None:
        return tuple(seen.workers)
    any_will_do = [want.capabilities for want in decision.wanted] == [()]
    workers: list[Worker] = []
    for want in decision.wanted:
        alike = [worker for worker in seen.workers if any_will_do or worker.capabilities == want.capabilities]
        kept = alike[: want.count]
        fresh = (
            Worker(
                "-".join(("new", *want.capabilities, str(index))), "provider/a", WorkerState.READY, want.capabilities
            )
            for index in range(len(kept), want.count)
        )
        workers += [*kept, *(_idle(worker) for worker in fresh)]
    return tuple(workers)


def _sets(seen: Observation) -> Counter[tuple[str, ...]]:
    return Counter(worker.capabilities for worker in seen.workers)
