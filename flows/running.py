"""A turn as a Prefect run: the ledger on the server, tasks around its actions, and a state for how it ended."""

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from ebbflow.blocks.client import open_client
from ebbflow.blocks.opening import opens_fleets
from ebbflow.core.observation import ScaleRequest
from ebbflow.fleet.model import Fleet
from ebbflow.flows.following import called_off, calls_sooner
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.own_run import own_deployment
from ebbflow.flows.reporting import report
from ebbflow.flows.tasks import carry_out
from ebbflow.turn.results import Skipped, SkipReason, TurnResult
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.turn import take_turn


async def run_turn(
    fleet: Fleet, *, flow: str, dry_run: bool = False, request: ScaleRequest | None = None
) -> tuple[TurnResult, State]:
    """Take a turn in the flow run that calls this, and show in Prefect how it went.

    Returns:
        How it ended, and the run's final state, which says the same.

    Raises:
        ConfigError: a person must change the fleet, a block or the master; nothing was done.
        OverrideRefused: the request goes beyond the fleet's limits; nothing was done.
    """
    async with open_client() as client:
        deployment = await own_deployment(client) if flow == "autoscale" else None
        log = get_run_logger()
        if why := called_off(deployment):
            skipped = Skipped(SkipReason.CALLED_OFF, why)
            return skipped, await report(client, fleet, skipped)
        around = Surroundings(
            ledger=PrefectLedger(client),
            open_fleet=opens_fleets(client),
            run=RunIdentity(flow, str(flow_run.get_id()), deployment.name if deployment is not None else ""),
            carry_out=carry_out,
            call_sooner=calls_sooner(client, deployment, log),
            log=log,
        )
        result = await take_turn(fleet, around, dry_run=dry_run, request=request)
        return result, await report(client, fleet, result)
