"""From an operator's pod template to the pod of one worker. Pure.

Placeholders are whole values of the parsed mapping, never parts of its text, so nothing can be injected.
Source: Kubernetes API reference, Pod v1; the label syntax is that of "Labels and Selectors".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import date
from typing import Any

from ebbflow.adapters.providers.command_words import loss_of_arguments
from ebbflow.core import worker_environment
from ebbflow.core.instance import LaunchRequest

# A manifest is what it is: every value is checked where it is used.
Json = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
FLEET = "ebbflow/fleet"
HOME = "ebbflow/home"
TEMPLATE = "ebbflow/template"
CAPABILITIES = "ebbflow/capabilities"
OURS = "ebbflow"
WORKER_CONTAINER = "worker"

OF_A_LIVING_POD = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink")
"""What `kubectl get -o yaml` shows in a pod's metadata: the server's own, and no part of a new pod."""
ARGUMENTS = "arguments"
PLACEHOLDERS = ("worker_id", "fleet", "image", "gpus", ARGUMENTS)
KEEP_NODE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
DEADLINE_SECONDS = 86400

_BYTES = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[KMGTP]i?)B", re.ASCII)
_OPEN, _CLOSE = "{{{{", "}}}}"
"""What `{{` and `}}` are written as where they stand for themselves."""
_PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>[^}]*?)\s*\}\}")
_OF_A_COMMAND = re.compile(r"pod_template\.spec\.containers\[[0-9]+\]\.(args|command)\[[0-9]+\]")
_SPEC_DEFAULTS: Json = {
    "restartPolicy": "Never",
    "activeDeadlineSeconds": DEADLINE_SECONDS,
    "terminationGracePeriodSeconds": 30,
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
}


class SpeltInt(int):
    """A number that YAML made of another spelling, such as 493 of 0755."""

    spelling = ""


class SpeltFloat(float):
    """The same of a fraction, such as 3.1 of 3.10."""

    spelling = ""


def check_template(
    template: Mapping[str, Any],
    *,
    namespace: str | None,
    allow_restarts: bool,
    values: Mapping[str, object],
    host_port_of: int | None,
) -> None:
    """Refuse a template that cannot become a worker's pod.

    Args:
        template: the parsed manifest.
        namespace: where workers go, if that is known; the template may name no other.
        allow_restarts: accept another restart policy than Never.
        values: what the block gives for placeholders; None is "not given".
        host_port_of: the container port that must have a hostPort; None: no matter.

    Raises:
        ValueError: names the field, the value and what would be right.
    """
    for key, right in (("kind", "Pod"), ("apiVersion", "v1")):
        if template.get(key, right) != right:
            raise ValueError(f"{key} is {template[key]!r}: expected {right!r}, a worker is one bare Pod")
    spec, metadata = template.get("spec"), template.get("metadata") or {}
    if not isinstance(spec, Mapping) or not isinstance(metadata, Mapping):
        raise ValueError("expected a Pod manifest with metadata and spec as mappings")
    container = worker_container(spec)
    _check_metadata(metadata, namespace)
    if spec.get("nodeName"):
        raise ValueError(
            f"spec.nodeName is {spec['nodeName']!r}: leave it out, or every worker goes to that one node; `kubectl get "
            "-o yaml` shows it of a pod that runs, and nodeSelector says what kind of node is wanted"
        )
    policy = spec.get("restartPolicy", "Never")
    if policy != "Never" and not allow_restarts:
        raise ValueError(f"spec.restartPolicy is {policy!r}: expected Never, or switch allow_restarts on")
    deadline = spec.get("activeDeadlineSeconds", DEADLINE_SECONDS)
    if not isinstance(deadline, int) or isinstance(deadline, bool) or deadline < 1:
        raise ValueError(f"spec.activeDeadlineSeconds is {deadline!r}: expected seconds, it caps the bill")
    for each in containers_of(spec):
        _check_container(each)
    if any("{arguments}" in word for word in [*(container.get("command") or []), *(container.get("args") or [])]):
        raise ValueError(
            "{arguments} is written {{ arguments }} here, as a whole word; in a script, $EBBFLOW_ARGUMENTS"
        )
    for path, name in _placeholders(template):
        if name not in PLACEHOLDERS:
            raise ValueError(
                f"{path} holds {{{{ {name} }}}}: known are {', '.join(PLACEHOLDERS)}, as a whole value; write {_OPEN} "
                f"and {_CLOSE} for the braces themselves"
            )
        if name == ARGUMENTS and not _OF_A_COMMAND.fullmatch(path):
            raise ValueError(f"{path} holds {{{{ {name} }}}}: it stands for words of a container's command or args")
        if name in values and values[name] is None:
            raise ValueError(f"{path} holds {{{{ {name} }}}}, and the block gives no {name}")
    if host_port_of is not None and host_port(spec, host_port_of) is None:
        raise ValueError(
            f"url is host-port, but containerPort {host_port_of} of container {container['name']!r} has no hostPort"
        )


def _check_metadata(metadata: Mapping[str, Any], namespace: str | None) -> None:
    if metadata.get("name") not in (None, "{{ worker_id }}"):
        raise ValueError(f"metadata.name is {metadata['name']!r}: leave it out, it is the worker's id")
    if "generateName" in metadata:
        raise ValueError("metadata.generateName: leave it out, the name is the worker's id")
    named = metadata.get("namespace")
    if named is not None and namespace is not None and named != namespace:
        raise ValueError(f"metadata.namespace is {named!r}, but the block's namespace is {namespace!r}: leave it out")
    for key, forced in (("labels", {MANAGED_BY, FLEET, HOME}), ("annotations", {TEMPLATE, CAPABILITIES})):
        given = metadata.get(key) or {}
        if not isinstance(given, Mapping):
            raise ValueError(f"metadata.{key}: expected a mapping")
        if taken := sorted(forced & set(given)):
            raise ValueError(f"metadata.{key} sets {taken[0]}: leave it out, it is ours")
        for name, value in given.items():
            _check_text(f"metadata.{key}.{name}", value)
    for key in ("ownerReferences", "finalizers"):
        if metadata.get(key):
            raise ValueError(f"metadata.{key}: leave it out, it would decide about the life of a paid worker")


def containers_of(spec: Mapping[str, Any]) -> list[Json]:
    """All containers of a pod, those that run before the others too.

    Raises:
        ValueError: they are no lists of mappings.
    """
    found: list[Json] = []
    for key in ("containers", "initContainers"):
        given = spec.get(key) or []
        if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
            raise ValueError(f"spec.{key}: expected a list of mappings")
        found += given
    return found


def _check_container(container: Mapping[str, Any]) -> None:
    where = f"container {container.get('name')!r}"
    for key, what in (("args", str), ("command", str), ("env", Mapping), ("ports", Mapping)):
        given = container.get(key) or []
        if not isinstance(given, list) or not all(isinstance(each, what) for each in given):
            kind = "text" if what is str else "mappings"
            raise ValueError(f"{where}: {key} must be a list of {kind}")
    for entry in container.get("env") or []:
        _check_text(f"{where}: env {entry.get('name')}", entry.get("value", ""))
    resources = container.get("resources") or {}
    if not isinstance(resources, Mapping):
        raise ValueError(f"{where}: resources must be a mapping")
    for kind in ("limits", "requests"):
        amounts = resources.get(kind) or {}
        if not isinstance(amounts, Mapping):
            raise ValueError(f"{where}: resources.{kind} must be a mapping")
        for name, amount in amounts.items():
            if isinstance(amount, bool) or not isinstance(amount, str | int | float):
                raise ValueError(f"{where}: resources.{kind}.{name} is {amount!r}: expected text or a number")


def _check_text(path: str, value: object) -> None:
    """Refuse what YAML made of a text, with the spelling that stays one."""
    match value:
        case str():
            return
        case None:
            raise ValueError(f'{path} is null: write "" for an empty text')
        case bool():
            meant = "yes, on or true" if value else "no, off or false"
            raise ValueError(f"{path} is {str(value).lower()}, which YAML makes of {meant}: write the word in quotes")
        case SpeltInt() | SpeltFloat():
            raise ValueError(
                f'{path} is {value}, which YAML makes of {value.spelling}: write "{value.spelling}" in quotes'
            )
        case int() | float():
            return
        case date():
            raise ValueError(f'{path} is a date to YAML: write "{value.isoformat()}" in quotes')
    raise ValueError(f"{path} is {value!r}: expected text or a number")


def worker_container(spec: Mapping[str, Any]) -> Json:
    """The container that is the worker: the one named `worker`, or the only one.

    Raises:
        ValueError: there is none.
    """
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers or not all(isinstance(one, Mapping) for one in containers):
        raise ValueError("spec.containers: expected at least one container")
    for index, one in enumerate(containers):
        if not isinstance(one.get("name"), str):
            raise ValueError(f"spec.containers[{index}].name: expected a name, 'worker' for the worker itself")
    named = [one for one in containers if one["name"] == WORKER_CONTAINER]
    if not named and len(containers) > 1:
        names = ", ".join(one["name"] for one in containers)
        raise ValueError(f"spec.containers: one of several must be named 'worker'; there are {names}")
    found: Json = (named or containers)[0]
    return found


def host_port(spec: Mapping[str, Any], port: int) -> int | None:
    """The node's port behind which a container's port is found. With `hostNetwork` it is the container's own."""
    for container in spec.get("containers") or []:
        for entry in container.get("ports") or []:
            if entry.get("containerPort") == port and isinstance(entry.get("hostPort"), int):
                return int(entry["hostPort"])
    return port if spec.get("hostNetwork") is True else None


