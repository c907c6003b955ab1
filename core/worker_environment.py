"""Names of what a worker finds in its environment. Whoever starts one sets them; whoever looks for one reads them."""

import shlex

from ebbflow.core.instance import LaunchRequest

WORKER_ID = "EBBFLOW_WORKER_ID"
"""Ours, compared whole."""

FLEET = "EBBFLOW_FLEET"
"""The fleet's name."""

HOME = "EBBFLOW_HOME"
"""The random word of the installation that launched it."""

PROVIDER = "EBBFLOW_PROVIDER"
"""The fingerprint of its provider, where workers are processes of a host: with the worker id it says whose it is."""

CAPABILITIES = "EBBFLOW_CAPABILITIES"
"""What it can do, where nothing else of the provider's keeps it; words as in `core.capabilities`, with commas."""

ARGUMENTS = "EBBFLOW_ARGUMENTS"
"""What its master needs it to be started with, quoted for a shell: for scripts, and where nothing passes arguments."""


def marks(request: LaunchRequest) -> dict[str, str]:
    """What every worker carries, so that it is found again and known for ours."""
    return {WORKER_ID: request.worker_id, FLEET: request.fleet, HOME: request.home}


def given(request: LaunchRequest) -> dict[str, str]:
    """What every worker is started with: what its master gives it, and its marks, which nothing overrules."""
    arguments = {ARGUMENTS: shlex.join(request.join.arguments)} if request.join.arguments else {}
    return {**arguments, **request.join.environment, **marks(request)}
