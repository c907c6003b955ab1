"""Searches that go on for as long as somebody has time: `make endurance HOURS=0.5`."""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HOURS = "EBBFLOW_ENDURANCE_HOURS"
TEN_MINUTES = 1 / 6
PROGRESS_SECONDS = 60.0


def hours() -> float:
    """How long each search goes on.

    Raises:
        ValueError: it is no number above zero.
    """
    said = os.environ.get(HOURS) or str(TEN_MINUTES)
    try:
        found = float(said)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"HOURS is {said!r}: give a number above 0; 0.5 is half an hour")
    return found


@dataclass
class Endurance:
    """One search that tries something new until its time is over, and says how far it is."""

    say: Callable[[str], None]
    name: str
    seconds: float
    clock: Callable[[], float] = time.monotonic
    seed: int = field(default_factory=lambda: random.SystemRandom().randrange(2**32))

    def rounds(self) -> Iterator[random.Random]:
        """Randomness for each round. The seed is said first, so that a run can be repeated."""
        rng, began = random.Random(self.seed), self.clock()
        done, said_at = 0, began
        self.say(f"{self.name}: seed {self.seed}, for {self.seconds:.0f} s")
        while (now := self.clock()) - began < self.seconds:
            if now - said_at >= PROGRESS_SECONDS:
                said_at = now
                self.say(f"{self.name}: {done} rounds in {now - began:.0f} s")
            yield rng
            done += 1
        self.say(f"{self.name}: {done} rounds, nothing found")
