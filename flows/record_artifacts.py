"""Records among the artifacts of a Prefect server: pages that hold the record's own text.

They have no key: of what has one a server keeps a second copy, and makes an event each time. Releases before wrote
`{"record": text, "outcomes": note}` into artifacts of a type of their own, which are read as well.
"""

from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, ArtifactFilterType
from prefect.client.schemas.objects import Artifact

from ebbflow.core.canonical import Plain
from ebbflow.core.chain import Stored
from ebbflow.core.record import Record
from ebbflow.core.text import markdown, one_line
from ebbflow.turn.record_page import parse_page, record_page

PAGE = "markdown"
KIND = "ebbflow-record"
"""In the metadata of a record; of releases before it was the type."""
RECORDS = ArtifactFilter(type=ArtifactFilterType(any_=[PAGE, KIND]), key=ArtifactFilterKey(exists_=False))


def artifact_of(record: Record, summary: str) -> ArtifactCreate:
    """What is stored of a record, before it is claimed."""
    return ArtifactCreate(
        type=PAGE,
        description=markdown(one_line(record.plan.headline)),
        data=record_page(summary, record),
        metadata_={"kind": KIND},
        flow_run_id=UUID(record.flow_run_id),
    )


def is_record(artifact: Artifact) -> bool:
    """Whether it is one of ours: other flows on the server write pages without a key too."""
    return artifact.type == KIND or (artifact.metadata_ or {}).get("kind") == KIND


def stored_of(artifact: Artifact) -> Stored:
    """The record that an artifact holds, whatever became of it."""
    text, note = _parts(artifact.data)
    return Stored(text, note, stored_at(artifact), artifact.updated.timestamp() if artifact.updated else 0.0)


def stored_at(artifact: Artifact) -> float:
    """Epoch seconds, by the server's clock."""
    return artifact.created.timestamp() if artifact.created else 0.0


def _parts(data: Any) -> tuple[str | None, Plain]:
    """A record's text and its note. Any: whatever somebody's artifact holds."""
    if isinstance(data, str):
        return parse_page(data)
    text, note = (data.get("record"), data.get("outcomes")) if isinstance(data, dict) else (None, None)
    return text if isinstance(text, str) else None, note
