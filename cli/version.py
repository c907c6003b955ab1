"""`ebbflow version`: what runs here, and what answers there."""

from typing import Annotated

import typer

from ebbflow.cli.speaking import answer, run, say


def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the versions of ebbflow, of Prefect here, and of the Prefect server."""
    found = run(_versions)
    if as_json:
        answer(dict(found))
        return
    for name, number in found.items():
        say(f"{name:15} {number if number is not None else 'does not answer'}")


async def _versions() -> dict[str, str | None]:
    from importlib.metadata import version as installed

    from ebbflow.flows.serving import server_version

    return {
        "ebbflow": installed("ebbflow"),
        "prefect": installed("prefect"),
        "prefect_server": await server_version(),
    }
