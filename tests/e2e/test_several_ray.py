"""Ray workers at three providers behind one head: a real Slurm, and the stand-ins of Kubernetes and Vast.

Their pods and machines are processes here, which run the folder's own files and a real `ray start`.
"""

import shlex
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from prefect.blocks.core import Block

from ebbflow.adapters.providers.vast.settings import MAX_START
from ebbflow.blocks import KubernetesProvider, SlurmProvider, VastProvider
from ebbflow.core.errors import ConfigError
from ebbflow.standins.kubernetes.server import ApiServer, kubeconfig
from ebbflow.standins.vast.server import KEY
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.ready_made import ReadyMade
from tests.kubernetes_cluster import Cluster as Pods
from tests.kubernetes_cluster import stand_in_cluster, with_node
from tests.ray.cluster import STORE_BYTES, RayCluster
from tests.ray.fixtures import ray
from tests.ray.fleet import OFFERS, RayFleet
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session
from tests.vast_market import Market, market, request

__all__ = ["ray", "slurm", "slurm_session"]

SEVERAL = ReadyMade("several-ray")
PATIENCE_SECONDS = 30.0
KINDS = ("slurm", "kubernetes", "vast")
SECRETS = {"RAY_AUTH_TOKEN": "example", "VAST_API_KEY": KEY, "KUBECONFIG_TEXT": kubeconfig("http://127.0.0.1:9")}

pytestmark = pytest.mark.anyio


def written(**secrets: str) -> Mapping[str, dict[str, Any]]:
    """What the folder's blocks say, by type."""
    found = SEVERAL.blocks(**{**SECRETS, **secrets})
    return {kind: block.model_dump(exclude={"block_type_slug"}, exclude_none=True) for kind, block in found.items()}


def blocks(ray: RayCluster, slurm: Cluster, pods: Pods, account: Market, folder: Path) -> list[Block]:
    """The folder's own three providers, in a world where Ray's programs are in one folder of this host."""
    setup = folder / "setup.sh"
    setup.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in ray.environment.items()))
    given = {"RAY_SETUP": str(setup), "RAY_OBJECT_STORE_BYTES": str(STORE_BYTES), "RAY_CPUS": "2"}
    plain = written(RAY_AUTH_TOKEN=ray.token, KUBECONFIG_TEXT=pods.kubeconfig)
    jobs = {"slurm_conf": str(slurm.conf), "cpus": 2, "memory": "1G", "partition": None, "output_folder": str(folder)}
    pod = plain["kubernetes-provider"]["pod_template"]
    (container,) = pod["spec"]["containers"]
    container["command"] = [str(ray.programs / "ray"), "start"]
    container["args"] = ["--num-cpus=2", "--num-gpus=1", f"--object-store-memory={STORE_BYTES}"]
    container["env"] = [{"name": name, "value": value} for name, value in ray.environment.items()]
    rented = {"address": account.url, "settle_seconds": 10, "call_timeout_seconds": 15}
    told = {**given, "VAST_API": account.url, "GRACE_SECONDS": "1"}
    return [
        SlurmProvider.model_validate({**plain["slurm-provider"], **jobs, "capabilities": OFFERS, "environment": given}),
        KubernetesProvider.model_validate(
            {**plain["kubernetes-provider"], "namespace": pods.namespace, "capabilities": OFFERS}
        ),
        VastProvider.model_validate({**plain["vast-provider"], **rented, "capabilities": OFFERS, "environment": told}),
    ]


@dataclass
class Providers:
    """Where the workers of one fleet are."""

    fleet: RayFleet
    slurm: Cluster
    pods: Pods
    account: Market
    seen: list[list[str]] = field(default_factory=lambda: [[]])
    """Kinds of providers that had any, as it changed."""

    def have(self) -> list[str]:
        """Kinds of providers that have a worker now."""
        found = {
            "slurm": self.slurm.names(f"ebbflow.{self.fleet.name}."),
            "kubernetes": list(self.pods.stand_in.store.all("pods", self.pods.namespace)),
            "vast": self.account.api.instances,
        }
        now = [kind for kind in KINDS if found[kind]]
        if self.seen[-1] != now:
            self.seen.append(now)
        return now


