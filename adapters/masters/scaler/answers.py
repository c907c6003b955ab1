"""What a scheduler's helper printed, read without trust. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.plan import Want

UNFINISHED = ("inactive", "running", "canceling", "balanceCanceling")
"""States of tasks that are not done. A running one may still wait in the queue of its worker."""
LOST_SECONDS = 15
"""Without a word from a worker, which speaks every two seconds; the scheduler itself gives it up after a minute."""
MANAGER = "ebbflow"
"""How the id of a manager of ours begins; fleet and home follow."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One worker as the scheduler has it."""

    worker_id: str
    """Ours, from the type that its name begins with; empty: it is none of ours."""
    name: str
    manager: str
    is_busy: bool
    last_seen_seconds: float


@dataclass(frozen=True, slots=True)
class Account:
    """What the scheduler said of its work."""

    unfinished: int
    working: int
    """Tasks that are on a processor."""
    workers: tuple[Seen, ...] = ()
    is_heard: bool = True
    """Whether it took our heartbeat; it ignores a second manager of the same id."""
    desired: tuple[Want, ...] | None = None
    version: str = ""


def manager_id(fleet: str, home: str) -> str:
    """Under which the workers of a fleet are known to the scheduler."""
    return f"{MANAGER}.{fleet}.{home}"


def parse_account(answer: Mapping[str, object], *, capabilities: Sequence[str]) -> Account:
    """Read what the helper printed.

    Args:
        answer: its object.
        capabilities: what this fleet's workers were said to be able to do.

    Raises:
        MasterUnavailable: the scheduler gave no account, or one with holes.
    """
    tasks = answer.get("tasks")
    if not isinstance(tasks, dict):
        raise MasterUnavailable("the scheduler's monitor gave no account of its work in time")
    unfinished = sum(_count(tasks.get(state, 0), f"tasks.{state}") for state in UNFINISHED)
    managed = {name: manager for manager, names in _lists(answer.get("managers")) for name in names}
    rows = answer.get("workers")
    if not isinstance(rows, list):
        raise MasterUnavailable(f"the scheduler gave no list of workers but {rows!r:.80}")
    read = [_worker(row, managed) for row in rows]
    return Account(
        unfinished=unfinished,
        working=min(unfinished, sum(working for _, working in read)),
        workers=tuple(seen for seen, _ in read),
        is_heard=answer.get("is_heard") is True,
        desired=_desired(answer.get("wanted"), capabilities),
        version=str(answer.get("version") or "")[:40],
    )


def _worker(row: object, managed: Mapping[str, str]) -> tuple[Seen, int]:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise MasterUnavailable(f"the scheduler listed {row!r:.80}, which is no worker")
    name = str(row["name"])
    sent, queued, working = (_count(row.get(key), f"{key} of {name:.60}") for key in ("sent", "queued", "working"))
    silent = _count(row.get("last_seen_seconds"), f"last_seen_seconds of {name:.60}")
    # Worker|<type>|<random>|<random>: the type is ours to give.
    parts = name.split("|")
    worker_id = parts[1] if len(parts) > 2 and parts[0] == "Worker" and parse_worker_id(parts[1]) else ""
    return Seen(worker_id, name, managed.get(name, ""), bool(sent or queued or working), float(silent)), working


def _desired(wanted: object, capabilities: Sequence[str]) -> tuple[Want, ...] | None:
    """How many workers of this fleet the scheduler wants: the sum of all requests that they can do.

    Source: worker_manager/runner.py, 2.9.0: a request counts where its capabilities, with their values, are among the
    manager's. None: it said nothing, which is no opinion and never 0.
    """
    if not isinstance(wanted, list):
        return None
    have, total = amounts(capabilities), 0
    for request in wanted:
        asked = request.get("capabilities") if isinstance(request, dict) else None
        if not isinstance(asked, dict):
            raise MasterUnavailable(f"the scheduler asked for {request!r:.80}, which is no request")
        count = _count(request.get("count"), "a request")
        total += count if all(have.get(str(name)) == value for name, value in asked.items()) else 0
    return (Want(tuple(capabilities), total),)


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= 10**12:
        raise MasterUnavailable(f"the scheduler counted {value!r:.40} as {what}")
    return value


def _lists(value: object) -> list[tuple[str, list[str]]]:
    found = value.items() if isinstance(value, dict) else ()
    return [(str(key), [str(each) for each in names]) for key, names in found if isinstance(names, list)]
