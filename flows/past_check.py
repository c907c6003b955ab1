"""What a fleet as it is written would have done with its deployed past, against the fleet that is deployed.

The shape below is part of what `ebbflow check --json` prints; a name that is there stays there.
"""

import asyncio
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient

from ebbflow.core.errors import ConfigError, NotRecorded, RecordError
from ebbflow.core.ports import Ledger
from ebbflow.core.text import one_line
from ebbflow.fleet.model import Fleet
from ebbflow.flows.fleet_past import FleetPast, read_fleet_past
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.standings import Deployed, deployed_fleets
from ebbflow.simulation.past import served_seconds
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import SERVICE_SECONDS, FleetFigures, PlayedFleet, more_of, play_fleet
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.moments import moment

FAR_OFF_PERCENT = 25.0
"""By so much a played fleet may differ from what it did before a person is told of it."""
GUESSES = (
    "requests are played evenly between two looks and all of one length, as many to a worker at once as recorded and "
    "each as fast as if it were alone; launches boot and fail by chance as recorded, workers take as long to leave as "
    "recorded, and none is taken away by its provider",
    "the settings of blocks are not compared: only what a fleet's file says is",
)


@dataclass(frozen=True, slots=True)
class PastTold:
    """One fleet, played on its past as it is deployed and as it is written."""

    fleet: str
    since_at: float
    """Of the first record that counts: epoch seconds, UTC, by the Prefect server's clock."""
    until_at: float
    records: int
    recorded: FleetFigures
    """What it did."""
    deployed: FleetFigures
    """The deployed fleet, played."""
    written: FleetFigures
    """The fleet of the file, played."""
    worker_hours_percent: float | None
    """By how much the written one has more worker-hours than the deployed one, played; None: that had none."""
    fail_above_percent: float
    is_within: bool
    """The difference is no larger."""
    notes: tuple[str, ...]
    """What a person has to know of the figures, and what is not played."""
    missing: tuple[str, ...]
    """Times of which no record tells, and why."""

    @property
    def is_right(self) -> bool:
        """Whether it passes: the difference is small enough, and no record is missing."""
        return self.is_within and not self.missing


async def check_past(client: PrefectClient, fleet: Fleet, *, seconds: float, fail_above_percent: float) -> PastTold:
    """Compare a fleet as it is written with the deployed one, on what came in its past. Changes nothing.

    Args:
        client: of the server.
        fleet: as it is written.
        seconds: so far back.
        fail_above_percent: of worker-hours, more or fewer.

    Raises:
        ConfigError: one of the two cannot be played; says why.
        NotRecorded: there is nothing to compare with.
        RecordError: no record can be read.
    """
    ledger = PrefectLedger(client)
    before, note = await deployed_or_recorded(ledger, fleet.name, (await deployed_fleets(client)).get(fleet.name, ()))
    past = await read_fleet_past(ledger, fleet.name, seconds=seconds)
    if past is None or past.records < 2:
        raise NotRecorded(
            f"fleet {fleet.name!r} has {'no record' if past is None else 'one record alone'} of this time: nothing "
            "came that could be played; a longer --past looks further back"
        )
    return await compare(past, before, fleet, seconds=seconds, fail_above_percent=fail_above_percent, note=note)


async def compare(
    past: FleetPast, before: Fleet, after: Fleet, *, seconds: float, fail_above_percent: float, note: str = ""
) -> PastTold:
    """Play two fleets on one past, in a thread of its own.

    Args:
        past: what came.
        before: the deployed fleet.
        after: the fleet as it is written.
        seconds: so far back was asked for.
        fail_above_percent: of worker-hours, more or fewer.
        note: what else a person has to know.

    Raises:
        ConfigError: one of the two cannot be played; says why.
    """
    for fleet, what in ((before, "as it is deployed"), (after, "as it is written")):
        check_playable(past, fleet, what)
    try:
        deployed = await asyncio.to_thread(play_fleet, past.played, before)
        written = deployed if after == before else await asyncio.to_thread(play_fleet, past.played, after)
    except TraceError as error:
        raise ConfigError(f"fleet {after.name!r}: its past cannot be played: {error}") from error
    percent = more_of(deployed.figures.worker_hours, written.figures.worker_hours)
    return PastTold(
        fleet=after.name,
        since_at=past.first_at,
        until_at=past.played.until,
        records=past.records,
        recorded=past.recorded,
        deployed=deployed.figures,
        written=written.figures,
        worker_hours_percent=None if percent is None else round(percent, 6),
        fail_above_percent=fail_above_percent,
        is_within=percent is not None and abs(percent) <= fail_above_percent,
        notes=tuple(filter(None, (note, *_notes(past, after, deployed, written, seconds)))),
        missing=past.missing,
    )


