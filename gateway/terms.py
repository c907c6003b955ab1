"""The words that the gateway's parts share. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from ebbflow.gateway.reports import WorkerView
from ebbflow.gateway.routing import Given
from ebbflow.gateway.store import WorkerRow


class Refused(Exception):
    """Who asks may not; says nothing of why."""


class Unknown(Exception):
    """There is no such endpoint or worker."""


class Crowded(Exception):
    """Too much is asked for at once; says of what."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client is sent to its worker with."""

    given: Given
    url: str
    signature: str
    kind: str = ""
    """Of a server that reports nothing: which one it is; empty: the vendor's worker software answers there."""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """One registered worker."""

    row: WorkerRow
    view: WorkerView | None
    """What it has said; None: nothing."""
    is_busy: bool | None
    """None: nobody knows."""
    lease_seconds: float
    """How long it may still be routed to."""
    kind: str = ""
    """Of a server that reports nothing."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds of a clock that only goes on, and since 1970."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


@dataclass(slots=True)
class Counts:
    """Of what came and was not used."""

    reports: int = 0
    bad_reports: int = 0
    forged_reports: int = 0
    refused: int = 0
    """Whoever asked without a right to it."""
    crowded: int = 0
    """Asked for more than may be."""
    tickets: int = 0
    waits: int = 0
    unsaved: int = 0
    """Writes that the database did not take; they are tried again with the next change."""
