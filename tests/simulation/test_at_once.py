"""How many requests a worker is played with follows from what was seen, and not from a single odd look."""

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.worker import Worker
from ebbflow.simulation.at_once import AtOnce

Look = tuple[Demand, int, int]
"""Demand, busy workers, idle ones."""


def seen(*looks: Look) -> AtOnce:
    found = AtOnce()
    for demand, busy, idle in looks:
        found.see(
            demand,
            [Worker(f"w-{place}", "x/a", WorkerState.READY, busy=place < busy) for place in range(busy + idle)],
        )
    return found


@pytest.mark.parametrize(
    ("looks", "count"),
    [
        ([], 1),
        ([(Demand(), 0, 3)], 1),
        ([(Demand(0, 4), 4, 1)] * 5, 1),
        # The master's queue was read a moment before its members.
        ([*[(Demand(2, 4), 4, 0)] * 4, (Demand(2, 5), 4, 0)], 1),
        ([(Demand(5, 8), 2, 0)] * 3, 4),
        # While nothing waits, a worker may have room left.
        ([*[(Demand(0, 2), 2, 0)] * 9, *[(Demand(3, 12), 3, 0)] * 3], 4),
        ([(Demand(0, 6), 3, 0)] * 4, 2),
        # What waits while somebody is idle does not wait for a place.
        ([(Demand(9, 3), 3, 2)] * 5, 1),
        ([(Demand(9, 30, complete=False), 3, 0)] * 5, 1),
    ],
)
def test_a_worker_serves_what_the_middle_look_with_a_queue_shows(looks: list[Look], count: int) -> None:
    assert seen(*looks).count == count


def test_it_is_told_and_so_is_that_more_may_fit_where_little_ever_waited() -> None:
    assert seen((Demand(0, 4), 4, 1)).note == ""
    full = seen(*[(Demand(5, 8), 2, 0)] * 3)
    assert full.note == "workers are played with 4 requests at once each, as recorded"
    assert seen(*[(Demand(0, 6), 3, 0)] * 4).note.endswith("so little ever waited that more may fit into one")
