"""The cluster that Kubernetes tests run against: our stand-in, or the one that EBBFLOW_TEST_KUBECONFIG names.

A real cluster gets a namespace of its own, which is removed afterwards. Where it has no node, as with a bare API
server, our own plays scheduler and kubelet through the API. Nothing falls back to KUBECONFIG or a home folder.
"""

import asyncio
import os
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.standins.http import serve
from ebbflow.standins.kubernetes.node import Node
from ebbflow.standins.kubernetes.server import ADMIN_TOKEN, ApiServer, User, kubeconfig

VARIABLE = "EBBFLOW_TEST_KUBECONFIG"
IMAGE = os.environ.get("EBBFLOW_TEST_IMAGE", "busybox:1.36")

PLAYED_NODES = ("stand-in-node", "played-node")

# Runs as a local process and in any image that has a shell.
STAYS = 'trap "exit 0" TERM; echo started; while :; do sleep 0.1; done'


def template(script: str = STAYS, **spec: Any) -> dict[str, Any]:
    """A pod whose worker runs a shell script."""
    container = {"name": "worker", "image": IMAGE, "command": ["sh", "-c", script, "worker"]}
    return {"spec": {"terminationGracePeriodSeconds": 5, "containers": [container], **spec}}


@dataclass
class Cluster:
    """One namespace of one cluster."""

    kubeconfig: str
    namespace: str
    admin: httpx.AsyncClient
    server: ApiServer | None
    """None: a real one."""
    has_logs: bool = True

    @property
    def stand_in(self) -> ApiServer:
        """The stand-in, for what only it can be made to do."""
        assert self.server is not None
        return self.server

    def settings(self, **more: Any) -> KubernetesSettings:
        """Of a provider in this namespace."""
        given = {"pod_template": template(), "kubeconfig": self.kubeconfig, "namespace": self.namespace, **more}
        return KubernetesSettings.model_validate(given)

    def provider(self, **more: Any) -> KubernetesAdapter:
        """A provider in this namespace."""
        return KubernetesAdapter(self.settings(**more))

    @property
    def pods(self) -> str:
        """The path of its pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def pod(self, name: str) -> dict[str, Any]:
        """One pod as the server has it."""
        answer = await self.admin.get(f"{self.pods}/{name}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def names(self) -> list[str]:
        """Of all pods, whoever made them."""
        return [pod["metadata"]["name"] for pod in (await self.admin.get(self.pods)).json()["items"]]

    async def bind(self, name: str, node: str = "played-node") -> None:
        """What the scheduler does."""
        await self.admin.post("/api/v1/nodes", json={"metadata": {"name": node}})
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        answer = await self.admin.post(f"{self.pods}/{name}/binding", json=body)
        assert answer.status_code == 201, answer.text

    async def says(self, name: str, **status: Any) -> None:
        """What the kubelet or a controller says of a pod."""
        kind = {"content-type": "application/strategic-merge-patch+json"}
        answer = await self.admin.patch(f"{self.pods}/{name}/status", json={"status": status}, headers=kind)
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def stand_in_cluster(server: ApiServer) -> AsyncIterator[Cluster]:
    """A served stand-in with the namespace `gpu`."""
    # Both sides of the wire import the client, in threads of this one process, and it cannot bear that the first time.
    from kubernetes.client import ApiClient, V1Pod  # noqa: F401

    async with serve(server, sends_date=False) as url:
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=5) as admin:
            await admin.post("/api/v1/namespaces", json={"metadata": {"name": "gpu"}})
            yield Cluster(kubeconfig(url), "gpu", admin, server)


@asynccontextmanager
async def real_cluster(text: str) -> AsyncIterator[Cluster]:
    """A namespace of its own in the real cluster of a kubeconfig."""
    namespace = f"ebbflow-test-{secrets.token_hex(3)}"
    async with _client_of(text) as admin:
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        (await admin.post("/api/v1/namespaces", json=made)).raise_for_status()
        try:
            nodes = (await admin.get("/api/v1/nodes")).json()["items"]
            has_nodes = any(node["metadata"]["name"] not in PLAYED_NODES for node in nodes)
            yield Cluster(text, namespace, admin, None, has_logs=has_nodes)
        finally:
            await admin.request("DELETE", f"/api/v1/namespaces/{namespace}/pods", params={"gracePeriodSeconds": 0})
            await admin.delete(f"/api/v1/namespaces/{namespace}")
            for name in PLAYED_NODES:
                await admin.delete(f"/api/v1/nodes/{name}")


@asynccontextmanager
async def any_cluster() -> AsyncIterator[Cluster]:
    """The named real cluster, or else a stand-in."""
    text = _named_kubeconfig()
    async with real_cluster(text) if text else stand_in_cluster(ApiServer()) as cluster:
        yield cluster


def _named_kubeconfig() -> str:
    path = os.environ.get(VARIABLE)
    return Path(path).read_text(encoding="utf-8") if path else ""


@asynccontextmanager
async def with_node(cluster: Cluster, folder: Path) -> AsyncIterator[Cluster]:
    """The same with something that runs its pods, where it has nothing."""
    async with AsyncExitStack() as stack:
        if cluster.server is not None:
            node = Node(cluster.admin, cluster.namespace, folder, cluster.server.now)
            cluster.server.log_sources[node.name] = node.read_log
            await stack.enter_async_context(node.working())
        elif not cluster.has_logs:
            await stack.enter_async_context(Node(cluster.admin, cluster.namespace, folder).working())
        yield cluster


async def login_with(cluster: Cluster, role: dict[str, Any]) -> str:
    """A kubeconfig of somebody in the cluster's namespace to whom this Role is bound, and nothing else."""
    role = {**role, "metadata": {"name": "ebbflow", "namespace": cluster.namespace}}
    if cluster.server is not None:
        cluster.server.users["least-rights"] = User.of_role("ebbflow", role)
        return kubeconfig(str(cluster.admin.base_url).rstrip("/"), token="least-rights")
    core = f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts"
    rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{cluster.namespace}"
    account = {"kind": "ServiceAccount", "name": "ebbflow", "namespace": cluster.namespace}
    binding = {
        "metadata": role["metadata"],
        "subjects": [account],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ebbflow"},
    }
    made: list[tuple[str, dict[str, Any]]] = [
        (core, {"metadata": role["metadata"]}),
        (f"{rights}/roles", role),
        (f"{rights}/rolebindings", binding),
    ]
    for path, body in made:
        (await cluster.admin.post(path, json=body)).raise_for_status()
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    answer = await cluster.admin.post(f"{core}/ebbflow/token", json=token)
    answer.raise_for_status()
    told = yaml.safe_load(cluster.kubeconfig)
    current = next(each for each in told["contexts"] if each["name"] == told["current-context"])
    told["users"] = [{"name": current["context"]["user"], "user": {"token": answer.json()["status"]["token"]}}]
    return yaml.safe_dump(told)


@asynccontextmanager
async def _client_of(text: str) -> AsyncIterator[httpx.AsyncClient]:
    from kubernetes.client import Configuration
    from kubernetes.config import load_kube_config_from_dict

    configuration = Configuration()
    content = yaml.safe_load(text)
    await asyncio.to_thread(load_kube_config_from_dict, content, client_configuration=configuration)
    verify: ssl.SSLContext | bool = False
    if configuration.verify_ssl:
        verify = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            verify.load_cert_chain(configuration.cert_file, configuration.key_file)
    token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    headers = {"authorization": token} if token else {}
    async with httpx.AsyncClient(
        base_url=configuration.host, headers=headers, verify=verify, trust_env=False, timeout=20
    ) as client:
        yield client
