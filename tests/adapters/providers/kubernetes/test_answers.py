"""What a refusal of an API server means: one code has several meanings, told apart by its reason and its message."""

import json

import pytest

from ebbflow.adapters.providers.kubernetes.answers import launch_error
from ebbflow.adapters.providers.kubernetes.client import KubernetesAnswer
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    FleetError,
    LaunchRejected,
    ProviderUnavailable,
)


def answer(status: int, reason: str, message: str) -> KubernetesAnswer:
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
    return KubernetesAnswer(status, json.dumps(body).encode(), at=0.0)


@pytest.mark.parametrize(
    ("status", "reason", "message", "means"),
    [
        pytest.param(
            409,
            "Conflict",
            'Operation cannot be fulfilled on resourcequotas "gpus": the object has been modified; please apply your '
            "changes to the latest version and try again",
            ProviderUnavailable,
            id="regression: a quota that somebody changed at the same moment rejects no launch",
        ),
        pytest.param(409, "AlreadyExists", 'pods "w" already exists', LaunchRejected, id="the name is taken"),
        pytest.param(
            409,
            "AlreadyExists",
            'object is being deleted: pods "w" already exists',
            LaunchRejected,
            id="the name is used up",
        ),
        pytest.param(
            403, "Forbidden", "exceeded quota: gpus, requested: 1", CapacityUnavailable, id="the quota is full"
        ),
        pytest.param(
            403,
            "Forbidden",
            "unable to create new content in namespace w because it is being terminated",
            ConfigError,
            id="the namespace ends",
        ),
        pytest.param(403, "Forbidden", "pods is forbidden", LaunchRejected, id="our rights forbid it"),
        pytest.param(401, "Unauthorized", "Unauthorized", ConfigError, id="the login is refused"),
        pytest.param(429, "TooManyRequests", "too many", ProviderUnavailable, id="it is asked too often"),
        pytest.param(503, "ServiceUnavailable", "apiserver", ProviderUnavailable, id="it is not there"),
    ],
)
def test_what_a_refused_creation_means(status: int, reason: str, message: str, means: type[FleetError]) -> None:
    error = launch_error(answer(status, reason, message), "the provider could not launch w")
    assert type(error) is means
    assert message in str(error)
