"""Fields that every provider's settings have, as a form shows them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError

UsdPerHour = Annotated[
    float | None,
    Field(title="USD per hour", description="What one worker costs, if it shall be counted.", ge=0, le=10_000),
]


def _check_capabilities(words: list[str]) -> list[str]:
    try:
        amounts(words)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return words


Capabilities = Annotated[
    list[str],
    AfterValidator(_check_capabilities),
    Field(
        title="Capabilities",
        description="What workers started here can do: names, or name=amount, such as a100 or gpu=4.",
    ),
]