def template_hash(template: Mapping[str, Any]) -> str:
    """Names a template before anything is put into it."""
    plain = json.dumps(template, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def has_place_for_arguments(template: Mapping[str, Any]) -> bool:
    """Whether it says itself where what the master needs goes."""
    container = worker_container(template["spec"])
    return any(name == ARGUMENTS for _, name in _placeholders({key: container.get(key) for key in ("command", "args")}))


def loss_in_template(template: Mapping[str, Any], arguments: Sequence[str]) -> str:
    """Why what the master needs does not reach the worker, if its own command keeps it; empty: it seems to."""
    container = worker_container(template["spec"])
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    place = next((word for word in words if (found := _PLACEHOLDER.fullmatch(word)) and found["name"] == ARGUMENTS), "")
    return loss_of_arguments(words, arguments, place=place)


class _Words(tuple[str, ...]):
    """What one placeholder stands for, where that is any number of words."""


def pod_of(
    template: Mapping[str, Any],
    request: LaunchRequest,
    *,
    namespace: str,
    values: Mapping[str, object],
    capabilities: tuple[str, ...],
) -> Json:
    """The pod that is created for one launch.

    Args:
        template: checked by `check_template`.
        request: its join spec's arguments are appended to the worker container's, its environment added.
        namespace: where it goes.
        values: what the block gives for placeholders.
        capabilities: of the worker; kept with the pod, so that a later listing knows them.
    """
    known = {
        **values,
        "worker_id": request.worker_id,
        "fleet": request.fleet,
        ARGUMENTS: _Words(request.join.arguments),
    }
    pod: Json = _filled(deepcopy(dict(template)), known)
    pod.pop("status", None)
    given, spec = pod.get("metadata") or {}, pod["spec"]
    metadata = {key: value for key, value in given.items() if key not in OF_A_LIVING_POD}
    ours = {MANAGED_BY: OURS, FLEET: request.fleet, HOME: request.home}
    notes = {TEMPLATE: template_hash(template), CAPABILITIES: ",".join(capabilities)}
    pod |= {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "name": request.worker_id,
            "namespace": namespace,
            "labels": _texts({**(metadata.get("labels") or {}), **request.join.labels, **ours}),
            "annotations": _texts({**KEEP_NODE, **(metadata.get("annotations") or {}), **notes}),
        },
        "spec": {**_SPEC_DEFAULTS, **spec},
    }
    container = worker_container(pod["spec"])
    environment = worker_environment.given(request)
    kept = [entry for entry in container.get("env") or [] if entry.get("name") not in environment]
    container["env"] = [*({"name": name, "value": value} for name, value in environment.items()), *kept]
    if request.join.arguments and not has_place_for_arguments(template):
        container["args"] = [*(container.get("args") or []), *request.join.arguments]
    for each in containers_of(pod["spec"]):
        _normalise(each)
    return pod


