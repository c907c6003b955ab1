"""`ebbflow hypha`: functions at a Hypha server by which people outside use a Ray cluster."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ebbflow.cli.speaking import REFUSED, end, run, say


def hypha(
    file: Annotated[Path, typer.Argument(help="What is served, and to whom.")] = Path("hypha.yaml"),
) -> None:
    """Let people outside submit work to a Ray cluster through a Hypha server, until Ctrl-C.

    Reads EBBFLOW_HYPHA_TOKEN (unless the file names a token_file) and RAY_AUTH_TOKEN from its environment, and
    PREFECT_API_KEY or PREFECT_API_AUTH_STRING where the fleet's Prefect server asks for one.
    """
    from ebbflow.core.errors import FleetError
    from ebbflow.services.hypha.settings import HYPHA_TOKEN, RAY_TOKEN, prefect_authorization, read_settings, secret_of

    try:
        settings = read_settings(file)
        hypha_token, ray_token = (secret_of(os.environ, name) for name in (HYPHA_TOKEN, RAY_TOKEN))
        prefect = prefect_authorization(os.environ)
        if hypha_token is None and settings.token_file is None:
            end(REFUSED, f"{HYPHA_TOKEN} is not set, and {file} names no token_file: get a token at {settings.hypha}")
    except FleetError as error:
        end(REFUSED, str(error))
    try:
        from ebbflow.services.hypha.service import serve
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        end(REFUSED, f"{package} is not installed here: pip install 'ebbflow[hypha]'")
    say(f"serves the Ray head at {settings.ray}; state in {settings.state_folder}")
    run(lambda: serve(settings, hypha_token=hypha_token, ray_token=ray_token, prefect_authorization=prefect, say=say))
