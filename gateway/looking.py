"""Looks at servers that report nothing: every two seconds at their own endpoints, with a test prompt where that tells.

A test may take as long as a model loads, and goes on beside the looks. Whoever is asleep is woken only by it, and only
while clients wait.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import anyio

from ebbflow.gateway.desk import Desk, LookedAt
from ebbflow.gateway.kinds import kind_named
from ebbflow.gateway.kinds.kind import Ask, Judgement, Kind, Said, Standing, Verdict
from ebbflow.gateway.outgoing import Outgoing
from ebbflow.gateway.plain import judged, looked

LOOK_SECONDS = 2.0
PROBE_SECONDS = 4.0
"""For one answer of a look."""
TEST_SECONDS = 120.0
"""For one answer to a test prompt; another is sent after it, until the loading time is over."""
AGAIN_SECONDS = 1.0
AT_ONCE = 100
"""Servers that are asked at once."""


class Looking:
    """Looks after all servers of a desk.

    Args:
        desk: what the gateway knows.
        outgoing: asks them.
        monotonic: seconds of a clock that only goes on.
    """

    def __init__(self, desk: Desk, outgoing: Outgoing, monotonic: Callable[[], float]) -> None:
        self._desk, self._outgoing, self._monotonic = desk, outgoing, monotonic
        self._looks: set[str] = set()
        self._tests: set[str] = set()
        """Worker ids of those that are asked now."""
        self._room = asyncio.Semaphore(AT_ONCE)

    async def go_on(self, ends: anyio.Event) -> None:
        """Look until the end."""
        async with anyio.create_task_group() as group:
            while not ends.is_set():
                for one in self._desk.servers():
                    if one.worker_id not in self._looks:
                        group.start_soon(self._look, one)
                    if one.worker_id not in self._tests and _is_to_be_tested(one):
                        group.start_soon(self._test, one)
                with anyio.move_on_after(LOOK_SECONDS):
                    await ends.wait()
            group.cancel_scope.cancel()

    async def once(self) -> None:
        """One look at each, and one test prompt where that tells something."""
        for one in list(self._desk.servers()):
            await self._look(one)
        for one in list(self._desk.servers()):
            if _is_to_be_tested(one):
                await self._test(one)

    async def _look(self, one: LookedAt) -> None:
        self._looks.add(one.worker_id)
        try:
            kind, wanted = kind_named(one.server.kind), one.server.wanted
            asks = kind.asks(wanted)
            async with self._room:
                found = await asyncio.gather(*(self._ask(one, kind, ask, PROBE_SECONDS) for ask in asks.values()))
            said = {name: each for name, each in zip(asks, found, strict=True) if each is not None}
            reading, is_testable = kind.read(wanted, said), kind.test(wanted) is not None
            change = partial(looked, server=one.server, reading=reading, now=self._monotonic(), is_testable=is_testable)
            self._desk.looked(one.worker_id, one.url, change)
        finally:
            self._looks.discard(one.worker_id)

    async def _test(self, one: LookedAt) -> None:
        self._tests.add(one.worker_id)
        try:
            kind, wanted = kind_named(one.server.kind), one.server.wanted
            ask, judgement = kind.test(wanted), Judgement(Verdict.NOT_YET)
            ends_at = self._monotonic() + TEST_SECONDS
            while ask is not None:
                said = await self._ask(one, kind, ask, TEST_SECONDS)
                judgement = kind.judge(wanted, said or Said(None))
                ask = judgement.next_ask if self._monotonic() < ends_at else None
                if ask is not None:
                    await asyncio.sleep(AGAIN_SECONDS)
            change = partial(judged, server=one.server, judgement=judgement, now=self._monotonic())
            self._desk.looked(one.worker_id, one.url, change)
        finally:
            self._tests.discard(one.worker_id)

    async def _ask(self, one: LookedAt, kind: Kind, ask: Ask, timeout_seconds: float) -> Said | None:
        return await self._outgoing.ask(
            one.url,
            ask,
            key=one.server.key,
            header=kind.key_header,
            metrics_port=one.server.metrics_port,
            timeout_seconds=timeout_seconds,
        )


def _is_to_be_tested(one: LookedAt) -> bool:
    if one.is_draining:
        return False
    reading = one.state.reading
    is_asleep = reading is not None and reading.standing is Standing.ASLEEP and not one.state.error
    return one.state.is_to_be_tested or (is_asleep and one.is_missed)
