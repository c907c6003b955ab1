"""Where the turns of a test's fleets run: what a `World` asks of its house, and what it gets back.

There are two: `PlainHouse` has no Prefect, and is for tests of what a turn does; `PrefectHouse` has a real server, and
is for tests of what Prefect shows, keeps or refuses.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from prefect import Flow
from prefect.blocks.core import Block

from ebbflow.core.chain import Claim
from ebbflow.core.ports import Ledger, Provider
from ebbflow.fleet.model import Fleet
from ebbflow.turn.opened import OpenFleet

# Any: each flow has parameters of its own, and `Flow` is generic in them.
AnyFlow = Flow[..., Any]
Row = Mapping[str, Any]


class Ended(Protocol):
    """How a turn ended."""

    @property
    def name(self) -> str | None:
        """Acted, Held, Skipped, DryRun or Failed."""
        ...

    @property
    def message(self) -> str | None:
        """The same for people."""
        ...

    def is_failed(self) -> bool:
        """Whether it raised, or was refused."""
        ...


class Ran(Protocol):
    """The run of a turn."""

    @property
    def name(self) -> str:
        """What it decided and why, in one line."""
        ...


class Turn(Protocol):
    """One turn of a fleet, however it was run."""

    @property
    def state(self) -> Ended:
        """How it ended."""
        ...

    @property
    def run(self) -> Ran:
        """Its run."""
        ...

    @property
    def said(self) -> str:
        """Name of the run, name and message of its final state."""
        ...

    async def rows(self) -> list[Row]:
        """The table of what was done; empty where nothing was."""
        ...


T_co = TypeVar("T_co", bound=Turn, covariant=True)


class House(Protocol[T_co]):
    """Keeps blocks, records and claims, and runs turns."""

    async def save(self, block: Block, name: str) -> None:
        """Keep a block under a name, in the place of one that was there."""
        ...

    async def provider(self, reference: str) -> Provider:
        """The adapter of a saved provider block."""
        ...

    def opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AbstractAsyncContextManager[OpenFleet]:
        """A fleet with its adapters, as a turn opens it."""
        ...

    def ledger(self, fleet: str) -> AbstractAsyncContextManager[Ledger]:
        """Where a fleet's records and claims are."""
        ...

    async def claims(self, fleet: str) -> dict[int, Claim]:
        """A fleet's claims by number, without their age."""
        ...

    def pass_time(self, fleet: str, seconds: float) -> None:
        """Let a fleet's claims become older, and nobody else's."""
        ...

    async def turn(self, flow: AnyFlow, parameters: Mapping[str, Any]) -> T_co:
        """Take a turn as one of our flows takes it, with its parameters."""
        ...
