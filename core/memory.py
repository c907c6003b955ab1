"""What a fleet remembers between turns: durations only, so that a stepped clock or an outage makes nothing old."""

from dataclasses import dataclass, field, replace
from enum import Enum

from ebbflow.core.plan import PolicyMemory
from ebbflow.core.worker import Worker

MILLISECONDS = 3
"""Digits of the durations that are kept: equal histories then give equal bytes."""
AVOID_SECONDS = 3600.0
"""How long a machine on which a worker failed is avoided."""


class OverrideKind(Enum):
    """What a person may force upon a fleet, for a while."""

    FLOOR = "floor"
    """At least this many workers."""
    CEILING = "ceiling"
    """At most this many workers."""
    PIN = "pin"
    """Never remove these workers."""
    PAUSE = "pause"
    """Launch nothing and take nobody out; what was begun is finished, and workers are kept alive."""
    WIND_DOWN = "wind_down"
    """No workers at all, whatever the fleet's own minimum is, and nothing kept warm. It goes before all others."""
    END = "end"
    """Not held itself: it ends all that are held."""


@dataclass(frozen=True, slots=True)
class Override:
    """One absolute demand of a person, keyed so that a repeated run adds nothing."""

    key: str
    """The id of the flow run that asked."""
    kind: OverrideKind
    count: int
    owner: str
    reason: str
    remaining_seconds: float
    worker_ids: tuple[str, ...] = ()
    """With a ceiling: who goes first. With a pin: who stays."""
    force: bool = False
    """With a ceiling: also while busy."""

    @property
    def short(self) -> str:
        """What a person reads in the name of a run."""
        counted = self.kind in (OverrideKind.FLOOR, OverrideKind.CEILING)
        what = f"{self.kind.value} {self.count}" if counted else self.kind.value.replace("_", "-")
        named = f" of {', '.join(self.worker_ids)}" if self.worker_ids else ""
        return f"{what}{named} by {self.owner}"

    def __str__(self) -> str:
        """What a person reads in the record."""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.short} for another {self.remaining_seconds:.0f} s{why}"


@dataclass(frozen=True, slots=True)
class AvoidedMachine:
    """A machine of a provider on which a worker failed; launches go elsewhere for a while."""

    machine: str
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ProviderMemory:
    """What a fleet remembers of one provider."""

    provider: str
    fingerprint: str
    seconds_since_failure: float | None = None
    failures: int = 0
    """In a row, without a worker becoming ready in between."""
    detail: str = ""
    avoided: tuple[AvoidedMachine, ...] = ()


@dataclass(frozen=True, slots=True)
class RecentClaim:
    """An earlier claim whose run may still be acting, or whose outcome was not read yet."""

    number: int
    artifact_id: str
    budget_seconds: float
    age_seconds: float = 0.0
    noted: bool = False
    """Its outcome has been read."""

    @property
    def is_over(self) -> bool:
        """Whether its budget has passed, so that nothing it decided can still begin."""
        return self.age_seconds >= self.budget_seconds


