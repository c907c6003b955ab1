"""Where virtual workers are launched: boots, failures, preemption, prices and stock, and the luck of each launch."""

import math
import random
from dataclasses import dataclass, field, replace
from functools import cached_property

from ebbflow.core.member import IdleSource, MasterCaps


@dataclass(frozen=True, slots=True)
class BootTimes:
    """Lognormal, cut to a range."""

    median_seconds: float
    sigma: float
    least_seconds: float
    most_seconds: float

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        if not 0 <= self.least_seconds <= self.median_seconds <= self.most_seconds or self.sigma < 0:
            raise ValueError(f"{self}: the median must lie in the range, and sigma must not be negative")

    def draw(self, luck: random.Random) -> float:
        """One boot."""
        drawn = self.median_seconds * math.exp(self.sigma * luck.gauss(0.0, 1.0))
        return min(self.most_seconds, max(self.least_seconds, drawn))

    @property
    def mean_seconds(self) -> float:
        """Of the cut distribution, by the midpoints of its quantiles."""
        normal = _normal_midpoints(4000)
        drawn = (self.median_seconds * math.exp(self.sigma * value) for value in normal)
        cut = (min(self.most_seconds, max(self.least_seconds, seconds)) for seconds in drawn)
        return math.fsum(cut) / len(normal)


def _normal_midpoints(count: int) -> list[float]:
    from statistics import NormalDist

    normal = NormalDist()
    return [normal.inv_cdf((place + 0.5) / count) for place in range(count)]


@dataclass(frozen=True, slots=True)
class VirtualProvider:
    """One provider's behaviour."""

    name: str
    boots: BootTimes
    failing_share: float = 0.0
    """Of the launches; noticed after `noticed_after` times the boot."""
    noticed_after: float = 1.5
    mean_seconds_to_preemption: float = math.inf
    """Exponential in ready time."""
    price: float = 1.0
    """GPU-hours that an hour is counted as."""
    least_billed_seconds: float = 60.0
    max_workers: int = 120
    out_of_stock: tuple[tuple[float, float], ...] = ()
    """From, until: launches are refused at once and free of charge."""
    capabilities: tuple[str, ...] = ()
    usd_per_hour: float | None = None
    """What an hour really costs, for price caps and the order by price; None: nobody knows."""
    warm_boots: BootTimes | None = None
    """Of a stopped instance that is started again; None: it cannot keep stopped ones."""
    storage_price: float = 0.0
    """GPU-hours that an hour of a stopped instance is counted as."""
    requests_at_once: int = 1
    """How many a worker serves at the same time, each as fast as if it were alone."""
    prices: tuple[float, ...] = ()
    """What an hour of a new instance may cost, one of them by chance; empty: always `usd_per_hour`."""
    takes_price_cap: bool = False
    """A launch names the most that it may cost, and is refused where the price of the moment is above that."""
    most_usd_per_hour: float | None = None
    """Of one that takes such a cap: its own, whatever a fleet says; None: it has none."""
    seconds_between_launches: float = 0.0
    """Its rate limit: launches of one turn follow each other so far apart, and what does not fit is the next turn's."""
    call_seconds: float = 5.0
    """The longest that one launch call takes: a turn must have so much of its budget left."""
    launch_seconds: float = 0.0
    """From a turn's look to its first launch call, where boots count from the call. The bill begins with the look."""
    leave_seconds: float = 0.0
    """From the look of the turn that takes out an idle worker until it is seen gone: it is paid for that long."""

    def __post_init__(self) -> None:
        """Refuse what no provider is."""
        if self.requests_at_once < 1:
            raise ValueError(f"provider {self.name}: requests_at_once is {self.requests_at_once}: 1 or more is right")
        for name in ("seconds_between_launches", "call_seconds", "launch_seconds", "leave_seconds"):
            seconds = getattr(self, name)
            if not 0 <= seconds < math.inf:
                raise ValueError(f"provider {self.name}: {name} is {seconds}, it must be a number from 0 on")
        if any(not 0 <= price < math.inf for price in self.prices):
            raise ValueError(f"provider {self.name}: prices are {self.prices}, they must be numbers from 0 on")

    @property
    def block(self) -> str:
        """As a fleet names it; a made-up one without a block of its own is `simulated/<name>`."""
        return self.name if "/" in self.name else f"simulated/{self.name}"

    @property
    def storage_usd_per_hour(self) -> float | None:
        """What a stopped instance really costs."""
        return None if self.usd_per_hour is None else self.usd_per_hour * self.storage_price / self.price

    def has_stock(self, at_seconds: float) -> bool:
        """Whether a launch is accepted now."""
        return not self.out_of_stock or not any(begin <= at_seconds < end for begin, end in self.out_of_stock)


