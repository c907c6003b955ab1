"""Which wanted workers are there already, by what they must be able to do. Pure.

A worker counts for one want. The most demanding wants choose first, each taking the least able worker that fits, so
that those who can do more are left for what needs them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ebbflow.core.capabilities import amounts, fits
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker


def is_typed(wants: Sequence[Want] | None) -> bool:
    """Whether any want says what its workers must be able to do."""
    return any([want.capabilities for want in wants or ()])


def missing(wants: Sequence[Want], workers: Sequence[Worker]) -> tuple[Want, ...]:
    """What of the wants no worker fills, in the order of the wants.

    Args:
        wants: by capability set.
        workers: those that are supply.
    """
    return missing_of(wants, Counter(worker.capabilities for worker in workers))


def missing_of(wants: Sequence[Want], kinds: Mapping[tuple[str, ...], int]) -> tuple[Want, ...]:
    """The same, of so many workers of each capability set."""
    # Of two that are as able, the name decides.
    left = {kind: kinds[kind] for kind in sorted(kinds, key=lambda kind: (_demands(kind), kind))}
    short = {}
    for place in sorted(range(len(wants)), key=lambda place: _demands(wants[place].capabilities), reverse=True):
        lacking = wants[place].count
        for kind, count in left.items():
            if not lacking:
                break
            if count and fits(kind, wants[place].capabilities):
                taken = min(count, lacking)
                left[kind], lacking = count - taken, lacking - taken
        short[place] = lacking
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
    return sum([want.count for want in wants])


def _demands(words: tuple[str, ...]) -> tuple[int, float]:
    """How demanding a set is."""
    return len(words), sum(amounts(words).values())