@dataclass(frozen=True, slots=True)
class UnfinishedEntry:
    """A member entry without a mark, and how long it has been seen unchanged."""

    master_ref: str
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything that rides in the record from one turn to the next."""

    chain_age_seconds: float = 0.0
    """Since this chain began; a new one launches nothing before its providers have settled."""
    workers: tuple[Worker, ...] = ()
    providers: tuple[ProviderMemory, ...] = ()
    overrides: tuple[Override, ...] = ()
    claims: tuple[RecentClaim, ...] = ()
    unfinished: tuple[UnfinishedEntry, ...] = ()
    seconds_since_start: float | None = None
    seconds_since_stop: float | None = None
    policy: str = ""
    """The kind of policy that decided last; another kind begins with nothing remembered."""
    remembered: PolicyMemory = field(default_factory=dict)
    """What that policy remembers. It is not aged: the policy is told how much time has passed."""
    manager: str = ""
    """The deployment that ran `autoscale` last; two of them for one fleet are refused."""
    manager_age_seconds: float = 0.0
    in_vain_seconds: float | None = None
    """Since work waits while everybody who serves is idle; None while that is not so."""
    spent_usd: float = 0.0
    """What the fleet has cost since `spent_day` began, as far as prices were known; time without turns counts for two
    intervals at most."""
    spent_day: int = 0
    """Days since 1970, UTC, by the ledger's clock."""
    worker_features: tuple[str, ...] = ()
    """What workers were last seen to be able to do: for a waiting room, which tells it while there is none."""
    missing_models: tuple[str, ...] = ()
    """Models that only workers had when one served last."""
    awaits_first_look: bool = False
    """Not yet has everybody told all since the chain began, so nobody knows what is from before it."""

    def aged(self, elapsed_seconds: float) -> "Memory":
        """The same memory, `elapsed_seconds` later. What an override has outlived is dropped."""
        seconds = passed(elapsed_seconds)
        return replace(
            self,
            chain_age_seconds=_later(self.chain_age_seconds, seconds),
            workers=tuple(_aged_worker(worker, seconds) for worker in self.workers),
            providers=aged_providers(self.providers, seconds),
            overrides=aged_overrides(self.overrides, seconds),
            claims=tuple(replace(claim, age_seconds=_later(claim.age_seconds, seconds)) for claim in self.claims),
            unfinished=tuple(
                replace(entry, age_seconds=_later(entry.age_seconds, seconds)) for entry in self.unfinished
            ),
            seconds_since_start=later_or_none(self.seconds_since_start, seconds),
            seconds_since_stop=later_or_none(self.seconds_since_stop, seconds),
            manager_age_seconds=_later(self.manager_age_seconds, seconds),
            in_vain_seconds=later_or_none(self.in_vain_seconds, seconds),
        )

    def provider(self, name: str) -> ProviderMemory | None:
        """What is remembered of one provider."""
        return next((known for known in self.providers if known.provider == name), None)

    def is_over(self, number: int) -> bool:
        """Whether the budget of an earlier claim has passed. A claim that was forgotten has passed long ago."""
        return all(claim.is_over for claim in self.claims if claim.number == number)


def passed(elapsed_seconds: float) -> float:
    """Time by which a memory grows older: whole milliseconds, and never less than nothing."""
    return round(max(0.0, elapsed_seconds), MILLISECONDS)


def aged_providers(providers: tuple[ProviderMemory, ...], seconds: float) -> tuple[ProviderMemory, ...]:
    """What is remembered of providers, so many whole milliseconds later."""
    return tuple([_aged_provider(known, seconds) for known in providers])


def aged_overrides(overrides: tuple[Override, ...], seconds: float) -> tuple[Override, ...]:
    """Those overrides that still hold so many whole milliseconds later."""
    return tuple(
        replace(held, remaining_seconds=_later(held.remaining_seconds, -seconds))
        for held in overrides
        if held.remaining_seconds > seconds
    )


def later_or_none(duration: float | None, seconds: float) -> float | None:
    """A duration that may be unknown, so many whole milliseconds later."""
    return None if duration is None else round(duration + seconds, MILLISECONDS)


def _aged_provider(known: ProviderMemory, seconds: float) -> ProviderMemory:
    if known.seconds_since_failure is None and not known.avoided:
        return known
    since = later_or_none(known.seconds_since_failure, seconds)
    if not known.avoided:
        # Field by field: in a backtest nearly every turn is after some failure.
        return ProviderMemory(known.provider, known.fingerprint, since, known.failures, known.detail)
    return replace(known, seconds_since_failure=since, avoided=_aged_machines(known.avoided, seconds))


def _aged_machines(avoided: tuple[AvoidedMachine, ...], seconds: float) -> tuple[AvoidedMachine, ...]:
    aged = (replace(known, age_seconds=_later(known.age_seconds, seconds)) for known in avoided)
    return tuple(known for known in aged if known.age_seconds < AVOID_SECONDS)


def _aged_worker(worker: Worker, seconds: float) -> Worker:
    joining = worker.joining_seconds
    return replace(
        worker,
        state_seconds=_later(worker.state_seconds, seconds),
        joining_seconds=_later(joining, seconds),
        idle_seconds=later_or_none(worker.idle_seconds, seconds),
        absent_seconds=_later(worker.absent_seconds, seconds) if worker.absent_looks else 0.0,
        unanswered_seconds=later_or_none(worker.unanswered_seconds, seconds),
        disorder_seconds=later_or_none(worker.disorder_seconds, seconds),
        put_back_seconds=later_or_none(worker.put_back_seconds, seconds),
        mark=worker.mark and replace(worker.mark, age_seconds=_later(worker.mark.age_seconds, seconds)),
    )


def _later(duration: float, seconds: float) -> float:
    return round(duration + seconds, MILLISECONDS)
