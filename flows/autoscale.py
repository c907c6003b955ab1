"""The scheduled flow: one turn of a fleet every interval."""

from prefect import flow
from prefect.client.schemas.objects import State

from ebbflow.fleet.model import Fleet
from ebbflow.flows.own_run import NO_RESULTS
from ebbflow.flows.refusals import refuses
from ebbflow.flows.running import run_turn


@flow(
    name="autoscale",
    flow_run_name="{fleet.name}: turn",
    retries=0,
    validate_parameters=True,
    persist_result=False,
    result_storage=NO_RESULTS,
)
@refuses
async def autoscale(
    fleet: Fleet,
    dry_run: bool = False,
) -> State:
    """Evaluate a fleet once: keep its workers alive, observe, decide, record and claim, act, note the outcome.

    Args:
        fleet: Whose turn it is, with its providers, policy and limits. What is changed here counts for this run alone.
        dry_run: Look and decide, and change nothing anywhere.
    """
    _, state = await run_turn(fleet, flow="autoscale", dry_run=dry_run)
    return state
