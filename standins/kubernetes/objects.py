"""What a Kubernetes API server does to objects, as pure functions: selectors, defaults, validation, patches.

Source: Kubernetes docs, "Labels and Selectors", "Server-Side Field Validation"; pkg/apis/core/v1/defaults.go,
pkg/apis/core/validation. The schema is the published one, as the official client's models carry it.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

# Objects of the API are JSON.
Json = dict[str, Any]

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
MAX_NAME = 253
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
FINISHED = frozenset({"Failed", "Succeeded"})
MERGE_KEYS = {
    "conditions": "type",
    "containerStatuses": "name",
    "initContainerStatuses": "name",
    "containers": "name",
    "env": "name",
}
"""Lists that a strategic merge patch merges, by the key of their entries."""

_TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<not_key>[^\s,!=()]+)|(?P<key>[^\s,!=()]+)\s*"
    r"(?:(?P<set>notin|in)\s*\((?P<values>[^)]*)\)|(?P<equal>==|=|!=)\s*(?P<value>[^\s,]*))?)\s*(?:,|$)"
)


class Refused(Exception):
    """An answer that is no object: a Status.

    Attributes:
        code: the HTTP status.
        reason: one of the API's words.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    @property
    def status(self) -> Json:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


def timestamp(epoch: float) -> str:
    """Write a time as the API does, to the second."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def matches_labels(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit a selector: `a=b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`.

    Raises:
        Refused: it is no selector.
    """
    position = 0
    while position < len(selector):
        term = _TERM.match(selector, position)
        if term is None or term.end() == position:
            raise Refused(400, "BadRequest", f"unable to parse requirement: {selector!r}")
        position = term.end()
        if not _holds(term, labels):
            return False
    return True


def _holds(term: re.Match[str], labels: Mapping[str, str]) -> bool:
    if term["absent"]:
        return term["not_key"] not in labels
    value = labels.get(term["key"])
    if term["set"]:
        values = {each.strip() for each in term["values"].split(",")}
        return (value in values) if term["set"] == "in" else value not in values
    if term["equal"]:
        return (value != term["value"]) if term["equal"] == "!=" else value == term["value"]
    return value is not None


def matches_fields(item: Mapping[str, Any], selector: str) -> bool:
    """Whether an object fits a field selector, such as `status.phase=Running,metadata.name!=x`."""
    for term in filter(None, selector.split(",")):
        path, equal, value = term.replace("==", "=").partition("=")
        negated = path.endswith("!")
        found: Any = item
        for part in path.removesuffix("!").split("."):
            found = (found or {}).get(part)
        if not equal or (str(found or "") == value) is negated:
            return False
    return True


def check_metadata(metadata: Mapping[str, Any], kind: str) -> None:
    """Refuse what the schema lets pass: malformed names and label values.

    Raises:
        Refused: 422, with the field.
    """
    name = str(metadata.get("name", ""))
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise invalid(
            kind, name, f"metadata.name: Invalid value: {name!r}: a lowercase RFC 1123 subdomain must consist of ..."
        )
    for key, value in (metadata.get("labels") or {}).items():
        if not LABEL_VALUE.fullmatch(str(value)):
            raise invalid(
                kind, name, f"metadata.labels: Invalid value: {value!r}: must be no more than 63 characters, {key}"
            )


def invalid(kind: str, name: str, field: str) -> Refused:
    """The 422 of a field."""
    return Refused(422, "Invalid", f'{kind} "{name}" is invalid: {field}')


def checked_pod(given: Mapping[str, Any], *, strict: bool) -> Json:
    """A pod as the server reads it: quantities as text, unknown fields dropped or, if strict, refused.

    Raises:
        Refused: 400 for a wrong type or an unknown field, 422 for a missing one.
    """
    # With a hundred megabytes of types behind it, so only where a stand-in really runs.
    from kubernetes.client import V1Pod

    pod = with_text_quantities(deepcopy(dict(given)))
    pod.setdefault("metadata", {})
    while True:
        try:
            V1Pod.model_validate(pod)
        except ValidationError as error:
            _judge(error, pod, strict=strict)
        else:
            break
    if not (pod.get("spec") or {}).get("containers"):
        raise invalid("Pod", str(pod["metadata"].get("name", "")), "spec.containers: Required value")
    return pod


