"""One fleet over three providers: a real Slurm, and the stand-ins of Kubernetes and Vast, serving one master."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from ebbflow.blocks import KubernetesProvider, SlurmProvider, VastProvider
from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.member import MasterCaps
from ebbflow.standins.kubernetes.server import ApiServer
from ebbflow.standins.vast.server import KEY
from tests.e2e.ready_made import ReadyMade
from tests.e2e.world import WORKER_PROGRAM, World, Worlds
from tests.kubernetes_cluster import Cluster as Pods
from tests.kubernetes_cluster import stand_in_cluster, template, with_node
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session
from tests.vast_market import Market, market, shell

__all__ = ["slurm", "slurm_session"]

pytestmark = pytest.mark.anyio

SEVERAL = ReadyMade("several-providers")
PATIENCE_SECONDS = 60.0


async def save_all(world: World, slurm: Cluster, pods: Pods, account: Market) -> None:
    """The three blocks, under the fleet's name."""
    jobs = SlurmProvider.model_validate(
        {
            "command": list(WORKER_PROGRAM),
            "slurm_conf": str(slurm.conf),
            "time_minutes": 30,
            "output_folder": str(world.folder),
            "capabilities": ["a100"],
        }
    )
    pod = template()
    (container,) = pod["spec"]["containers"]
    container["command"], container["args"] = [sys.executable], list(WORKER_PROGRAM[1:])
    plain: dict[str, Any] = {
        "pod_template": pod,
        "kubeconfig": pods.kubeconfig,
        "namespace": pods.namespace,
        "url": "log",
    }
    rented = VastProvider.model_validate(
        {
            "api_key": KEY,
            "address": account.url,
            "image": "worker",
            "disk_gb": 20,
            "gpu_names": ["RTX 4090"],
            "onstart": f"{shell(*WORKER_PROGRAM)} --port $VAST_TCP_PORT_7801 $EBBFLOW_ARGUMENTS",
            "settle_seconds": 10,
            "call_timeout_seconds": 15,
            "capabilities": ["rtx4090"],
        }
    )
    for block in (jobs, KubernetesProvider.model_validate({**plain, "capabilities": ["gpu"]}), rented):
        await world.keep(block)


async def where(world: World) -> dict[str, list[str]]:
    """Worker states by the kind of provider, as the newest record has them."""
    found: dict[str, list[str]] = {}
    for worker in (await world.record()).memory.workers:
        if worker.may_exist:
            found.setdefault(worker.provider.partition("-")[0], []).append(worker.state.value)
    return found


async def turns_until(world: World, places: dict[str, list[str]], what: str, turns: int = 10) -> None:
    """Take turns until the workers are there."""
    for _ in range(turns):
        await world.acted()
        if await where(world) == places:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{what}: {await where(world)}, not {places}; {await world.last_words()}")


@pytest.mark.soak
async def test_one_fleet_fills_three_providers_in_order_and_empties_the_last_one_first(
    worlds: Worlds, slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world = await worlds(
        elsewhere=True,
        policy={"kind": "waterfall", "upper_task_ratio": 4},
        placement={"drain": "tier_by_tier"},
        limits={"max_workers": 3},
    )
    kinds = ("slurm", "kubernetes", "vast")
    world.changes["providers"] = [{"block": f"{kind}-provider/{world.name}", "max_workers": 1} for kind in kinds]
    async with (
        stand_in_cluster(ApiServer()) as pods,
        with_node(pods, world.folder / "node"),
        market() as account,
    ):
        await save_all(world, slurm, pods, account)
        await turns_until(world, {"slurm": ["ready"]}, "the first provider has the least that the fleet needs")

        work = world.generate(images=30, steps=60)
        await world.busy_worker()
        await turns_until(world, {kind: ["ready"] for kind in kinds}, "each provider has its one")
        assert len(await world.members()) == 3
        record = await world.record()
        able = {worker.provider.partition("-")[0]: worker.capabilities for worker in record.memory.workers}
        assert able == {"slurm": ("a100",), "kubernetes": ("gpu",), "vast": ("rtx4090",)}
        assert len((await work)["images"]) == 30

        emptied: list[str] = []
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while len(emptied) < 2:
            await world.acted()
            left = await where(world)
            emptied.extend(kind for kind in kinds[::-1] if kind not in left and kind not in emptied)
            assert time.monotonic() < deadline, f"{left}; {await world.last_words()}"
        assert emptied == ["vast", "kubernetes"], "later providers give up their workers before earlier ones"
        assert await where(world) == {"slurm": ["ready"]}
        assert (account.api.instances, await pods.names()) == ({}, [])
        state = await world.master.control("State")
        assert (state["served"], state["lost"]) == (30, 0)


@pytest.mark.parametrize(
    "name", sorted(path.name for path in SEVERAL.folder.glob("*.yaml") if path.name != "blocks.yaml")
)
def test_each_ready_made_fleet_is_one_and_names_blocks_of_the_other_pages(name: str) -> None:
    several = ReadyMade(SEVERAL.name, name)
    fleet = several.fleet
    pages = [ReadyMade(f"{kind}-swarmui") for kind in ("slurm", "kubernetes", "vast")]
    saved = {entry.block for page in pages for entry in page.fleet.providers}
    assert {entry.block for entry in fleet.providers} <= saved
    caps = MasterCaps(per_shape_demand=True)
    fleet.check(caps, {entry.block: ProviderCaps("x", call_seconds=30) for entry in fleet.providers})
    asked = pages[0].fleet.interval_seconds
    assert fleet.interval_seconds <= asked, "Slurm forgets how a job ended"
    assert f"`{name}`" in several.page
    several.check_deployments()


def test_a_fleet_by_capability_is_refused_with_a_master_that_tells_nothing_of_it() -> None:
    fleet = ReadyMade(SEVERAL.name, "capability.yaml").fleet
    with pytest.raises(ConfigError, match="needs to know what waiting work requires"):
        fleet.check(MasterCaps(), {})
    page = " ".join(SEVERAL.page.split())
    assert "policy.kind is 'capability', which needs to know what waiting work requires" in page
