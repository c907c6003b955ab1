"""A fleet's recorded past, gathered from its chain of records, for a backtest."""

from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId, ArtifactFilterType
from prefect.client.schemas.sorting import ArtifactSort

from ebbflow.core.canonical import decode, digest
from ebbflow.core.errors import RecordError
from ebbflow.core.member import Demand
from ebbflow.core.record import Record, parse_record
from ebbflow.flows.ledger import RECORD_TYPE, read_head, server_time
from ebbflow.simulation.past import RecordedLook

PER_PAGE = 200


async def read_past(client: PrefectClient, fleet: str, *, hours: float) -> tuple[RecordedLook, ...]:
    """The looks of a fleet's claimed records, oldest first, as far back as the chain can be followed unbroken.

    Unclaimed records count for nothing: only what the chain's links name, by artifact and by hash, is read.

    Args:
        client: of the Prefect server.
        fleet: its name.
        hours: no further back than this.
    """
    now = await server_time(client)
    head = await read_head(client, fleet, now)
    if head is None or head.record is None:
        return ()
    texts = await _texts(client, since=now - timedelta(hours=hours))
    chain = [head.record]
    while (link := chain[-1].previous) is not None and not link.broken:
        text = texts.get(link.artifact_id)
        if text is None or digest(text) != link.sha256:
            break
        chain.append(parse_record(text))
    looks = []
    for record in reversed(chain):
        demand = await _demand(client, record, texts)
        looks.append(RecordedLook(record.turn.at_seconds, demand, record.memory.workers))
    return tuple(looks)


async def _texts(client: PrefectClient, *, since: datetime) -> dict[str, str]:
    """Every record that was stored since then, by artifact id, of whatever fleet."""
    found: dict[str, str] = {}
    wanted = ArtifactFilter(type=ArtifactFilterType(any_=[RECORD_TYPE]))
    offset = 0
    while True:
        page = await client.read_artifacts(
            artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=PER_PAGE, offset=offset
        )
        for artifact in page:
            if artifact.created is not None and artifact.created < since:
                return found
            if isinstance(artifact.data, dict):
                found[str(artifact.id)] = str(artifact.data.get("record"))
        if len(page) < PER_PAGE:
            return found
        offset += PER_PAGE


async def _demand(client: PrefectClient, record: Record, texts: dict[str, str]) -> Demand:
    """What a record saw waiting; from the record that holds it in full, which may be older than the window."""
    section = record.sections["demand"]
    if section.artifact_id is None:
        return _decoded(section.value)
    if section.artifact_id not in texts:
        identity = ArtifactFilterId(any_=[UUID(section.artifact_id)])
        (artifact,) = await client.read_artifacts(artifact_filter=ArtifactFilter(id=identity), limit=1) or (None,)
        data = artifact.data if artifact is not None and isinstance(artifact.data, dict) else {}
        texts[section.artifact_id] = str(data.get("record", ""))
    try:
        return _decoded(parse_record(texts[section.artifact_id]).sections["demand"].value)
    except (RecordError, KeyError):
        return Demand(complete=False, detail=f"the record that held it (number {section.number}) is gone")


def _decoded(value: object) -> Demand:
    # `parse_record` leaves the values of sections as plain JSON.
    return decode(Demand, value, where="demand")  # type: ignore[arg-type]
