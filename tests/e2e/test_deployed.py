"""Fleets as a person runs them: `prefect deploy`, a real process worker, schedules, and `prefect deployment run`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from prefect.client.orchestration import get_client

from ebbflow.flows.deploying import switch_schedules
from ebbflow.standins.process import running
from tests.e2e.deploying import BY_RUNNER, POOL, deploy, deployments, prefect, runs_of, write_prefect_file
from tests.e2e.prefect_house import PrefectHouse, flow_run
from tests.e2e.processes import processes_with, until
from tests.e2e.world import PrefectWorld, PrefectWorlds, World, opened_worlds

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]

INTERVAL = 24
PATIENCE_SECONDS = 300.0
"""On a slow machine that others share a run begins half a minute after it is due: each costs up to ten CPU seconds."""


@dataclass
class Site:
    """Three deployed fleets and the worker that runs them."""

    worlds: PrefectWorlds
    expiring: PrefectWorld
    lowered: PrefectWorld
    crashing: PrefectWorld
    spoken: PrefectWorld
    log: Path
    environment: Mapping[str, str]

    async def eventually(self, holds: Callable[[], object], what: str) -> None:
        """Wait, and show what the worker said where it does not come."""
        try:
            await until(holds, what, PATIENCE_SECONDS)
        except AssertionError as error:
            pytest.fail(f"{error}; the worker's log ends with:\n{self.log.read_text()[-4000:]}")


@pytest.fixture(scope="module")
async def site(
    anyio_backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: str,
    prefect_environment: dict[str, str],
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("deployed")
    environment = {**prefect_environment, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_LOGGING_LEVEL": "INFO"}
    async with opened_worlds(folder, PrefectHouse(prefect_environment)) as worlds:
        expiring, lowered = await worlds(interval_seconds=INTERVAL), await worlds(interval_seconds=INTERVAL)
        crashing, spoken = await worlds("--start_seconds", "12"), await worlds(interval_seconds=INTERVAL)
        rows = [
            *deployments(expiring, scheduled=True, runs_by=BY_RUNNER),
            *deployments(lowered, scheduled=True, runs_by=BY_RUNNER),
            *deployments(crashing, scheduled=False, runs_by=BY_RUNNER),
        ]
        write_prefect_file(folder, rows)
        await deploy(environment, folder)
        log = folder / "worker.log"
        command = [sys.executable, "-m", "ebbflow.cli", "runner", "--pool", POOL]
        with running(command, environment=environment, log=log):
            yield Site(worlds, expiring, lowered, crashing, spoken, log, environment)
            await prefect(environment, folder, "work-pool", "pause", POOL)


@pytest.mark.soak
async def test_a_deployed_fleet_lives_through_schedules_requests_and_an_override_that_expires(site: Site) -> None:
    up, both = site.expiring, (site.expiring, site.lowered)
    await site.eventually(lambda: all(len(world.processes()) == 1 for world in both), "scheduled turns act")
    words = ("deployment", "run", "-p", "count=1", "-p")
    await asyncio.gather(
        prefect(site.environment, up.folder, *words, "hold_seconds=15", f"scale-up/{up.name}"),
        prefect(site.environment, up.folder, *words, "reason=a demo", f"scale-up/{site.lowered.name}"),
    )
    await site.eventually(lambda: all(len(world.processes()) == 2 for world in both), "scale-up adds one")
    await prefect(site.environment, up.folder, *words, "reason=enough", f"scale-down/{site.lowered.name}")
    await site.eventually(lambda: len(up.processes()) == 1, "the override expires, and the worker goes")
    await site.eventually(lambda: len(site.lowered.processes()) == 1, "scale-down ends one")
    for world in both:
        deadline = time.monotonic() + 30
        while await world.members() != set(world.processes()):
            assert time.monotonic() < deadline, f"{await world.members()} {world.processes()}"
            await asyncio.sleep(0.2)
        assert set(world.starts().values()) == {1}
        assert len(world.starts()) == 2
    runs = [run for world in both for run in await runs_of(world)]
    names = [run.name for run in runs]
    assert any(name.startswith(f"{up.name}: +1 (") for name in names), names
    assert any(name.startswith(f"{site.lowered.name}: -1 (") for name in names), names
    failed = [run.name for run in runs if run.state and (run.state.is_failed() or run.state.is_crashed())]
    assert failed == [], site.log.read_text()[-4000:]
    said = site.log.read_text()
    assert "turn server" in said
    assert "not by the turn server" not in said, "every run was its child"
    async with get_client() as client:
        # The other tests of the site would wait for their runs behind these.
        await switch_schedules(client, {f"autoscale/{world.name}": () for world in both})


@pytest.mark.soak
async def test_a_flow_that_is_killed_under_the_worker_is_made_good_by_later_turns(site: Site) -> None:
    world = site.crashing
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"autoscale/{world.name}")
        run = await client.create_flow_run_from_deployment(deployment.id)
    await site.eventually(world.processes, "the flow launches a worker")
    (started,) = world.processes()
    flows = processes_with("PREFECT__FLOW_RUN_ID", str(run.id)) or processes_with("PREFECT_FLOW_RUN_ID", str(run.id))
    assert flows, site.log.read_text()[-3000:]
    assert started not in {environment.get("EBBFLOW_WORKER_ID") for environment in flows.values()}
    for pid in flows:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (state := (await flow_run(run.id)).state) or not state.is_crashed():
        assert time.monotonic() < deadline, f"{state}; {site.log.read_text()[-3000:]}"
        await asyncio.sleep(0.2)
    assert set(world.processes()) == {started}, "the worker outlives its launcher"
    for _ in range(2):
        turn = await world.acted()
    await world.is_right(1)
    assert set(world.processes()) == {started}, turn.said


async def ebbflow(site: Site, *words: str, code: int = 0) -> str:
    """Run our command as a person does, at the site's server."""
    command = [str(Path(sys.executable).with_name("ebbflow")), *words]
    done = await anyio.run_process(
        command, env=dict(site.environment), check=False, stderr=subprocess.STDOUT
    )  # fmt: skip
    said = done.stdout.decode()
    assert done.returncode == code, f"ebbflow {' '.join(words)}: {said[-3000:]}\n{site.log.read_text()[-3000:]}"
    return said


