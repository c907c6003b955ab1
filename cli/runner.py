"""`ebbflow runner` and `ebbflow run-turn`: Prefect's worker with turns that do not start a Python of their own."""

import sys
from typing import Annotated

import typer

from ebbflow.cli.speaking import USAGE, end, run, warn

POOL = r"[a-z0-9-]+"
LOOK_SECONDS = 15.0
"""For a process that imports Prefect, and one question; then the worker starts as if all were well."""


def runner(
    pool: Annotated[str, typer.Option(help="The work pool that it asks for runs, as `ebbflow up` has made it.")],
    limit: Annotated[int, typer.Option(help="So many runs at once.", min=1, max=1000)] = 3,
    name: Annotated[str, typer.Option(help="Of the worker, as Prefect shows it.", show_default=False)] = "",
) -> None:
    """Run Prefect's own process worker, and beside it a server that has everything imported and forks for each turn.

    It polls the queues of fleets that have `poll_interval_seconds` too, between their turns.

    In the place of `prefect worker start`. A deployment goes through the server where its command is
    `ebbflow run-turn ENTRYPOINT`, as `ebbflow up --runner` sets it; every other run is as ever.
    """
    import re

    import anyio

    if not re.fullmatch(POOL, pool):
        end(USAGE, f"--pool is {pool!r}: the name of a work pool would be right")
    from ebbflow.services.runner import runner as services

    if said := run(lambda: _missing_pool(pool)):
        warn(said)
    words = ["--limit", str(limit), *(["--name", name] if name else [])]
    raise typer.Exit(anyio.run(services.run, pool, words))


async def _missing_pool(pool: str) -> str:
    """That the server has no such pool yet; empty: it has, or does not say.

    Prefect's worker makes one without a word. A misspelt one would be asked for runs for ever.
    """
    import anyio
    from anyio import to_process

    there = None
    with anyio.move_on_after(LOOK_SECONDS):
        # In a process of its own: this one lives for weeks, and keeps itself free of Prefect.
        there = await to_process.run_sync(_other_pools, pool, cancellable=True)
    if there is None:
        return ""
    return (
        f"there is no work pool {pool!r} on this server yet, which has {', '.join(there) or 'none at all'}: "
        "`ebbflow up` makes the pool of a fleet; Prefect's worker now makes an empty one"
    )


def _other_pools(pool: str) -> list[str] | None:
    """The pools of the server that Prefect's settings name; None: this one is among them, or the server is mute."""
    import asyncio

    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException
    from prefect.settings import get_current_settings

    from ebbflow.flows.standings import pool_of

    async def ask() -> list[str] | None:
        async with get_client() as client:
            if await pool_of(client, pool) is not None:
                return None
            return sorted(each.name for each in await client.read_work_pools())

    # Where none is named Prefect would start one of its own for this question.
    if not get_current_settings().api.url:
        return None
    try:
        return asyncio.run(ask())
    except (OSError, httpx.HTTPError, PrefectException):
        # Prefect's worker says what it thinks of that server, and waits for it.
        return None


def run_turn(
    entrypoint: Annotated[str, typer.Argument(help="Of a flow, such as ebbflow.flows.autoscale.autoscale.")],
) -> None:
    """Run one turn for a pool's worker: by the runner's turn server, or else by a Python of its own."""
    from ebbflow.services.runner.client import main

    sys.exit(main([entrypoint]))
