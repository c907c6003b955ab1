"""The master's side: demand, members, and what a master can do."""

from dataclasses import dataclass
from enum import Enum

from ebbflow.core.plan import Want


class MemberState(Enum):
    """The master's view of a worker. Not listed is no state of a member."""

    JOINING = "joining"
    """Known, takes no work yet."""
    READY = "ready"
    """Takes work."""
    DRAINING = "draining"
    """Takes no new work. Where it is stored in the master, it is the durable mark."""
    LOST = "lost"
    """Listed but not answering."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of waiting work: what it requires, and how much of it there is."""

    requires: tuple[str, ...] = ()
    """A capability set (`core.capabilities`); empty: any worker will do."""
    count: int = 0
    gang: int = 1
    """1: alone; n: n of them together or not at all."""
    gang_key: str = ""
    """Shapes with the same key make up the same gangs, whose members differ; empty: a gang of this shape alone."""
    apart: bool = False
    """Each member of a gang has a worker of its own."""
    kind: str = "request"


@dataclass(frozen=True, slots=True)
class Demand:
    """Queued and running work at one instant. `complete=False` means unknown, never zero."""

    queued: int = 0
    """Work items that wait; running ones are not in it."""
    running: int = 0
    waiting: int | None = None
    """Requests that find no worker free now, where the master tells them from queued work items; may saturate."""
    shapes: tuple[Shape, ...] = ()
    """Queued work by what it requires; empty where the master does not tell (not `caps.per_shape_demand`)."""
    reserved: tuple[Shape, ...] = ()
    """What somebody wants to fit into the fleet at any time, beside or in the place of what runs; not in `queued`."""
    used_up: tuple[str, ...] = ()
    """Names in shapes of which running work takes its amount away, as the master says; others may only be compared."""
    running_shapes: tuple[Shape, ...] = ()
    """The same of running work."""
    queued_units: float | None = None
    """Queued work in units of work, where the master measures it; see `Member.units_per_second`."""
    arrived: int | None = None
    """Requests that came since the master began to count; only differences mean anything."""
    served: int | None = None
    """Requests that were finished since then."""
    served_units: float | None = None
    """What those were, in units of work."""
    desired: tuple[Want, ...] | None = None
    """How many workers of each capability set the master itself wants, where it says so; None: no opinion, never 0."""
    source_age_seconds: float = 0.0
    complete: bool = True
    detail: str = ""

    @property
    def total(self) -> int:
        """Everything not finished."""
        return self.queued + self.running


@dataclass(frozen=True, slots=True)
class Member:
    """One worker of ours as the master shows it."""

    worker_id: str
    """Ours, from label or title, compared whole; empty for an entry of ours that was left half-made."""
    master_ref: str
    """The master's id. Reused by some masters, so never an identity across turns."""
    state: MemberState
    url: str | None = None
    busy: bool | None = None
    """None: unknown, which counts as busy when scaling down."""
    idle_seconds: float | None = None
    """None while busy or unknown, and where the master gives no figure."""
    free: tuple[str, ...] | None = None
    """What of it no work uses, as a capability set, where the master tells; None: it does not."""
    model: str | None = None
    units_per_second: float | None = None
    """Its measured performance, where the master measures it. Source: PyWorker, `max_perf` of `/worker_status/`."""
    duplicate: bool = False
    is_fed: bool = False
    """Only of a lost one: its master does not notice that it does not answer, and gives it work all the same."""
    renamed: str = ""
    """What a person calls its entry in place of our name; empty: it carries ours."""
    disorder: str = ""
    """What is wrong with how the master holds it, which `PushMaster.mend` puts right; empty: nothing."""
    broken: str = ""
    """Why it will serve nobody until it is started anew, by its own word; empty: it says nothing of the kind."""


@dataclass(frozen=True, slots=True)
class MemberList:
    """One look at the master's members of our fleet and home."""

    members: tuple[Member, ...] = ()
    complete: bool = True
    detail: str = ""
    foreign: tuple[str, ...] = ()
    """Names of members that carry our fleet's name and another home: shown, never touched."""


class RoomState(Enum):
    """How a master stands to the waiting room of a fleet: what lets requests wait while nobody serves."""

    ABSENT = "absent"
    """The master knows of none yet."""
    OFF = "off"
    """Known, and switched off: whatever finds nobody to serve it fails."""
    HOLDING = "holding"
    """Requests that find nobody wait."""
    BROKEN = "broken"
    """Switched on, and it does not hold."""


@dataclass(frozen=True, slots=True)
class Room:
    """The waiting room of a fleet, as its master and the room itself show it. No worker, and counted as none."""

    state: RoomState
    answers: bool = True
    """Whether the room itself answers, as a room of this release does."""
    is_needed: bool = False
    """Nobody takes work at the master, whoever's: what waits and is not held fails."""
    detail: str = ""
    """Why it does not answer, or would not hold."""
    features: tuple[str, ...] = ()
    """What the workers that serve now can do, in the master's words; empty while none does."""
    told: tuple[str, ...] = ()
    """What the room tells of that."""
    gates: tuple[str, ...] = ()
    """Ids of workers that load until their gate in the room opens."""
    missing_models: tuple[str, ...] = ()
    """Models that only workers have: while none serves, the master refuses requests for them at once."""

    @property
    def can_hold(self) -> bool:
        """Whether requests would wait if it were, or as it is, switched on."""
        return self.answers and not self.detail


