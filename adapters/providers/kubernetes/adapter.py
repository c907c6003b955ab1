"""Provider `kubernetes`: each worker is one bare Pod, whose name is the worker's id.

The name is what makes a launch safe to repeat: of many POSTs of one name a single one creates. What exists is read from
one labelled list, and what is ended is named by its uid, so that a late DELETE never hits another pod of that name.
Source: Kubernetes API reference, Pod v1; API Concepts, "Retrieving large results sets in chunks".
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import anyio

from ebbflow.adapters.http import NoAnswer
from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.adapters.providers.kubernetes.answers import (
    is_in_doubt,
    is_taken,
    launch_error,
    retry_words,
    termination_error,
)
from ebbflow.adapters.providers.kubernetes.client import Connection, KubernetesAnswer
from ebbflow.adapters.providers.kubernetes.listing import KubernetesListing
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.adapters.providers.kubernetes.template import (
    FLEET,
    HOME,
    MANAGED_BY,
    OURS,
    loss_in_template,
    pod_of,
    template_hash,
)
from ebbflow.core.errors import (
    ConfigError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.ids import check_fleet_name, parse_worker_id
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps

Json = dict[str, Any]

LOOK_SHARE = 0.5
"""Of a call's time. A POST that has not been answered by then leaves the rest for a look at what came of it."""


