"""`ebbflow runner` and `ebbflow run-turn`: Prefect's worker with turns that do not start a Python of their own."""

import sys
from typing import Annotated

import typer

from ebbflow.cli.speaking import USAGE, end

POOL = r"[a-z0-9-]+"


def runner(
    pool: Annotated[str, typer.Option(help="The work pool that it asks for runs, as `ebbflow up` has made it.")],
    limit: Annotated[int, typer.Option(help="So many runs at once.", min=1, max=1000)] = 3,
    name: Annotated[str, typer.Option(help="Of the worker, as Prefect shows it.", show_default=False)] = "",
) -> None:
    """Run Prefect's own process worker, and beside it a server that has everything imported and forks for each turn.

    In the place of `prefect worker start`. A deployment goes through the server where its command is
    `ebbflow run-turn ENTRYPOINT`, as `ebbflow up --runner` sets it; every other run is as ever.
    """
    import re

    import anyio

    if not re.fullmatch(POOL, pool):
        end(USAGE, f"--pool is {pool!r}: the name of a work pool would be right")
    from ebbflow.services.runner.runner import run

    words = ["--limit", str(limit), *(["--name", name] if name else [])]
    raise typer.Exit(anyio.run(run, pool, words))


def run_turn(
    entrypoint: Annotated[str, typer.Argument(help="Of a flow, such as ebbflow.flows.autoscale.autoscale.")],
) -> None:
    """Run one turn for a pool's worker: by the runner's turn server, or else by a Python of its own."""
    from ebbflow.services.runner.client import main

    sys.exit(main([entrypoint]))
