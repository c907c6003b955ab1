"""Many workers asked in one turn: nobody's silence takes the others' time, and whom it misses the next begins with."""

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Sequence

import anyio

from ebbflow.adapters.masters.swarmui.sessions import SessionStore

PLACES = 32
"""Workers that are asked at the same time and may answer at any moment: more, and each waits for our own processor."""
SOON_SECONDS = 0.5
"""Who has not answered by then gives its place up and is waited for all the same: it may hang, and others answer."""
MOST_OPEN = 256
"""Who are waited for at the same time. Each is a file that is open, of the thousand that a process has as a rule: the
one that is waited for longest makes room for the next."""
LEAST_SECONDS = 1.0
"""For one worker, however many there are and little time: less shows no silence, and reaches nobody who is far away."""
SAVE_SECONDS = 2.0
"""For keeping where a turn stopped."""


async def ask_each(
    names: Sequence[str],
    ask: Callable[[str, anyio.CancelScope], Awaitable[None]],
    patience_seconds: float,
    reached: set[str],
) -> None:
    """Ask all of them, in this order, as many at once as answer.

    Args:
        names: whom.
        ask: asks one, within the scope that it is given and with an end of its own after that.
        patience_seconds: how long one is waited for; less, and never less than `LEAST_SECONDS`, where too many hang.
        reached: takes the names of those with whom `ask` is done, also where this is cut off.
    """
    places, files = anyio.Semaphore(PLACES), anyio.Semaphore(MOST_OPEN)
    waited_for: dict[str, tuple[float, anyio.CancelScope]] = {}

    async def take_file() -> None:
        if files.value:
            return await files.acquire()
        began_at, scope = next(iter(waited_for.values()))
        with anyio.move_on_after(max(0.0, began_at + LEAST_SECONDS - anyio.current_time())) as waiting:
            await files.acquire()
        if waiting.cancelled_caught:
            scope.cancel()
            await files.acquire()
        return None

    async def hold_place(is_done: anyio.Event) -> None:
        with anyio.move_on_after(SOON_SECONDS):
            await is_done.wait()
        places.release()

    async def ask_one(name: str) -> None:
        is_done = anyio.Event()
        group.start_soon(hold_place, is_done)
        now = anyio.current_time()
        scope = anyio.CancelScope(deadline=now + patience_seconds)
        waited_for[name] = now, scope
        await ask(name, scope)
        del waited_for[name]
        reached.add(name)
        is_done.set()
        files.release()

    async with anyio.create_task_group() as group:
        for name in names:
            await take_file()
            await places.acquire()
            group.start_soon(ask_one, name)


def patience_with(count: int, *, seconds: float, call_seconds: float) -> float:
    """How long each of so many is waited for, so that all fit even if nobody answers.

    Args:
        count: how many there are.
        seconds: for all of them together.
        call_seconds: for one, where there is time enough.
    """
    share = seconds * MOST_OPEN / max(count, 1)
    return min(call_seconds, 0.9 * seconds, max(LEAST_SECONDS, share))


class Rota:
    """Whose turn it is among many of whom one turn may not reach all: the longest unasked first.

    All stand in a ring. What is kept from run to run is one address: the first that was not reached.

    Args:
        sessions: keeps it.
        name: under what; no server's address.
    """

    def __init__(self, sessions: SessionStore, name: str) -> None:
        self._sessions = sessions
        self._name = name
        self._has_stopped = False

    async def in_order(self, addresses: Collection[str]) -> list[str]:
        """All of them, from where the last run stopped."""
        ring = sorted(addresses)
        first = bisect_left(ring, await self._sessions.get(self._name) or "")
        return ring[first:] + ring[:first]

    async def stop_at(self, address: str) -> None:
        """Let the next run begin there, also if this one is killed in a moment.

        Of several times that this run asks, the first counts: it asks those that are known for longest.
        """
        if self._has_stopped:
            return
        self._has_stopped = True
        # Whoever cuts a turn off must not have the next one begin where this one did.
        with anyio.move_on_after(SAVE_SECONDS, shield=True):
            await self._sessions.put(self._name, address)
            await self._sessions.aclose()
