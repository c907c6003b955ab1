"""How a fleet stands now: what its newest record says, how old that is, and whether turns come. Pure.

The shapes below are what `ebbflow status --json` prints; a name that is there stays there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ebbflow.core.chain import Head
from ebbflow.core.member import PushMemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Action, Outcome, Result
from ebbflow.core.text import counted, one_line
from ebbflow.core.worker import Worker
from ebbflow.fleet.deployed import started_by
from ebbflow.fleet.model import Fleet

MISSED = 3
"""Intervals without a turn after which turns do not come."""
MOST_NAMED = 10
"""Of ids that begin alike, in an error."""
GOES_ON = frozenset({Result.DONE, Result.WAITING, Result.BUSY})
"""Nothing went wrong, though more turns may be needed."""
RESULTS = {
    Result.SILENT: "nobody answers for it",
    Result.CAPACITY: "nothing to give now",
    Result.REJECTED: "refused",
    Result.UNKNOWN: "without a clear answer",
    Result.FAILED: "failed",
    Result.NOT_BEGUN: "did not fit into the turn",
}


@dataclass(frozen=True, slots=True)
class WorkerStanding:
    """One worker, as the last turn left it; durations have grown since."""

    id: str
    provider: str
    state: str
    """As in `docs/lifecycle.md`."""
    state_seconds: float
    address: str | None
    busy: bool | None
    """None: nobody said."""
    idle_seconds: float | None
    usd_per_hour: float | None
    model: str | None
    note: str
    """Why it is on its way out, or what is wrong with it; empty: nothing."""


@dataclass(frozen=True, slots=True)
class OverrideStanding:
    """What a person holds the fleet at."""

    id: str
    """What `ebbflow override end` takes."""
    kind: str
    count: int
    worker_ids: tuple[str, ...]
    owner: str
    reason: str
    remaining_seconds: float


@dataclass(frozen=True, slots=True)
class ProviderStanding:
    """What is remembered of one provider."""

    block: str
    workers: int
    """That may exist there."""
    max_workers: int
    """0: it left the fleet, and takes nothing new."""
    failures: int
    """In a row."""
    seconds_since_failure: float | None
    detail: str
    """What failed last."""


@dataclass(frozen=True, slots=True)
class RoomStanding:
    """The waiting room, as the last turn saw it before it acted."""

    state: str
    """`absent`, `off`, `holding` or `broken`."""
    answers: bool
    detail: str
    """What keeps requests from waiting in it; empty: nothing."""


@dataclass(frozen=True, slots=True)
class DemandStanding:
    """What waits and runs; `known` is false where the master did not say."""

    known: bool
    queued: int
    running: int
    detail: str


@dataclass(frozen=True, slots=True)
class DecisionStanding:
    """What the last turn decided, and why."""

    headline: str
    wanted: int | None
    """None: no opinion."""
    supply: int
    existing: int
    reasons: tuple[str, ...]
    actions: tuple[str, ...]
    not_done: tuple[str, ...]
    """Of the actions, what did not go through, and why, as far as the turn has noted it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What starts a fleet's turns, as the Prefect server knows it."""

    deployment: str = ""
    """`autoscale/<name>`; empty: none."""
    is_on: bool = False
    work_pool: str = ""
    pool_type: str = ""
    is_polled: bool | None = None
    """Whether a Prefect worker asks the pool for work; None: unknown."""
    next_in_seconds: float | None = None
    late_runs: int = 0
    last_error: str = ""
    """What its newest finished run failed with; empty: it did not."""


