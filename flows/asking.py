"""Start a flow of a fleet by its deployment, as a person does in the UI, and tell what came of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.deployments.flow_runs import arun_deployment

from ebbflow.core.errors import ConfigError
from ebbflow.core.text import one_line
from ebbflow.flows.standings import deployed_fleets
from ebbflow.turn.standing import chosen

POLL_SECONDS = 0.5


_RAISED = re.compile(r"Flow run encountered an exception: \w+: ")


def message_of(state: State) -> str:
    """What a run says of its end, without what Prefect puts before the words of an error."""
    return _RAISED.sub("", one_line(state.message or state.name or ""), count=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a run."""

    text: str
    is_over: bool
    is_refused: bool = False
    """It failed, and nothing was changed."""


async def ask_deployment(
    client: PrefectClient, fleet: str | None, flow: str, parameters: Mapping[str, Any], *, wait_seconds: float
) -> Answer:
    """Run a flow of a fleet through its deployment, with that deployment's own fleet.

    Args:
        client: of the server.
        fleet: its name; None: the only one that is deployed.
        flow: such as `scale_up`.
        parameters: beside the fleet. Any: what the flow takes.
        wait_seconds: for the run to be over.

    Raises:
        ConfigError: the fleet has no deployment of that flow.
        ValueError: there is no such fleet, or none or several to choose from; says which there are.
    """
    deployed = await deployed_fleets(client)
    name = chosen(sorted(deployed), fleet)
    ways = sorted(
        (each.response.name for each in deployed[name] if each.flow == flow), key=lambda way: (way != name, way)
    )
    said = flow.replace("_", "-")
    if not ways:
        raise ConfigError(
            f"fleet {name!r} has no deployment of {said}: add one to its prefect.yaml (entrypoint "
            f"ebbflow.flows.{flow}.{flow}, the same fleet as its parameter), and deploy it"
        )
    run = await arun_deployment(
        f"{said}/{ways[0]}",
        client=client,
        parameters=dict(parameters),
        timeout=wait_seconds,
        poll_interval=POLL_SECONDS,
        as_subflow=False,
    )
    state = run.state
    message = message_of(state) if state is not None else ""
    if state is None or not state.is_final():
        where = f"run {run.name!r} of {said}/{ways[0]} has not ended in {wait_seconds:g} s"
        return Answer(f"{where}: does a Prefect worker poll its pool? `ebbflow status` tells", is_over=False)
    if state.is_crashed() or state.is_cancelled():
        return Answer(f"run {run.name!r} of {said}/{ways[0]} did not come to its end: {message}", is_over=False)
    return Answer(message, is_over=True, is_refused=not state.is_completed())
