"""The house without Prefect: blocks in a dict, records and claims in memory, and turns that are plain calls.

A flow's parameters are read by the flow itself, so its form and its defaults are the real ones. What the flows and
Prefect do besides a turn is not here, and tests of it take `prefect_world`: task runs, artifacts, tags, Variables,
deployments, and what a flow refuses before its turn begins.
"""

import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
from prefect.blocks.core import Block
from prefect.exceptions import ParameterTypeError

from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.blocks import SwarmUIMaster
from ebbflow.blocks.opening import open_from, provider_from
from ebbflow.core.chain import Claim
from ebbflow.core.errors import ConfigError, FleetError, OverrideRefused
from ebbflow.core.memory import OverrideKind
from ebbflow.core.observation import ScaleRequest
from ebbflow.core.plan import Result
from ebbflow.core.ports import Ledger, Provider
from ebbflow.fleet.model import Fleet
from ebbflow.flows.requesting import LOOKS, PAUSE_SECONDS
from ebbflow.turn.explain import action_rows, run_name
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.results import Acted, DryRun, Held, Skipped, TurnResult
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.turn import take_turn
from ebbflow.turn.words import random_word
from tests.e2e.houses import AnyFlow, Row

LONG_SECONDS = 5.0
"""From here on a wait of a turn is shortened: the two looks at a worker that leaves are that far apart."""

SHORTENED = 0.1

KINDS = {"scale_up": OverrideKind.FLOOR, "scale_down": OverrideKind.CEILING}


@dataclass(frozen=True)
class PlainState:
    """How a turn ended, in Prefect's words."""

    name: str
    message: str

    def is_failed(self) -> bool:
        """Whether it raised, or was refused."""
        return self.name in ("Failed", "Refused")


@dataclass(frozen=True)
class PlainRun:
    """The run of a turn."""

    name: str


@dataclass(frozen=True)
class PlainTurn:
    """One turn that was a plain call."""

    state: PlainState
    run: PlainRun
    result: TurnResult | None = None
    """None where it raised."""

    @property
    def said(self) -> str:
        """Name and message of the final state."""
        return f"{self.run.name} | {self.state.name}: {self.state.message}"

    async def rows(self) -> list[Row]:
        """What the table of its run would hold."""
        if not isinstance(self.result, Acted):
            return []
        record = self.result.record
        return [*action_rows(record.plan.actions, self.result.outcomes, record.memory)]


class Blocks:
    """Blocks by name, as if they were saved."""

    def __init__(self) -> None:
        self._kept: dict[str, Block] = {}

    def keep(self, block: Block, name: str) -> None:
        """Keep one under a name, in the place of one that was there."""
        self._kept[f"{block.get_block_type_slug()}/{name}"] = block

    async def load(self, name: str) -> Block | None:
        """One of them."""
        return self._kept.get(name)

    async def names(self, capability: str) -> Sequence[str]:
        """Those that have a capability."""
        return [name for name, block in self._kept.items() if capability in block.get_block_capabilities()]


@dataclass
class LedgerClock:
    """The time of one fleet: it goes on by itself, and by as much as a test says."""

    passed_seconds: float = 0.0

    def __call__(self) -> float:
        """Epoch seconds."""
        return time.time() + self.passed_seconds


@dataclass
class Waits:
    """How one turn waits: its long waits are shortened, and its budget and its fleet's time go on as if they were not.

    The looks at a worker that leaves are apart because a request may be on its way from a real master to it. A
    stand-in on loopback has none on its way for that long. Shorter waits are for processes that really start, and
    stay as they are.

    Args:
        pass_time: lets the fleet's time go on.
    """

    pass_time: Callable[[float], None]
    _skipped_seconds: float = 0.0

    def clock(self) -> float:
        """What the turn's budget is counted by."""
        return time.monotonic() + self._skipped_seconds

    async def sleep(self, seconds: float) -> None:
        """Wait, or put the clock on. Of several that wait at once only the first one does that."""
        if seconds < LONG_SECONDS:
            await anyio.sleep(seconds)
            return
        ends_at = self.clock() + seconds
        await anyio.sleep(seconds * SHORTENED)
        skipped = max(0.0, ends_at - self.clock())
        self._skipped_seconds += skipped
        self.pass_time(skipped)


