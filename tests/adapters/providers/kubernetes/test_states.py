"""What a pod is to the scaler: one row per thing that happens to pods."""

from typing import Any

import pytest

from ebbflow.adapters.providers.kubernetes.states import Patience, PodLook, is_ready, needs_events, parse_time, state_of
from ebbflow.core.instance import Failure, InstanceState

CREATED = "2026-11-21T10:00:00Z"
START = parse_time(CREATED) or 0.0
URL = "http://10.0.0.7:7801"


def at(seconds: float) -> str:
    """A timestamp that long after the pod was created."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"2026-11-21T{10 + hours:02}:{minutes:02}:{rest:02}Z"


def pod(phase: str = "Running", *, node: str = "n1", deleted: str = "", **status: Any) -> dict[str, Any]:
    metadata = {"name": "sdxl-3f9c-1a-0", "uid": "u", "creationTimestamp": CREATED}
    if deleted:
        metadata["deletionTimestamp"] = deleted
    spec = {"nodeName": node} if node else {}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "startTime": CREATED, **status}}


def conditions(**states: Any) -> list[dict[str, Any]]:
    """`Ready="True"`, or with more: `Ready={"status": ..., "reason": ...}`."""
    return [{"type": kind, **({"status": each} if isinstance(each, str) else each)} for kind, each in states.items()]


def container(ready: bool = True, *, last: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    return {"name": "worker", "ready": ready, "state": state, **({"lastState": {"terminated": last}} if last else {})}


def waiting(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [container(ready=False, waiting={"reason": reason, "message": message})]


def beside(name: str, *, ready: bool = False, **state: Any) -> list[dict[str, Any]]:
    """The status of another container than the worker's."""
    return [{"name": name, "ready": ready, "state": state}]


def unscheduled(reason: str = "Unschedulable", message: str = "0/1 nodes are available") -> list[dict[str, Any]]:
    return conditions(PodScheduled={"status": "False", "reason": reason, "message": message})


READY = conditions(Ready="True")
NOT_READY = conditions(Ready={"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": CREATED})
RUNS = container(ready=False, running={"startedAt": at(60)})

