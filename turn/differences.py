"""In what two plain values differ, place by place."""

from collections.abc import Iterator
from dataclasses import dataclass

from ebbflow.core.canonical import Plain
from ebbflow.core.text import one_line

MOST_TOLD = 12
"""Of what has changed, one by one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two values are not the same; None stands for nothing as well."""

    where: str
    """`limits.max_workers`, `actions[2].reason`; empty: the whole."""
    first: Plain
    second: Plain


def differences(first: Plain, second: Plain) -> tuple[Difference, ...]:
    """Every place at which they differ, in the order of the keys."""
    return tuple(_between(first, second, ""))


def became(before: Plain, after: Plain) -> tuple[str, ...]:
    """What is not as it was, in words: `limits.max_workers: 4 became 8`."""
    found = differences(before, after)
    lines = [f"{each.where}: {_short(each.first)} became {_short(each.second)}" for each in found[:MOST_TOLD]]
    return (*lines, *([f"and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []))


def _short(value: Plain) -> str:
    return "nothing" if value is None else one_line(value, 80)


def _between(first: Plain, second: Plain, where: str) -> Iterator[Difference]:
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted({*first, *second}):
            yield from _between(first.get(name), second.get(name), f"{where}.{name}" if where else name)
    elif isinstance(first, list) and isinstance(second, list):
        for place in range(max(len(first), len(second))):
            ours, theirs = (each[place] if place < len(each) else None for each in (first, second))
            yield from _between(ours, theirs, f"{where}[{place}]")
    elif type(first) is not type(second) or first != second:
        yield Difference(where, first, second)
