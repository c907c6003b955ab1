"""Which wanted workers are there already, by what they must be able to do; and what the limits make of it."""

from collections.abc import Sequence

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.core.worker import Worker
from ebbflow.decision.coverage import first_of, missing
from ebbflow.decision.limits import Bounded, Limits, apply

CALM = Limits(max_workers=20, min_seconds_between_stops=0)
PLAIN: tuple[str, ...] = ()
GPU, BIG = ("gpu",), ("gpu=8",)


def workers(*sets: Sequence[str]) -> tuple[Worker, ...]:
    return tuple(
        Worker(f"w-{index}", "slurm/a", WorkerState.READY, tuple(able), busy=False, idle_seconds=900.0)
        for index, able in enumerate(sets)
    )


def wants(*pairs: tuple[tuple[str, ...], int]) -> tuple[Want, ...]:
    return tuple(Want(words, count) for words, count in pairs)


@pytest.mark.parametrize(
    ("wanted", "there", "lacking"),
    [
        (wants((PLAIN, 2)), workers(PLAIN), wants((PLAIN, 1))),
        (wants((PLAIN, 1)), workers(GPU), ()),
        (wants((GPU, 1)), workers(PLAIN), wants((GPU, 1))),
        (wants((GPU, 2)), workers(BIG, PLAIN), wants((GPU, 1))),
        (wants((PLAIN, 1), (GPU, 1)), workers(GPU, PLAIN), ()),
        (wants((PLAIN, 1), (GPU, 1), (BIG, 1)), workers(BIG, GPU), wants((PLAIN, 1))),
        (wants((PLAIN, 3), (GPU, 2)), workers(GPU, GPU, GPU), wants((PLAIN, 2))),
        ((), workers(GPU), ()),
    ],
)
def test_the_most_demanding_choose_first_and_take_the_least_able(
    wanted: tuple[Want, ...], there: tuple[Worker, ...], lacking: tuple[Want, ...]
) -> None:
    assert missing(wanted, there) == lacking


def test_the_first_wants_are_kept_where_there_is_room_for_fewer() -> None:
    assert first_of(wants((PLAIN, 2), (GPU, 2)), 3) == wants((PLAIN, 2), (GPU, 1))
    assert first_of(wants((PLAIN, 2)), 0) == ()


def bounded(wanted: tuple[Want, ...], there: tuple[Worker, ...], limits: Limits = CALM) -> Bounded:
    return apply(Decision(wanted, "x"), Observation(Demand(), there), limits)


@pytest.mark.parametrize(
    ("wanted", "there", "limits", "launched", "stopped"),
    [
        (wants((GPU, 2)), workers(), CALM, wants((GPU, 2)), 0),
        (wants((GPU, 1), (PLAIN, 1)), workers(PLAIN, PLAIN), CALM, wants((GPU, 1)), 1),
        (wants((GPU, 1)), workers(GPU, GPU), CALM, (), 1),
        (wants((GPU, 4)), workers(), Limits(max_workers=3), wants((GPU, 3)), 0),
        (wants((GPU, 1)), workers(PLAIN), Limits(max_workers=1, min_seconds_between_stops=0), (), 1),
        (wants((GPU, 1)), workers(), Limits(min_workers=3), wants((GPU, 1), (PLAIN, 2)), 0),
        (wants((GPU, 1)), workers(PLAIN, PLAIN), Limits(min_workers=3), wants((GPU, 1)), 0),
        (wants((GPU, 0)), workers(GPU), CALM, (), 1),
    ],
    ids=["up", "swapped", "down", "capped", "makes room", "floor", "floor of others", "none"],
)
def test_launched_is_what_is_missing_and_stopped_what_cannot_do_it(
    wanted: tuple[Want, ...],
    there: tuple[Worker, ...],
    limits: Limits,
    launched: tuple[Want, ...],
    stopped: int,
) -> None:
    answer = bounded(wanted, there, limits)
    assert (answer.missing, answer.stops) == (launched, stopped), answer
    assert answer.launches == sum(want.count for want in launched)
