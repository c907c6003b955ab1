"""The rules of opengris-scaler 2.9.0 in its own terms: what a manager is told to have, by capability set. Pure.

Source: opengris-scaler 2.9.0, `scaler/scheduler/controllers/policies/` (vanilla, capability). Each
heartbeat of a worker manager is answered with all that it should have, a list of (capabilities, count). With `LIBRARY`
each function answers as the library does; what `CORRECTED` changes is said in `corrections`.
"""

import math
from collections.abc import Sequence

from ebbflow.core.capabilities import fits
from ebbflow.core.plan import Want
from ebbflow.policies.formulas.corrections import CORRECTED, Corrections
from ebbflow.policies.formulas.needs import Need, merged, names


def vanilla(
    tasks: int | None,
    workers: int,
    own: int,
    most: int,
    *,
    upper: float = 10.0,
    lower: float = 1.0,
    starting: int = 0,
    corrections: Corrections = CORRECTED,
) -> int | None:
    """How many workers one manager should have; None: no opinion.

    Args:
        tasks: T; None: unknown.
        workers: W, over all managers.
        own: connected workers of this manager.
        most: its `maxTaskConcurrency`; -1: unlimited.
        upper: tasks per worker above which one more is wanted.
        lower: tasks per worker below which only T / upper are wanted.
        starting: launches of this manager in flight.
        corrections: which of our corrections hold.
    """
    if tasks is None and corrections.unknown_holds:
        return None
    known = tasks or 0
    serving, have = (workers + starting, own + starting) if corrections.count_starting else (workers, own)
    wanted = have
    if serving == 0:
        wanted += known > 0
    elif known / serving > upper:
        wanted += 1
    elif known / serving < lower:
        wanted = _fewer(known, serving, have, upper, corrections)
    cap = allowed(most, corrections)
    return max(0, wanted if cap is None else min(wanted, cap))


def _fewer(tasks: int, workers: int, own: int, upper: float, corrections: Corrections) -> int:
    target = max(1, math.ceil(tasks / upper)) if tasks else 0
    if not corrections.step_down:
        return target
    # The target is of all managers together: each has its share, rounded up, and goes there in single steps.
    return max(own - 1, math.ceil(target * own / workers))


def targets(
    tasks: Sequence[Need], *, upper: float, counts_all: bool = False, corrections: Corrections = CORRECTED
) -> tuple[Want, ...]:
    """max(1, ceil(n / upper)) workers for each kind of task, in order of first appearance.

    Args:
        tasks: what unfinished tasks require.
        upper: tasks per worker.
        counts_all: as `waterfall_v1`: a want without capabilities comes first, in the library over all tasks.
        corrections: which of our corrections hold.
    """
    key = frozenset if corrections.compare_amounts else names
    counts: dict[frozenset[str], int] = {}
    first: dict[frozenset[str], tuple[str, ...]] = {}
    needs = merged(tasks)
    for need in needs:
        kind = key(need.capabilities)
        first.setdefault(kind, need.capabilities)
        counts[kind] = counts.get(kind, 0) + need.count
    if not counts_all:
        return tuple(Want(first[kind], _target(count, upper)) for kind, count in counts.items())
    plain = counts.pop(frozenset(), 0)
    generic = plain if corrections.count_once else sum(need.count for need in needs)
    return (
        Want((), _target(generic, upper)),
        *(Want(first[kind], _target(count, upper)) for kind, count in counts.items()),
    )


def capability(
    tasks: Sequence[Need] | None,
    most: int,
    *,
    offers: tuple[str, ...] = (),
    upper: float = 5.0,
    corrections: Corrections = CORRECTED,
) -> tuple[Want, ...] | None:
    """What one manager is asked for; workers that exist play no part. None: no opinion.

    Args:
        tasks: what unfinished tasks require, in order of first appearance; None: unknown.
        most: the manager's `maxTaskConcurrency`; -1: unlimited.
        offers: the manager's capabilities, which the library does not look at here.
        upper: tasks per worker.
        corrections: which of our corrections hold.
    """
    if tasks is None and corrections.unknown_holds:
        return None
    wanted = targets(tasks or (), upper=upper, corrections=corrections)
    cap = allowed(most, corrections)
    if cap is None:
        return wanted
    asked: list[Want] = []
    for want in wanted:
        asked.append(Want(want.capabilities, min(want.count, cap)))
        if corrections.count_once and fits(offers, want.capabilities):
            cap -= asked[-1].count
    return tuple(asked)


def concurrency(requests: Sequence[Want], offers: tuple[str, ...], *, corrections: Corrections = CORRECTED) -> int:
    """The number that a manager makes of its requests: the sum over those that it can serve.

    Args:
        requests: what it is asked for.
        offers: its capabilities.
        corrections: which of our corrections hold.
    """
    if corrections.compare_amounts:
        return sum(want.count for want in requests if fits(offers, want.capabilities))
    return sum(want.count for want in requests if set(want.capabilities) <= set(offers))


def _target(count: int, upper: float) -> int:
    return max(1, math.ceil(count / upper)) if count else 0


def allowed(most: int, corrections: Corrections) -> int | None:
    """A manager's cap; None: unlimited.

    Raises:
        ValueError: a negative number that is not -1.
    """
    if most < -1 and corrections.read_minus_one:
        raise ValueError(f"a cap of {most}: expected -1 for unlimited, 0 or more")
    return None if most == -1 else most
