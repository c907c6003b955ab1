"""A worker's whole life, told from the records of all its turns.

The shapes below are what `ebbflow why --worker --json` prints; a name that is there stays there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ebbflow.core.errors import RecordError
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Outcome, Verb
from ebbflow.core.text import one_line
from ebbflow.core.worker import Worker
from ebbflow.turn.chain_reader import ChainEntry, ChainReader, Past
from ebbflow.turn.recall import interval_seconds_of
from ebbflow.turn.standing import MISSED
from ebbflow.turn.telling import fleet_changes, words

WORK = {True: "busy", False: "idle", None: "nobody says whether it is busy"}
WANTING = frozenset({"policy", "limits", "schedule", "override"})
"""The first words of the rules that say how many workers there shall be."""
TROUBLES = ("failure", "launch_trouble", "disorder", "broken", "detail")
"""What a worker may carry that is wrong with it, the most telling first."""


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """What happened to a worker in one turn, or went on in the same way over several."""

    record: int
    """The turn in which it was first so."""
    at_seconds: float
    """When that was recorded: epoch seconds, UTC."""
    what: str
    why: str
    came: str
    """What came of what was done; empty: nothing was done, or nobody noted it."""
    turns: int = 1
    until_seconds: float | None = None
    """When the last of several turns was recorded; None: it was one."""


@dataclass(frozen=True, slots=True)
class LifeTold:
    """One worker, as far as its records can be read."""

    fleet: str
    worker: str
    provider: str
    state: str
    """As the newest record has it; `ended`: that has it no more."""
    usd_per_hour: float | None
    """The last price that was known."""
    events: tuple[LifeEvent, ...]
    not_read: str
    """What of its life was not looked for; empty: nothing."""
    missing: str
    """What of its life cannot be read any more, and why; empty: nothing."""


def tell_life(past: Past, worker_id: str, changes: Sequence[LifeEvent] = ()) -> LifeTold:
    """Tell the life of one worker.

    Args:
        past: records that know it, and any others of its fleet.
        worker_id: the whole of it.
        changes: of its fleet, which are told where they fall into its life.
    """
    snapshots = [(entry, _of(entry, worker_id)) for entry in past.entries]
    known = [worker for _, worker in snapshots if worker is not None]
    events = [event for turn in _turns(snapshots, worker_id, past) for event in turn]
    at = [event.record for event in events] + [entry.record.number for entry, worker in snapshots if worker is not None]
    changed = [event for event in changes if at and min(at) < event.record <= max(at)]
    # What the turn did for the worker may follow from the change.
    events = sorted([*changed, *events], key=lambda event: event.record)
    last = snapshots[-1][1] if snapshots else None
    first, already = snapshots[0] if snapshots else (None, None)
    was_there = first is not None and already is not None and not _is_born(already, first)
    earlier = f"its life before record {first.record.number} " if first is not None and was_there else ""
    return LifeTold(
        fleet=past.entries[-1].record.fleet if past.entries else "",
        worker=worker_id,
        provider=next((worker.provider for worker in reversed(known) if worker.provider), ""),
        state=last.state.value if last is not None else "ended",
        usd_per_hour=next((each.usd_per_hour for each in reversed(known) if each.usd_per_hour is not None), None),
        events=tuple(_together(events)),
        not_read=f"{earlier}was not read: --since looks further back" if earlier and past.is_cut else "",
        missing=f"{earlier}cannot be read: {past.broken}" if earlier and past.broken else "",
    )


async def fleet_events(reader: ChainReader, past: Past) -> tuple[LifeEvent, ...]:
    """When the fleet was changed within this past, and in what; a change that cannot be read is told as such."""
    events = []
    for before, entry in pairwise(past.entries):
        try:
            why = "; ".join(await fleet_changes(reader, before.record, entry.record))
        except RecordError as error:
            why = str(error)
        if why:
            events.append(LifeEvent(entry.record.number, entry.stored_at, "fleet changed", why, ""))
    return tuple(events)


Snapshot = tuple[ChainEntry, Worker | None]


def _of(entry: ChainEntry, worker_id: str) -> Worker | None:
    return next((each for each in entry.record.memory.workers if each.worker_id == worker_id), None)


def _turns(snapshots: Sequence[Snapshot], worker_id: str, past: Past) -> Iterator[list[LifeEvent]]:
    """What happened, turn by turn."""
    before: Worker | None = None
    before_at: float | None = None
    is_known = False
    for place, (entry, worker) in enumerate(snapshots):
        now = LifeEvent(entry.record.number, entry.stored_at, "", "", "")
        events: list[LifeEvent] = []
        if is_known and before_at is not None:
            events += _pause(now, entry.stored_at - before_at, interval_seconds_of(entry.record))
        if worker is not None and before is None:
            events += _came(now, worker, entry, was_there=not place and (past.is_cut or bool(past.broken)))
        elif worker is not None and before is not None:
            events += _became(now, before, worker)
        elif before is not None:
            events.append(replace(now, what="ended", why=_end(entry, before)))
        events += _done(now, entry, worker_id)
        is_known = worker is not None or bool(events)
        before, before_at = worker, entry.stored_at
        yield events


def _pause(now: LifeEvent, passed_seconds: float, interval_seconds: float) -> list[LifeEvent]:
    if passed_seconds <= MISSED * interval_seconds:
        return []
    why = f"one is due every {interval_seconds:g} s, and what happened meanwhile is on no record"
    return [replace(now, what=f"no turn for {passed_seconds:.0f} s", why=why)]


def _came(now: LifeEvent, worker: Worker, entry: ChainEntry, *, was_there: bool) -> list[LifeEvent]:
    if _is_born(worker, entry):
        spoke = (reason.text for reason in entry.record.plan.reasons if reason.rule.split(".")[0] in WANTING)
        return [replace(now, what="wished", why="; ".join(spoke) or entry.record.plan.headline)]
    if was_there:
        why = f"{worker.state.value} for {worker.state_seconds:.0f} s by then"
        return [replace(now, what="was there already", why=why), *_started(now, worker)]
    listed = f"found at {worker.provider or 'the master'}, {worker.state.value}"
    return [replace(now, what="adopted", why=f"{listed}; no record had wished it"), *_started(now, worker)]


def _is_born(worker: Worker, entry: ChainEntry) -> bool:
    return worker.state is WorkerState.WISHED and worker.launch_number == entry.record.number


def _started(now: LifeEvent, worker: Worker) -> list[LifeEvent]:
    """What a worker that was not seen to come has already."""
    nothing = replace(
        worker,
        url=None,
        registered=False,
        busy=None,
        mark=None,
        failure=None,
        launch_trouble="",
        disorder="",
        broken="",
    )
    return _became(now, replace(nothing, detail=""), worker)


def _became(now: LifeEvent, before: Worker, worker: Worker) -> list[LifeEvent]:
    """In what a worker is not as it was."""
    events = []
    if worker.url != before.url and worker.url is not None:
        events.append(replace(now, what="address", why=worker.url))
    if worker.registered and not before.registered:
        events.append(replace(now, what="registered", why="its master shows it"))
    if worker.mark is not None and before.mark is None:
        forced = ", by force" if worker.mark.forced else ""
        why = f"{worker.mark.reason}; at most {worker.mark.deadline_seconds:g} s to finish{forced}"
        events.append(replace(now, what="marked", why=why))
    elif worker.mark is None and before.mark is not None:
        events.append(replace(now, what="kept", why="its mark was taken back"))
    is_marked = worker.state is WorkerState.DRAINING and events and events[-1].what == "marked"
    if worker.state is not before.state and not is_marked:
        events.append(replace(now, what=worker.state.value, why=_trouble(worker, before)))
    elif trouble := _trouble(worker, before):
        events.append(replace(now, what="trouble", why=trouble))
    if worker.busy is not before.busy and (worker.busy is not None or worker.state is WorkerState.READY):
        idle = f"for {worker.idle_seconds:.0f} s" if worker.busy is False and worker.idle_seconds else ""
        events.append(replace(now, what=WORK[worker.busy], why=idle))
    if worker.absent_looks and not before.absent_looks:
        events.append(replace(now, what="not listed", why="its provider's list is without it"))
    if worker.is_retiring and not before.is_retiring:
        events.append(replace(now, what="retires", why="its provider may hold fewer now: replaced, then drained"))
    return events


def _end(entry: ChainEntry, before: Worker) -> str:
    named = [reason.text for reason in entry.record.plan.reasons if before.worker_id in reason.text]
    return "; ".join(named) or f"it was {before.state.value}, and the record has it no more"


def _trouble(worker: Worker, before: Worker) -> str:
    """What is wrong with it, where that is new."""
    new = (name for name in TROUBLES if getattr(worker, name) and getattr(worker, name) != getattr(before, name))
    name = next(new, None)
    if name is None:
        return ""
    if name == "failure" and worker.failure is not None:
        return f"{worker.failure.value}{f': {one_line(worker.detail)}' if worker.detail else ''}"
    return one_line(getattr(worker, name))


def _done(now: LifeEvent, entry: ChainEntry, worker_id: str) -> Iterator[LifeEvent]:
    """What the turn did for it, with what came of it; what was launched is registered in the same turn."""
    notes = [outcome for outcome in entry.outcomes if outcome.worker_id == worker_id]
    actions = [action for action in entry.record.plan.actions if action.worker_id == worker_id]
    planned = {action.verb for action in actions}
    for action in actions:
        came = [outcome for outcome in notes if outcome.verb is action.verb]
        said = "; ".join(map(_noted, came)) or "no note: its run was lost, or goes on"
        yield replace(now, what=words(action.verb), why=action.reason, came=said)
    for outcome in notes:
        if outcome.verb not in planned:
            launched = "launched in this turn" if outcome.verb is Verb.REGISTER else ""
            yield replace(now, what=words(outcome.verb), why=launched, came=_noted(outcome))


def _noted(outcome: Outcome) -> str:
    return f"{outcome.result.value}{f': {one_line(outcome.detail)}' if outcome.detail else ''}"


def _together(events: Sequence[LifeEvent]) -> Iterator[LifeEvent]:
    """The same done again with the same result is told once, with how often."""
    kept: LifeEvent | None = None
    for event in events:
        is_again = kept is not None and event.came and (event.what, _result(event)) == (kept.what, _result(kept))
        if kept is not None and is_again:
            kept = replace(kept, turns=kept.turns + 1, until_seconds=event.at_seconds)
            continue
        if kept is not None:
            yield kept
        kept = event
    if kept is not None:
        yield kept


def _result(event: LifeEvent) -> str:
    return event.came.split(":")[0]
