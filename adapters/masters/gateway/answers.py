"""What the gateway says of an endpoint, read without trust. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.member import Demand, Member, MemberState

FRESH_SECONDS = 35.0
"""A worker that has said nothing for so long is lost to its clients; it speaks every ten seconds at least."""
MOST = 1e15


@dataclass(frozen=True, slots=True)
class Row:
    """One worker as the gateway has it."""

    worker_id: str
    home: str
    member: Member


def parse_demand(account: Mapping[str, object]) -> Demand:
    """The queue and what runs, in requests and in units of work.

    Raises:
        MasterUnavailable: a figure is missing, or is none.
    """
    return Demand(
        queued=_count(account, "queued_requests"),
        running=_count(account, "in_flight_requests"),
        queued_units=_number(account, "queued_units"),
        arrived=_count(account, "arrived"),
        served=_count(account, "served"),
        served_units=_number(account, "served_units"),
    )


def parse_rows(account: Mapping[str, object], *, restart_seconds: float) -> tuple[Row, ...]:
    """Who is registered at the endpoint.

    Args:
        account: as the gateway gave it.
        restart_seconds: how long one that reports its first error has to start itself anew.

    Raises:
        MasterUnavailable: the list is none, or an entry is.
    """
    rows = account.get("workers")
    if not isinstance(rows, list):
        raise MasterUnavailable(f"the gateway gave no list of workers but {rows!r:.60}")
    return tuple(_row(row, restart_seconds) for row in rows)


def _row(row: object, restart_seconds: float) -> Row:
    if not isinstance(row, dict):
        raise MasterUnavailable(f"the gateway listed {row!r:.60}, which is no worker")
    worker_id, home, url = (row.get(key) for key in ("worker_id", "home", "url"))
    if not (isinstance(worker_id, str) and isinstance(home, str) and isinstance(url, str)):
        raise MasterUnavailable(f"the gateway listed {row!r:.60}, which has no worker_id, home and url")
    age = row.get("report_age_seconds")
    is_fresh = isinstance(age, int | float) and not isinstance(age, bool) and age <= FRESH_SECONDS
    busy, speed = row.get("busy"), row.get("max_perf")
    is_measured = isinstance(speed, int | float) and not isinstance(speed, bool) and 0 < speed <= MOST
    member = Member(
        worker_id,
        worker_id,
        _state(row, is_fresh=is_fresh),
        url=url,
        busy=busy if isinstance(busy, bool) and is_fresh else None,
        broken=_broken(row, restart_seconds),
        units_per_second=float(speed) if is_measured and isinstance(speed, int | float) else None,
    )
    return Row(worker_id, home, member)


def _state(row: Mapping[str, object], *, is_fresh: bool) -> MemberState:
    # Of one that is out of routing that is known, whether it speaks or not.
    if row.get("is_draining") is True:
        return MemberState.DRAINING
    if not is_fresh:
        return MemberState.LOST
    # One that says another address than its provider's is sent nobody.
    is_ready = row.get("ready") is True and not row.get("other_url")
    return MemberState.READY if is_ready else MemberState.JOINING


def _broken(row: Mapping[str, object], restart_seconds: float) -> str:
    """What is wrong with one that will not come back; empty: nothing is, or it may be starting anew."""
    error, seconds, restarts = (row.get(key) for key in ("error", "error_seconds", "restarts"))
    if not isinstance(error, str) or not error:
        return ""
    is_first = isinstance(restarts, int) and restarts == 0
    is_early = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds < restart_seconds
    return "" if is_first and is_early else error


def _number(account: Mapping[str, object], key: str) -> float:
    value = account.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MasterUnavailable(f"the gateway said {value!r:.40} as {key}")
    if not -1e-6 <= value <= MOST:
        raise MasterUnavailable(f"the gateway said {value!r:.40} as {key}")
    return max(0.0, float(value))


def _count(account: Mapping[str, object], key: str) -> int:
    return int(_number(account, key))