def check_playable(past: FleetPast, fleet: Fleet, what: str) -> None:
    """Refuse what this past cannot judge.

    Raises:
        ConfigError: what the fleet itself says of its master, or what a past does not tell.
    """
    if fleet.master == past.master:
        fleet.check(past.master_caps, past.provider_caps)
    kind = fleet.policy.kind
    if past.master_caps.owns_workers:
        raise ConfigError(
            f"fleet {fleet.name!r}: {past.master} starts and ends its workers itself: nothing can be played"
        )
    if getattr(fleet.policy, "needs_shapes", False) or getattr(fleet.policy, "needs_desired", False):
        raise ConfigError(
            f"fleet {fleet.name!r} {what} has policy.kind {kind!r}, which asks for more than how much work there was, "
            "and more cannot be played: `ebbflow replay --last N --policy FILE` decides each recorded turn by itself"
        )


async def deployed_or_recorded(ledger: Ledger, name: str, deployed: tuple[Deployed, ...]) -> tuple[Fleet, str]:
    """The fleet as its turns take it, or took it last, and what a person has to know of it.

    Args:
        ledger: that keeps its records.
        name: of the fleet.
        deployed: its deployments.

    Raises:
        ConfigError: what is deployed is no fleet of this release.
        NotRecorded: it is neither deployed nor recorded.
        RecordError: it is not deployed, and its record cannot be read.
    """
    autoscale = next((each for each in deployed if each.flow == "autoscale"), None)
    if autoscale is not None:
        if autoscale.fleet is None:
            raise ConfigError(f"fleet {name!r}: what is deployed as it is no fleet of this release: deploy it anew")
        return autoscale.fleet, ""
    reader = ChainReader(ledger)
    found = await reader.last_readable(name)
    if found is None:
        raise NotRecorded(f"fleet {name!r} is neither deployed nor recorded here: there is nothing to compare it with")
    try:
        fleet = await reader.fleet(found.record)
    except RecordError as error:
        raise RecordError(f"fleet {name!r} has no deployment, and its record cannot be used: {error}") from error
    return fleet, f"no turn of it is deployed: taken for it is the fleet of record {found.record.number}"


def notes_of(past: FleetPast, fleet: Fleet, *, seconds: float, worker_hours: float, what: str) -> list[str]:
    """What a person has to know of a past and of a fleet that was played on it.

    Args:
        past: what was found.
        fleet: whose master counts.
        seconds: so far back was asked for.
        worker_hours: of the fleet that lived through this past, played.
        what: how a person calls that fleet.
    """
    notes = list(past.notes)
    until = past.played.until
    if not past.missing and until - past.first_at < 0.9 * seconds:
        notes.insert(0, f"only {(until - past.first_at) / 3600:.2f} h are recorded, from {moment(past.first_at)} on")
    far = more_of(past.recorded.worker_hours, worker_hours)
    if far is None or abs(far) > FAR_OFF_PERCENT:
        off = "" if far is None else f", {abs(far):.0f} % {'more' if far > 0 else 'fewer'}"
        notes.append(
            f"played, {what} has {worker_hours:.2f} worker-hours, and it had {past.recorded.worker_hours:.2f}{off}: "
            "take the difference for a direction and not for a number"
        )
    if served_seconds(past.played.known) is None:
        service = past.played.service_seconds
        guessed = "which is a guess, and waiting with it" if service == SERVICE_SECONDS else "as was asked for"
        notes.append(
            f"{past.master} does not count what it serves: each request is taken for {service:g} s of work, {guessed}"
        )
    if fleet.master != past.master:
        notes.append(f"its master is to be {fleet.master}: played is what came to {past.master}")
    return notes


def _notes(past: FleetPast, after: Fleet, deployed: PlayedFleet, written: PlayedFleet, seconds: float) -> list[str]:
    hours = deployed.figures.worker_hours
    notes = notes_of(past, after, seconds=seconds, worker_hours=hours, what="the deployed fleet")
    for played, what in ((deployed, "as it is deployed"), (written, "as it is written")):
        if played.faults.failed:
            notes.append(f"{what}: the policy gave {one_line(played.faults, 300)}")
    return [*notes, *written.notes, *GUESSES]
