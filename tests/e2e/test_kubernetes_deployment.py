"""The ready-made SwarmUI fleet on Kubernetes: what its page and its files say, and fleets of pods."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import yaml

from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.blocks import KubernetesProvider
from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import InstanceState, JoinSpec, LaunchRequest
from ebbflow.standins.kubernetes.server import ApiServer, User, kubeconfig
from tests.e2e.ready_made import ReadyMade
from tests.e2e.together import together
from tests.e2e.world import PrefectWorlds, Worlds
from tests.kubernetes_cluster import Cluster, stand_in_cluster, with_node

PODS = ReadyMade("kubernetes-swarmui")
JOIN = JoinSpec(arguments=("--require_control_within", "10"))
ID = "swarm-pods-3f9c-1-0"

pytestmark = pytest.mark.anyio


def objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PODS.folder / name).read_text()))


def the(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in objects(name) if each["kind"] == kind]
    return found


class Scaler:
    """The deployment's own block, pointed at a stand-in cluster whose login has the Role of `rights.yaml` alone."""

    def __init__(self, cluster: Cluster, **more: Any) -> None:
        user = User.of_role("system:serviceaccount:ebbflow:ebbflow", the("Role", "rights.yaml"))
        cluster.stand_in.users["least-rights"] = user
        url = str(cluster.admin.base_url).rstrip("/")
        given = PODS.blocks()["kubernetes-provider"].model_dump(exclude={"block_type_slug"})
        settings = {**given, "kubeconfig": kubeconfig(url, token="least-rights"), **more}
        settings = {name: value for name, value in settings.items() if name in KubernetesProvider.model_fields}
        self.block = KubernetesProvider.model_validate(settings)
        self.provider: KubernetesAdapter = self.block.get_provider()  # type: ignore[assignment]


@asynccontextmanager
async def applied() -> AsyncIterator[Cluster]:
    """A stand-in cluster with what the page tells an administrator to apply."""
    async with stand_in_cluster(ApiServer()) as cluster:
        for each in objects("quota.yaml"):
            path = f"/api/v1/namespaces/{each['metadata']['namespace']}/resourcequotas"
            assert (await cluster.admin.post(path, json=each)).status_code == 201
        yield cluster


def test_every_manifest_is_what_the_published_schema_allows() -> None:
    from kubernetes import client

    seen = set()
    for name in ("namespaces.yaml", "rights.yaml", "quota.yaml", "prefect-worker.yaml"):
        for each in objects(name):
            getattr(client, f"V1{each['kind']}").model_validate(each)
            seen.add(each["kind"])
    assert seen == {"Namespace", "ServiceAccount", "Role", "RoleBinding", "ResourceQuota", "Deployment"}