class KubernetesAdapter(EndsForGood):
    """Launches workers as pods of one namespace, finds them again, and ends them.

    Args:
        settings: which cluster and which pod.
        clock: epoch seconds, where the API server does not say what time it is.
    """

    def __init__(self, settings: KubernetesSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._connection = Connection(settings, clock=clock)
        self._listing = KubernetesListing(self._connection, settings)
        self._checking = anyio.Lock()

    @cached_property
    def caps(self) -> ProviderCaps:
        """What it can do. Its fingerprint is the cluster's address and the namespace; the template is no part of it."""
        return ProviderCaps(
            fingerprint=f"kubernetes-{self._place()}",
            idempotent_launch=True,
            settle_seconds=0.0,
            relist_seconds=1.0,
            absence_is_gone=True,
            cancels_pending=True,
            call_seconds=self._settings.call_timeout_seconds,
            usd_per_hour=self._settings.usd_per_hour,
            keeps_logs=True,
            tells_urls=self._settings.url != "none",
            capabilities=tuple(self._settings.capabilities),
        )

    def _place(self) -> str:
        try:
            namespace = self._connection.namespace
        except ConfigError:
            # Said loudly by the first call; a look at what this provider can do must not fail.
            namespace = ""
        return hashlib.sha256(f"{self._connection.server}\n{namespace}".encode()).hexdigest()[:12]

    async def launch(self, request: LaunchRequest) -> Instance:
        """Create one worker's pod, or adopt the one that has its name. Without a clear answer it is looked for, once.

        The template is tried by a dry run before its first pod.

        Raises:
            CapacityUnavailable: the namespace's quota is full.
            LaunchRejected: the template, a policy of the cluster or our rights forbid it, or the id was used before.
            LaunchOutcomeUnknown: sent, and neither an answer nor a look tells what came of it.
            ProviderUnavailable: not created; temporary.
            ConfigError: login, namespace or template must be changed.
        """
        tried = f"kubernetes provider could not launch {request.worker_id}"
        if parse_worker_id(request.worker_id) is None:
            raise LaunchRejected(f"kubernetes provider could not launch {request.worker_id!a}: not a worker id")
        settings, deadline = self._settings, self._deadline()
        pod = pod_of(
            settings.pod_template,
            request,
            namespace=self._connection.namespace,
            values={"image": settings.image, "gpus": settings.gpus},
            capabilities=request.capabilities or tuple(settings.capabilities),
        )
        await self._check_template(pod, tried, deadline=deadline)
        post_deadline = anyio.current_time() + LOOK_SHARE * (deadline - anyio.current_time())
        try:
            answer = await self._post(pod, deadline=post_deadline)
        except NoAnswer as error:
            if not error.maybe_sent:
                raise ProviderUnavailable(f"{tried}: {error}") from error
            return await self._look_for(request, pod, f"{tried}: {error}", deadline=deadline)
        if answer.status == 201:
            created = await self._created(answer, request, tried, deadline=deadline)
            return replace(created, warning=loss_in_template(settings.pod_template, request.join.arguments))
        if is_in_doubt(answer) or is_taken(answer):
            said = f"{tried}: {answer.message}{retry_words(answer)}"
            return await self._look_for(request, pod, said, deadline=deadline)
        raise launch_error(answer, tried)

    async def list_instances(self, fleet: str) -> InstanceList:
        """The fleet's pods, whatever their home. Pods that carry our labels and are not ours have an empty home.

        Raises:
            ConfigError: the login or the rights are refused.
        """
        return await self._listing.list_instances(check_fleet_name(fleet), deadline=self._deadline())

    async def terminate(self, instance: Instance) -> None:
        """Delete one pod, by name and uid. A pending one only if nothing has changed about it since a look just now.

        Raises:
            TerminationRefused: it has been given a node by now, or the server will not; every later turn asks again.
            ProviderUnavailable: temporary.
            ConfigError: the login is refused.
        """
        tried = f"kubernetes provider could not end {instance.worker_id}"
        if parse_worker_id(instance.worker_id) is None:
            raise TerminationRefused(f"kubernetes provider could not end {instance.worker_id!a}: not a worker id")
        deadline, path = self._deadline(), f"{self._listing.path}/{instance.worker_id}"
        conditions = {"uid": instance.instance_id}
        try:
            if instance.state is InstanceState.PENDING:
                found = await self._connection.get(path, deadline=deadline)
                if _is_gone(found, instance):
                    return
                conditions["resourceVersion"] = _version_of_pending(found, tried)
            answer = await self._connection.send(
                "DELETE", path, deadline=deadline, body={"preconditions": conditions, "propagationPolicy": "Background"}
            )
            if answer.status == 409:
                # It may be another pod's name by now, or this pod may have changed: only the first is success.
                found = await self._connection.get(path, deadline=deadline)
                if _is_gone(found, instance):
                    return
        except NoAnswer as error:
            raise ProviderUnavailable(f"{tried}: {error}") from error
        if answer.status not in (200, 202, 404):
            raise termination_error(answer, tried)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The end of the worker container's log, by the name `log`: the cluster keeps both outputs as one."""
        try:
            return await self._listing.logs(instance, deadline=self._deadline())
        except NoAnswer as error:
            raise ProviderUnavailable(
                f"kubernetes provider could not read the log of {instance.worker_id}: {error}"
            ) from error

    async def aclose(self) -> None:
        """Close connections. The pods stay."""
        await self._connection.aclose()

    def _deadline(self) -> float:
        return anyio.current_time() + self._settings.call_timeout_seconds

    async def _post(self, pod: Json, *, deadline: float, dry_run: bool = False) -> KubernetesAnswer:
        query = [("fieldValidation", "Strict"), *([("dryRun", "All")] if dry_run else [])]
        return await self._connection.send("POST", self._listing.path, deadline=deadline, query=query, body=pod)

    async def _check_template(self, pod: Json, tried: str, *, deadline: float) -> None:
        """Let the server try the template, unless it is known to have made a pod of it before. Stores nothing."""
        template = template_hash(self._settings.pod_template)
        async with self._checking:
            if template in self._listing.known_templates:
                return
            try:
                answer = await self._post(pod, deadline=deadline, dry_run=True)
            except NoAnswer as error:
                raise ProviderUnavailable(f"{tried}: dry run of its template: {error}") from error
            if answer.status == 201 and (problem := _label_problem(answer.body, pod)):
                raise LaunchRejected(f"{tried}: dry run of its template: {problem}")
            if answer.status not in (201, 409):
                raise launch_error(answer, f"{tried}: dry run of its template")
            self._listing.known_templates.add(template)

    async def _created(
        self, answer: KubernetesAnswer, request: LaunchRequest, tried: str, *, deadline: float
    ) -> Instance:
        problem = _label_problem(answer.body, {"metadata": {"labels": _labels(request)}})
        created = self._listing.instance(answer.body, request.fleet, answer.at)
        if not problem:
            return created
        # A pod that no list shows would be a leak.
        await self.terminate(replace(created, worker_id=request.worker_id, state=InstanceState.STARTING))
        raise LaunchRejected(f"{tried}: {problem}; the pod was deleted again")

    async def _look_for(self, request: LaunchRequest, pod: Json, said: str, *, deadline: float) -> Instance:
        """What came of a launch that has no clear answer."""
        try:
            found = await self._connection.get(f"{self._listing.path}/{request.worker_id}", deadline=deadline)
        except NoAnswer as error:
            raise LaunchOutcomeUnknown(f"{said}; looking for it: {error}") from error
        if found.status == 404:
            raise ProviderUnavailable(f"{said}; it was not created")
        if found.status != 200:
            raise LaunchOutcomeUnknown(f"{said}; looking for it: {found.message}")
        metadata = found.body["metadata"]
        if problem := _label_problem(found.body, pod):
            raise LaunchRejected(f"{said}; the id is taken: {problem}")
        if metadata.get("deletionTimestamp"):
            raise LaunchRejected(f"{said}; the id is used up, its pod is being ended")
        return self._listing.instance(found.body, request.fleet, found.at)


def _labels(request: LaunchRequest) -> dict[str, str]:
    return {MANAGED_BY: OURS, FLEET: request.fleet, HOME: request.home}


def _label_problem(pod: Json, wanted: Json) -> str:
    """Which of our labels another one's hand has changed; empty where none."""
    labels = pod["metadata"].get("labels") or {}
    for key in (MANAGED_BY, FLEET, HOME):
        if labels.get(key) != wanted["metadata"]["labels"][key]:
            return f"label {key} is {labels.get(key)!r}, not {wanted['metadata']['labels'][key]!r}"
    return ""


def _is_gone(found: KubernetesAnswer, instance: Instance) -> bool:
    return found.status == 404 or (found.status == 200 and found.body["metadata"]["uid"] != instance.instance_id)


def _version_of_pending(found: KubernetesAnswer, tried: str) -> str:
    """The version that a pending pod must still have when it is deleted.

    Raises:
        TerminationRefused: it is not pending any more.
        ProviderUnavailable: it cannot be seen now.
    """
    if found.status != 200:
        raise termination_error(found, tried)
    pod = found.body
    if (pod.get("spec") or {}).get("nodeName") and not pod["metadata"].get("deletionTimestamp"):
        raise TerminationRefused(f"{tried}: it was pending, and has been given node {pod['spec']['nodeName']} by now")
    return str(pod["metadata"]["resourceVersion"])
