"""One record in words: what was seen, each rule with its numbers, what bound, what was done, what came of it.

The shapes below are what `ebbflow why --json` prints; a name that is there stays there.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ebbflow.core.errors import RecordError
from ebbflow.core.member import Demand, PushMemberList, RoomState
from ebbflow.core.observation import Inputs, ProviderLook, ScaleRequest, TurnFacts
from ebbflow.core.plan import Verb
from ebbflow.core.record import Record
from ebbflow.core.text import counted, one_line
from ebbflow.turn.chain_reader import ChainEntry, ChainReader
from ebbflow.turn.differences import became
from ebbflow.turn.explain import action_rows

BINDING = ("limits", "override", "placement", "schedule")
"""The first words of the rules that bind what a policy wants."""


@dataclass(frozen=True, slots=True)
class RuleTold:
    """One rule that spoke."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class ActionTold:
    """One thing that was done for one worker, and what came of it."""

    action: str
    worker: str
    provider: str
    reason: str
    result: str
    """`no note`: its run was lost, or goes on."""
    detail: str
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True)
class TurnTold:
    """One turn."""

    fleet: str
    record: int
    at_seconds: float
    """When it was recorded: epoch seconds, UTC."""
    flow: str
    run_id: str
    chain: str
    home: str
    format: int
    asked: str
    """What a person asked for; empty: nobody did."""
    changed: tuple[str, ...]
    """What of the fleet is not as in the record before."""
    seen: tuple[str, ...]
    headline: str
    wanted: int | None
    """By the policy; None: no opinion."""
    supply: int
    existing: int
    rules: tuple[RuleTold, ...]
    bound: tuple[RuleTold, ...]
    """Limits, overrides and placement."""
    actions: tuple[ActionTold, ...]
    usd_per_hour: float
    missing: tuple[str, ...]
    """What of the record cannot be read any more; empty: nothing."""


async def tell_turn(reader: ChainReader, entry: ChainEntry) -> TurnTold:
    """Tell one record; what it leans on and cannot be read is named as missing, and the rest is told."""
    record, plan = entry.record, entry.record.plan
    missing: list[str] = []
    seen: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    try:
        seen = seen_by(await reader.inputs(record))
    except RecordError as error:
        missing.append(str(error))
    try:
        changed = await fleet_changes(reader, await reader.before(record), record)
    except RecordError as error:
        missing.append(str(error))
    told = [(reason.rule.split(".")[0] in BINDING, RuleTold(reason.rule, reason.text)) for reason in plan.reasons]
    return TurnTold(
        fleet=record.fleet,
        record=record.number,
        at_seconds=entry.stored_at,
        flow=record.flow,
        run_id=record.flow_run_id,
        chain=record.chain,
        home=record.home,
        format=record.format,
        asked=asked_for(record.turn.request) if record.turn.request is not None else "",
        changed=changed,
        seen=seen,
        headline=plan.headline,
        wanted=plan.wanted,
        supply=plan.supply,
        existing=plan.existing,
        rules=tuple(rule for binds, rule in told if not binds),
        bound=tuple(rule for binds, rule in told if binds),
        actions=_actions(entry),
        usd_per_hour=plan.usd_per_hour,
        missing=tuple(dict.fromkeys(missing)),
    )


async def fleet_changes(reader: ChainReader, before: Record | None, record: Record) -> tuple[str, ...]:
    """What of the fleet is not as in the record before: `limits.max_workers: 4 became 8`.

    Raises:
        RecordError: a record that holds one of the two is gone or was edited.
    """
    sections = [each.sections.get("fleet") for each in (before, record) if each is not None]
    if before is None or len({section.sha256 for section in sections if section is not None}) == 1:
        return ()
    return became(await reader.section(before, "fleet"), await reader.section(record, "fleet"))


