"""How many requests a worker serves at the same time, as a fleet's records show it. Pure.

A record holds one look at the master's queue and one at its members, a moment apart, so single looks may say one
request too many or too few; the middle of several does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.worker import Worker

LEAST_LOOKS = 3
"""So many looks with a queue say what fits into a worker; with fewer the other looks speak too."""


@dataclass
class AtOnce:
    """Requests in service for each worker that had some, look by look."""

    full: list[float] = field(default_factory=list)
    """While something waited, so that no more fitted in."""
    busy: list[float] = field(default_factory=list)
    """While nothing did."""

    def see(self, demand: Demand, workers: Iterable[Worker]) -> None:
        """Take one look. One that does not know the demand, or at nobody who works, says nothing."""
        ready = [worker for worker in workers if worker.state is WorkerState.READY and worker.busy is not None]
        busy = sum(worker.busy is True for worker in ready)
        if not demand.complete or not busy or not demand.running:
            return
        if demand.queued and busy == len(ready):
            self.full.append(demand.running / busy)
        elif not demand.queued:
            self.busy.append(demand.running / busy)

    @property
    def count(self) -> int:
        """How many requests a worker is played with."""
        seen = self.full if len(self.full) >= LEAST_LOOKS else [*self.full, *self.busy]
        return max(1, round(median(seen))) if seen else 1

    @property
    def is_seen_full(self) -> bool:
        """Whether enough looks had a queue: otherwise more may fit into a worker than it was ever given."""
        return len(self.full) >= LEAST_LOOKS

    @property
    def note(self) -> str:
        """What a person has to know of it; empty where a worker serves one at a time."""
        if self.count == 1:
            return ""
        least = "" if self.is_seen_full else "; so little ever waited that more may fit into one"
        return f"workers are played with {self.count} requests at once each, as recorded{least}"
