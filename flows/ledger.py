"""Records and claims: what a fleet's runs leave on the Prefect server, and how one of them gets the right to act.

A record is an artifact; a claim is a Variable whose creation succeeds for one caller only. Source: Prefect 3.8,
`POST /variables/` answers 409 where the name exists.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate, VariableCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from ebbflow.core.canonical import Plain, decode, digest, encode
from ebbflow.core.chain import HOME_VARIABLE, Claim, Head, claim_name, claim_number
from ebbflow.core.errors import ConfigError, RecordError
from ebbflow.core.ids import check_home
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record, Section, parse_record, restore_inputs
from ebbflow.turn.words import random_word

RECORD_TYPE = "ebbflow-record"
CLAIMS_PER_PAGE = 200


async def read_home(client: PrefectClient, *, create: bool) -> str:
    """The random word of this installation, made once by whoever comes first.

    Raises:
        ConfigError: it was set by hand to something that cannot be part of a label.
    """
    known = await client.read_variable_by_name(HOME_VARIABLE)
    if known is None and not create:
        return random_word(5)
    if known is None:
        try:
            known = await client.create_variable(VariableCreate(name=HOME_VARIABLE, value=random_word(5)))
        except ObjectAlreadyExists:
            known = await client.read_variable_by_name(HOME_VARIABLE)
    return check_home(str(known.value if known else ""))


async def read_head(client: PrefectClient, fleet: str, now: datetime | None = None) -> Head | None:
    """The newest claim and its record, or None where the fleet has no chain.

    Args:
        client: of the Prefect server.
        fleet: its name.
        now: by the server's own clock; None: the server is asked.
    """
    claims = await _claims(client, fleet)
    if not claims:
        return None
    number, variable = max(claims.items())
    claim = _parse_claim(fleet, number, variable, now or await server_time(client))
    record, broken, outcomes = await _read_record(client, claim)
    return Head(claim, record, broken, outcomes)


async def read_notes(client: PrefectClient, claims: Sequence[RecentClaim]) -> dict[int, tuple[Outcome, ...]]:
    """The notes that are there by now, by claim number."""
    notes = {}
    for claim in claims:
        data = await _artifact(client, claim.artifact_id)
        outcomes = _outcomes(data)
        if outcomes is not None:
            notes[claim.number] = outcomes
    return notes


async def store(client: PrefectClient, record: Record, *, summary: str) -> str:
    """Store a record, unclaimed, and return its artifact's id. Until it is claimed it counts for nothing."""
    artifact = await client.create_artifact(
        ArtifactCreate(
            type=RECORD_TYPE,
            description=summary,
            data={"record": record.text()},
            flow_run_id=UUID(record.flow_run_id),
        )
    )
    return str(artifact.id)


async def claim(client: PrefectClient, record: Record, artifact_id: str, *, interval_seconds: float) -> Claim | None:
    """Claim a record's number. One caller gets it; everybody else gets None.

    A lost answer is not a lost claim: where the name exists already with our own artifact, it is ours.
    """
    ours = Claim(record.number, artifact_id, digest(record.text()), record.turn.budget_seconds)
    name = claim_name(record.fleet, record.number)
    value = {"artifact": artifact_id, "sha256": ours.sha256, "budget_seconds": ours.budget_seconds}
    try:
        await client.create_variable(VariableCreate(name=name, value=value, tags=["ebbflow", f"fleet:{record.fleet}"]))
    except (ObjectAlreadyExists, PrefectHTTPStatusError) as error:
        taken = await client.read_variable_by_name(name)
        if taken is None and not isinstance(error, ObjectAlreadyExists):
            raise
        if taken is None or taken.value != value:
            return None
    claims = await _claims(client, record.fleet)
    if max(claims, default=0) > record.number:
        # We were so late that our number had been claimed and cleared away before.
        await _forget(client, name)
        return None
    await _tidy(client, record.fleet, claims, older_than=max(10 * interval_seconds, 600.0))
    return ours


async def note(client: PrefectClient, record: Record, claimed: Claim, outcomes: Sequence[Outcome]) -> None:
    """Attach what came of a claim's actions to its record. The record's own text stays as it was hashed."""
    data = {"record": record.text(), "outcomes": encode(tuple(outcomes))}
    await client.update_artifact(UUID(claimed.artifact_id), ArtifactUpdate(data=data))