@dataclass(frozen=True, slots=True)
class PushMemberList(MemberList):
    """The same of a master into which we push addresses, in more than one step."""

    unfinished: tuple[str, ...] = ()
    """Entries that carry no mark because a registration stopped half-way; removed after ten minutes unchanged."""
    strays: tuple[str, ...] = ()
    """Ids of workers of ours through whose leftovers the master gives out work, though they are no members."""
    others: tuple[str, ...] = ()
    """What serves beside ours: names of the operator's own."""
    room: Room | None = None
    """The fleet's waiting room; None: its master has none, or was not asked for it."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the master can be used at all."""

    reachable: bool
    version: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """The answer to one registration attempt."""

    registered: bool
    detail: str = ""
    """Why not yet."""
    reached: bool = True
    """False: what is at its URL did not answer as a worker does, or said that it cannot work. It has
    `readiness.retries` more attempts to do so."""
    begun: str = ""
    """The master's word for what was begun and is not done; the next attempt is told it (`Worker.begun`)."""
    warning: str = ""
    """What a person should change, though it goes on."""


class DrainAnswer(Enum):
    """The answer to a drain."""

    ACCEPTED = "accepted"
    """Takes no new work from now on; what runs goes on."""
    BUSY = "busy"
    """A veto because it works, not an error: it stays in, or goes back into, service."""
    HELD = "held"
    """It works at its deadline, and cannot be put back before that work is done: it stays out, and is asked again."""
    GONE = "gone"
    """The master does not know it, and it does no work."""
    SILENT = "silent"
    """The master does not know it, and it does not answer itself: whether it works is unknown."""
    REOPENED = "reopened"
    """Somebody else has put it back into service since it was seen out of it, and there it stays."""
    FED = "fed"
    """An entry of the master that is none of this fleet's gives it work, and is not ours to change."""


class DrainWay(Enum):
    """How a master can keep new work from a worker."""

    NATIVE = "native"
    """It refuses new work on request. Scaling down waits until the worker is empty."""
    IMPLICIT = "implicit"
    """Ending the worker's software hands its work back. Scaling down waits for it to be idle all the same."""
    NONE = "none"
    """Only waiting helps. Scaling down is refused unless the fleet says `accept_busy_stop`."""


class IdleSource(Enum):
    """Who times how long a worker has been idle."""

    MASTER = "master"
    """The master. Its figure is taken."""
    WORKER = "worker"
    """The worker itself. Its figure is taken."""
    OBSERVED = "observed"
    """Nobody: the time since our looks first saw it idle is taken, whatever figure came with them."""


@dataclass(frozen=True, slots=True)
class MasterCaps:
    """What a master can do. A policy or setting that needs more is refused when the fleet is validated.

    The calls by which workers come to it are told by the type of its adapter (`core.ports.PushMaster`, `JoinMaster`).
    """

    drain: DrainWay = DrainWay.NATIVE
    needs_keepalive_seconds: float | None = None
    """Workers end themselves after this long without a sign of life from us."""
    can_start_from_zero: bool = True
    per_shape_demand: bool = False
    counts_requests: bool = False
    """It tells how many requests came and how many were finished since it began (`Demand.arrived`, `Demand.served`)."""
    decides_counts: bool = False
    """It says itself how many workers it wants (`Demand.desired`)."""
    idle_source: IdleSource = IdleSource.OBSERVED
    call_seconds: float = 5.0
    """The longest that one call takes; none is begun with less left in the turn's budget."""
    usual_seconds: float = 0.0
    """What a call takes as a rule, where that is more than a moment; an interval must leave room for it."""
    told_capabilities: tuple[str, ...] | None = None
    """What it is told that workers of this fleet can do; None: it needs no word of it."""
    queues_without_workers: bool = True
    """Work that waits goes on waiting when the last worker leaves; False: it fails, so that one never goes first."""
    counts_others: bool = False
    """What serves beside our members (`PushMemberList.others`) counts for policies."""
    owns_workers: bool = False
    """It asks for each worker and ends it itself: the fleet launches what is asked for, keeps it alive until it is
    taken, and from then on ends only whom the master has let go."""
    workers_join: bool = False
    """They come by themselves, with the id that they were started with; False: it calls them at their addresses."""
    worker_networks: tuple[str, ...] = ()
    """Where its workers are, as CIDR; empty: anywhere but at special addresses (`core.addresses`)."""
    takes_polls: bool = False
    """Its demand can be asked for every few seconds, beside a turn, by one adapter that lives for minutes."""