# What is seen, at which age, and what it means: state, reason, failure, and a part of the sentence for people.
ROWS: list[tuple[str, dict[str, Any], float, str, str, Failure | None, str]] = [
    ("being ended", pod(deleted=at(40)), 30, "terminating", "Terminating", None, ""),
    ("stuck being ended", pod(deleted=at(40)), 161, "terminating", "TerminatingStuck", None, "node n1"),
    (
        "evicted in a moment",
        pod(conditions=[*READY, *conditions(DisruptionTarget={"status": "True", "reason": "EvictionByEvictionAPI"})]),
        30,
        "running",
        "Ready",
        None,
        "",
    ),
    (
        "a disrupted pod that has finished",
        pod("Failed", reason="Evicted", conditions=conditions(DisruptionTarget="True")),
        30,
        "failed",
        "Evicted",
        Failure.CAPACITY,
        "",
    ),
    (
        "evicted",
        pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
        30,
        "failed",
        "Evicted",
        Failure.CAPACITY,
        "low on resource",
    ),
    (
        "out of memory",
        pod("Failed", containerStatuses=[container(terminated={"reason": "OOMKilled", "exitCode": 137})]),
        30,
        "failed",
        "OOMKilled",
        Failure.OUTPUT,
        "container worker used more memory than its limit",
    ),
    (
        "ended with a code",
        pod("Failed", containerStatuses=[container(terminated={"reason": "Error", "exitCode": 3})]),
        30,
        "failed",
        "Error",
        Failure.OUTPUT,
        "exit code 3",
    ),
    (
        "a failed init container",
        pod("Failed", initContainerStatuses=[container(terminated={"reason": "Error", "exitCode": 1})]),
        30,
        "failed",
        "Error",
        Failure.OUTPUT,
        "exit code 1",
    ),
    ("ended well", pod("Succeeded"), 30, "failed", "ExitedZero", Failure.OUTPUT, "by itself"),
    ("its deadline", pod("Failed", reason="DeadlineExceeded"), 30, "failed", "DeadlineExceeded", None, ""),
    (
        "another pod took the device",
        pod("Failed", reason="OutOfnvidia.com/gpu"),
        30,
        "failed",
        "OutOfnvidia.com/gpu",
        Failure.CAPACITY,
        "",
    ),
    (
        "a node that shuts down",
        pod("Failed", reason="NodeShutdown"),
        30,
        "failed",
        "NodeShutdown",
        Failure.CAPACITY,
        "",
    ),
    (
        "a malformed image",
        pod("Pending", containerStatuses=waiting("InvalidImageName", "couldn't parse")),
        1,
        "failed",
        "InvalidImageName",
        Failure.REJECTED,
        "couldn't parse",
    ),
    (
        "an image that cannot be pulled yet",
        pod("Pending", containerStatuses=waiting("ImagePullBackOff", "Back-off pulling image")),
        1799,
        "starting",
        "ImagePullBackOff",
        None,
        "Back-off",
    ),
    (
        "an image that cannot be pulled",
        pod("Pending", containerStatuses=waiting("ErrImagePull", "not found")),
        1801,
        "failed",
        "ErrImagePull",
        Failure.REJECTED,
        "for 1801 s (allowed are 1800 s)",
    ),
    (
        "an image of an init container",
        pod("Pending", initContainerStatuses=beside("setup", waiting={"reason": "ErrImagePull"})),
        1800,
        "starting",
        "ErrImagePull",
        None,
        "container setup holds up the start",
    ),
    (
        "an image of an init container for too long",
        pod("Pending", initContainerStatuses=beside("setup", waiting={"reason": "ErrImagePull"})),
        1801,
        "failed",
        "ErrImagePull",
        Failure.REJECTED,
        "container setup holds up the start",
    ),
    (
        "init containers that took half an hour, and then an image that is pulled",
        pod(
            "Pending",
            conditions=conditions(Initialized={"status": "True", "lastTransitionTime": at(1800)}),
            containerStatuses=waiting("ImagePullBackOff"),
        ),
        3600,
        "starting",
        "ImagePullBackOff",
        None,
        "",
    ),
    (
        "a container that served for an hour, and whose start is tried again",
        pod(
            conditions=conditions(Ready={"status": "False", "lastTransitionTime": at(3600)}),
            containerStatuses=[
                container(
                    False,
                    last={"reason": "Error", "exitCode": 1, "finishedAt": at(3600)},
                    waiting={"reason": "CreateContainerConfigError"},
                )
            ],
        ),
        3700,
        "starting",
        "CreateContainerConfigError",
        None,
        "",
    ),
    (
        "a missing Secret",
        pod("Pending", containerStatuses=waiting("CreateContainerConfigError", 'secret "s" not found')),
        30,
        "starting",
        "CreateContainerConfigError",
        None,
        "not found",
    ),
    (
        "a Secret that stays missing",
        pod("Pending", containerStatuses=waiting("CreateContainerConfigError")),
        1801,
        "failed",
        "CreateContainerConfigError",
        Failure.REJECTED,
        "",
    ),
    (
        "a crash loop, by what crashes",
        pod(
            containerStatuses=[
                container(False, last={"reason": "OOMKilled", "exitCode": 137}, waiting={"reason": "CrashLoopBackOff"})
            ]
        ),
        30,
        "failed",
        "OOMKilled",
        Failure.OUTPUT,
        "more memory",
    ),
    (
        "a crash loop",
        pod(containerStatuses=waiting("CrashLoopBackOff", "back-off 5m0s")),
        30,
        "failed",
        "CrashLoopBackOff",
        Failure.OUTPUT,
        "back-off",
    ),
    ("a phase that nobody knows", pod("Unknown"), 30, "unknown", "NodeLost", None, "node n1"),
    ("a lost node", pod(reason="NodeLost"), 30, "unknown", "NodeLost", None, "node n1"),
    (
        "no room",
        pod("Pending", node="", conditions=unscheduled()),
        120,
        "pending",
        "Unschedulable",
        None,
        "0/1 nodes",
    ),
    (
        "no room for too long",
        pod("Pending", node="", conditions=unscheduled()),
        121,
        "failed",
        "Unschedulable",
        Failure.CAPACITY,
        "no node for 121 s (allowed are 120 s): 0/1 nodes are available",
    ),
    (
        "held back by a queue",
        pod("Pending", node="", conditions=unscheduled("SchedulingGated")),
        9999,
        "pending",
        "SchedulingGated",
        None,
        "",
    ),
    ("nobody has looked", pod("Pending", node=""), 60, "pending", "NotObservedByScheduler", None, "no scheduler"),
    (
        "nobody has looked for too long",
        pod("Pending", node=""),
        121,
        "failed",
        "NotObservedByScheduler",
        Failure.CAPACITY,
        "no scheduler",
    ),
    (
        "a node that nobody hears of",
        pod(conditions=conditions(Ready={"status": "Unknown", "reason": "NodeStatusUnknown"})),
        30,
        "unknown",
        "NodeStatusUnknown",
        None,
        "node n1",
    ),
    (
        "not ready, and every container is",
        pod(conditions=conditions(Ready="False"), containerStatuses=[container()]),
        30,
        "unknown",
        "NodeUnreachable",
        None,
        "node n1",
    ),
    (
        "not ready by a gate of its own",
        pod(
            conditions=conditions(Ready={"status": "False", "reason": "ReadinessGatesNotReady"}),
            containerStatuses=[container()],
        ),
        30,
        "starting",
        "NotReady",
        None,
        "",
    ),
    (
        "ended beside a sidecar that runs on",
        pod(
            conditions=NOT_READY,
            containerStatuses=[
                {"name": "proxy", "ready": True, "state": {"running": {"startedAt": at(60)}}},
                container(False, terminated={"reason": "Error", "exitCode": 1}),
            ],
        ),
        30,
        "failed",
        "Error",
        Failure.OUTPUT,
        "exit code 1",
    ),
    ("serving", pod(conditions=READY, containerStatuses=[container()]), 30, "running", "Ready", None, ""),
    ("loading", pod(conditions=NOT_READY, containerStatuses=[RUNS]), 1800, "starting", "NotReady", None, ""),
    (
        "loading for too long",
        pod(conditions=NOT_READY, containerStatuses=[RUNS]),
        1801,
        "failed",
        "StartTimeout",
        Failure.TIMEOUT,
        "1801 s",
    ),
    (
        "not ready any more",
        pod(conditions=conditions(Ready={"status": "False", "lastTransitionTime": at(600)}), containerStatuses=[RUNS]),
        9999,
        "starting",
        "NotReady",
        None,
        "",
    ),
    (
        "creating",
        pod("Pending", containerStatuses=waiting("ContainerCreating")),
        30,
        "starting",
        "ContainerCreating",
        None,
        "",
    ),
    (
        "preparing",
        pod("Pending", containerStatuses=waiting("PodInitializing")),
        30,
        "starting",
        "PodInitializing",
        None,
        "",
    ),
    (
        "bound",
        pod("Pending", conditions=conditions(PodScheduled="True")),
        30,
        "starting",
        "ContainerCreating",
        None,
        "",
    ),
]


