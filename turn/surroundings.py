"""What a turn is handed in: all that differs between a Prefect run, a service, a test and a search for faults."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from ebbflow.core.observation import Inputs
from ebbflow.core.ports import Ledger
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.fleet.model import Fleet
from ebbflow.turn.acting import CarryOut, carry_out
from ebbflow.turn.opened import OpensFleets
from ebbflow.turn.words import random_word

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Whose turn it is."""

    flow: str
    """`autoscale`, `scale_up`, `scale_down` or `override`."""
    run_id: str
    """Of the flow run; requests are keyed by it."""
    manager: str = ""
    """The deployment, where it runs this fleet's `autoscale`; two of them for one fleet are refused."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The outside world of one turn."""

    ledger: Ledger
    open_fleet: OpensFleets
    run: RunIdentity
    carry_out: CarryOut = carry_out
    decide: Callable[[Inputs, Fleet], Evaluation] = evaluate
    log: Log = field(default_factory=lambda: logging.getLogger("ebbflow"))
    clock: Callable[[], float] = time.monotonic
    """Monotonic seconds: what the turn's budget is counted by. The time limit of a single call is the event loop's."""
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random_word: Callable[[int], str] = random_word
    """So many characters for the name of a new chain."""
