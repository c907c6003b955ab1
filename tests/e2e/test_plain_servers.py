"""A fleet of model servers that report nothing: clients wait, the turns bring servers, the gateway looks after them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebbflow.blocks import GatewayMaster, LocalProvider
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all
from tests.gateway.processes import ENDPOINT, OPERATOR, SECRET, GatewayProcess, command, gateway_process

MODEL, KEY = "tide-7b", "sk-of-the-model-server"
SERVER = (
    f"{sys.executable} -m ebbflow.standins.model_servers vllm --model {MODEL} --key {KEY} --load-seconds 2 "
    r"| sed -u 's|^vllm plays at \(.*\)|[SwarmAutoScaleBackend]NewURL: \1[/SwarmAutoScaleBackend]|'"
)

pytestmark = [pytest.mark.anyio, pytest.mark.soak]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path) as made:
        yield made


async def test_clients_bring_plain_servers_are_served_by_them_and_idle_ones_go(
    gateway: GatewayProcess, prefect_server: str, prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    # One request at a time at each, so that those that come together need several.
    key = gateway.endpoint(ENDPOINT, "--max-queue-seconds", "0.5")
    policy = {"kind": "vanilla", "upper_task_ratio": 4}
    limits = {"max_workers": 2, "min_idle_seconds": 20, "min_seconds_between_stops": 0}
    fleet = MovedFleet(PrefectHouse(prefect_environment), tmp_path, most_each=2, policy=policy, limits=limits)
    master = GatewayMaster.model_validate(
        {
            "address": gateway.address,
            "endpoint": ENDPOINT,
            "operator_key": OPERATOR,
            "worker_secret": SECRET,
            "worker_networks": ["127.0.0.1/32"],
            "plain_servers": {"kind": "vllm", "model": MODEL, "api_key": KEY},
        }
    )
    provider = LocalProvider(command=["/bin/sh", "-c", SERVER], state_folder=tmp_path / "state")
    await fleet.keep(master, provider)
    summary = tmp_path / "summary.json"
    words = (
        "--rate",
        "2",
        "--seconds",
        "6",
        "--tokens",
        "1",
        "--no-stream",
        "--patience",
        "100",
        "--json",
        str(summary),
    )
    client = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        command("simulate-clients", ENDPOINT, "--gateway", gateway.address, *words),
        env={**os.environ, "EBBFLOW_ENDPOINT_KEY": key, "EBBFLOW_MODEL_KEY": KEY},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        await fleet.turns_until(lambda: client.poll() is not None, "clients are served")
        said, _ = client.communicate(timeout=20)
        assert client.returncode == 0, said
        played = json.loads(summary.read_text())
        assert played["started"] == played["successful"] > 3
        assert {row["kind"] for row in gateway.rows().values()} == {"vllm"}
        account = gateway.operator("GET", f"endpoints/{ENDPOINT}")
        assert (account["served"], account["in_flight_requests"]) == (played["successful"], 0)
        await fleet.turns_until(lambda: not fleet.workers(), "idle ones go")
        assert gateway.rows() == {}
    finally:
        client.kill()
        client.communicate(timeout=20)
        await end_all("EBBFLOW_FLEET", fleet.name)
