"""A thousand workers of one master, in virtual time: each has its sign of life within half of its dead-man's time."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import httpx
import pytest

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.asking import PLACES
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.contracts.master import worker_at
from ebbflow.core.member import Member, MemberState
from ebbflow.core.worker import Worker
from ebbflow.turn.observing import keep_alive
from ebbflow.turn.opened import OpenFleet
from tests.adapters.masters.swarmui.played_master import FLEET, HOME
from tests.making import changed, fleet_of
from tests.turn.virtual_time import VirtualLoop, run

MASTER = "http://master:7801"
COUNT = 1000
OUR_SECONDS = 0.003
"""What our own processor takes for one call; measured: 0.0016 to 0.003."""
SLOW_SECONDS = 0.008
"""The same on a machine that has much else to do."""
SIGN = "next sign of life"
T = TypeVar("T")


class SavedStore(InMemorySessionStore):
    """Sessions that the next process finds as they were saved last."""

    saved: dict[str, str]

    def __init__(self, saved: dict[str, str]) -> None:
        super().__init__()
        self.saved = saved
        self._sessions = dict(saved)

    async def aclose(self) -> None:
        self.saved.clear()
        self.saved.update(self._sessions)


@dataclass
class Thousand:
    """A master and its workers; what they need to answer, and when each of them had its last sign of life."""

    loop: VirtualLoop
    call_timeout_seconds: float = 5.0
    interval_seconds: float = 30.0
    minutes: int = 3
    hanging: frozenset[int] = frozenset()
    latency_seconds: Callable[[int], float] = lambda index: 0.02 + 0.03 * (index % 4)
    our_seconds: float = 0.0
    workers_count: int = COUNT
    workers: list[Worker] = field(default_factory=list)
    controlled: dict[str, float] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start(self.workers_count)

    def start(self, count: int) -> None:
        """Let workers begin, whose dead-man's time begins with them."""
        for _ in range(count):
            # Their addresses come in another order than they do.
            index = len(self.workers)
            host = f"w{index * 7919 % 10007}"
            self.workers.append(worker_at(f"{FLEET}-0abc-1-{index}", f"http://{host}:7801"))
            self.controlled[host] = self.loop.now
            session = {"session_id": "5e55", "server_id": host, "version": "", "permissions": ["*"]}
            self.saved[f"http://{host}:7801"] = json.dumps(session)

    def adapter(self) -> SwarmUIAdapter:
        """That of another process."""
        settings = SwarmUISettings(
            address=MASTER, call_timeout_seconds=self.call_timeout_seconds, require_control_within_minutes=self.minutes
        )
        store, transport = SavedStore(self.saved), httpx.MockTransport(self._answer)
        return SwarmUIAdapter(settings, fleet=FLEET, home=HOME, sessions=store, transport=transport)

    async def keep_alive(self, adapter: SwarmUIAdapter, workers: Iterable[Worker] | None = None) -> frozenset[str]:
        """As a turn does it; whose sign of life is known to have come."""
        limits = {"max_workers": 1000, "min_workers": 1}
        fleet = changed(fleet_of(("local/a", 1000)), interval_seconds=self.interval_seconds, limits=limits)
        opened = OpenFleet(fleet, HOME, adapter, {}, {})
        return await keep_alive(opened, self.workers if workers is None else workers, logging.getLogger(__name__))

    @property
    def half_seconds(self) -> float:
        """Of the dead-man's time."""
        return self.minutes * 60 / 2

    @property
    def unasked_seconds(self) -> float:
        """The longest that a worker that answers has been without a sign of life."""
        living = [self._host(worker) for index, worker in enumerate(self.workers) if index not in self.hanging]
        return max(self.loop.now - self.controlled[host] for host in living)

    @staticmethod
    def _host(worker: Worker) -> str:
        return httpx.URL(worker.url or "").host

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        route = request.url.path.removeprefix("/API/")
        self.loop.now += self.our_seconds
        if request.url.host == "master":
            return httpx.Response(200, json=self._said_by_master(route))
        index = int(request.url.host[1:]) * pow(7919, -1, 10007) % 10007
        self.asked.append(index)
        if index in self.hanging:
            await asyncio.Event().wait()
        await asyncio.sleep(self.latency_seconds(index))
        if route == "AdminTakeControl":
            self.controlled[request.url.host] = self.loop.now
            return httpx.Response(200, json={"success": True})
        idle = {"waiting_gens": 0, "live_gens": 0, "loading_models": 0, "waiting_backends": 0}
        return httpx.Response(200, json={"status": idle})

    def _said_by_master(self, route: str) -> dict[str, object]:
        if route == "GetNewSession":
            return {"session_id": "m", "server_id": "m", "permissions": ["*"]}
        entries: dict[str, object] = {}
        for index, worker in enumerate(self.workers):
            entry = {"type": "swarmswarmbackend", "status": "running", "enabled": True, "time_since_used": "Never"}
            entry |= {"settings": {"Address": worker.url}, "seconds_since_used": 0, "id": index}
            entries[str(index)] = entry | {"title": f"ebbflow/{FLEET}/{HOME}/{worker.worker_id}"}
            entries[str(-index - 1)] = entry | {"id": -index - 1, "title": f"[Remote from {index}: x] gpu"}
        return entries


