"""Workers as pods: launched once under doubt, listed whole or not at all, ended by uid."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ebbflow.adapters.http import MAX_ANSWER_BYTES
from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.adapters.providers.kubernetes.listing import PAGE
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.contracts.provider import BreakBackend, MakeProvider, ProviderContract
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Failure, Instance, InstanceState, JoinSpec, LaunchRequest
from ebbflow.standins.clock import ManualClock
from ebbflow.standins.http import serve
from ebbflow.standins.kubernetes.server import ApiServer, Fault, FaultKind, kubeconfig
from tests.kubernetes_cluster import VARIABLE, Cluster, any_cluster, login_with, stand_in_cluster, template, with_node

ID = "sdxl-3f9c-1a-0"
RIGHTS = Path(__file__).parents[4] / "deployments" / "kubernetes-swarmui" / "rights.yaml"

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def cluster(clock: ManualClock) -> AsyncIterator[Cluster]:
    """A stand-in without a node, on a clock that the test moves."""
    async with stand_in_cluster(ApiServer(clock=clock)) as cluster:
        yield cluster


@pytest.fixture
async def provider(cluster: Cluster) -> AsyncIterator[KubernetesAdapter]:
    provider = cluster.provider()
    yield provider
    await provider.aclose()


def request(worker_id: str = ID, *, home: str = "homea", **more: Any) -> LaunchRequest:
    return LaunchRequest(worker_id, "sdxl", home, **more)


async def listed(provider: KubernetesAdapter, worker_id: str = ID) -> Instance:
    listing = await provider.list_instances("sdxl")
    assert listing.complete, listing.detail
    (instance,) = [each for each in listing.instances if each.worker_id == worker_id]
    return instance


async def run(cluster: Cluster, worker_id: str = ID, *, node: str = "played-node", **more: Any) -> None:
    """Let a pod be scheduled and start."""
    await cluster.bind(worker_id, node)
    ready = {"type": "Ready", "status": "True"}
    await cluster.says(
        worker_id, **{"phase": "Running", "podIP": "10.0.0.7", "hostIP": "192.168.1.4", "conditions": [ready], **more}
    )


class TestKubernetesProvider(ProviderContract):
    """Against the stand-in, or the cluster that EBBFLOW_TEST_KUBECONFIG names."""

    deadline_seconds = 30.0 if not os.environ.get(VARIABLE) else 120.0

    @pytest.fixture
    async def cluster(self, tmp_path: Path) -> AsyncIterator[Cluster]:
        async with any_cluster() as cluster, with_node(cluster, tmp_path) as working:
            yield working

    @pytest.fixture
    def make_provider(self, cluster: Cluster) -> MakeProvider:
        return cluster.provider

    @pytest.fixture
    def break_backend(self, cluster: Cluster, request: pytest.FixtureRequest) -> BreakBackend:
        if cluster.server is None:
            request.node.add_marker(pytest.mark.may_skip)
            pytest.skip("a real cluster is not broken by a test")
        return lambda: cluster.stand_in.faults.append(Fault(FaultKind.FAIL, status=503))

    @pytest.mark.may_skip
    async def test_what_a_worker_printed_is_shown_and_of_an_unknown_one_nothing(  # type: ignore[override]
        self, provider: KubernetesAdapter, cluster: Cluster
    ) -> None:
        if not cluster.has_logs:
            pytest.skip("a played kubelet keeps no logs for a real API server")
        await super().test_what_a_worker_printed_is_shown_and_of_an_unknown_one_nothing(provider)


class TestLeastRights:
    """The Role of the ready-made deployment, against the stand-in or the named cluster."""

    async def test_its_role_is_enough_for_a_workers_whole_life(self) -> None:
        (role,) = [each for each in yaml.safe_load_all(RIGHTS.read_text()) if each["kind"] == "Role"]
        async with any_cluster() as cluster:
            provider = cluster.provider(kubeconfig=await login_with(cluster, role), url="log")
            await until_allowed(provider)
            await provider.launch(request())
            assert (await provider.launch(request())).state is InstanceState.PENDING
            instance = await listed(provider)
            assert await provider.logs(instance) == {}
            await cluster.bind(ID)
            with pytest.raises(TerminationRefused):
                await provider.terminate(instance)
            await provider.terminate(await listed(provider))
            assert (await listed(provider)).state is InstanceState.TERMINATING
            await provider.aclose()

    async def test_without_it_the_first_call_says_what_is_missing(self) -> None:
        async with any_cluster() as cluster:
            provider = cluster.provider(kubeconfig=await login_with(cluster, {"rules": []}))
            with pytest.raises(ConfigError, match="the Role must allow create, get, list and delete of pods"):
                await provider.list_instances("sdxl")
            await provider.aclose()


async def until_allowed(provider: KubernetesAdapter) -> None:
    """A real cluster takes a moment until a new Role holds."""
    with anyio.fail_after(10):
        while True:
            try:
                await provider.list_instances("sdxl")
            except ConfigError:
                await asyncio.sleep(0.1)
            else:
                return


class TestLaunch:
    async def test_the_pod_carries_the_id_fleet_home_and_what_the_worker_needs(self, cluster: Cluster) -> None:
        provider = cluster.provider(pod_template=template(priorityClassName="low"), capabilities=["sdxl"])
        join = JoinSpec({"KEY": "v"}, ("--require_control_within", "10"))
        answer = await provider.launch(request(join=join))
        assert (answer.state, answer.url, answer.capabilities) == (InstanceState.PENDING, None, ("sdxl",))
        pod = await cluster.pod(ID)
        assert pod["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "ebbflow",
            "ebbflow/fleet": "sdxl",
            "ebbflow/home": "homea",
        }
        spec = pod["spec"]
        assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 86400)
        assert (spec["automountServiceAccountToken"], spec["priorityClassName"]) == (False, "low")
        (container,) = spec["containers"]
        assert container["args"] == ["--require_control_within", "10"]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment == {
            "KEY": "v",
            "EBBFLOW_WORKER_ID": ID,
            "EBBFLOW_FLEET": "sdxl",
            "EBBFLOW_HOME": "homea",
            "EBBFLOW_ARGUMENTS": "--require_control_within 10",
        }
        await provider.aclose()

    async def test_a_template_is_tried_by_a_dry_run_before_its_first_pod_and_not_again(self, cluster: Cluster) -> None:
        first = cluster.provider()
        await first.launch(request())
        await first.launch(request("sdxl-3f9c-1a-1"))
        later = cluster.provider()
        await later.list_instances("sdxl")
        await later.launch(request("sdxl-3f9c-1a-2"))
        assert cluster.stand_in.count("POST", "dryRun=All") == 1
        for provider in (first, later):
            await provider.aclose()

    @pytest.mark.parametrize("kind", [FaultKind.LOSE_ANSWER, FaultKind.FAIL_AFTER])
    async def test_a_launch_whose_answer_is_lost_is_found_and_adopted(self, cluster: Cluster, kind: FaultKind) -> None:
        provider = cluster.provider(call_timeout_seconds=1)
        cluster.stand_in.faults.append(Fault(kind, "POST", "/pods", status=503))
        provider._listing.known_templates.add(_hash(provider))
        answer = await provider.launch(request())
        assert answer.instance_id == (await cluster.pod(ID))["metadata"]["uid"]
        assert (await provider.launch(request())).instance_id == answer.instance_id
        assert await cluster.names() == [ID]
        await provider.aclose()

    async def test_a_launch_that_failed_before_it_was_done_is_temporary(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "POST", status=503, times=1))
        with pytest.raises(ProviderUnavailable, match="503"):
            await provider.launch(request())
        assert cluster.stand_in.count("POST", "/pods") == 1, "a POST is never repeated by itself"
        assert (await provider.launch(request())).state is InstanceState.PENDING

    async def test_a_launch_without_any_answer_is_unknown(self, cluster: Cluster) -> None:
        provider = cluster.provider(call_timeout_seconds=1)
        provider._listing.known_templates.add(_hash(provider))
        cluster.stand_in.faults.append(Fault(FaultKind.HANG))
        with anyio.fail_after(4), pytest.raises(LaunchOutcomeUnknown, match=ID):
            await provider.launch(request())
        await provider.aclose()

    async def test_a_busy_server_is_asked_once_and_its_wish_is_told(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "POST", status=429, retry_after=7))
        with pytest.raises(ProviderUnavailable, match="wait for 7 s"):
            await provider.launch(request())
        assert cluster.stand_in.count("POST") - cluster.stand_in.count("POST", "/namespaces?") == 1

    @pytest.mark.parametrize(
        ("status", "message", "error", "words"),
        [
            (401, "Unauthorized", ConfigError, "login"),
            (403, "pods is forbidden: User cannot create", LaunchRejected, "cannot create"),
            (403, "violates PodSecurity baseline", LaunchRejected, "PodSecurity"),
            (404, 'namespaces "gpu" not found', ConfigError, "create the namespace"),
        ],
    )
    async def test_a_refusal_says_who_must_act(
        self,
        cluster: Cluster,
        provider: KubernetesAdapter,
        status: int,
        message: str,
        error: type[Exception],
        words: str,
    ) -> None:
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "POST", status=status, message=message))
        with pytest.raises(error, match=words):
            await provider.launch(request())

    async def test_a_full_quota_is_capacity(self, cluster: Cluster, provider: KubernetesAdapter) -> None:
        await limit_pods(cluster, 1)
        await provider.launch(request())
        with pytest.raises(CapacityUnavailable, match=r"exceeded quota: gpus.*used: pods=1"):
            await provider.launch(request("sdxl-3f9c-1a-1"))

    async def test_a_namespace_that_goes_away_is_a_configuration_error(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        store = cluster.stand_in.store
        namespace = store.get("namespaces", "", "gpu")
        store.replace("namespaces", "", "gpu", {**namespace, "status": {"phase": "Terminating"}})
        with pytest.raises(ConfigError, match="being terminated"):
            await provider.launch(request())

    async def test_a_name_that_is_still_terminating_is_refused_as_used_up(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        await provider.launch(request())
        await run(cluster)
        await provider.terminate(await listed(provider))
        assert (await listed(provider)).state is InstanceState.TERMINATING
        with pytest.raises(LaunchRejected, match="never used again"):
            await provider.launch(request())

    async def test_a_name_that_another_home_has_is_refused(self, cluster: Cluster, provider: KubernetesAdapter) -> None:
        await provider.launch(request(home="homeb"))
        with pytest.raises(LaunchRejected, match=r"ebbflow/home is 'homeb', not 'homea'"):
            await provider.launch(request())

    async def test_sixteen_launches_of_one_id_make_one_pod(self, cluster: Cluster) -> None:
        providers = [cluster.provider() for _ in range(4)]
        answers = await asyncio.gather(*(provider.launch(request()) for provider in providers * 4))
        assert len({answer.instance_id for answer in answers}) == 1
        assert await cluster.names() == [ID]
        for provider in providers:
            await provider.aclose()

    async def test_an_unknown_field_of_the_template_is_refused_by_the_dry_run_with_its_path(
        self, cluster: Cluster
    ) -> None:
        provider = cluster.provider(pod_template=template(nodeSelectr={"gpu": "a100"}))
        with pytest.raises(LaunchRejected, match=r"spec\.nodeSelectr"):
            await provider.launch(request())
        assert await cluster.names() == []
        await provider.aclose()

    async def test_an_id_that_is_none_is_refused(self, provider: KubernetesAdapter) -> None:
        with pytest.raises(LaunchRejected, match="not a worker id"):
            await provider.launch(request("../../x"))


class TestListing:
    async def test_a_thousand_pods_are_listed_in_pages_among_foreign_ones(self, cluster: Cluster) -> None:
        provider = cluster.provider()
        fill(cluster, PAGE + 1)
        fill(cluster, 5, fleet="other")
        cluster.stand_in.requests.clear()
        listing = await provider.list_instances("sdxl")
        assert (len(listing.instances), listing.complete) == (PAGE + 1, True)
        assert len({each.worker_id for each in listing.instances}) == PAGE + 1
        assert cluster.stand_in.count("GET") == 2, "calls grow with pages, not with pods"
        await provider.aclose()

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(FaultKind.FAIL, "GET", "continue=", status=500),
            Fault(FaultKind.FAIL, "GET", "continue=", status=400),
            Fault(FaultKind.FAIL, "GET", "", status=503),
            Fault(FaultKind.FAIL, "GET", "", status=429, retry_after=60),
            Fault(FaultKind.HANG, "GET", "continue="),
        ],
        ids=lambda fault: f"{fault.kind.value}-{fault.status}-{fault.within}",
    )
    async def test_a_listing_that_is_cut_is_not_complete(self, cluster: Cluster, fault: Fault) -> None:
        provider = cluster.provider(call_timeout_seconds=1)
        fill(cluster, PAGE + 1)
        cluster.stand_in.faults.append(fault)
        with anyio.fail_after(5):
            listing = await provider.list_instances("sdxl")
        assert not listing.complete
        assert listing.detail.startswith("listing pods of fleet sdxl")
        await provider.aclose()

    @pytest.mark.parametrize(
        ("encoding", "content", "words"),
        [
            ("gzip", gzip.compress(b'{"kind": "PodList", "items": []}'), "compressed ('gzip')"),
            ("identity", b" " * (MAX_ANSWER_BYTES + 1), "longer than"),
        ],
        ids=["compressed", "long"],
    )
    async def test_regression_a_small_compressed_answer_unfolded_in_our_memory(
        self, encoding: str, content: bytes, words: str
    ) -> None:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                assert (b"accept-encoding", b"identity") in scope["headers"]
                await Response(content, headers={"content-encoding": encoding})(scope, receive, send)

        async with serve(answer) as url:
            text = kubeconfig(url, namespace="gpu")
            provider = KubernetesAdapter(
                KubernetesSettings.model_validate({"kubeconfig": text, "pod_template": template()})
            )
            listing = await provider.list_instances("sdxl")
            await provider.aclose()
        assert not listing.complete
        assert words in listing.detail

    async def test_pages_that_expired_are_read_again_once(self, cluster: Cluster) -> None:
        provider = cluster.provider()
        fill(cluster, PAGE + 1)
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "GET", "continue=", status=410, times=1))
        assert (await provider.list_instances("sdxl")).complete
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "GET", "continue=", status=410))
        assert "expired twice" in (await provider.list_instances("sdxl")).detail
        await provider.aclose()

    async def test_a_busy_server_is_waited_for_within_the_call(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "GET", status=429, retry_after=0, times=1))
        assert (await provider.list_instances("sdxl")).complete

    @pytest.mark.parametrize(("status", "words"), [(401, "login is refused"), (403, "the Role must allow")])
    async def test_a_refused_login_or_right_is_loud(
        self, cluster: Cluster, provider: KubernetesAdapter, status: int, words: str
    ) -> None:
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, status=status))
        with pytest.raises(ConfigError, match=words):
            await provider.list_instances("sdxl")

    async def test_a_server_that_is_gone_for_a_while_loses_nothing(self, clock: ManualClock) -> None:
        server = ApiServer(clock=clock)
        async with stand_in_cluster(server) as cluster:
            provider = cluster.provider(call_timeout_seconds=1)
            await provider.launch(request())
            port = int(str(cluster.admin.base_url).rstrip("/").rsplit(":", 1)[1])
            instance = await listed(provider)
        with anyio.fail_after(4):
            assert not (await provider.list_instances("sdxl")).complete
            with pytest.raises(ProviderUnavailable):
                await provider.terminate(instance)
            with pytest.raises(ProviderUnavailable):
                await provider.launch(request("sdxl-3f9c-1a-1"))
        await clock.advance(60)
        async with serve(server, port=port, sends_date=False):
            assert await listed(provider) == instance
        await provider.aclose()

    async def test_a_foreign_pod_with_our_labels_is_shown_without_a_home(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        labels = {"app.kubernetes.io/managed-by": "ebbflow", "ebbflow/fleet": "sdxl", "ebbflow/home": "homea"}
        body = {"metadata": {"name": "sdxl-web", "labels": labels}, **template()}
        await cluster.admin.post(cluster.pods, json=body)
        instance = await listed(provider, "sdxl-web")
        assert (instance.home, instance.state) == ("", InstanceState.PENDING)
        assert "not made by us" in instance.detail
        with pytest.raises(TerminationRefused, match="not a worker id"):
            await provider.terminate(instance)

    @pytest.mark.parametrize("url", ["pod-ip", "host-port", "log", "none"])
    async def test_containers_that_the_cluster_put_beside_the_worker_change_nothing(
        self, cluster: Cluster, url: str
    ) -> None:
        plain = template(hostNetwork=True)
        plain["spec"]["containers"][0]["name"] = "main"
        provider = cluster.provider(url=url, pod_template=plain)
        await provider.launch(request())
        pod = cluster.stand_in.store.get("pods", "gpu", ID)
        (main,) = pod["spec"]["containers"]
        changed = {**pod["spec"], "containers": [{"name": "proxy", "image": "p"}, main]}
        cluster.stand_in.store.replace("pods", "gpu", ID, {**pod, "spec": changed})
        await run(cluster)
        asked: list[str] = []

        def printed(uid: str, container: str, count: int | None) -> bytes:
            asked.append(container)
            return b""

        cluster.stand_in.log_sources["played-node"] = printed
        assert (await listed(provider)).state is (InstanceState.STARTING if url == "log" else InstanceState.RUNNING)
        assert set(asked) <= {"main"}
        await provider.aclose()


class TestUrl:
    async def test_by_the_pods_address(self, cluster: Cluster, provider: KubernetesAdapter) -> None:
        await provider.launch(request())
        await run(cluster)
        instance = await listed(provider)
        assert (instance.state, instance.url) == (InstanceState.RUNNING, "http://10.0.0.7:7801")

    async def test_an_address_of_the_sixth_version_gets_brackets(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        await provider.launch(request())
        await run(cluster, podIP="fd00::7")
        assert (await listed(provider)).url == "http://[fd00::7]:7801"

    async def test_by_the_nodes_port(self, cluster: Cluster) -> None:
        plain = template()
        plain["spec"]["containers"][0]["ports"] = [{"containerPort": 7801, "hostPort": 30001}]
        provider = cluster.provider(url="host-port", pod_template=plain)
        await provider.launch(request())
        await run(cluster)
        assert (await listed(provider)).url == "http://192.168.1.4:30001"
        await provider.aclose()

    @pytest.mark.parametrize(
        ("log", "state", "url", "words"),
        [
            (b"loading\n", "starting", None, "WaitingForURL"),
            (b"DoRetries: 9\nNewURL: http://w:1\n", "running", "http://w:1", ""),
            (b"NewURL: http://{podIP}:7801\n", "running", "http://10.0.0.7:7801", ""),
            (b"NewURL: w:1\n", "failed", None, "bad_url"),
            (b"DeclareFailed: no GPU\n", "failed", None, "declared failed: no GPU"),
            (b"NewURL: http://w:1\n" + b"step\n" * 1000, "running", "http://w:1", ""),
            (b"NewURL: http://w:1\n" + b"step\n" * 1000 + b"NewURL: http://x:1\n", "running", "http://w:1", ""),
            (b"NewURL: http://w:1\n" + b"step\n" * 1000 + b"DeclareFailed: x\n", "running", "http://w:1", ""),
            (b"loading\n" * 70_000 + b"NewURL: http://w:1\n", "running", "http://w:1", ""),
        ],
    )
    async def test_by_what_the_worker_prints(
        self, cluster: Cluster, log: bytes, state: str, url: str | None, words: str
    ) -> None:
        for word in (b"NewURL", b"DoRetries", b"DeclareFailed"):
            log = log.replace(word, b"[SwarmAutoScaleBackend]" + word)
        lines = [line + b"[/SwarmAutoScaleBackend]" if b"[Swarm" in line else line for line in log.split(b"\n")]
        provider = cluster.provider(url="log")
        await provider.launch(request())
        await run(cluster)
        text = b"\n".join(lines)
        cluster.stand_in.log_sources["played-node"] = lambda uid, container, count: (
            text if count is None else b"".join(text.splitlines(keepends=True)[-count:])
        )
        instance = await listed(provider)
        assert (instance.state.value, instance.url) == (state, url)
        assert words in instance.detail
        assert instance.retries == (9 if b"DoRetries" in text else None)
        await provider.aclose()

    async def test_a_worker_that_declared_failure_and_ended_is_capacity(self, cluster: Cluster) -> None:
        provider = cluster.provider(url="log")
        await provider.launch(request())
        await run(cluster, phase="Failed", reason="Error")
        said = b"[SwarmAutoScaleBackend]DeclareFailed: no license left[/SwarmAutoScaleBackend]\n"
        cluster.stand_in.log_sources["played-node"] = lambda uid, container, count: said
        instance = await listed(provider)
        assert (instance.state, instance.failure) == (InstanceState.FAILED, Failure.CAPACITY)
        assert "no license left" in instance.detail
        await provider.aclose()

    async def test_a_log_that_cannot_be_read_leaves_the_address_unknown_and_the_list_complete(
        self, cluster: Cluster
    ) -> None:
        provider = cluster.provider(url="log")
        await provider.launch(request())
        await run(cluster)
        instance = await listed(provider)
        assert (instance.state, instance.url) == (InstanceState.STARTING, None)
        await provider.aclose()


class TestWaitingForANode:
    async def test_a_pod_without_a_node_is_given_up_after_its_time_as_capacity(
        self, cluster: Cluster, provider: KubernetesAdapter, clock: ManualClock
    ) -> None:
        await provider.launch(request())
        why = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        await cluster.says(ID, conditions=[condition])
        assert (await listed(provider)).state is InstanceState.PENDING
        await clock.advance(121)
        instance = await listed(provider)
        assert (instance.state, instance.failure) == (InstanceState.FAILED, Failure.CAPACITY)
        assert why in instance.detail

    @pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
    async def test_a_pod_whose_node_is_being_added_is_not_given_up_early(
        self, cluster: Cluster, provider: KubernetesAdapter, clock: ManualClock, reason: str
    ) -> None:
        await provider.launch(request())
        involved = {"kind": "Pod", "uid": (await cluster.pod(ID))["metadata"]["uid"]}
        event = {"metadata": {"generateName": "e-"}, "reason": reason, "involvedObject": involved}
        await cluster.admin.post(f"/api/v1/namespaces/{cluster.namespace}/events", json=event)
        await clock.advance(1100)
        assert (await listed(provider)).state is InstanceState.PENDING
        assert "autoscaler is adding a node" in (await listed(provider)).detail
        await clock.advance(200)
        assert (await listed(provider)).state is InstanceState.FAILED

    async def test_regression_a_pod_that_waits_for_its_volume_did_not_say_so(
        self, cluster: Cluster, provider: KubernetesAdapter, clock: ManualClock
    ) -> None:
        await provider.launch(request())
        await cluster.bind(ID)
        pod = await cluster.pod(ID)
        said = "MountVolume.SetUp failed for volume models : configmap models not found"
        event = {
            "metadata": {"generateName": "e-"},
            "reason": "FailedMount",
            "message": said,
            "involvedObject": {"kind": "Pod", "uid": pod["metadata"]["uid"]},
        }
        await cluster.admin.post(f"/api/v1/namespaces/{cluster.namespace}/events", json=event)
        assert said not in (await listed(provider)).detail, "its node has only begun"
        await clock.advance(120)
        waits = await listed(provider)
        assert (waits.state, f"FailedMount: {said}" in waits.detail) == (InstanceState.STARTING, True)
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "GET", "/events", status=403))
        assert (await listed(provider)).state is InstanceState.STARTING, "the right to events is optional"

    async def test_events_that_cannot_be_read_now_give_nobody_up(
        self, cluster: Cluster, provider: KubernetesAdapter, clock: ManualClock
    ) -> None:
        await provider.launch(request())
        await clock.advance(500)
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "GET", "/events", status=500))
        assert (await listed(provider)).state is InstanceState.PENDING

    async def test_without_the_right_to_events_the_ordinary_time_counts(
        self, cluster: Cluster, provider: KubernetesAdapter, clock: ManualClock
    ) -> None:
        await provider.launch(request())
        await clock.advance(500)
        cluster.stand_in.faults.append(Fault(FaultKind.FAIL, "GET", "/events", status=403))
        assert (await listed(provider)).state is InstanceState.FAILED


class TestTerminate:
    async def test_a_late_end_never_hits_another_pod_of_the_name(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        await provider.launch(request())
        await run(cluster)
        old = await listed(provider)
        await cluster.admin.request("DELETE", f"{cluster.pods}/{ID}", json={"gracePeriodSeconds": 0})
        await provider.launch(request())
        await provider.terminate(old)
        assert (await listed(provider)).instance_id != old.instance_id

    async def test_a_pending_pod_is_ended_only_while_it_is_pending(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        await provider.launch(request())
        seen_pending = await listed(provider)
        await cluster.bind(ID)
        with pytest.raises(TerminationRefused, match="has been given node played-node"):
            await provider.terminate(seen_pending)
        assert cluster.stand_in.count("DELETE") == 0
        await provider.terminate(await listed(provider))
        assert (await listed(provider)).state is InstanceState.TERMINATING

    async def test_a_pod_that_is_bound_between_the_look_and_the_delete_stays(
        self, cluster: Cluster, provider: KubernetesAdapter
    ) -> None:
        await provider.launch(request())
        pending = await listed(provider)
        store = cluster.stand_in.store
        refused = store.delete

        def bind_first(*given: Any, **more: Any) -> dict[str, Any]:
            store.delete = refused  # type: ignore[method-assign]
            store.bind("gpu", ID, "played-node")
            return refused(*given, **more)

        store.delete = bind_first  # type: ignore[method-assign]
        with pytest.raises(TerminationRefused, match="ResourceVersion in precondition"):
            await provider.terminate(pending)
        assert "deletionTimestamp" not in (await cluster.pod(ID))["metadata"]

    async def test_a_delete_without_an_answer_is_sent_once_and_is_temporary(self, cluster: Cluster) -> None:
        provider = cluster.provider(call_timeout_seconds=1)
        await provider.launch(request())
        await run(cluster)
        instance = await listed(provider)
        cluster.stand_in.faults.append(Fault(FaultKind.HANG, "DELETE"))
        with pytest.raises(ProviderUnavailable, match=ID):
            await provider.terminate(instance)
        assert cluster.stand_in.count("DELETE") == 1
        await provider.aclose()

    async def test_a_finished_pod_is_removed_at_once(self, cluster: Cluster, provider: KubernetesAdapter) -> None:
        await provider.launch(request())
        await run(cluster, phase="Succeeded")
        await provider.terminate(await listed(provider))
        assert await cluster.names() == []

    async def test_a_pod_that_does_not_end_is_shown_as_stuck(
        self, cluster: Cluster, provider: KubernetesAdapter, clock: ManualClock
    ) -> None:
        await provider.launch(request())
        await run(cluster)
        await provider.terminate(await listed(provider))
        await clock.advance(5 + 121)
        instance = await listed(provider)
        assert instance.state is InstanceState.TERMINATING
        assert "TerminatingStuck" in instance.detail
        await provider.terminate(instance)


class TestConnection:
    async def test_two_clusters_or_namespaces_have_two_fingerprints(self, cluster: Cluster) -> None:
        other = cluster.provider(namespace="other")
        elsewhere = cluster.provider(kubeconfig=kubeconfig("http://127.0.0.1:1"))
        again = cluster.provider(pod_template=template("exit 0"))
        assert len({each.caps.fingerprint for each in (cluster.provider(), other, elsewhere, again)}) == 3

    async def test_the_contexts_namespace_is_used_where_the_block_names_none(self, cluster: Cluster) -> None:
        with_namespace = json.loads(cluster.kubeconfig)
        with_namespace["contexts"][0]["context"]["namespace"] = "gpu"
        provider = cluster.provider(namespace=None, kubeconfig=json.dumps(with_namespace))
        await provider.launch(request())
        assert await cluster.names() == [ID]
        await provider.aclose()

    async def test_without_a_namespace_nothing_goes_to_the_default_one(self, cluster: Cluster) -> None:
        provider = cluster.provider(namespace=None)
        assert provider.caps.fingerprint
        with pytest.raises(ConfigError, match="namespace"):
            await provider.launch(request())

    async def test_a_template_for_another_namespace_than_the_contexts_is_a_configuration_error(
        self, cluster: Cluster
    ) -> None:
        with_namespace = json.loads(cluster.kubeconfig)
        with_namespace["contexts"][0]["context"]["namespace"] = "gpu"
        named = {"metadata": {"namespace": "elsewhere"}, **template()}
        provider = cluster.provider(namespace=None, kubeconfig=json.dumps(with_namespace), pod_template=named)
        with pytest.raises(ConfigError, match="'elsewhere', but workers go to 'gpu'"):
            await provider.launch(request())

    async def test_outside_of_a_cluster_a_kubeconfig_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        provider = KubernetesAdapter(KubernetesSettings(pod_template=template(), namespace="gpu"))
        with pytest.raises(ConfigError, match="kubeconfig"):
            await provider.list_instances("sdxl")


LOOKS_OF_TWO_PROVIDERS = """
import asyncio
from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings

