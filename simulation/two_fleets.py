"""Two fleets on one recorded past: what came is played through each, decided as in production, and compared. Pure.

A later decision stands on what earlier ones have led to. Deciding recorded turns anew, each by itself, would ask a
fleet about workers that it would never have had; so both fleets are played from the same beginning.
The shapes below are part of what `ebbflow check --json` prints; a name that is there stays there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from ebbflow.fleet.model import Fleet
from ebbflow.simulation.contest import Contest
from ebbflow.simulation.past import Boots, NothingCameError, RecordedLook, past_environment, past_trace, told_by
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.policy_faults import PolicyFaults, all_faults
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.score import percentile
from ebbflow.simulation.virtual_worker import VirtualWorker
from ebbflow.simulation.world import World

SEEDS = (1, 2, 3)
"""Each fleet is played so often, with other luck at its launches, which is the same for both."""
SERVICE_SECONDS = 20.0
"""Work of one request, where the master does not count what it serves. No measurement."""
SECONDS_PER_HOUR = 3600.0


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
        try:
            return past_trace("own past", self.looks, service_seconds=SERVICE_SECONDS)
        except NothingCameError:
            # A trace holds a request at least: this one comes when the books are closed.
            return Trace("own past", (self.until - self.known[0].at_seconds + 1.0,), (0.0,))


@dataclass(frozen=True, slots=True)
class PlayedFleet:
    """What came of a fleet's play."""

    figures: FleetFigures
    faults: PolicyFaults
    notes: tuple[str, ...]
    """Where the numbers of its providers come from, and which of its caps are played."""


def play_fleet(past: OwnPast, fleet: Fleet) -> PlayedFleet:
    """Play a fleet on what came, as it would have decided then.

    Raises:
        TraceError: nothing can be played.
    """
    environment, notes = past_environment(
        fleet.providers, past.boots, max_workers=fleet.limits.max_workers, master=told_by(past.looks)
    )
    trace, begins_at = past.trace, past.known[0].at_seconds
    after_seconds = past.until - begins_at - trace.last_at_seconds
    contest = Contest(trace, environment, fleet, begins_at, after_seconds).led_in()
    # Of what is counted: world seconds from its beginning on.
    begin = past.counts_from - contest.begins_at
    figures, faults = [], []
    for seed in SEEDS:
        driver = PolicyDriver(contest.played_fleet, environment, begins_at=contest.begins_at, is_brief=True)
        world = World(contest.trace, environment, seed, after_seconds=after_seconds)
        world.run(driver)
        figures.append(_figures(world, begin))
        faults.append(driver.faults)
    return PlayedFleet(_mean(figures), all_faults(faults), (*notes, contest.price_note))


def _figures(world: World, begin: float) -> FleetFigures:
    """Read the books of a world whose time is over, from `begin` on."""
    hours = [(worker, _hours(worker, begin, world.horizon)) for worker in world.workers]
    priced = [
        (worker.provider.usd_per_hour, hour) for worker, hour in hours if worker.provider.usd_per_hour is not None
    ]
    unpriced = math.fsum(hour for worker, hour in hours if worker.provider.usd_per_hour is None)
    storage = math.fsum(
        (kept.provider.storage_usd_per_hour or 0.0)
        * max(0.0, (world.horizon if kept.ended_at is None else kept.ended_at) - max(kept.since, begin))
        / SECONDS_PER_HOUR
        for kept in world.storage
    )
    waits = sorted(
        wait
        for at, wait in zip(world.trace.at_seconds, world.waits, strict=True)
        if begin <= at <= world.horizon and math.isfinite(wait)
    )
    return FleetFigures(
        launches=sum(worker.launched_at >= begin for worker in world.workers),
        stops=sum(_was_stopped(worker, begin) for worker in world.workers),
        worker_hours=math.fsum(hour for _, hour in hours),
        usd=math.fsum(usd * hour for usd, hour in priced) + storage if priced or not unpriced else None,
        unpriced_hours=unpriced,
        waited_p95_seconds=percentile(waits, 0.95) if waits else None,
    )


def _hours(worker: VirtualWorker, begin: float, end: float) -> float:
    ended_at = end if worker.ended_at is None else worker.ended_at
    return max(0.0, ended_at - max(worker.launched_at, begin)) / SECONDS_PER_HOUR


def _was_stopped(worker: VirtualWorker, begin: float) -> bool:
    return worker.ended_at is not None and worker.ended_at >= begin and not worker.failed


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
