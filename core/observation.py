"""Everything known at one instant: the inputs as they came in, and the observation that policies decide on."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ebbflow.core.crew import Crew
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.instance import Instance, InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps, MemberList
from ebbflow.core.memory import Memory, OverrideKind, RecentClaim
from ebbflow.core.plan import Outcome, PolicyMemory
from ebbflow.core.worker import Worker


@dataclass(frozen=True, slots=True)
class ProviderLook:
    """One provider as this turn found it."""

    provider: str
    """Its block, as the fleet names it."""
    caps: ProviderCaps
    listing: InstanceList


@dataclass(frozen=True, slots=True)
class MasterLook:
    """The master as this turn found it, beside demand and members."""

    caps: MasterCaps
    takes_urls: bool = True
    """We push the address that a worker announced into it; False: workers join by themselves."""


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
    ends: tuple[str, ...] = ()
    """Of a request that ends overrides: their keys; empty: all that hold."""


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """What a turn knows of itself and of the turns before it. Stored in the record as it is."""

    elapsed_seconds: float
    """Since the last claim: at least nothing, at most two intervals."""
    budget_seconds: float
    look_seconds: float = 0.0
    """From the beginning of the turn before to its claim, its budget at most: it is paid for, and no elapsed time."""
    clock_back_seconds: float = 0.0
    """How much later than now the last claim was made, by the ledger's clock: it was set back since."""
    at_seconds: float = 0.0
    """When, as epoch seconds UTC by the ledger's own clock; for schedules and for nothing else."""
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
class Inputs:
    """What a decision is made from, and nothing else; stored in the record, so that the decision can be replayed."""

    fleet: str
    home: str
    chain: str
    number: int
    """The claim this turn goes for."""
    turn: TurnFacts
    demand: Demand
    members: MemberList
    master: MasterLook
    providers: tuple[ProviderLook, ...]
    """In order of preference; removed providers that may still hold workers come last."""
    memory: Memory
    """As the last record left it, not yet aged."""


def is_ours(instance: Instance, inputs: Inputs, remembered: Container[str]) -> bool:
    """Whether it carries our fleet and home; or no home any more, because marks were rewritten, and an id of ours.

    Such is one that the record knows, or one of this chain: nobody else draws its four characters.
    """
    if instance.fleet != inputs.fleet or instance.home:
        return instance.fleet == inputs.fleet and instance.home == inputs.home
    name = parse_worker_id(instance.worker_id)
    is_of_chain = name is not None and (name.fleet, name.chain) == (inputs.fleet, inputs.chain)
    return is_of_chain or instance.worker_id in remembered


