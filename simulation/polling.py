"""Looks at the queue alone, between turns, as `ebbflow runner` takes them. Pure.

A poll decides nothing. One that sees work wait, where the one before saw none, asks for a turn if that can do anything
(`flows.polling`). So only those have to be played that come while work waits, and the one after them.
"""

import math
import sys
from dataclasses import dataclass

NEVER = sys.float_info.max
"""After the end of every run, and before what does not come at all."""


@dataclass(frozen=True, slots=True)
class Polls:
    """The polls after a turn."""

    every_seconds: float
    apart_seconds: float
    """So long after the beginning of that turn the one comes at the soonest that a poll asks for."""
    may_ask: bool = True
    """Whether another turn can do anything for work that waits, as that turn left the fleet."""


class Polling:
    """The polls of one run; they come at whole multiples of their interval."""

    __slots__ = ("_polls", "_saw_work_wait", "_turned_at", "at")

    def __init__(self, polls: Polls, turned_at: float) -> None:
        """Begin with a turn that was just taken."""
        self._polls, self._turned_at = polls, turned_at
        self._saw_work_wait = False
        self.at = NEVER
        """When the next poll is that has anything to say; never: nothing waits, and the last one saw that."""

    def take_turn(self, polls: Polls, now: float) -> None:
        """Go on after another turn."""
        self._polls, self._turned_at = polls, now

    def note_waiting(self, now: float) -> None:
        """Work waits: the next poll may see it."""
        if self.at == NEVER:
            every = self._polls.every_seconds
            self.at = max(now, math.ceil(now / every) * every)

    def look(self, *, is_waiting: bool) -> float:
        """Take the poll that is due.

        Returns:
            When it wants a turn; never: it asks for none.
        """
        now, begins = self.at, is_waiting and not self._saw_work_wait
        self._saw_work_wait = is_waiting
        self.at = now + self._polls.every_seconds if is_waiting else NEVER
        if not begins or not self._polls.may_ask:
            return NEVER
        return max(now, self._turned_at + self._polls.apart_seconds)
