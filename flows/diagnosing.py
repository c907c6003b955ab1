"""What `ebbflow doctor` asks a Prefect server, and through its fleets' blocks everybody else. Changes nothing."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from ebbflow.blocks.from_file import block_types
from ebbflow.core.chain import Head
from ebbflow.core.errors import FleetError, RecordError
from ebbflow.core.text import one_line
from ebbflow.fleet.model import Fleet
from ebbflow.flows.ledger import HOME_VARIABLE, PER_PAGE, PrefectLedger
from ebbflow.flows.preflight import Finding, Level, fleet_findings, pool_finding
from ebbflow.flows.serving import version_finding
from ebbflow.flows.standings import Deployed, deployed_fleets, is_on, recorded_fleets, standing
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.diagnosis import (
    Claims,
    Diagnosis,
    Grade,
    claims_found,
    clock_found,
    database_found,
    home_found,
    strangers_found,
    turns_found,
    types_found,
)
from ebbflow.turn.standing import chosen

DATE_SECONDS = 2.0
"""By so much the `Date` of an answer may lag."""
EVENTS_SECONDS = 3600.0
GRADES = {Level.FINE: Grade.OK, Level.TO_MAKE: Grade.LOOK, Level.WRONG: Grade.WRONG}
FROM_HERE = "if it answers elsewhere: call `ebbflow doctor` on the host where the fleet's turns run"
CLAIM = re.compile(r"ebbflow_([a-z0-9-]+)_(\d+)")


async def server_diagnoses(client: PrefectClient, fleet: str | None = None) -> tuple[Diagnosis, ...]:
    """How the server is that answers, and everything that it knows of fleets.

    Args:
        client: of the server.
        fleet: the only one that is looked at; None: all are.

    Raises:
        ValueError: there is no such fleet; says which there are.
    """
    deployed, recorded = await deployed_fleets(client), await recorded_fleets(client)
    names = sorted({*deployed, *recorded})
    looked_at = names if fleet is None else [chosen(names, fleet)]
    living = [name for name, each in deployed.items() if any(_is_on(one) for one in each)]
    found = [
        _of(await version_finding(client)),
        clock_found(await seconds_ahead(client)),
        database_found(await database_kind(client), living),
        types_found(*await types_of(client)),
    ]
    home = await client.read_variable_by_name(HOME_VARIABLE)
    claims = await claims_of(client)
    for name in looked_at:
        mine = deployed.get(name, ())
        found += await _of_fleet(
            client, name, mine, str(home.value) if home is not None else None, claims.get(name, {})
        )
    pools = {one.response.work_pool_name for name in looked_at for one in deployed.get(name, ())} - {None, ""}
    found += [_of(await pool_finding(client, pool)) for pool in sorted(map(str, pools))]
    return tuple(found)


async def _of_fleet(
    client: PrefectClient, name: str, deployed: Sequence[Deployed], home: str | None, claims: Mapping[int, datetime]
) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    managers = [each for each in deployed if each.flow == "autoscale"]
    for each in managers:
        if each.fleet is None:
            text = f"what {each.response.name!r} holds is no fleet of this release: its turns fail"
            found.append(Diagnosis(Grade.WRONG, f"fleet {name!r}", text, "`ebbflow up` in its folder deploys it anew"))
    if sum(map(_is_on, managers)) > 1:
        both = ", ".join(sorted(f"autoscale/{each.response.name}" for each in managers if _is_on(each)))
        cure = "switch the schedule of all but one off"
        found.append(Diagnosis(Grade.WRONG, f"fleet {name!r}", f"several deployments run its turns: {both}", cure))
    stands = await standing(client, name, tuple(deployed))
    found.append(turns_found(stands))
    head, trouble = await _head(client, name)
    record = head.record if head is not None else None
    fleet = next((each.fleet for each in managers if each.fleet is not None), None)
    if claims:
        workers = None if record is None else sum(worker.may_exist for worker in record.memory.workers)
        found.append(claims_found(_claims(name, claims, fleet, is_deployed=bool(managers), workers=workers)))
    if record is not None:
        strangers = [reason.text for reason in record.plan.reasons if reason.rule == "roster.foreign"]
        found += filter(None, (home_found(name, record.home, home), strangers_found(name, strangers)))
    if trouble and not stands.broken:
        found.append(Diagnosis(Grade.WRONG, f"record of {name}", trouble))
    if fleet is not None:
        # Of a fleet that has ended nobody need answer.
        is_over = record is not None and not stands.workers and not any(map(_is_on, managers))
        found += [_of(each, cure=FROM_HERE, is_over=is_over) for each in await fleet_findings(client, fleet)]
    return found


async def _head(client: PrefectClient, name: str) -> tuple[Head | None, str]:
    try:
        return await ChainReader(PrefectLedger(client)).head(name), ""
    except (FleetError, RecordError) as error:
        return None, one_line(error, 400)


def _claims(
    name: str, claims: Mapping[int, datetime], fleet: Fleet | None, *, is_deployed: bool, workers: int | None
) -> Claims:
    """By the same rule as turns clear them away."""
    newest = claims[max(claims)]
    stays_seconds = max(10 * fleet.interval_seconds if fleet is not None else 0.0, 600.0)
    old = sum((newest - created).total_seconds() > stays_seconds for created in claims.values())
    age = max(0.0, (datetime.now(UTC) - newest).total_seconds())
    return Claims(name, len(claims), old, age, is_deployed, workers)


async def claims_of(client: PrefectClient) -> Mapping[str, Mapping[int, datetime]]:
    """When each fleet's claims were made, by number."""
    found: dict[str, dict[int, datetime]] = {}
    offset = 0
    while True:
        body = {"variables": {"name": {"like_": "ebbflow_%"}}, "limit": PER_PAGE, "offset": offset}
        page = (await client.request("POST", "/variables/filter", json=body)).json()
        for variable in page:
            claim = CLAIM.fullmatch(variable["name"])
            if claim is not None:
                found.setdefault(claim[1], {})[int(claim[2])] = datetime.fromisoformat(variable["created"])
        if len(page) < PER_PAGE:
            return found
        offset += PER_PAGE


