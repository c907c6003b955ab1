"""Polls for the fleets of one work pool as long as its runner lives; the turn server runs it as it runs turns.

It may be killed at any time, and several may poll for the same fleets: no turn comes twice for it.
"""

import os
from typing import NoReturn

import anyio
from prefect.client.orchestration import get_client
from prefect.logging import get_logger

from ebbflow.flows.polling import QueuePoller
from ebbflow.services.runner.line import POOL


async def poll(pool: str) -> NoReturn:
    """Poll for the fleets of a work pool, for ever."""
    async with get_client() as client:
        poller = QueuePoller(client, pool, get_logger("ebbflow"))
        while True:
            await poller.round()


def main() -> int:
    """Poll until SIGTERM or SIGINT."""
    try:
        anyio.run(poll, os.environ[POOL])
    except KeyboardInterrupt:
        return 0
    raise AssertionError("it polls for ever")


if __name__ == "__main__":
    raise SystemExit(main())
