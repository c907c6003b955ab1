"""One worker for a master that owns its workers: asked for by `scale-up`, watched until it serves, and handed over.

What was launched and is not taken is the fleet's to end, whatever becomes of who asked.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.deployments.flow_runs import arun_deployment
from prefect.states import Cancelled

from ebbflow.blocks.opening import open_fleet
from ebbflow.core.chain import Claim
from ebbflow.core.errors import ConfigError, FleetError, RecordError, RegistrationRejected
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Outcome, Result, Verb
from ebbflow.core.ports import HandsOver, KeepsAlive
from ebbflow.core.record import Record
from ebbflow.core.text import one_line
from ebbflow.core.worker import Worker
from ebbflow.fleet.model import Fleet
from ebbflow.flows.asking import message_of
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.standings import deployed_fleets
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.plausible import plausible_list
from ebbflow.turn.standing import chosen

POLL_SECONDS = 1.0
REFUSED = (Result.CAPACITY, Result.REJECTED)
"""What a launch may come to after which nobody comes. What failed may have been carried out, or is sent again."""
UNDO_SECONDS = 20.0
REASONS_SHOWN = 3
NEWEST = 5
"""Of the fleet's records, among which that of a run is looked for; others' turns come beside it."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Launched:
    """The worker that a request launched."""

    worker: Worker
    claim: Claim


async def start_one(client: PrefectClient, fleet: str | None, *, reason: str, sleep: Sleep = anyio.sleep) -> str:
    """Launch one worker of a fleet, and wait until its master may have it.

    Args:
        client: of the Prefect server.
        fleet: its name; None: the only one that is deployed.
        reason: why; it stands in the record.
        sleep: waits between two looks.

    Returns:
        The address of a worker that lists a running backend.

    Raises:
        ConfigError: there is no such fleet, or its master's workers are the fleet's own.
        FleetError: nobody was launched, or who was launched has ended; says why.
    """
    name, deployment, model = await _deployed(client, fleet)
    async with _opened(client, model) as opened:
        run = await arun_deployment(
            deployment,
            client=client,
            parameters={"count": 1, "reason": reason, "hold_seconds": 1},
            timeout=0,
            as_subflow=False,
        )
        launched: Launched | None = None
        try:
            launched = await _launched(client, name, run, sleep)
            return await _until_it_serves(PrefectLedger(client), opened, launched, sleep)
        except BaseException:
            # Nobody will take what comes of it.
            with anyio.move_on_after(UNDO_SECONDS, shield=True):
                await _undo(client, deployment, run, launched)
            raise


async def _deployed(client: PrefectClient, fleet: str | None) -> tuple[str, str, Fleet]:
    deployed = await deployed_fleets(client)
    try:
        name = chosen(sorted(deployed), fleet)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for each in deployed[name]:
        if each.flow == "scale_up" and each.fleet is not None:
            return name, f"scale-up/{each.response.name}", each.fleet
    raise ConfigError(
        f"fleet {name!r} has no deployment of scale-up that this release reads: deploy it with `ebbflow up`"
    )


@asynccontextmanager
async def _opened(client: PrefectClient, fleet: Fleet) -> AsyncIterator[OpenFleet]:
    home = await PrefectLedger(client).home(create=True)
    async with open_fleet(client, fleet, home, dry_run=False) as opened:
        if not opened.master.caps.owns_workers or not isinstance(opened.master, HandsOver):
            raise ConfigError(
                f"{fleet.master}: its workers are the fleet's own; set workers_by to auto_scaling_backend in that "
                "block, where SwarmUI's own auto-scaling backend is to start and end them"
            )
        yield opened


async def _undo(client: PrefectClient, deployment: str, run: FlowRun, launched: Launched | None) -> None:
    """Ask for the end of who was launched, or let the run not begin that would launch.

    A run that has begun goes on, and the fleet ends who is not taken after `readiness.launch_timeout_seconds`.
    """
    # Best effort, on the way out of an error that is to be told: whatever goes wrong here must not take its place.
    with suppress(Exception):
        if launched is not None:
            worker_ids = [launched.worker.worker_id]
            parameters = {"worker_ids": worker_ids, "reason": "nobody takes it", "hold_seconds": 1}
            down = deployment.replace("scale-up/", "scale-down/", 1)
            await arun_deployment(down, client=client, parameters=parameters, timeout=0, as_subflow=False)
            return
        state = (await client.read_flow_run(run.id)).state
        if state is not None and (state.is_scheduled() or state.is_pending()):
            await client.set_flow_run_state(run.id, Cancelled(message="who asked for it has gone"))