@pytest.fixture
async def providers(
    anyio_backend: str,
    ray: RayCluster,
    slurm: Cluster,
    tmp_path: Path,
    prefect_server: str,
    prefect_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Providers]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plain = SEVERAL.content["definitions"]["fleet"]
    sections = {name: plain[name] for name in ("policy", "placement", "readiness", "drain")}
    limits = {**plain["limits"], "max_workers": 3, "min_idle_seconds": 30, "min_seconds_between_starts": 1}
    async with stand_in_cluster(ApiServer()) as pods, with_node(pods, tmp_path / "node"), market() as account:
        fleet = RayFleet(ray, PrefectHouse(prefect_environment), tmp_path, most_each=1, **sections, limits=limits)
        await fleet.save(*blocks(ray, slurm, pods, account, tmp_path))
        yield Providers(fleet, slurm, pods, account)


@pytest.mark.soak
async def test_tasks_fill_three_providers_in_order_run_once_each_and_the_last_one_is_emptied_first(
    providers: Providers,
) -> None:
    fleet = providers.fleet
    burst = await fleet.ray.work(3, 30)
    await fleet.turns_until(lambda: providers.have() and len(burst.began()) == 3, "all tasks have begun")
    assert providers.seen == [[], ["slurm"], ["slurm", "kubernetes"], [*KINDS]]
    assert len({node for nodes in burst.began().values() for node in nodes}) == 3, "each worker has one"
    await burst.is_done()
    await fleet.turns_until(lambda: not providers.have(), "all have gone")
    assert providers.seen[4:] == [["slurm", "kubernetes"], ["slurm"], []], "later providers give up theirs first"


def test_its_fleet_is_one_and_names_the_blocks_that_are_saved() -> None:
    saved = SEVERAL.blocks(**SECRETS)
    SEVERAL.check_deployments()
    offers = {kind: saved[f"{kind}-provider"].get_provider().caps for kind in KINDS}
    for caps in offers.values():
        SEVERAL.check_fleet(caps, saved["ray-master"])
        assert caps.capabilities == ("cpu=8", "gpu")
    assert [offers[kind].usd_per_hour for kind in KINDS] == [0, 0, SEVERAL.fleet.providers[2].max_usd_per_hour]


def test_a_worker_offers_ray_what_its_block_says() -> None:
    plain = written()
    (container,) = plain["kubernetes-provider"]["pod_template"]["spec"]["containers"]
    assert {"--num-cpus=8", "--num-gpus=1"} <= set(container["args"])
    assert (plain["slurm-provider"]["cpus"], plain["slurm-provider"]["gpus"]) == (8, 1)
    assert plain["vast-provider"]["environment"]["RAY_CPUS"] == "8"


async def test_an_instance_whose_set_up_fails_destroys_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plain = written()["vast-provider"]
    async with market() as account:
        told = {"RAY_SETUP": str(tmp_path / "nothing"), "VAST_API": account.url, "GRACE_SECONDS": "0"}
        rented = account.provider(**{**plain, "api_key": KEY, "address": account.url, "environment": told})
        await rented.launch(request())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while account.api.instances:
            assert time.monotonic() < deadline, "it is there still"
            await anyio.sleep(0.05)
        assert account.api.count("DELETE", "/") == 1


def test_its_start_script_is_short_enough_and_needs_no_more_than_a_posix_shell() -> None:
    script = SEVERAL.folder / "onstart.sh"
    assert len(script.read_text()) < MAX_START
    assert subprocess.run(["sh", "-n", str(script)], check=False, timeout=10).returncode == 0


def test_a_warm_pool_is_refused_since_a_stopped_machine_comes_back_under_its_first_id() -> None:
    saved = SEVERAL.blocks(**SECRETS)
    plain = SEVERAL.fleet.model_dump()
    plain["providers"][2]["warm_workers"] = 1
    fleet = type(SEVERAL.fleet).model_validate(plain)
    caps = {"vast-provider/ray": saved["vast-provider"].get_provider().caps}
    with pytest.raises(ConfigError, match="none comes back as another"):
        fleet.check(saved["ray-master"].get_master(fleet=fleet.name, home="abcde").caps, caps)


@pytest.mark.soak
@pytest.mark.usefixtures("prefect_server")
async def test_it_is_deployed_as_its_page_says(prefect_environment: dict[str, str]) -> None:
    await SEVERAL.is_deployed_as_its_page_says({**prefect_environment, **SECRETS})
    for deployment in await SEVERAL.deployed():
        assert deployment.work_pool_name == "several-ray"
