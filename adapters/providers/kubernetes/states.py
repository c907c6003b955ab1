"""From a pod to a worker's state, with a reason for people. Pure: the same pod at the same time is the same state.

Rows are tried in order, the first that fits decides. Only the worker's own container is judged; what others beside or
before it do delays its start, and is told as the reason. Source: Kubernetes docs, "Pod Lifecycle"; pkg/kubelet for the
reasons of containers, pkg/controller/nodelifecycle for what a lost node does to its pods.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any

from ebbflow.core.instance import Failure, InstanceState

Pod = Mapping[str, Any]

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
)
START_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
)
NEVER_HEALS = frozenset({"InvalidImageName"})
CRASHES = frozenset({"CrashLoopBackOff"})
VOLUME_SECONDS = 60.0
"""A pod that its node prepares for longer may wait for a volume."""
CAPACITY_REASONS = frozenset(
    {
        "Evicted",
        "NodeAffinity",
        "NodeLost",
        "NodeShutdown",
        "Preempting",
        "Shutdown",
        "Terminated",
        "UnexpectedAdmissionError",
    }
)
"""The cluster took the place away, or never had it: no fault of the worker."""
DEVICE_TAKEN = "OutOf"
"""Begins the reason of a pod whose device another one got first, such as `OutOfnvidia.com/gpu`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each kind of waiting may last, in seconds."""

    schedule_seconds: float = 120.0
    scale_up_seconds: float = 1200.0
    pull_seconds: float = 1800.0
    start_seconds: float = 1800.0
    terminate_slack_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class PodLook:
    """Everything that a pod's state follows from."""

    pod: Pod
    now: float
    """Epoch seconds on the cluster's own clock, as its ages are."""
    url: str | None
    """Where the worker is to be reached, if that is known."""
    patience: Patience
    container: str = "worker"
    """The one that is the worker; others are its sidecars."""
    node_is_coming: bool | None = False
    """Whether the cluster's autoscaler is adding a node for it; None: its events could not be read."""
    needs_url: bool = True
    """It starts for as long as it has none."""


@dataclass(frozen=True, slots=True)
class PodState:
    """What a pod is to the scaler."""

    state: InstanceState
    reason: str
    """One word of Kubernetes' or ours."""
    detail: str = ""
    """What else a person would like to know; may be empty."""
    failure: Failure | None = None
    ends_soon: str = ""
    """Why the cluster means to end it; it may take that back."""

    def __str__(self) -> str:
        """The sentence that a record shows."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class _Waiting:
    container: str
    reason: str
    text: str
    status: Mapping[str, Any]


def state_of(look: PodLook) -> PodState:
    """Decide what a pod is."""
    for rule in _RULES:
        found = rule(look)
        if found is not None:
            return replace(found, ends_soon=_disruption(look.pod))
    return PodState(InstanceState.UNKNOWN, "UnknownPhase", f"phase {_status(look.pod).get('phase')!r}")


def needs_events(pod: Pod, now: float, patience: Patience) -> bool:
    """Whether only its events tell if it is still waited for: it has no node, and its ordinary time is over."""
    if _has_node(pod) or pod["metadata"].get("deletionTimestamp") or _status(pod).get("phase") != "Pending":
        return False
    return _scheduled(pod).get("reason") != "SchedulingGated" and _created_ago(pod, now) > patience.schedule_seconds


def may_wait_for_a_volume(pod: Pod, now: float) -> bool:
    """Whether its node prepares it for so long that only its events tell what it waits for."""
    if not _has_node(pod) or pod["metadata"].get("deletionTimestamp") or _status(pod).get("phase") != "Pending":
        return False
    waits = [((status.get("state") or {}).get("waiting") or {}).get("reason") for status in _container_statuses(pod)]
    return set(waits) <= {None, "ContainerCreating", "PodInitializing"} and (
        now - _waits_since(pod, {}) > VOLUME_SECONDS
    )


def is_ready(pod: Pod) -> bool:
    """Whether it runs, is ready, and is not being ended: only then has it anything to announce."""
    return (
        _status(pod).get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
        and _condition(pod, "Ready").get("status") == "True"
    )


def is_finished(pod: Pod) -> bool:
    """Whether it has ended and is not being removed: its log may say why."""
    return _status(pod).get("phase") in ("Failed", "Succeeded") and not pod["metadata"].get("deletionTimestamp")


def parse_time(text: object) -> float | None:
    """Read one of the API's timestamps as epoch seconds; None where there is none."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _terminating(look: PodLook) -> PodState | None:
    ends_at = parse_time(look.pod["metadata"].get("deletionTimestamp"))
    if ends_at is None:
        return None
    overdue = look.now - ends_at
    if overdue > look.patience.terminate_slack_seconds:
        where = f"on node {look.pod['spec'].get('nodeName')}" if _has_node(look.pod) else "without a node"
        text = f"should have ended {overdue:.0f} s ago {where}; the node may be lost, or a finalizer holds the pod"
        return PodState(InstanceState.TERMINATING, "TerminatingStuck", text)
    return PodState(InstanceState.TERMINATING, "Terminating", "is being ended")


