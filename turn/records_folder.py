"""A fleet's records as lines of a file, where the fleet names a folder for them."""

import anyio

from ebbflow.core.record import Record
from ebbflow.fleet.model import Fleet
from ebbflow.turn.surroundings import Log


async def append_line(fleet: Fleet, record: Record, log: Log) -> None:
    """Append the record to the fleet's folder, where it names one; a full disk must not stop a turn."""
    if fleet.records_folder is None:
        return
    path = anyio.Path(fleet.records_folder, f"{fleet.name}.jsonl")
    try:
        await path.parent.mkdir(parents=True, exist_ok=True)
        async with await path.open("a") as lines:
            await lines.write(record.text() + "\n")
    except (OSError, ValueError) as error:
        log.warning("record %d was not written to %s: %s", record.number, path, error)
