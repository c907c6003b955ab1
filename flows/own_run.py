"""What a flow knows of the run that called it without asking for it again."""

from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import FlowRunContext

NO_RESULTS = Path("/nonexistent/ebbflow-keeps-no-results")
"""`result_storage` of flows whose results are not kept: without one Prefect asks its server three times for its own."""


def own_run() -> FlowRun | None:
    """The run that we are in, as it was when it began; None outside of one."""
    context = FlowRunContext.get()
    return None if context is None else context.flow_run


async def own_deployment(client: PrefectClient) -> DeploymentResponse | None:
    """The deployment that our run is of; None: of none."""
    run = own_run()
    if run is None or run.deployment_id is None:
        return None
    return await client.read_deployment(run.deployment_id)