async def _launched(client: PrefectClient, fleet: str, run: FlowRun, sleep: Sleep) -> Launched:
    """Who was launched by the turn of a run.

    Raises:
        FleetError: the run has ended without a turn, or its turn launched nobody.
    """
    ledger = PrefectLedger(client)
    while True:
        found = await _turn_of(ledger, fleet, str(run.id))
        if found is not None:
            return _in(*found)
        state = (await client.read_flow_run(run.id)).state
        if state is not None and state.is_final():
            found = await _turn_of(ledger, fleet, str(run.id))
            if found is None:
                raise FleetError(message_of(state) or f"run {run.name!r} ended without a turn")
            return _in(*found)
        await sleep(POLL_SECONDS)


async def _turn_of(ledger: PrefectLedger, fleet: str, run_id: str) -> tuple[Claim, Record] | None:
    for claim in (await ledger.readable_claims(fleet))[:NEWEST]:
        stored = await ledger.stored(claim.artifact_id)
        try:
            record = stored.record() if stored is not None else None
        except RecordError:
            continue
        if record is not None and record.flow_run_id == run_id:
            return claim, record
    return None


def _in(claim: Claim, record: Record) -> Launched:
    for action in record.plan.of(Verb.LAUNCH):
        name = parse_worker_id(action.worker_id)
        if name is not None and name.number == record.number:
            return Launched(Worker(action.worker_id, action.provider, WorkerState.WISHED), claim)
    said = [reason.text for reason in record.plan.reasons[-REASONS_SHOWN:]]
    raise FleetError(f"nobody was launched: {'; '.join(said) or record.plan.headline}")


async def _until_it_serves(ledger: PrefectLedger, opened: OpenFleet, launched: Launched, sleep: Sleep) -> str:
    worker, was_listed = launched.worker, False
    while True:
        instance, is_complete = await _instance(opened, worker)
        if instance is None and was_listed and is_complete:
            raise FleetError(f"{worker.worker_id} has ended before it served")
        if instance is None:
            _check_launch(worker, await _notes(ledger, launched))
        else:
            was_listed = True
            if instance.state in (InstanceState.FAILED, InstanceState.GONE):
                raise FleetError(f"{worker.worker_id} {instance.state.value}: {instance.detail or 'without a reason'}")
            if instance.url is not None and await _serves(opened, worker, instance.url):
                return instance.url
        await sleep(POLL_SECONDS)


async def _instance(opened: OpenFleet, worker: Worker) -> tuple[Instance | None, bool]:
    provider = opened.providers[worker.provider]
    with anyio.move_on_after(provider.caps.call_seconds):
        listing = await provider.list_instances(opened.fleet.name)
        seen = plausible_list(listing, provider.caps, opened.master.caps.worker_networks)
        found = [each for each in seen.instances if each.worker_id == worker.worker_id and each.home == opened.home]
        return (found[0] if found else None), seen.complete
    return None, False


async def _serves(opened: OpenFleet, worker: Worker, url: str) -> bool:
    master, seconds = opened.master, opened.fleet.readiness.connect_timeout_seconds
    assert isinstance(master, HandsOver), "it was opened as one"
    found = Worker(worker.worker_id, worker.provider, WorkerState.STARTING, url=url)
    try:
        ready = await master.readiness(found, connect_timeout_seconds=seconds)
        if ready.registered and isinstance(master, KeepsAlive):
            # Until the master's first ping, which comes later where it is still filling up.
            await master.keepalive([found])
    except RegistrationRejected:
        raise
    except FleetError:
        return False
    return ready.registered


async def _notes(ledger: PrefectLedger, launched: Launched) -> Sequence[Outcome]:
    stored = await ledger.stored(launched.claim.artifact_id)
    return (stored.outcomes() or ()) if stored is not None else ()


def _check_launch(worker: Worker, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        is_its = outcome.worker_id == worker.worker_id and outcome.verb is Verb.LAUNCH
        if is_its and outcome.result in REFUSED:
            raise FleetError(f"{worker.provider}: {one_line(outcome.detail) or outcome.result.value}")
