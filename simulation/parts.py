"""A fleet played on its past, told by stretches of time, so that it is seen how much the figures go up and down."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ebbflow.fleet.model import Fleet
from ebbflow.simulation.books import Books, books_of
from ebbflow.simulation.policy_faults import PolicyFaults
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import OwnPast, Stage, stage_of

DAY_SECONDS = 86_400.0
MOST_PARTS = 14
LEAST_DAYS = 7
"""In so many each can be a part of its own."""
PARTS_OF_A_SHORT_PAST = 8
"""Where it is shorter than that. Of a few parts chance alone may make nearly every difference."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a past, in epoch seconds."""

    begin: float
    end: float

    @property
    def days(self) -> float:
        """How long it is."""
        return (self.end - self.begin) / DAY_SECONDS


@dataclass(frozen=True, slots=True)
class PlayedOnce:
    """One play: the whole of the time that counts, and each part of it."""

    whole: Books
    parts: tuple[Books, ...]
    faults: PolicyFaults


def parts_of(past: OwnPast) -> tuple[Part, ...]:
    """Equal parts of the time that counts: about a day each, where it has days enough.

    Raises:
        TraceError: there is no such time.
    """
    seconds = past.until - past.counts_from
    if seconds <= 0:
        raise TraceError("own past: the time that counts is empty")
    # The last week is a little less than one, since its first and its last turn are within it.
    days = round(seconds / DAY_SECONDS)
    count = min(days, MOST_PARTS) if days >= LEAST_DAYS else PARTS_OF_A_SHORT_PAST
    cuts = [past.counts_from + seconds * place / count for place in range(count)]
    return tuple(Part(begin, end) for begin, end in pairwise((*cuts, past.until)))


def check_order(past: OwnPast) -> None:
    """Refuse looks that do not follow each other.

    Raises:
        TraceError: names the first one.
    """
    for place, (before, after) in enumerate(pairwise(past.known), 2):
        if after.at_seconds < before.at_seconds:
            raise TraceError(
                f"own past: look {place} is {before.at_seconds - after.at_seconds:.0f} s older than the one before it: "
                "the clock of the Prefect server was set back; a past that begins after that can be played"
            )


def counters_that_fell(past: OwnPast) -> int:
    """How often the master's counters went back: it was started anew, and counted from nothing."""
    return sum(
        any(
            old is not None and new is not None and new < old
            for old, new in ((one.demand.arrived, two.demand.arrived), (one.demand.served, two.demand.served))
        )
        for one, two in pairwise(past.known)
    )


def stage_for(past: OwnPast, fleet: Fleet) -> Stage:
    """As `stage_of`, of a past whose looks follow each other.

    Raises:
        TraceError: they do not, or nothing can be played.
    """
    check_order(past)
    return stage_of(past, fleet)


def play_parts(stage: Stage, parts: Sequence[Part], seed: int) -> PlayedOnce:
    """Play a fleet once, with this luck, and read its books part by part."""
    world, faults = stage.play(seed)

    def read(begin: float, end: float) -> Books:
        # To the very second: what comes at the end of all time belongs to it.
        until = world.horizon if end == parts[-1].end else stage.world_seconds(end)
        return books_of(world, stage.world_seconds(begin), until)

    return PlayedOnce(read(parts[0].begin, parts[-1].end), tuple(read(each.begin, each.end) for each in parts), faults)
