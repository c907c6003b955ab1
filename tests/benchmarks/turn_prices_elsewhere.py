"""The price of a forked turn on other servers: one that keeps all in PostgreSQL, and one that stores no events.

python -m tests.benchmarks.turn_prices_elsewhere postgres (or no-events): a process of its own, since Prefect reads its
settings once.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.databases import postgres_url
from tests.benchmarks.world import World, world

NO_EVENTS = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false"}
WHERE = ("postgres", "no-events")


def main(where: str) -> None:
    """Measure, or say what is missing."""
    with _world(where) as running:
        if running is None:
            return
        # Only now: Prefect reads the environment that the world has set when it is imported.
        from tests.benchmarks import turn_prices

        asyncio.run(turn_prices.measure(running, forked_only=True))


@contextmanager
def _world(where: str) -> Iterator[World | None]:
    if where == "no-events":
        with world(more=NO_EVENTS) as running:
            yield running
        return
    with postgres_url() as url:
        if not url:
            yield None
            return
        with world(database_url=url) as running:
            yield running


if __name__ == "__main__":
    main(sys.argv[1])
