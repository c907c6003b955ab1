"""The ready-made SwarmUI fleet at Vast: what its page and its files say is tried on the stand-in market."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import httpx
import pytest

from ebbflow.adapters.providers.vast.adapter import VastAdapter
from ebbflow.adapters.providers.vast.settings import MAX_START
from ebbflow.core.instance import Instance, InstanceState, JoinSpec
from ebbflow.standins.vast.server import KEY
from tests.e2e.ready_made import ReadyMade
from tests.vast_market import Market, market, request

VAST = ReadyMade("vast-swarmui")
JOIN = JoinSpec(arguments=("--require_control_within", "10"))

pytestmark = pytest.mark.anyio

# What a SwarmUI install has: takes SwarmUI's own options, and is the stand-in worker at the port that is mapped.
LAUNCH_LINUX = f"""#!/bin/sh
echo "$@" >"$(dirname "$0")/words"
exec {shlex.quote(sys.executable)} -m ebbflow.standins.swarmui.server worker --never_announce --no_persist true \\
    --lock_settings true --port "$VAST_TCP_PORT_7801"
"""


@pytest.fixture
async def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    """A market whose machines have SwarmUI installed, and a provider from the deployment's own block."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    swarmui = tmp_path / "Swarm UI"
    swarmui.mkdir()
    (swarmui / "launch-linux.sh").write_text(LAUNCH_LINUX)
    (swarmui / "launch-linux.sh").chmod(0o755)
    async with market() as opened:
        plain = VAST.blocks(VAST_API_KEY=KEY)["vast-provider"].model_dump(
            exclude={"block_type_slug", "api_key", "address"}
        )
        environment = {"SWARMUI_FOLDER": str(swarmui), "VAST_API": opened.url, "GRACE_SECONDS": "3"}
        opened.settings |= {**plain, "environment": environment}
        yield opened


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.05)


async def served(account: Market, provider: VastAdapter) -> Instance:
    """Launch one worker and wait until it answers at its public address."""
    launched = await provider.launch(request(join=JOIN))
    await account.until(launched.instance_id, "running")
    (instance,) = (await provider.list_instances("sdxl")).instances
    assert instance.state is InstanceState.RUNNING
    deadline = time.monotonic() + 30
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        while True:
            try:
                assert (await http.post(f"{instance.url}/API/GetNewSession", json={})).status_code == 200
            except httpx.HTTPError:
                said = account.api.hosts.log_of(account.api.instances[int(instance.instance_id)])
                assert time.monotonic() < deadline, said
                await anyio.sleep(0.1)
            else:
                return instance


async def shut_down(instance: Instance) -> None:
    """Ask the worker's software to end, as a teardown does."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        session = (await http.post(f"{instance.url}/API/GetNewSession", json={})).json()["session_id"]
        await http.post(f"{instance.url}/API/ShutdownServer", json={"session_id": session})


async def test_its_worker_serves_and_an_instance_that_nobody_wants_destroys_itself(
    account: Market, tmp_path: Path
) -> None:
    instance = await served(account, account.provider())
    words = (tmp_path / "Swarm UI" / "words").read_text()
    assert words.split() == shlex.split(
        "--launch_mode none --host 0.0.0.0 --port 7801 --no_persist true --lock_settings true "
        "--require_control_within 10"
    )
    await shut_down(instance)
    await until(lambda: not account.api.instances, "the instance destroyed itself")
    (destroyed,) = [each for each in account.api.log if each.method == "DELETE"]
    assert destroyed.path.endswith(f"/{instance.instance_id}/")


async def test_an_instance_that_is_stopped_within_the_grace_is_kept_and_starts_again(account: Market) -> None:
    provider = account.provider()
    instance = await served(account, provider)
    await shut_down(instance)
    await provider.stop(instance)
    await account.until(instance.instance_id, "stopped")
    again = await provider.launch(request(1, join=JOIN, start_instance_id=instance.instance_id))
    await account.until(again.instance_id, "running")
    await anyio.sleep(3.5)
    assert account.api.count("DELETE", "/") == 0, "the grace of a stopped worker destroys nothing"


def test_its_script_is_short_enough_and_needs_no_more_than_a_posix_shell() -> None:
    text = (VAST.folder / "onstart.sh").read_text()
    assert len(text) < MAX_START
    checker = shutil.which("dash") or "sh"
    assert subprocess.run([checker, "-n", str(VAST.folder / "onstart.sh")], check=False, timeout=10).returncode == 0


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    blocks = VAST.blocks(VAST_API_KEY="a-key")
    caps = blocks["vast-provider"].get_provider().caps
    VAST.check_fleet(caps, blocks["swarmui-master"])
    VAST.check_deployments()
    assert caps.usd_per_hour == VAST.fleet.providers[0].max_usd_per_hour


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_saved_and_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    await VAST.is_deployed_as_its_page_says({**prefect_environment, "VAST_API_KEY": "a-key"})
    turns, *others = await VAST.deployed()
    assert {each.work_pool_name for each in (turns, *others)} == {"vast-flows"}
    assert turns.parameters["fleet"]["providers"][0]["warm_workers"] == 2
    assert {each.parameters["fleet"] for each in others} == {VAST.fleet.name}


def test_no_file_of_it_holds_a_key() -> None:
    assert 'api_key: "{{ $VAST_API_KEY }}"' in (VAST.folder / "blocks.yaml").read_text()
    assert not [name for name in os.listdir(VAST.folder) if "key" in name]
