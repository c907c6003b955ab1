"""The provider's side: instances, listings, launch requests and what a provider can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

LOG_BYTES = 65536
"""How much of the end of a worker's output is kept with the run that ended it."""


class InstanceState(Enum):
    """The provider's view of a worker."""

    PENDING = "pending"
    """Accepted, not started. Supply."""
    STARTING = "starting"
    """Runs, has not announced its URL. Supply."""
    RUNNING = "running"
    """Runs, and its URL is known where one is needed. Whether it serves is the master's word."""
    STOPPED = "stopped"
    """Exists without running. Counted by limits only."""
    TERMINATING = "terminating"
    """Is being ended. Counted by limits only."""
    GONE = "gone"
    """Has ended; a provider that remembers ended instances says so, others simply stop listing it."""
    FAILED = "failed"
    """Will not serve. Counted by limits only; terminated at once."""
    UNKNOWN = "unknown"
    """The provider cannot tell. The last known state stands; it counts as supply if it did before."""


class Failure(Enum):
    """Why a launch or an instance failed, as far as placement must know."""

    CAPACITY = "capacity"
    """Nothing to give now. Placement cools the provider down."""
    REJECTED = "rejected"
    """Never as it stands. Placement cools the provider down; a person must look."""
    OUTPUT = "output"
    """The worker ended, or broke the protocol, before it was usable."""
    TIMEOUT = "timeout"
    """It took too long."""


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """What a worker must be started with so that it can join its master."""

    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One launch. The worker id is ours and was claimed before the call."""

    worker_id: str
    fleet: str
    home: str
    join: JoinSpec = field(default_factory=JoinSpec)
    capabilities: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    """Provider-specific names of machines that failed before, as `Instance.machine` names them."""
    max_usd_per_hour: float | None = None
    """The most that it may cost, where `caps.takes_price_cap`; None: no cap."""
    start_instance_id: str = ""
    """A warm instance to start for this worker, instead of asking for a new one; empty: a new one."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One worker as the provider shows it."""

    worker_id: str
    instance_id: str
    """The provider's own id: what is terminated."""
    state: InstanceState
    fleet: str
    home: str
    url: str | None = None
    """Once announced; None before."""
    retries: int | None = None
    """Attempts to reach it after the first, as its own start asked for; None: the fleet's `readiness.retries`."""
    failure: Failure | None = None
    is_declared: bool = False
    """Failed by a text, of its worker or left over in its status, that tells nothing once it has announced itself."""
    ends_soon: str = ""
    """Why its provider means to end it, while it works as before; the provider may take that back."""
    detail: str = ""
    """A sentence for people: the provider's reason."""
    usd_per_hour: float | None = None
    """What it costs as it is now: of a stopped one, its storage."""
    capabilities: tuple[str, ...] = ()
    machine: str = ""
    """The provider's name of the machine that it is on, where another launch could be told to avoid it."""
    is_warm: bool = False
    """Stopped on purpose, with what it loaded: no worker any more, but a launch may start it under a new worker id."""
    warning: str = ""
    """Of a launch that worked: what a person should change about it."""


@dataclass(frozen=True, slots=True)
class InstanceList:
    """One look at a provider. `complete=False` rather than a guess: absence then means nothing."""

    instances: tuple[Instance, ...] = ()
    complete: bool = True
    detail: str = ""
    """Why it is not complete."""


@dataclass(frozen=True, slots=True)
class ProviderCaps:
    """What a provider can do, and what its answers are worth."""

    fingerprint: str
    """Names the account, cluster or host; a block that points elsewhere while workers may live is refused."""
    idempotent_launch: bool = False
    """A launch of the same worker id adopts what carries that id, so a later turn may send it again."""
    settle_seconds: float = 0.0
    """How long a launch may stay out of the listing; a new chain launches nothing for this long."""
    relist_seconds: float | None = None
    """How soon the list may be read again within a turn; None: once a turn."""
    absence_is_gone: bool = False
    """One complete listing without it proves that it is gone."""
    cancels_pending: bool = False
    """`terminate` of a pending instance fails once it runs, so a pending worker may be ended."""
    call_seconds: float = 5.0
    """The longest that one call takes; none is begun with less left in the turn's budget."""
    usd_per_hour: float | None = None
    """Price of the next launch where it is known beforehand; where `takes_price_cap`, the most that it will be."""
    takes_price_cap: bool = False
    """Prices differ from launch to launch, and none is made above the cap that its request names."""
    keeps_stopped: bool = False
    """Can keep stopped instances, so that a launch may start one again (a warm pool)."""
    warm_start_seconds: float = 300.0
    """A warm instance that was started and is still pending after this long will not run: its place is taken."""
    seconds_between_launches: float = 0.0
    """The provider's rate limit; what does not fit into a turn is the next turn's."""
    seconds_between_ends: float = 0.0
    """The same of `terminate` and `stop`, together."""
    keeps_logs: bool = False
    """Can show what a worker printed."""
    capabilities: tuple[str, ...] = ()
    """What workers launched here can do (`core.capabilities`)."""
    tells_urls: bool = True
    """It learns its workers' addresses; False: they join their master by themselves."""
    is_this_host: bool = False
    """Its workers may run on this machine, so that they may announce a loopback address."""
