"""Two fleets on one recorded past: what came is played through each, decided as in production, and compared. Pure.

A later decision stands on what earlier ones have led to. Deciding recorded turns anew, each by itself, would ask a
fleet about workers that it would never have had; so both fleets are played from the same beginning.
The shapes below are part of what `ebbflow check --json` prints; a name that is there stays there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

from ebbflow.core.instance import ProviderCaps
from ebbflow.fleet.model import Fleet
from ebbflow.simulation.books import Books, books_of
from ebbflow.simulation.contest import Contest
from ebbflow.simulation.environment import Environment
from ebbflow.simulation.past import Boots, NothingCameError, RecordedLook, past_trace, told_by
from ebbflow.simulation.past_environment import past_environment
from ebbflow.simulation.policy_faults import PolicyFaults, all_faults
from ebbflow.simulation.quick_driver import QuickDriver
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.shared_world import world_of
from ebbflow.simulation.turn_times import TURNS_TO_LEAVE, turns_of_looks
from ebbflow.simulation.world import World

SEEDS = (1, 2, 3)
"""Each fleet is played so often, with other luck at its launches, which is the same for both."""
SERVICE_SECONDS = 20.0
"""Work of one request, where the master does not count what it serves. No measurement."""


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """What a fleet did in the time that counts. Of a played one: the mean of several plays."""

    launches: float
    stops: float
    """Workers that were ended, and had not failed."""
    worker_hours: float
    usd: float | None
    """As far as prices are known, with storage; None: none is."""
    unpriced_hours: float
    """Of workers whose price is unknown."""
    waited_p95_seconds: float | None
    """What 95 of 100 requests did not wait longer than; None: unknown, or none came."""


@dataclass(frozen=True)
class OwnPast:
    """What is played."""

    looks: tuple[RecordedLook, ...]
    """Oldest first, those included that only lead in to the time that counts."""
    boots: Mapping[str, Boots]
    """What became of launches, by provider."""
    counts_from: float
    """Epoch seconds, UTC, by the Prefect server's clock."""
    until: float
    interval_seconds: float | None = None
    """Between its turns; None: not known, or not all of them are among the looks."""
    waiting_interval_seconds: float | None = None
    """The same while work waited; None: the same as ever."""
    poll_interval_seconds: float | None = None
    """Between its looks at the queue alone, by which turns came sooner as well; None: it took none."""
    provider_caps: Mapping[str, ProviderCaps] = field(default_factory=dict)
    """What providers were able to do, by block, as far as that is recorded."""
    requests_at_once: int = 1
    """How many a worker served at the same time."""
    came: Trace | None = None
    """The requests, where they are known better than by looks: in seconds since the first look that knew the demand."""
    service_seconds: float = SERVICE_SECONDS
    """Work of one request, where the master does not count what it serves."""

    @property
    def known(self) -> tuple[RecordedLook, ...]:
        """The looks that knew the demand."""
        return tuple(look for look in self.looks if look.demand.complete and look.at_seconds > 0)

    @cached_property
    def trace(self) -> Trace:
        """What came, from the first look that knew the demand on.

        Raises:
            TraceError: too few looks knew the demand, or more came than can be played.
        """
        if self.came is not None:
            return self.came
        try:
            return past_trace("own past", self.looks, service_seconds=self.service_seconds)
        except NothingCameError:
            # A trace holds a request at least: this one comes when the books are closed.
            return Trace("own past", (self.until - self.known[0].at_seconds + 1.0,), (0.0,))

    def turns_at(self, fleet: Fleet) -> tuple[float, ...]:
        """When a fleet takes the turns that are due, in seconds of the trace; empty: exactly at its interval."""
        # Of turns that came sooner nobody can say which of them another fleet would have taken.
        came_sooner = (
            (self.waiting_interval_seconds, fleet.waiting_interval_seconds),
            (self.poll_interval_seconds, fleet.poll_interval_seconds),
        )
        if self.interval_seconds is None or any(own not in (None, played) for own, played in came_sooner):
            return ()
        return turns_of_looks(
            self.looks,
            begins_at=self.known[0].at_seconds,
            recorded_interval_seconds=self.interval_seconds,
            interval_seconds=fleet.interval_seconds,
            least_apart_seconds=fleet.least_apart_seconds,
        )


