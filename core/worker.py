"""One worker, as the fleet's memory carries it from turn to turn."""

from dataclasses import dataclass

from ebbflow.core.instance import Failure, InstanceState
from ebbflow.core.lifecycle import SUPPLY, WorkerState
from ebbflow.core.member import MemberState


@dataclass(frozen=True, slots=True)
class Mark:
    """The durable decision to take a worker out of service. A marked worker is never registered and never supply."""

    number: int
    """The claim that set it; only a later claim may go on, once this one's budget is over."""
    reason: str
    deadline_seconds: float
    """Busy this long after the mark: back into service, unless `forced`."""
    forced: bool = False
    age_seconds: float = 0.0
    urgent: bool = False
    """Its provider ends it, or says so: it may be dead already, and fails what its master gives it."""
    has_notice: bool = False
    """Its provider has said beforehand that it ends it, as at a time limit. A row that calls it failed is none."""
    for_good: bool = False
    """Its fleet ends: nobody comes for what waits, and nothing is held back for that."""

    @property
    def remaining_seconds(self) -> float:
        """Time left until the drain deadline."""
        return max(0.0, self.deadline_seconds - self.age_seconds)


@dataclass(frozen=True, slots=True)
class Worker:
    """One launched GPU instance serving the master, with all that is known of it. All times are durations."""

    worker_id: str
    provider: str
    """The provider's block; empty where only the master knows the worker."""
    state: WorkerState
    capabilities: tuple[str, ...] = ()
    instance_id: str | None = None
    url: str | None = None
    usd_per_hour: float | None = None
    launch_number: int = 0
    """The last claim that may have sent its launch; 0 for an adopted one."""
    state_seconds: float = 0.0
    joining_seconds: float = 0.0
    """Since wished, adopted or last ready: what the launch timeout is compared with."""
    register_turns: int = 0
    """Turns in which its registration was begun."""
    attempts: int = 0
    """Attempts to reach it at its URL that failed, as far as notes told."""
    retries: int | None = None
    """Attempts after the first that its own start asked for; None: the fleet's `readiness.retries`."""
    registered: bool = False
    """The master has shown it at least once."""
    instance: InstanceState | None = None
    """What the provider showed this turn; None where it was not in the list or the list is unknown."""
    member: MemberState | None = None
    """What the master showed this turn; None where it was not listed or the list is unknown."""
    busy: bool | None = None
    idle_seconds: float | None = None
    free: tuple[str, ...] | None = None
    """What of it no work uses, where the master tells this turn; None: it does not."""
    model: str | None = None
    units_per_second: float | None = None
    """Measured performance in units of work, where the master measures it."""
    last_busy: bool | None = None
    """While `busy` is unknown, what was said last; None: neither the master nor itself has ever said."""
    mark: Mark | None = None
    warm_instance_id: str = ""
    """The warm instance that its launch starts; empty where it is a new one."""
    stops: bool = False
    """Is being stopped and kept warm, not ended."""
    machine: str = ""
    is_retiring: bool = False
    """Above what its provider may hold now, as after the provider was removed: replaced first, then drained."""
    absent_looks: int = 0
    """Complete listings in a row without it."""
    absent_seconds: float = 0.0
    unanswered_seconds: float | None = None
    """Since neither the master nor the worker itself answered for it; None while one of them does."""
    failure: Failure | None = None
    detail: str = ""
    launch_trouble: str = ""
    """What its launch came to last, where the answer was neither that it is there nor a refusal; else empty."""
    launch_strikes: int = 0
    """Launches in a row without a clear answer that a complete list has contradicted."""
    begun: str = ""
    """What its registration has begun in the master and not done, in the master's own word."""
    may_have_work: bool = False
    """Its master may have given it work since its last word."""
    is_fed: bool = False
    """It does not answer, and its master, which has not noticed, gives it work all the same."""
    disorder: str = ""
    """What is wrong with how its master holds it."""
    disorder_seconds: float | None = None
    """Since that was first seen; None while nothing is."""
    broken: str = ""
    """Why it serves nobody any more, by its own word."""
    put_back_seconds: float | None = None
    """Since somebody else put it back into service, from when on its idle time counts; None: nobody did."""

    @property
    def is_supply(self) -> bool:
        """Whether policies count it: serves or starts, and is neither marked nor retiring."""
        return self.mark is None and not self.is_retiring and self.state in SUPPLY

    @property
    def heard_busy(self) -> bool | None:
        """Whether it worked when the master or itself said so last; None: neither ever did, or work came since."""
        if self.busy is None and self.may_have_work:
            return True if self.last_busy else None
        return self.last_busy if self.busy is None else self.busy

    @property
    def may_exist(self) -> bool:
        """Whether limits count it: anything that is not known to be gone."""
        return self.state is not WorkerState.GONE