def _disruption(pod: Pod) -> str:
    """Source: Kubernetes docs, "Disruptions", pod disruption conditions: set before a pod is ended, or is not."""
    condition = _condition(pod, "DisruptionTarget")
    if condition.get("status") != "True" or _status(pod).get("phase") in ("Failed", "Succeeded"):
        return ""
    return ": ".join(filter(None, (condition.get("reason") or "DisruptionTarget", _message(condition))))


def _finished(look: PodLook) -> PodState | None:
    status = _status(look.pod)
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    reason, detail = status.get("reason"), _message(status)
    ended = _end_of(look)
    if ended is not None:
        name, how = ended
        reason = reason or how.get("reason") or "Error"
        detail = detail or _exit_of(name, how)
    elif not reason:
        reason, detail = "ExitedZero", "the worker ended by itself"
    return PodState(InstanceState.FAILED, reason, detail, _failure_of(reason))


def _end_of(look: PodLook) -> tuple[str, Mapping[str, Any]] | None:
    """What ended the pod, unless it ended well: the worker, or what failed before the worker could start.

    The kubelet ends sidecars when the worker is done, so that their exit codes tell nothing.
    """
    ended = dict(_terminated(look.pod))
    own = ended.pop(look.container, None)
    if own is not None:
        return (look.container, own) if own.get("exitCode") else None
    return next(((name, how) for name, how in ended.items() if how.get("exitCode")), None)


def _failure_of(reason: str) -> Failure | None:
    if reason in CAPACITY_REASONS or reason.startswith(DEVICE_TAKEN):
        return Failure.CAPACITY
    # The dead-man's switch: the end that was asked for.
    return None if reason == "DeadlineExceeded" else Failure.OUTPUT


def _exit_of(container: str, how: Mapping[str, Any]) -> str:
    text = f"container {container} ended with exit code {how.get('exitCode')}"
    if how.get("reason") == "OOMKilled":
        text = f"container {container} used more memory than its limit (exit code {how.get('exitCode')})"
    return f"{text}: {_message(how)}" if _message(how) else text


def _invalid_image(look: PodLook) -> PodState | None:
    waiting = _own_waiting(look, NEVER_HEALS)
    if waiting is None:
        return None
    return PodState(InstanceState.FAILED, waiting.reason, waiting.text, Failure.REJECTED)


def _pulling_fails(look: PodLook) -> PodState | None:
    return _waits_at_most(look, _own_waiting(look, PULL_REASONS), look.patience.pull_seconds)


def _starting_fails(look: PodLook) -> PodState | None:
    return _waits_at_most(look, _own_waiting(look, START_REASONS), look.patience.start_seconds)


def _waits_at_most(look: PodLook, waiting: _Waiting | None, seconds: float) -> PodState | None:
    if waiting is None:
        return None
    waited = look.now - _waits_since(look.pod, waiting.status)
    if waited > seconds:
        text = f"{waiting.text}, for {waited:.0f} s (allowed are {seconds:g} s)"
        return PodState(InstanceState.FAILED, waiting.reason, text, Failure.REJECTED)
    return PodState(InstanceState.STARTING, waiting.reason, waiting.text)


