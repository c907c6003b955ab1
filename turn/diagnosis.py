"""What is found of an installation, and what it means: judged from facts that others have gathered. Pure.

The shape below is what `ebbflow doctor --json` prints; a name that is there stays there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ebbflow.core.text import counted, one_line
from ebbflow.turn.standing import Standing


class Grade(Enum):
    """What a finding asks of a person."""

    OK = "ok"
    """Nothing."""
    LOOK = "look"
    """To look at it: it may be meant so, or will not last."""
    WRONG = "wrong"
    """To mend it: something does not work."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at."""

    grade: Grade
    what: str
    text: str
    """What was found, and what it means."""
    cure: str = ""
    """What to do; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Claims:
    """A fleet's claims on the Prefect server."""

    fleet: str
    count: int
    old: int
    """Older than turns leave them: each turn clears away ten of those."""
    newest_age_seconds: float
    is_deployed: bool
    workers: int | None
    """That may exist, by its newest record; None: that cannot be read."""


LOOK_SKEW_SECONDS, WRONG_SKEW_SECONDS = 5.0, 60.0
SQLITE_REFUSES, SQLITE_STALLS = 2, 4
"""Turns at once of which a Prefect server on SQLite refuses some requests with 503, which are asked again, and at which
it may stand still for a minute.

Measured with Prefect 3.9.1 on two cores that others used too, 12 times each, about 17 requests a turn: of one turn none
was refused; of two at once 14 requests; of four 51, and a turn took 63 s; of eight 126.
"""
MOST_OLD_CLAIMS = 20
"""Some are left where an interval has become longer; more are of turns that no longer come."""
FORGOTTEN_SECONDS = 86_400.0


def clock_found(ahead_seconds: float) -> Diagnosis:
    """Judge how far the server's clock is ahead of ours; negative: behind."""
    what, off = "clock", abs(ahead_seconds)
    if off < LOOK_SKEW_SECONDS:
        return Diagnosis(Grade.OK, what, "the Prefect server's and the one here agree to a few seconds")
    way = "ahead of" if ahead_seconds > 0 else "behind"
    text = (
        f"the Prefect server's is {off:.0f} s {way} the one here: Prefect's workers start runs, and events are "
        "dated, by the clock of their own host; a fleet's own times are all the server's"
    )
    grade = Grade.WRONG if off >= WRONG_SKEW_SECONDS else Grade.LOOK
    return Diagnosis(grade, what, text, "let both hosts follow one time server")


def database_found(kind: str | None, living: Sequence[str]) -> Diagnosis:
    """Judge the server's database by the fleets whose turns come.

    Args:
        kind: `sqlite` or `postgresql`; None: the server does not tell.
        living: names of fleets whose schedules are on.
    """
    what, fleets = "database", f"{counted(len(living), 'fleet') if living else 'no fleet'} whose schedule is on"
    load = (
        f"on SQLite a Prefect server refuses requests (503) when {SQLITE_REFUSES} turns come at once, and may stand "
        f"still for a minute at {SQLITE_STALLS}"
    )
    cure = "give the server a PostgreSQL: PREFECT_API_DATABASE_CONNECTION_URL=postgresql+asyncpg://... where it runs"
    if kind is None:
        text = f"the Prefect server does not tell which it has; {load}: with more than one fleet it is to be PostgreSQL"
        return Diagnosis(Grade.LOOK if len(living) >= SQLITE_REFUSES else Grade.OK, what, text)
    if kind != "sqlite":
        return Diagnosis(Grade.OK, what, f"the Prefect server has {kind}, for {fleets}")
    if len(living) < SQLITE_REFUSES:
        return Diagnosis(Grade.OK, what, f"the Prefect server has SQLite, for {fleets}; more need PostgreSQL: {load}")
    grade = Grade.WRONG if len(living) >= SQLITE_STALLS else Grade.LOOK
    return Diagnosis(grade, what, f"the Prefect server has SQLite, for {fleets}: {load}", cure)


