"""One turn: keep alive, observe, decide, record and claim, act, note. Losing a run at any line loses nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ebbflow.core.chain import ROUNDED_SECONDS, Claim, Head
from ebbflow.core.errors import ConfigError
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs, MasterLook, ScaleRequest, TurnFacts
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Link, Record, make_record
from ebbflow.core.sections import Base
from ebbflow.decision.evaluate import Evaluation
from ebbflow.decision.sooner import can_change, waits
from ebbflow.fleet.model import Fleet
from ebbflow.turn.acting import act
from ebbflow.turn.budget import Budget
from ebbflow.turn.calls import Acting
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.last_resort import keep_alive_all_the_same
from ebbflow.turn.observing import keep_alive, observe, with_new_address
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.record_page import page_summary
from ebbflow.turn.records_folder import append_line
from ebbflow.turn.results import Acted, DryRun, Held, Skipped, SkipReason, TurnResult
from ebbflow.turn.surroundings import Surroundings


async def take_turn(
    fleet: Fleet, around: Surroundings, *, dry_run: bool = False, request: ScaleRequest | None = None
) -> TurnResult:
    """Evaluate a fleet once and act on it, if this run gets the claim.

    Args:
        fleet: whose turn it is.
        around: the outside world.
        dry_run: look and decide, and change nothing anywhere.
        request: what a person asks for; such a turn is never too early.

    Raises:
        ConfigError: a person must change the fleet, a block or the master; nothing was done but keeping alive.
        OverrideRefused: the request goes beyond the fleet's limits; nothing was done.
    """
    kept = _Kept()
    try:
        return await _turn(fleet, around, kept, dry_run=dry_run, request=request)
    except ConfigError as error:
        if kept.alive or dry_run:
            raise
        told = await keep_alive_all_the_same(fleet, around)
        raise ConfigError(f"{error}; {told}" if told else str(error)) from error


@dataclass
class _Kept:
    alive: bool = False
    """This turn has given a sign of life to everybody that the last readable record knows."""


async def _turn(
    fleet: Fleet, around: Surroundings, kept: _Kept, *, dry_run: bool, request: ScaleRequest | None
) -> TurnResult:
    ledger, reader = around.ledger, ChainReader(around.ledger)
    head, known = await _read_head(reader, fleet)
    record = head.record if head else None
    said_home = await ledger.home(create=not dry_run and record is None)
    home = record.home if record else said_home
    at_seconds = await ledger.now()
    memory = record.memory if record else Memory()
    remembered = [worker.provider for worker in memory.workers if worker.may_exist]
    async with around.open_fleet(fleet, home, remembered=remembered, dry_run=dry_run) as opened:
        if not dry_run:
            await keep_alive(opened, known.workers, around.log)
            kept.alive = True
        _check_home(record, said_home)
        if _is_too_early(fleet, head) and request is None and not dry_run:
            text = f"the last turn is younger than {fleet.least_apart_seconds:g} s, and no two are nearer"
            return Skipped(SkipReason.TOO_EARLY, text)
        opened.check()
        budget = Budget(around.clock() + fleet.budget_seconds, around.clock)
        inputs = await _inputs(opened, around, reader, head, budget, at_seconds=at_seconds, request=request)
        if not dry_run:
            await keep_alive(opened, with_new_address(inputs), around.log)
        evaluation = around.decide(inputs, fleet)
        if dry_run:
            return DryRun(inputs.number, evaluation)
        record = _record(fleet, evaluation, head, await reader.base(head), around)
        claimed = await record_and_claim(fleet, record, around, budget, summary=page_summary(record, inputs))
        if isinstance(claimed, Skipped):
            return claimed
        await _call_sooner(fleet, evaluation, around)
        if record.plan.holds:
            await append_line(fleet, record, around.log)
            return Held(record, evaluation)
        acting = Acting(opened, evaluation, budget, around.sleep)
        outcomes = await act(acting, around.carry_out)
        for warning in sorted(acting.shared.warnings):
            around.log.warning("%s", warning)
        await _note(around, record, claimed, outcomes)
        await append_line(fleet, record, around.log)
        if acting.shared.mistakes:
            raise acting.shared.mistakes[0]
        return Acted(record, evaluation, outcomes, acting.shared.logs)


async def _read_head(reader: ChainReader, fleet: Fleet) -> tuple[Head | None, Memory]:
    """The newest claim, and the memory of the last record that can be read; a broken head says what went with it."""
    head = await reader.head(fleet.name)
    if head is None or head.record is not None:
        return head, head.record.memory if head is not None and head.record is not None else Memory()
    before = await reader.last_readable(fleet.name)
    if before is None:
        return replace(head, broken=f"{head.broken}; overrides and pins went with it, if there were any"), Memory()
    held = "; ".join(str(override) for override in before.record.memory.overrides)
    words = f"what record {before.record.number} held for people went with it: {held}" if held else ""
    return replace(head, broken="; ".join(filter(None, (head.broken, words)))), before.record.memory


def _check_home(record: Record | None, said: str) -> None:
    if record is not None and record.home != said:
        raise ConfigError(
            f"record {record.number} of fleet {record.fleet!r}: its workers carry the home {record.home!r}, and "
            f"the Variable ebbflow_home is gone or says another one: set it to {record.home!r} to go on with them, or "
            f"delete the Variables ebbflow_{record.fleet}_* to begin anew and leave them to themselves"
        )


def _is_too_early(fleet: Fleet, head: Head | None) -> bool:
    # A claim of the future is an old one, seen after the clock was set back; nobody knows how old.
    return head is not None and 0.0 <= head.claim.age_seconds < fleet.least_apart_seconds


async def _inputs(
    opened: OpenFleet,
    around: Surroundings,
    reader: ChainReader,
    head: Head | None,
    budget: Budget,
    *,
    at_seconds: float,
    request: ScaleRequest | None,
) -> Inputs:
    fleet = opened.fleet
    record = head.record if head is not None else None
    age_seconds = head.claim.age_seconds if head is not None else 0.0
    memory = record.memory if record is not None else Memory()
    demand, members, looks = await observe(opened, memory, budget, around.log)
    unread = await reader.notes([claim for claim in memory.claims if not claim.noted])
    if head is not None and head.outcomes is not None:
        unread[head.claim.number] = head.outcomes
    if head is not None and head.broken:
        around.log.warning("%s: a new chain begins, everything that is listed is adopted", head.broken)
    return Inputs(
        fleet=fleet.name,
        home=opened.home,
        chain=record.chain if record is not None else around.random_word(4),
        number=head.claim.number + 1 if head is not None else 1,
        turn=TurnFacts(
            elapsed_seconds=max(0.0, min(age_seconds, 2 * fleet.interval_seconds)) if record else 0.0,
            budget_seconds=fleet.budget_seconds,
            look_seconds=_look_seconds(record, at_seconds - age_seconds),
            clock_back_seconds=max(0.0, -age_seconds),
            at_seconds=at_seconds,
            head=_recent(head),
            outcomes=tuple(outcome for number in sorted(unread) for outcome in unread[number]),
            noted=tuple(sorted(unread)),
            manager=around.run.manager,
            request=request,
            broken=head.broken if head is not None else "",
        ),
        demand=demand,
        members=members,
        master=MasterLook(opened.master.caps, takes_urls=opened.takes_urls),
        providers=looks,
        memory=memory,
    )


def _look_seconds(before: Record | None, claimed_at_seconds: float) -> float:
    if before is None or not before.turn.at_seconds:
        return 0.0
    return max(0.0, min(claimed_at_seconds - before.turn.at_seconds, before.turn.budget_seconds))


def _recent(head: Head | None) -> RecentClaim | None:
    if head is None:
        return None
    claim = head.claim
    return RecentClaim(claim.number, claim.artifact_id, claim.budget_seconds, max(0.0, claim.age_seconds))


def _record(fleet: Fleet, evaluation: Evaluation, head: Head | None, base: Base | None, around: Surroundings) -> Record:
    return make_record(
        evaluation.inputs,
        fleet=json.loads(fleet.model_dump_json()),
        plan=evaluation.plan,
        memory=evaluation.memory,
        flow=around.run.flow,
        flow_run_id=around.run.run_id,
        before=head.record if head else None,
        link=Link(head.claim.number, head.claim.artifact_id, head.claim.sha256, head.broken) if head else None,
        base=base,
    )


async def record_and_claim(
    fleet: Fleet, record: Record, around: Surroundings, budget: Budget, *, summary: str
) -> Claim | Skipped:
    """Store, then claim; or say why not. A run past its budget never claims: its observation is too old to act on."""
    artifact_id = await around.ledger.store(record, summary=summary)
    if not budget.remaining_seconds:
        text = f"the look outlasted the turn's budget of {fleet.budget_seconds:g} s and is too old to act on"
        return Skipped(SkipReason.TOO_LATE, text)
    claimed = await around.ledger.claim(record, artifact_id, interval_seconds=fleet.interval_seconds)
    if claimed is None:
        return Skipped(SkipReason.NOT_CLAIMED, f"another run claimed record {record.number}")
    return claimed


async def _call_sooner(fleet: Fleet, evaluation: Evaluation, around: Surroundings) -> None:
    """Ask for a turn before the next one is due, where work waits and a turn can do anything for it."""
    soon_seconds, inputs, memory = fleet.waiting_interval_seconds, evaluation.inputs, evaluation.memory
    if soon_seconds is None or not waits(inputs.demand) or not can_change(fleet, memory.workers, memory.overrides):
        return
    around.log.info("work waits: another turn comes %g s after this one", soon_seconds)
    # Our claim is only just made, and whoever finds it too young is skipped.
    soonest_seconds = await around.ledger.now() + fleet.least_apart_seconds + ROUNDED_SECONDS
    await around.call_sooner(inputs, max(inputs.turn.at_seconds + soon_seconds, soonest_seconds))


async def _note(around: Surroundings, record: Record, claimed: Claim, outcomes: Sequence[Outcome]) -> None:
    if outcomes:
        await around.ledger.note(record, claimed, outcomes)