@pytest.mark.parametrize(
    ("seen", "age", "state", "reason", "failure", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_every_pod_has_a_state_and_a_reason_for_people(
    seen: dict[str, Any], age: float, state: str, reason: str, failure: Failure | None, words: str
) -> None:
    found = state_of(PodLook(seen, START + age, URL, Patience()))
    assert (found.state, found.reason, found.failure) == (InstanceState(state), reason, failure)
    assert words in str(found)
    assert str(found).startswith(reason)


TROUBLE = ["CrashLoopBackOff", "InvalidImageName", "ImagePullBackOff", "CreateContainerConfigError"]


@pytest.mark.parametrize("where", ["initContainerStatuses", "containerStatuses"])
@pytest.mark.parametrize("reason", TROUBLE)
@pytest.mark.parametrize("phase", ["Running", "Pending"])
def test_regression_a_sidecars_trouble_never_fails_a_worker_that_runs(where: str, reason: str, phase: str) -> None:
    """Native sidecars are init containers, plain ones are containers; while one waits for its image, the pod pends."""
    statuses: dict[str, Any] = {"containerStatuses": [RUNS], "initContainerStatuses": []}
    statuses[where] = [*beside("proxy", waiting={"reason": reason}), *statuses[where]]
    readiness = conditions(Ready={"status": "False", "lastTransitionTime": at(7200)})
    shown = pod(phase, conditions=readiness, **statuses)
    found = state_of(PodLook(shown, START + 9999, URL, Patience()))
    assert (found.state, found.failure) == (InstanceState.STARTING, None), found


@pytest.mark.parametrize("reason", TROUBLE)
def test_a_sidecars_trouble_holds_up_the_start_and_is_the_reason_for_people(reason: str) -> None:
    statuses = [*beside("proxy", waiting={"reason": reason, "message": "back-off"}), *waiting("PodInitializing")]
    found = state_of(PodLook(pod("Pending", containerStatuses=statuses), START + 60, None, Patience()))
    assert (found.state, found.reason) == (InstanceState.STARTING, reason)
    assert found.detail == "container proxy holds up the start: back-off"


@pytest.mark.parametrize("where", ["initContainerStatuses", "containerStatuses"])
@pytest.mark.parametrize(("code", "reason"), [(0, "ExitedZero"), (3, "Error")])
def test_regression_a_sidecars_exit_code_is_not_blamed_for_the_workers_end(where: str, code: int, reason: str) -> None:
    own = container(False, terminated={"reason": "Completed" if code == 0 else "Error", "exitCode": code})
    statuses: dict[str, Any] = {"containerStatuses": [own], "initContainerStatuses": []}
    statuses[where] = [*beside("proxy", terminated={"reason": "Error", "exitCode": 143}), *statuses[where]]
    found = state_of(PodLook(pod("Failed", **statuses), START + 60, None, Patience()))
    assert (found.state, found.reason) == (InstanceState.FAILED, reason)
    assert "143" not in str(found)


@pytest.mark.parametrize(("status", "why"), [("True", "EvictionByEvictionAPI: by kubectl drain"), ("False", "")])
def test_regression_a_disruption_that_is_set_and_withdrawn_is_only_told(status: str, why: str) -> None:
    disrupted = {"status": status, "reason": "EvictionByEvictionAPI", "message": "by kubectl drain"}
    found = state_of(PodLook(pod(conditions=[*READY, *conditions(DisruptionTarget=disrupted)]), START, URL, Patience()))
    assert (found.state, found.ends_soon) == (InstanceState.RUNNING, why)


def test_a_ready_pod_without_an_address_is_starting() -> None:
    found = state_of(PodLook(pod(conditions=READY), START + 9999, None, Patience()))
    assert (found.state, found.reason) == (InstanceState.STARTING, "WaitingForURL")


def test_a_ready_pod_whose_worker_needs_no_address_runs() -> None:
    found = state_of(PodLook(pod(conditions=READY), START + 9999, None, Patience(), needs_url=False))
    assert (found.state, found.reason) == (InstanceState.RUNNING, "Ready")


@pytest.mark.parametrize(
    ("age", "is_coming", "state"),
    [
        (121, True, InstanceState.PENDING),
        (1200, True, InstanceState.PENDING),
        (1201, True, InstanceState.FAILED),
        (9999, None, InstanceState.PENDING),
        (121, False, InstanceState.FAILED),
    ],
)
def test_a_pod_is_waited_for_longer_while_its_node_is_being_added(
    age: float, is_coming: bool | None, state: InstanceState
) -> None:
    waits = pod("Pending", node="", conditions=unscheduled())
    assert state_of(PodLook(waits, START + age, None, Patience(), node_is_coming=is_coming)).state is state


@pytest.mark.parametrize(
    ("seen", "age", "needs"),
    [
        (pod("Pending", node="", conditions=unscheduled()), 121, True),
        (pod("Pending", node="", conditions=unscheduled()), 120, False),
        (pod("Pending", node="", conditions=unscheduled("SchedulingGated")), 9999, False),
        (pod("Pending"), 9999, False),
        (pod("Pending", node="", deleted=at(1)), 9999, False),
        (pod("Failed", node=""), 9999, False),
    ],
)
def test_events_are_only_needed_for_who_would_be_given_up(seen: dict[str, Any], age: float, needs: bool) -> None:
    assert needs_events(seen, START + age, Patience()) is needs


def test_a_pod_that_is_being_ended_announces_nothing() -> None:
    assert is_ready(pod(conditions=READY))
    assert not is_ready(pod(conditions=READY, deleted=at(1)))
    assert not is_ready(pod("Failed", conditions=READY))


@pytest.mark.parametrize("text", [None, "", "yesterday", 7])
def test_a_time_that_is_none_is_unknown(text: object) -> None:
    assert parse_time(text) is None
