"""A stand-in Vast market for tests, and providers that rent there."""

import asyncio
import contextlib
import shlex
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebbflow.adapters.providers.vast.adapter import VastAdapter
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.core.instance import LaunchRequest
from ebbflow.standins.http import serve
from ebbflow.standins.vast.server import KEY, Offer, Program, VastApi, add_controls, some_offers

ANNOUNCES = """\
echo "[SwarmAutoScaleBackend]NewURL: http://127.0.0.1:$VAST_TCP_PORT_7801[/SwarmAutoScaleBackend]"
exec sleep 600
"""
"""What an instance runs that says where it is, and stays."""


class Pace:
    """A clock that moves when somebody waits by it, so that rates cost no time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Market:
    """One account of a served market."""

    api: VastApi
    url: str
    settings: dict[str, Any] = field(default_factory=dict)
    opened: list[VastAdapter] = field(default_factory=list)

    def provider(self, *, pace: Pace | None = None, **settings: Any) -> VastAdapter:
        """A new adapter, as a later flow run has it."""
        plain: dict[str, Any] = {
            "api_key": KEY,
            "address": self.url,
            "image": "worker",
            "disk_gb": 20,
            "gpu_names": ["RTX 4090"],
            "onstart": ANNOUNCES,
            **self.settings,
            **settings,
        }
        pace = pace or Pace()
        read = VastSettings.model_validate(plain)
        provider = VastAdapter(read, clock=self.api.now, monotonic=pace, sleep=pace.sleep)
        self.opened.append(provider)
        return provider

    def labels(self) -> list[str | None]:
        """Of every instance that the account holds."""
        return [instance.label for instance in self.api.instances.values()]

    async def until(self, instance_id: str, status: str) -> None:
        """Wait until an instance shows a status."""
        deadline = time.monotonic() + 10
        while (shown := self.api.row(int(instance_id))["actual_status"]) != status:
            assert time.monotonic() < deadline, f"{instance_id} is {shown}, not {status}"
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def market(
    offers: Sequence[Offer] | None = None, *, folder: Path | None = None, **settings: Any
) -> AsyncIterator[Market]:
    """Serve a market of this many machines."""
    program = Program(stop_grace_seconds=1.0, environment={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"})
    api = VastApi(list(offers) if offers is not None else some_offers(6), program=program, folder=folder)
    async with serve(add_controls(api)) as url:
        opened = Market(api, url, settings)
        yield opened
        for provider in opened.opened:
            await provider.aclose()


def request(index: int = 0, *, fleet: str = "sdxl", home: str = "homea", **more: Any) -> LaunchRequest:
    """A launch as a turn would ask for it."""
    return LaunchRequest(f"{fleet}-3f9c-1a-{index}", fleet, home, **more)


def shell(*words: str) -> str:
    """A start script that becomes a program."""
    return f"exec {shlex.join(words)}"