@dataclass(frozen=True, slots=True)
class Launched:
    """What will become of one launch, known to the world alone."""

    boot_seconds: float
    fails: bool
    preempted_after_seconds: float


class Luck:
    """The fate of each launch of one provider, by launch number: two policies meet the same luck at the same launch."""

    def __init__(self, provider: VirtualProvider, seed: int) -> None:
        self._provider = provider
        self._boots = random.Random(f"{seed}/{provider.name}/boots")
        self._failures = random.Random(f"{seed}/{provider.name}/failures")
        self._preemptions = random.Random(f"{seed}/{provider.name}/preemptions")
        self._warm = random.Random(f"{seed}/{provider.name}/warm")
        self._prices = random.Random(f"{seed}/{provider.name}/prices")

    def draw(self) -> Launched:
        """The next new instance's."""
        return self._drawn(self._provider.boots, self._boots, self._failures, self._preemptions)

    def draw_price(self) -> float | None:
        """What an hour of the next new instance costs; asked again, another one may be offered."""
        prices = self._provider.prices
        return self._prices.choice(prices) if prices else self._provider.usd_per_hour

    def draw_warm(self) -> Launched:
        """The next start's of a stopped instance; it takes nothing from the luck of new ones."""
        boots = self._provider.warm_boots or self._provider.boots
        return self._drawn(boots, self._warm, self._warm, self._warm)

    def _drawn(
        self, boots: BootTimes, boot_luck: random.Random, failures: random.Random, preemptions: random.Random
    ) -> Launched:
        boot = boots.draw(boot_luck)
        fails = failures.random() < self._provider.failing_share
        lifetime = preemptions.expovariate(1.0)
        mean = self._provider.mean_seconds_to_preemption
        return Launched(boot, fails, lifetime * mean if math.isfinite(mean) else math.inf)


COUNTING = MasterCaps(per_shape_demand=True, counts_requests=True, idle_source=IdleSource.MASTER)
"""A master that tells all that there is, as a gateway does."""

COUNTLESS = replace(COUNTING, counts_requests=False)
"""One that tells what waits and what runs now, and does not count what came and went."""


@dataclass(frozen=True)
class Environment:
    """Providers in order of preference, and the master that gives out the work."""

    name: str
    providers: tuple[VirtualProvider, ...]
    max_workers: int = 120
    master: MasterCaps = field(default=COUNTING, repr=False)
    """What its master tells: a policy sees no more of the demand than that."""

    def __post_init__(self) -> None:
        """Refuse an environment without a provider."""
        if not self.providers:
            raise ValueError(f"environment {self.name}: there must be a provider")

    @cached_property
    def paid_boot_seconds(self) -> float:
        """What one boot at the first provider costs on average."""
        return self.providers[0].boots.mean_seconds * self.providers[0].price


K8S = Environment(
    "k8s",
    (VirtualProvider("k8s", BootTimes(120.0, 0.4, 45.0, 900.0), failing_share=0.02),),
)
"""A guess at GPU pods with images at hand. No measurement."""

MARKET = Environment(
    "market",
    (
        VirtualProvider(
            "market",
            BootTimes(240.0, 0.6, 60.0, 1200.0),
            failing_share=0.10,
            mean_seconds_to_preemption=86_400.0,
        ),
    ),
)
"""A guess at a GPU market place. No measurement."""

ENVIRONMENTS = {environment.name: environment for environment in (K8S, MARKET)}
