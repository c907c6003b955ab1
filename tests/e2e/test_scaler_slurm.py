"""The ready-made opengris-scaler fleet on Slurm: what its page and its files say is tried on a real cluster."""

import os
import platform
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ebbflow.adapters.masters.scaler.settings import Wire
from ebbflow.blocks import SlurmProvider
from ebbflow.standins.process import free_port
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.ready_made import ReadyMade
from tests.scaler.fleet import master_at
from tests.scaler.scheduler import RealScheduler, await_port, programs, real_scheduler
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session

__all__ = ["slurm", "slurm_session"]

SCALER = ReadyMade("scaler-slurm")

pytestmark = pytest.mark.anyio


def setup_file(folder: Path, wire: Wire = "2.9") -> Path:
    """What makes the package available to a job, as a site's own file does."""
    path = folder / "setup.sh"
    path.write_text(f"export PATH={programs(wire)}:$PATH\n")
    return path


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[RealScheduler]:
    with real_scheduler(tmp_path) as running:
        yield running


@pytest.fixture
async def fleet(
    anyio_backend: str,
    scheduler: RealScheduler,
    slurm: Cluster,
    tmp_path: Path,
    prefect_server: str,
    prefect_environment: dict[str, str],
) -> MovedFleet:
    written = SCALER.content["definitions"]["fleet"]
    sections = {
        **written,
        "limits": {**written["limits"], "max_workers": 3, "min_idle_seconds": 30},
        "policy": {**written["policy"], "upper_task_ratio": 2},
    }
    made = MovedFleet(PrefectHouse(prefect_environment), tmp_path, **sections)
    plain = SCALER.blocks()["slurm-provider"].model_dump(exclude={"block_type_slug"})
    here = {"slurm_conf": str(slurm.conf), "memory": "500M", "partition": None, "output_folder": str(tmp_path)}
    given = {"SCALER_SETUP": str(setup_file(tmp_path))}
    provider = SlurmProvider.model_validate({**plain, **here, "environment": given})
    await made.keep(master_at(scheduler), provider)
    return made


@pytest.mark.soak
async def test_tasks_bring_jobs_a_cancelled_busy_one_loses_none_and_idle_jobs_end(
    fleet: MovedFleet, scheduler: RealScheduler, slurm: Cluster
) -> None:
    def jobs() -> dict[str, str]:
        return {job: name for job, (name, _) in slurm.names(f"ebbflow.{fleet.name}.").items() if job != namesake}

    namesake = slurm.submit(f"ebbflow.{fleet.name}.{fleet.name}-3f9c-1-0", comment="home=zzzzz")
    foreign = slurm.submit("somebody-elses")
    scheduler.hold()
    client = scheduler.work(6, 0)
    await fleet.turns_until(lambda: len(jobs()) >= 2, "six tasks want more workers than one")
    await fleet.turns_until(scheduler.began, "they work")
    slurm.run("scancel", min(jobs()))
    await fleet.turns_until(lambda: len(scheduler.began()) > 1, "others go on")
    scheduler.release()
    await fleet.turns_until(lambda: client.poll() is not None, "all tasks are done")
    assert client.returncode == 0, "with their results"
    assert set(scheduler.began()) == set(range(6))
    assert max(Counter(scheduler.began()).values()) <= 2, "one that was cancelled begins once more"
    await fleet.turns_until(lambda: not jobs(), "idle jobs end")
    assert {namesake, foreign} <= set(slurm.jobs()), "jobs of others are untouched"


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    blocks = SCALER.blocks()
    provider, master = blocks["slurm-provider"], blocks["scaler-master"]
    SCALER.check_fleet(provider.get_provider().caps, master)
    SCALER.check_deployments()
    assert SCALER.fleet.readiness.launch_timeout_seconds > provider.start_within_seconds
    assert master.object_storage_address == "tcp://10.1.0.5:2346"
    assert set(provider.capabilities) <= set(master.capabilities), "a worker can do what the scheduler was told"


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    await SCALER.is_deployed_as_its_page_says(prefect_environment)
    for deployment in await SCALER.deployed():
        assert deployment.work_pool_name == "slurm-login"


@pytest.mark.soak
@pytest.mark.parametrize("wire", ["2.9", "1.15"])
def test_its_head_holds_a_queue_for_whoever_has_the_package_and_ends_when_told(wire: Wire, tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port(neighbours=2)}"
    given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SCALER_SETUP": str(setup_file(tmp_path, wire))}
    with (tmp_path / "head.log").open("wb") as log:
        head = subprocess.Popen(
            [SCALER.folder / "head.sh"], env={**given, "SCALER_ADDRESS": address}, stdout=log, stderr=log
        )
    try:
        await_port(address, of=head)
        head.send_signal(signal.SIGTERM)
        assert head.wait(20) == 0
    finally:
        head.kill()
        print((tmp_path / "head.log").read_text())
    await_port(address, is_open=False)


@pytest.mark.soak
def test_its_head_ends_with_its_object_storage_so_that_whoever_watches_it_sees_it(tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port(neighbours=2)}"
    given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SCALER_SETUP": str(setup_file(tmp_path))}
    with (tmp_path / "head.log").open("wb") as log:
        words = [str(SCALER.folder / "head.sh")]
        head = subprocess.Popen(words, env={**given, "SCALER_ADDRESS": address}, stdout=log, stderr=log)
    try:
        await_port(address, of=head)
        (storage,) = [
            child
            for child in psutil.Process(head.pid).children(recursive=True)
            if any(word.endswith("scaler_object_storage_server") for word in child.cmdline())
        ]
        storage.kill()
        assert head.wait(20) == 1
    finally:
        head.kill()
        print((tmp_path / "head.log").read_text())
    assert "the scheduler or its object storage has ended" in (tmp_path / "head.log").read_text()
    await_port(address, is_open=False)


PLAYED = """#!/bin/sh
[ "$1" = --version ] && echo Python {version} && exit
[ "$1" = -c ] && echo 2.9.0 && exit
echo {name} "$@"
"""


@pytest.mark.parametrize(
    ("word", "runs"),
    [
        ("--worker-manager-id=ebbflow.sdxl.h0me1", "scaler_worker_manager baremetal_native"),
        ("--worker-names=sdxl-3f9c-1-0+h0me1", f"python3 {SCALER.folder}/work_1_15.py"),
    ],
)
def test_a_worker_says_its_versions_and_runs_what_its_release_has(tmp_path: Path, word: str, runs: str) -> None:
    for name in ("python3", "scaler_worker_manager"):
        (tmp_path / name).write_text(PLAYED.format(version=platform.python_version(), name=name))
        (tmp_path / name).chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EBBFLOW_WORKER_ID": "sdxl-3f9c-1-0"}
    words = [str(SCALER.folder / "worker.sh"), "tcp://10.1.0.5:2345", word]
    said = subprocess.run(words, env=given, capture_output=True, text=True, timeout=20, check=True).stdout
    first, ran = said.splitlines()
    assert first.startswith("sdxl-3f9c-1-0 on ")
    assert first.endswith(f"Python {platform.python_version()}, opengris-scaler 2.9.0")
    assert ran == f"{runs} tcp://10.1.0.5:2345 {word}"


@pytest.mark.parametrize("name", ["worker.sh", "head.sh"])
def test_its_scripts_can_be_run(name: str) -> None:
    assert os.access(SCALER.folder / name, os.X_OK)