def types_found(total: int, missing: Sequence[str], other: Sequence[str]) -> Diagnosis:
    """Judge the types of blocks that the server knows.

    Args:
        total: types of this release, and of what is installed beside it.
        missing: of those, what the server does not know at all.
        other: of those, what it knows as another release describes it.
    """
    what, cure = "block types", "`ebbflow up` in a fleet's folder registers all of them"
    if not (missing or other):
        return Diagnosis(Grade.OK, what, f"the server knows all {total} as this release describes them")
    said = []
    if missing:
        said.append(f"does not know {', '.join(missing)}")
    if other:
        said.append(f"knows {', '.join(other)} as another release describes them")
    return Diagnosis(
        Grade.LOOK, what, f"the server {' and '.join(said)}: their forms in its UI are missing or old", cure
    )


def claims_found(claims: Claims) -> Diagnosis:
    """Judge what a fleet's turns have left as Variables."""
    what, name = f"claims of {claims.fleet}", claims.fleet
    if not claims.is_deployed and claims.workers:
        known = counted(claims.workers, "worker")
        text = f"no deployment runs its turns, and its newest record knows {known}: nobody looks after them"
        return Diagnosis(Grade.WRONG, what, text, f"`ebbflow up --start` in its folder, or `ebbflow down {name}`")
    if not claims.is_deployed and claims.newest_age_seconds > FORGOTTEN_SECONDS:
        days = claims.newest_age_seconds / 86_400
        text = (
            f"{counted(claims.count, 'Variable')} ebbflow_{name}_N left of a fleet that had its last turn "
            f"{counted(round(days), 'day')} ago"
        )
        if claims.workers is None:
            return Diagnosis(
                Grade.LOOK, what, f"{text}; whether it has workers cannot be read", f"`ebbflow why {name}`"
            )
        return Diagnosis(
            Grade.LOOK,
            what,
            f"{text}, without workers",
            "delete them once its records are of no use: they lead to them",
        )
    if claims.old > MOST_OLD_CLAIMS:
        text = (
            f"{claims.old} of its {counted(claims.count, 'Variable')} ebbflow_{name}_N are older than turns leave them"
        )
        cure = "none, while turns come: each clears away ten" if claims.is_deployed else ""
        return Diagnosis(Grade.LOOK, what, text, cure)
    return Diagnosis(Grade.OK, what, f"{claims.count}, as turns leave them")


def home_found(name: str, recorded: str, said: str | None) -> Diagnosis | None:
    """Judge whose workers a fleet's are; None: there is nothing to compare.

    Args:
        name: of the fleet.
        recorded: the home of its newest record; empty: there is none.
        said: by the Variable `ebbflow_home`; None: it is not there.
    """
    if not recorded or recorded == said:
        return None
    known = "is gone" if said is None else f"says {said!r}"
    text = f"its workers carry the home {recorded!r}, and the Variable ebbflow_home {known}: each of its turns fails"
    cure = f"set the Variable to {recorded!r} to go on with them; with another one, end the fleet first"
    return Diagnosis(Grade.WRONG, f"home of {name}", text, cure)


def strangers_found(name: str, reasons: Sequence[str]) -> Diagnosis | None:
    """Judge what a fleet's newest record says of another home's workers; None: nothing."""
    if not reasons:
        return None
    text = f"{one_line('; '.join(reasons), 400)}: another installation has a fleet of this name"
    return Diagnosis(Grade.LOOK, f"home of {name}", text, "rename one of the two, or end the other where it was made")


def turns_found(standing: Standing) -> Diagnosis:
    """Judge whether a fleet's turns come."""
    what = f"turns of {standing.name}"
    if standing.broken:
        return Diagnosis(Grade.WRONG, what, f"its newest record cannot be used: {one_line(standing.broken, 400)}")
    if standing.turns.come:
        return Diagnosis(Grade.OK, what, standing.turns.text)
    text, _, cure = standing.turns.text.partition(": `")
    # A fleet that was never begun, or has been ended, is as somebody wants it.
    is_off = "is off" in text or not standing.turns.deployment
    return Diagnosis(
        Grade.LOOK if is_off and not standing.workers else Grade.WRONG,
        what,
        f"do not come: {text}",
        f"`{cure}" if cure else "",
    )
