"""A fleet at a real scheduler of opengris-scaler: its blocks, and what its workers of this host are."""

from typing import Any

from ebbflow.blocks import LocalProvider, ScalerMaster
from tests.e2e.moved_fleet import MovedFleet
from tests.e2e.world import NOTED_START
from tests.scaler.scheduler import RealScheduler


def master_at(scheduler: RealScheduler, **settings: Any) -> ScalerMaster:
    """The block of a scheduler. Slow hosts take seconds to start a Python."""
    return ScalerMaster.model_validate({**scheduler.settings, "call_timeout_seconds": 8, **settings})


def local_provider(scheduler: RealScheduler, fleet: MovedFleet, *capabilities: str) -> LocalProvider:
    """Workers of one kind: the vendor's own command, as a process of this host."""
    name = "-".join(("state", *capabilities))
    return LocalProvider.model_validate(
        {
            "command": ["/bin/sh", "-c", NOTED_START, str(fleet.starts), *scheduler.worker_command],
            "state_folder": fleet.folder / name,
            "environment": {"HOME": str(fleet.folder)},
            "capabilities": capabilities,
        }
    )
