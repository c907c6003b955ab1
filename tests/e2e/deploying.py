"""Fleets of a test as a person deploys them: a `prefect.yaml`, a work pool, `prefect deploy`, and the runs of it."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from tests.e2e.world import World

POOL = "e2e-processes"
ONE_PYTHON = {"job_variables": {"command": f"{sys.executable} -m prefect.engine"}}
"""For a work pool of tests: of the two Pythons that a process worker begins in a row for each run, the second alone."""
BY_RUNNER = "ebbflow run-turn"
BY_A_WORKER = f"{sys.executable} -m prefect.flow_engine"
PER_PAGE = 200


async def prefect(environment: Mapping[str, str], folder: Path, *words: str) -> str:
    """Run Prefect's command line as a person does."""
    done = await anyio.run_process(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        env=dict(environment), cwd=folder, check=False, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"prefect {' '.join(words)}: {done.stdout.decode()[-3000:]}"
    return done.stdout.decode()


def deployments(
    world: World, *, scheduled: bool, runs_by: str = BY_A_WORKER, pool: str = POOL, **sections: Any
) -> list[dict[str, Any]]:
    """What stands in a `prefect.yaml` for one fleet, whose runs are started so."""
    fleet = world.fleet_json(**sections)
    flows = {"autoscale": "autoscale", "scale-up": "scale_up", "scale-down": "scale_down", "override": "override"}
    rows: list[dict[str, Any]] = [
        {
            "name": world.name,
            "entrypoint": f"ebbflow.flows.{function}:{function}",
            "parameters": {"fleet": fleet},
            "work_pool": {
                "name": pool,
                "job_variables": {"command": f"{runs_by} ebbflow.flows.{function}:{function}"},
            },
            "tags": [f"fleet:{world.name}"],
        }
        for function in flows.values()
    ]
    if scheduled:
        rows[0]["schedules"] = [{"interval": fleet["interval_seconds"]}]
    return rows


def write_prefect_file(folder: Path, rows: Sequence[Mapping[str, Any]], *, runs_in: Path | None = None) -> None:
    """A `prefect.yaml` of these deployments, whose runs begin in its folder or in another one."""
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(runs_in or folder)}}]
    # JSON is YAML.
    (folder / "prefect.yaml").write_text(json.dumps({"name": "e2e", "pull": pull, "deployments": rows}))


async def deploy(environment: Mapping[str, str], folder: Path, *, pool: str = POOL) -> None:
    """Make the work pool, and deploy everything in a folder's `prefect.yaml`."""
    await prefect(environment, folder, "work-pool", "create", pool, "--type", "process")
    await prefect(environment, folder, "deploy", "--all")


async def runs_of(world: World) -> list[FlowRun]:
    """Every run of a fleet's flows that the server knows, also those that are still to come."""
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"fleet:{world.name}"]))
    found: dict[str, FlowRun] = {}
    async with get_client() as client:
        while True:
            page = await client.read_flow_runs(flow_run_filter=wanted, limit=PER_PAGE, offset=len(found))
            found |= {str(run.id): run for run in page}
            if len(page) < PER_PAGE:
                return list(found.values())
