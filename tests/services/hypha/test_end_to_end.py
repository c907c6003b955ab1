"""The whole way, on a real Slurm, a real Ray, a real Hypha server and a real Prefect: what docs/hypha.md says, typed.

Start a head, register the service, submit by a remote call, a worker's job starts, the result comes back, the job ends
when it is idle.
"""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.moved_fleet import PATIENCE_SECONDS
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.test_slurm_ray import RAY, block
from tests.ray.cluster import RayCluster
from tests.ray.fixtures import ray
from tests.ray.fleet import RayFleet
from tests.services.hypha.running import COMMAND, RunningService
from tests.services.hypha.server import hypha_server, token
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session
from tests.test_docs import snippets

__all__ = ["ray", "slurm", "slurm_session"]

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

PAGE = Path(__file__).parents[3] / "docs" / "hypha.md"
SERVICE = "ws-user-operator/ebbflow"


@pytest.fixture
async def fleet(
    anyio_backend: str,
    ray: RayCluster,
    slurm: Cluster,
    tmp_path: Path,
    prefect_server: str,
    prefect_environment: dict[str, str],
) -> RayFleet:
    written = RAY.content["definitions"]["fleet"]
    sections = {
        **written,
        "policy": {**written["policy"], "idle_seconds": 10},
        "limits": {**written["limits"], "max_workers": 2, "min_idle_seconds": 10},
    }
    made = RayFleet(ray, PrefectHouse(prefect_environment), tmp_path, **sections)
    await made.save(block(slurm, ray, tmp_path))
    return made


def typed(line: str) -> list[str]:
    """A command, as it stands on the page."""
    assert any(line in body.splitlines() for body in snippets(PAGE, "sh")), f"{line} is not on the page"
    return shlex.split(line)


async def events_of(api: str, fleet: str) -> list[dict[str, Any]]:
    """What the history of a fleet has of the service, once the server has taken it."""
    wanted = {"filter": {"resource": {"id": [f"ebbflow.fleet.{fleet}"]}, "event": {"prefix": ["ebbflow.hypha."]}}}
    found: list[dict[str, Any]] = []
    async with httpx.AsyncClient() as client:
        for _ in range(60):
            answer = await client.post(f"{api}/events/filter", json=wanted)
            answer.raise_for_status()
            found = answer.json()["events"]
            if len(found) >= 2:
                break
            await asyncio.sleep(0.5)
    return found


async def test_submitted_from_outside_work_brings_a_worker_its_result_comes_back_and_the_worker_goes(
    fleet: RayFleet, slurm: Cluster, prefect_server: str, tmp_path: Path
) -> None:
    def jobs() -> dict[str, tuple[str, str]]:
        return slurm.names(f"ebbflow.{fleet.name}.")

    with hypha_server(tmp_path) as server:
        (written,) = snippets(PAGE, "yaml")
        here = {"hypha": server.url, "ray": fleet.ray.address, "fleet": fleet.name, "prefect": prefect_server}
        people = {"allow": ["email:ada@example.org"], "admins": []}
        service = RunningService(tmp_path / "service", {**yaml.safe_load(written), **here, **people})
        assert typed("ebbflow hypha hypha.yaml")[1:] == ["hypha", "hypha.yaml"]
        assert COMMAND[-2:] == ["ebbflow.cli", "hypha"], "hypha.yaml is what it reads where nothing is said"
        service.start(EBBFLOW_HYPHA_TOKEN=token("operator"), RAY_AUTH_TOKEN=fleet.ray.token)
        try:
            await service.says(f"registered as {SERVICE}:ebbflow")

            refused = await submit(tmp_path, server.url, token("eve"))
            said, _ = await refused.communicate()
            assert "PermissionError: eve (eve@example.org) may not call submit" in said.decode()
            assert jobs() == {}

            asked = await submit(tmp_path, server.url, token("ada"))
            await fleet.turns_until(jobs, "a worker's job is there")
            # No turns until then: theirs is a quick time, in which the worker would have gone before its job is read.
            said, _ = await asyncio.wait_for(asked.communicate(), PATIENCE_SECONDS)
            assert asked.returncode == 0, said.decode()
            assert "the answer is 42\n" in said.decode(), said.decode()

            await fleet.turns_until(lambda: not jobs(), "the worker's job has ended, as it was idle")
            async with server.client(token("ada")) as ada:
                cluster = await ada.get_service(SERVICE)
                (kept,) = (await cluster.status())["jobs"]
                assert "the answer is 42" in (await cluster.result(kept["job_id"]))["output"], "its worker is gone"
                assert await cluster.workers() == {"workers": []}
                assert re.search(r"the fleet's last decision: 20\d\d-\S+Z: \w+", (await cluster.why())["why"][-1])
            events = await events_of(prefect_server, fleet.name)
            assert {
                ("ebbflow.hypha.refused", "eve (eve@example.org)"),
                ("ebbflow.hypha.submit", "ada (ada@example.org)"),
            } <= {(event["event"], event["payload"]["caller"]) for event in events}
            service.send(signal.SIGTERM)
            assert await service.ended() == 0, service.said()
        finally:
            service.kill()


async def submit(folder: Path, url: str, of: str) -> asyncio.subprocess.Process:
    """The page's own program, as somebody outside calls it."""
    (program,) = snippets(PAGE, "python")
    (folder / "submit.py").write_text(program)
    words = typed("python submit.py")
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *words[1:],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HYPHA_URL": url, "HYPHA_TOKEN": of, "CLUSTER": SERVICE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