async def passing(loop: VirtualLoop, work: Awaitable[T]) -> T:
    """Let time pass until something is done."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await loop.quiet()
        if not task.done() and (at := loop.next_timer()) is not None:
            loop.now = at
    return task.result()


def in_virtual_time(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    return run(lambda loop: passing(loop, work(loop)))


async def turns_until(fleet: Thousand, seconds: float, *, each: Callable[[], Awaitable[object]]) -> float:
    """Let turns come until then, each at its time; the longest that anybody has been without a sign of life."""
    loop, began, longest = fleet.loop, fleet.loop.now, 0.0
    while loop.now - began < seconds:
        at = loop.now
        await each()
        longest = max(longest, fleet.unasked_seconds)
        assert loop.now - at <= fleet.interval_seconds, "it fits the interval"
        await asyncio.sleep(at + fleet.interval_seconds - loop.now)
        longest = max(longest, fleet.unasked_seconds)
    return longest


def test_regression_a_quarter_of_a_thousand_workers_was_never_reached_that_needed_more_than_54_ms() -> None:
    async def whole(loop: VirtualLoop) -> int:
        fleet = Thousand(loop, call_timeout_seconds=2)
        return len(await fleet.keep_alive(fleet.adapter()))

    assert in_virtual_time(whole) == COUNT


@pytest.mark.parametrize(
    ("call_timeout_seconds", "interval_seconds", "minutes", "our_seconds"),
    [(1, 20, 3, SLOW_SECONDS), (5, 90, 3, OUR_SECONDS), (60, 170, 6, OUR_SECONDS)],
    ids=["over several turns", "in one turn", "patiently"],
)
def test_a_thousand_workers_of_which_a_tenth_hangs_are_each_reached_within_half_of_their_time(
    call_timeout_seconds: float, interval_seconds: float, minutes: int, our_seconds: float
) -> None:
    async def whole(loop: VirtualLoop) -> tuple[float, float]:
        hanging = frozenset(range(0, COUNT, 10))
        fleet = Thousand(loop, call_timeout_seconds, interval_seconds, minutes, hanging, our_seconds=our_seconds)

        async def each() -> None:
            adapter = fleet.adapter()
            await fleet.keep_alive(adapter)
            await adapter.aclose()
            fleet.start(10)

        return await turns_until(fleet, 1.5 * fleet.half_seconds, each=each), fleet.half_seconds

    longest_seconds, half_seconds = in_virtual_time(whole)
    assert longest_seconds <= half_seconds + interval_seconds / 5, "turns come at most every half of that time"


def test_workers_that_hang_take_none_of_the_time_of_the_others() -> None:
    async def whole(loop: VirtualLoop) -> tuple[int, float]:
        # All that hang come first.
        fleet = Thousand(loop, call_timeout_seconds=60, interval_seconds=170, our_seconds=OUR_SECONDS)
        in_order = sorted(fleet.workers, key=lambda worker: worker.url or "")
        fleet.hanging = frozenset(fleet.workers.index(worker) for worker in in_order[:300])
        began = loop.now
        reached = await fleet.keep_alive(fleet.adapter())
        return len(reached), max(fleet.controlled.values()) - began

    reached, seconds = in_virtual_time(whole)
    assert reached == COUNT - 300
    assert seconds < 10, "and nobody waited until those had been given up"


@pytest.mark.parametrize("end", ["cut off", "killed"])
def test_a_turn_that_ends_in_the_middle_leaves_the_next_to_go_on_from_there(end: str) -> None:
    async def whole(loop: VirtualLoop) -> list[set[int]]:
        fleet = Thousand(loop, call_timeout_seconds=1, interval_seconds=20, our_seconds=SLOW_SECONDS)
        asked: list[set[int]] = []
        for _ in range(4):
            adapter = fleet.adapter()
            with anyio.move_on_after(1.5 if end == "cut off" else None):
                await fleet.keep_alive(adapter)
            # It is never closed: what it has not kept by now is lost.
            asked.append(set(fleet.asked))
            fleet.asked.clear()
        return asked

    first, *others = in_virtual_time(whole)
    again = [len(before & after) for before, after in zip([first, *others], others, strict=False)]
    assert max(again) <= PLACES, "who was being asked at that moment is asked again"
    assert len(set().union(first, *others)) >= 4 * 100


def test_signs_of_life_for_workers_that_a_listing_shows_first_do_not_move_the_others_place() -> None:
    async def whole(loop: VirtualLoop) -> tuple[str, str]:
        fleet = Thousand(loop, call_timeout_seconds=1, interval_seconds=20, our_seconds=SLOW_SECONDS)
        adapter = fleet.adapter()
        await fleet.keep_alive(adapter, fleet.workers[:900])
        stopped = fleet.saved[SIGN]
        fleet.our_seconds *= 10
        await fleet.keep_alive(adapter, fleet.workers[900:])
        await adapter.aclose()
        return stopped, fleet.saved[SIGN]

    before, after = in_virtual_time(whole)
    assert before == after


def test_where_one_turn_reaches_all_nothing_is_kept() -> None:
    async def whole(loop: VirtualLoop) -> dict[str, str]:
        fleet = Thousand(loop, workers_count=50, hanging=frozenset({7}))
        before = dict(fleet.saved)
        adapter = fleet.adapter()
        await fleet.keep_alive(adapter)
        await adapter.aclose()
        return {name: text for name, text in fleet.saved.items() if before.get(name) != text}

    assert in_virtual_time(whole) == {}


def test_regression_workers_that_there_was_no_time_to_ask_were_taken_for_silent() -> None:
    async def whole(loop: VirtualLoop) -> list[list[Member]]:
        fleet = Thousand(loop, 1, hanging=frozenset(range(0, 500, 100)), our_seconds=0.004, workers_count=500)
        looks = []
        for _ in range(2):
            adapter = fleet.adapter()
            with anyio.fail_after(adapter.caps.call_seconds):
                listing = await adapter.members()
            assert (listing.complete, len(listing.members)) == (True, 500)
            looks.append([*listing.members])
            await adapter.aclose()
        return looks

    looks = in_virtual_time(whole)
    for look in looks:
        heard = [member for member in look if member.busy is False]
        assert 200 < len(heard) < 450, "there is not time enough for all"
        assert {member.state for member in heard} == {MemberState.READY}
        assert {int(member.master_ref) % 100 for member in look if member.is_fed} <= {0}, "nobody else hangs"
    heard_of = {member.worker_id for look in looks for member in look if member.busy is False}
    assert len(heard_of) == 500 - 5, "each that answers can be seen idle, and be stopped"


def test_a_turn_hears_all_of_a_thousand_where_a_fifth_of_its_interval_is_enough() -> None:
    async def whole(loop: VirtualLoop) -> list[Member]:
        fleet = Thousand(loop, call_timeout_seconds=1, our_seconds=OUR_SECONDS)
        adapter = fleet.adapter()
        with anyio.fail_after(fleet.interval_seconds / 5):
            return [*(await adapter.members()).members]

    assert {member.busy for member in in_virtual_time(whole)} == {False}


def test_a_worker_that_was_waited_for_a_moment_only_is_not_silent() -> None:
    async def whole(loop: VirtualLoop) -> list[Member]:
        fleet = Thousand(loop, latency_seconds=lambda _: 0.5, workers_count=3)
        adapter = fleet.adapter()
        with anyio.fail_after(0.3):
            return [*(await adapter.members([worker.worker_id for worker in fleet.workers])).members]

    assert [(member.busy, member.is_fed) for member in in_virtual_time(whole)] == [(None, False)] * 3
