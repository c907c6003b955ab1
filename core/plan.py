"""What a turn decides: wanted workers, the actions that follow, what came of them, and the reason of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

PolicyMemory = Mapping[str, tuple[float, ...]]
"""What a policy remembers: named series of numbers, in durations and counts, never in points of time."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that spoke, with the numbers it spoke about."""

    rule: str
    """`policy.vanilla`, `limits.max_workers`, `placement.cooldown`, ..."""
    text: str
    short: str = field(default="", compare=False)
    """The same in a word or a few, for the run's name; empty: it does not stand there."""


@dataclass(frozen=True, slots=True)
class Want:
    """How many workers of one capability set a policy wants."""

    capabilities: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy answers."""

    wanted: tuple[Want, ...] | None
    """None: no opinion, which keeps what exists. It is not zero."""
    headline: str
    """A few words for the run's name: `queue 37 > 20`."""
    reasons: tuple[Reason, ...] = ()
    remembers: PolicyMemory = field(default_factory=dict)
    """What the next decision is told as `Observation.remembered`."""
    reserve: int | None = None
    """Warm instances wanted beside the workers; None: as many as the providers are set to keep."""

    @property
    def total(self) -> int | None:
        """Wanted workers over all capability sets, or None for no opinion."""
        if self.wanted is None:
            return None
        return self.wanted[0].count if len(self.wanted) == 1 else sum([want.count for want in self.wanted])


class Verb(Enum):
    """The kinds of action. A turn acts in this order."""

    LAUNCH = "launch"
    """Ask the provider for a worker, or ask again under the same id."""
    REGISTER = "register"
    """Wait, within the budget, until the worker has announced its URL and answers; then register it."""
    MEND = "mend"
    """Put right how the master holds a worker that has no work: what it left behind, or what it lost."""
    DRAIN = "drain"
    """Tell the master to give it no new work. The mark is in the record already."""
    TEAR_DOWN = "tear_down"
    """Drain again, look twice, and if it is empty: shut down, terminate, see it gone, deregister."""
    TERMINATE = "terminate"
    """End an instance that cannot serve, or whose termination was not confirmed."""
    DEREGISTER = "deregister"
    """Let the master forget a worker that is gone."""
    OPEN_ROOM = "open_room"
    """Let requests that find nobody wait, or again: of a fleet with a waiting room."""
    CLOSE_ROOM = "close_room"
    """Somebody serves: what waits, waits for that."""
    REMOVE_ROOM = "remove_room"
    """Take the waiting room out of the master, since its fleet has ended."""
    OPEN_GATE = "open_gate"
    """The master gives a worker work: what made it load until then, its gate, is no longer needed."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do for one worker, and why."""

    verb: Verb
    worker_id: str
    provider: str
    reason: str
    usd_per_hour: float | None = None
    """Of a launch: what it costs, or may cost at most."""
    member_ref: str | None = None
    """Only for an unfinished entry of the master, which has no worker id."""
    instance_id: str = ""
    """Of a launch: the warm instance to start. Of a termination: an instance that is no worker's any more."""
    stops: bool = False
    """At the end of a teardown: stopped and kept warm, instead of ended."""
    urgent: bool = False
    """It comes before everything that is not: work is lost while it is not done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions of one turn and the reasons of the decision, also of the decision to do nothing."""

    headline: str
    wanted: int | None
    supply: int
    existing: int
    actions: tuple[Action, ...] = ()
    reasons: tuple[Reason, ...] = ()
    usd_per_hour: float = 0.0
    """What everything that may exist after it costs, as far as prices are known; a wish counts at its cap."""
    storage_usd_per_hour: float = 0.0
    """Of that, what stopped instances cost that are kept warm."""

    def of(self, verb: Verb, *, urgent: bool | None = None) -> tuple[Action, ...]:
        """The actions of one kind; of those only the urgent ones, or only the others, where that is asked."""
        kind = (action for action in self.actions if action.verb is verb)
        return tuple(action for action in kind if urgent is None or action.urgent is urgent)

    @property
    def holds(self) -> bool:
        """Whether nothing is to be done."""
        return not self.actions


class Result(Enum):
    """What came of an action."""

    DONE = "done"
    """The provider or the master said so."""
    WAITING = "waiting"
    """Not yet; a later turn goes on."""
    BUSY = "busy"
    """The worker works: vetoed, or put back into service at its deadline."""
    SILENT = "silent"
    """Nobody answers for the worker."""
    CAPACITY = "capacity"
    """Refused: nothing to give now."""
    REJECTED = "rejected"
    """Refused for good."""
    UNKNOWN = "unknown"
    """Sent, without a clear answer."""
    FAILED = "failed"
    """A temporary error that outlived its retries."""
    NOT_BEGUN = "not_begun"
    """It did not fit into the turn's budget."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The note on one action. Read for reasons and failures; memory never lives in it."""

    verb: Verb
    worker_id: str
    provider: str
    result: Result
    detail: str = ""
    attempts: int = 0
    """Of a registration: attempts to reach the worker that failed."""
    begun: str = ""
    """Of a registration: what it has begun in the master, in the master's own word."""
    is_out: bool = False
    """Of a drain: the master gives it nothing new from then on."""
