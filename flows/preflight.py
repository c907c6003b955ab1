"""What can be known of a fleet before it is deployed, on the server that it will be deployed to. Changes nothing."""

import logging
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import anyio
from prefect.client.orchestration import PrefectClient

from ebbflow.blocks.opening import ServerBlocks, open_fleet, opens_fleets
from ebbflow.core.errors import ConfigError, FleetError
from ebbflow.core.instance import InstanceState
from ebbflow.core.member import PushMemberList, Room
from ebbflow.core.text import one_line
from ebbflow.decision.waiting_room import MODELS_SHOWN
from ebbflow.fleet.deployed import started_by
from ebbflow.fleet.model import Fleet
from ebbflow.flows.ledger import PER_PAGE, PrefectLedger
from ebbflow.flows.standings import is_polled, pool_of
from ebbflow.turn.explain import action_rows, explain
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.results import DryRun
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.together import together
from ebbflow.turn.turn import take_turn

MOST_SAID = 1000
"""Letters of what is wrong."""


class Level(Enum):
    """What a finding means for a deploy."""

    FINE = "fine"
    TO_MAKE = "to make"
    """Not there yet, and no fault: the text says what makes it."""
    WRONG = "wrong"
    """The fleet would not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    text: str
    line: int | None = None
    """Of the file, where it stands in one."""


async def variables_of(client: PrefectClient) -> Mapping[str, object]:
    """Every Prefect variable of the server, by name."""
    found: dict[str, object] = {}
    offset = 0
    while True:
        body = {"limit": PER_PAGE, "offset": offset}
        page = (await client.request("POST", "/variables/filter", json=body)).json()
        found |= {variable["name"]: variable["value"] for variable in page}
        if len(page) < PER_PAGE:
            return found
        offset += PER_PAGE


async def pool_finding(client: PrefectClient, pool: str) -> Finding:
    """Whether a work pool is there, and somebody asks it for work."""
    what = f"work pool {pool!r}"
    found = await pool_of(client, pool)
    if found is None:
        return Finding(Level.TO_MAKE, what, "is not there yet: `ebbflow up` makes it")
    if await is_polled(client, found):
        return Finding(Level.FINE, what, "is there, and what comes to it is run")
    command = started_by(pool, found.type)
    return Finding(Level.TO_MAKE, what, f"is there, and no Prefect worker asks it for work: `{command}`")


async def fleet_findings(client: PrefectClient, fleet: Fleet, written: Container[str] = ()) -> tuple[Finding, ...]:
    """Whether a fleet's blocks are there, can do what it needs, and its master answers.

    Args:
        client: of the server.
        fleet: it.
        written: blocks that a file holds, and that are saved with the fleet.
    """
    what, blocks = f"fleet {fleet.name!r}", ServerBlocks(client)
    to_make = [
        Finding(Level.TO_MAKE, f"block {name}", said)
        for name in dict.fromkeys([fleet.master, *(entry.block for entry in fleet.providers)])
        if name in written and (said := await _what_saving_mends(blocks, name))
    ]
    if to_make:
        return tuple(to_make)
    try:
        async with open_fleet(client, fleet, await PrefectLedger(client).home(create=False), dry_run=True) as opened:
            opened.check()
            named = ", ".join([fleet.master, *(entry.block for entry in fleet.providers)])
            fits = Finding(Level.FINE, what, f"its blocks are there and fit it: {named}")
            listings = await together(*(_listing_finding(opened, name) for name in opened.providers))
            with anyio.move_on_after(opened.master.caps.call_seconds):
                health = await opened.master.probe()
                said = "answers" + (f", version {health.version}" if health.version else "")
                if not health.reachable:
                    silent = Finding(Level.WRONG, fleet.master, f"does not answer: {one_line(health.detail)}")
                    return fits, *listings, silent
                members = await opened.look_at_members(())()
                room = members.room if isinstance(members, PushMemberList) else None
                return fits, *listings, Finding(Level.FINE, fleet.master, said), *room_findings(room)
            return fits, *listings, Finding(Level.WRONG, fleet.master, "does not answer in time")
    except FleetError as error:
        return (Finding(Level.WRONG, what, one_line(error)),)


async def _listing_finding(opened: OpenFleet, name: str) -> Finding:
    """Whether a provider says what is there: a fleet whose provider does not launches nothing and ends nothing."""
    provider = opened.providers[name]
    try:
        with anyio.fail_after(provider.caps.call_seconds):
            listing = await provider.list_instances(opened.fleet.name)
    except FleetError as error:
        return Finding(Level.WRONG, name, f"does not answer: {one_line(error)}")
    except TimeoutError:
        return Finding(Level.WRONG, name, "does not answer in time")
    if not listing.complete:
        return Finding(Level.WRONG, name, f"does not answer: {one_line(listing.detail)}")
    # A provider may list for a while what has ended.
    there = sum(each.state is not InstanceState.GONE for each in listing.instances)
    return Finding(Level.FINE, name, f"answers; of this fleet it has {there or 'nothing'}")


def room_findings(room: Room | None) -> tuple[Finding, ...]:
    """Whether requests would wait in a fleet's waiting room, and what a person has to do for it besides."""
    if room is None:
        return ()
    what = "waiting room"
    if not room.can_hold:
        return (Finding(Level.WRONG, what, one_line(room.detail) or "does not answer"),)
    answers = Finding(
        Level.FINE,
        what,
        "answers; a master that was never started before needs an empty Data/Backends.fds first, or one restart after "
        "its first save, and workers that are more than 10 ms away a start file with the gate (docs/swarmui.md, Gates)",
    )
    if room.is_needed:
        unknown = "which models only workers have is not known while none serves: the runs name them, once one does"
        return answers, Finding(Level.FINE, what, unknown)
    if not room.missing_models:
        return (answers,)
    names = ", ".join(one_line(name, 60) for name in room.missing_models[:MODELS_SHOWN])
    cure = "a file of that name in the master's own model folder, which may be empty"
    return answers, Finding(Level.TO_MAKE, what, f"only workers have {names}: without {cure}, it is refused at zero")


