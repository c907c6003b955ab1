"""One outside call of a turn: begun only within its budget, paced where a provider wants it, retried in one place."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from ebbflow.core.errors import BudgetOver, FleetError, MasterUnavailable, ProviderUnavailable
from ebbflow.core.instance import Instance, InstanceList
from ebbflow.core.ports import Provider
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import Evaluation
from ebbflow.decision.upkeep import LOOKS_APART_SECONDS
from ebbflow.turn.budget import Budget
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.plausible import plausible_list

T = TypeVar("T")

RETRY_WAITS_SECONDS = (0.5, 1.5)
"""Between the tries of one call that fails with a temporary error."""

CALLS_AT_ONCE = 16
"""Outside calls of one turn in flight."""


@dataclass(slots=True)
class Relisting:
    """A provider's listing, shared by everybody who waits for it in this turn."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    taken_at: float | None = None
    listing: InstanceList | None = None


@dataclass(slots=True)
class Pace:
    """When the next call of a kind may begin, shared by all that make such calls in this turn."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    next_at: float | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """What all actions of one turn have in common."""

    limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(CALLS_AT_ONCE))
    listings: dict[str, Relisting] = field(default_factory=dict)
    paces: dict[tuple[str, str], Pace] = field(default_factory=dict)
    """By provider and kind of call, where the provider limits their rate."""
    logs: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """By worker id, what those printed that were ended in this turn, where their provider keeps it."""
    warnings: set[str] = field(default_factory=set)
    """What a person should change, though the turn goes on."""
    mistakes: list[Exception] = field(default_factory=list)
    """Errors that no port allows: somebody's adapter is wrong. The turn fails with the first of them, at its end."""


@dataclass(frozen=True, slots=True)
class Acting:
    """A turn that acts: through whom, on what it decided, and for how long."""

    opened: OpenFleet
    evaluation: Evaluation
    budget: Budget
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    looks_apart_seconds: float = LOOKS_APART_SECONDS
    shared: Shared = field(default_factory=Shared)

    def provider(self, name: str) -> Provider:
        """One of the fleet's providers."""
        return self.opened.providers[name]

    async def ask_master(self, make: Callable[[], Awaitable[T]], what: str, seconds: float | None = None) -> T:
        """Call the master.

        Args:
            make: makes the call; more than once after a temporary error.
            what: the call, for errors.
            seconds: how long it may take; None: as long as the master's calls do.

        Raises:
            BudgetOver: it does not fit into the turn any more.
            FleetError: as the port says.
        """
        limit = self.opened.master.caps.call_seconds if seconds is None else seconds
        return await self._call(make, what, limit, MasterUnavailable)

    async def ask_provider(
        self, provider: Provider, make: Callable[[], Awaitable[T]], what: str, *, once: bool = False
    ) -> T:
        """Call a provider, likewise; `once`: not again after a temporary error."""
        waits = () if once else RETRY_WAITS_SECONDS
        return await self._call(make, what, provider.caps.call_seconds, ProviderUnavailable, waits)

    async def _call(
        self,
        make: Callable[[], Awaitable[T]],
        what: str,
        seconds: float,
        late: type[FleetError],
        waits: Sequence[float] = RETRY_WAITS_SECONDS,
    ) -> T:
        for wait in (*waits, None):
            if not self.budget.allows(seconds):
                raise BudgetOver(f"{what} needs {seconds:g} s, the turn has {self.budget.remaining_seconds:.1f} s left")
            try:
                async with self.shared.limiter:
                    with anyio.fail_after(seconds):
                        return await make()
            except TimeoutError as error:
                failure: FleetError = late(f"{what}: no answer within {seconds:g} s")
                failure.__cause__ = error
            except FleetError as error:
                failure = error
            if not failure.is_temporary or wait is None or not self.budget.allows(wait + seconds):
                raise failure
            await self.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def paced(self, kind: tuple[str, str], spacing: float, seconds: float) -> None:
        """Wait for the turn of one call, where its provider limits how often it may be asked.

        Args:
            kind: provider, and what is asked for.
            spacing: seconds between two of them; 0: no limit.
            seconds: how long the call itself may take.

        Raises:
            BudgetOver: its turn would come too late.
        """
        if spacing <= 0:
            return
        pace = self.shared.paces.setdefault(kind, Pace())
        async with pace.lock:
            now = self.budget.clock()
            wait = 0.0 if pace.next_at is None else max(0.0, pace.next_at - now)
            if not self.budget.allows(wait + seconds):
                raise BudgetOver(f"{kind[1]} at {kind[0]}: {spacing:g} s apart, this one does not fit into the turn")
            pace.next_at = now + wait + spacing
        await self.sleep(wait)

    async def relisted(self, worker: Worker, *, fresh: bool = False) -> Instance | None:
        """The worker in a listing of this turn that is as new as its provider allows; None where it is not shown."""
        provider = self.opened.providers.get(worker.provider)
        if provider is None or provider.caps.relist_seconds is None:
            return None if fresh else self.evaluation.instances.get(worker.worker_id)
        shared = self.shared.listings.setdefault(worker.provider, Relisting())
        asked_at = self.budget.clock()
        async with shared.lock:
            oldest = asked_at if fresh else asked_at - provider.caps.relist_seconds
            if shared.taken_at is None or shared.taken_at < oldest:
                shared.taken_at = self.budget.clock()
                listing = await self.ask_provider(
                    provider, lambda: provider.list_instances(self.opened.fleet.name), f"list {worker.provider}"
                )
                networks = self.opened.master.caps.worker_networks
                shared.listing = plausible_list(listing, provider.caps, networks)
        rows = shared.listing.instances if shared.listing else ()
        # Another instance with its id is not it, whatever its row says.
        known = worker.instance_id
        return next(
            (
                row
                for row in rows
                if row.worker_id == worker.worker_id
                and row.home == self.opened.home
                and known in (None, row.instance_id)
            ),
            None,
        )
