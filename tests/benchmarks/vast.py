"""Twenty launches at Vast under its rate limits, against the least time that those allow."""

import asyncio
import time
from pathlib import Path

from ebbflow.adapters.providers.vast.adapter import VastAdapter
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.core.instance import LaunchRequest
from ebbflow.standins.http import serve
from ebbflow.standins.vast.limits import RATES
from ebbflow.standins.vast.server import KEY, VastApi, some_offers
from tests.benchmarks.world import tell

LAUNCHES = 20


async def measure(folder: Path) -> None:
    """Print the ratio, and what was asked for it. Takes as long as the limits say, about a minute and a half."""
    api = VastApi(some_offers(LAUNCHES), folder=folder)
    api.limits.are_on = True
    tell(f"Vast: {LAUNCHES} launches, one per {RATES['create'].seconds:g} s at most")
    async with serve(api) as url:
        plain = {"api_key": KEY, "address": url, "image": "worker", "gpu_names": ["RTX 4090"], "disk_gb": 20}
        provider = VastAdapter(VastSettings.model_validate({**plain, "call_timeout_seconds": 120}))
        began = time.perf_counter()
        requests = (LaunchRequest(f"bench-3f9c-1-{index}", "bench", "homea") for index in range(LAUNCHES))
        launched = await asyncio.gather(*(provider.launch(request) for request in requests))
        took = time.perf_counter() - began
        await provider.aclose()
    refused = sum(each.status == 429 for each in api.log)
    assert len({instance.instance_id for instance in launched}) == len(api.instances or launched) == LAUNCHES
    floor = (LAUNCHES - 1) * RATES["create"].seconds
    tell(f"{LAUNCHES} launches at Vast against the floor of its rate limits: {took / floor:.2f}x, {refused} refused")
