"""What a cluster shows of a fleet: every page of one labelled list, or an answer that says that it is not whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ebbflow.adapters.http import NoAnswer
from ebbflow.adapters.providers.announced import Announced
from ebbflow.adapters.providers.kubernetes.addresses import KubernetesAddresses
from ebbflow.adapters.providers.kubernetes.client import Connection, KubernetesAnswer
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.adapters.providers.kubernetes.states import (
    Patience,
    PodLook,
    PodState,
    may_wait_for_a_volume,
    needs_events,
    state_of,
)
from ebbflow.adapters.providers.kubernetes.template import (
    CAPABILITIES,
    FLEET,
    HOME,
    MANAGED_BY,
    OURS,
    TEMPLATE,
)
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.instance import LOG_BYTES, Instance, InstanceList, InstanceState

Pod = Mapping[str, Any]

PAGE = 500
VOLUME_REASONS = ("FailedMount", "FailedAttachVolume")
"""Events by which a kubelet and the attach controller say that a pod waits for a volume."""
SCALE_UP_REASONS = ("TriggeredScaleUp", "Nominated")
"""Events by which the Cluster Autoscaler and Karpenter say that a node for this pod is on its way."""


class ListingFailed(Exception):
    """A page did not come. Never leaves the adapter."""


@dataclass(slots=True)
class Pages:
    """The pods of one list, and the server's time when it began."""

    pods: list[Pod] = field(default_factory=list)
    at: float = 0.0
    problem: str = ""
    """Why it is not whole."""


