"""What providers and masters say that is not so, and how each lie twists an answer.

Each kind was met on a real system or in a report about one: lists that lose rows for a moment, rows that come back,
answers out of a cache, numbers that are none.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from ebbflow.core.instance import Failure, Instance, InstanceState
from ebbflow.core.member import Member, MemberState

NO_NUMBERS = (math.nan, math.inf, -math.inf, -5.0, 1e300)


class Lie(Enum):
    """One kind of lie."""

    VANISHED = "rows missing"
    """Some rows are missing from complete lists, and come back."""
    EMPTY = "empty list"
    """A complete list holds no row at all."""
    GONE = "gone and back"
    """A row says that its instance is gone; later it runs again."""
    FAILED = "failed"
    """A row of one that serves says that it failed, as for the sake of another container."""
    ENDING = "terminating"
    """A row of one that serves says that it is being ended, which is taken back."""
    ENDS_SOON = "means to end"
    """A row says that its provider means to end it, which is taken back."""
    DECLARED = "declares failed"
    """The output of one that serves holds words that its start would say: somebody's prompt."""
    UNKNOWN = "unknown state"
    """A row is in a state that nobody can tell."""
    TWIN = "twin row"
    """A second row of an id, of an instance that does not exist."""
    DOUBLE = "two instances"
    """A second instance of an id, which does exist."""
    ADDRESS = "other address"
    """A row shows another address than before."""
    STALE = "stale list"
    """A list is a copy of an earlier one."""
    STRANGERS = "strangers"
    """Rows and members of other homes and other fleets, with ids like ours."""
    UNMARKED = "marks lost"
    """Rows of ours without our marks: somebody rewrote their labels."""
    NUMBERS = "prices"
    """Prices and retries that are no numbers, negative or huge."""
    MISSING_MEMBERS = "members missing"
    """Some members are missing from complete lists, and come back."""
    STALE_MEMBERS = "stale members"
    """The list of all members is a copy of an earlier one."""
    SILENCE = "silence"
    """A worker does not answer for a while, whatever it works on: a frozen process, a cut network."""
    UNNOTICED = "silence unnoticed"
    """The same, and the master goes on giving it work."""
    FORGETFUL = "master restarted"
    """The master has forgotten its members."""
    SWITCHED = "switched by a person"
    """A person switches a member off, or one that is drained on again."""
    RENAMED = "renamed by a person"
    """A person calls a member something else."""
    BROKEN = "member held wrongly"
    """A member has lost what its work ran on, and takes none until it is mended."""
    LEFT = "left behind"
    """What is deregistered leaves something behind that gives out work."""
    TWO_MEMBERS = "two members"
    """A second member of an id, idle whatever the first one does."""
    UNHEARD_MEMBERS = "unheard members"
    """A member of ours that no record and no provider knows."""
    MEMBER_NUMBERS = "idle times"
    """Idle times and speeds that are no numbers, negative or huge."""
    DEMAND_NUMBERS = "demand"
    """A demand that is negative or huge, with ages and units that are no numbers."""
    CLOCK_BACK = "clock back"
    """The ledger's clock steps back."""
    CLOCK_FORWARD = "clock forward"
    """The ledger's clock steps forward, while no turn runs."""
    LOST_RECORD = "record lost"
    """The newest record is deleted."""
    LOST_CHAIN = "chain lost"
    """All records and claims are deleted."""
    LOST_HOME = "home lost"
    """The word that our instances carry as their home is another one."""


OF_PROVIDERS = (
    Lie.VANISHED,
    Lie.EMPTY,
    Lie.GONE,
    Lie.FAILED,
    Lie.ENDING,
    Lie.ENDS_SOON,
    Lie.DECLARED,
    Lie.UNKNOWN,
    Lie.TWIN,
    Lie.ADDRESS,
    Lie.STALE,
    Lie.STRANGERS,
    Lie.UNMARKED,
    Lie.NUMBERS,
)
OF_MASTERS = (
    Lie.MISSING_MEMBERS,
    Lie.STALE_MEMBERS,
    Lie.TWO_MEMBERS,
    Lie.UNHEARD_MEMBERS,
    Lie.MEMBER_NUMBERS,
    Lie.DEMAND_NUMBERS,
)
OF_PERSONS = (Lie.SWITCHED, Lie.RENAMED, Lie.BROKEN, Lie.LEFT)
AT_ONCE = tuple(lie for lie in Lie if lie not in (*OF_PROVIDERS, *OF_MASTERS))
"""They happen, and are over."""

STATES = {
    Lie.GONE: InstanceState.GONE,
    Lie.FAILED: InstanceState.FAILED,
    Lie.ENDING: InstanceState.TERMINATING,
    Lie.UNKNOWN: InstanceState.UNKNOWN,
}


