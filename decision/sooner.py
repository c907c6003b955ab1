"""Whether a turn more is worth its while before the next one is due. Pure."""

from collections.abc import Sequence

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.worker import Worker
from ebbflow.decision.rules import Rules

HOLDING = frozenset({OverrideKind.PAUSE, OverrideKind.WIND_DOWN})
"""Under these nobody is launched, whatever waits."""


def waits(demand: Demand) -> bool:
    """Whether any work waits for a worker. Where nobody knows, it is not said to."""
    return demand.complete and (demand.queued > 0 or (demand.waiting or 0) > 0)


def can_change(rules: Rules, workers: Sequence[Worker], overrides: Sequence[Override]) -> bool:
    """Whether a turn can do anything for work that waits, or see anything come of what was done.

    Args:
        rules: of the fleet.
        workers: as this turn leaves them, with those whom it launches.
        overrides: in force.
    """
    if any(held.kind in HOLDING for held in overrides):
        return False
    there = [worker for worker in workers if worker.may_exist]
    serving = sum(worker.state is WorkerState.READY for worker in there)
    return serving < len(there) or has_room(rules, serving)


def has_room(rules: Rules, serving: int) -> bool:
    """Whether a fleet of so many workers, all of which serve, may have more."""
    return serving < min(rules.limits.max_workers, sum(entry.max_workers for entry in rules.providers))