async def misfit(client: PrefectClient, fleet: Fleet) -> str:
    """Why no turn of this fleet could be taken with its blocks as they are saved; empty: it could. Asks nobody else."""
    try:
        async with open_fleet(client, fleet, await PrefectLedger(client).home(create=False), dry_run=True) as opened:
            opened.check()
    except ConfigError as error:
        return one_line(error, MOST_SAID)
    return ""


async def _what_saving_mends(blocks: ServerBlocks, name: str) -> str:
    """Why a block cannot be used until it is saved from its file; empty: it can."""
    try:
        return "" if await blocks.load(name) is not None else "is not there yet: `ebbflow up` saves it"
    except ConfigError as error:
        # As another release saves it, or as somebody edited it by the API.
        return f"`ebbflow up` saves it anew: {one_line(error)}"


async def dry_turn(client: PrefectClient, fleet: Fleet) -> str:
    """What a turn of this fleet would do now, as Markdown; nothing is changed anywhere.

    Raises:
        ConfigError: the turn would be refused.
    """
    around = Surroundings(
        ledger=PrefectLedger(client),
        open_fleet=opens_fleets(client),
        run=RunIdentity("autoscale", ""),
        log=logging.getLogger("ebbflow.preflight"),
    )
    result = await take_turn(fleet, around, dry_run=True)
    assert isinstance(result, DryRun), "a dry turn decides, whatever it finds"
    evaluation = result.evaluation
    rows = action_rows(evaluation.plan.actions, (), evaluation.memory)
    would = "\n".join(f"- would {row['action']} {row['worker']}: {row['reason']}" for row in rows)
    return f"{explain(evaluation.observation, evaluation.plan)}\n\n{would or 'It would do nothing.'}"


def is_right(findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong; what is still to be made is not."""
    return all(finding.level is not Level.WRONG for finding in findings)