async def seconds_ahead(client: PrefectClient) -> float:
    """By how much the server's clock is ahead of ours at least; negative: behind."""
    before = time.time()
    said = parsedate_to_datetime((await client.hello()).headers["date"]).timestamp()
    after = time.time()
    if said > after:
        return said - after
    return min(0.0, said + DATE_SECONDS - before)


async def database_kind(client: PrefectClient) -> str | None:
    """`sqlite` or `postgresql`; None: the server does not tell.

    It hides the address of its database, and names the driver only where that was set by itself. What it holds of the
    last hour tells: to SQLite, in whose LIKE large and small letters are the same, an event begins with PREFECT too.
    """
    try:
        settings = (await client.request("GET", "/admin/settings")).json()
        driver = _within(settings, "server", "database", "driver")
        if isinstance(driver, str) and driver:
            return driver.partition("+")[0]
        if await _has_events(client, "PREFECT."):
            return "sqlite"
        return "postgresql" if await _has_events(client, "prefect.") else None
    except (PrefectHTTPStatusError, ObjectNotFound, ValueError):
        return None


async def _has_events(client: PrefectClient, prefix: str) -> bool:
    since = datetime.now(UTC) - timedelta(seconds=EVENTS_SECONDS)
    wanted = {"event": {"prefix": [prefix]}, "occurred": {"since": since.isoformat()}}
    page = (await client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1})).json()
    return bool(page["events"])


def _within(value: Any, *names: str) -> object:
    # Any: what the server's JSON holds.
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


async def types_of(client: PrefectClient) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """How many types of blocks there are here; which the server does not know, and which it knows otherwise."""
    kinds = {kind.get_block_type_slug(): kind for kind in block_types()}
    missing, other = [], []
    for slug, kind in sorted(kinds.items()):
        try:
            await client.read_block_type_by_slug(slug)
        except ObjectNotFound:
            missing.append(slug)
            continue
        try:
            await client.read_block_schema_by_checksum(
                kind._calculate_schema_checksum(), version=kind.get_block_schema_version()
            )
        except ObjectNotFound:
            other.append(slug)
    return len(kinds), tuple(missing), tuple(other)


def _is_on(deployed: Deployed) -> bool:
    return deployed.flow == "autoscale" and is_on(deployed.response)


def _of(finding: Finding, *, cure: str = "", is_over: bool = False) -> Diagnosis:
    """A finding of `ebbflow check`, whose text says what to do after a colon."""
    is_wrong = finding.level is Level.WRONG
    grade = Grade.LOOK if is_wrong and is_over else GRADES[finding.level]
    return Diagnosis(grade, finding.what, finding.text, cure if is_wrong else "")