async def look(kubeconfig):
    provider = KubernetesAdapter(KubernetesSettings(kubeconfig=kubeconfig, namespace="gpu", pod_template=TEMPLATE))
    return (await provider.list_instances("sdxl")).complete

async def main():
    print(await asyncio.gather(*(look(KUBECONFIG) for _ in range(6))))

asyncio.run(main())
"""


@pytest.mark.parametrize("attempt", range(3))
def test_regression_two_clusters_in_one_fleet_could_not_import_their_client_in_a_new_process(attempt: int) -> None:
    values = f"TEMPLATE = {template()!r}\nKUBECONFIG = {kubeconfig('http://127.0.0.1:1')!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", values + LOOKS_OF_TWO_PROVIDERS], capture_output=True, text=True, check=False, timeout=60
    )
    assert "ImportError" not in done.stderr, done.stderr[-2000:]
    assert "DeadlockError" not in done.stderr, done.stderr[-2000:]


async def limit_pods(cluster: Cluster, count: int) -> None:
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"pods": str(count)}}}
    await cluster.admin.post(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas", json=quota)


def fill(cluster: Cluster, count: int, *, fleet: str = "sdxl") -> None:
    """Make that many pods of a fleet, without the traffic."""
    labels = {"app.kubernetes.io/managed-by": "ebbflow", "ebbflow/fleet": fleet, "ebbflow/home": "homea"}
    for index in range(count):
        metadata = {"name": f"{fleet}-3f9c-1a-{index}", "labels": labels, "annotations": {"ebbflow/template": "x"}}
        cluster.stand_in.store.create("pods", "gpu", {"metadata": metadata, **template()})


def _hash(provider: KubernetesAdapter) -> str:
    from ebbflow.adapters.providers.kubernetes.template import template_hash

    return template_hash(provider._settings.pod_template)
