"""The ready-made SwarmUI fleet on Slurm: what its page and its files say is tried on a real cluster."""

import os
import secrets
import shlex
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from ebbflow.blocks import SlurmProvider
from ebbflow.core.instance import Failure, Instance, InstanceState, JoinSpec, LaunchRequest
from tests.e2e.ready_made import ReadyMade
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session

__all__ = ["slurm", "slurm_session"]

SLURM = ReadyMade("slurm-swarmui")
DEADLINE_SECONDS = 120.0
JOIN = JoinSpec(arguments=("--require_control_within", "10"))

pytestmark = pytest.mark.anyio

# What a SwarmUI install has: takes SwarmUI's own options, and is the stand-in worker.
LAUNCH_LINUX = f"""#!/bin/bash
echo "$@" >"$(dirname "$0")/words"
words=()
while (($#)); do
    case $1 in --launch_mode | --host) ;; *) words+=("$1" "$2") ;; esac
    shift 2
done
[[ -e $(dirname "$0")/broken ]] && {{ echo "CUDA not found" >&2; exit 1; }}
exec {shlex.quote(sys.executable)} -m ebbflow.standins.swarmui.server worker --never_announce "${{words[@]}}"
"""


@pytest.fixture
def swarmui(tmp_path: Path) -> Path:
    folder = tmp_path / "Swarm UI"
    folder.mkdir()
    (folder / "launch-linux.sh").write_text(LAUNCH_LINUX)
    (folder / "launch-linux.sh").chmod(0o755)
    return folder


def block(slurm: Cluster, swarmui: Path, **environment: str) -> SlurmProvider:
    """The deployment's own block, on the test's cluster."""
    plain = SLURM.blocks()["slurm-provider"].model_dump(exclude={"block_type_slug"})
    given = {
        "SWARMUI_FOLDER": str(swarmui),
        "DATA_FOLDER": str(swarmui.parent / "data"),
        "ADVERTISE_HOST": "127.0.0.1",
        "PORTS": "24000-28999",
        **environment,
    }
    here = {"slurm_conf": str(slurm.conf), "memory": "1G", "output_folder": str(swarmui.parent), "environment": given}
    return SlurmProvider.model_validate({**plain, **here})


async def run_one(block: SlurmProvider, *states: InstanceState) -> Instance:
    """Launch one worker and wait for a state."""
    provider = block.get_provider()
    worker_id = f"sdxl-{secrets.token_hex(2)}-1a-0"
    await provider.launch(LaunchRequest(worker_id, "sdxl", "homea", JOIN))
    return await seen(block, worker_id, *states)


async def seen(block: SlurmProvider, worker_id: str, *states: InstanceState) -> Instance:
    deadline = anyio.current_time() + DEADLINE_SECONDS
    while True:
        listing = await block.get_provider().list_instances("sdxl")
        for instance in listing.instances:
            if instance.worker_id == worker_id and instance.state in states:
                return instance
        assert anyio.current_time() < deadline, listing
        await anyio.sleep(0.1)


async def test_its_worker_starts_swarmui_announces_it_and_ends_with_it(slurm: Cluster, swarmui: Path) -> None:
    template = swarmui.parent / "template"
    template.mkdir()
    (template / "Backends.fds").write_text("set up once")
    ours = block(slurm, swarmui, DATA_TEMPLATE=str(template))
    instance = await run_one(ours, InstanceState.RUNNING, InstanceState.FAILED)
    assert instance.url, instance.detail
    words = (swarmui / "words").read_text()
    data = swarmui.parent / "data" / instance.worker_id
    assert f"--data_dir {data} --no_persist true --lock_settings true --require_control_within 10" in words
    assert (data / "Backends.fds").read_text() == "set up once"
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        session = (await http.post(f"{instance.url}/API/GetNewSession", json={})).json()["session_id"]
        await http.post(f"{instance.url}/API/ShutdownServer", json={"session_id": session})
    await seen(ours, instance.worker_id, InstanceState.GONE)
    assert not data.exists(), "nothing stays on the node"


async def test_its_worker_is_ended_by_the_provider_and_leaves_nothing(slurm: Cluster, swarmui: Path) -> None:
    ours = block(slurm, swarmui)
    instance = await run_one(ours, InstanceState.RUNNING, InstanceState.FAILED)
    assert instance.url, instance.detail
    await ours.get_provider().terminate(instance)
    await seen(ours, instance.worker_id, InstanceState.GONE)
    assert not (swarmui.parent / "data" / instance.worker_id).exists()


async def test_what_its_worker_lacks_is_the_reason_in_the_record(slurm: Cluster, swarmui: Path) -> None:
    gone = await run_one(block(slurm, swarmui, SWARMUI_FOLDER="/nowhere"), InstanceState.FAILED)
    assert gone.failure is Failure.CAPACITY
    assert "no /nowhere/launch-linux.sh on 127.0.0.1" in gone.detail
    (swarmui / "broken").touch()
    broken = await run_one(block(slurm, swarmui), InstanceState.FAILED)
    assert "SwarmUI ended while it started, 3 times" in broken.detail


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    blocks = SLURM.blocks()
    settings = blocks["slurm-provider"]
    SLURM.check_fleet(settings.get_provider().caps, blocks["swarmui-master"])
    SLURM.check_deployments()
    assert SLURM.fleet.readiness.launch_timeout_seconds > settings.start_within_seconds


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    await SLURM.is_deployed_as_its_page_says(prefect_environment)
    turns, *others = await SLURM.deployed()
    assert {each.work_pool_name for each in (turns, *others)} == {"slurm-login"}
    assert turns.parameters["fleet"]["providers"][0]["block"] == "slurm-provider/gpu"
    assert {each.parameters["fleet"] for each in others} == {SLURM.fleet.name}


def test_its_script_can_be_run() -> None:
    assert os.access(SLURM.folder / "worker.sh", os.X_OK)
