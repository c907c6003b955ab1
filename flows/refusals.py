"""How a run ends that is refused: as Failed, by the name Refused, with a sentence for a person and no traceback."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from prefect.client.schemas.objects import State
from prefect.states import Failed

from ebbflow.core.errors import ConfigError, FleetError, OverrideRefused

Given = ParamSpec("Given")


def refuses(body: Callable[Given, Awaitable[State]]) -> Callable[Given, Coroutine[Any, Any, State]]:
    """Let a flow's body end in words where it raises an error of ours; any other error is a mistake, and goes on.

    Any: what Python says of coroutines, which Prefect wants to see.
    """

    @wraps(body)
    async def told(*args: Given.args, **given: Given.kwargs) -> State:
        try:
            return await body(*args, **given)
        except (ConfigError, OverrideRefused) as error:
            return Failed(name="Refused", message=str(error))
        except FleetError as error:
            return Failed(message=str(error))

    return told
