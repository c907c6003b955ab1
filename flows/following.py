"""A turn more than the schedule has, where work waits: one run of the same deployment, asked for ahead of its time.

A turn asks that sees work wait, or a poll between two turns to which the first of them was blind. After one record one
run comes at most, whoever asks and however often.
"""

from datetime import UTC, datetime

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Scheduled

from ebbflow.blocks.client import going_on
from ebbflow.core.canonical import canonical, digest
from ebbflow.core.observation import Inputs
from ebbflow.flows.own_run import own_run
from ebbflow.flows.standings import is_on
from ebbflow.turn.surroundings import CallsSooner, Log

TAG = "sooner"
"""Of runs that came so, beside those that every turn has."""
DEPLOYED = "ebbflow_deployed"
"""In their context: what their deployment was then."""
NOBODY_CAME = "no turn could be asked for before the next one is due"
CALL_SECONDS = 5.0
"""What a turn waits for that is about to act."""


def calls_sooner(
    client: PrefectClient, deployment: DeploymentResponse | None, log: Log, *, call_seconds: float = CALL_SECONDS
) -> CallsSooner:
    """What asks for the next turn of a deployment; of one without a schedule that runs, nobody is asked.

    Args:
        client: of the server.
        deployment: that our run is of; None: of none. Where a person has stopped its schedule, turns end with this one.
        log: of the run.
        call_seconds: that the server is given.
    """

    async def call(inputs: Inputs, at_seconds: float) -> None:
        if deployment is None or not is_on(deployment):
            return
        with anyio.move_on_after(call_seconds) as limit, going_on(log, NOBODY_CAME):
            await ask_after(
                client,
                deployment,
                fleet=inputs.fleet,
                chain=inputs.chain,
                number=inputs.number,
                at_seconds=at_seconds,
                why=f"work waited in turn {inputs.number}",
            )
        if limit.cancelled_caught:
            log.warning("%s: the server did not answer within %g s", NOBODY_CAME, call_seconds)

    return call


async def ask_after(
    client: PrefectClient,
    deployment: DeploymentResponse,
    *,
    fleet: str,
    chain: str,
    number: int,
    at_seconds: float,
    why: str,
) -> None:
    """Ask for the one run that may come sooner after a record; if it was asked for before, that one comes.

    Args:
        client: of the server.
        deployment: as it is now; a run is called off once a person has changed it.
        fleet: its name.
        chain: of the record.
        number: of the record.
        at_seconds: when it shall begin, epoch seconds.
        why: shown with the run, in words.
    """
    await client.create_flow_run_from_deployment(
        deployment.id,
        state=Scheduled(scheduled_time=datetime.fromtimestamp(at_seconds, UTC), message=why),
        idempotency_key=f"ebbflow-{fleet}-{chain}-{number}",
        tags=[TAG],
        context={DEPLOYED: written(deployment)},
    )


def called_off(deployment: DeploymentResponse | None) -> str:
    """Why our run is not wanted any more, where a turn asked for it and a person has changed its deployment since.

    Runs that the schedule has planned are taken back with it; those that were asked for are not.
    """
    run = own_run()
    if run is None or deployment is None or TAG not in run.tags:
        return ""
    if not is_on(deployment):
        return f"the schedule of {deployment.name} was stopped since this turn was asked for"
    if run.context.get(DEPLOYED) != written(deployment):
        return f"{deployment.name} was deployed anew since this turn was asked for"
    return ""


def written(deployment: DeploymentResponse) -> str:
    """A hash of what it was deployed with: in a run's own parameters a server has put in what variables hold."""
    return digest(canonical(deployment.parameters))
