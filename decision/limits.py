"""Pure guards on what a policy wants. Each guard that binds says so; the order runs from riskier to safest.

Floors by the clock speak first; then overrides, oldest to newest, so that the last word of a person counts; then the
fleet's own minimum and maximum, which nobody overrides; then the spacing of starts and stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebbflow.core.errors import OverrideRefused
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.text import counted
from ebbflow.decision.coverage import first_of, is_typed, missing, total
from ebbflow.decision.schedule import Floor


class Limits(BaseModel):
    """What no policy and no person may make the fleet do."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_workers: Annotated[int, Field(ge=0, le=10_000, description="Never fewer workers than this.")] = 0
    max_workers: Annotated[int, Field(ge=0, le=10_000, description="Never more, in whatever state they are.")] = 10
    min_seconds_between_starts: Annotated[
        float, Field(ge=0, le=86_400, description="One launch per this time; 0: as many as wanted.")
    ] = 0.0
    min_seconds_after_failure: Annotated[
        float, Field(ge=0, le=86_400, description="A provider rests this long after a failed launch.")
    ] = 120.0
    min_seconds_between_stops: Annotated[
        float, Field(ge=0, le=86_400, description="One stop per this time; 0: as many as wanted.")
    ] = 60.0
    min_idle_seconds: Annotated[
        float, Field(ge=0, le=604_800, description="Only workers idle this long are stopped.")
    ] = 600.0
    max_usd_per_hour: Annotated[
        float | None, Field(ge=0, description="The whole fleet never costs more; empty: no cap.")
    ] = None

    @model_validator(mode="after")
    def _min_is_not_above_max(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(
                f"min_workers {self.min_workers} is above max_workers {self.max_workers}; lower one of them"
            )
        return self


@dataclass(frozen=True, slots=True)
class Bounded:
    """What is left of a decision after the limits."""

    target: int
    launches: int
    stops: int
    reasons: tuple[Reason, ...] = ()
    hurried: int = 0
    """How many of the stops a person asked for: for them idle is enough, however short."""
    preferred: tuple[str, ...] = ()
    """Worker ids that go first, because a person named them."""
    pinned: tuple[str, ...] = ()
    """Worker ids that never go, because a person pinned them."""
    forced: int = 0
    """How many stops may hit a busy worker: what a person forced, and not what the policy wants beyond that."""
    forced_ids: tuple[str, ...] = ()
    """Who may be hit by them; empty: anybody."""
    missing: tuple[Want, ...] = ()
    """The launches, by what they must be able to do; empty: nobody asked for anything in particular."""
    wanted: tuple[Want, ...] = ()
    """Everything that the policy wants, where it says what workers must be able to do."""

    @property
    def is_choosy(self) -> bool:
        """Whether it matters who goes: a person has a say in it, or what workers must be able to do."""
        return bool(self.hurried or self.forced or self.preferred or self.pinned or self.wanted)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A number of workers on its way through the guards."""

    target: int
    reasons: tuple[Reason, ...] = ()

    def at_least(self, count: int, rule: str, why: str, short: str = "") -> "_Bound":
        if self.target >= count:
            return self
        return _Bound(count, (*self.reasons, Reason(rule, f"{why}: {self.target} becomes {count}", short)))

    def at_most(self, count: int, rule: str, why: str, short: str = "") -> "_Bound":
        if self.target <= count:
            return self
        return _Bound(count, (*self.reasons, Reason(rule, f"{why}: {self.target} becomes {count}", short)))


def apply(
    decision: Decision,
    observation: Observation,
    limits: Limits,
    *,
    overrides: Sequence[Override] = (),
    floors: Sequence[Floor] = (),
    by_capability: bool = True,
    listings_complete: bool = True,
) -> Bounded:
    """Guard a decision. Where a person winds the fleet down, nothing else counts.

    Args:
        decision: what the policy wants; None keeps the present supply.
        observation: what it was decided on.
        limits: the fleet's own.
        overrides: those in force, oldest first.
        floors: those of the fleet's schedules that hold now; a person's word goes before them.
        by_capability: whether workers are counted by what they can do; False: as alike, where the master does not tell
            what work requires.
        listings_complete: whether every provider answered wholly; without that, unknown demand launches nothing.
    """
    supply, wanted = observation.supply, decision.total
    wants = decision.wanted if by_capability and is_typed(decision.wanted) else None
    is_free = not overrides and not floors and wants is None
    if is_free and (left := unchanged(decision, supply, limits)) is not None:
        return left
    winding = [held for held in overrides if held.kind is OverrideKind.WIND_DOWN]
    if winding:
        return _wound_down(winding, supply)
    bound = _Bound(supply if wanted is None else wanted)
    for floor in floors:
        bound = bound.at_least(floor.count, "schedule.floor", floor.reason)
    for held in overrides:
        if held.kind is OverrideKind.FLOOR:
            bound = bound.at_least(held.count, "override.floor", str(held), held.short)
        elif held.kind is OverrideKind.CEILING:
            bound = bound.at_most(held.count, "override.ceiling", str(held), held.short)
    bound = _within(bound, limits)
    if is_free:
        return _counted(bound, supply, observation, limits, listings_complete)
    short = _short(wants, observation, supply, bound.target)
    missing = total(short)
    launches = _launches(missing, observation, limits, listings_complete)
    ceilings = [held for held in overrides if held.kind is OverrideKind.CEILING]
    # A ceiling that is reached hurries and forces nobody any more; of several the last word counts.
    paused = [Reason("override.pause", str(held), held.short) for held in overrides if held.kind is OverrideKind.PAUSE]
    if paused:
        return Bounded(supply, 0, 0, (*bound.reasons, *paused))
    surplus = max(0, supply + missing - bound.target)
    hurried = max(0, min(surplus, max(supply - held.count for held in ceilings))) if ceilings else 0
    stops = _spaced(
        _Bound(surplus - hurried), observation.seconds_since_stop, limits.min_seconds_between_stops, "stops"
    )
    forcing = next((held for held in reversed(ceilings) if held.force and held.count < supply), None)
    return Bounded(
        target=bound.target,
        launches=launches.target,
        stops=hurried + stops.target,
        reasons=(*bound.reasons, *launches.reasons, *stops.reasons),
        hurried=hurried,
        preferred=tuple([worker for held in ceilings for worker in held.worker_ids]),
        pinned=tuple([worker for held in overrides if held.kind is OverrideKind.PIN for worker in held.worker_ids]),
        forced=min(hurried, supply - forcing.count) if forcing else 0,
        forced_ids=forcing.worker_ids if forcing else (),
        missing=first_of(short, launches.target) if is_typed(short) else (),
        wanted=wants or (),
    )


def unchanged(decision: Decision, supply: int, limits: Limits) -> Bounded | None:
    """What is left of a decision that wants what there is, in a number that may be; None: it is another one.

    Args:
        decision: what the policy wants, of workers that are counted as alike.
        supply: workers that serve or start.
        limits: the fleet's own.
    """
    if decision.total in (None, supply) and limits.min_workers <= supply <= limits.max_workers:
        return _unchanged(supply)
    return None


@lru_cache(maxsize=256)
def _unchanged(supply: int) -> Bounded:
    return Bounded(supply, 0, 0)


def _counted(bound: _Bound, supply: int, observation: Observation, limits: Limits, listings_complete: bool) -> Bounded:
    """A number of workers that no person and no clock has a say in, and that may be any."""
    target = bound.target
    launches = _launches(target - supply, observation, limits, listings_complete)
    surplus = _Bound(max(0, supply - target))
    stops = _spaced(surplus, observation.seconds_since_stop, limits.min_seconds_between_stops, "stops")
    return Bounded(target, launches.target, stops.target, reasons=(*bound.reasons, *launches.reasons, *stops.reasons))


def _within(bound: _Bound, limits: Limits) -> _Bound:
    """What the fleet's own minimum and maximum leave of it."""
    least, most = limits.min_workers, limits.max_workers
    if least <= bound.target <= most:
        return bound
    bound = bound.at_least(least, "limits.min_workers", f"min_workers is {least}", "min_workers")
    return bound.at_most(most, "limits.max_workers", f"max_workers is {most}", "max_workers")


def _wound_down(winding: Sequence[Override], supply: int) -> Bounded:
    """Nobody comes, and whoever is idle goes; by force, whoever works goes at its drain deadline."""
    return Bounded(
        target=0,
        launches=0,
        stops=supply,
        reasons=tuple(Reason("override.wind_down", str(held), held.short) for held in winding),
        hurried=supply,
        # The last word of a person counts.
        forced=supply if winding[-1].force else 0,
    )


def _short(wants: Sequence[Want] | None, observation: Observation, supply: int, target: int) -> tuple[Want, ...]:
    """What has to be launched, by what it must be able to do; beyond what the policy wants, anything will do.

    Who cannot do what is wanted makes room for those who can: launched are the missing, stopped the others.
    """
    if wants is None:
        return (Want(count=max(0, target - supply)),)
    lacking = missing(wants, [worker for worker in observation.workers if worker.is_supply])
    covered = total(wants) - total(lacking)
    beyond = max(0, target - total(wants))
    kept = min(supply - covered, beyond)
    typed = first_of(lacking, max(0, target - covered - kept))
    return (*typed, *([Want(count=beyond - kept)] if beyond > kept else []))


def _launches(missing: int, observation: Observation, limits: Limits, listings_complete: bool) -> _Bound:
    bound = _Bound(max(0, missing))
    if not bound.target:
        return bound
    if not observation.demand.complete and not listings_complete:
        bound = bound.at_most(
            0, "limits.unknown", "neither demand nor every listing is known, so nothing is launched", "unknown"
        )
    # A launch that starts a warm instance adds nothing to what exists; placement sees to those that would.
    existing = observation.existing - observation.warm
    room = max(0, limits.max_workers - existing)
    why = f"{counted(existing, 'worker')} may exist, max_workers is {limits.max_workers}"
    bound = bound.at_most(room, "limits.max_workers", f"launches: {why}", "max_workers")
    return _spaced(bound, observation.seconds_since_start, limits.min_seconds_between_starts, "starts")


def _spaced(bound: _Bound, seconds_since: float | None, spacing: float, what: str) -> _Bound:
    if spacing <= 0:
        return bound
    short = f"min_seconds_between_{what}"
    rule = f"limits.{short}"
    if seconds_since is not None and seconds_since < spacing:
        return bound.at_most(0, rule, f"{what}: the last was {seconds_since:.0f} s ago, {spacing:g} s must pass", short)
    return bound.at_most(1, rule, f"{what}: one per {spacing:g} s", short)


def check_request(target: int, limits: Limits, *, asked: str) -> None:
    """Refuse what a person asks for when the fleet's own limits forbid it.

    Raises:
        OverrideRefused: names what was asked, the number that results and the limit.
    """
    if target > limits.max_workers:
        raise OverrideRefused(
            f"{asked} means {counted(target, 'worker')}, above limits.max_workers {limits.max_workers}; "
            "ask for fewer, or raise the limit in the fleet and deploy it"
        )
    if target < limits.min_workers:
        raise OverrideRefused(
            f"{asked} means {counted(target, 'worker')}, below limits.min_workers {limits.min_workers}; "
            "ask for fewer to go, or lower the limit in the fleet and deploy it"
        )
