"""Turns in which a policy gave no answer, in a run that goes on all the same, as a deployed fleet does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Faults:
    """Turns in which a policy raised, or answered what is no number of workers: its fleet was held in them."""

    failed: int = 0
    turns: int = 0
    """All of them."""
    first: str = ""
    """What went wrong first."""
    first_at_seconds: float = 0.0

    def __str__(self) -> str:
        """A sentence for a table."""
        return f"no answer in {self.failed} of {self.turns} turns, in which the fleet was held: {self.first}"

    @property
    def prevail(self) -> bool:
        """Whether the run shows what holding does more than what the policy does."""
        return 2 * self.failed > self.turns


NO_FAULTS = Faults()
"""Of a driver that is no fleet, as all baselines are."""


def all_faults(runs: Sequence[Faults]) -> Faults:
    """Over seeds; what went wrong first is that of the first run in which anything did."""
    first = next((faults for faults in runs if faults.failed), NO_FAULTS)
    return replace(first, failed=sum(faults.failed for faults in runs), turns=sum(faults.turns for faults in runs))
