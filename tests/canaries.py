"""A word that nobody would say by chance, in every secret field of every block of ours."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from prefect.blocks.core import Block
from pydantic import Secret, SecretBytes, SecretStr

import ebbflow.blocks
from ebbflow.blocks import (
    ApiSessions,
    GatewayMaster,
    KubernetesProvider,
    LaunchScriptProvider,
    LocalProvider,
    RayMaster,
    ScalerMaster,
    SlurmProvider,
    SwarmUIMaster,
    VastProvider,
)

MARK = "c4nary"
"""In each of them."""

BLOCKS: tuple[type[Block], ...] = tuple(getattr(ebbflow.blocks, name) for name in ebbflow.blocks.__all__)


def canary(field: str, kind: str = "") -> str:
    """The word of one secret field."""
    return f"{MARK}-{field.replace('_', '-')}{kind}-7f3e91"


def secret_fields(block: type[Block]) -> frozenset[str]:
    """The fields of a block that hold secrets, in whatever shape."""
    return frozenset(name for name, field in block.model_fields.items() if _is_secret(field.annotation))


def _is_secret(annotation: object) -> bool:
    kinds = (SecretStr, SecretBytes, Secret)
    return (isinstance(annotation, type) and issubclass(annotation, kinds)) or any(
        _is_secret(part) for part in get_args(annotation)
    )


def kubeconfig(server: str) -> dict[str, Any]:
    """One that logs in by a token."""
    return {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "gpu"}}],
        "users": [{"name": "u", "user": {"token": canary("kubeconfig")}}],
    }


_ENVIRONMENT = {"secret_environment": {"SITE_WORD": canary("secret_environment")}}

SECRETS: Mapping[type[Block], Mapping[str, Any]] = {
    ApiSessions: {"sessions": canary("sessions")},
    GatewayMaster: {
        "operator_key": canary("operator_key", "-of-the-gateway"),
        "worker_secret": canary("worker_secret", "-of-the-gateway"),
    },
    KubernetesProvider: {"kubeconfig": kubeconfig("http://127.0.0.1:1")},
    LaunchScriptProvider: _ENVIRONMENT,
    LocalProvider: _ENVIRONMENT,
    RayMaster: {"token": canary("token", "-ray")},
    ScalerMaster: {},
    SlurmProvider: _ENVIRONMENT,
    SwarmUIMaster: {
        "token": canary("token"),
        "worker_token": canary("worker_token"),
        "authorization_header": f"Bearer {canary('authorization_header')}",
        "other_headers": {"X-Site": canary("other_headers")},
    },
    VastProvider: {
        "api_key": canary("api_key"),
        "image_login": f"-u carol -p {canary('image_login')} registry.example",
        **_ENVIRONMENT,
    },
}
"""Values of every secret field."""

_POD = {"spec": {"containers": [{"name": "worker", "image": "swarmui"}]}}
NEEDED: Mapping[type[Block], Mapping[str, Any]] = {
    ApiSessions: {},
    GatewayMaster: {"address": "http://127.0.0.1:7870", "endpoint": "llama"},
    KubernetesProvider: {"pod_template": _POD},
    LaunchScriptProvider: {"script": "/opt/launch.sh", "state_folder": "/var/lib/ebbflow"},
    LocalProvider: {"command": ["true"], "state_folder": "/var/lib/ebbflow"},
    RayMaster: {"address": "http://127.0.0.1:8265", "join_address": "127.0.0.1:6379"},
    ScalerMaster: {
        "scheduler": "tcp://127.0.0.1:2345",
        "object_storage": "tcp://127.0.0.1:2346",
        "python": "/opt/scaler/bin/python",
    },
    SlurmProvider: {"command": ["/opt/worker.sh"]},
    SwarmUIMaster: {"address": "http://127.0.0.1:7801"},
    VastProvider: {"image": "swarmui", "gpu_names": ["RTX 4090"]},
}
"""What they must have besides."""


def block_with_canaries(block: type[Block], **fields: Any) -> Block:
    """One that can be saved."""
    return block.model_validate({**NEEDED[block], **SECRETS[block], **fields})


def found_in(text: str) -> Iterator[str]:
    """Where the mark stands, with a little of what is around it."""
    start = 0
    while (at := text.find(MARK, start)) >= 0:
        yield text[max(0, at - 80) : at + 40]
        start = at + len(MARK)
