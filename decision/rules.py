"""What a fleet says about how to decide. The fleet itself, which people write, is `ebbflow.fleet.model.Fleet`."""

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.ports import Policy
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import PlacementRules, ProviderEntry
from ebbflow.decision.schedule import Schedule


class Readiness(BaseModel):
    """How long a launched worker is waited for."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    connect_timeout_seconds: Annotated[float, Field(gt=0, le=300, description="For one attempt to reach a worker.")] = (
        30.0
    )
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=240,
            description="Attempts to reach a worker that announced itself, after the first; a launch script's "
            "DoRetries goes before. When all have failed it is torn down.",
        ),
    ] = 1
    retry_wait_seconds: Annotated[
        float,
        Field(gt=0, le=300, description="Between two attempts; the rest of them is the next turn's."),
    ] = 5.0
    launch_timeout_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="From the wish to serving; after it the worker is torn down.")
    ] = 1800.0


class Drain(BaseModel):
    """How a worker leaves."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    deadline_seconds: Annotated[
        float, Field(ge=0, le=86_400, description="Still busy after this long: back into service, unless forced.")
    ] = 900.0
    force: Annotated[bool, Field(description="End it at the deadline even while it works.")] = False


class Rules(Protocol):
    """What a decision reads of a fleet."""

    @property
    def interval_seconds(self) -> float:
        """Between two turns."""
        ...

    @property
    def policy(self) -> Policy:
        """How many workers there should be."""
        ...

    @property
    def providers(self) -> tuple[ProviderEntry, ...]:
        """In order of preference."""
        ...

    @property
    def limits(self) -> Limits:
        """What no policy and no person may exceed."""
        ...

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Floors by the clock."""
        ...

    @property
    def placement(self) -> PlacementRules:
        """How launches and stops are spread over the providers."""
        ...

    @property
    def readiness(self) -> Readiness:
        """How long a launched worker is waited for."""
        ...

    @property
    def drain(self) -> Drain:
        """How a worker leaves."""
        ...
