"""What a scheduler's helper printed, read without trust. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.adapters.masters.scaler.names import group_of, known_by
from ebbflow.core.capabilities import amounts, capability_set, fits
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.plan import Want

UNFINISHED = ("inactive", "running", "canceling", "balanceCanceling", "workerDisconnecting")
"""States of tasks that are not done. A running one may still wait in the queue of its worker."""
SERVED = ("success", "failed", "failedWorkerDied")
"""States of tasks that somebody worked on and that are over."""
OVER = (*SERVED, "canceled")
"""States of tasks that are over. A scheduler counts these over its whole life, where it counts them at all."""
Words = tuple[str, ...]
"""What a worker can do, in our spelling."""
Request = tuple[Words | None, int]
"""So many workers that can do this; None: what nobody can."""
MOST = 10**12
"""Of anything that a scheduler may count."""
LOST_SECONDS = 15
"""Without a word from a worker, which speaks every two seconds; the scheduler itself gives it up after a minute."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One worker as the scheduler has it."""

    worker_id: str
    """Ours, from its name; empty: it is none of ours."""
    name: str
    manager: str
    """The id of the manager under which it came; empty: unknown."""
    is_busy: bool
    last_seen_seconds: float
    capabilities: tuple[str, ...] = ()
    """What its name says that it can do."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the scheduler said of its work."""

    unfinished: int
    working: int
    """Tasks that are on a processor."""
    arrived: int | None = None
    """Tasks over its whole life; None: it does not count them."""
    served: int | None = None
    """Those of them that are done."""
    workers: tuple[Seen, ...] = ()
    is_heard: bool = True
    """Whether it took our heartbeat; it ignores a second manager of the same id."""
    desired: tuple[Want, ...] | None = None
    beyond: tuple[tuple[str, ...], ...] = ()
    """What it wants beside that, and this fleet cannot give."""
    strange_groups: tuple[str, ...] = ()
    """Groups that it keeps (1.15) and that are not this fleet's; it may wait for ever for one of them to go."""
    version: str = ""


def parse_account(
    answer: Mapping[str, object], *, own_id: str, capabilities: Sequence[str], home: str = "", per_group: int = 1
) -> Account:
    """Read what the helper printed.

    Args:
        answer: its object.
        own_id: the manager's that asked.
        capabilities: what this fleet's workers were said to be able to do.
        home: of which installation they are.
        per_group: how many of the scheduler's workers are one of ours.

    Raises:
        MasterUnavailable: the scheduler gave no account, or one with holes.
    """
    tasks = answer.get("tasks")
    if not isinstance(tasks, dict):
        raise MasterUnavailable(
            "the scheduler's monitor gave no account of its work in time: look at its address, the release, and "
            "call_timeout_seconds"
        )
    unfinished, over, served = (
        sum(_count(tasks.get(state, 0), f"tasks.{state}") for state in states) for states in (UNFINISHED, OVER, SERVED)
    )
    counts = "success" in tasks
    managed = {name: manager for manager, names in _lists(answer.get("managers")) for name in names}
    rows = answer.get("workers")
    if not isinstance(rows, list):
        raise MasterUnavailable(f"the scheduler gave no list of workers but {rows!r:.80}")
    read = [_worker(row, managed) for row in rows]
    workers = tuple(seen for seen, _ in read)
    ours = {
        group_of(seen.worker_id, home): seen.capabilities
        for seen in workers
        if seen.worker_id and seen.manager == own_id
    }
    there, requests = Counter[Words](), _requests(answer.get("wanted"), per_group)
    if requests is None and (commanded := _commanded(answer.get("commands"), ours)) is not None:
        there, requests = commanded
    desired, beyond = (None, ()) if requests is None else _desired(there, requests, capabilities)
    return Account(
        unfinished=unfinished,
        working=min(unfinished, sum(working for _, working in read)),
        arrived=unfinished + over if counts else None,
        served=served if counts else None,
        workers=workers,
        is_heard=answer.get("is_heard") is True,
        desired=desired,
        beyond=beyond,
        strange_groups=tuple(
            # One of ours that is not connected has just been told to the scheduler as gone.
            name
            for name, _ in _lists(answer.get("groups"))
            if known_by(f"Worker|{name}|", {}).manager != own_id
        ),
        version=str(answer.get("version") or "")[:40],
    )