@dataclass(frozen=True, slots=True)
class TurnsStanding:
    """Whether turns come."""

    come: bool
    text: str
    """In words, with what to do where they do not come."""
    interval_seconds: float | None
    last_seconds_ago: float | None
    next_in_seconds: float | None
    deployment: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How one fleet stands."""

    name: str
    turns: TurnsStanding
    record: int | None = None
    """The number of its newest record; None: there is none yet."""
    home: str = ""
    broken: str = ""
    """Why its newest record could not be used; the next turn adopts what is listed."""
    demand: DemandStanding | None = None
    decision: DecisionStanding | None = None
    workers: tuple[WorkerStanding, ...] = ()
    overrides: tuple[OverrideStanding, ...] = ()
    providers: tuple[ProviderStanding, ...] = ()
    room: RoomStanding | None = None
    """None: it has none."""
    usd_per_hour: float | None = None
    usd_today: float | None = None
    """Since midnight UTC, as far as prices were known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of one fleet."""

    name: str
    head: Head | None = None
    fleet: Fleet | None = None
    """As it is deployed; else as the record has it."""
    inputs: Inputs | None = None
    """What the newest record saw; None where it leans on one that is gone."""
    schedule: Schedule = field(default_factory=Schedule)
    trouble: str = ""
    """Why nothing at all of its records could be read: somebody edited a claim."""


def standing_of(seen: Seen) -> Standing:
    """How a fleet stands, from what was read of it."""
    head, record = seen.head, seen.head.record if seen.head else None
    age_seconds = max(0.0, head.claim.age_seconds) if head is not None else None
    turns = _turns(seen, age_seconds)
    if head is None or record is None:
        number, broken = (head.claim.number, head.broken) if head is not None else (None, seen.trouble)
        return Standing(seen.name, turns, record=number, broken=broken)
    memory = record.memory.aged(age_seconds or 0.0)
    # A turn lets what persons hold grow old by two intervals at most, however long nobody took one.
    held = record.memory.aged(min(age_seconds or 0.0, 2 * seen.fleet.interval_seconds if seen.fleet else 0.0)).overrides
    plan = record.plan
    return Standing(
        name=seen.name,
        turns=turns,
        record=record.number,
        home=record.home,
        demand=_demand(seen.inputs),
        decision=DecisionStanding(
            plan.headline,
            plan.wanted,
            plan.supply,
            plan.existing,
            tuple(reason.text for reason in plan.reasons),
            tuple(_done(action) for action in plan.actions),
            tuple(_not_done(outcome) for outcome in head.outcomes or () if outcome.result not in GOES_ON),
        ),
        workers=tuple(_worker(worker) for worker in memory.workers),
        overrides=tuple(
            OverrideStanding(
                each.key, each.kind.value, each.count, each.worker_ids, each.owner, each.reason, each.remaining_seconds
            )
            for each in held
        ),
        providers=_providers(memory, seen.fleet),
        room=_room(seen.inputs),
        usd_per_hour=plan.usd_per_hour,
        usd_today=round(memory.spent_usd, 4),
    )


def _room(inputs: Inputs | None) -> RoomStanding | None:
    members = inputs.members if inputs is not None else None
    room = members.room if isinstance(members, PushMemberList) else None
    return RoomStanding(room.state.value, room.answers, room.detail) if room is not None else None


def _done(action: Action) -> str:
    subject = action.worker_id or f"entry {action.member_ref}"
    return f"{action.verb.value.replace('_', ' ')} {subject}: {action.reason}"


def _not_done(outcome: Outcome) -> str:
    detail = f": {one_line(outcome.detail)}" if outcome.detail else ""
    return f"{outcome.verb.value.replace('_', ' ')} {outcome.worker_id}: {RESULTS[outcome.result]}{detail}"


def _worker(worker: Worker) -> WorkerStanding:
    note = f"leaves: {worker.mark.reason}" if worker.mark is not None else worker.disorder or worker.detail
    return WorkerStanding(
        id=worker.worker_id,
        provider=worker.provider,
        state=worker.state.value,
        state_seconds=worker.state_seconds,
        address=worker.url,
        busy=worker.busy,
        idle_seconds=worker.idle_seconds,
        usd_per_hour=worker.usd_per_hour,
        model=worker.model,
        note=note,
    )


def _demand(inputs: Inputs | None) -> DemandStanding | None:
    if inputs is None:
        return None
    demand = inputs.demand
    return DemandStanding(demand.complete, demand.queued, demand.running, demand.detail)


def _providers(memory: Memory, fleet: Fleet | None) -> tuple[ProviderStanding, ...]:
    most = {entry.block: entry.max_workers for entry in fleet.providers} if fleet else {}
    blocks = dict.fromkeys([*most, *(known.provider for known in memory.providers)])
    rows = []
    for block in blocks:
        known = memory.provider(block)
        rows.append(
            ProviderStanding(
                block=block,
                workers=sum(worker.provider == block and worker.may_exist for worker in memory.workers),
                max_workers=most.get(block, 0),
                failures=known.failures if known else 0,
                seconds_since_failure=known.seconds_since_failure if known else None,
                detail=known.detail if known and known.failures else "",
            )
        )
    return tuple(rows)


def _turns(seen: Seen, age_seconds: float | None) -> TurnsStanding:
    schedule, interval = seen.schedule, seen.fleet.interval_seconds if seen.fleet else None
    last = "no turn yet" if age_seconds is None else f"the last {age_seconds:.0f} s ago"
    if seen.trouble:
        last = "when the last one was cannot be read"
    come, text = _whether_turns_come(schedule, seen.fleet, age_seconds, last)
    return TurnsStanding(come, text, interval, age_seconds, schedule.next_in_seconds, schedule.deployment)


def _whether_turns_come(
    schedule: Schedule, fleet: Fleet | None, age_seconds: float | None, last: str
) -> tuple[bool, str]:
    if not schedule.deployment:
        return False, f"{last}; no deployment of autoscale runs this fleet: `ebbflow up` in its folder"
    if not schedule.is_on:
        return (
            False,
            f"{last}; the schedule of {schedule.deployment} is off: `ebbflow up --start` in its folder",
        )
    coming = "" if schedule.next_in_seconds is None else f", the next in {schedule.next_in_seconds:.0f} s"
    if fleet is None:
        return age_seconds is not None, f"{last}{coming}; its fleet cannot be read by this release"
    soon_seconds = fleet.waiting_interval_seconds
    sooner = "" if soon_seconds is None else f" ({soon_seconds:g} s while work waits{_polled(fleet)})"
    every = f"every {fleet.interval_seconds:g} s{sooner}"
    if age_seconds is not None and age_seconds <= MISSED * fleet.interval_seconds:
        return True, f"{every}, {last}{coming}"
    if schedule.is_polled is False:
        command = started_by(schedule.work_pool, schedule.pool_type or None)
        return False, f"{last}; no Prefect worker asks the pool {schedule.work_pool!r} for work: `{command}`"
    if schedule.last_error:
        return False, f"{last}; its newest run failed: {schedule.last_error}"
    late = f"; {counted(schedule.late_runs, 'run', 'are')} late" if schedule.late_runs else ""
    return age_seconds is None and not late, f"{last}, one is due {every}{late}"


def _polled(fleet: Fleet) -> str:
    poll_seconds = fleet.poll_interval_seconds
    return "" if poll_seconds is None else f", polls of its queue every {poll_seconds:g} s where `ebbflow runner` runs"


def chosen(names: Sequence[str], asked: str | None) -> str:
    """Which fleet is meant: the one that is named, or the only one.

    Raises:
        ValueError: there is none of that name, or none or several to choose from; says which there are.
    """
    there = ", ".join(sorted(names)) or "none"
    if asked is None:
        if len(names) == 1:
            return names[0]
        raise ValueError(f"name the fleet; there are: {there}")
    if asked not in names:
        raise ValueError(f"there is no fleet {asked!r}; there are: {there}")
    return asked


def meant_by(beginning: str, ids: Sequence[str]) -> str | None:
    """The id that a person means by the whole of it, or by its beginning; None: there is none.

    Raises:
        ValueError: several begin so; names them.
    """
    if beginning in ids:
        return beginning
    found = [each for each in ids if each.startswith(beginning)]
    if len(found) > 1:
        rest = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise ValueError(f"{beginning!r} begins several ids: {', '.join(found[:MOST_NAMED])}{rest}; give more of one")
    return found[0] if found else None
