"""Polls for the fleets of one work pool as long as its runner lives; the turn server runs it as it runs turns.

It may be killed at any time, and several may poll for the same fleets: no turn comes twice for it.
"""

import os

import anyio
from prefect.client.orchestration import get_client
from prefect.logging import get_logger
from prefect.settings import get_current_settings

from ebbflow.flows.polling import QueuePoller
from ebbflow.services.runner.line import POOL, RUNNER


async def poll(pool: str, runner: int) -> None:
    """Poll for the fleets of a work pool, and end within a minute after the runner.

    Args:
        pool: its name.
        runner: the process without which nobody polls.
    """
    async with get_client() as client:
        poller = QueuePoller(client, pool, get_logger("ebbflow"))
        while _is_there(runner):
            await poller.round()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> int:
    """Poll until SIGTERM or SIGINT, or until the runner is gone; not at all where no Prefect server is named."""
    # Prefect would start a server of its own for this process, and keep it.
    if not get_current_settings().api.url:
        print("nobody polls between turns: no Prefect server is named (PREFECT_API_URL)", flush=True)
        return 0
    try:
        anyio.run(poll, os.environ[POOL], int(os.environ[RUNNER]))
    except KeyboardInterrupt:
        print("the poller was interrupted", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
