"""Everything known at one instant: the inputs as they came in, and the observation that policies decide on."""

from dataclasses import dataclass

from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps, MemberList
from ebbflow.core.memory import Memory, OverrideKind, RecentClaim
from ebbflow.core.plan import Outcome
from ebbflow.core.worker import Worker


@dataclass(frozen=True, slots=True)
class ProviderLook:
    """One provider as this turn found it."""

    provider: str
    """Block reference."""
    caps: ProviderCaps
    listing: InstanceList


@dataclass(frozen=True, slots=True)
class ScaleRequest:
    """What a scale-up or scale-down run asks for, before it becomes an absolute override."""

    key: str
    """The id of the flow run."""
    kind: OverrideKind
    owner: str
    reason: str
    hold_seconds: float
    count: int = 0
    """More or fewer than now; where `is_absolute`, the number itself."""
    worker_ids: tuple[str, ...] = ()
    force: bool = False
    is_absolute: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a decision is made from, and nothing else; stored in the record, so that the decision can be replayed."""

    fleet: str
    home: str
    chain: str
    number: int
    """The claim this turn goes for."""
    elapsed_seconds: float
    """Since the last claim: at least nothing, at most two intervals."""
    budget_seconds: float
    demand: Demand
    members: MemberList
    master_caps: MasterCaps
    providers: tuple[ProviderLook, ...]
    """In order of preference; removed providers that may still hold workers come last."""
    memory: Memory
    """As the last record left it, not yet aged."""
    head: RecentClaim | None = None
    """The claim that this turn follows; None in a new chain."""
    outcomes: tuple[Outcome, ...] = ()
    """Notes of earlier claims that no turn has read yet."""
    noted: tuple[int, ...] = ()
    """The claims whose notes these are."""
    manager: str = ""
    """The deployment that runs this turn of `autoscale`; empty for a scale request and for ad-hoc runs."""
    request: ScaleRequest | None = None
    broken: str = ""
    """Why the memory of the head could not be used; everything is adopted then."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees."""

    demand: Demand
    workers: tuple[Worker, ...]
    seconds_since_start: float | None = None
    seconds_since_stop: float | None = None

    def count(self, *states: WorkerState) -> int:
        """How many workers are in any of these states."""
        return sum(worker.state in states for worker in self.workers)

    @property
    def supply(self) -> int:
        """Workers that serve or start: wished, pending, starting and ready, without a mark."""
        return sum(worker.is_supply for worker in self.workers)

    @property
    def existing(self) -> int:
        """Workers that may exist: everything that is not known to be gone."""
        return sum(worker.may_exist for worker in self.workers)
