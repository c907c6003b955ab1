"""The load: recorded arrivals, thinned and time-compressed, posted to the master as users of SwarmUI would."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from ebbflow.demo.blocks import SECONDS_PER_STEP
from ebbflow.simulation.trace import Arrival, compress, load_trace, stretch, thin

BEGIN_SECONDS = 600.0
"""Where in the recording the stretch begins."""
COMPRESSION = 4.0
KEEP_ONE_IN = 12
"""The recording is about 38 workers of load, so a twelfth of it is about three."""
ANSWER_SECONDS = 180.0
"""A request that is not answered by then is lost."""


@dataclass(slots=True)
class Tally:
    """What the load generator itself saw."""

    sent: int = 0
    served: int = 0
    losses: list[str] = field(default_factory=list)
    """What the master answered to each request that got no image."""
    wait_seconds: list[float] = field(default_factory=list)
    """Of each served request: from sending it to its answer, less its own service."""


def arrivals_for(seconds: float) -> tuple[Arrival, ...]:
    """The stretch of the recording that fills this many seconds of the demo."""
    recorded = stretch(load_trace(), begin_seconds=BEGIN_SECONDS, seconds=seconds * COMPRESSION)
    return compress(thin(recorded, KEEP_ONE_IN), COMPRESSION)


async def replay(master_url: str, arrivals: Sequence[Arrival], tally: Tally) -> None:
    """Send each request when its time has come, and wait for all answers. A loss is counted, not raised."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(base_url=master_url, timeout=ANSWER_SECONDS, limits=limits, trust_env=False) as client:
        session = (await client.post("/API/GetNewSession", json={})).json()["session_id"]
        begin = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for arrival in arrivals:
                await asyncio.sleep(max(0.0, begin + arrival.at_seconds - time.monotonic()))
                tally.sent += 1
                requests.create_task(_generate(client, session, arrival, tally))


async def _generate(client: httpx.AsyncClient, session: str, arrival: Arrival, tally: Tally) -> None:
    steps = max(1, round(arrival.service_seconds / SECONDS_PER_STEP))
    sent_at = time.monotonic()
    try:
        response = await client.post(
            "/API/GenerateText2Image", json={"session_id": session, "images": 1, "steps": steps, "prompt": "a demo"}
        )
        answer = response.json()
    except (httpx.HTTPError, ValueError) as error:
        tally.losses.append(f"{type(error).__name__}: {error}")
        return
    if not isinstance(answer, dict) or not answer.get("images"):
        tally.losses.append(str(answer.get("error", answer) if isinstance(answer, dict) else answer)[:200])
        return
    tally.served += 1
    tally.wait_seconds.append(max(0.0, time.monotonic() - sent_at - steps * SECONDS_PER_STEP))
