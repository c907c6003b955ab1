"""The ready-made SwarmUI fleet at Vast: what its page and its files say is tried on the stand-in market."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType

import anyio
import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client

from ebbflow.adapters.providers.vast import VastProvider
from ebbflow.adapters.providers.vast_settings import MAX_START
from ebbflow.blocks.fleet import Fleet
from ebbflow.core.instance import Instance, InstanceState, JoinSpec
from ebbflow.simulation.servers.vast import KEY
from tests.vast_market import Market, market, request

FOLDER = Path(__file__).parents[2] / "deployments" / "vast-swarmui"
JOIN = JoinSpec(arguments=("--require_control_within", "10"))

pytestmark = pytest.mark.anyio

# What a SwarmUI install has: takes SwarmUI's own options, and is the stand-in worker at the port that is mapped.
LAUNCH_LINUX = f"""#!/bin/sh
echo "$@" >"$(dirname "$0")/words"
exec {shlex.quote(sys.executable)} -m ebbflow.simulation.servers.swarmui worker --never_announce --no_persist true \\
    --port "$VAST_TCP_PORT_7801"
"""


def blocks() -> ModuleType:
    """The file that operators edit and run."""
    spec = importlib.util.spec_from_file_location("vast_swarmui_blocks", FOLDER / "blocks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    """A market whose machines have SwarmUI installed, and a provider from the deployment's own block."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    swarmui = tmp_path / "Swarm UI"
    swarmui.mkdir()
    (swarmui / "launch-linux.sh").write_text(LAUNCH_LINUX)
    (swarmui / "launch-linux.sh").chmod(0o755)
    async with market() as opened:
        plain = blocks().provider(KEY).model_dump(exclude={"block_type_slug", "api_key", "address"})
        environment = {"SWARMUI_FOLDER": str(swarmui), "VAST_API": opened.url, "GRACE_SECONDS": "3"}
        opened.settings |= {**plain, "environment": environment}
        yield opened


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.05)


async def served(account: Market, provider: VastProvider) -> Instance:
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
        "--launch_mode none --host 0.0.0.0 --port 7801 --no_persist true --require_control_within 10"
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
    text = (FOLDER / "onstart.sh").read_text()
    assert len(text) < MAX_START
    checker = shutil.which("dash") or "sh"
    assert subprocess.run([checker, "-n", str(FOLDER / "onstart.sh")], check=False, timeout=10).returncode == 0


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    content = yaml.safe_load((FOLDER / "prefect.yaml").read_text())
    fleet = Fleet.model_validate(content["definitions"]["fleet"])
    source = (FOLDER / "blocks.py").read_text()
    for reference in (fleet.master, *(entry.block for entry in fleet.providers)):
        slug, name = reference.split("/")
        assert f'.save("{name}", overwrite=True)' in source
        assert slug in ("swarmui-master", "vast-provider")
    settings = blocks().provider("a-key")
    caps = settings.get_provider().caps
    fleet.check(
        blocks().master().get_master(fleet=fleet.name, home="abcde", sessions=_NoSessions()).caps,
        {fleet.providers[0].block: caps},
    )
    assert caps.usd_per_hour == fleet.providers[0].max_usd_per_hour
    deployments = content["deployments"]
    assert [each["entrypoint"].rpartition(".")[2] for each in deployments] == ["autoscale", "scale_up", "scale_down"]
    assert all(each["parameters"] == {"fleet": content["definitions"]["fleet"]} for each in deployments)
    assert deployments[0]["schedules"] == [{"interval": fleet.interval_seconds}]


class _NoSessions:
    async def get(self, address: str) -> str | None:
        return None

    async def put(self, address: str, session: str | None) -> None:
        pass


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_saved_and_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    page = (FOLDER / "README.md").read_text()
    environment = {**prefect_environment, "VAST_API_KEY": "a-key"}
    assert "VAST_API_KEY=... python blocks.py" in page
    commands = [
        ["-m", "prefect", "work-pool", "create", "vast-flows", "--type", "process"],
        ["-m", "prefect", "deploy", "--all", "--no-prompt", "--prefect-file", "prefect.yaml"],
    ]
    for words in [["blocks.py"], *commands]:
        assert words == ["blocks.py"] or shlex.join(words[1:]) in page
        done = await anyio.run_process([sys.executable, *words], env=environment, cwd=FOLDER, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()[-2000:]
    async with get_client() as client:
        for flow in ("autoscale", "scale-up", "scale-down"):
            deployment = await client.read_deployment_by_name(f"{flow}/swarm-vast")
            assert deployment.work_pool_name == "vast-flows"
            assert deployment.parameters["fleet"]["providers"][0]["warm_workers"] == 2


def test_no_file_of_it_holds_a_key() -> None:
    assert "VAST_API_KEY" in (FOLDER / "blocks.py").read_text()
    assert not [name for name in os.listdir(FOLDER) if "key" in name]