class KubernetesListing:
    """Looks at a fleet's pods.

    Args:
        connection: to the cluster.
        settings: how the URL is found, and how long is waited.
    """

    def __init__(self, connection: Connection, settings: KubernetesSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._addresses = KubernetesAddresses(connection, settings)
        self.known_templates: set[str] = set()
        """Hashes of templates that the cluster has taken before."""

    @property
    def path(self) -> str:
        """Of all pods of the namespace."""
        return f"/api/v1/namespaces/{self._connection.namespace}/pods"

    @property
    def _patience(self) -> Patience:
        settings = self._settings
        return Patience(
            settings.schedule_timeout_seconds,
            settings.scale_up_timeout_seconds,
            settings.pull_timeout_seconds,
            settings.start_timeout_seconds,
            settings.terminate_slack_seconds,
        )

    async def list_instances(self, fleet: str, *, deadline: float) -> InstanceList:
        """Every pod with the fleet's label, whatever its home.

        Raises:
            ConfigError: the login is refused; a person must act.
        """
        pages = await self._pages(fleet, deadline=deadline)
        coming = await self._nodes_on_their_way(pages, deadline=deadline)
        volumes = await self._volumes_waited_for(pages, deadline=deadline)
        announced = await self._addresses.announced(pages.pods, deadline=deadline)
        rows = []
        for pod in pages.pods:
            uid = pod["metadata"]["uid"]
            self.known_templates.add(_notes(pod).get(TEMPLATE, ""))
            is_coming = None if coming is None else uid in coming
            row = self.instance(pod, fleet, pages.at, announced.get(uid), node_is_coming=is_coming)
            if said := volumes.get(uid):
                row = replace(row, detail="; ".join(filter(None, (row.detail, said))))
            rows.append(row)
        return InstanceList(tuple(rows), complete=not pages.problem, detail=pages.problem)

    def instance(
        self,
        pod: Pod,
        fleet: str,
        now: float,
        announced: Announced | None = None,
        *,
        node_is_coming: bool | None = None,
    ) -> Instance:
        """One pod as the scaler sees it. A pod that we did not make has no home, and is never touched."""
        metadata, notes = pod["metadata"], _notes(pod)
        url = announced.url if announced else self._addresses.derived(pod)
        container, needs_url = self._addresses.container(pod), self._addresses.are_needed
        found = state_of(PodLook(pod, now, url, self._patience, container, node_is_coming, needs_url))
        runs_on = found.state not in (InstanceState.TERMINATING, InstanceState.FAILED)
        if announced and announced.failure and found.state is not InstanceState.TERMINATING:
            found = PodState(InstanceState.FAILED, "WorkerSaid", announced.detail, announced.failure, found.ends_soon)
        elif announced and announced.detail:
            found = replace(found, detail="; ".join(filter(None, (found.detail, announced.detail))))
        name, home, detail = str(metadata["name"]), (metadata.get("labels") or {}).get(HOME, ""), str(found)
        worker = parse_worker_id(name)
        if TEMPLATE not in notes or worker is None or worker.fleet != fleet:
            home, detail = "", f"carries our labels, but was not made by us; {detail}"
        said = tuple(filter(None, notes.get(CAPABILITIES, "").split(",")))
        return Instance(
            worker_id=name,
            instance_id=str(metadata["uid"]),
            state=found.state,
            fleet=fleet,
            home=home,
            url=url,
            retries=announced.retries if announced else None,
            failure=found.failure,
            is_declared=runs_on and found.state is InstanceState.FAILED,
            ends_soon=found.ends_soon,
            detail=detail if found.reason != "Ready" or not home else "",
            usd_per_hour=self._settings.usd_per_hour,
            capabilities=said or tuple(self._settings.capabilities),
        )

    async def logs(self, instance: Instance, *, deadline: float) -> dict[str, str]:
        """The end of what the worker's container printed: both of its outputs, which Kubernetes keeps as one.

        Raises:
            NoAnswer: none in time.
        """
        answer = await self._connection.get(f"{self.path}/{instance.worker_id}", deadline=deadline)
        if answer.status != 200 or answer.body["metadata"]["uid"] != instance.instance_id:
            return {}
        text = await self._addresses.log(answer.body, deadline=deadline)
        shown = (text or b"")[-LOG_BYTES:].decode("utf-8", "replace")
        return {"log": shown[-LOG_BYTES:]} if shown else {}

    async def _pages(self, fleet: str, *, deadline: float) -> Pages:
        for is_last_try in (False, True):
            pages = Pages()
            try:
                expired = await self._read_pages(pages, fleet, deadline=deadline)
            except (NoAnswer, ListingFailed) as error:
                pages.problem = f"listing pods of fleet {fleet}: {error}"
                return pages
            if not expired:
                return pages
            if is_last_try:
                pages.problem = f"listing pods of fleet {fleet}: its pages expired twice (410)"
        return pages

    async def _read_pages(self, pages: Pages, fleet: str, *, deadline: float) -> bool:
        """Fill in the pages; whether the server has forgotten the snapshot that they are of."""
        selector = ("labelSelector", f"{MANAGED_BY}={OURS},{FLEET}={fleet}")
        token = ""
        while True:
            query = [selector, ("limit", str(PAGE)), *([("continue", token)] if token else [])]
            answer = await self._connection.get(self.path, deadline=deadline, query=query)
            if answer.status == 410 and token:
                return True
            body = answer.body
            if answer.status != 200 or body.get("kind") != "PodList":
                raise _listing_error(answer, fleet)
            pages.at = pages.at or answer.at
            pages.pods.extend(body.get("items") or ())
            token = str((body.get("metadata") or {}).get("continue") or "")
            if not token:
                return False

    async def _volumes_waited_for(self, pages: Pages, *, deadline: float) -> dict[str, str]:
        """By uid, what the events of pods that are long prepared say of their volumes; best effort, for people."""
        if not any(may_wait_for_a_volume(pod, pages.at) for pod in pages.pods):
            return {}
        found: dict[str, str] = {}
        for reason in VOLUME_REASONS:
            try:
                answer = await self._events_of_pods(reason, deadline=deadline)
            except NoAnswer:
                return found
            events = answer.body.get("items") or () if answer.status == 200 else ()
            for event in sorted(events, key=lambda event: str(event["metadata"].get("creationTimestamp"))):
                found[event["involvedObject"].get("uid", "")] = f"{reason}: {event.get('message') or ''}"
        return found

    async def _nodes_on_their_way(self, pages: Pages, *, deadline: float) -> set[str] | None:
        """The pods, by uid, for which the cluster's autoscaler is adding a node; None: that cannot be known now."""
        if not any(needs_events(pod, pages.at, self._patience) for pod in pages.pods):
            return set()
        found: set[str] = set()
        for reason in SCALE_UP_REASONS:
            try:
                answer = await self._events_of_pods(reason, deadline=deadline)
            except NoAnswer:
                return None
            if answer.status == 403:
                # The right to list events is optional; without it only the ordinary time counts.
                return set()
            if answer.status != 200:
                return None
            found |= {event["involvedObject"].get("uid", "") for event in answer.body.get("items") or ()}
        return found

    async def _events_of_pods(self, reason: str, *, deadline: float) -> KubernetesAnswer:
        """The namespace's events of one reason that are about pods.

        Raises:
            NoAnswer: none in time.
        """
        path = f"/api/v1/namespaces/{self._connection.namespace}/events"
        query = [("fieldSelector", f"involvedObject.kind=Pod,reason={reason}"), ("limit", str(PAGE))]
        return await self._connection.get(path, deadline=deadline, query=query)


def _notes(pod: Pod) -> Mapping[str, str]:
    notes: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    return notes


def _listing_error(answer: KubernetesAnswer, fleet: str) -> Exception:
    if answer.status == 401:
        return ConfigError(
            f"kubernetes provider could not list pods of fleet {fleet}: the login is refused: {answer.message}"
        )
    if answer.status == 403:
        return ConfigError(
            f"kubernetes provider could not list pods of fleet {fleet}: {answer.message}; "
            "the Role must allow create, get, list and delete of pods"
        )
    if answer.status == 200:
        return ListingFailed("200, but no list of pods")
    return ListingFailed(answer.message)
