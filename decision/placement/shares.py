"""What of a fleet each provider may hold, as placement sees it, and the rules by which it chooses among them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.memory import ProviderMemory
from ebbflow.core.plan import Reason
from ebbflow.decision.limits import Limits

BlockReference = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]*/[a-zA-Z0-9][a-zA-Z0-9 _.-]*$",
        description="A saved block, as `type-slug/name`, for instance `local-provider/demo`.",
    ),
]


class ProviderEntry(BaseModel):
    """One provider of a fleet. The order of the list is the order of preference."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    block: BlockReference
    max_workers: Annotated[int, Field(ge=0, le=10_000, description="Never more here, in whatever state.")] = 10
    max_usd_per_hour: Annotated[
        float | None, Field(ge=0, description="The most that one worker may cost here; empty: no cap.")
    ] = None
    warm_workers: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Up to so many that would go are stopped and kept for a quick start; their storage costs.",
        ),
    ] = 0
    base_workers: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="So many are launched here before any other provider is asked, and kept while they are wanted.",
        ),
    ] = 0


class PlacementRules(BaseModel):
    """How launches and stops are spread over the fleet's providers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    order: Annotated[
        Literal["listed", "price"],
        Field(description="listed: the first provider with room. price: the cheapest one; unknown prices come last."),
    ] = "listed"
    drain: Annotated[
        Literal["idle_first", "tier_by_tier"],
        Field(
            description="idle_first: any idle worker, those of later providers before. tier_by_tier: a provider gives "
            "up nobody while a later one still has a worker."
        ),
    ] = "idle_first"
    backoff_factor: Annotated[
        float,
        Field(ge=1, le=10, description="A provider's rest after failures in a row grows by this; 1: it does not."),
    ] = 2.0
    max_rest_seconds: Annotated[
        float, Field(ge=0, le=86_400, description="It never grows beyond this; limits.min_seconds_after_failure holds.")
    ] = 3600.0
    return_below_ratio: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="An idle worker is replaced by one that costs at most this share of its price, one at a time; "
            "empty: workers stay where they are.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class ProviderShare:
    """One provider as placement sees it: its place in the order, its caps, and how it did lately."""

    provider: str
    max_workers: int
    caps: ProviderCaps
    complete: bool = True
    """Its listing was whole and lost no more than half of the fleet at once."""
    detail: str = ""
    """Why not."""
    max_usd_per_hour: float | None = None
    warm_workers: int = 0
    """How many stopped instances it keeps for a quick start."""
    base_workers: int = 0
    """So many are launched here before any other provider is asked, and kept: the base beside elastic or spot ones."""
    seconds_since_failure: float | None = None
    failures: int = 0
    """In a row, without a worker becoming ready in between."""
    failure: str = ""

    def rest_seconds(self, limits: Limits, rules: "PlacementRules") -> float:
        """How long it rests after its last failure: longer with each one in a row, as where its stock is out."""
        grown = limits.min_seconds_after_failure * rules.backoff_factor ** max(0, self.failures - 1)
        return max(limits.min_seconds_after_failure, min(grown, rules.max_rest_seconds))

    def rests(self, limits: Limits, rules: "PlacementRules") -> bool:
        """Whether nothing is launched there now, because something failed."""
        since = self.seconds_since_failure
        return since is not None and since < self.rest_seconds(limits, rules)

    @property
    def price(self) -> float | None:
        """What a launch there costs; where the provider takes a cap, the lowest of the caps."""
        if not self.caps.takes_price_cap:
            return self.caps.usd_per_hour
        caps = [cap for cap in (self.caps.usd_per_hour, self.max_usd_per_hour) if cap is not None]
        return min(caps, default=None)


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch, placed."""

    provider: str
    reason: str
    usd_per_hour: float | None = None
    """What it costs; where the provider takes a cap, the most that it may."""
    instance_id: str = ""
    """The warm instance that it starts; empty: a new one."""
    capabilities: tuple[str, ...] = ()
    """What its provider says that it will be able to do."""


@dataclass(frozen=True, slots=True)
class Victim:
    """One worker that goes, and why this one."""

    worker_id: str
    reason: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Where launches go and who leaves."""

    launches: tuple[Launch, ...] = ()
    victims: tuple[Victim, ...] = ()
    reasons: tuple[Reason, ...] = ()


def share_of(
    entry: ProviderEntry, caps: ProviderCaps, known: ProviderMemory, *, complete: bool = True, detail: str = ""
) -> ProviderShare:
    """One provider now: what the fleet says of it, what it can do, and how it did lately.

    Args:
        entry: of the fleet.
        caps: the adapter's.
        known: what is remembered of it.
        complete: whether its listing can be believed.
        detail: why not.
    """
    return ProviderShare(
        provider=entry.block,
        max_workers=entry.max_workers,
        caps=caps,
        complete=complete,
        detail=detail,
        max_usd_per_hour=entry.max_usd_per_hour,
        warm_workers=entry.warm_workers,
        base_workers=entry.base_workers,
        failures=known.failures,
        seconds_since_failure=known.seconds_since_failure,
        failure=known.detail,
    )