async def status(site: Site, fleet: str) -> dict[str, Any]:
    (found,) = json.loads(await ebbflow(site, "status", fleet, "--json"))
    assert isinstance(found, dict)
    return found


@pytest.mark.soak
async def test_the_command_is_a_persons_word_over_a_deployed_fleet_and_tells_what_came_of_it(site: Site) -> None:
    world = site.spoken
    folder = world.folder / "fleet"
    folder.mkdir()
    write_prefect_file(folder, deployments(world, scheduled=True, runs_by=BY_RUNNER))
    (folder / "blocks.yaml").write_text(json.dumps({"blocks": [another_master(world)]}))
    for _ in range(2):
        made = await ebbflow(site, "up", str(folder))
        assert f"block swarmui-master/{world.name}-2 is saved\nwork pool {POOL} is there\n" in made
    assert sorted(path.name for path in folder.iterdir()) == ["blocks.yaml", "prefect.yaml"]
    new = await status(site, world.name)
    assert (new["record"], new["workers"], new["turns"]["come"]) == (None, [], False)
    assert f"the schedule of autoscale/{world.name} is off" in new["turns"]["text"]
    said = await ebbflow(site, "scale", "2", "--fleet", world.name, "--reason", "a demo", "--for", "30m")
    assert [line.split("(")[1] for line in said.splitlines()] == [
        "floor by a person: a demo)",
        "ceiling by a person: a demo)",
    ]
    await site.eventually(lambda: len(world.processes()) == 2, "exactly two were asked for")
    await ebbflow(site, "pause", "--fleet", world.name)
    held = await status(site, world.name)
    assert [(each["kind"], each["count"]) for each in held["overrides"]] == [("floor", 2), ("ceiling", 2), ("pause", 0)]
    assert sorted(each["id"] for each in held["workers"]) == sorted(world.processes())
    floor = held["overrides"][0]["id"]
    await ebbflow(site, "override", "end", floor[:12], "--fleet", world.name)
    await ebbflow(site, "resume", "--fleet", world.name)
    left = await status(site, world.name)
    assert [each["kind"] for each in left["overrides"]] == ["ceiling"]
    assert "is not paused" in await ebbflow(site, "resume", "--fleet", world.name, code=4)
    refused = await ebbflow(site, "scale", "+60", "--fleet", world.name, code=4)
    assert "max_workers" in refused
    assert "there is no fleet 'nobody'" in await ebbflow(site, "status", "nobody", code=2)
    assert "there is no fleet 'nobody'" in await ebbflow(site, "scale", "+1", "--fleet", "nobody", code=2)
    checked = json.loads(await ebbflow(site, "check", str(folder), "--json", "--turn"))
    assert {finding["level"] for finding in checked["findings"]} == {"fine"}, checked
    assert any("answers, version" in finding["text"] for finding in checked["findings"])
    assert "**Demand** 0 queued and 0 running" in checked["turns"][0]
    compared = json.loads(await ebbflow(site, "check", str(folder), "--json", "--past", "1h", "--fail-above", "0"))
    (past,) = compared["pasts"]
    assert (past["fleet"], past["worker_hours_percent"], past["missing"]) == (world.name, 0.0, [])
    begun = await ebbflow(site, "up", str(folder), "--start", "--alerts")
    assert [line.endswith("is made") for line in begun.splitlines() if line.startswith("alert ")] == [True] * 3
    assert "is off" not in (await status(site, world.name))["turns"]["text"]
    assert "the schedule of autoscale" in await ebbflow(site, "up", str(folder)), "what is on stays on"
    ended = await ebbflow(site, "down", world.name)
    *_, left_over, failed, silent, stuck, stays = ended.splitlines()
    assert left_over == f"{world.name}: nothing is left"
    assert [line.endswith("is removed") for line in (failed, silent, stuck)] == [True] * 3
    assert (world.processes(), await world.members()) == ({}, set())
    again = await ebbflow(site, "down", world.name)
    assert again.splitlines()[-2:] == [f"{world.name}: nothing is left", stays], "and stays so"
    assert f"work pool {POOL}; `prefect deployment delete NAME`" in stays
    off = (await status(site, world.name))["turns"]["text"]
    assert "is off" in off


def another_master(world: World) -> dict[str, Any]:
    return {"block": f"swarmui-master/{world.name}-2", "address": world.master.url}
