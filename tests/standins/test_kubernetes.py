"""The stand-in API server, held to what a real one does: the same tests run against the cluster that
EBBFLOW_TEST_KUBECONFIG names. What only a stand-in can be made to do is at the end.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.kubernetes.objects import Refused, matches_labels
from ebbflow.standins.kubernetes.server import ApiServer, Fault, FaultKind, User
from tests.kubernetes_cluster import VARIABLE, Cluster, any_cluster, stand_in_cluster, template, with_node

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
IS_REAL = bool(os.environ.get(VARIABLE))


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with any_cluster() as cluster:
        yield cluster


def pod(name: str = "a", *, labels: dict[str, str] | None = None, **metadata: Any) -> Json:
    return {"metadata": {"name": name, "labels": labels or {}, **metadata}, **template(schedulerName="nobody")}


async def create(cluster: Cluster, body: Json, status: int = 201, **query: Any) -> Json:
    answer = await cluster.admin.post(cluster.pods, json=body, params=query)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def delete(cluster: Cluster, name: str, status: int = 200, **options: Any) -> Json:
    answer = await cluster.admin.request("DELETE", f"{cluster.pods}/{name}", json=options)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def patch(cluster: Cluster, name: str, body: Any, kind: str, part: str = "") -> Json:
    headers = {"content-type": kind}
    answer = await cluster.admin.patch(f"{cluster.pods}/{name}{part}", content=json.dumps(body), headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def names(cluster: Cluster, **query: Any) -> list[str]:
    answer = await cluster.admin.get(cluster.pods, params=query)
    assert answer.status_code == 200, answer.text
    return [item["metadata"]["name"] for item in answer.json()["items"]]


class TestCreate:
    async def test_it_gets_identity_version_time_and_defaults(self, cluster: Cluster) -> None:
        made = await create(cluster, pod())
        assert {"uid", "resourceVersion", "creationTimestamp"} <= set(made["metadata"])
        read = await cluster.pod("a")
        assert read["status"]["phase"] == "Pending"
        assert read["spec"]["terminationGracePeriodSeconds"] == 5
        keys = {each["key"] for each in read["spec"]["tolerations"]}
        assert {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"} <= keys

    async def test_the_same_name_again_is_a_conflict(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        assert (await create(cluster, pod(), 409))["reason"] == "AlreadyExists"

    async def test_without_containers_it_is_invalid(self, cluster: Cluster) -> None:
        body = {"metadata": {"name": "a"}, "spec": {"containers": []}}
        assert (await create(cluster, body, 422))["reason"] == "Invalid"

    async def test_an_unknown_field_is_refused_if_that_is_asked_for(self, cluster: Cluster) -> None:
        body = pod()
        body["spec"]["bogus"] = 1
        answer = await cluster.admin.post(cluster.pods, json=body, params={"fieldValidation": "Strict"})
        if IS_REAL and answer.status_code == 201:
            # Before 1.25 it is dropped without a word.
            assert "bogus" not in answer.json()["spec"]
            return
        assert answer.status_code in (400, 422)
        await create(cluster, body, fieldValidation="Ignore")
        assert "bogus" not in (await cluster.pod("a"))["spec"]

    async def test_a_wrong_type_is_a_bad_request(self, cluster: Cluster) -> None:
        body = pod()
        body["spec"]["containers"][0]["ports"] = [{"containerPort": "80"}]
        assert (await create(cluster, body, 400))["reason"] == "BadRequest"

    async def test_a_dry_run_stores_nothing_and_says_what_would_be(self, cluster: Cluster) -> None:
        assert (await create(cluster, pod(), dryRun="All"))["metadata"]["uid"]
        assert await names(cluster) == []

    async def test_a_generated_name_has_its_prefix(self, cluster: Cluster) -> None:
        body = {"metadata": {"generateName": "b-"}, **template()}
        assert (await create(cluster, body))["metadata"]["name"].startswith("b-")

    async def test_an_unknown_name_is_not_found(self, cluster: Cluster) -> None:
        answer = await cluster.admin.get(f"{cluster.pods}/none")
        assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")

    async def test_sixteen_at_once_make_one(self, cluster: Cluster) -> None:
        answers = await asyncio.gather(*(cluster.admin.post(cluster.pods, json=pod()) for _ in range(16)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15

    @pytest.mark.parametrize(
        ("name", "status"), [("x" * 64, 201), ("a.b", 201), ("A", 422), ("-a", 422), ("x" * 254, 422)]
    )
    async def test_names(self, cluster: Cluster, name: str, status: int) -> None:
        await create(cluster, pod(name), status)

    async def test_a_label_value_is_no_longer_than_63_characters(self, cluster: Cluster) -> None:
        await create(cluster, pod(labels={"a": "x" * 63}))
        assert (await create(cluster, pod("b", labels={"a": "x" * 64}), 422))["reason"] == "Invalid"

    async def test_quantities_become_text_and_limits_requests(self, cluster: Cluster) -> None:
        body = pod()
        body["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
        resources = (await create(cluster, body))["spec"]["containers"][0]["resources"]
        assert resources == {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}

    async def test_a_missing_namespace_is_not_found(self, cluster: Cluster) -> None:
        answer = await cluster.admin.post("/api/v1/namespaces/none-of-that-name/pods", json=pod())
        assert answer.status_code == 404
        assert 'namespaces "none-of-that-name" not found' in answer.json()["message"]


class TestList:
    async def test_selectors_choose_by_labels(self, cluster: Cluster) -> None:
        for name, labels in (("a", {"k": "1"}), ("b", {"k": "2"}), ("c", {"other": "1"})):
            await create(cluster, pod(name, labels=labels))
        assert await names(cluster, labelSelector="k=1") == ["a"]
        assert await names(cluster, labelSelector="k in (1, 2)") == ["a", "b"]
        assert await names(cluster, labelSelector="k in (1,2),!other,k!=2") == ["a"]
        assert await names(cluster, labelSelector="!k") == ["c"]
        assert await names(cluster, labelSelector="k notin (1)") == ["b", "c"]
        assert await names(cluster, labelSelector="other") == ["c"]

    async def test_selectors_choose_by_fields(self, cluster: Cluster) -> None:
        for name in ("a", "b"):
            await create(cluster, pod(name))
        await cluster.says("b", phase="Running")
        assert await names(cluster, fieldSelector="metadata.name=a") == ["a"]
        assert await names(cluster, fieldSelector="status.phase=Running") == ["b"]

    async def test_pages_are_one_snapshot(self, cluster: Cluster) -> None:
        for name in "abcde":
            await create(cluster, pod(name))
        seen, token = [], ""
        while True:
            page = (await cluster.admin.get(cluster.pods, params={"limit": 2, "continue": token})).json()
            seen += [item["metadata"]["name"] for item in page["items"]]
            if not token:
                await delete(cluster, "a", gracePeriodSeconds=0)
                await delete(cluster, "d", gracePeriodSeconds=0)
                await create(cluster, pod("bb"))
            token = page["metadata"].get("continue", "")
            if not token:
                break
        assert seen == list("abcde"), "nothing is skipped, whatever happens between two pages"

    async def test_a_list_has_a_version_and_its_items_no_kind(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        page = (await cluster.admin.get(cluster.pods)).json()
        assert int(page["metadata"]["resourceVersion"]) > 0
        assert {"kind", "apiVersion"}.isdisjoint(page["items"][0])

    async def test_a_page_token_that_is_none_is_a_bad_request(self, cluster: Cluster) -> None:
        answer = await cluster.admin.get(cluster.pods, params={"limit": 1, "continue": "none"})
        assert answer.status_code == 400


class TestChange:
    async def test_a_status_is_changed_by_its_own_path_only(self, cluster: Cluster) -> None:
        before = await create(cluster, pod())
        after = await patch(cluster, "a", {"status": {"phase": "Running", "podIP": "10.0.0.1"}}, STRATEGIC, "/status")
        assert (after["status"]["phase"], after["status"]["podIP"]) == ("Running", "10.0.0.1")
        assert int(after["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
        again = await patch(cluster, "a", {"status": {"phase": "Failed"}, "metadata": {"labels": {"x": "1"}}}, MERGE)
        assert again["status"]["phase"] == "Running"
        assert again["metadata"]["labels"] == {"x": "1"}

    async def test_conditions_are_merged_by_their_type(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        for kind, status in (("Ready", "False"), ("Initialized", "True"), ("Ready", "True")):
            condition = {"type": kind, "status": status}
            after = await patch(cluster, "a", {"status": {"conditions": [condition]}}, STRATEGIC, "/status")
        found = {each["type"]: each["status"] for each in after["status"]["conditions"]}
        assert (found["Ready"], found["Initialized"]) == ("True", "True")

    async def test_a_json_patch_and_a_merge_patch_keep_the_rest(self, cluster: Cluster) -> None:
        await create(cluster, pod(labels={"keep": "1"}, annotations={"keep": "1"}))
        operation = {"op": "add", "path": "/metadata/annotations/a~1b", "value": "v"}
        after = await patch(cluster, "a", [operation], "application/json-patch+json")
        assert after["metadata"]["annotations"] == {"keep": "1", "a/b": "v"}
        after = await patch(cluster, "a", {"metadata": {"labels": {"new": "1"}}}, MERGE)
        assert after["metadata"]["labels"] == {"keep": "1", "new": "1"}

    async def test_a_replacement_of_an_old_version_is_a_conflict(self, cluster: Cluster) -> None:
        old = await create(cluster, pod())
        await patch(cluster, "a", {"metadata": {"labels": {"new": "1"}}}, MERGE)
        answer = await cluster.admin.put(f"{cluster.pods}/a", json=old)
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")

    async def test_applying_twice_makes_one_with_its_fields_managed(self, cluster: Cluster) -> None:
        body = {"apiVersion": "v1", "kind": "Pod", **pod()}
        uids = set()
        for _ in range(2):
            answer = await cluster.admin.patch(
                f"{cluster.pods}/a",
                params={"fieldManager": "test", "force": "true"},
                content=json.dumps(body),
                headers={"content-type": "application/apply-patch+yaml"},
            )
            assert answer.status_code in (200, 201), answer.text
            uids.add(answer.json()["metadata"]["uid"])
        assert len(uids) == 1
        assert answer.json()["metadata"]["managedFields"]


class TestWatch:
    async def test_it_tells_changes_since_a_version_and_ends(self, cluster: Cluster) -> None:
        made = await create(cluster, pod())
        await cluster.says("a", phase="Running")
        query = {"watch": "1", "resourceVersion": str(int(made["metadata"]["resourceVersion"]) - 1)}
        query |= {"timeoutSeconds": "1", "fieldSelector": "metadata.name=a"}
        answer = await cluster.admin.get(cluster.pods, params=query)
        kinds = [json.loads(line)["type"] for line in answer.text.splitlines()]
        assert kinds[:2] in (["ADDED", "MODIFIED"], ["ERROR"])


class TestDelete:
    async def test_by_uid(self, cluster: Cluster) -> None:
        made = await create(cluster, pod())
        assert (await delete(cluster, "a", 409, preconditions={"uid": "other"}))["reason"] == "Conflict"
        await delete(cluster, "a", preconditions={"uid": made["metadata"]["uid"]}, gracePeriodSeconds=0)
        assert (await delete(cluster, "a", 404))["reason"] == "NotFound"

    async def test_by_version(self, cluster: Cluster) -> None:
        made = await create(cluster, pod())
        old = made["metadata"]["resourceVersion"]
        await patch(cluster, "a", {"metadata": {"labels": {"new": "1"}}}, MERGE)
        assert (await delete(cluster, "a", 409, preconditions={"resourceVersion": old}))["reason"] == "Conflict"

    async def test_one_without_a_node_goes_at_once(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        await delete(cluster, "a", gracePeriodSeconds=30)
        assert await names(cluster) == []

    async def test_a_running_one_ends_after_its_grace_which_only_gets_shorter(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        await cluster.bind("a")
        await cluster.says("a", phase="Running")
        seen = [
            (await delete(cluster, "a", gracePeriodSeconds=grace))["metadata"]["deletionGracePeriodSeconds"]
            for grace in (30, 300, 5)
        ]
        assert seen == [30, 30, 5]
        taken = await create(cluster, pod(), 409)
        assert taken["message"].startswith("object is being deleted")
        dry = await create(cluster, pod(), 409, dryRun="All")
        assert dry["message"].startswith("object is being deleted")
        assert (await cluster.pod("a"))["status"]["phase"] == "Running"
        await delete(cluster, "a", gracePeriodSeconds=0)

    async def test_a_finished_one_goes_at_once(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        await cluster.bind("a")
        await cluster.says("a", phase="Failed")
        await delete(cluster, "a", gracePeriodSeconds=30)
        assert await names(cluster) == []

    async def test_one_with_a_finalizer_stays_until_that_is_removed(self, cluster: Cluster) -> None:
        await create(cluster, pod(finalizers=["ebbflow.test/hold"]))
        await delete(cluster, "a")
        assert (await cluster.pod("a"))["metadata"]["deletionTimestamp"]
        await patch(cluster, "a", {"metadata": {"finalizers": None}}, MERGE)
        assert await names(cluster) == []

    async def test_many_by_label(self, cluster: Cluster) -> None:
        for name, labels in (("a", {"k": "1"}), ("b", {"k": "1"}), ("c", {"k": "2"})):
            await create(cluster, pod(name, labels=labels))
        query = {"labelSelector": "k=1", "gracePeriodSeconds": "0"}
        assert (await cluster.admin.request("DELETE", cluster.pods, params=query)).status_code == 200
        assert await names(cluster) == ["c"]


class TestLog:
    async def test_before_it_is_scheduled_it_is_empty(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        answer = await cluster.admin.get(f"{cluster.pods}/a/log")
        assert (answer.status_code, answer.text) == (204, "")

    async def test_a_node_that_is_missing_is_named(self, cluster: Cluster) -> None:
        await create(cluster, pod())
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "no-such-node"}}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": node["metadata"]}
        await cluster.admin.post(f"{cluster.pods}/a/binding", json=binding)
        answer = await cluster.admin.get(f"{cluster.pods}/a/log")
        assert answer.status_code == 404
        assert '"no-such-node" not found' in answer.json()["message"]


class TestQuota:
    @pytest.mark.may_skip
    async def test_a_full_one_refuses_also_a_dry_run(self, cluster: Cluster) -> None:
        quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"pods": "1"}}}
        if IS_REAL:
            pytest.skip("a quota counts only where its controller runs")
        await cluster.admin.post(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas", json=quota)
        await create(cluster, pod())
        for query in ({}, {"dryRun": "All"}):
            refused = await create(cluster, pod("b"), 403, **query)
            assert "exceeded quota: gpus, requested: pods=1, used: pods=1, limited: pods=1" in refused["message"]

    async def test_gpus_are_counted(self) -> None:
        async with stand_in_cluster(ApiServer()) as cluster:
            hard = {"requests.nvidia.com/gpu": "3"}
            quota = {"metadata": {"name": "gpus"}, "spec": {"hard": hard}}
            await cluster.admin.post(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas", json=quota)
            body = pod()
            body["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "2"}}
            await create(cluster, body)
            body["metadata"]["name"] = "b"
            assert "used: requests.nvidia.com/gpu=2" in (await create(cluster, body, 403))["message"]


class TestRights:
    async def test_a_bad_token_is_unauthorized(self, cluster: Cluster) -> None:
        answer = await cluster.admin.get(cluster.pods, headers={"authorization": "Bearer wrong"})
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")

    async def test_a_role_allows_what_it_says_and_nothing_else(self) -> None:
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "delete"]}]
        server = ApiServer()
        server.users["t"] = User.of_role("scaler", {"metadata": {"namespace": "gpu"}, "rules": rules})
        async with stand_in_cluster(server) as cluster:
            cluster.admin.headers["authorization"] = "Bearer t"
            await create(cluster, pod())
            await create(cluster, pod("b"), dryRun="All")
            await delete(cluster, "a")
            for method, path in (
                ("GET", f"{cluster.pods}/a/log"),
                ("PATCH", f"{cluster.pods}/a"),
                ("DELETE", cluster.pods),
                ("GET", "/api/v1/nodes"),
                ("GET", "/api/v1/namespaces/default/pods"),
                ("GET", "/api/v1/pods"),
            ):
                answer = await cluster.admin.request(method, path, json={})
                assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden"), path

    async def test_anybody_may_ask_what_they_may_do(self) -> None:
        server = ApiServer()
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        server.users["t"] = User.of_role("scaler", {"metadata": {"namespace": "gpu"}, "rules": rules})
        async with stand_in_cluster(server) as cluster:
            allowed = []
            for verb in ("list", "delete"):
                wanted = {"verb": verb, "resource": "pods", "namespace": "gpu"}
                answer = await cluster.admin.post(
                    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                    json={"spec": {"resourceAttributes": wanted}},
                    headers={"authorization": "Bearer t"},
                )
                allowed.append(answer.json()["status"]["allowed"])
        assert allowed == [True, False]


class TestOnlyOfAStandIn:
    async def test_deletion_and_page_tokens_are_on_its_own_clock(self) -> None:
        clock = ManualClock()
        async with stand_in_cluster(ApiServer(clock=clock)) as cluster:
            for name in ("a", "b"):
                await create(cluster, pod(name))
            page = (await cluster.admin.get(cluster.pods, params={"limit": 1})).json()
            await clock.advance(301)
            query = {"limit": 1, "continue": page["metadata"]["continue"]}
            answer = await cluster.admin.get(cluster.pods, params=query)
            assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")
            assert answer.headers["date"] == "Wed, 18 Nov 2026 11:11:41 GMT"

    async def test_a_fault_strikes_as_often_as_it_says(self) -> None:
        async with stand_in_cluster(ApiServer()) as cluster:
            cluster.stand_in.faults.append(Fault(FaultKind.FAIL_AFTER, "POST", status=503, times=1))
            await create(cluster, pod(), 503)
            await create(cluster, pod(), 409)

    async def test_a_pod_runs_as_a_process_that_prints_ends_and_is_ended(self, tmp_path: Path) -> None:
        async with stand_in_cluster(ApiServer()) as cluster, with_node(cluster, tmp_path):
            await cluster.admin.post(cluster.pods, json={"metadata": {"name": "stays"}, **template()})
            script = "echo $WHO; exit 3"
            body = {"metadata": {"name": "fails"}, **template(script)}
            body["spec"]["containers"][0]["env"] = [
                {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
            ]
            await cluster.admin.post(cluster.pods, json=body)
            failed = await phase_of(cluster, "fails", "Failed")
            assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
            assert (await cluster.admin.get(f"{cluster.pods}/fails/log")).text == "fails\n"
            await phase_of(cluster, "stays", "Running")
            await delete(cluster, "stays")
            await gone(cluster, "stays")

    async def test_a_killed_process_is_a_failed_pod(self, tmp_path: Path) -> None:
        async with stand_in_cluster(ApiServer()) as cluster, with_node(cluster, tmp_path):
            body = {"metadata": {"name": "dies"}, **template("echo $$; sleep 60")}
            await cluster.admin.post(cluster.pods, json=body)
            await phase_of(cluster, "dies", "Running")
            text = ""
            async with asyncio.timeout(10):
                while not text.strip():
                    text = (await cluster.admin.get(f"{cluster.pods}/dies/log")).text
            os.killpg(int(text), signal.SIGKILL)
            failed = await phase_of(cluster, "dies", "Failed")
            assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"


async def gone(cluster: Cluster, name: str) -> None:
    """Wait until a pod is removed."""
    for _ in range(500):
        if name not in await cluster.names():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} is still there")


async def phase_of(cluster: Cluster, name: str, phase: str) -> Json:
    """The pod once it is in a phase."""
    found: Json = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while found.get("status", {}).get("phase") != phase:
                found = await cluster.pod(name)
                await asyncio.sleep(0.02)
    assert found["status"]["phase"] == phase, found["status"]
    return found


@pytest.mark.parametrize("selector", ["a b", "in (x)", "a=b c", "!"])
def test_a_selector_that_is_none_is_a_bad_request(selector: str) -> None:
    with pytest.raises(Refused, match="unable to parse"):
        matches_labels({}, selector)