@dataclass(frozen=True, slots=True)
class Spare:
    """An instance of ours that is no worker: kept warm for a later launch, or one too many of a worker id."""

    provider: str
    instance_id: str
    worker_id: str
    """The id that it still carries."""
    is_warm: bool = False
    usd_per_hour: float | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A kind of worker that a provider can launch now."""

    capabilities: tuple[str, ...]
    """What it will be able to do."""
    most: int
    """How many more of it the provider may hold."""


@dataclass(frozen=True, slots=True)
class CanLaunch:
    """What a fleet can launch now, by kind."""

    offers: tuple[Offer, ...]
    """In the order in which its providers are asked."""
    most: int
    """How many more the fleet may hold, of all kinds together."""

    def without(self, launched: Sequence[tuple[str, ...]]) -> "CanLaunch":
        """What is left beside workers that are wanted already, by what they offer."""
        left, offers = list(launched), []
        for offer in self.offers:
            taken = min(offer.most, left.count(offer.capabilities))
            for _ in range(taken):
                left.remove(offer.capabilities)
            offers.append(replace(offer, most=offer.most - taken))
        return CanLaunch(tuple(offers), max(0, self.most - len(launched)))


class DemandCounts(Protocol):
    """Of a demand that is known, what is counted, as `Demand` has it."""

    @property
    def queued(self) -> int:
        """Waits."""
        ...

    @property
    def running(self) -> int:
        """Is served."""
        ...

    @property
    def waiting(self) -> int | None:
        """Finds no worker free."""
        ...

    @property
    def arrived(self) -> int | None:
        """Has come since the master began to count."""
        ...

    @property
    def served(self) -> int | None:
        """Was finished since then."""
        ...


class Counted(Protocol):
    """Of an observation, what is counted: the same as `Observation` has under these names."""

    @property
    def demand(self) -> DemandCounts:
        """Known."""
        ...

    @property
    def elapsed_seconds(self) -> float:
        """Since the turn before."""
        ...

    @property
    def supply(self) -> int:
        """Workers that serve or start."""
        ...

    @property
    def serving(self) -> int:
        """Of those, who serves."""
        ...

    @property
    def idle(self) -> int:
        """Of those, who has no work."""
        ...

    @property
    def joining_seconds(self) -> list[float]:
        """For how long each of the others has been on its way."""
        ...

    def fresh(self, seconds: float) -> int:
        """How many have begun to serve within this time."""
        ...

    def rested(self, seconds: float) -> int:
        """How many have been idle for so long at least."""
        ...

    def eased(self, seconds: float) -> int:
        """How many have gone idle within this time, by having worked before."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees."""

    demand: Demand
    workers: Sequence[Worker]
    """A `Crew`, whatever sequence it is made of."""
    spares: tuple[Spare, ...] = ()
    seconds_since_start: float | None = None
    seconds_since_stop: float | None = None
    at_seconds: float = 0.0
    """Epoch seconds, UTC: what schedules and profiles by the hour are read by. Durations never come from it."""
    elapsed_seconds: float = 0.0
    """Since the decision that `remembered` stems from: at least nothing, at most two intervals."""
    can_launch: CanLaunch | None = None
    """What could come; None: not known."""
    remembered: PolicyMemory = field(default_factory=dict)
    """What the policy's last decision asked to be remembered; empty at first."""
    explains: bool = True
    """Whether anybody reads the reasons; where nobody does, as in most turns of a simulation, their texts may be empty.
    What is wanted and remembered is the same either way."""

    def __post_init__(self) -> None:
        """Count each worker once, however many rules ask."""
        if not getattr(self.workers, "is_crew", False):
            object.__setattr__(self, "workers", Crew(self.workers))

    @property
    def crew(self) -> Crew:
        """The workers, with what is counted of them."""
        return self.workers  # type: ignore[return-value]  # by `__post_init__`; a cast is a call

    def offered(self, can_launch: CanLaunch) -> "Observation":
        """The same, with what could come."""
        # Field by field: `replace` would take four times as long, in every turn of a backtest.
        return Observation(
            self.demand,
            self.workers,
            self.spares,
            self.seconds_since_start,
            self.seconds_since_stop,
            self.at_seconds,
            self.elapsed_seconds,
            can_launch,
            self.remembered,
            self.explains,
        )

    def count(self, *states: WorkerState) -> int:
        """How many workers are in any of these states."""
        return sum(worker.state in states for worker in self.workers)

    @property
    def supply(self) -> int:
        """Workers that serve or start: wished, pending, starting and ready, without a mark."""
        return self.crew.supply

    @property
    def serving(self) -> int:
        """Of the supply, the workers that have joined; the others of it are on their way."""
        return self.crew.serving

    @property
    def idle(self) -> int:
        """Workers that serve and have no work."""
        return self.crew.idle

    @property
    def joining(self) -> tuple[Worker, ...]:
        """Of the supply, the workers that are on their way."""
        return self.crew.joining

    @property
    def joining_seconds(self) -> list[float]:
        """For how long each of those has been on its way."""
        return self.crew.joining_seconds

    def rested(self, seconds: float) -> int:
        """How many of the supply serve and have been idle for so long at least."""
        return self.crew.rested(seconds)

    def fresh(self, seconds: float) -> int:
        """How many of the supply have begun to serve within this time."""
        return self.crew.fresh(seconds)

    def eased(self, seconds: float) -> int:
        """How many serve and have gone idle within this time, by having worked before."""
        return self.crew.eased(seconds)

    @property
    def existing(self) -> int:
        """What may exist and cost money: workers that are not known to be gone, and instances that are no workers."""
        return self.crew.existing + len(self.spares)

    @property
    def warm(self) -> int:
        """Stopped instances that a launch could start."""
        return sum([spare.is_warm for spare in self.spares])

    @property
    def usd_per_hour(self) -> float:
        """What everything that may exist costs, as far as its price is known; a wish counts at its cap."""
        prices = [worker.usd_per_hour for worker in self.workers if worker.may_exist]
        return sum(price or 0.0 for price in (*prices, *(spare.usd_per_hour for spare in self.spares)))
