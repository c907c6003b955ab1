"""Which rows of a list are rows of the list before, so that a row more or less makes none of the others new."""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from itertools import pairwise

from ebbflow.core.canonical import Plain

NAMED_BY = ("worker_id", "instance_id", "master_ref", "key", "machine", "number", "provider")
"""Fields by which an object is the same one, also when all else of it changed; the first that it has."""


def align(before: Sequence[Plain], now: Sequence[Plain]) -> list[tuple[int, int]]:
    """Places of the same rows, before and now: as many as can be had in the order of both."""
    places: dict[Hashable, deque[int]] = defaultdict(deque)
    for place, row in enumerate(before):
        places[_identity(row)].append(place)
    found = []
    for place, row in enumerate(now):
        if known := places.get(_identity(row)):
            found.append((known.popleft(), place))
    return _in_order(found)


def _identity(row: Plain) -> Hashable:
    if isinstance(row, list):
        return list
    if not isinstance(row, dict):
        return type(row), row
    for field in NAMED_BY:
        name = row.get(field)
        if isinstance(name, str | int):
            return field, name
    return dict


def _in_order(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of the pairs in which the first numbers rise; the second ones rise anyway."""
    if all(one[0] < other[0] for one, other in pairwise(pairs)):
        return pairs
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for index, (place, _) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        ends[length:] = [place, *ends[length + 1 :]]
        last[length:] = [index, *last[length + 1 :]]
    rising, index = [], last[-1]
    while index >= 0:
        rising.append(pairs[index])
        index = before[index]
    return rising[::-1]
