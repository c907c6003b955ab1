"""The end of a fleet, and its beginning anew: turns taken here, until nothing of it is left."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State

from ebbflow.core.errors import ConfigError, FleetError, RecordError
from ebbflow.core.member import PushMemberList, RoomState
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Inputs
from ebbflow.core.record import Record
from ebbflow.core.text import counted, one_line
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.deploying import switch_schedules
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.override import override
from ebbflow.flows.standings import deployed_fleets, inputs_of
from ebbflow.turn.chain_reader import ChainReader

HOLD_SECONDS = 604_800.0
"""For how long a fleet that was ended stays so, should a turn come all the same."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a fleet, as its newest record has it."""

    workers: tuple[str, ...]
    """Each with its state, and what else there is."""
    why: tuple[str, ...]
    """What keeps somebody."""
    unheard: tuple[str, ...]
    """Who has not answered wholly, of the providers and the master: somebody may be left there."""
    existing: int = 0
    """Instances that may exist."""

    @property
    def is_nothing(self) -> bool:
        """Whether the fleet has ended."""
        return not self.unheard and not self.workers

    def is_over(self, master: str, *, force: bool) -> bool:
        """Whether there is nothing more to wait for; by force a silent master is not, once no worker exists."""
        return self.is_nothing or (force and not self.existing and self.unheard == (master,))

    def __str__(self) -> str:
        """As a person reads it."""
        if self.is_nothing:
            return "nothing is left"
        said = "; ".join((", ".join(self.workers) or "nothing that is known", *self.why))
        return said if not self.unheard else f"{said}; no whole answer from {', '.join(self.unheard)}"


async def fleet_to_end(client: PrefectClient, name: str) -> Fleet:
    """A fleet as it is deployed; else as its newest readable record has it.

    Raises:
        ConfigError: there is neither.
    """
    deployed = sorted((await deployed_fleets(client)).get(name, ()), key=lambda each: each.flow != "autoscale")
    fleet = next((each.fleet for each in deployed if each.fleet is not None), None)
    if fleet is not None:
        return fleet
    reader = ChainReader(PrefectLedger(client))
    found = await reader.last_readable(name)
    try:
        return await reader.fleet(found.record) if found is not None else _missing(name)
    except RecordError as error:
        raise ConfigError(f"fleet {name!r} has no deployment, and its record cannot be used: {error}") from error


def _missing(name: str) -> Fleet:
    raise ConfigError(f"fleet {name!r} has neither a deployment nor a record here: there is nothing to end")


async def wind_down(client: PrefectClient, fleet: Fleet, *, force: bool, tell: Callable[[str], None]) -> Left:
    """Hold a fleet at no workers and take turns here, until its providers and its master have nothing of it.

    Its schedules are switched off at the end. Done again after an interruption, it goes on.

    Args:
        client: of the server.
        fleet: it.
        force: also end who works, at the drain deadline.
        tell: takes what is left, after each turn, and before the first one that the fleet is held down already.

    Returns:
        What is left: nothing, or by force what a master that does not answer may still have.

    Raises:
        FleetError: a turn was refused, or failed.
    """
    if held := await _winding(client, fleet):
        tell(_in_force(held[-1], force=force))
    await _one_turn(client, fleet, force=force)
    while not (left := await what_is_left(client, fleet)).is_over(fleet.master, force=force):
        tell(str(left))
        # A turn that comes sooner after another is skipped.
        await asyncio.sleep(fleet.least_apart_seconds + 1)
        try:
            await _one_turn(client, fleet, force=force)
        except FleetError as error:
            # Its workers leave all the same, and a later turn goes on.
            tell(f"a turn failed: {error}")
    # Until now its own turns kept those alive who still worked, also where this one was interrupted.
    deployed = (await deployed_fleets(client)).get(fleet.name, ())
    names = [f"{each.flow.replace('_', '-')}/{each.response.name}" for each in deployed]
    await switch_schedules(client, dict.fromkeys(names, ()))
    tell(str(left))
    return left


def _in_force(held: Override, *, force: bool) -> str:
    """What a person is told who is not the first to end a fleet."""
    if held.force is force:
        return f"{held.short} is in force already, and no second one is recorded"
    return f"{held.short} is in force already, {'without' if force else 'with'} --force; from now on this one counts"


async def _one_turn(client: PrefectClient, fleet: Fleet, *, force: bool) -> None:
    """One that holds the fleet down, unless it is held down so already."""
    if await _is_wound_down(client, fleet, force=force):
        await _taken(autoscale(fleet, return_state=True))
        return
    await _taken(
        override(
            kind="wind_down",
            force=force,
            reason="ebbflow down",
            hold_seconds=HOLD_SECONDS,
            fleet=fleet,
            return_state=True,
        )
    )


async def begin_again(client: PrefectClient, fleet: Fleet) -> bool:
    """End what holds a fleet down; whether anything did."""
    keys = tuple(held.key for held in await _winding(client, fleet))
    if keys:
        await _taken(override(kind="end", override_ids=keys, fleet=fleet, return_state=True))
    return bool(keys)


async def _is_wound_down(client: PrefectClient, fleet: Fleet, *, force: bool) -> bool:
    winding = await _winding(client, fleet)
    return bool(winding) and winding[-1].force is force


async def _winding(client: PrefectClient, fleet: Fleet) -> list[Override]:
    """What holds a fleet down, the oldest first."""
    head = await ChainReader(PrefectLedger(client)).head(fleet.name)
    held = head.record.memory.overrides if head is not None and head.record is not None else ()
    return [each for each in held if each.kind is OverrideKind.WIND_DOWN]


async def _taken(turn: Awaitable[Any]) -> None:
    """Wait for a turn's final state, and pass on what refused it. Any: Prefect types what a flow returns, not that."""
    state: State = await turn
    if not state.is_completed():
        raise FleetError(one_line(state.message or state.name or "the turn failed"))


async def what_is_left(client: PrefectClient, fleet: Fleet) -> Left:
    """What the newest record says is left."""
    reader = ChainReader(PrefectLedger(client))
    head = await reader.head(fleet.name)
    if head is None or head.record is None:
        return Left((), (), ("its newest record",))
    return left_of(head.record, await inputs_of(reader, head), master=fleet.master)


def left_of(record: Record, inputs: Inputs | None, *, master: str) -> Left:
    """What a record says is left.

    Args:
        record: of a turn.
        inputs: what that turn saw, before it acted; None: that is lost.
        master: of the fleet, by its block.
    """
    workers = tuple(f"{worker.worker_id} ({worker.state.value})" for worker in record.memory.workers)
    remembered = sum(worker.may_exist for worker in record.memory.workers)
    others = record.plan.existing - remembered
    kept = (f"{counted(others, 'instance')} beside them",) if others > 0 else ()
    entries = tuple(f"entry {entry.master_ref} of the master, half made" for entry in record.memory.unfinished)
    entries += ("the entry of its waiting room",) if _has_room(inputs) else ()
    why = tuple(reason.text for reason in record.plan.reasons if reason.rule == "upkeep.last")
    return Left((*workers, *kept, *entries), why, _unheard(inputs, master), max(record.plan.existing, remembered))


def _has_room(inputs: Inputs | None) -> bool:
    members = inputs.members if inputs is not None else None
    room = members.room if isinstance(members, PushMemberList) else None
    return room is not None and room.state is not RoomState.ABSENT


def _unheard(inputs: Inputs | None, master: str) -> tuple[str, ...]:
    if inputs is None:
        return ("its newest record",)
    providers = [look.provider for look in inputs.providers if not look.listing.complete]
    return (*([] if inputs.members.complete else [master]), *providers)
