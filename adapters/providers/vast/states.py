"""From a row of Vast's list to an instance as the scaler sees it. Pure.

Source: vast-ai/docs, show-instances.mdx, hello-world.mdx, manage-instances.mdx; SkyPilot sky/provision/vast/instance.py
for what is still on its way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ebbflow.adapters.providers.announced import Announced
from ebbflow.adapters.providers.vast.offers import number
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.instance import Failure, Instance, InstanceState
from ebbflow.core.worker_environment import CAPABILITIES

Row = Mapping[str, Any]

PREFIX = "ebbflow"
ON_ITS_WAY = (None, "loading", "created", "rebooting", "restarting", "recycling")
BROKEN = ("OCI runtime create failed", "Error response from daemon")
RESTING = ("stopped", "exited", "created")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose instance it is, as its label says."""

    fleet: str
    home: str
    worker_id: str


def label_of(fleet: str, home: str, worker_id: str) -> str:
    """What an instance is marked with from its create on."""
    return f"{PREFIX}/{fleet}/{home}/{worker_id}"


def owner_of(row: Row) -> Owner | None:
    """Read a label; None for a stranger's. One that only looks like ours belongs to no home."""
    label = row.get("label")
    parts = label.split("/") if isinstance(label, str) else []
    if len(parts) != 4 or parts[0] != PREFIX:
        return None
    _, fleet, home, worker_id = parts
    name = parse_worker_id(worker_id)
    return Owner(fleet, home if name is not None and name.fleet == fleet else "", worker_id)


def instance_of(
    row: Row, owner: Owner, *, url: str | None, now: float, needs_url: bool = True, said: Announced | None = None
) -> Instance:
    """One row as an instance.

    Args:
        row: with an integer `id`.
        owner: as its label says.
        url: where its worker is to be reached, if that is known.
        now: epoch seconds, for the end of its contract.
        needs_url: it starts for as long as it has none.
        said: what its log announced, where that is read.
    """
    state, failure, detail = _state(row, is_reachable=url is not None or not needs_url, now=now)
    # A status text stays until something writes another, so it may be older than the worker's announcement.
    is_declared = state is InstanceState.FAILED and _is_broken(row)
    if said is not None and said.failure is not None and state is InstanceState.STARTING:
        state, failure, detail, is_declared = InstanceState.FAILED, said.failure, said.detail, True
    elif said is not None and state is InstanceState.STARTING:
        detail = detail or said.detail
    return Instance(
        worker_id=owner.worker_id,
        instance_id=str(row["id"]),
        state=state,
        fleet=owner.fleet,
        home=owner.home,
        url=url if state is InstanceState.RUNNING else None,
        retries=said.retries if said is not None else None,
        failure=failure,
        is_declared=is_declared,
        detail=detail,
        usd_per_hour=usd_per_hour(
            row, is_stopped=state is InstanceState.STOPPED and row.get("actual_status") != "frozen"
        ),
        capabilities=capabilities_of(row),
        machine="" if row.get("machine_id") is None else str(row["machine_id"]),
        is_warm=_is_cold(row) and state is InstanceState.STOPPED,
    )


def usd_per_hour(row: Row, *, is_stopped: bool) -> float | None:
    """What it costs as it is: everything, or where it is stopped its disk alone. None where the row does not say."""
    total, base = number(row.get("dph_total")), number(row.get("dph_base"))
    if not is_stopped or total is None:
        return total
    if base is None:
        return None
    # A stopped row's total may be that of running it, or that of its disk.
    return round(total - base if total >= base else total, 6)


def running_usd_per_hour(row: Row) -> float | None:
    """What it costs while it runs."""
    total, base = number(row.get("dph_total")), number(row.get("dph_base"))
    if total is None or base is None:
        return total
    return total if total >= base else total + base


def mapped_url(row: Row, port: int) -> str | None:
    """The public address that a port of the worker is mapped to; only a running instance has one."""
    host, ports = row.get("public_ipaddr"), row.get("ports")
    bound = ports.get(f"{port}/tcp") if isinstance(ports, Mapping) else None
    if not isinstance(host, str) or not isinstance(bound, list) or not bound or not isinstance(bound[0], Mapping):
        return None
    external = number(bound[0].get("HostPort"))
    # The address may end in a newline.
    address = host.strip()
    return f"http://{address}:{int(external)}" if address and external else None


def capabilities_of(row: Row) -> tuple[str, ...]:
    """What its create said that it can do."""
    given = row.get("extra_env")
    pairs = given if isinstance(given, list) else []
    for pair in pairs:
        if isinstance(pair, list) and len(pair) == 2 and pair[0] == CAPABILITIES and isinstance(pair[1], str):
            return tuple(word for word in pair[1].split(",") if word)
    return ()


def _is_cold(row: Row) -> bool:
    return row.get("intended_status") == "stopped" and row.get("actual_status") in RESTING


def _message(row: Row) -> str:
    said = row.get("status_msg")
    return said.strip()[:300] if isinstance(said, str) else ""


def _is_broken(row: Row) -> bool:
    return row.get("actual_status") != "running" and any(text in _message(row) for text in BROKEN)


def _state(row: Row, *, is_reachable: bool, now: float) -> tuple[InstanceState, Failure | None, str]:
    """The first rule that fits."""
    actual, intended, message = row.get("actual_status"), row.get("intended_status"), _message(row)
    if _is_broken(row):
        return InstanceState.FAILED, Failure.OUTPUT, message
    if actual in ("unknown", "offline"):
        return InstanceState.UNKNOWN, None, f"its machine is {actual}"
    if actual == "frozen":
        return InstanceState.STOPPED, None, "frozen; its GPU is paid for"
    end = number(row.get("end_date"))
    if end is not None and end < now and actual != "running":
        return InstanceState.FAILED, Failure.CAPACITY, "its rental contract has ended, it cannot start again"
    if intended == "running":
        return _meant_to_run(actual, is_bid=row.get("is_bid") is True, is_reachable=is_reachable, message=message)
    if intended == "stopped" and actual == "running":
        return InstanceState.STOPPED, None, "is being stopped"
    if intended == "stopped" and actual in (*RESTING, "stopping"):
        return InstanceState.STOPPED, None, "stopped on purpose; its disk is paid for"
    return InstanceState.UNKNOWN, None, f"status {actual!r}, intended {intended!r}"


def _meant_to_run(
    actual: object, *, is_bid: bool, is_reachable: bool, message: str
) -> tuple[InstanceState, Failure | None, str]:
    if actual == "running":
        return (InstanceState.RUNNING if is_reachable else InstanceState.STARTING), None, ""
    if actual == "scheduling":
        return InstanceState.PENDING, None, "waits for its GPU, which may be rented to somebody else"
    if actual in ON_ITS_WAY:
        return InstanceState.STARTING, None, message
    if actual in ("stopped", "exited") and is_bid:
        return InstanceState.STOPPED, None, "outbid; comes back by itself when its bid wins, its disk is paid for"
    if actual == "exited":
        return InstanceState.FAILED, Failure.OUTPUT, message or "its container ended"
    if actual == "stopped":
        why = "stopped by Vast, not by us: look at the account's credit, and whether its contract has ended"
        return InstanceState.STOPPED, Failure.CAPACITY, why
    return InstanceState.UNKNOWN, None, f"status {actual!r}, intended 'running'"
