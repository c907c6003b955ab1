"""What a turn is handed in: all that differs between a Prefect run, a service, a test and a search for faults."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

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


class CallsSooner(Protocol):
    """Asks for one more turn of a fleet. Where it cannot be had, that is no error: the next one is due soon anyway."""

    async def __call__(self, inputs: Inputs, at_seconds: float) -> None:
        """Ask for it.

        Args:
            inputs: of the turn that asks, which asks once.
            at_seconds: when it shall begin: epoch seconds by the ledger's clock.
        """
        ...


async def _wait_until_due(inputs: Inputs, at_seconds: float) -> None:
    """Nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The outside world of one turn."""

    ledger: Ledger
    open_fleet: OpensFleets
    run: RunIdentity
    carry_out: CarryOut = carry_out
    decide: Callable[[Inputs, Fleet], Evaluation] = evaluate
    call_sooner: CallsSooner = _wait_until_due
    log: Log = field(default_factory=lambda: logging.getLogger("ebbflow"))
    clock: Callable[[], float] = time.monotonic
    """Monotonic seconds: what the turn's budget is counted by. The time limit of a single call is the event loop's."""
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random_word: Callable[[int], str] = random_word
    """So many characters for the name of a new chain."""
