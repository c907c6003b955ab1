"""How long a turn lets its master ask many workers one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio
import pytest

from ebbflow.core.member import PushMemberList
from ebbflow.core.worker import Worker
from tests.turn.outside import QUEUE_CAPS, Outside, Queue
from tests.turn.test_turn import FLEET, turn

pytestmark = pytest.mark.anyio


class Timing(Queue):
    """Notes how long it may take to ask everybody."""

    def __init__(self, call_seconds: float) -> None:
        super().__init__(caps=replace(QUEUE_CAPS, call_seconds=call_seconds))
        self.given: dict[str, float] = {}

    def _note(self, call: str) -> None:
        self.given[call] = anyio.current_effective_deadline() - anyio.current_time()

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        self._note("keepalive")
        return await super().keepalive(workers)

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        self._note("members" if worker_ids is None else "some members")
        return await super().members(worker_ids, known=known)


@pytest.mark.parametrize(("call_seconds", "seconds"), [(1.0, 6.0), (9.0, 9.0)])
async def test_everybody_is_asked_within_what_the_budget_leaves_of_an_interval_and_at_least_a_call(
    call_seconds: float, seconds: float
) -> None:
    queue = Timing(call_seconds)
    outside = Outside(queue=queue)
    for _ in range(2):
        await turn(outside)
    assert FLEET.interval_seconds - FLEET.budget_seconds == 6.0
    assert {call: round(given, 1) for call, given in queue.given.items()} == {
        "keepalive": seconds,
        "members": seconds,
    }
