"""What an API server's refusal means for a launch or a termination. Pure.

One code has several meanings, so its `reason` and message are read as well: 409 is four things, 403 at least three.
Source: kubernetes/kubernetes, pkg/registry/core/pod and plugin/pkg/admission, by their messages.
"""

from ebbflow.adapters.providers.kubernetes.client import KubernetesAnswer
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    FleetError,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)

BEING_DELETED = "object is being deleted"
QUOTA_FULL = "exceeded quota"
NAMESPACE_ENDS = "because it is being terminated"


def is_taken(answer: KubernetesAnswer) -> bool:
    """Whether the name of a pod that was to be created exists, as a pod that is not being ended."""
    return answer.status == 409 and answer.reason == "AlreadyExists" and not is_used_up(answer)


def is_used_up(answer: KubernetesAnswer) -> bool:
    """Whether the name belongs to a pod that is being ended."""
    return answer.status == 409 and BEING_DELETED in answer.message


def is_beaten(answer: KubernetesAnswer) -> bool:
    """Whether somebody else changed what it had to change as well, such as a quota's count: nothing was done."""
    return answer.status == 409 and answer.reason == "Conflict" and not is_used_up(answer)


def is_in_doubt(answer: KubernetesAnswer) -> bool:
    """Whether the server may have done it, or may do it yet, in spite of its answer."""
    return answer.status == 429 or answer.status >= 500


def launch_error(answer: KubernetesAnswer, tried: str) -> FleetError:
    """Why a pod was not created, for answers that leave no doubt."""
    said = f"{tried}: {answer.message}"
    match answer.status:
        case 401:
            return ConfigError(f"{said}; the login is refused, renew the block's kubeconfig")
        case 404:
            return ConfigError(f"{said}; create the namespace, or correct the block's")
        case 403 if QUOTA_FULL in answer.message:
            return CapacityUnavailable(said)
        case 403 if NAMESPACE_ENDS in answer.message:
            return ConfigError(said)
        case 409 if is_beaten(answer):
            return ProviderUnavailable(said)
        case 409:
            return LaunchRejected(f"{said}; a worker id is never used again")
        case 429:
            return ProviderUnavailable(f"{said}{retry_words(answer)}")
        case status if status >= 500:
            return ProviderUnavailable(said)
    return LaunchRejected(said)


def termination_error(answer: KubernetesAnswer, tried: str) -> FleetError:
    """Why a pod was not ended, for answers that do not mean that it is gone."""
    said = f"{tried}: {answer.message}"
    if is_in_doubt(answer):
        return ProviderUnavailable(f"{said}{retry_words(answer)}")
    if answer.status == 401:
        return ConfigError(f"{said}; the login is refused, renew the block's kubeconfig")
    return TerminationRefused(said)


def retry_words(answer: KubernetesAnswer) -> str:
    """What the server asks for, where it says so."""
    wait = answer.retry_after_seconds
    return "" if wait is None else f"; it asks to wait for {wait:g} s"
