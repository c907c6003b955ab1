"""One step of a worker's life is either in the table or a mistake of ours."""

from itertools import product

import pytest

from ebbflow.core.lifecycle import JOINING, SUPPLY, TRANSITIONS, LifecycleError, WorkerState, move

PAIRS = list(product(WorkerState, WorkerState))
ALLOWED = [pair for pair in PAIRS if pair[0] is pair[1] or pair[1] in TRANSITIONS[pair[0]]]
FORBIDDEN = [pair for pair in PAIRS if pair not in ALLOWED]


def name(state: WorkerState) -> str:
    return state.value


@pytest.mark.parametrize(("current", "following"), ALLOWED, ids=name)
def test_an_allowed_step_leads_where_it_says(current: WorkerState, following: WorkerState) -> None:
    assert move(current, following) is following


@pytest.mark.parametrize(("current", "following"), FORBIDDEN, ids=name)
def test_any_other_step_names_worker_state_and_target(current: WorkerState, following: WorkerState) -> None:
    with pytest.raises(LifecycleError) as caught:
        move(current, following, worker_id="sdxl-3f9c-1a-0")
    assert str(caught.value).startswith(
        f"sdxl-3f9c-1a-0 is {current.value} and cannot become {following.value}; may become: "
    )


def test_gone_and_listed_again_is_the_same_worker_again_but_never_a_wish() -> None:
    assert move(WorkerState.GONE, WorkerState.READY) is WorkerState.READY
    with pytest.raises(LifecycleError, match="is gone and cannot become wished"):
        move(WorkerState.GONE, WorkerState.WISHED)


def test_nothing_becomes_a_wish_again() -> None:
    assert all(WorkerState.WISHED not in following for following in TRANSITIONS.values())


def test_a_worker_that_is_being_terminated_never_serves_again() -> None:
    assert TRANSITIONS[WorkerState.TERMINATING].isdisjoint(SUPPLY)


@pytest.mark.parametrize("target", [WorkerState.FAILED, WorkerState.LOST, WorkerState.GONE], ids=name)
@pytest.mark.parametrize("current", [state for state in WorkerState if state is not WorkerState.GONE], ids=name)
def test_failed_lost_and_gone_are_reachable_from_any_state_but_gone(current: WorkerState, target: WorkerState) -> None:
    assert move(current, target) is target


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(WorkerState)


def test_supply_is_who_serves_or_is_on_the_way_to_it() -> None:
    assert JOINING | {WorkerState.READY} == SUPPLY


def test_the_table_cannot_be_changed_while_running() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[WorkerState.GONE] = frozenset({WorkerState.READY})  # type: ignore[index]
