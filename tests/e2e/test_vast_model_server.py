"""The ready-made fleet of model servers at Vast, on the stand-in market: the vendor's workers and client."""

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ebbflow.adapters.providers.vast.settings import MAX_START
from ebbflow.core.instance import JoinSpec
from ebbflow.gateway.wire import token_of
from ebbflow.standins.vast.server import KEY
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all
from tests.e2e.ready_made import ReadyMade
from tests.extra_environment import environment
from tests.gateway.processes import ENDPOINT, SECRET, SECRETS, GatewayProcess, gateway_process, vendor_client
from tests.vast_market import Market, market, request

MODELS = ReadyMade("vast-model-server")
GIVEN = {**SECRETS, "VAST_API_KEY": KEY}
# In a container the port is the block's; on the stand-in it is the one that is mapped.
PYTHON = """#!/bin/sh
export "VAST_TCP_PORT_$VAST_TCP_PORT_3000=$VAST_TCP_PORT_3000" WORKER_PORT="$VAST_TCP_PORT_3000" WORKER_HOST=127.0.0.1
export WORKER_HTTP_PORT="$((VAST_TCP_PORT_3000 + 1))" MODEL_PORT="$((VAST_TCP_PORT_3000 + 2))"
exec {python} "$@"
"""

pytestmark = pytest.mark.anyio


def instances(account: Market, folder: Path, gateway: str, **more: str) -> dict[str, Any]:
    """Settings of the deployment's provider block, whose machines have the image's files."""
    python = folder / "python"
    python.write_text(PYTHON.format(python=environment("vastai") / "python"))
    python.chmod(0o755)
    block = MODELS.blocks(**GIVEN)["vast-provider"]
    plain = block.model_dump(exclude={"block_type_slug", "api_key", "address"})
    variables = {
        "FOLDER": str(MODELS.folder),
        "STATE_FOLDER": "state",
        "PYTHON": str(python),
        "VAST_API": account.url,
        "LOOK_SECONDS": "1",
        "MODEL_LOAD_SECONDS": "1",
        **more,
    }
    return {**plain, "environment": variables}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture
async def account(anyio_backend: str) -> AsyncIterator[Market]:
    async with market() as opened:
        yield opened


@pytest.mark.soak
@pytest.mark.parametrize("hears", ["a gateway that does not know it", "nobody"])
async def test_an_instance_that_nobody_wants_any_more_destroys_itself(
    account: Market, gateway: GatewayProcess, tmp_path: Path, hears: str
) -> None:
    address = gateway.address if hears != "nobody" else "http://127.0.0.1:9"
    settings = instances(account, tmp_path, address, ALONE_LOOKS="3")
    worker_id = request().worker_id
    token = token_of(worker_id, SECRET)
    join = JoinSpec(environment={"REPORT_ADDR": address, "MASTER_TOKEN": token, "USE_SSL": "false"})
    launched = await account.provider(**settings).launch(request(join=join))
    await account.until(launched.instance_id, "running")
    deadline = time.monotonic() + 40
    while account.api.instances:
        (instance,) = account.api.instances.values()
        assert time.monotonic() < deadline, account.api.hosts.log_of(instance)[-3000:]
        await anyio.sleep(0.2)
    assert account.api.count("DELETE", "/") == 1


@pytest.mark.soak
async def test_clients_bring_workers_a_broken_one_starts_anew_and_then_is_replaced_and_idle_ones_go(
    account: Market,
    gateway: GatewayProcess,
    prefect_server: str,
    prefect_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    key = gateway.endpoint()
    blocks = MODELS.blocks(**GIVEN)
    here = {"address": gateway.address, "report_address": None, "worker_networks": ["127.0.0.1/32"]}
    master = blocks["gateway-master"].model_copy(update=here)
    given = {**instances(account, tmp_path, gateway.address), "settle_seconds": 10}
    provider = type(blocks["vast-provider"]).model_validate({**given, "api_key": KEY, "address": account.url})
    policy = {**MODELS.content["definitions"]["fleet"]["policy"], "inactivity_timeout_seconds": 60, "cold_mult": 1}
    fleet = MovedFleet(PrefectHouse(prefect_environment), tmp_path, policy=policy)
    await fleet.keep(master, provider)

    def ready() -> set[str]:
        return {worker_id for worker_id, row in gateway.rows().items() if row["ready"] and not row["is_draining"]}

    try:
        with vendor_client(gateway, key, "6", "100") as client:
            await fleet.turns_until(lambda: client.poll() is not None, "a worker is rented and serves who waited")
            said, _ = client.communicate(timeout=20)
        assert said.count("200 http://") == 6, said
        (broken,) = ready()
        break_model_of(account, broken)
        await until(lambda: bool(gateway.rows()[broken]["error"]), "it tells")
        await fleet.turn()
        assert not gateway.rows()[broken]["is_draining"], "it has a while to start itself anew"
        await until(lambda: gateway.rows()[broken]["restarts"] == 1, "it does")
        await until(lambda: ready() == {broken}, "and serves again")
        break_model_of(account, broken)
        with vendor_client(gateway, key, "2", "100") as client:
            await fleet.turns_until(lambda: client.poll() is not None, "another one is rented in its place")
        await fleet.turns_until(lambda: broken not in fleet.workers(), "the broken one is destroyed")
        await fleet.turns_until(lambda: not fleet.workers(), "idle ones go")
        assert gateway.operator("GET", f"endpoints/{ENDPOINT}")["served"] == 8
    finally:
        await end_all("EBBFLOW_FLEET", fleet.name)


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        await anyio.sleep(0.2)


def break_model_of(account: Market, worker_id: str) -> None:
    """Let the model's log of a worker say that its GPU failed."""
    (instance,) = [each for each in account.api.instances.values() if worker_id in (each.label or "")]
    log = account.api.hosts.disk_of(instance) / "state" / "model.log"
    with log.open("a") as said:
        said.write("CUDA error: device-side assert triggered\n")


def test_its_script_is_short_enough_and_needs_no_more_than_a_posix_shell() -> None:
    script = MODELS.folder / "start.sh"
    assert len(script.read_text()) < MAX_START
    checker = shutil.which("dash") or "sh"
    assert subprocess.run([checker, "-n", str(script)], check=False, timeout=10).returncode == 0


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    blocks = MODELS.blocks(**GIVEN)
    caps = blocks["vast-provider"].get_provider().caps
    MODELS.check_fleet(caps, blocks["gateway-master"])
    MODELS.check_deployments()
    assert caps.usd_per_hour == MODELS.fleet.providers[0].max_usd_per_hour


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_saved_and_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    await MODELS.is_deployed_as_its_page_says({**prefect_environment, **GIVEN})


def test_its_image_has_every_file_that_its_start_script_runs() -> None:
    image, script = (MODELS.folder / "Dockerfile").read_text(), (MODELS.folder / "start.sh").read_text()
    for name in ("model_server.py", "worker.py"):
        assert f"$FOLDER/{name}" in script
        assert name in image
        assert (MODELS.folder / name).is_file()


def test_no_file_of_it_holds_a_key() -> None:
    text = (MODELS.folder / "blocks.yaml").read_text()
    assert [line.split()[-2] for line in text.splitlines() if "{{ $" in line] == [
        "$EBBFLOW_GATEWAY_OPERATOR_KEY",
        "$EBBFLOW_GATEWAY_WORKER_SECRET",
        "$VAST_API_KEY",
    ]
