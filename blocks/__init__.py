"""Prefect blocks: saved, typed configuration that builds adapters, and the way from a fleet's names to them.

Prefect imports this module through the `prefect.collections` entry point; every block of ours is registered by it.
"""

from ebbflow.blocks.masters import GatewayMaster, RayMaster, ScalerMaster, SwarmUIMaster
from ebbflow.blocks.providers import (
    KubernetesProvider,
    LaunchScriptProvider,
    LocalProvider,
    SlurmProvider,
    VastProvider,
)
from ebbflow.blocks.sessions import ApiSessions

__all__ = [
    "ApiSessions",
    "GatewayMaster",
    "KubernetesProvider",
    "LaunchScriptProvider",
    "LocalProvider",
    "RayMaster",
    "ScalerMaster",
    "SlurmProvider",
    "SwarmUIMaster",
    "VastProvider",
]
