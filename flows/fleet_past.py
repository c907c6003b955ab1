"""A fleet's recorded past as it is played anew, and what was recorded of it: read once, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass

from ebbflow.core.errors import RecordError
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.member import MasterCaps
from ebbflow.core.ports import Ledger
from ebbflow.flows.past_gathering import KEPT, Gathering
from ebbflow.simulation.two_fleets import FleetFigures, OwnPast
from ebbflow.turn.chain_walk import NO_CLAIM, ChainWalk, Step, newest_readable, walk
from ebbflow.turn.costing import FleetSum
from ebbflow.turn.costs import By

LEAD_IN_SECONDS = 7200.0
"""What came in so long before is played too, and not counted: no fleet begins with nothing but its minimum."""
MOST_LOOKS = 200_000
"""So many are held."""


@dataclass(frozen=True, slots=True)
class FleetPast:
    """What was found."""

    played: OwnPast
    recorded: FleetFigures
    """What the fleet did, as `ebbflow costs` counts it."""
    records: int
    """That count, in the time that was asked for."""
    first_at: float
    """Of the first of them: epoch seconds, UTC, by the Prefect server's clock."""
    master: str
    """Of the newest record, by its block."""
    master_caps: MasterCaps
    provider_caps: Mapping[str, ProviderCaps]
    notes: tuple[str, ...]
    """What a person has to know of this past."""
    missing: tuple[str, ...]
    """Of which times no record tells, and why; empty: of none since the first one."""


async def read_fleet_past(
    ledger: Ledger, fleet: str, *, seconds: float, most_looks: int = MOST_LOOKS
) -> FleetPast | None:
    """A fleet's past, as far as it can be played; None where nothing is recorded in that time.

    Args:
        ledger: that keeps the records.
        fleet: its name.
        seconds: so far back.
        most_looks: of more, every second one is left out, and again.

    Raises:
        RecordError: there are records, and none of that time can be read.
    """
    now = await ledger.now()
    since = now - seconds
    newest, lost = await newest_readable(ledger, fleet)
    summed = FleetSum(fleet, since, now, By.FLEET, None)
    found = Gathering(fleet, since, most_looks)

    def take(step: Step) -> None:
        found.take(step)
        if not found.is_over:
            summed.take(step)

    back = ChainWalk(ledger, fleet, newest, since - LEAD_IN_SECONDS, take, lost, also=KEPT)
    await walk(ledger, [back], since=since - LEAD_IN_SECONDS)
    found.end(back.lost)
    if found.missing and not found.records and lost != NO_CLAIM:
        raise RecordError(f"fleet {fleet!r}: no record of this time can be read: {found.missing[0]}")
    return _past_of(found, summed) if found.records else None


def _past_of(found: Gathering, summed: FleetSum) -> FleetPast:
    cost = summed.tallies[found.fleet].cost(found.fleet, "") if found.fleet in summed.tallies else None
    return FleetPast(
        played=OwnPast(
            tuple(reversed(found.looks)),
            found.boots(),
            found.first_at,
            found.last_at,
            interval_seconds=found.interval_seconds if found.every == 1 else None,
            waiting_interval_seconds=found.waiting_interval_seconds,
            poll_interval_seconds=found.poll_interval_seconds,
            provider_caps=found.provider_caps,
            requests_at_once=found.at_once.count,
        ),
        recorded=FleetFigures(
            launches=len(found.launched),
            stops=len(found.ended),
            worker_hours=cost.worker_hours if cost is not None else 0.0,
            usd=cost.usd if cost is not None else None,
            unpriced_hours=cost.unpriced_hours if cost is not None else 0.0,
            waited_p95_seconds=None,
        ),
        records=found.records,
        first_at=found.first_at,
        master=found.master or "",
        master_caps=found.master_caps or MasterCaps(),
        provider_caps=found.provider_caps,
        notes=tuple(found.notes()),
        missing=tuple(reversed(found.missing)),
    )
