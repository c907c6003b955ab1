"""Deployments of the bench, and one run of them after the other."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from tests.benchmarks.world import ROOT, World

AUTOSCALE = "ebbflow.flows.autoscale"
MOST_SECONDS = 120.0
"""Of a run, from the wish to its end."""


def turns(parameter: dict[str, Any], command: Sequence[str] = ()) -> dict[str, Any]:
    """The deployment of a fleet's turns. Any: it is YAML.

    Args:
        parameter: the fleet.
        command: what the worker starts for each; none: what Prefect's worker starts by itself.
    """
    return deployment(parameter["name"], f"{AUTOSCALE}:autoscale", command) | {"parameters": {"fleet": parameter}}


def deployment(name: str, entrypoint: str, command: Sequence[str] = ()) -> dict[str, Any]:
    """One without parameters. Any: it is YAML."""
    variables = {"job_variables": {"command": " ".join(command)}} if command else {}
    return {"name": name, "entrypoint": entrypoint, "work_pool": variables}


def deploy(running: World, pool: str, deployments: Sequence[dict[str, Any]]) -> None:
    """Make the pool anew, and all these deployments on it. Any: it is YAML."""
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    pooled = [{**each, "work_pool": {"name": pool, **each["work_pool"]}} for each in deployments]
    file = running.folder / f"{pool}.yaml"
    file.write_text(yaml.safe_dump({"name": pool, "pull": pull, "deployments": pooled}))
    for arguments in (
        ["work-pool", "create", pool, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
    ):
        subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            env=running.environment,
            cwd=ROOT,
            check=True,
            timeout=MOST_SECONDS,
            stdout=subprocess.DEVNULL,
        )


async def ended_run(client: PrefectClient, name: str, *, look_seconds: float = 0.2) -> FlowRun:
    """One run of a deployment, once it has ended.

    Raises:
        TimeoutError: it has not.
    """
    found = await client.read_deployment_by_name(name)
    run = await client.create_flow_run_from_deployment(found.id)
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        run = await client.read_flow_run(run.id)
        if run.state is not None and run.state.is_final():
            return run
        await asyncio.sleep(look_seconds)
    raise TimeoutError(f"{name} did not end")


async def wall_seconds(client: PrefectClient, run: FlowRun) -> float:
    """From the worker's taking it (Pending) to its end: process start, imports and the flow itself."""
    states = await client.read_flow_run_states(run.id)
    taken = min(state.timestamp for state in states if state.type is StateType.PENDING)
    ended = max(state.timestamp for state in states if state.is_final())
    return (ended - taken).total_seconds()
