"""When a fleet's turns were taken, and what that says of workers that came between two of them. Pure.

No fleet takes its turns exactly at its interval: runs begin late, and one that finds a young claim is skipped. What is
played on a fleet's own past meets the turns of that past.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import TurnFacts
from ebbflow.core.plan import Verb
from ebbflow.core.record import Record
from ebbflow.simulation.past import RecordedLook

LOOKING_SHARE = 0.6
"""Of the time from a turn's beginning to its claim, what has passed when it has seen its master's queue. Storing the
record and claiming it come after that; the server's clock, by which turns begin, is behind by half a second."""
TURNS_TO_LEAVE = 2.0
"""A turn marks a worker, the next one ends it, and the one after that sees it gone."""
MOST_APART = 3.0
"""Intervals. Where turns were further apart nobody took any, and those that were due are played."""
NOT_MISSED = 0.5
"""Intervals. A turn that was due no longer before the next one is not played beside it."""


def serving_since(before: Record, after: Record, *, noted_at: float, was_launched: bool) -> tuple[float, bool]:
    """Since when workers serve that the later of two records is the first to show ready.

    A turn waits for whom it launched or found started, and notes what came of it when all that it does is done.

    Args:
        before: of the earlier turn.
        after: of the later one.
        noted_at: when it was noted what came of the earlier one; no later than its claim: it was not.
        was_launched: the earlier turn launched them itself.

    Returns:
        Epoch seconds, and whether they are sure; else they are the best guess.
    """
    looked_at = before.turn.at_seconds
    passed = max(0.0, after.turn.at_seconds - looked_at)
    acts_at = looked_at + min(after.turn.look_seconds, passed)
    ends_at = looked_at + min(before.turn.budget_seconds, passed)
    if acts_at < noted_at < looked_at + passed:
        if _only_waited_for_them(before, after):
            return noted_at, True
        ends_at = min(ends_at, noted_at)
    acts_seconds = max(0.0, ends_at - acts_at)
    if was_launched or not passed:
        return acts_at + acts_seconds / 2, False
    # Who was ready before the turn acted serves as soon as it does; who was not, at any time while it waits.
    return acts_at + acts_seconds**2 / (2 * passed), False


def _only_waited_for_them(before: Record, after: Record) -> bool:
    """Whether nothing that a turn did can have lasted longer than its registrations."""
    plan = before.plan
    if any(action.verb not in (Verb.LAUNCH, Verb.REGISTER) for action in plan.actions):
        return False
    awaited = {action.worker_id for action in plan.actions}
    ready = {worker.worker_id for worker in after.memory.workers if worker.state is WorkerState.READY}
    return awaited <= ready


def looked_after(after: TurnFacts) -> float:
    """How long the turn before this one had been going on when it saw what it decided on."""
    return LOOKING_SHARE * after.look_seconds


def turns_as_taken(
    looked_at: Sequence[float],
    *,
    recorded_interval_seconds: float,
    interval_seconds: float,
    least_apart_seconds: float,
) -> tuple[float, ...]:
    """When a fleet with some interval takes its turns in the time of recorded ones.

    Args:
        looked_at: when the recorded turns looked, the oldest first.
        recorded_interval_seconds: of the fleet that took them.
        interval_seconds: of the fleet that is played: with the same, its turns are the recorded ones; with another,
            they are late by the same share.
        least_apart_seconds: of the fleet that is played: what comes sooner is skipped, as a deployed turn is that finds
            a young claim.
    """
    close = [
        apart
        for before, after in pairwise(looked_at)
        if 0 < (apart := after - before) <= MOST_APART * recorded_interval_seconds
    ]
    if not close:
        return ()
    if interval_seconds != recorded_interval_seconds:
        step = max(1.0, fmean(close) / recorded_interval_seconds) * interval_seconds
        count = int((looked_at[-1] - looked_at[0]) / step)
        return tuple(looked_at[0] + step * place for place in range(count + 1))
    taken = [looked_at[0]]
    for at in looked_at[1:]:
        if at - taken[-1] > MOST_APART * interval_seconds:
            missed = int((at - taken[-1]) / interval_seconds - NOT_MISSED)
            taken.extend([taken[-1] + interval_seconds * place for place in range(1, missed + 1)])
        if at - taken[-1] >= least_apart_seconds:
            taken.append(at)
    return tuple(taken)


def turns_of_looks(
    looks: Sequence[RecordedLook],
    *,
    begins_at: float,
    recorded_interval_seconds: float,
    interval_seconds: float,
    least_apart_seconds: float,
) -> tuple[float, ...]:
    """When a fleet with some interval takes its turns in a past, in seconds since `begins_at`; empty: nobody can say.

    Args:
        looks: all of that past, the oldest first.
        begins_at: epoch seconds.
        recorded_interval_seconds: of the fleet that took them.
        interval_seconds: of the fleet that is played.
        least_apart_seconds: the same.
    """
    looked_at = [look.at_seconds + look.looked_after_seconds for look in looks if look.at_seconds >= begins_at]
    taken = turns_as_taken(
        looked_at,
        recorded_interval_seconds=recorded_interval_seconds,
        interval_seconds=interval_seconds,
        least_apart_seconds=least_apart_seconds,
    )
    return tuple(at - begins_at for at in taken)


def led_in(
    turns_at: Sequence[float], *, lead_seconds: float, interval_seconds: float, until: float
) -> tuple[float, ...]:
    """The same turns so much later, with those before them and after them until some time, an interval apart."""
    if not turns_at:
        return ()
    first, last = turns_at[0] + lead_seconds, turns_at[-1] + lead_seconds
    before = [first - interval_seconds * place for place in range(int(first // interval_seconds), 0, -1)]
    count = max(0, int((until - last) / interval_seconds))
    after = [last + interval_seconds * place for place in range(1, count + 1)]
    return (*before, *(at + lead_seconds for at in turns_at), *after)
