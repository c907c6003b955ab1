"""One turn: keep alive, observe, decide, record and claim, act, note. Losing a run at any line loses nothing."""

import json
import time
from collections.abc import Sequence
from datetime import datetime

from prefect import get_run_logger
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run

from ebbflow.blocks.opening import OpenFleet, open_fleet
from ebbflow.core.chain import Claim, Head
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs, ScaleRequest
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Link, Record, make_record
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.roster import SILENT_SECONDS, instances_of_ours
from ebbflow.decision.upkeep import LOOKS_APART_SECONDS
from ebbflow.fleet.model import Fleet
from ebbflow.flows import ledger
from ebbflow.flows.reporting import append_line, leave_logs, report_decision, report_dry_run, report_skip
from ebbflow.flows.tasks import act
from ebbflow.turn.acting import Hands
from ebbflow.turn.budget import Budget
from ebbflow.turn.observing import keep_alive, observe, with_new_address
from ebbflow.turn.words import random_word

POLL_SECONDS = 1.0
"""Between two looks at a worker that has not announced itself, or is still loading."""


async def take_turn(fleet: Fleet, *, flow: str, dry_run: bool = False, request: ScaleRequest | None = None) -> State:
    """Evaluate a fleet once and act on it, if this run gets the claim.

    Raises:
        ConfigError: a person must change the fleet, a block or the master; nothing was done.
        OverrideRefused: the request goes beyond the fleet's limits; nothing was done.
    """
    async with get_client() as client:
        home = await ledger.read_home(client, create=not dry_run)
        now = await ledger.server_time(client)
        head = await ledger.read_head(client, fleet.name, now)
        memory = head.record.memory if head and head.record else Memory()
        remembered = [worker.provider for worker in memory.workers if worker.may_exist]
        async with open_fleet(client, fleet, home, remembered=remembered, dry_run=dry_run) as opened:
            if not dry_run:
                await keep_alive(opened, memory.workers)
            if _is_too_early(fleet, head) and request is None and not dry_run:
                return await report_skip(client, fleet, "the last turn is younger than half an interval")
            opened.check()
            budget = Budget(time.monotonic() + fleet.budget_seconds, time.monotonic)
            inputs = await _inputs(client, opened, head, memory, budget, now, flow=flow, request=request)
            if not dry_run:
                await keep_alive(opened, with_new_address(inputs))
            evaluation = evaluate(inputs, fleet.rules())
            if dry_run:
                return await report_dry_run(client, fleet, inputs.number, evaluation)
            record = _record(fleet, inputs, evaluation, head, flow)
            claimed = await record_and_claim(client, fleet, record, budget)
            if isinstance(claimed, str):
                return await report_skip(client, fleet, claimed)
            hands = _hands(opened, inputs, evaluation, budget)
            outcomes = await act(hands, evaluation.plan)
            await _note(client, record, claimed, outcomes)
            await leave_logs(fleet, hands.logs)
            return await report_decision(client, fleet, record, evaluation, outcomes)


def _is_too_early(fleet: Fleet, head: Head | None) -> bool:
    return head is not None and head.claim.age_seconds < fleet.interval_seconds / 2


async def _inputs(
    client: PrefectClient,
    opened: OpenFleet,
    head: Head | None,
    memory: Memory,
    budget: Budget,
    now: datetime,
    *,
    flow: str,
    request: ScaleRequest | None,
) -> Inputs:
    fleet = opened.fleet
    demand, members, looks = await observe(opened, memory, budget)
    unread = await ledger.read_notes(client, [claim for claim in memory.claims if not claim.noted])
    if head is not None and head.outcomes is not None:
        unread[head.claim.number] = head.outcomes
    if head is not None and head.broken:
        get_run_logger().warning("%s: a new chain begins, everything that is listed is adopted", head.broken)
    return Inputs(
        fleet=fleet.name,
        home=opened.home,
        chain=head.record.chain if head and head.record else random_word(4),
        number=head.claim.number + 1 if head else 1,
        elapsed_seconds=min(head.claim.age_seconds, 2 * fleet.interval_seconds) if head and head.record else 0.0,
        budget_seconds=fleet.budget_seconds,
        demand=demand,
        members=members,
        master_caps=opened.master.caps,
        providers=looks,
        memory=memory,
        at_seconds=now.timestamp(),
        head=_recent(head),
        outcomes=tuple(outcome for number in sorted(unread) for outcome in unread[number]),
        noted=tuple(sorted(unread)),
        manager=(deployment.get_name() or "") if flow == "autoscale" else "",
        request=request,
        broken=head.broken if head else "",
    )


def _recent(head: Head | None) -> RecentClaim | None:
    if head is None:
        return None
    claim = head.claim
    return RecentClaim(claim.number, claim.artifact_id, claim.budget_seconds, claim.age_seconds)


def _record(fleet: Fleet, inputs: Inputs, evaluation: Evaluation, head: Head | None, flow: str) -> Record:
    return make_record(
        inputs,
        fleet=json.loads(fleet.model_dump_json()),
        plan=evaluation.plan,
        memory=evaluation.memory,
        flow=flow,
        flow_run_id=str(flow_run.get_id()),
        before=head.record if head else None,
        link=Link(head.claim.number, head.claim.artifact_id, head.claim.sha256, head.broken) if head else None,
    )


async def record_and_claim(client: PrefectClient, fleet: Fleet, record: Record, budget: Budget) -> Claim | str:
    """Store, then claim; or say why not. A run past its budget never claims: its observation is too old to act on."""
    artifact_id = await ledger.store(client, record, summary=record.plan.headline)
    if not budget.remaining_seconds:
        return f"the look outlasted the turn's budget of {fleet.budget_seconds:g} s and is too old to act on"
    claimed = await ledger.claim(client, record, artifact_id, interval_seconds=fleet.interval_seconds)
    if claimed is None:
        return f"another run claimed record {record.number}"
    await append_line(fleet, record)
    return claimed


def _hands(opened: OpenFleet, inputs: Inputs, evaluation: Evaluation, budget: Budget) -> Hands:
    return Hands(
        fleet=opened.fleet.name,
        home=opened.home,
        master=opened.master,
        providers=opened.providers,
        workers={worker.worker_id: worker for worker in evaluation.memory.workers},
        instances={
            worker_id: instance
            for look in inputs.providers
            for worker_id, instance in instances_of_ours(look, inputs).items()
        },
        spares={
            (spare.provider, instance.instance_id): instance
            for spare in evaluation.observation.spares
            for look in inputs.providers
            for instance in look.listing.instances
            if (look.provider, instance.instance_id) == (spare.provider, spare.instance_id)
        },
        avoided={
            known.provider: tuple(avoided.machine for avoided in known.avoided) for known in evaluation.memory.providers
        },
        budget=budget,
        pace_seconds=POLL_SECONDS,
        connect_timeout_seconds=opened.fleet.readiness.connect_timeout_seconds,
        retries=opened.fleet.readiness.retries,
        retry_wait_seconds=opened.fleet.readiness.retry_wait_seconds,
        looks_apart_seconds=LOOKS_APART_SECONDS,
        silent_seconds=SILENT_SECONDS,
    )


async def _note(client: PrefectClient, record: Record, claimed: Claim, outcomes: Sequence[Outcome]) -> None:
    if outcomes:
        await ledger.note(client, record, claimed, outcomes)
