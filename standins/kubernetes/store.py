"""The objects of a stand-in API server, and what becomes of them: versions, snapshots, preconditions, deletion.

Source: Kubernetes docs, "API Concepts"; pkg/registry/core/pod/strategy.go; pkg/controller/resourcequota.
"""

import json
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ebbflow.standins.kubernetes.objects import (
    FINISHED,
    Refused,
    check_metadata,
    checked_pod,
    matches_fields,
    matches_labels,
    timestamp,
    with_defaults,
)

Json = dict[str, Any]

PAGE_TOKEN_SECONDS = 300.0
SINGULAR = {
    "pods": "Pod",
    "events": "Event",
    "nodes": "Node",
    "resourcequotas": "ResourceQuota",
    "namespaces": "Namespace",
    "roles": "Role",
    "rolebindings": "RoleBinding",
    "serviceaccounts": "ServiceAccount",
}
UNSCOPED = frozenset({"nodes", "namespaces"})


@dataclass(frozen=True, slots=True)
class Key:
    """Where an object is."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What later pages of a list are taken from, whatever happens meanwhile."""

    items: tuple[Json, ...]
    version: int
    taken_at: float


class Store:
    """Every object of one cluster.

    Args:
        now: epoch seconds on the cluster's clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.version = 1
        self.events: list[tuple[int, str, Json]] = []
        """Every change to pods, for watches: version, type, object."""
        self._objects: dict[Key, Json] = {}
        self._snapshots: dict[str, Snapshot] = {}
        for name in ("default", "kube-system"):
            self.create("namespaces", "", {"metadata": {"name": name}})

    def all(self, resource: str, namespace: str = "") -> Iterator[Json]:
        """Objects of a resource, by name; of one namespace, or of all."""
        for key in sorted(self._objects, key=lambda key: (key.namespace, key.name)):
            if key.resource == resource and namespace in ("", key.namespace):
                yield self._objects[key]

    def get(self, resource: str, namespace: str, name: str) -> Json:
        """One object.

        Raises:
            Refused: 404.
        """
        found = self._objects.get(Key(resource, namespace, name))
        if found is None:
            raise Refused(404, "NotFound", f'{resource} "{name}" not found')
        return found

    def create(
        self, resource: str, namespace: str, given: Mapping[str, Any], *, dry_run: bool = False, strict: bool = False
    ) -> Json:
        """Store a new object.

        Raises:
            Refused: 400, 403, 404, 409 or 422, as the real one.
        """
        item = checked_pod(given, strict=strict) if resource == "pods" else deepcopy(dict(given))
        metadata = item["metadata"]
        if resource not in UNSCOPED:
            self._check_namespace(namespace, metadata)
        if "name" not in metadata and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        check_metadata(metadata, SINGULAR[resource])
        key = Key(resource, namespace, metadata["name"])
        if key in self._objects:
            raise self._taken(key)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(self.now())}
        if resource not in UNSCOPED:
            metadata["namespace"] = namespace
            self._check_namespace_lives(namespace, resource, metadata["name"])
        if resource == "pods":
            item = with_defaults(item)
            item["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
            self._check_quota(namespace, item)
        elif resource == "namespaces":
            item["status"] = {"phase": "Active"}
        item |= {"kind": SINGULAR[resource], "apiVersion": given.get("apiVersion", "v1")}
        return deepcopy(item) if dry_run else self._put(key, item, "ADDED")

    def replace(self, resource: str, namespace: str, name: str, item: Json, *, keep: str = "") -> Json:
        """Store a changed object. `keep` names a part that this request may not change.

        Raises:
            Refused: 404, 409 if its resourceVersion is old, 400 or 422.
        """
        before = self.get(resource, namespace, name)
        wanted = (item.get("metadata") or {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            raise Refused(
                409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": the object has been modified'
            )
        item = deepcopy(item)
        fixed = ("uid", "creationTimestamp", "name", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds")
        item["metadata"] = {
            **item["metadata"],
            **{each: before["metadata"][each] for each in fixed if each in before["metadata"]},
        }
        if keep:
            item = {**item, keep: deepcopy(before[keep])} if keep in before else item
        if resource == "pods":
            item = checked_pod(item, strict=True)
        check_metadata(item["metadata"], SINGULAR[resource])
        key = Key(resource, namespace, name)
        if item["metadata"].get("deletionTimestamp") and not item["metadata"].get("finalizers") and _may_vanish(item):
            return self._remove(key)
        return self._put(key, item, "MODIFIED")

    def delete(
        self, resource: str, namespace: str, name: str, options: Mapping[str, Any], *, dry_run: bool = False
    ) -> Json:
        """End an object: at once, or for a pod that runs somewhere after its grace.

        Raises:
            Refused: 404, or 409 if a precondition does not hold.
        """
        item = self.get(resource, namespace, name)
        metadata = item["metadata"]
        for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted = (options.get("preconditions") or {}).get(field)
            if wanted is not None and wanted != metadata[field]:
                text = (
                    f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {metadata[field]}"
                )
                raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {text}')
        if dry_run:
            return deepcopy(item)
        key = Key(resource, namespace, name)
        if resource == "namespaces":
            for other in [each for each in self._objects if each.namespace == name]:
                self._remove(other)
            return self._remove(key)
        if resource != "pods":
            return self._remove(key)
        grace = options.get("gracePeriodSeconds")
        grace = item["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        if not item["spec"].get("nodeName") or item["status"].get("phase") in FINISHED:
            grace = 0
        grace = min(grace, metadata.get("deletionGracePeriodSeconds", grace))
        if grace == 0 and not metadata.get("finalizers"):
            return self._remove(key)
        changed = deepcopy(item)
        if "deletionGracePeriodSeconds" not in metadata or grace < metadata["deletionGracePeriodSeconds"]:
            changed["metadata"] |= {
                "deletionTimestamp": timestamp(self.now() + grace),
                "deletionGracePeriodSeconds": grace,
            }
            return self._put(key, changed, "MODIFIED")
        return deepcopy(item)

    def page(
        self, resource: str, namespace: str, *, labels: str = "", fields: str = "", limit: int = 0, token: str = ""
    ) -> Json:
        """One page of a list. All of its pages are of one moment.

        Raises:
            Refused: 410 for a snapshot that is too old, 400 for a token that is none.
        """
        snapshot, start = self._continued(token) if token else (self._snapshot(resource, namespace, labels, fields), 0)
        end = start + limit if limit else len(snapshot.items)
        metadata: Json = {"resourceVersion": str(snapshot.version)}
        if end < len(snapshot.items):
            name = secrets.token_hex(8)
            self._snapshots[name] = snapshot
            metadata |= {"continue": f"{name}.{end}", "remainingItemCount": len(snapshot.items) - end}
        bare = [
            {key: item[key] for key in item if key not in ("kind", "apiVersion")} for item in snapshot.items[start:end]
        ]
        return {"kind": f"{SINGULAR[resource]}List", "apiVersion": "v1", "metadata": metadata, "items": bare}

    def bind(self, namespace: str, name: str, node: str) -> None:
        """Give a pod a node, as a scheduler does.

        Raises:
            Refused: 404, or 409 if it has one.
        """
        pod = deepcopy(self.get("pods", namespace, name))
        if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            raise Refused(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is already assigned',
            )
        pod["spec"]["nodeName"] = node
        condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp(self.now())}
        kept = [each for each in pod["status"].get("conditions") or [] if each["type"] != "PodScheduled"]
        pod["status"]["conditions"] = [*kept, condition]
        self._put(Key("pods", namespace, name), pod, "MODIFIED")

    def expire_pages(self) -> None:
        """Forget every snapshot, as a compaction does."""
        self._snapshots = {name: Snapshot((), 0, float("-inf")) for name in self._snapshots}

    def _snapshot(self, resource: str, namespace: str, labels: str, fields: str) -> Snapshot:
        items = tuple(
            item
            for item in self.all(resource, namespace)
            if matches_labels(item["metadata"].get("labels") or {}, labels) and matches_fields(item, fields)
        )
        return Snapshot(items, self.version, self.now())

    def _continued(self, token: str) -> tuple[Snapshot, int]:
        name, _, start = token.partition(".")
        snapshot = self._snapshots.get(name)
        if snapshot is None or not start.isdecimal():
            raise Refused(400, "BadRequest", "continue key is not valid")
        if self.now() - snapshot.taken_at > PAGE_TOKEN_SECONDS:
            raise Refused(
                410, "Expired", "The provided continue parameter is too old to display a consistent list result"
            )
        return snapshot, int(start)

    def _put(self, key: Key, item: Json, kind: str) -> Json:
        # Objects are never changed in place: snapshots and watches hold them.
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self._objects[key] = item
        if key.resource == "pods":
            self.events.append((self.version, kind, item))
        return item

    def _remove(self, key: Key) -> Json:
        self.version += 1
        item = self._objects.pop(key)
        if key.resource == "pods":
            self.events.append((self.version, "DELETED", item))
        return item

    def _taken(self, key: Key) -> Refused:
        if self._objects[key]["metadata"].get("deletionTimestamp"):
            text = f'object is being deleted: {key.resource} "{key.name}" already exists'
            return Refused(409, "AlreadyExists", text)
        return Refused(409, "AlreadyExists", f'{key.resource} "{key.name}" already exists')

    def _check_namespace(self, namespace: str, metadata: Json) -> None:
        if metadata.get("namespace") not in (None, namespace):
            text = f"the namespace of the provided object does not match the namespace sent on the request: {namespace}"
            raise Refused(400, "BadRequest", text)
        if Key("namespaces", "", namespace) not in self._objects:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')

    def _check_namespace_lives(self, namespace: str, resource: str, name: str) -> None:
        if self.get("namespaces", "", namespace)["status"]["phase"] == "Terminating":
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            text = f'{resource} "{name}" is forbidden: {text}'
            raise Refused(403, "Forbidden", text)

    def _check_quota(self, namespace: str, pod: Json) -> None:
        pods = [each for each in self.all("pods", namespace) if each["status"].get("phase") not in FINISHED]
        for quota in self.all("resourcequotas", namespace):
            for what, hard in quota["spec"]["hard"].items():
                asked, used = _amount(what, [pod]), _amount(what, pods)
                if asked and used + asked > float(hard):
                    name = pod["metadata"]["name"]
                    amounts = f"requested: {what}={asked:g}, used: {what}={used:g}, limited: {what}={hard}"
                    text = f"exceeded quota: {quota['metadata']['name']}, {amounts}"
                    raise Refused(403, "Forbidden", f'pods "{name}" is forbidden: {text}')


def _amount(what: str, pods: Sequence[Json]) -> float:
    if what == "pods":
        return len(pods)
    key = what.removeprefix("requests.")
    containers = [container for pod in pods for container in pod["spec"]["containers"]]
    given = [((container.get("resources") or {}).get("requests") or {}).get(key, "0") for container in containers]
    return float(sum(float(json.loads(str(each))) for each in given))


def _may_vanish(item: Json) -> bool:
    """Whether an object that is being ended goes once nothing holds it: a running pod is the kubelet's to remove."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    grace = item["metadata"].get("deletionGracePeriodSeconds")
    return not spec.get("nodeName") or status.get("phase") in FINISHED or grace == 0
