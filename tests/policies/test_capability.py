"""`capability`: tasks per capable worker between two ratios, for each capability set."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import CanLaunch, Observation, Offer
from ebbflow.core.plan import Reason
from ebbflow.core.worker import Worker
from ebbflow.policies.capability import CapabilityPolicy

PLAIN, GPU, BIG = (), ("gpu",), ("gpu=4",)
Sets = dict[tuple[str, ...], int]


def observed(
    tasks: Sets, workers: Sets, state: WorkerState = WorkerState.READY, running: Sets | None = None
) -> Observation:
    fleet = [words for words, count in workers.items() for _ in range(count)]
    return Observation(
        Demand(
            queued=sum(tasks.values()),
            running=sum((running or {}).values()),
            shapes=tuple(Shape(words, count) for words, count in tasks.items()),
            running_shapes=tuple(Shape(words, count) for words, count in (running or {}).items()),
        ),
        tuple(Worker(f"demo-3f9c-1-{place}", "local/a", state, words) for place, words in enumerate(fleet)),
    )


def wanted(policy: CapabilityPolicy, seen: Observation) -> Sets:
    decision = policy.decide(seen)
    assert decision.wanted is not None
    return {want.capabilities: want.count for want in decision.wanted}


@pytest.mark.parametrize(
    ("tasks", "workers", "result"),
    [
        ({}, {}, {}),
        ({GPU: 1}, {}, {GPU: 1}),
        ({GPU: 5}, {GPU: 1}, {GPU: 1}),
        ({GPU: 6}, {GPU: 1}, {GPU: 2}),
        ({GPU: 50}, {GPU: 2}, {GPU: 10}),
        ({PLAIN: 100, GPU: 50}, {}, {PLAIN: 10, GPU: 10}),
        # A worker with a GPU can do what requires nothing.
        ({PLAIN: 5}, {GPU: 1}, {GPU: 1}),
        # Who can do nothing that there is goes.
        ({GPU: 1}, {PLAIN: 9}, {GPU: 1}),
        ({BIG: 1}, {GPU: 1}, {BIG: 1}),
        ({GPU: 5}, {BIG: 1}, {BIG: 1}),
        ({}, {GPU: 2, PLAIN: 1}, {}),
        ({BIG: 1, PLAIN: 9}, {BIG: 1, GPU: 2}, {BIG: 1, GPU: 2}),
        ({GPU: 1}, {GPU: 3}, {GPU: 2}),
    ],
)
def test_each_kind_of_task_gets_the_workers_that_can_do_it(tasks: Sets, workers: Sets, result: Sets) -> None:
    assert wanted(CapabilityPolicy(), observed(tasks, workers)) == result


def test_launches_in_flight_are_not_repeated_unless_the_library_is_followed() -> None:
    seen = observed({GPU: 6}, {GPU: 2}, WorkerState.PENDING)
    assert wanted(CapabilityPolicy(), seen) == {GPU: 2}
    library = CapabilityPolicy(steps_per_turn=1, uncorrected=("count_starting",))
    assert wanted(library, observed({GPU: 6, PLAIN: 1}, {GPU: 1}, WorkerState.PENDING)) == {GPU: 1}
    assert wanted(library, observed({GPU: 60}, {GPU: 1})) == {GPU: 2}


def test_amounts_are_compared_unless_the_library_is_followed() -> None:
    seen = observed({BIG: 1}, {GPU: 1})
    assert wanted(CapabilityPolicy(uncorrected=("compare_amounts",)), seen) == {GPU: 1}
    reasons = CapabilityPolicy().decide(seen).reasons
    assert reasons[1:] == (
        Reason("policy.capability.compare_amounts", "the library's rule, without this correction, would want 1"),
    )


def test_running_tasks_are_tasks() -> None:
    assert wanted(CapabilityPolicy(), observed({}, {GPU: 1}, running={GPU: 6})) == {GPU: 2}


def test_a_turn_makes_no_more_than_its_steps() -> None:
    assert wanted(CapabilityPolicy(steps_per_turn=3), observed({GPU: 500}, {})) == {GPU: 3}
    assert wanted(CapabilityPolicy(steps_per_turn=3), observed({}, {GPU: 9})) == {GPU: 6}


def test_workers_for_the_most_demanding_tasks_are_counted_for_the_others() -> None:
    # Fourteen workers with a GPU can do the plain tasks as well.
    policy = CapabilityPolicy(upper_task_ratio=2, lower_task_ratio=1)
    assert wanted(policy, observed({PLAIN: 7, GPU: 27}, {})) == {GPU: 14}


def test_workers_that_never_come_are_not_counted_on_for_ever() -> None:
    policy, seen = (
        CapabilityPolicy(patience_seconds=60),
        replace(observed({GPU: 50, PLAIN: 20}, {}), elapsed_seconds=30.0),
    )
    answers = []
    for _ in range(4):
        decision = policy.decide(seen)
        answers.append({want.capabilities: want.count for want in decision.wanted or ()})
        seen = replace(seen, remembered=decision.remembers)
    assert answers[:2] == [{GPU: 10}] * 2
    assert answers[2:] == [{GPU: 10, PLAIN: 4}] * 2
    came = replace(observed({GPU: 50, PLAIN: 20}, {GPU: 1}), remembered=seen.remembered, elapsed_seconds=30.0)
    assert wanted(policy, came) == {GPU: 10}


def test_wanted_workers_are_lent_to_other_kinds_of_task_unless_that_is_switched_off() -> None:
    seen = observed({GPU: 50, PLAIN: 20}, {})
    assert wanted(CapabilityPolicy(uncorrected=("lend_wanted",)), seen) == {GPU: 10, PLAIN: 4}
    reasons = {reason.rule: reason.text for reason in CapabilityPolicy().decide(seen).reasons}
    assert reasons["policy.capability.lend_wanted"] == "the library's rule, without this correction, would want 14"


def test_a_fleet_at_rest_remembers_nothing() -> None:
    assert CapabilityPolicy().decide(observed({GPU: 5}, {GPU: 1})).remembers == {}


@pytest.mark.parametrize(
    ("tasks", "result"), [({}, {}), ({GPU: 5}, {GPU: 1}), ({GPU: 6, PLAIN: 11}, {GPU: 2, PLAIN: 3})]
)
def test_the_newer_release_counts_tasks_alone(tasks: Sets, result: Sets) -> None:
    policy = CapabilityPolicy(library="2.9.0")
    assert wanted(policy, observed(tasks, {})) == result
    assert wanted(policy, observed(tasks, {GPU: 9})) == result


def test_it_says_what_it_counted() -> None:
    decision = CapabilityPolicy().decide(observed({GPU: 6, PLAIN: 2}, {GPU: 1}))
    assert decision.headline == "queue 8: 2 workers"
    text = "tasks: 6 x {gpu}, 2 x {}; 0.5 to 5 per capable worker; workers: {gpu} 1 -> 2"
    assert decision.reasons == (Reason("policy.capability", text),)


def test_bands_that_cross_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValidationError, match=r"upper_task_ratio 5 must be at least twice lower_task_ratio 3"):
        CapabilityPolicy(lower_task_ratio=3)


SPREAD = Shape(GPU, 3, gang=3, apart=True, kind="group")


@pytest.mark.parametrize(
    ("shapes", "most", "result"),
    [
        pytest.param((SPREAD,), 4, {BIG: 3}, id="three in the place of the one that the ratio makes of it"),
        pytest.param((SPREAD, Shape(GPU, 40)), 9, {BIG: 3, GPU: 6}, id="the ratio counts them"),
        pytest.param((SPREAD, Shape(GPU, 6)), 2, {GPU: 2}, id="a gang without room brings nobody"),
    ],
)
def test_a_gang_has_as_many_workers_as_it_needs_to_start(shapes: tuple[Shape, ...], most: int, result: Sets) -> None:
    demand = Demand(queued=sum(shape.count for shape in shapes), shapes=shapes)
    seen = Observation(demand, (), can_launch=CanLaunch((Offer(BIG, most),), most))
    assert wanted(CapabilityPolicy(), seen) == result


def test_who_a_gang_waits_for_is_not_sent_away_for_a_low_ratio() -> None:
    fleet = tuple(Worker(f"demo-3f9c-1-{place}", "local/a", WorkerState.STARTING, BIG) for place in range(3))
    demand = Demand(queued=3, shapes=(SPREAD,))
    seen = Observation(demand, fleet, can_launch=CanLaunch((Offer(BIG, 0),), 0))
    assert wanted(CapabilityPolicy(lower_task_ratio=2), seen) == {BIG: 3}
