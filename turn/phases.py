"""A worker's life in short: where it only worked and rested by turns, that is one line with how long it did each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ebbflow.turn.lives import WORK, LifeEvent, LifeTold

MOST_PHASES = 6
"""In a row that are told one by one."""
PHASES = frozenset({WORK[True], WORK[False]})


def in_short(life: LifeTold) -> LifeTold:
    """The same life, with many phases of work and rest in a row told as one event."""
    events = list(life.events)
    ends_at = [*(event.at_seconds for event in events[1:]), None]
    lasting = list(zip(events, ends_at, strict=True))
    short: list[LifeEvent] = []
    for is_phase, group in groupby(lasting, key=lambda each: each[0].what in PHASES):
        found = list(group)
        short += _together(found) if is_phase and len(found) > MOST_PHASES else [event for event, _ in found]
    return replace(life, events=tuple(short))


Lasting = tuple[LifeEvent, float | None]


def _together(phases: Sequence[Lasting]) -> Iterator[LifeEvent]:
    """All phases but the last, of which nobody knows how long it lasts, as one event."""
    *over, (last, _) = phases
    seconds = dict.fromkeys((WORK[True], WORK[False]), 0.0)
    for event, ends_at in over:
        seconds[event.what] += (ends_at or event.at_seconds) - event.at_seconds
    first = over[0][0]
    why = f"{len(over)} phases: " + ", ".join(f"{what} {total:.0f} s" for what, total in seconds.items())
    yield replace(first, what="busy and idle", why=why, turns=len(over), until_seconds=last.at_seconds)
    yield last
