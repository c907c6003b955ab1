"""The ready-made Ray fleet on Slurm: what its page and its files say is tried on a real cluster and a real head."""

import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ebbflow.blocks import SlurmProvider
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.ready_made import ReadyMade
from tests.ray.cluster import STORE_BYTES, RayCluster
from tests.ray.fixtures import ray
from tests.ray.fleet import OFFERS, RayFleet
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session

__all__ = ["ray", "slurm", "slurm_session"]

RAY = ReadyMade("slurm-ray")
TOKEN = {"RAY_AUTH_TOKEN": "example"}

pytestmark = pytest.mark.anyio


def block(slurm: Cluster, ray: RayCluster, folder: Path) -> SlurmProvider:
    """The folder's own block, on the test's cluster."""
    setup = folder / "setup.sh"
    setup.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in ray.environment.items()))
    plain = RAY.blocks(**TOKEN)["slurm-provider"].model_dump(exclude={"block_type_slug"})
    given = {"RAY_SETUP": str(setup), "RAY_OBJECT_STORE_BYTES": str(STORE_BYTES)}
    here = {"slurm_conf": str(slurm.conf), "cpus": 2, "capabilities": OFFERS, "memory": "1G", "partition": None}
    return SlurmProvider.model_validate({**plain, **here, "output_folder": str(folder), "environment": given})


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
    sections = {**written, "limits": {**written["limits"], "max_workers": 3, "min_idle_seconds": 30}}
    made = RayFleet(ray, PrefectHouse(prefect_environment), tmp_path, **sections)
    await made.save(block(slurm, ray, tmp_path))
    return made


@pytest.mark.soak
async def test_a_burst_brings_jobs_all_tasks_run_a_cancelled_busy_one_is_survived_and_idle_jobs_end(
    fleet: RayFleet, slurm: Cluster
) -> None:
    def jobs() -> dict[str, str]:
        return {job: name for job, (name, _) in slurm.names(f"ebbflow.{fleet.name}.").items() if job != namesake}

    namesake = slurm.submit(f"ebbflow.{fleet.name}.{fleet.name}-3f9c-1-0", comment="home=zzzzz")
    foreign = slurm.submit("somebody-elses")
    burst = await fleet.ray.work(5, 3)
    await fleet.turns_until(lambda: len(burst.began()) == 5, "all tasks have begun")
    assert 2 <= len(jobs()) <= 3
    await burst.is_done()
    assert {number: len(nodes) for number, nodes in burst.began().items()} == dict.fromkeys(range(5), 1)

    long = await fleet.ray.work(1, 0, held=True)
    await fleet.turns_until(long.began, "the long task has begun")
    (node,) = long.began()[0]
    (worker,) = [name.rpartition(".")[2] for name in jobs().values() if fleet.ray.nodes(name.rpartition(".")[2])
                 and fleet.ray.nodes(name.rpartition(".")[2])[-1]["node_id"] == node]  # fmt: skip
    slurm.run("scancel", next(job for job, name in jobs().items() if name.endswith(worker)))
    await fleet.turns_until(lambda: len(long.began()[0]) == 2, "it began again elsewhere")
    long.release()
    await long.is_done()

    await fleet.turns_until(lambda: not jobs(), "idle jobs end")
    assert {namesake, foreign} <= set(slurm.jobs()), "jobs of others are untouched"


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    blocks = RAY.blocks(**TOKEN)
    provider, master = blocks["slurm-provider"], blocks["ray-master"]
    RAY.check_fleet(provider.get_provider().caps, master)
    RAY.check_deployments()
    assert RAY.fleet.readiness.launch_timeout_seconds > provider.start_within_seconds
    assert master.token.get_secret_value() == "example"
    told = {f"cpu={provider.cpus}", "gpu" if provider.gpus == 1 else f"gpu={provider.gpus}"}
    assert set(provider.capabilities) == told, "a job asks for what its fleet counts on"


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    await RAY.is_deployed_as_its_page_says({**prefect_environment, **TOKEN})
    for deployment in await RAY.deployed():
        assert deployment.work_pool_name == "slurm-login"


PLAYED_RAY = """#!{python}
import pathlib, signal, sys, time
if sys.argv[1] == "--version":
    print("ray, version 2.60.0")
    sys.exit()
print(*sys.argv[1:], flush=True)
(folder,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--temp-dir=")]
logs = pathlib.Path(folder, "session_1", "logs")
logs.mkdir(parents=True)
(logs / "raylet.err").write_text("why it did not start\\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit("drained"))
time.sleep({seconds})
sys.exit(3)
"""


class PlayedJob:
    """worker.sh as Slurm runs it, with a `ray` that prints its words, fails later on, and drains when told."""

    def __init__(self, folder: Path, seconds: float) -> None:
        ray = folder / "ray"
        ray.write_text(PLAYED_RAY.format(python=sys.executable, seconds=seconds))
        ray.chmod(0o755)
        self.store = folder / "ray-0123abcd"
        self.output = folder / "job.out"
        environment = {
            "PATH": f"{folder}:/usr/bin:/bin",
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "2",
            "RAY_RESOURCES": '{"a100": 2}',
            "EBBFLOW_WORKER_ID": "ray-3f9c-1-0",
        }
        words = [str(RAY.folder / "worker.sh"), "--address=login1:6379", f"--temp-dir={self.store}", "--block"]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)

    def said(self) -> str:
        """Its output."""
        return self.output.read_text()


def test_a_worker_says_its_versions_and_what_it_offers_and_why_its_node_did_not_start(tmp_path: Path) -> None:
    job = PlayedJob(tmp_path, seconds=0)
    assert job.process.wait(20) == 3
    first, offered, why = job.said().splitlines()
    assert first.startswith("ray-3f9c-1-0 on ")
    assert f"ray, version 2.60.0, Python {platform.python_version()}, 8 CPUs, 2 GPUs" in first
    assert {"--num-cpus=8", "--num-gpus=2", "--address=login1:6379", "2}"} <= set(offered.split())
    assert why == "why it did not start"
    assert not job.store.exists(), "a job leaves nothing on its node"


def test_a_worker_that_is_told_to_end_lets_ray_drain(tmp_path: Path) -> None:
    job = PlayedJob(tmp_path, seconds=60)
    deadline = time.monotonic() + 20
    while not (job.store / "session_1" / "logs" / "raylet.err").exists():
        assert time.monotonic() < deadline, job.said()
        time.sleep(0.05)
    job.process.terminate()
    assert job.process.wait(20) == 1
    assert "drained" in job.said()


@pytest.mark.parametrize("name", ["worker.sh", "head.sh"])
def test_its_scripts_can_be_run(name: str) -> None:
    assert os.access(RAY.folder / name, os.X_OK)