def _crashes(look: PodLook) -> PodState | None:
    waiting = _own_waiting(look, CRASHES)
    if waiting is None:
        return None
    last = (waiting.status.get("lastState") or {}).get("terminated") or {}
    text = _exit_of(waiting.container, last) if last else waiting.text
    return PodState(InstanceState.FAILED, last.get("reason") or waiting.reason, text, Failure.OUTPUT)


def _start_is_held(look: PodLook) -> PodState | None:
    """The worker has not begun, and what has to begin before or with it has trouble."""
    if _status(look.pod).get("phase") != "Pending" or not _has_node(look.pod) or _has_begun(look):
        return None
    waiting = _waiting(_container_statuses(look.pod), PULL_REASONS | START_REASONS | NEVER_HEALS | CRASHES)
    if waiting is None:
        return None
    held = replace(waiting, text=f"container {waiting.container} holds up the start: {waiting.text}")
    return _waits_at_most(look, held, max(look.patience.pull_seconds, look.patience.start_seconds))


def _node_lost(look: PodLook) -> PodState | None:
    status = _status(look.pod)
    if status.get("phase") == "Unknown" or status.get("reason") == "NodeLost":
        return PodState(InstanceState.UNKNOWN, "NodeLost", _lost(look.pod))
    return None


def _unscheduled(look: PodLook) -> PodState | None:
    if _status(look.pod).get("phase") != "Pending" or _has_node(look.pod):
        return None
    condition = _scheduled(look.pod)
    reason = condition.get("reason") or "NotObservedByScheduler"
    detail = _message(condition) if condition else "no scheduler has looked at it yet"
    age, patience = _created_ago(look.pod, look.now), look.patience
    if reason == "SchedulingGated" or look.node_is_coming is None or age <= patience.schedule_seconds:
        return PodState(InstanceState.PENDING, reason, detail)
    allowed, coming = patience.schedule_seconds, ""
    if look.node_is_coming:
        allowed, coming = max(allowed, patience.scale_up_seconds), "the cluster's autoscaler is adding a node"
    if age <= allowed:
        return PodState(InstanceState.PENDING, reason, "; ".join(filter(None, (coming, detail))))
    text = f"no node for {age:.0f} s (allowed are {allowed:g} s): {detail or 'no reason given'}"
    return PodState(InstanceState.FAILED, reason, text, Failure.CAPACITY)


def _silent_node(look: PodLook) -> PodState | None:
    """Running as far as anybody knows, on a node that nobody hears of."""
    if _status(look.pod).get("phase") != "Running":
        return None
    ready = _condition(look.pod, "Ready")
    if ready.get("status") == "Unknown":
        return PodState(InstanceState.UNKNOWN, ready.get("reason") or "NodeUnreachable", _lost(look.pod))
    containers = _status(look.pod).get("containerStatuses") or []
    all_ready = bool(containers) and all(status.get("ready") for status in containers)
    # The kubelet would say which container is not ready; the node's own controller cannot.
    if ready.get("status") == "False" and all_ready and ready.get("reason") != "ReadinessGatesNotReady":
        return PodState(InstanceState.UNKNOWN, "NodeUnreachable", _lost(look.pod))
    return None


def _worker_ended(look: PodLook) -> PodState | None:
    """A sidecar keeps the pod running, and nothing starts the worker again."""
    if _status(look.pod).get("phase") != "Running" or look.pod["spec"].get("restartPolicy", "Never") != "Never":
        return None
    for name, how in _terminated(look.pod):
        if name == look.container:
            reason = how.get("reason") or "Error"
            return PodState(InstanceState.FAILED, reason, _exit_of(name, how), _failure_of(reason))
    return None


def _running(look: PodLook) -> PodState | None:
    if _status(look.pod).get("phase") != "Running":
        return None
    ready = _condition(look.pod, "Ready")
    if ready.get("status") == "True":
        if look.url is not None or not look.needs_url:
            return PodState(InstanceState.RUNNING, "Ready")
        return PodState(InstanceState.STARTING, "WaitingForURL", "runs, and has announced no address")
    age = look.now - _waits_since(look.pod, {})
    if age > look.patience.start_seconds and not _was_ready(look.pod):
        text = f"not ready for {age:.0f} s (allowed are {look.patience.start_seconds:g} s)"
        return PodState(InstanceState.FAILED, "StartTimeout", text, Failure.TIMEOUT)
    return PodState(InstanceState.STARTING, "NotReady", _message(ready))


