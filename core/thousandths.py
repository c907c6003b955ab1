"""Numbers in whole thousandths, in which durations are kept, and by how much a row of them grew."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median_low

from ebbflow.core.canonical import Plain
from ebbflow.core.errors import RecordError

MOST_MS = 10**15
"""Up to here a float tells every thousandth from the next."""


def in_ms(value: Plain) -> int | None:
    """A number in thousandths, where that is exact and it is written as `from_ms` writes it; else None."""
    if type(value) is int:
        return 1000 * value if abs(value) <= MOST_MS // 1000 else None
    if type(value) is not float or not abs(value) <= MOST_MS / 1000:
        return None
    found = round(1000 * value)
    return found if found % 1000 and found / 1000 == value else None


def from_ms(ms: int) -> int | float:
    """The number, as canonical JSON has it."""
    return ms / 1000 if ms % 1000 else ms // 1000


def tell_shifts(shifts: Sequence[int]) -> dict[str, Plain]:
    """`ms`: by how much all grew; `ms_each`: what is beside that, in order, where it is not the same."""
    usual = median_low(shifts)
    if all(shift == usual for shift in shifts):
        return {"ms": usual}
    each: list[Plain] = []
    for beside, run in groupby(shift - usual for shift in shifts):
        times = len(list(run))
        each.append(beside if times == 1 else [times, beside])
    return {"ms": usual, "ms_each": each}


def each_of(told: Sequence[Plain], length: int) -> list[int]:
    """What `ms_each` says of so many numbers.

    Raises:
        RecordError: it does not say it of so many.
    """
    found: list[int] = []
    for item in told:
        times, number = item if isinstance(item, list) and len(item) == 2 else (1, item)
        times = whole_number(times, least=1)
        if times > length - len(found):
            raise wrong(item)
        found += [whole_number(number)] * times
    if len(found) != length:
        raise wrong(len(found))
    return found


def whole_number(value: Plain, *, least: int = -2 * MOST_MS) -> int:
    """The value, where it is a whole number of no absurd size.

    Raises:
        RecordError: it is not.
    """
    if type(value) is not int or not least <= value <= 2 * MOST_MS:
        raise wrong(value)
    return value


def wrong(value: Plain) -> RecordError:
    """What is said of a change that does not fit."""
    # What is nested is not spelled out: it may be so without end.
    shown = ", ".join(list(value)[:5]) if isinstance(value, dict) else len(value) if isinstance(value, list) else value
    return RecordError(f"its change does not fit, at {str(shown)[:80]!r}")
