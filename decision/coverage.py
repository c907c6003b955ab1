"""Which wanted workers are there already, by what they must be able to do. Pure.

A worker counts for one want. The most demanding wants choose first, each taking the least able worker that fits, so
that those who can do more are left for what needs them.
"""

from collections.abc import Sequence

from ebbflow.core.capabilities import amounts, fits
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker


def is_typed(wants: Sequence[Want] | None) -> bool:
    """Whether any want says what its workers must be able to do."""
    return any(want.capabilities for want in wants or ())


def missing(wants: Sequence[Want], workers: Sequence[Worker]) -> tuple[Want, ...]:
    """What of the wants no worker fills, in the order of the wants.

    Args:
        wants: by capability set.
        workers: those that are supply.
    """
    left = sorted(workers, key=lambda worker: _demands(worker.capabilities))
    short = {}
    for place in sorted(range(len(wants)), key=lambda place: _demands(wants[place].capabilities), reverse=True):
        want = wants[place]
        able = [worker for worker in left if fits(worker.capabilities, want.capabilities)][: want.count]
        taken = {id(worker) for worker in able}
        left = [worker for worker in left if id(worker) not in taken]
        short[place] = want.count - len(able)
    return tuple(Want(want.capabilities, short[place]) for place, want in enumerate(wants) if short[place] > 0)


def first_of(wants: Sequence[Want], count: int) -> tuple[Want, ...]:
    """So many of the wanted workers, the first ones first."""
    kept: list[Want] = []
    for want in wants:
        share = min(want.count, count)
        if share > 0:
            kept.append(Want(want.capabilities, share))
            count -= share
    return tuple(kept)


def total(wants: Sequence[Want]) -> int:
    """Workers over all sets."""
    return sum(want.count for want in wants)


def _demands(words: tuple[str, ...]) -> tuple[int, float]:
    """How demanding a set is."""
    return len(words), sum(amounts(words).values())
