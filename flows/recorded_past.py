"""A fleet's recorded past, gathered from its chain of records, for a backtest."""

from dataclasses import replace
from itertools import pairwise

from ebbflow.core.canonical import decode
from ebbflow.core.errors import RecordError
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.ports import Ledger
from ebbflow.core.record import Record
from ebbflow.simulation.past import RecordedLook, now_gone
from ebbflow.simulation.turn_times import looked_after, serving_since
from ebbflow.turn.chain_reader import ChainReader


async def read_past(ledger: Ledger, fleet: str, *, hours: float) -> tuple[RecordedLook, ...]:
    """The looks of a fleet's claimed records, oldest first, as far back as the chain can be followed unbroken.

    Args:
        ledger: that keeps the records.
        fleet: its name.
        hours: no further back than this.
    """
    reader = ChainReader(ledger)
    entries = await reader.history(fleet, since=await ledger.now() - 3600 * hours)
    looks = [await _look(reader, entry.record) for entry in entries]
    for place, (entry, later) in enumerate(pairwise(entries)):
        before, after = entry.record, later.record
        if before.chain != after.chain:
            continue
        looks[place] = replace(looks[place], looked_after_seconds=looked_after(after.turn))
        wished = {worker.worker_id for worker in before.memory.workers if worker.state is WorkerState.WISHED}
        was_launched = any(
            worker.state is WorkerState.READY and worker.worker_id in wished for worker in after.memory.workers
        )
        since, is_sure = serving_since(before, after, noted_at=entry.noted_at, was_launched=was_launched)
        gone = now_gone(before.memory.workers, after.memory.workers)
        workers = (*after.memory.workers, *gone)
        looks[place + 1] = replace(looks[place + 1], workers=workers, ready_since=since, is_ready_since_sure=is_sure)
    return tuple(looks)


async def _look(reader: ChainReader, record: Record) -> RecordedLook:
    try:
        demand = decode(Demand, await reader.section(record, "demand"), where="demand")
    except RecordError as error:
        demand = Demand(complete=False, detail=str(error))
    return RecordedLook(record.turn.at_seconds, demand, record.memory.workers)
