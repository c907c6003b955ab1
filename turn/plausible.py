"""What providers and masters say, without the numbers that cannot be so: they are unknown, never zero and never errors.

A worker, a queue and a neighbour can say anything: a price that is no number, an idle time below zero. Such a number
must not fail a turn, take part in an order, or be stored.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ebbflow.core.addresses import worker_url_problem
from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.member import Demand, Member, MemberList, PushMemberList, Room
from ebbflow.core.text import one_line

MOST_RETRIES = 240
"""As many as a fleet's own `readiness.retries` may be."""
MOST_USD_PER_HOUR = 1e6
MOST_SECONDS = 1e9
"""Thirty years."""
MOST_UNITS = 1e15

Number = TypeVar("Number", int, float)


def plausible_list(listing: InstanceList, caps: ProviderCaps, networks: Sequence[str]) -> InstanceList:
    """A provider's list: prices and retries that cannot be so are unknown, and texts are one printable line.

    Args:
        listing: as the provider gave it.
        caps: the provider's, which tell whether its workers may be on this machine.
        networks: where workers are; see `core.addresses`. Who announced an address that is none for a worker, failed.
    """
    rows = tuple(_with_an_address(_plausible_row(row), caps, networks) for row in listing.instances)
    detail = one_line(listing.detail)
    is_so = (rows, detail) == (listing.instances, listing.detail)
    return listing if is_so else replace(listing, instances=rows, detail=detail)


def plausible_members(members: MemberList) -> MemberList:
    """A master's members: idle times and speeds that cannot be so are unknown, and texts are one printable line."""
    rows = tuple(_plausible_member(member) for member in members.members)
    foreign, detail = tuple(one_line(name) for name in members.foreign), one_line(members.detail)
    found = replace(members, members=rows, foreign=foreign, detail=detail)
    if isinstance(found, PushMemberList):
        room = _plausible_room(found.room) if found.room is not None else None
        found = replace(found, others=tuple(one_line(name) for name in found.others), room=room)
    return members if found == members else found


def _plausible_room(room: Room) -> Room:
    models = tuple(one_line(name) for name in room.missing_models)
    return replace(room, detail=one_line(room.detail), missing_models=models)


def plausible_demand(demand: Demand) -> Demand:
    """A master's demand: unknown where a count is below zero; other numbers that cannot be so are unknown each."""
    counts = {"queued": demand.queued, "running": demand.running}
    counts |= {
        f"work that requires {shape.requires}": shape.count for shape in (*demand.shapes, *demand.running_shapes)
    }
    wrong = [f"{name} {count}" for name, count in counts.items() if count < 0]
    if wrong:
        return Demand(complete=False, detail=f"the master says {', '.join(wrong)}, which cannot be")
    if not _is_between(demand.source_age_seconds, 0.0, MOST_SECONDS):
        return Demand(complete=False, detail=f"the master's figures are {demand.source_age_seconds} s old")
    return replace(
        demand,
        detail=one_line(demand.detail),
        waiting=_within(demand.waiting, MOST_UNITS),
        queued_units=_within(demand.queued_units, MOST_UNITS),
        arrived=_within(demand.arrived, MOST_UNITS),
        served=_within(demand.served, MOST_UNITS),
        served_units=_within(demand.served_units, MOST_UNITS),
    )


def _plausible_row(row: Instance) -> Instance:
    plausible = replace(
        row,
        # Ours are plain; what is shown of others must be so too.
        worker_id=one_line(row.worker_id),
        usd_per_hour=_within(row.usd_per_hour, MOST_USD_PER_HOUR),
        retries=_within(row.retries, MOST_RETRIES),
        ends_soon=one_line(row.ends_soon),
        detail=one_line(row.detail),
        home=one_line(row.home),
        machine=one_line(row.machine),
    )
    return row if plausible == row else plausible


def _with_an_address(row: Instance, caps: ProviderCaps, networks: Sequence[str]) -> Instance:
    """The same, if a worker may be asked at its address; nothing is ever sent to another one."""
    if row.url is None:
        return row
    problem = worker_url_problem(row.url, networks=networks, is_this_host=caps.is_this_host)
    if not problem:
        return row
    if row.state not in (InstanceState.STARTING, InstanceState.RUNNING):
        return replace(row, url=None)
    said = one_line(f"announced {row.url}: {problem}")
    # What it announced before, if that was an address, holds for its life.
    return replace(row, url=None, state=InstanceState.FAILED, failure=Failure.OUTPUT, is_declared=True, detail=said)


def _plausible_member(member: Member) -> Member:
    idle_seconds = _within(member.idle_seconds, MOST_SECONDS)
    plausible = replace(
        member,
        worker_id=one_line(member.worker_id),
        url=None if member.url is None else one_line(member.url),
        # As durations are remembered (`core.memory`): no decision sees more of it, and finer ones fill the records.
        idle_seconds=None if idle_seconds is None else round(idle_seconds, 3),
        units_per_second=_within(member.units_per_second, MOST_UNITS),
        model=None if member.model is None else one_line(member.model),
        renamed=one_line(member.renamed),
        disorder=one_line(member.disorder),
        broken=one_line(member.broken),
    )
    return member if plausible == member else plausible


def _within(number: Number | None, most: float) -> Number | None:
    return number if number is not None and _is_between(number, 0.0, most) else None


def _is_between(number: float, least: float, most: float) -> bool:
    return math.isfinite(number) and least <= number <= most
