"""The ledger on a Prefect server: what a fleet's runs leave there, and how one of them gets the right to act.

A record is an artifact; a claim is a Variable whose creation succeeds for one caller only. Source: Prefect 3.8,
`POST /variables/` answers 409 where the name exists.
"""

import math
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from ebbflow.core.canonical import digest
from ebbflow.core.chain import Claim, Stored, claim_age
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import check_home
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.flows.record_artifacts import RECORDS, artifact_of, is_record, stored_at, stored_of
from ebbflow.turn.record_page import record_page
from ebbflow.turn.words import random_word

HOME_VARIABLE = "ebbflow_home"
PER_PAGE = 200
MOST_TIDIED = 10
"""Old claims that one turn clears away: where many are left of a faster fleet, the next turns go on."""
MOST_CLAIMS = 36**6
"""A thousand years of claims, two a minute; what is above was not made by a turn, and would fit into no worker id."""


class PrefectLedger:
    """Records and claims on the server that a client talks to.

    Args:
        client: of the Prefect server.
    """

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._summaries: dict[str, str] = {}
        """Of what was stored by this object, by artifact id: a note is written with the page around it."""
        self._heard: tuple[float, float] | None = None
        """What the server's clock said, and when on our monotonic one."""

    async def home(self, *, create: bool) -> str:
        """The random word of this installation, kept in a Variable that a person may set to take a fleet over.

        Raises:
            ConfigError: it was set by hand to something that cannot be part of a label.
        """
        known = await self._client.read_variable_by_name(HOME_VARIABLE)
        if known is None and not create:
            return random_word(5)
        if known is None:
            try:
                known = await self._client.create_variable(VariableCreate(name=HOME_VARIABLE, value=random_word(5)))
            except ObjectAlreadyExists:
                known = await self._client.read_variable_by_name(HOME_VARIABLE)
        return check_home(str(known.value if known else ""))

    async def now(self) -> float:
        """The server's own clock, to the second below: an age is never overrated.

        Where it was heard of before, as much later as our own clock says: what was asked then is as old by now.
        """
        if self._heard is None:
            self._heard = _heard((await self._client.hello()).headers)
        said_at, heard_at = self._heard
        return float(int(said_at + time.monotonic() - heard_at))

    async def newest_claim(self, fleet: str) -> Claim | None:
        """The claim with the highest number, and its age by the server's clock.

        Raises:
            ConfigError: its Variable was edited; says what to do.
        """
        claims, now = await self._claims(fleet)
        return _parse_claim(fleet, max(claims), claims[max(claims)], now) if claims else None

    async def readable_claims(self, fleet: str) -> Sequence[Claim]:
        """Those whose Variables nobody has edited, the newest first."""
        claims, now = await self._claims(fleet)
        found = []
        for number in sorted(claims, reverse=True):
            with suppress(ConfigError):
                found.append(_parse_claim(fleet, number, claims[number], now))
        return found

    async def stored(self, artifact_id: str) -> Stored | None:
        """One record with its note; what is no id of this server's is not there."""
        return (await self.stored_all([artifact_id])).get(artifact_id)

    async def stored_all(self, artifact_ids: Sequence[str]) -> Mapping[str, Stored]:
        """Those of these records that are there."""
        known = [found for each in artifact_ids if (found := _id(each)) is not None]
        stored: dict[str, Stored] = {}
        for first in range(0, len(known), PER_PAGE):
            wanted = ArtifactFilter(id=ArtifactFilterId(any_=known[first : first + PER_PAGE]))
            page = await self._client.read_artifacts(artifact_filter=wanted, limit=PER_PAGE)
            stored |= {str(artifact.id): stored_of(artifact) for artifact in page}
        return stored

    async def stored_since(self, at_seconds: float) -> Mapping[str, Stored]:
        """Every record that was stored since then, the newest first."""
        found: dict[str, Stored] = {}
        async for page in self.stored_pages(at_seconds):
            found.update(page)
        return found

    async def stored_pages(self, at_seconds: float) -> AsyncIterator[Mapping[str, Stored]]:
        """The same, a page at a time."""
        read = 0
        while True:
            page = await self._client.read_artifacts(
                artifact_filter=RECORDS, sort=ArtifactSort.CREATED_DESC, limit=PER_PAGE, offset=read
            )
            wide = {str(artifact.id): artifact for artifact in page if stored_at(artifact) >= at_seconds}
            yield {name: stored_of(artifact) for name, artifact in wide.items() if is_record(artifact)}
            if len(wide) < PER_PAGE:
                return
            read += len(page)

    async def store(self, record: Record, *, summary: str) -> str:
        """Store a record as an artifact of its run."""
        artifact = artifact_of(record, summary).model_dump(mode="json", exclude_unset=True)
        # Through Prefect's own functions each writing makes an event besides, a note's with the whole page in it.
        artifact_id = str((await self._client.request("POST", "/artifacts/", json=artifact)).json()["id"])
        self._summaries[artifact_id] = summary
        return artifact_id

    async def claim(self, record: Record, artifact_id: str, *, interval_seconds: float) -> Claim | None:
        """Claim a record's number by creating its Variable.

        A lost answer is not a lost claim: where the name exists already with our own artifact, it is ours.
        """
        ours = Claim(record.number, artifact_id, digest(record.text()), record.turn.budget_seconds)
        name = claim_name(record.fleet, record.number)
        value = {"artifact": artifact_id, "sha256": ours.sha256, "budget_seconds": ours.budget_seconds}
        try:
            await self._client.create_variable(
                VariableCreate(name=name, value=value, tags=["ebbflow", f"fleet:{record.fleet}"])
            )
        except (ObjectAlreadyExists, PrefectHTTPStatusError) as error:
            taken = await self._client.read_variable_by_name(name)
            if taken is None and not isinstance(error, ObjectAlreadyExists):
                raise
            if taken is None or taken.value != value:
                return None
        claims, _ = await self._claims(record.fleet)
        if max(claims, default=0) > record.number:
            # We were so late that our number had been claimed and cleared away before.
            await self._forget(name)
            return None
        await self._tidy(record.fleet, claims, older_than=max(10 * interval_seconds, 600.0))
        return ours

    async def note(self, record: Record, claim: Claim, outcomes: Sequence[Outcome]) -> None:
        """Attach what came of a claim's actions to its artifact; where that is gone, the note is lost with it."""
        page = record_page(self._summaries.get(claim.artifact_id, ""), record, outcomes)
        try:
            await self._client.request(
                "PATCH", "/artifacts/{id}", path_params={"id": claim.artifact_id}, json={"data": page}
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 404:
                raise

    async def _claims(self, fleet: str) -> tuple[dict[int, dict[str, Any]], datetime]:
        """All claims of a fleet by number, and when the server said so. Any: what the server's JSON holds."""
        found: dict[int, dict[str, Any]] = {}
        offset = 0
        while True:
            response = await self._client.request(
                "POST",
                "/variables/filter",
                json={
                    # `_` is a wildcard here, so other fleets' claims may come along; the exact name decides.
                    "variables": {"name": {"like_": f"ebbflow_{fleet}_"}},
                    "sort": "CREATED_DESC",
                    "limit": PER_PAGE,
                    "offset": offset,
                },
            )
            self._heard = _heard(response.headers)
            page = response.json()
            for variable in page:
                number = claim_number(fleet, variable["name"])
                if number is not None:
                    found[number] = variable
            if len(page) < PER_PAGE:
                return found, _read_date(response.headers["date"])
            offset += PER_PAGE

    async def _tidy(self, fleet: str, claims: dict[int, dict[str, Any]], *, older_than: float) -> None:
        """Delete old claims, never the newest, so that a person sees a handful of Variables."""
        head = max(claims)
        newest = datetime.fromisoformat(claims[head]["created"])

        def age_seconds(number: int) -> float:
            return (newest - datetime.fromisoformat(claims[number]["created"])).total_seconds()

        old = [number for number in sorted(claims) if number != head and age_seconds(number) > older_than]
        # Each is a request, and a turn has other things to do.
        for number in old[:MOST_TIDIED]:
            await self._forget(claim_name(fleet, number))

    async def _forget(self, name: str) -> None:
        try:
            await self._client.delete_variable_by_name(name)
        except ObjectNotFound:
            return


def claim_name(fleet: str, number: int) -> str:
    """The name that is created to claim a number."""
    return f"ebbflow_{fleet}_{number}"


def claim_number(fleet: str, name: str) -> int | None:
    """The number that a name claims for this fleet, or None for any other name."""
    found = re.fullmatch(rf"ebbflow_{re.escape(fleet)}_(\d+)", name)
    return int(found[1]) if found else None


def _id(text: str) -> UUID | None:
    """None: it is no id of a server's."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _heard(headers: Mapping[str, str]) -> tuple[float, float]:
    return _read_date(headers["date"]).timestamp(), time.monotonic()


def _read_date(header: str) -> datetime:
    return parsedate_to_datetime(header).astimezone(UTC)


def _parse_claim(fleet: str, number: int, variable: dict[str, Any], now: datetime) -> Claim:
    value = variable["value"]
    try:
        if number > MOST_CLAIMS:
            raise ValueError(number)
        budget_seconds = float(value["budget_seconds"])
        if not 0 <= budget_seconds < math.inf:
            raise ValueError(budget_seconds)
        return Claim(
            number,
            str(UUID(value["artifact"])),
            str(value["sha256"]),
            budget_seconds,
            claim_age((now - datetime.fromisoformat(variable["created"])).total_seconds()),
        )
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ConfigError(
            f"Variable {claim_name(fleet, number)[:80]} was made or edited by hand, and holds {str(value)[:80]!r}: "
            "delete it; the fleet then goes on from the claim before it, or adopts its workers"
        ) from error
