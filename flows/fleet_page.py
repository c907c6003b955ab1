"""A fleet's page among the server's artifacts: one that each turn writes anew in its place.

A server keeps every artifact of a key, so that a new one a turn would be thousands a day; and through Prefect's own
functions each makes an event besides, with the whole text where it is written anew.
"""

from collections.abc import Sequence

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection
from prefect.exceptions import PrefectHTTPStatusError

from ebbflow.blocks.client import going_on
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.decision.evaluate import Evaluation
from ebbflow.turn.fleet_page import Kept, fleet_page, kept_after, kept_of
from ebbflow.turn.surroundings import Log

MARKDOWN = "markdown"


def page_key(fleet: str) -> str:
    """Where a fleet's page is: `/artifacts/key/ebbflow-sdxl`."""
    return f"ebbflow-{fleet}"


async def show_fleet(
    client: PrefectClient, record: Record, evaluation: Evaluation, outcomes: Sequence[Outcome], headline: str, log: Log
) -> None:
    """Write a fleet's page after a turn. Where the server refuses it or is away, the log says so: the turn is done.

    Args:
        client: of the server.
        record: the turn's.
        evaluation: what it saw and decided.
        outcomes: what came of its actions; empty where it held.
        headline: the same in a few words.
        log: of the run.
    """
    with going_on(log, "the fleet's page could not be written"):
        latest = await _latest(client, page_key(record.fleet))
        before = kept_of(latest.metadata_) if latest is not None else Kept()
        if record.number <= before.number and record.turn.at_seconds < _written_at(latest):
            # A later turn was quicker.
            return
        kept = kept_after(before, record, evaluation.observation, outcomes)
        page = fleet_page(record, evaluation.observation, kept, headline)
        # The page of the key shows the description, the page of the artifact both.
        artifact = ArtifactCreate(
            key=page_key(record.fleet),
            type=MARKDOWN,
            description=page.summary,
            data=page.details,
            metadata_=kept.texts(),
        )
        await _write(client, artifact, latest)


def _written_at(latest: ArtifactCollection | None) -> float:
    return latest.updated.timestamp() if latest is not None and latest.updated is not None else 0.0


async def _latest(client: PrefectClient, key: str) -> ArtifactCollection | None:
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
    found = await client.read_latest_artifacts(artifact_filter=wanted, limit=1)
    # An artifact keeps its type: where another kind has the key, ours comes after it.
    return next((each for each in found if each.type == MARKDOWN), None)


async def _write(client: PrefectClient, artifact: ArtifactCreate, latest: ArtifactCollection | None) -> None:
    """In the place of the latest one. It belongs to no run, so that it stays when old runs are deleted."""
    whole = artifact.model_dump(mode="json", exclude_unset=True)
    if latest is not None:
        changed = {name: whole[name] for name in ("data", "description", "metadata_")}
        try:
            await client.request("PATCH", "/artifacts/{id}", path_params={"id": latest.latest_id}, json=changed)
            return
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 404:
                raise
    await client.request("POST", "/artifacts/", json=whole)
