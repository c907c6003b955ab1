"""The sign of life of workers whose fleet a person has to mend first.

A turn that ends in a configuration error before it has asked anybody would let workers that serve end by their
dead-man's switch because a setting is wrong.
"""

from collections.abc import Sequence

from ebbflow.core.errors import FleetError, RecordError
from ebbflow.core.text import counted
from ebbflow.core.worker import Worker
from ebbflow.fleet.model import Fleet
from ebbflow.turn.chain_reader import ChainReader, Claimed
from ebbflow.turn.observing import keep_alive
from ebbflow.turn.surroundings import Surroundings


async def keep_alive_all_the_same(fleet: Fleet, around: Surroundings) -> str:
    """Keep alive whom the last readable record knows: through this fleet, or else as that record's fleet was.

    Returns:
        What came of it, for the error that a person reads: who ends by itself, and when. Empty where nobody is known.
    """
    reader = ChainReader(around.ledger)
    try:
        found = await reader.last_readable(fleet.name)
        workers = [worker for worker in found.record.memory.workers if worker.may_exist] if found else []
        if found is None or not workers:
            return ""
        limit_seconds = await _limit_seconds(reader, found)
        answered = await _asked_through_any(await _fleets(reader, found, fleet), found, workers, around)
    except FleetError as error:
        return f"its workers could not be given a sign of life: {error}"
    if limit_seconds is None:
        return ""
    silent = sorted({worker.worker_id for worker in workers} - answered)
    if not silent:
        given = "was given its" if len(workers) == 1 else "were given their"
        return f"the {counted(len(workers), 'worker')} of record {found.record.number} {given} sign of life"
    minutes = counted(round(max(0.0, limit_seconds - found.claim.age_seconds) / 60), "minute")
    names = ", ".join(silent)
    return f"no sign of life could be given to {names}: without one they end in {minutes} or less"


async def _fleets(reader: ChainReader, found: Claimed, fleet: Fleet) -> Sequence[Fleet]:
    try:
        return fleet, await reader.fleet(found.record)
    except RecordError:
        return (fleet,)


async def _asked_through_any(
    fleets: Sequence[Fleet], found: Claimed, workers: Sequence[Worker], around: Surroundings
) -> frozenset[str]:
    """The ids of those that answered, asked through the first of these fleets whose master can be had."""
    for fleet in fleets:
        try:
            async with around.open_fleet(fleet, found.record.home, dry_run=False) as opened:
                return await keep_alive(opened, workers, around.log)
        except FleetError as error:
            around.log.info("no sign of life through master %s: %s", fleet.master, error)
    return frozenset()


async def _limit_seconds(reader: ChainReader, found: Claimed) -> float | None:
    """How long workers of that master live without a sign of life; None: for ever."""
    return (await reader.inputs(found.record)).master.caps.needs_keepalive_seconds
