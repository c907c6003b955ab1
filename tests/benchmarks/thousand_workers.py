"""A whole turn of a large fleet over three providers in memory: one that holds, and one that launches a hundred.

python -m tests.benchmarks.thousand_workers
"""

import asyncio
import inspect
import math
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ebbflow.core.instance import Instance, InstanceState, LaunchRequest
from ebbflow.core.member import Member, MemberState
from ebbflow.decision.limits import Limits
from ebbflow.fleet.model import Fleet
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.results import Acted, Held, TurnResult
from ebbflow.turn.turn import take_turn
from tests.benchmarks.world import tell
from tests.making import fleet_of
from tests.turn.outside import Host, Outside

SIZES = (100, 1000)
LAUNCHES = 100
ROUNDS = 5
PROVIDERS = ("local/a", "local/b", "local/c")
INTERVAL_SECONDS = 30.0
_is_inside = ContextVar("is_inside", default=False)
"""A port's method is running."""


@dataclass
class _Host(Host):
    """One of several, none of whose addresses is another's."""

    network: int = 0

    async def launch(self, request: LaunchRequest) -> Instance:
        row = replace(await super().launch(request), url=_url(self.network, len(self.rows)))
        self.rows[request.worker_id] = row
        return row


class _Ledger(MemoryLedger):
    """One whose methods can be counted: it has room for others of their names."""


@dataclass
class _Outside(Outside):
    """With three providers."""

    hosts: tuple[_Host, ...] = field(default_factory=lambda: tuple(_Host(network=each) for each in range(3)))
    ledger: MemoryLedger = field(default_factory=_Ledger)

    @asynccontextmanager
    async def opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AsyncIterator[OpenFleet]:
        yield OpenFleet(fleet, home, self.queue, dict(zip(PROVIDERS, self.hosts, strict=True)), {})

    def counted_calls(self) -> Counter[str]:
        """From now on, those of every port's methods, by `port.method`."""
        calls = Counter[str]()
        for host in self.hosts:
            _count(host, "provider", calls)
        _count(self.queue, "master", calls)
        _count(self.ledger, "ledger", calls)
        return calls


@dataclass(frozen=True, slots=True)
class _Price:
    seconds: float
    peak_mb: float
    """Of what Python allocated in the turn."""
    calls: Counter[str]


def measure() -> None:
    """Print each turn's time, memory and calls at each size, and how they grow."""
    for name, turn in (("holds", _holding), (f"launches {LAUNCHES}", _launching)):
        few, many = (asyncio.run(turn(size)) for size in SIZES)
        small, large = SIZES
        for size, price in ((small, few), (large, many)):
            calls = ", ".join(f"{call} {count}" for call, count in sorted(price.calls.items()))
            tell(
                f"a whole turn that {name}, {size:,} workers, {len(PROVIDERS)} providers in memory: "
                f"{1000 * price.seconds:.0f} ms CPU, at most {price.peak_mb:.1f} MB more, {price.calls.total()} calls"
            )
            tell(f"  {calls}")
        time_growth, memory_growth = many.seconds / few.seconds, many.peak_mb / few.peak_mb
        tell(
            f"  {large // small} times the workers: {time_growth:.1f}x the time (exponent "
            f"{math.log(time_growth, large / small):.2f}), {memory_growth:.1f}x the memory, "
            f"{many.calls.total() / few.calls.total():.1f}x the calls"
        )


async def _holding(size: int) -> _Price:
    outside = await _adopted(size)
    return await _priced(lambda: outside, partial(_turn, fleet=_fleet(size)), Held)


async def _launching(size: int) -> _Price:
    # Each begins where no other has launched yet.
    worlds = [await _adopted(size) for _ in range(ROUNDS + 2)]
    return await _priced(worlds.pop, partial(_turn, fleet=_fleet(size + LAUNCHES)), Acted)


async def _priced(outside: Callable[[], _Outside], turn: Callable[[_Outside], Any], wanted: type[TurnResult]) -> _Price:
    """Time, memory and calls each of turns of their own: to look at one slows the others down."""

    async def one(world: _Outside) -> float:
        # It waits for nothing, so that this is its time, whatever else the machine does.
        began = time.process_time()
        result = await turn(world)
        took = time.process_time() - began
        assert isinstance(result, wanted), result
        return took

    seconds = [await one(outside()) for _ in range(ROUNDS)]
    world = outside()
    tracemalloc.start()
    try:
        await one(world)
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    world = outside()
    calls = world.counted_calls()
    await one(world)
    if wanted is Acted:
        assert calls["provider.launch"] == LAUNCHES, calls
    return _Price(statistics.median(seconds), peak_mb, calls)


async def _adopted(size: int) -> _Outside:
    """A world in which so many workers of the fleet serve, and its record knows them."""
    outside = _Outside()
    outside.ledger.kept_home = "h0me0"
    for place in range(size):
        name, network = f"demo-3f9c-{1 + place // 50}-{place % 50}", place % len(PROVIDERS)
        rows, url = outside.hosts[network].rows, _url(network, len(outside.hosts[network].rows) + 1)
        rows[name] = Instance(name, f"{place}:1790000000", InstanceState.RUNNING, "demo", "h0me0", url)
        outside.queue.entries[name] = Member(name, f"{place}", MemberState.READY, url, busy=True, model="sdxl/base")
    for _ in range(2):
        await _turn(outside, fleet=_fleet(size))
    return outside


async def _turn(outside: _Outside, *, fleet: Fleet) -> TurnResult:
    outside.clock.now += INTERVAL_SECONDS
    return await take_turn(fleet, outside.surroundings())


def _fleet(count: int) -> Fleet:
    limits = Limits(min_workers=count, max_workers=count, min_idle_seconds=60)
    return fleet_of(*((block, count) for block in PROVIDERS), limits=limits)


def _url(network: int, number: int) -> str:
    return f"http://10.{network}.{number // 250}.{number % 250 + 1}:7801"


def _count(port: object, label: str, calls: Counter[str]) -> None:
    """Count its methods that are awaited."""

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(port, name)

        async def call(*words: Any, **given: Any) -> Any:
            # What a port asks of itself is no call of the turn.
            if _is_inside.get():
                return await method(*words, **given)
            calls[f"{label}.{name}"] += 1
            token = _is_inside.set(True)
            try:
                return await method(*words, **given)
            finally:
                _is_inside.reset(token)

        return call

    for name in _awaited(port):
        setattr(port, name, counted(name))


def _awaited(port: object) -> Sequence[str]:
    found = inspect.getmembers(type(port), inspect.iscoroutinefunction)
    return [name for name, _ in found if not name.startswith("_")]


if __name__ == "__main__":
    measure()
