"""The price of a forked turn where the Prefect server keeps all in PostgreSQL.

python -m tests.benchmarks.turn_prices_postgres: a process of its own, since Prefect reads its settings once.
"""

import asyncio

from tests.benchmarks.databases import postgres_url
from tests.benchmarks.world import world


def main() -> None:
    """Measure, or say what is missing."""
    with postgres_url() as url:
        if not url:
            return
        with world(database_url=url) as running:
            # Only now: Prefect reads the environment that the world has set when it is imported.
            from tests.benchmarks import turn_prices

            asyncio.run(turn_prices.measure(running))


if __name__ == "__main__":
    main()
