"""What the gateway tells of its workers and of those who wait. Pure.

Source: the shapes for clients are those that Vast's client reads (`vastai` 1.9.1); the operators' are ours.
"""

import math
import re
from datetime import UTC, datetime
from secrets import token_hex
from zlib import crc32

from ebbflow.gateway.reports import FRESH_SECONDS, WorkerView
from ebbflow.gateway.routing import Routing, Wait
from ebbflow.gateway.terms import Served, Ticket

_ADDRESS = re.compile(r"https?://\S+")


def ticket(endpoint: str, given: Ticket) -> dict[str, object]:
    """With which a client goes to its worker."""
    # What it is, only of one that is no worker of the vendor's: its old clients pass on what they do not know.
    what = {"kind": given.kind, "model": given.model} if given.kind else {}
    return {
        "endpoint": endpoint,
        "url": given.url,
        # As it was signed: older workers sign the number as it is printed.
        "cost": given.given.cost,
        "reqnum": given.given.ticket,
        "request_idx": given.given.request,
        "signature": given.signature,
        "__request_id": token_hex(16),
        **what,
    }


def waiting(endpoint: str, routing: Routing, answer: Wait) -> dict[str, object]:
    """No key `url`: to the vendor's client, that it is there means a worker."""
    states = routing.states()
    total = sum(states.values())
    about = "" if answer.seconds is None else f", about {answer.seconds:.0f} s"
    words = " ".join(f"{state}: {count}" for state, count in states.items())
    return {
        "endpoint": endpoint,
        "status": f"total workers: {total} {words}; {answer.position} before this one{about}",
        "request_idx": answer.request,
        "position": answer.position,
        "expected_wait_seconds": answer.seconds,
        "__request_id": token_hex(16),
    }


def worker(served: Served, now: float) -> dict[str, object]:
    """For operators: each figure that is old is unknown."""
    row, heard = served.row, served.view or WorkerView(served.row.worker_id)
    is_heard = served.view is not None and math.isfinite(heard.reported_at)
    age = max(0.0, now - heard.reported_at) if is_heard else None
    is_known = age is not None and age <= FRESH_SECONDS
    return {
        "worker_id": row.worker_id,
        "home": row.home,
        "url": row.url,
        "is_draining": row.is_draining,
        "is_leased": served.lease_seconds > 0,
        "ready": heard.is_ready(now),
        "loaded": heard.is_loaded,
        "busy": served.is_busy if is_known else None,
        "error": heard.error,
        "error_seconds": None if heard.error_at is None else max(0.0, now - heard.error_at),
        "other_url": heard.url if heard.url not in ("", row.url) else "",
        "report_age_seconds": age,
        "load_seconds": heard.load_seconds,
        "max_perf": heard.max_perf,
        "cur_load": heard.cur_load if is_known else None,
        "offered_per_second": heard.offered_per_second if is_known else None,
        "rejected_per_second": heard.rejected_per_second if is_known else None,
        "restarts": heard.restarts,
        "kind": served.kind,
    }


def worker_for_clients(served: Served, now: float, wall: float) -> dict[str, object]:
    """No address; a number as its id, as the vendor's client reads nothing else."""
    heard = served.view or WorkerView(served.row.worker_id)
    state = "error" if heard.error else "idle" if heard.is_ready(now) else "model_loading"
    number = heard.instance_id
    return {
        "id": int(number) if number.isdecimal() else crc32(served.row.worker_id.encode()),
        "status": state,
        "cur_load": heard.cur_load,
        "cur_load_rolling_avg": heard.cur_load,
        "new_load": heard.offered_per_second or 0.0,
        "cur_perf": heard.cur_perf,
        "perf": heard.max_perf,
        "measured_perf": heard.max_perf,
        "reqs_working": len(heard.working) or heard.working_count,
        "disk_usage": heard.disk_gb or 0.0,
        "loaded_at": _wall(heard.loaded_at, now, wall),
        "started_at": _wall(heard.started_at, now, wall),
    }


def line(at: float, worker_id: str, words: str) -> str:
    """One line of a log; an address in it is an operator's alone."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return f"{when} {worker_id or 'endpoint'}: {_ADDRESS.sub('(an address)', words)}"


def _wall(at: float | None, now: float, wall: float) -> float:
    """Seconds since 1970; 0: unknown, as the vendor's client reads nothing else."""
    return wall - (now - at) if at is not None and math.isfinite(at) else 0.0