@dataclass(frozen=True)
class Told:
    """One lie that is being told, about whom."""

    lie: Lie
    about: frozenset[str]
    """Worker ids."""
    until: float
    word: int
    """Which of several forms it takes, the same each time that it is told."""


def told_in(lies: Sequence[Lie], *, self_joining: bool) -> tuple[Lie, ...]:
    """Those that can be told in a world: who joins by itself is not forgotten, has one instance, and no entry."""
    not_there = (Lie.FORGETFUL, Lie.DOUBLE, *OF_PERSONS) if self_joining else ()
    return tuple(lie for lie in lies if lie not in not_there)


def twisted_rows(told: Told, rows: Sequence[Instance], earlier: Sequence[Sequence[Instance]]) -> list[Instance]:
    """A provider's rows with one lie in them."""
    if told.lie is Lie.EMPTY:
        return []
    if told.lie is Lie.VANISHED:
        return [row for row in rows if row.worker_id not in told.about]
    if told.lie is Lie.STALE:
        return list(earlier[told.word % len(earlier)]) if earlier else list(rows)
    if told.lie is Lie.STRANGERS:
        return [*rows, *_strangers()]
    if told.lie is Lie.TWIN:
        return [*rows, *(_twin(told, row) for row in rows if row.worker_id in told.about)]
    return [_twisted(told, row) if row.worker_id in told.about else row for row in rows]


def _twisted(told: Told, row: Instance) -> Instance:
    if told.lie in STATES:
        failure = Failure.OUTPUT if told.lie is Lie.FAILED else None
        return replace(row, state=STATES[told.lie], failure=failure, detail="a container of it is in trouble")
    if told.lie is Lie.ENDS_SOON:
        return replace(row, ends_soon="another one's place")
    if told.lie is Lie.DECLARED:
        is_up = row.state is InstanceState.RUNNING
        return replace(row, state=InstanceState.FAILED, failure=Failure.OUTPUT, is_declared=True) if is_up else row
    if told.lie is Lie.ADDRESS:
        return replace(row, url="http://elsewhere")
    if told.lie is Lie.UNMARKED:
        return replace(row, home="")
    number = NO_NUMBERS[told.word % len(NO_NUMBERS)]
    return replace(row, usd_per_hour=number, retries=(-3, 10**9)[told.word % 2])


def _twin(told: Told, row: Instance) -> Instance:
    states = (*STATES.values(), InstanceState.PENDING, InstanceState.RUNNING)
    return replace(
        row, instance_id=f"no-{row.instance_id}", state=states[told.word % len(states)], url="http://elsewhere"
    )


def _strangers() -> list[Instance]:
    ids = (("demo-zzzz-1-0", "demo", "other"), ("demo-x-zzzz-1-0", "demo-x", "h0me0"), ("demo-zzzz-2-0", "demo", ""))
    return [
        Instance(worker_id, f"strange-{worker_id}", InstanceState.RUNNING, fleet, home, "http://strange")
        for worker_id, fleet, home in ids
    ]


def twisted_members(told: Told, members: Sequence[Member], earlier: Sequence[Sequence[Member]]) -> list[Member]:
    """A master's members with one lie in them."""
    if told.lie is Lie.MISSING_MEMBERS:
        return [member for member in members if member.worker_id not in told.about]
    if told.lie is Lie.STALE_MEMBERS:
        return list(earlier[told.word % len(earlier)]) if earlier else list(members)
    if told.lie is Lie.UNHEARD_MEMBERS:
        unheard = Member("demo-zzzz-7-0", "m-unheard", MemberState.READY, "http://elsewhere", False, 9000.0)
        return [*members, unheard]
    about = [member for member in members if member.worker_id in told.about]
    if told.lie is Lie.TWO_MEMBERS:
        idle = (replace(each, master_ref=f"2-{each.master_ref}", busy=False, idle_seconds=9e3) for each in about)
        return [*members, *(replace(each, duplicate=True) for each in idle)]
    number = NO_NUMBERS[told.word % len(NO_NUMBERS)]
    return [
        replace(member, idle_seconds=None if member.busy is not False else number, units_per_second=number)
        if member in about
        else member
        for member in members
    ]


def drawn(rng: random.Random, lie: Lie, ids: Sequence[str], now: float, interval: float) -> Told:
    """A lie about some of the workers, told for a look or for some turns."""
    about = frozenset(rng.sample(list(ids), k=rng.randint(1, len(ids)))) if ids else frozenset()
    return Told(lie, about, now + rng.choice([0.3, 1.0, 1.3, 2.5]) * interval, rng.randrange(1000))
