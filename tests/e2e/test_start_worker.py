"""`ebbflow start-worker` as SwarmUI's auto-scaling backend runs it, with a deployed fleet and the shipped file."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from ebbflow.fleet.deployed import PREFECT_WORKER
from ebbflow.standins.process import running
from tests.e2e.deploying import ONE_PYTHON, POOL, deploy, deployments, prefect, write_prefect_file
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import until
from tests.e2e.ready_made import ROOT
from tests.e2e.world import PrefectWorld, opened_worlds

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

INTERVAL = 17
PATIENCE_SECONDS = 150.0


@dataclass
class Scaled:
    """A deployed fleet behind a played auto-scaling backend."""

    world: PrefectWorld
    script: Path
    log: Path

    async def call(self) -> asyncio.subprocess.Process:
        """Run the start script as that backend does."""
        return await asyncio.create_subprocess_exec(
            self.script,
            "an argument of an extension",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    async def answer(self) -> str:
        """What it prints, with nothing on standard error, and ended with 0."""
        script = await self.call()
        said, errors = await asyncio.wait_for(script.communicate(), PATIENCE_SECONDS)
        assert (script.returncode, errors) == (0, b""), (said, errors)
        return said.decode()


@pytest.fixture(scope="module")
async def scaled(
    anyio_backend: str,
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: str,
    prefect_environment: dict[str, str],
) -> AsyncIterator[Scaled]:
    folder = tmp_path_factory.mktemp("scaled")
    script = folder / "start-worker.sh"
    settings = {"script": str(script), "min_queued": 1, "seconds_between_starts": 1, "min_idle_seconds": 25}
    environment = {**prefect_environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    async with opened_worlds(folder, PrefectHouse(prefect_environment)) as worlds:
        world = await worlds(
            master={"workers_by": "auto_scaling_backend"},
            options=("--auto_scaling", json.dumps(settings)),
            interval_seconds=INTERVAL,
            policy={"kind": "no"},
            limits={"min_workers": 0, "max_workers": 2},
            readiness={"connect_timeout_seconds": 2, "launch_timeout_seconds": 40},
        )
        script.write_text(_script(environment, world.name, folder))
        script.chmod(0o755)
        rows = deployments(world, scheduled=True)
        pool = f"{POOL}-scaled"
        for row in rows:
            row["work_pool"] = {"name": pool, **ONE_PYTHON}
        write_prefect_file(folder, rows)
        await deploy(environment, folder, pool=pool)
        log = folder / "worker.log"
        command = [sys.executable, "-m", "prefect", *PREFECT_WORKER, "--pool", pool]
        with running(command, environment=environment, log=log):
            yield Scaled(world, script, log)
            await prefect(environment, folder, "work-pool", "pause", pool)


def _script(environment: Mapping[str, str], fleet: str, home: Path) -> str:
    """The shipped file, with this server, this fleet, and an environment as the master's own."""
    shipped = (ROOT / "swarmui-start-script/start-worker.sh").read_text().replace("swarm-scaled", fleet)
    first, rest = shipped.split("\n", 1)
    own = {name: value for name, value in environment.items() if name.startswith(("PREFECT", "SSL"))}
    own |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in own.items())
    return f"{first}\n{exports}\n{rest}"


async def test_a_request_at_zero_is_served_by_a_worker_of_the_fleet_which_that_backend_ends(scaled: Scaled) -> None:
    world = scaled.world
    burst = await asyncio.wait_for(asyncio.gather(*(world.generate(steps=1) for _ in range(5))), PATIENCE_SECONDS)
    served = sum(bool(image.get("images")) for image in burst)
    # Only the request whose look started the launch waits for it: that backend's own rule.
    assert served == 1, scaled.log.read_text()[-3000:]
    (worker,) = world.processes()
    await until(lambda: not world.processes(), "it is ended after its idle time", PATIENCE_SECONDS)
    # Two turns of the schedule later nobody has come in its place, and nothing is remembered of it.
    await asyncio.sleep(2 * INTERVAL)
    assert world.starts() == {worker: 1}


async def test_called_twice_at_once_it_starts_two_and_a_third_is_declined_with_the_limit(scaled: Scaled) -> None:
    world = scaled.world
    both = await asyncio.gather(scaled.answer(), scaled.answer())
    urls = [
        re.findall(r"\[SwarmAutoScaleBackend\]NewURL: (http://\S+)\[/SwarmAutoScaleBackend\]", said) for said in both
    ]
    assert all(len(url) == 1 for url in urls), both
    assert urls[0] != urls[1]
    assert all(said.startswith("[SwarmAutoScaleBackend]DoRetries: 1[/SwarmAutoScaleBackend]\n") for said in both)
    third = await scaled.answer()
    assert third.startswith("[SwarmAutoScaleBackend]DeclareFailed: "), third
    assert "max_workers" in third, third
    # Nobody takes them, since nobody asked for them in the master.
    await until(lambda: not world.processes(), "who is not taken is ended by the fleet", 2 * PATIENCE_SECONDS)


async def test_killed_while_it_waits_it_leaves_its_worker_to_the_fleet_which_ends_it(scaled: Scaled) -> None:
    world = scaled.world
    script = await scaled.call()
    await until(world.processes, "it was launched", PATIENCE_SECONDS)
    os.killpg(script.pid, signal.SIGKILL)
    said, _ = await script.communicate()
    assert b"NewURL" not in said
    await until(lambda: not world.processes(), "who is not taken is ended by the fleet", 2 * PATIENCE_SECONDS)


@pytest.mark.oldest_prefect
async def test_told_to_end_it_says_so(scaled: Scaled) -> None:
    script = await scaled.call()
    await asyncio.sleep(3)
    os.killpg(script.pid, signal.SIGTERM)
    said, _ = await asyncio.wait_for(script.communicate(), 20)
    assert said == (
        b"[SwarmAutoScaleBackend]DeclareFailed: it was told to end; who still comes is ended by the fleet"
        b"[/SwarmAutoScaleBackend]\n"
    )


async def test_a_paused_fleet_declines_with_its_reason(scaled: Scaled) -> None:
    world = scaled.world
    await until(lambda: not world.processes(), "nobody is there", 2 * PATIENCE_SECONDS)
    pause = [str(Path(sys.executable).with_name("ebbflow")), "pause", "-f", world.name, "--reason", "serviced"]
    environment = {**os.environ, **world.environment}
    done = await anyio.run_process(pause, env=environment, check=False, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    said = await scaled.answer()
    assert said.startswith("[SwarmAutoScaleBackend]DeclareFailed: nobody was launched: "), said
    assert "pause" in said, said