def _worker(row: object, managed: Mapping[str, str]) -> tuple[Seen, int]:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise MasterUnavailable(f"the scheduler listed {row!r:.80}, which is no worker")
    name = str(row["name"])
    sent, queued, working = (_count(row.get(key), f"{key} of {name:.60}") for key in ("sent", "queued", "working"))
    silent = _count(row.get("last_seen_seconds"), f"last_seen_seconds of {name:.60}")
    known = known_by(name, managed)
    is_busy = bool(sent or queued or working)
    return Seen(known.worker_id, name, known.manager, is_busy, float(silent), known.capabilities), working


def _requests(wanted: object, per_group: int) -> list[Request] | None:
    """How many workers of which kind a scheduler of 2.9 wants of this manager; None: it said nothing."""
    if not isinstance(wanted, list):
        return None
    found: list[Request] = []
    for request in wanted:
        if not isinstance(request, dict):
            raise MasterUnavailable(f"the scheduler asked for {request!r:.80}, which is no request")
        words = _words(request.get("capabilities"))
        found.append((words, math.ceil(_count(request.get("count"), "a request") / per_group)))
    return found


def _commanded(commands: object, ours: Mapping[str, Words]) -> tuple[Counter[Words], list[Request]] | None:
    """Which connected workers a scheduler of 1.15 lets stay, and what it starts; None: it commands nothing.

    A start comes again until the worker is there, so what is connected and one round of commands are the whole number.
    """
    if not isinstance(commands, list) or not commands:
        return None
    stay, starts = dict(ours), list[Request]()
    for command in commands:
        if isinstance(command, dict) and isinstance(group := command.get("stop"), str):
            # Groups are kept for ever and for all: a stop may be somebody else's.
            stay.pop(group, None)
        elif isinstance(command, dict) and "start" in command:
            starts.append((_words(command["start"]), 1))
        else:
            raise MasterUnavailable(f"the scheduler commanded {command!r:.80}, which is no command")
    return Counter(stay.values()), starts


def _words(asked: object) -> Words | None:
    """What a worker must be able to do, in our spelling; None: it has none, since users of the queue write names."""
    if not isinstance(asked, dict):
        raise MasterUnavailable(f"the scheduler asked for workers that can {asked!r:.80}, which are no capabilities")
    given = {}
    for name, value in asked.items():
        if type(value) is not int:
            raise MasterUnavailable(f"the scheduler asked for {name!r:.60} of {value!r:.40}")
        # A name without an amount is -1 there.
        given[str(name)] = float(max(1, min(value, MOST)))
    words = capability_set(given)
    try:
        amounts(words)
    except ConfigError:
        return None
    return words


def _desired(
    there: Counter[Words], requests: Sequence[Request], capabilities: Sequence[str]
) -> tuple[tuple[Want, ...], tuple[Words, ...]]:
    """What this fleet is wanted to have, and which kinds it cannot give.

    The library compares values for equality, or names alone; here a worker that has more than is asked for fits, as
    everywhere in this project.
    """
    counts = Counter(there)
    beyond: dict[Words, None] = {}
    for words, count in requests:
        if words is not None and fits(capabilities, words):
            counts[words] += count
        elif count:
            beyond[words if words is not None else ("a name that is none",)] = None
    wants = tuple(Want(words, count) for words, count in counts.items() if count)
    return wants or (Want((), 0),), tuple(beyond)


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        raise MasterUnavailable(f"the scheduler counted {value!r:.40} as {what}")
    return value


def _lists(value: object) -> list[tuple[str, list[str]]]:
    found = value.items() if isinstance(value, dict) else ()
    return [(str(key), [str(each) for each in names]) for key, names in found if isinstance(names, list)]