def _judge(error: ValidationError, pod: Json, *, strict: bool) -> None:
    """Drop the unknown fields that an error names, or refuse.

    Raises:
        Refused: it is more than unknown fields, or those are not let pass.
    """
    first = error.errors(include_url=False)[0]
    unknown = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
    if len(unknown) == error.error_count() and not strict:
        for place in unknown:
            holder: Any = pod
            for part in place[:-1]:
                holder = holder[part]
            del holder[place[-1]]
        return
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        raise invalid("Pod", str((pod.get("metadata") or {}).get("name", "")), f"{path}: Required value")
    if first["type"] == "extra_forbidden":
        raise Refused(400, "BadRequest", f'strict decoding error: unknown field "{path}"')
    raise Refused(400, "BadRequest", f"Pod in version v1 cannot be handled as a Pod: {path}: {first['msg']}")


def with_text_quantities(pod: Json) -> Json:
    """Write numbers among the resources as text, and copy limits of devices into the requests."""
    spec = pod.get("spec")
    for container in (spec.get("containers") or ()) if isinstance(spec, dict) else ():
        resources = container.get("resources") if isinstance(container, dict) else None
        if not isinstance(resources, dict):
            continue
        for kind in ("limits", "requests"):
            if isinstance(resources.get(kind), dict):
                resources[kind] = {
                    key: str(value) if isinstance(value, int | float) else value
                    for key, value in resources[kind].items()
                }
        if isinstance(resources.get("limits"), dict):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    return pod


def with_defaults(pod: Json) -> Json:
    """Fill in what every pod has."""
    spec = pod["spec"]
    defaults = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
        "securityContext": {},
    }
    pod["spec"] = {**defaults, **spec}
    lost_node = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ]
    given = spec.get("tolerations") or []
    keys = {toleration.get("key") for toleration in given}
    pod["spec"]["tolerations"] = [*given, *(each for each in lost_node if each["key"] not in keys)]
    return pod


def merge_patched(target: Any, patch: Any, *, strategic: bool) -> Any:
    """Apply a merge patch; a strategic one merges the lists that have a key."""
    if not isinstance(patch, dict) or not isinstance(target, dict):
        return deepcopy(patch)
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif strategic and key in MERGE_KEYS and isinstance(value, list):
            merged[key] = _merged_list(merged.get(key) or [], value, MERGE_KEYS[key])
        else:
            merged[key] = merge_patched(merged.get(key), value, strategic=strategic)
    return merged


def _merged_list(target: Iterable[Json], patch: Iterable[Json], key: str) -> list[Json]:
    entries = {entry[key]: entry for entry in target}
    for entry in patch:
        entries[entry[key]] = merge_patched(entries.get(entry[key]), entry, strategic=True)
    return list(entries.values())


def json_patched(target: Json, operations: Iterable[Mapping[str, Any]]) -> Json:
    """Apply a JSON patch: add, replace, remove.

    Raises:
        Refused: an operation does not fit.
    """
    patched = deepcopy(target)
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        holder: Any = patched
        try:
            for part in parts[:-1]:
                holder = holder[int(part)] if isinstance(holder, list) else holder[part]
            _operate(holder, parts[-1], operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Refused(422, "Invalid", f"the server rejected our request: {operation['path']}: {error}") from error
    return patched


def _operate(holder: Any, key: str, operation: Mapping[str, Any]) -> None:
    match operation["op"]:
        case "add" if isinstance(holder, list):
            holder.insert(len(holder) if key == "-" else int(key), operation["value"])
        case "add" | "replace":
            holder[int(key) if isinstance(holder, list) else key] = operation["value"]
        case "remove":
            del holder[int(key) if isinstance(holder, list) else key]
        case other:
            raise ValueError(f"unknown operation {other!r}")