@dataclass
class PlainHouse:
    """Fleets without a Prefect server; all of one house are of one home."""

    blocks: Blocks = field(default_factory=Blocks)
    home: str = field(default_factory=lambda: random_word(5))
    _ledgers: dict[str, MemoryLedger] = field(default_factory=dict)
    _clocks: dict[str, LedgerClock] = field(default_factory=dict)
    _sessions: dict[str, InMemorySessionStore] = field(default_factory=dict)

    async def save(self, block: Block, name: str) -> None:
        """Keep it; a master's API sessions stay in this process as well."""
        if isinstance(block, SwarmUIMaster):
            block = block.keeping_sessions(lambda each: self._sessions.setdefault(each, InMemorySessionStore()))
        self.blocks.keep(block, name)

    async def provider(self, reference: str) -> Provider:
        """The adapter of a block that was kept."""
        return await provider_from(self.blocks, reference)

    def opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AbstractAsyncContextManager[OpenFleet]:
        """A fleet with its adapters, from the blocks that were kept."""
        return open_from(self.blocks, fleet, home, remembered=remembered, dry_run=dry_run)

    @asynccontextmanager
    async def ledger(self, fleet: str) -> AsyncIterator[Ledger]:
        """The fleet's own: its clock is moved without another's."""
        yield self._ledger(fleet)

    async def claims(self, fleet: str) -> dict[int, Claim]:
        """What its ledger has."""
        return dict(self._ledger(fleet).claims.get(fleet, {}))

    def pass_time(self, fleet: str, seconds: float) -> None:
        """Let the fleet's clock go on."""
        self._ledger(fleet)
        self._clocks[fleet].passed_seconds += seconds

    async def turn(self, flow: AnyFlow, parameters: Mapping[str, Any]) -> PlainTurn:
        """Take the turn that a flow would take. A mistake of ours is raised; what a fleet may run into is a state."""
        name = str(parameters["fleet"].name if isinstance(parameters["fleet"], Fleet) else parameters["fleet"]["name"])
        try:
            given = inspect.signature(flow.fn).bind(**parameters)
            given.apply_defaults()
            values = flow.validate_parameters(given.arguments)
            result = await self._taken(flow.name.replace("-", "_"), values)
        except (ConfigError, OverrideRefused) as error:
            return PlainTurn(PlainState("Refused", str(error)), PlainRun(f"{name}: turn"))
        except FleetError as error:
            return PlainTurn(PlainState("Failed", str(error)), PlainRun(f"{name}: turn"))
        except ParameterTypeError as error:
            return PlainTurn(PlainState("Failed", f"{type(error).__name__}: {error}"), PlainRun(f"{name}: turn"))
        return _shown(name, result)

    async def _taken(self, flow: str, given: Mapping[str, Any]) -> TurnResult:
        """As `flows/running.py` and `flows/requesting.py` do it."""
        fleet, run = given["fleet"], RunIdentity(flow, str(uuid4()))
        if flow == "autoscale":
            return await take_turn(fleet, self._around(fleet, run), dry_run=given["dry_run"])
        request = _request(run, given)
        for _ in range(LOOKS):
            result = await take_turn(fleet, self._around(fleet, run), request=request)
            if not isinstance(result, Skipped):
                return result
            await anyio.sleep(PAUSE_SECONDS)
        raise FleetError(f"{flow} of fleet {fleet.name!r} lost {LOOKS} claims in a row to other runs; run it again")

    def _around(self, fleet: Fleet, run: RunIdentity) -> Surroundings:
        waits = Waits(lambda seconds: self.pass_time(fleet.name, seconds))
        return Surroundings(self._ledger(fleet.name), self.opened, run, clock=waits.clock, sleep=waits.sleep)

    def _ledger(self, fleet: str) -> MemoryLedger:
        if fleet not in self._ledgers:
            self._clocks[fleet] = LedgerClock()
            self._ledgers[fleet] = MemoryLedger(self._clocks[fleet], kept_home=self.home)
        return self._ledgers[fleet]


def _request(run: RunIdentity, given: Mapping[str, Any]) -> ScaleRequest:
    """What `scale_up`, `scale_down` and `override` ask for."""
    return ScaleRequest(
        key=run.run_id,
        kind=KINDS.get(run.flow) or OverrideKind(given["kind"]),
        owner="a person",
        reason=given["reason"],
        hold_seconds=given["hold_seconds"],
        count=given.get("count") or 0,
        worker_ids=tuple(given.get("worker_ids", ())),
        force=given.get("force", False),
        is_absolute=run.flow == "override",
    )


def _shown(fleet: str, result: TurnResult) -> PlainTurn:
    """As `flows/reporting.py` shows it."""
    match result:
        case Skipped(text=why):
            return PlainTurn(PlainState("Skipped", why), PlainRun(f"{fleet}: skipped ({why})"), result)
        case DryRun(number, evaluation):
            name = f"dry run: {run_name(fleet, evaluation.plan, evaluation.memory, number)}"
            return PlainTurn(PlainState("DryRun", name), PlainRun(name), result)
        case Held(record) | Acted(record):
            name = run_name(fleet, record.plan, record.memory, record.number, record.turn.request)
            outcomes = result.outcomes if isinstance(result, Acted) else ()
            failed = [each for each in outcomes if each.result not in (Result.DONE, Result.WAITING)]
            message = f"{name}{f'; {len(failed)} of {len(outcomes)} actions did not go through' if failed else ''}"
            return PlainTurn(PlainState(type(result).__name__, message), PlainRun(name), result)
