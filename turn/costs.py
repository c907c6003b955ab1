"""What fleets have cost, summed from their records. Pure.

The time between two records counts by the state at its beginning, and as long as the fleet's own spending counts it
(`decision.spending`). The shapes below are what `ebbflow costs --json` prints; a name that is there stays there.
"""

from dataclasses import dataclass
from enum import Enum

SECONDS_PER_HOUR = 3600.0


class By(Enum):
    """What each row of the sum is of."""

    FLEET = "fleet"
    """A whole fleet."""
    WORKER = "worker"
    """A worker; what was kept warm counts for the worker whose id it still carries."""
    PROVIDER = "provider"
    """A provider's block."""
    DAY = "day"
    """A day of the local time zone."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One row, or the sum of them. None is unknown, and nothing was added for it."""

    fleet: str
    """Empty in a sum of several."""
    name: str
    """Of the fleet, the worker, the provider or the day; empty in the sum."""
    worker_hours: float
    """Of workers that may exist, as limits count them: from the wish until the provider says that it is gone."""
    gpu_hours: float | None
    """Of those whose provider says how many GPUs they have (`gpu=N` of its capabilities)."""
    unknown_gpu_worker_hours: float
    """The others' hours."""
    ready_hours: float
    idle_hours: float
    """Of those, of workers that were said not to be busy."""
    unknown_busy_hours: float
    """Of those, of workers of which nobody said whether they were busy."""
    idle_share: float | None
    """Idle of ready hours."""
    usd: float | None
    """As far as prices are known; with `storage_usd`, and with what gaps are known to have cost."""
    unpriced_hours: float
    """Of workers and warm instances whose price is unknown."""
    warm_hours: float
    """Of instances that were no workers: kept warm, or one too many."""
    storage_usd: float | None
    """What those cost."""
    gap_usd: float
    """Of `usd`, what the fleet's own sum says of gaps; nobody knows for whom."""
    fixed_worker_hours: float | None
    """`limits.max_workers` for all the time that is known; None where a row is of a part of a fleet."""
    fixed_usd: float | None
    """The same, each at the mean price of an hour of all workers that ran."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time of which no record tells."""

    fleet: str
    began_at: float
    """Epoch seconds, UTC, by the Prefect server's clock."""
    ended_at: float
    why: str
    usd: float | None
    """What the fleet's own sum says of it, and what is in the costs; None: nothing is known and nothing counted."""
    is_whole: bool
    """Whether that is all of it; else it is the least."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was asked for."""

    by: str
    since_at: float
    """Epoch seconds, UTC, by the Prefect server's clock."""
    until_at: float
    """When it was asked; what came after a fleet's last record is not counted."""
    time_zone: str
    """Of the days."""
    rows: tuple[Cost, ...]
    sum: Cost
    gaps: tuple[Gap, ...]
    """Nothing is known of these times, but what each says of its money."""
    is_complete: bool
    """There is no gap."""


@dataclass(slots=True)
class Tally:
    """What is added up for a row, in seconds and USD."""

    known: float = 0.0
    """Time that was counted; in a row of many workers more than has passed."""
    worker: float = 0.0
    gpu: float = 0.0
    unknown_gpu: float = 0.0
    ready: float = 0.0
    idle: float = 0.0
    unknown_busy: float = 0.0
    workers_usd: float = 0.0
    priced: float = 0.0
    unpriced: float = 0.0
    warm: float = 0.0
    warm_priced: float = 0.0
    storage_usd: float = 0.0
    gap_usd: float = 0.0
    has_gap_usd: bool = False
    fixed: float = 0.0
    is_fixed_unknown: bool = False
    ran: float = 0.0
    """Of workers that ran at a known price: what the mean price is taken of."""
    ran_usd: float = 0.0

    def add(self, other: "Tally") -> None:
        """Add what was counted elsewhere."""
        for name in self.__slots__:
            ours, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, ours or theirs if isinstance(ours, bool) else ours + theirs)

    @property
    def mean_usd_per_hour(self) -> float | None:
        """Of workers that ran, as far as prices are known."""
        return self.ran_usd / self.ran * SECONDS_PER_HOUR if self.ran else None

    @property
    def _has_gpus(self) -> bool:
        return self.worker > self.unknown_gpu if self.worker else self.known > 0

    @property
    def _has_storage(self) -> bool:
        return self.warm_priced > 0 if self.warm else self.known > 0

    def cost(self, fleet: str, name: str, *, fixed_usd: float | None = None, is_part: bool = False) -> Cost:
        """The row.

        Args:
            fleet: whose it is.
            name: what it is of.
            fixed_usd: what the fixed fleet would have cost.
            is_part: of a part of a fleet, beside which no fixed fleet can be set.
        """
        # Where it is known that nothing existed, it is known that nothing was paid.
        had_none = self.known > 0 and not self.unpriced
        is_known = self.priced + self.warm_priced > 0 or self.has_gap_usd or had_none
        is_fixed_unknown = is_part or self.is_fixed_unknown or not self.known
        return Cost(
            fleet=fleet,
            name=name,
            worker_hours=_hours(self.worker),
            gpu_hours=_hours(self.gpu) if self._has_gpus else None,
            unknown_gpu_worker_hours=_hours(self.unknown_gpu),
            ready_hours=_hours(self.ready),
            idle_hours=_hours(self.idle),
            unknown_busy_hours=_hours(self.unknown_busy),
            idle_share=round(self.idle / self.ready, 6) if self.ready else None,
            usd=round(self.workers_usd + self.storage_usd + self.gap_usd, 6) if is_known else None,
            unpriced_hours=_hours(self.unpriced),
            warm_hours=_hours(self.warm),
            storage_usd=round(self.storage_usd, 6) if self._has_storage else None,
            gap_usd=round(self.gap_usd, 6),
            fixed_worker_hours=None if is_fixed_unknown else _hours(self.fixed),
            fixed_usd=None if is_fixed_unknown or fixed_usd is None else round(fixed_usd, 6),
        )

    def fixed_usd(self, usd_per_hour: float | None) -> float | None:
        """What the fixed fleet would have cost at a price."""
        return None if usd_per_hour is None else self.fixed / SECONDS_PER_HOUR * usd_per_hour


def _hours(seconds: float) -> float:
    return round(seconds / SECONDS_PER_HOUR, 6)