def test_the_manifests_name_each_other_right() -> None:
    namespaces = {each["metadata"]["name"] for each in objects("namespaces.yaml")}
    binding, account, role = (the(kind, "rights.yaml") for kind in ("RoleBinding", "ServiceAccount", "Role"))
    worker, quota = the("Deployment", "prefect-worker.yaml"), the("ResourceQuota", "quota.yaml")
    assert binding["subjects"][0] == {"kind": "ServiceAccount", **account["metadata"]}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert worker["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert worker["metadata"]["namespace"] == account["metadata"]["namespace"]
    workers_live_in = {each["metadata"]["namespace"] for each in (role, binding, quota)}
    assert workers_live_in == {PODS.blocks()["kubernetes-provider"].namespace}
    assert workers_live_in | {account["metadata"]["namespace"]} == namespaces


def test_the_fleet_is_one_and_names_what_is_saved_and_started() -> None:
    blocks, fleet = PODS.blocks(), PODS.fleet
    block = blocks["kubernetes-provider"]
    PODS.check_fleet(block.get_provider().caps, blocks["swarmui-master"])
    PODS.check_deployments()
    assert (fleet.master, fleet.providers[0].block) == ("swarmui-master/kubernetes", "kubernetes-provider/gpu")
    (container,) = the("Deployment", "prefect-worker.yaml")["spec"]["template"]["spec"]["containers"]
    assert PODS.content["definitions"]["work_pool"]["name"] in container["command"]
    hard = the("ResourceQuota", "quota.yaml")["spec"]["hard"]
    assert int(hard["requests.nvidia.com/gpu"]) >= fleet.limits.max_workers * (block.gpus or 0)
    assert fleet.readiness.launch_timeout_seconds > block.scale_up_timeout_seconds + block.pull_timeout_seconds


async def test_the_role_is_enough_for_a_workers_whole_life_and_every_rule_is_needed() -> None:
    async with applied() as cluster:
        scaler = Scaler(cluster, url="log").provider
        request = LaunchRequest(ID, "swarm-pods", "homea", JOIN)
        await scaler.launch(request)
        assert (await scaler.launch(request)).state is InstanceState.PENDING
        listed = await scaler.list_instances("swarm-pods")
        assert await scaler.logs(listed.instances[0]) == {}
        await scaler.terminate(listed.instances[0])
        assert (await scaler.list_instances("swarm-pods")).instances == ()
        asked = {each.method for each in cluster.stand_in.requests}
        assert asked == {"GET", "POST", "DELETE"}
        await scaler.aclose()


async def test_a_login_without_the_role_is_told_what_it_must_allow() -> None:
    async with applied() as cluster:
        scaler = Scaler(cluster).provider
        cluster.stand_in.users["least-rights"] = User("nobody", "gpu", ())
        with pytest.raises(ConfigError, match="create, get, list and delete of pods"):
            await scaler.list_instances("swarm-pods")
        await scaler.aclose()


async def test_the_pod_asks_for_its_gpus_and_the_quota_counts_them() -> None:
    async with applied() as cluster:
        scaler = Scaler(cluster).provider
        await scaler.launch(LaunchRequest(ID, "swarm-pods", "homea", JOIN))
        pod = await cluster.pod(ID)
        (container,) = pod["spec"]["containers"]
        assert container["resources"]["requests"]["nvidia.com/gpu"] == "1"
        assert container["args"][-2:] == ["--require_control_within", "10"]
        assert container["image"] == "registry.example/swarmui:latest"
        await scaler.aclose()


SWARMUI = [sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker"]


def stand_in_template() -> dict[str, Any]:
    """The deployment's template with a stand-in SwarmUI in the place of the image's, on the pod's own address."""
    template: dict[str, Any] = yaml.safe_load((PODS.folder / "pod-template.yaml").read_text())
    (container,) = template["spec"]["containers"]
    container["command"] = SWARMUI
    container["args"] = ["--host", "$(POD_IP)", "--port", "7801", "--no_persist", "true"]
    container["env"] = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    return template


async def pods_are(cluster: Cluster, count: int) -> None:
    """Wait until that many are left."""
    with anyio.fail_after(30):
        while len(await cluster.names()) != count:  # noqa: ASYNC110 - another process's doing, which no event tells
            await asyncio.sleep(0.1)


@pytest.mark.soak
@together
async def test_a_fleet_of_pods_serves_a_swarmui_master_and_goes_down_again(prefect_worlds: PrefectWorlds) -> None:
    world = await prefect_worlds(elsewhere=True)
    async with applied() as cluster, with_node(cluster, world.folder / "node"):
        scaler = Scaler(cluster, pod_template=stand_in_template())
        world.changes["providers"] = [{"block": await world.keep(scaler.block), "max_workers": 4}]
        await world.acted()
        await world.acts_until_serving(1)
        work = world.generate(images=6)
        await world.busy_worker()
        raised = await world.acted()
        assert raised.run.name == f"{world.name}: +1 (queue 6 > 4)"
        await world.acts_until_serving(2)
        assert await world.finished(work) == 6
        assert set(await cluster.names()) == set(world.processes()) == await world.members()
        for _ in range(3):
            await world.acted()
        await pods_are(cluster, 1)
        assert set(await cluster.names()) == await world.members()
        state = await world.master.control("State")
        assert (state["served"], state["lost"]) == (6, 0)


@together
async def test_a_pod_that_dies_is_shown_deleted_and_replaced(worlds: Worlds) -> None:
    world = await worlds(elsewhere=True, limits={"min_seconds_after_failure": 0}, drain={"deadline_seconds": 100})
    async with applied() as cluster, with_node(cluster, world.folder / "node"):
        block = await world.keep(Scaler(cluster, pod_template=stand_in_template()).block)
        world.changes["providers"] = [{"block": block, "max_workers": 4}]
        await world.acted()
        await world.acts_until_serving(1)
        ((lost, pid),) = world.processes().items()
        os.kill(pid, signal.SIGKILL)
        await pod_has_failed(cluster, lost)
        await world.acted()
        await world.acts_until_serving(1)
        # It may have worked: silent through its drain deadline, it is ended.
        for _ in range(6):
            await world.acted(after=60)
        assert lost not in await cluster.names()


async def pod_has_failed(cluster: Cluster, name: str) -> None:
    """Wait until the node has seen it."""
    with anyio.fail_after(30):
        while (await cluster.pod(name))["status"]["phase"] != "Failed":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
