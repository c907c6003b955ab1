"""A fleet's recorded past, gathered from its chain of records, for a backtest."""

from ebbflow.core.canonical import decode
from ebbflow.core.errors import RecordError
from ebbflow.core.member import Demand
from ebbflow.core.ports import Ledger
from ebbflow.core.record import Record
from ebbflow.simulation.past import RecordedLook
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
    return tuple([await _look(reader, entry.record) for entry in entries])


async def _look(reader: ChainReader, record: Record) -> RecordedLook:
    try:
        demand = decode(Demand, await reader.section(record, "demand"), where="demand")
    except RecordError as error:
        demand = Demand(complete=False, detail=str(error))
    return RecordedLook(record.turn.at_seconds, demand, record.memory.workers)
