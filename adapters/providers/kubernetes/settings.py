"""What an operator says about a Kubernetes cluster: how to reach it, what a worker's pod is, and how long to wait."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ebbflow.adapters.providers.kubernetes.template import SpeltFloat, SpeltInt, check_template
from ebbflow.adapters.providers.settings import Capabilities, UsdPerHour
from ebbflow.adapters.redaction import is_plain
from ebbflow.core.errors import ConfigError

UrlSource = Literal["pod-ip", "host-port", "log", "none"]

# What YAML and JSON hold is what it is: each value is checked where it is used.
Json = dict[str, Any]
_NO_SECRETS = ("name", "username", "apiVersion", "command", "args", "as", "as-groups", "installHint", "interactiveMode")
"""What a kubeconfig's user holds beside that by which it logs in."""
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class KubeContext:
    """What a kubeconfig's context says that we need ourselves."""

    server: str
    namespace: str | None


class KubernetesSettings(BaseModel):
    """Which cluster, which pod, and how long it may take.

    Source of the pod's fields: the Kubernetes API reference, Pod v1.
    """

    # A kubeconfig holds secrets, and a refused value would be quoted.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    pod_template: Annotated[
        dict[str, Any],
        Field(
            title="Pod template",
            description="A Pod manifest, as YAML text or as a mapping. GPUs, node selectors, tolerations, priority and "
            "spot are its own. {{ worker_id }}, {{ fleet }}, {{ image }} and {{ gpus }} are replaced where they are a "
            "whole value. What the master needs is appended to the worker's args, or stands where {{ arguments }} is; "
            "$EBBFLOW_ARGUMENTS has it too. Never write a secret into it: use secretKeyRef.",
        ),
    ]
    namespace: Annotated[
        str | None,
        Field(
            title="Namespace",
            description="Of the workers alone, with a quota. Empty: the context's, or inside a cluster our own pod's.",
            pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        ),
    ] = None
    kubeconfig: Annotated[
        SecretStr | None,
        Field(
            title="Kubeconfig",
            description="Its contents, as YAML or JSON; a prefect-kubernetes credentials or cluster config block is "
            "taken as well. Empty: the flows run inside the cluster, as its service account.",
        ),
    ] = None
    context: Annotated[
        str | None, Field(title="Context", description="Of the kubeconfig; empty: its current context.")
    ] = None
    image: Annotated[str | None, Field(title="Image", description="What {{ image }} stands for.")] = None
    gpus: Annotated[int | None, Field(title="GPUs", description="What {{ gpus }} stands for.", ge=0, le=64)] = None
    url: Annotated[
        UrlSource,
        Field(
            title="URL",
            description="pod-ip: http://<pod's address>:<port>, for a master inside the cluster's network. host-port: "
            "http://<node's address>:<hostPort>. log: the NewURL line that the worker prints; needs the right to read "
            "pods/log. none: workers join their master by themselves.",
        ),
    ] = "pod-ip"
    port: Annotated[
        int, Field(title="Port", description="The container's port that the worker listens on.", ge=1, le=65535)
    ] = 7801
    allow_restarts: Annotated[
        bool,
        Field(
            title="Allow restarts",
            description="Accept a template whose restartPolicy is not Never: a worker that was given up may come back.",
        ),
    ] = False
    schedule_timeout_seconds: Annotated[
        float, Field(title="Schedule timeout", description="Seconds a pod may wait for a node.", ge=1, le=86_400)
    ] = 120.0
    scale_up_timeout_seconds: Annotated[
        float,
        Field(
            title="Scale-up timeout",
            description="Seconds a pod may wait for a node that the cluster's autoscaler is adding, as the pod's "
            "events say; needs the right to list events.",
            ge=1,
            le=86_400,
        ),
    ] = 1200.0
    pull_timeout_seconds: Annotated[
        float, Field(title="Pull timeout", description="Seconds an image may fail to be pulled.", ge=1, le=86_400)
    ] = 1800.0
    start_timeout_seconds: Annotated[
        float,
        Field(title="Start timeout", description="Seconds a container may take to become ready.", ge=1, le=86_400),
    ] = 1800.0
    terminate_slack_seconds: Annotated[
        float,
        Field(
            title="Terminate slack",
            description="Seconds after its grace period until a pod that does not end is shown as stuck.",
            ge=0,
            le=86_400,
        ),
    ] = 120.0
    call_timeout_seconds: Annotated[
        float,
        Field(
            title="Call timeout", description="Seconds one call may take, its pages and looks included.", ge=1, le=60
        ),
    ] = 10.0
    usd_per_hour: UsdPerHour = None
    capabilities: Capabilities = []

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_by_shape(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = values.get("kubeconfig")
        cluster = _part(given, "cluster_config") or given
        config = _part(cluster, "config")
        if isinstance(config, Mapping):
            context = values.get("context") or _part(cluster, "context_name")
            return {**values, "kubeconfig": yaml.safe_dump(dict(config)), "context": context}
        if isinstance(given, Mapping):
            return {**values, "kubeconfig": yaml.safe_dump(dict(given))}
        return values

    @field_validator("pod_template", mode="before")
    @classmethod
    def _read_template(cls, template: Any) -> Any:
        return _read_yaml(template, loader=_TemplateLoader) if isinstance(template, str) else template

    def secret_texts(self) -> Iterable[str]:
        """The parts of the kubeconfig by which its users log in."""
        if self.kubeconfig is not None:
            read = _read_yaml(self.kubeconfig.get_secret_value(), secret=True)
            yield from _texts(read.get("users"))

    @model_validator(mode="after")
    def _check(self) -> "KubernetesSettings":
        check_template(
            self.pod_template,
            namespace=self.namespace,
            allow_restarts=self.allow_restarts,
            values={"image": self.image, "gpus": self.gpus},
            host_port_of=self.port if self.url == "host-port" else None,
        )
        if self.kubeconfig is not None:
            kube_context(self.kubeconfig.get_secret_value(), self.context)
        elif self.context:
            raise ValueError(f"context {self.context!r} needs a kubeconfig, and none is given")
        return self


def kube_context(kubeconfig: str, context: str | None) -> KubeContext:
    """Read the server and the namespace of one context.

    Args:
        kubeconfig: its text; never quoted in an error.
        context: its name; None: the current one.

    Raises:
        ValueError: it is no kubeconfig, or does not hold what its context names.
    """
    read = _read_yaml(kubeconfig, secret=True)
    if not isinstance(read, Mapping):
        raise ValueError("kubeconfig: expected a mapping with clusters, users and contexts")
    name = context or read.get("current-context")
    found = _named(read, "contexts", name, "context")
    cluster = _named(read, "clusters", found.get("cluster"), "cluster")
    server = cluster.get("server")
    if not isinstance(server, str) or not server:
        raise ValueError(f"kubeconfig: cluster {found.get('cluster')!r} has no server")
    namespace = found.get("namespace")
    return KubeContext(server.rstrip("/"), namespace if isinstance(namespace, str) and namespace else None)


def _named(read: Mapping[str, Any], where: str, name: object, what: str) -> Mapping[str, Any]:
    rows = [row for row in read.get(where) or () if isinstance(row, Mapping)]
    for row in rows:
        if row.get("name") == name and isinstance(row.get(what), Mapping):
            return dict(row[what])
    names = ", ".join(sorted(str(row.get("name")) for row in rows)) or "none"
    raise ValueError(f"kubeconfig: no {what} {name!r}; it has: {names}")


def _part(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _texts(value: object) -> Iterable[str]:
    """Every text of a user but its name, and what an encoded one stands for."""
    match value:
        case str():
            yield from (each for each in (value, *_decoded(value)) if not is_plain(each))
        case Mapping():
            for name, each in value.items():
                if name not in _NO_SECRETS:
                    yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)


def _decoded(text: str) -> Iterable[str]:
    try:
        yield base64.b64decode(text, validate=True).decode()
    except ValueError:
        return


class _TemplateLoader(yaml.SafeLoader):
    """Remembers how numbers were spelt, where YAML made others of them."""


def _spelt_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return _spelt(int(loader.construct_yaml_int(node)), SpeltInt, node.value)


def _spelt_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return _spelt(float(loader.construct_yaml_float(node)), SpeltFloat, node.value)


def _spelt(number: Number, kind: type[SpeltInt | SpeltFloat], spelling: str) -> Number:
    if str(number) == spelling:
        return number
    spelt = kind(number)
    spelt.spelling = spelling
    return cast(Number, spelt)


_TemplateLoader.add_constructor("tag:yaml.org,2002:int", _spelt_int)
_TemplateLoader.add_constructor("tag:yaml.org,2002:float", _spelt_float)


def _read_yaml(text: str, *, secret: bool = False, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    try:
        return yaml.load(text, Loader=loader)
    except yaml.composer.ComposerError as error:
        if "single document" not in str(error):
            raise ValueError("is no YAML" if secret else f"is no YAML: {error.problem}") from None
        raise ValueError("holds several YAML documents (---): give one alone") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        said = "" if secret else f": {getattr(error, 'problem', None) or error}"
        raise ValueError(f"is no YAML{where}{said}") from None


def namespace_problem(settings: KubernetesSettings, namespace: str) -> ConfigError | None:
    """What is wrong with the template in the namespace that its pods go to, which may be known only now."""
    named = (settings.pod_template.get("metadata") or {}).get("namespace")
    if named in (None, namespace):
        return None
    return ConfigError(
        f"pod_template.metadata.namespace is {named!r}, but workers go to {namespace!r}: leave it out of the template"
    )