def asked_for(request: ScaleRequest) -> str:
    """`floor +1 by ada, for 3600 s: demo day`."""
    what = request.kind.value.replace("_", " ")
    counts = f" {request.count if request.is_absolute else f'{request.count:+d}'}" if request.count else ""
    named = f" of {', '.join(request.worker_ids)}" if request.worker_ids else ""
    why = f": {request.reason}" if request.reason else ""
    forced = ", by force" if request.force else ""
    return f"{what}{counts}{named} by {request.owner}, for {request.hold_seconds:g} s{forced}{why}"


def seen_by(inputs: Inputs) -> tuple[str, ...]:
    """What a turn knew before it decided, a line each."""
    return tuple(_seen(inputs))


def _seen(inputs: Inputs) -> Iterable[str]:
    yield from _facts(inputs.turn)
    yield f"demand: {_demand(inputs.demand)}"
    yield f"master: {_members(inputs)}"
    for look in inputs.providers:
        yield f"{look.provider}: {_listing(look)}"


def _facts(turn: TurnFacts) -> Iterable[str]:
    if turn.broken:
        yield f"the record before could not be used: {turn.broken}"
    if turn.clock_back_seconds:
        yield f"the ledger's clock was set back by {turn.clock_back_seconds:.0f} s"
    if turn.head is not None:
        yield f"turn before: record {turn.head.number}, {turn.head.age_seconds:.0f} s ago"
    if turn.noted:
        went = Counter(f"{words(outcome.verb)} {outcome.result.value}" for outcome in turn.outcomes)
        came = ", ".join(f"{count} x {name}" for name, count in went.items())
        yield f"notes of record {', '.join(map(str, turn.noted))}: {came}"


def _demand(demand: Demand) -> str:
    if not demand.complete:
        return f"unknown: {one_line(demand.detail)}"
    words = [f"{demand.queued} queued, {demand.running} running"]
    if demand.queued_units is not None:
        words.append(f"{demand.queued_units:g} units of work wait")
    if demand.desired is not None:
        words.append(f"the master would want {counted(sum(want.count for want in demand.desired), 'worker')}")
    if demand.source_age_seconds:
        words.append(f"{demand.source_age_seconds:.0f} s old")
    shapes = [f"{shape.count} x {', '.join(shape.requires) or 'anything'}" for shape in demand.shapes]
    return ", ".join(words) + (f"; of it {'; '.join(shapes)}" if shapes else "")


def _members(inputs: Inputs) -> str:
    members = inputs.members
    if not members.complete:
        return f"did not tell all of its workers: {one_line(members.detail)}"
    if not members.members:
        words = "has no worker"
    else:
        work = {True: "busy", False: "idle", None: "of which nobody says whether it is busy"}
        states = Counter((member.state.value, work[member.busy]) for member in members.members)
        words = "has " + ", ".join(f"{count} {state} and {busy}" for (state, busy), count in states.items())
    room = members.room if isinstance(members, PushMemberList) else None
    waits = f"; its waiting room is {room.state.value}" if room and room.state is not RoomState.ABSENT else ""
    strangers = f"; {len(members.foreign)} of somebody else" if members.foreign else ""
    return words + strangers + waits


def _listing(look: ProviderLook) -> str:
    counts = Counter(instance.state.value for instance in look.listing.instances)
    listed = ", ".join(f"{count} {state}" for state, count in counts.items()) or "lists nothing"
    return listed if look.listing.complete else f"{listed}; the list is not complete: {one_line(look.listing.detail)}"


def _actions(entry: ChainEntry) -> tuple[ActionTold, ...]:
    plan = entry.record.plan
    rows = action_rows(plan.actions, entry.outcomes, entry.record.memory)
    prices = {worker.worker_id: worker.usd_per_hour for worker in entry.record.memory.workers}
    return tuple(
        ActionTold(
            action=words(action.verb),
            worker=str(row["worker"]),
            provider=action.provider,
            reason=action.reason,
            result=str(row["result"]),
            detail=str(row["detail"]),
            usd_per_hour=prices.get(action.worker_id, action.usd_per_hour),
        )
        for action, row in zip(plan.actions, rows, strict=True)
    )


def words(verb: Verb) -> str:
    """`tear down`."""
    return verb.value.replace("_", " ")
