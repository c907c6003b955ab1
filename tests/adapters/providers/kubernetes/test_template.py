"""From an operator's words to a pod, and every way in which the words can be wrong."""

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from pydantic import ValidationError

from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings, kube_context
from ebbflow.adapters.providers.kubernetes.template import loss_in_template, pod_of
from ebbflow.core.instance import JoinSpec, LaunchRequest

KEYS = (
    *("kind", "metadata", "spec", "labels", "annotations", "namespace", "containers", "initContainers", "name"),
    *("env", "value", "resources", "limits", "ports", "args", "command", "tolerations", "restartPolicy"),
)

REQUEST = LaunchRequest("sdxl-3f9c-1a-0", "sdxl", "homea")

TEMPLATE = """
metadata:
  labels: {team: art}
  annotations: {karpenter.sh/do-not-disrupt: "false"}
spec:
  nodeSelector: {nvidia.com/gpu.product: A100}
  tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
  activeDeadlineSeconds: 3600
  containers:
    - name: worker
      image: "{{ image }}"
      args: [--launch_mode, none]
      env:
        - {name: FLEET, value: "{{ fleet }}"}
        - {name: THREADS, value: 4}
        - {name: EBBFLOW_HOME, value: forged}
      ports: [{containerPort: 7801}]
      resources: {limits: {nvidia.com/gpu: "{{ gpus }}", memory: 32Gi, cpu: 4}}
"""


def settings(template: object = TEMPLATE, **more: object) -> KubernetesSettings:
    values = {"pod_template": template, "namespace": "gpu", "image": "swarmui:1", "gpus": 1, **more}
    return KubernetesSettings.model_validate(values)


def made(of: KubernetesSettings, request: LaunchRequest = REQUEST) -> dict[str, Any]:
    values = {"image": of.image, "gpus": of.gpus}
    return pod_of(of.pod_template, request, namespace="gpu", values=values, capabilities=("sdxl", "flux"))


def container(**more: object) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker", "image": "i", **more}]}}