def _normalise(container: Json) -> None:
    """Write as text what YAML reads as a number and the API wants as text."""
    for entry in container.get("env") or []:
        if "value" in entry:
            entry["value"] = _text(entry["value"])
    resources = container.get("resources")
    if isinstance(resources, dict):
        for kind in ("limits", "requests"):
            if isinstance(resources.get(kind), dict):
                resources[kind] = {name: _amount(amount) for name, amount in _texts(resources[kind]).items()}


def _amount(text: str) -> str:
    """`8GB` as Kubernetes writes it: `8G`."""
    found = _BYTES.fullmatch(text.strip())
    return (
        f"{found['number']}{found['unit'].replace('K', 'k') if found['unit'] == 'K' else found['unit']}"
        if found
        else text
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _filled(value: Any, known: Mapping[str, object]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, known) for key, each in value.items()}
    if isinstance(value, list):
        filled = [_filled(each, known) for each in value]
        # What stands for several words becomes as many.
        return [word for each in filled for word in (each if isinstance(each, _Words) else (each,))]
    if not isinstance(value, str):
        return value
    if _OPEN in value:
        return value.replace(_OPEN, "{{").replace(_CLOSE, "}}")
    found = _PLACEHOLDER.fullmatch(value)
    return known[found["name"]] if found else value


def _placeholders(value: Any, path: str = "pod_template") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _placeholders(each, f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _placeholders(each, f"{path}[{index}]")
    elif isinstance(value, str) and "{{" in value.replace(_OPEN, ""):
        found = _PLACEHOLDER.fullmatch(value)
        yield path, found["name"] if found else value