@dataclass(frozen=True, slots=True)
class PlayedFleet:
    """What came of a fleet's play."""

    figures: FleetFigures
    faults: PolicyFaults
    notes: tuple[str, ...]
    """Where the numbers of its providers come from, and which of its caps are played."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One fleet on its past, ready to be played."""

    contest: Contest
    notes: tuple[str, ...]
    """Where the numbers of its providers come from, and which of its caps are played."""

    def play(self, seed: int) -> tuple[World, PolicyFaults]:
        """Play it to the end, with this luck."""
        contest = self.contest
        driver = QuickDriver(contest.played_fleet, contest.environment, begins_at=contest.begins_at, is_brief=True)
        world = world_of(contest.trace, contest.environment, seed, after_seconds=contest.after_seconds)
        world.run(driver, turns_at=contest.turns_at)
        return world, driver.faults

    def world_seconds(self, at_seconds: float) -> float:
        """When in its worlds a point of time is, given in epoch seconds."""
        return at_seconds - self.contest.begins_at


def environment_of(past: OwnPast, fleet: Fleet) -> tuple[Environment, tuple[str, ...]]:
    """Where a fleet launches that is played, and where the numbers of its providers come from: its launches went so."""
    return past_environment(
        fleet.providers,
        past.boots,
        max_workers=fleet.limits.max_workers,
        master=told_by(past.looks),
        caps=past.provider_caps,
        requests_at_once=past.requests_at_once,
        usual_leave_seconds=TURNS_TO_LEAVE * (past.interval_seconds or 0.0),
    )


def stage_of(past: OwnPast, fleet: Fleet) -> Stage:
    """Let a fleet meet what came, under its own limits and as its launches went.

    Raises:
        TraceError: nothing can be played.
    """
    environment, notes = environment_of(past, fleet)
    trace, begins_at = past.trace, past.known[0].at_seconds
    after_seconds = past.until - begins_at - trace.last_at_seconds
    turns_at = past.turns_at(fleet)
    contest = Contest(trace, environment, fleet, begins_at, after_seconds, turns_at=turns_at).led_in()
    return Stage(contest, (*notes, contest.price_note))


def play_fleet(past: OwnPast, fleet: Fleet) -> PlayedFleet:
    """Play a fleet on what came, as it would have decided then.

    Raises:
        TraceError: nothing can be played.
    """
    stage = stage_of(past, fleet)
    figures, faults = [], []
    for seed in SEEDS:
        world, failed = stage.play(seed)
        figures.append(_figures(books_of(world, stage.world_seconds(past.counts_from), world.horizon)))
        faults.append(failed)
    return PlayedFleet(_mean(figures), all_faults(faults), stage.notes)


def _figures(books: Books) -> FleetFigures:
    return FleetFigures(
        launches=books.launches,
        stops=books.stops,
        worker_hours=books.worker_hours,
        usd=books.usd,
        unpriced_hours=books.unpriced_hours,
        waited_p95_seconds=books.waited_p95_seconds,
    )


def _mean(figures: Sequence[FleetFigures]) -> FleetFigures:
    def mean(name: str) -> float | None:
        known = [value for each in figures if (value := getattr(each, name)) is not None]
        return round(math.fsum(known) / len(known), 6) if len(known) == len(figures) else None

    return FleetFigures(**{each.name: mean(each.name) for each in fields(FleetFigures)})  # type: ignore[arg-type]  # only what may be None is


def more_of(before: float, after: float) -> float | None:
    """By how many percent `after` is more than `before`; negative: less. None: there was nothing before."""
    if not before:
        return None if after else 0.0
    return 100.0 * (after - before) / before