async def read_inputs(client: PrefectClient, record: Record) -> Inputs:
    """The inputs of a stored decision, gathered from the records that hold them, so that it can be replayed.

    Raises:
        RecordError: a record that this one leans on is gone, or was edited.
    """
    texts: dict[str, Record] = {}

    async def leaned_on(artifact_id: str) -> Record:
        if artifact_id not in texts:
            data = await _artifact(client, artifact_id)
            if data is None:
                raise RecordError(
                    f"record {record.number} of {record.fleet} leans on artifact {artifact_id}, which is gone"
                )
            texts[artifact_id] = parse_record(str(data.get("record")))
        return texts[artifact_id]

    values: dict[str, Plain] = {}
    for name, section in record.sections.items():
        holder: Section = section
        if section.artifact_id is not None:
            holder = (await leaned_on(section.artifact_id)).sections[name]
        values[name] = encode(holder.value)
    before = await leaned_on(record.previous.artifact_id) if record.previous and not record.previous.broken else None
    return restore_inputs(record, values, before.memory if before else Memory())


async def _claims(client: PrefectClient, fleet: str) -> dict[int, dict[str, Any]]:
    """All claims of a fleet by number. Any: what the server's JSON holds."""
    found: dict[int, dict[str, Any]] = {}
    offset = 0
    while True:
        response = await client.request(
            "POST",
            "/variables/filter",
            json={
                # `_` is a wildcard here, so other fleets' claims may come along; the exact name decides.
                "variables": {"name": {"like_": f"ebbflow_{fleet}_"}},
                "sort": "CREATED_DESC",
                "limit": CLAIMS_PER_PAGE,
                "offset": offset,
            },
        )
        page = response.json()
        for variable in page:
            number = claim_number(fleet, variable["name"])
            if number is not None:
                found[number] = variable
        if len(page) < CLAIMS_PER_PAGE:
            return found
        offset += CLAIMS_PER_PAGE


def _parse_claim(fleet: str, number: int, variable: dict[str, Any], now: datetime) -> Claim:
    value = variable["value"]
    try:
        return Claim(
            number,
            str(value["artifact"]),
            str(value["sha256"]),
            float(value["budget_seconds"]),
            max(0.0, (now - datetime.fromisoformat(variable["created"])).total_seconds()),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(
            f"Variable {claim_name(fleet, number)} was edited and holds {str(value)[:80]!r}: delete it; "
            "the fleet then goes on from the claim before it, or adopts its workers"
        ) from error


async def server_time(client: PrefectClient) -> datetime:
    """The server's own clock, to the second below: an age is never overrated."""
    response = await client.hello()
    return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)


async def _artifact(client: PrefectClient, artifact_id: str) -> dict[str, Any] | None:
    wanted = ArtifactFilter(id=ArtifactFilterId(any_=[UUID(artifact_id)]))
    found = await client.read_artifacts(artifact_filter=wanted, limit=1)
    if not found:
        return None
    return found[0].data if isinstance(found[0].data, dict) else {}


async def _read_record(client: PrefectClient, claimed: Claim) -> tuple[Record | None, str, tuple[Outcome, ...] | None]:
    data = await _artifact(client, claimed.artifact_id)
    if data is None:
        return None, f"record {claimed.number} was deleted (artifact {claimed.artifact_id})", None
    text = data.get("record")
    if not isinstance(text, str) or digest(text) != claimed.sha256:
        return None, f"record {claimed.number} was edited: it no longer fits the hash of its claim", None
    try:
        return parse_record(text), "", _outcomes(data)
    except RecordError as error:
        return None, f"record {claimed.number} cannot be read: {error}", None


def _outcomes(data: dict[str, Any] | None) -> tuple[Outcome, ...] | None:
    noted = (data or {}).get("outcomes")
    if noted is None:
        return None
    try:
        return decode(tuple[Outcome, ...], noted, where="outcomes")
    except RecordError:
        # A note that cannot be read tells nothing; the next listing shows what is true.
        return None


async def _tidy(client: PrefectClient, fleet: str, claims: dict[int, dict[str, Any]], *, older_than: float) -> None:
    """Delete old claims, never the head, so that a person sees a handful of Variables."""
    head = max(claims)
    newest = datetime.fromisoformat(claims[head]["created"])
    for number, variable in claims.items():
        age = (newest - datetime.fromisoformat(variable["created"])).total_seconds()
        if number != head and age > older_than:
            await _forget(client, claim_name(fleet, number))


async def _forget(client: PrefectClient, name: str) -> None:
    try:
        await client.delete_variable_by_name(name)
    except ObjectNotFound:
        return