def test_a_template_becomes_a_pod_with_what_is_ours_what_is_theirs_and_the_defaults() -> None:
    pod = made(settings())
    metadata, spec = pod["metadata"], pod["spec"]
    assert (pod["kind"], metadata["name"], metadata["namespace"]) == ("Pod", "sdxl-3f9c-1a-0", "gpu")
    assert metadata["labels"] == {
        "team": "art",
        "app.kubernetes.io/managed-by": "ebbflow",
        "ebbflow/fleet": "sdxl",
        "ebbflow/home": "homea",
    }
    assert metadata["annotations"]["karpenter.sh/do-not-disrupt"] == "false"
    assert metadata["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert metadata["annotations"]["ebbflow/capabilities"] == "sdxl,flux"
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 3600)
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "A100"}
    (worker,) = spec["containers"]
    assert worker["image"] == "swarmui:1"
    assert worker["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "32Gi", "cpu": "4"}
    assert worker["ports"] == [{"containerPort": 7801}]
    environment = {entry["name"]: entry["value"] for entry in worker["env"]}
    assert environment["EBBFLOW_HOME"] == "homea", "what is ours cannot be forged by a template"
    assert (environment["FLEET"], environment["THREADS"]) == ("sdxl", "4")


def test_the_pod_is_what_the_published_schema_allows() -> None:
    from kubernetes.client import V1Pod

    V1Pod.model_validate(made(settings()))


def test_what_the_master_needs_goes_to_the_worker_and_to_no_sidecar() -> None:
    template = {"spec": {"containers": [{"name": "proxy", "image": "p"}, {"name": "worker", "image": "w"}]}}
    join = JoinSpec({"KEY": "v"}, ("--require_control_within", "10"), {"pool": "art"})
    pod = made(settings(template), LaunchRequest("sdxl-3f9c-1a-0", "sdxl", "homea", join))
    proxy, worker = pod["spec"]["containers"]
    assert proxy == {"name": "proxy", "image": "p"}
    assert worker["args"] == ["--require_control_within", "10"]
    assert {"name": "KEY", "value": "v"} in worker["env"]
    assert pod["metadata"]["labels"]["pool"] == "art"


def test_arguments_stand_where_the_template_has_a_place_for_them() -> None:
    words = ["-c", 'exec worker "$@"', "worker", "{{ arguments }}", "--last"]
    request = replace(REQUEST, join=JoinSpec(arguments=("--x", "a b")))
    pod = made(settings(container(command=["bash"], args=words)), request)
    (worker,) = pod["spec"]["containers"]
    assert worker["args"] == ["-c", 'exec worker "$@"', "worker", "--x", "a b", "--last"]
    assert {"name": "EBBFLOW_ARGUMENTS", "value": "--x 'a b'"} in worker["env"]


@pytest.mark.parametrize("where", [{"env": [{"name": "A", "value": "{{ arguments }}"}]}, {"image": "{{ arguments }}"}])
def test_a_place_for_arguments_is_among_words(where: dict[str, object]) -> None:
    words = r"\{\{ arguments \}\}: it stands for words of a container's command or args"
    with pytest.raises(ValidationError, match=words):
        settings(container(**where))


def test_regression_a_wrapper_lost_the_dead_mans_switch_of_a_pod_without_a_word() -> None:
    def loss(**more: object) -> str:
        return loss_in_template(settings(container(**more)).pod_template, ("--x", "1"))

    assert "does not reach the worker" in loss(command=["/bin/bash", "-c", "exec worker"])
    assert "does not reach the worker" in loss(command=["/bin/bash"], args=["-c", "exec worker"])
    assert "does not reach the worker" in loss(args=["-c", "exec worker"])
    assert loss(command=["/bin/bash", "-c", "exec worker $EBBFLOW_ARGUMENTS"]) == ""
    assert "does not reach the worker" in loss(command=["/bin/bash", "-c", "exec worker", "{{ arguments }}"])
    assert "becomes $0" in loss(command=["/bin/bash", "-c", 'exec worker "$@"', "{{ arguments }}"])
    assert loss(command=["/bin/bash", "-c", 'exec worker "$@"', "worker", "{{ arguments }}"]) == ""
    assert loss(command=["worker"]) == loss() == ""


def test_a_value_that_looks_like_a_placeholder_is_not_read_again() -> None:
    pod = made(settings(container(image="{{ image }}"), image="{{ fleet }}"))
    assert pod["spec"]["containers"][0]["image"] == "{{ fleet }}"


def test_the_template_of_the_settings_is_never_changed() -> None:
    of = settings()
    before = json.dumps(of.pod_template)
    made(of)
    assert json.dumps(of.pod_template) == before
    assert (
        made(of)["metadata"]["annotations"]["ebbflow/template"]
        == made(of)["metadata"]["annotations"]["ebbflow/template"]
    )


def text(value: str) -> str:
    """A template as YAML text, with one variable."""
    return f"spec:\n  containers:\n  - name: worker\n    image: i\n    env:\n    - name: A\n      {value}\n"


@pytest.mark.parametrize(
    ("template", "more", "words"),
    [
        ("spec: [", {}, "is no YAML in line"),
        ({}, {}, "expected a Pod manifest"),
        ({"spec": {}}, {}, "at least one container"),
        ({"spec": {"containers": []}}, {}, "at least one container"),
        ({"spec": {"containers": [{"image": "i"}]}}, {}, r"spec.containers\[0\].name"),
        ({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}, {}, "must be named 'worker'; there are a, b"),
        ({"kind": "Job", **container()}, {}, "kind is 'Job': expected 'Pod'"),
        ({"metadata": {"name": "mine"}, **container()}, {}, "metadata.name is 'mine': leave it out"),
        ({"metadata": {"generateName": "mine-"}, **container()}, {}, "generateName"),
        ({"metadata": {"namespace": "other"}, **container()}, {}, "'other', but the block's namespace is 'gpu'"),
        ({"metadata": {"labels": {"ebbflow/fleet": "x"}}, **container()}, {}, "ebbflow/fleet: leave it out"),
        ({"metadata": {"finalizers": ["a/b"]}, **container()}, {}, "finalizers: leave it out"),
        ({"metadata": {"ownerReferences": [{}]}, **container()}, {}, "ownerReferences: leave it out"),
        ({"spec": {**container()["spec"], "restartPolicy": "Always"}}, {}, "restartPolicy is 'Always'"),
        ({"spec": {**container()["spec"], "activeDeadlineSeconds": None}}, {}, "activeDeadlineSeconds is None"),
        (container(image="{{ iamge }}"), {}, "iamge .*known are worker_id, fleet, image, gpus"),
        (container(image="repo/{{ image }}"), {}, "as a whole value"),
        (container(image="{{ image }}"), {"image": None}, "the block gives no image"),
        (container(args="--one"), {}, "args must be a list of text"),
        (container(env={"A": "b"}), {}, "env must be a list of mappings"),
        (container(env=[{"name": "A", "value": {"b": 1}}]), {}, "env A is {'b': 1}: expected text or a number"),
        (container(env=[{"name": "A", "value": None}]), {}, 'env A is null: write "" for an empty text'),
        (container(env=[{"name": "A", "value": True}]), {}, "env A is true, which YAML makes of yes, on or true"),
        (text("value: 0755"), {}, 'env A is 493, which YAML makes of 0755: write "0755" in quotes'),
        (text("value: 3.10"), {}, 'env A is 3.1, which YAML makes of 3.10: write "3.10" in quotes'),
        (text("value: 1:30"), {}, 'env A is 90, which YAML makes of 1:30: write "1:30" in quotes'),
        (text("value: 2026-11-28"), {}, 'env A is a date to YAML: write "2026-11-28" in quotes'),
        (text("value: no"), {}, "env A is false, which YAML makes of no, off or false"),
        ({"metadata": {"annotations": {"a/b": True}}, **container()}, {}, "metadata.annotations.a/b is true"),
        ({"metadata": {"labels": {"since": date(2026, 1, 2)}}, **container()}, {}, 'since is a date .*"2026-01-02"'),
        ({"spec": {**container()["spec"], "nodeName": "n1"}}, {}, "spec.nodeName is 'n1': leave it out"),
        ("kind: Pod\n---\nkind: Service\n", {}, "holds several YAML documents"),
        (container(args=["{{ .Values.x }}"]), {}, "write {{{{ and }}}} for the braces themselves"),
        (container(resources={"limits": {"cpu": [1]}}), {}, r"resources.limits.cpu is \[1\]"),
        (container(resources=[]), {"gpus": None, "port": 0}, "greater than or equal to 1"),
        ({"spec": {**container()["spec"], "initContainers": "x"}}, {}, "spec.initContainers: expected a list"),
        (container(), {"url": "host-port"}, "containerPort 7801 of container 'worker' has no hostPort"),
        (container(), {"namespace": "GPU"}, "pattern"),
        (container(), {"context": "prod"}, "needs a kubeconfig"),
        (container(), {"kubeconfig": "{}"}, "no context None; it has: none"),
        (container(), {"kubeconfig": "token: [hush"}, "is no YAML"),
        (container(), {"replicas": 3}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_field_and_what_is_right(
    template: object, more: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        settings(template, **more)
    assert "hush" not in str(caught.value)


def test_regression_a_template_of_kubectl_get_is_cleaned_of_what_is_of_a_living_pod() -> None:
    shown = {
        "resourceVersion": "7",
        "uid": "u-1",
        "creationTimestamp": "2026-11-28T10:00:00Z",
        "generation": 1,
        "managedFields": [{}],
        "labels": {"team": "a"},
    }
    pod = made(settings({"metadata": shown, "status": {"phase": "Running"}, **container()}))
    assert "status" not in pod
    assert set(pod["metadata"]) == {"name", "namespace", "labels", "annotations"}
    assert pod["metadata"]["labels"]["team"] == "a"


def test_braces_that_are_doubled_stand_for_themselves() -> None:
    pod = made(settings(container(args=["{{{{ .Values.x }}}}", "--json={{{{}}}}"])))
    assert pod["spec"]["containers"][0]["args"] == ["{{ .Values.x }}", "--json={{}}"]


@pytest.mark.parametrize(
    ("said", "amount"),
    [("8GB", "8G"), ("8 GiB", "8Gi"), ("512MB", "512M"), ("1KB", "1k"), ("1KiB", "1Ki"), ("8Gi", "8Gi"), (1, "1")],
)
def test_memory_is_written_as_people_write_it(said: object, amount: str) -> None:
    pod = made(settings(container(resources={"limits": {"memory": said}})))
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == amount


def test_restarts_are_accepted_where_the_operator_wants_them() -> None:
    template = {"spec": {**container()["spec"], "restartPolicy": "OnFailure"}}
    assert made(settings(template, allow_restarts=True))["spec"]["restartPolicy"] == "OnFailure"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("{{ image }}"),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(KEYS), part, max_size=4),
    max_leaves=12,
)


@settings_of(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_any_template_is_refused_with_a_reason_or_becomes_a_pod(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    template = {"spec": {"containers": [{"name": "worker", **inner}]}, **outer}
    try:
        of = settings(template)
    except ValidationError:
        return
    assert made(of)["metadata"]["name"] == REQUEST.worker_id


KUBECONFIG = {
    "current-context": "a",
    "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/"}}],
    "contexts": [
        {"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "gpu"}},
        {"name": "b", "context": {"cluster": "c", "user": "u"}},
        {"name": "lost", "context": {"cluster": "gone", "user": "u"}},
    ],
    "users": [{"name": "u", "user": {"token": "hush"}}],
}


@dataclass
class ClusterConfig:
    """The shape of prefect-kubernetes' block of that name."""

    config: dict[str, Any]
    context_name: str


@dataclass
class Credentials:
    """The shape of prefect-kubernetes' credentials block."""

    cluster_config: ClusterConfig


@pytest.mark.parametrize(
    "given",
    [
        Credentials(ClusterConfig(KUBECONFIG, "b")),
        ClusterConfig(KUBECONFIG, "b"),
        {"config": KUBECONFIG, "context_name": "b"},
        {"cluster_config": {"config": KUBECONFIG, "context_name": "b"}},
    ],
    ids=["credentials", "cluster config", "mapping", "mapping of credentials"],
)
def test_a_block_of_prefect_kubernetes_is_taken_by_its_shape(given: object) -> None:
    taken = settings(kubeconfig=given)
    assert taken.context == "b"
    assert taken.kubeconfig is not None
    assert "hush" in taken.kubeconfig.get_secret_value()
    assert "hush" not in repr(taken)


def test_a_context_names_the_server_and_the_namespace() -> None:
    text = json.dumps(KUBECONFIG)
    assert kube_context(text, None).namespace == "gpu"
    assert kube_context(text, "b").namespace is None
    assert kube_context(text, "b").server == "https://10.0.0.1:6443"
    with pytest.raises(ValueError, match=r"no context 'prod'; it has: a, b, lost"):
        kube_context(text, "prod")
    with pytest.raises(ValueError, match=r"no cluster 'gone'; it has: c"):
        kube_context(text, "lost")
