"""Fields that every provider's settings have, as a form shows them."""

from typing import Annotated

from pydantic import Field

UsdPerHour = Annotated[
    float | None,
    Field(title="USD per hour", description="What one worker costs, if it shall be counted.", ge=0, le=10_000),
]

Capabilities = Annotated[
    list[str],
    Field(title="Capabilities", description="What workers started here can do, where a launch names nothing else."),
]