def _preparing(look: PodLook) -> PodState | None:
    if _status(look.pod).get("phase") != "Pending":
        return None
    waiting = _own_waiting(look, {"ContainerCreating", "PodInitializing"})
    return PodState(InstanceState.STARTING, waiting.reason if waiting else "ContainerCreating")


_RULES: tuple[Callable[[PodLook], PodState | None], ...] = (
    _terminating,
    _finished,
    _invalid_image,
    _pulling_fails,
    _starting_fails,
    _crashes,
    _node_lost,
    _unscheduled,
    _start_is_held,
    _silent_node,
    _worker_ended,
    _running,
    _preparing,
)


def _own_waiting(look: PodLook, reasons: Set[str]) -> _Waiting | None:
    """What the worker's own container waits for."""
    return _waiting(
        [status for status in _container_statuses(look.pod) if status.get("name") == look.container], reasons
    )


def _waiting(statuses: Iterable[Mapping[str, Any]], reasons: Set[str]) -> _Waiting | None:
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in reasons:
            name = str(status.get("name"))
            return _Waiting(name, waiting["reason"], _message(waiting) or f"container {name} waits", status)
    return None


def _has_begun(look: PodLook) -> bool:
    """Whether the worker's container runs, or ran before."""
    return any(
        status.get("name") == look.container
        and any(kind in (status.get(at) or {}) for at in ("state", "lastState") for kind in ("running", "terminated"))
        for status in _container_statuses(look.pod)
    )


def _terminated(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for status in _container_statuses(pod):
        if ended := (status.get("state") or {}).get("terminated"):
            yield str(status.get("name")), ended


def _container_statuses(pod: Pod) -> list[Mapping[str, Any]]:
    status = _status(pod)
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _was_ready(pod: Pod) -> bool:
    """Whether it lost its readiness, and has not only never had it. In doubt it had."""
    # Not ready from the beginning, the condition is as old as the pod; it changes when the container becomes ready.
    changed = parse_time(_condition(pod, "Ready").get("lastTransitionTime"))
    began = [
        parse_time(((status.get("state") or {}).get("running") or {}).get("startedAt"))
        for status in _status(pod).get("containerStatuses") or []
    ]
    started = [at for at in began if at is not None]
    return changed is None or not started or changed > min(started)


def _waits_since(pod: Pod, container: Mapping[str, Any]) -> float:
    """When the phase began that a pod, or one container, is in: a limit of time is its phase's, not the pod's.

    The latest of what the pod tells: the kubelet took it, its init containers were done, its readiness changed, the
    container ended before. Source: pkg/kubelet/status, pkg/kubelet/kubelet_pods.go.
    """
    ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    initialized, ready = _condition(pod, "Initialized"), _condition(pod, "Ready")
    moments = [
        parse_time(pod["metadata"].get("creationTimestamp")),
        parse_time(_status(pod).get("startTime")),
        parse_time(initialized.get("lastTransitionTime")) if initialized.get("status") == "True" else None,
        parse_time(ready.get("lastTransitionTime")),
        parse_time(ended),
    ]
    return max((moment for moment in moments if moment is not None), default=inf)


def _created_ago(pod: Pod, now: float) -> float:
    created = parse_time(pod["metadata"].get("creationTimestamp"))
    return now - created if created is not None else 0.0


def _lost(pod: Pod) -> str:
    return f"nobody hears of node {pod['spec'].get('nodeName') or '(unknown)'}"


def _status(pod: Pod) -> Mapping[str, Any]:
    return pod.get("status") or {}


def _has_node(pod: Pod) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _scheduled(pod: Pod) -> Mapping[str, Any]:
    condition = _condition(pod, "PodScheduled")
    return condition if condition.get("status") == "False" else {}


def _condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    for condition in _status(pod).get("conditions") or []:
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _message(of: Mapping[str, Any]) -> str:
    return " ".join(str(of.get("message") or "").split())
